"""Another norm throughout a network."""

from dataclasses import dataclass, replace

import pytest
from torch import nn

from paretina.model.blueprint import Block, NormUnit
from paretina.model.edits.renorm import Renorm
from paretina.model.families.efficientnet import B0
from paretina.model.families.efficientnetv2 import S
from paretina.model.families.resnet import R18
from paretina.model.norms.batch import BatchNormUnit
from paretina.model.norms.group import GroupNorm, GroupNormUnit
from paretina.model.norms.proxy import ProxyNorm, ProxyNormUnit


def norms(blueprint):
    return [type(module) for module in blueprint.build("meta").modules() if isinstance(module, NormUnit)]


def shapes(blueprint):
    return [module.weight.shape for module in blueprint.build("meta").modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("base", [B0, S, R18], ids=["b0", "v2", "resnet"])
@pytest.mark.parametrize(("norm", "kind"), [(GroupNorm(groups=4), GroupNormUnit), (ProxyNorm(groups=2), ProxyNormUnit)])
def test_every_norm_is_exchanged_and_nothing_else(base, norm, kind):
    small = replace(base, resolution=32, stages=base.stages[:2])
    edited = Renorm(norm=norm)(small)
    assert set(norms(small)) == {BatchNormUnit}
    assert norms(edited) == [kind] * len(norms(small))
    assert shapes(edited) == shapes(small)
    assert replace(edited, norm=small.norm) == small


def test_the_norm_that_is_there_already_is_refused():
    with pytest.raises(ValueError, match="changes nothing"):
        Renorm(norm=B0.norm)(B0)


@pytest.mark.slow
def test_a_norm_that_differs_in_a_number_is_another():
    grouped = Renorm(norm=GroupNorm(eps=1e-5))(replace(B0, resolution=32))
    assert Renorm(norm=GroupNorm(eps=1e-3))(grouped).norm.eps == 1e-3
    assert Renorm(norm=ProxyNorm(quantiles=256))(Renorm(norm=ProxyNorm())(grouped)).norm.quantiles == 256


@dataclass(frozen=True, kw_only=True)
class Stubborn(Block):
    def make(self, width_in, width_out, stride, kit):
        return nn.Sequential(nn.Conv2d(width_in, width_out, 1, stride), nn.BatchNorm2d(width_out))


def test_a_network_whose_parts_keep_their_own_norm_is_refused():
    row = replace(B0.stages[0], block=Stubborn(), stride=1)

    @dataclass(frozen=True, kw_only=True)
    class Bare(type(B0.stem)):
        def make(self, kit):
            return kit.conv(3, self.width, 3, 2)

    own = replace(B0, resolution=32, stem=Bare(width=8), stages=(row,), head=replace(B0.head, width=0))
    with pytest.raises(ValueError, match=r"all blocks of this network .* keep a norm of their own"):
        Renorm()(own)


def test_widths_that_do_not_suit_are_refused():
    with pytest.raises(ValueError, match=r"GroupNorm\(groups=3\) needs widths that are multiples of 3, got 32"):
        Renorm(norm=GroupNorm(groups=3))(B0)
