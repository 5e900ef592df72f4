import torch

from paretina.model.blueprint import MapShape, any_kit
from paretina.model.heads.max_pool import MaxPoolHead


def test_the_embedding_is_the_largest_value_of_each_channel():
    head = MaxPoolHead().make((MapShape(2, (2, 3), 8),), 5, any_kit(size=2))
    x = torch.tensor([[[1.0, 7.0, 3.0], [4.0, 5.0, 6.0]], [[-3.0, -1.0, -2.0], [-4.0, -5.0, -6.0]]])[None]
    assert head.embedding([x], {}).tolist() == [[7.0, -1.0]]


def test_only_the_largest_value_gets_a_gradient_and_of_equal_ones_one():
    head = MaxPoolHead().make((MapShape(1, (2, 2), 8),), 5, any_kit(size=2))
    x = torch.tensor([[[[0.0, 2.0], [1.0, 2.0]]]], requires_grad=True)
    head.embedding([x], {}).sum().backward()
    assert sorted(x.grad.flatten().tolist()) == [0.0, 0.0, 0.0, 1.0]
    assert x.grad[0, 0, :, 1].sum() == 1.0
