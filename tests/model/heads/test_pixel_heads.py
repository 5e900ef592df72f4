from dataclasses import replace

import pytest
import torch

from paretina.model.blueprint import MapShape, any_kit
from paretina.model.family import network_named
from paretina.model.heads.pyramid import Enlarged, PyramidHead
from paretina.model.heads.unet import DILATIONS, Aspp, UNetHead

MAPS = (MapShape(8, (16, 16), 2), MapShape(12, (16, 16), 2), MapShape(16, (8, 8), 4), MapShape(32, (4, 4), 8))


def maps(size=16):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.rand(1, shape.width, size * 2 // shape.stride, size * 2 // shape.stride, generator=generator) for shape in MAPS
    ]


@pytest.mark.parametrize("head", [PyramidHead(width=8, finest=1), UNetHead(width=8)])
def test_uses_the_last_map_at_each_stride(head):
    torch.manual_seed(0)
    module = head.make(MAPS, 3, any_kit(size=4)).eval()
    given = maps()
    before = module(given, {})
    given[0] = given[0] + 1.0
    assert torch.equal(module(given, {}), before)
    for number in (1, 2, 3):
        changed = list(given)
        changed[number] = changed[number] * 2
        assert not torch.equal(module(changed, {}), before)


@pytest.mark.parametrize("head", [PyramidHead(width=8, finest=4), UNetHead(width=8, finest=4)])
def test_finer_maps_than_wanted_are_not_used(head):
    module = head.make(MAPS, 3, any_kit(size=4)).eval()
    given = maps()
    before = module(given, {})
    given[1] = given[1] + 1.0
    assert torch.equal(module(given, {}), before)
    assert before.shape == (1, 3, 32, 32)


@pytest.mark.parametrize("head", [PyramidHead(finest=16), UNetHead(finest=16)])
def test_a_stride_that_no_map_has_is_refused(head):
    with pytest.raises(ValueError, match=r"finest=16 leaves no map: those of this network have the strides 2, 4, 8"):
        head.make(MAPS, 3, any_kit(size=4))


def test_channels_that_cannot_become_places_are_refused():
    with pytest.raises(ValueError, match=r"halves 12 channels from stride 8 to 4, which needs a multiple of 8"):
        UNetHead(width=3).make(MAPS, 3, any_kit(size=4))


def test_maps_of_odd_sizes_fit():
    torch.manual_seed(0)
    table = replace(network_named("resnet8_w16_s2").blueprint, classes=3)
    for head in (PyramidHead(width=8, finest=2), UNetHead(width=8)):
        network = replace(table, head=head).build().eval()
        with torch.no_grad():
            assert network(torch.rand(1, 3, 38, 38)).shape == (1, 3, 38, 38)  # maps of 19, 10 and 5 places


def test_enlarged_logits_are_those_of_the_map():
    layer = Enlarged(1, 1, 2)
    with torch.no_grad():
        layer.conv.weight.fill_(1.0)
        layer.conv.bias.zero_()
        assert layer(torch.full((1, 1, 2, 3), 5.0)).unique().tolist() == [5.0]
        assert layer(torch.rand(1, 1, 2, 3)).shape == (1, 1, 4, 6)


def test_aspp_reaches_as_far_as_its_dilations_say():
    torch.manual_seed(0)
    module = Aspp(8, any_kit(size=40)).eval()
    x = torch.zeros(1, 8, 41, 41, requires_grad=True)
    module.reaching[-1].conv(x)[0, :, 20, 20].sum().backward()
    rows = x.grad[0].abs().sum(0).nonzero()[:, 0].unique().tolist()
    assert rows == [20 - DILATIONS[-1], 20, 20 + DILATIONS[-1]]
