import torch

from paretina.model.blueprint import MapShape, any_kit
from paretina.model.heads.norm_pool import NormPoolHead


def made(width):
    return NormPoolHead().make((MapShape(width, (2, 2), 4),), 3, any_kit())


def test_norm_comes_behind_the_pool():
    # channel means 5 and 1, which are centred to 1 and -1; a norm in front of the pool would give others
    x = torch.tensor([[[[2.0, 8.0]], [[1.0, 1.0]]]])
    head = made(2)
    torch.testing.assert_close(head.embedding([x], {}), torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(head([x], {}), head.classifier(torch.tensor([[1.0, -1.0]])))


def test_reads_the_last_map():
    first, last, head = torch.randn(1, 9, 4, 4), torch.randn(1, 6, 2, 2), made(6)
    assert torch.equal(head([first, last], {}), head([last], {}))
