import torch

from paretina.measure.cost import params_of
from paretina.model.blueprint import MapShape, any_kit
from paretina.model.heads.hidden import HiddenHead

SHAPES = (MapShape(8, (4, 4), 2),)


def test_hidden_layer_comes_behind_the_pool_with_bias_and_without_norm():
    torch.manual_seed(0)
    head = HiddenHead(hidden=6).make(SHAPES, 5, any_kit()).eval()
    x = torch.rand(2, 8, 4, 4)
    with torch.no_grad():
        hidden = x.flatten(2).mean(2) @ head.hidden.weight[:, :, 0, 0].T + head.hidden.bias
        torch.testing.assert_close(head.embedding([x], {}), hidden.clamp(min=0))
    assert params_of(head) == (8 * 6 + 6) + (6 * 5 + 5)


def test_the_unit_before_the_pool_has_its_width():
    head = HiddenHead(hidden=6, width=10).make(SHAPES, 5, any_kit())
    assert params_of(head) == (8 * 10 + 20) + (10 * 6 + 6) + (6 * 5 + 5)


def test_only_the_width_before_the_pool_is_scaled():
    assert HiddenHead(hidden=6, width=10).widened(lambda width: 2 * width) == HiddenHead(hidden=6, width=20)
    assert HiddenHead(hidden=6).widened(lambda width: 2 * width) == HiddenHead(hidden=6)
