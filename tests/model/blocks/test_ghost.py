"""Ghost modules against a slow second writing, and what a ghosted kit replaces."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paretina.measure.cost import params_of
from paretina.model.blocks.ghost import GhostBottleneck, Ghosted, GhostUnit, ghost_unit
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.resnet import Basic, Bottleneck
from paretina.model.blueprint import Block, Norm, NormUnit, any_kit
from paretina.model.layers import Residual


def randomised(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.5)
    for name, buffer in module.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return module.eval()


def maps(width, size=6):
    return torch.randn(2, width, size, size, generator=torch.Generator().manual_seed(1))


def ghosts_of(module):
    return [name for name, inner in module.named_modules() if isinstance(inner, GhostUnit)]


def normed(x, norm, channel):
    scale = norm.weight[channel] / (norm.running_var[channel] + norm.eps).sqrt()
    return (x - norm.running_mean[channel]) * scale + norm.bias[channel]


@torch.no_grad()
def one_channel_after_the_other(unit, x, ratio, kernel, act):
    """What a ghost module is: some channels computed, then ratio - 1 filters of each."""
    weights, computed = unit.primary.conv.weight, []
    for channel in range(len(weights)):
        summed = sum(weights[channel, i, 0, 0] * x[:, i] for i in range(x.shape[1]))
        computed.append(act(normed(summed, unit.primary.norm, channel)))
    derived = []
    for source in computed:
        for _ in range(ratio - 1):
            number = len(derived)
            filtered = F.conv2d(source[:, None], unit.cheap.conv.weight[number : number + 1], padding=kernel // 2)[:, 0]
            derived.append(act(normed(filtered, unit.cheap.norm, number)))
    return torch.stack([*computed, *derived][: unit.width], 1)


@pytest.mark.parametrize(("width", "ratio", "kernel"), [(8, 2, 3), (9, 3, 5), (7, 2, 3), (9, 4, 1)])
@pytest.mark.parametrize("act", [True, False])
def test_equals_a_writing_channel_by_channel(width, ratio, kernel, act):
    unit = randomised(ghost_unit(any_kit(), 3, width, act=act, ratio=ratio, cheap_kernel=kernel))
    wanted = one_channel_after_the_other(unit, maps(3), ratio, kernel, torch.relu if act else lambda x: x)
    with torch.no_grad():
        torch.testing.assert_close(unit(maps(3)), wanted)


def test_only_the_computed_part_has_the_stride():
    unit = ghost_unit(any_kit(), 3, 8, 3, 2)
    assert unit.primary.conv.stride == (2, 2)
    assert unit.cheap.conv.stride == (1, 1)
    assert unit(maps(3, size=7)).shape == (2, 8, 4, 4)


class TrialUnit(NormUnit):
    """A norm with a gain that differs from channel to channel."""

    def __init__(self, width):
        super().__init__()
        self.factors = nn.Parameter(torch.rand(width, 1, 1) + 0.5)

    def centred(self, x):
        return x - 0.25

    def gain(self):
        return self.factors


@dataclass(frozen=True, kw_only=True)
class TrialNorm(Norm):
    def make(self, width, activation):
        return TrialUnit(width)


@pytest.mark.parametrize("width", [8, 7])
def test_keeps_its_gain_apart_as_every_unit_does(width):
    torch.manual_seed(0)
    unit, x = ghost_unit(any_kit(norm=TrialNorm()), 3, width), maps(3)
    first = unit.primary(x)
    whole = torch.cat((first, unit.cheap(first)), 1)[:, :width]
    torch.testing.assert_close(unit(x), whole)
    torch.testing.assert_close(unit.centred(x) * unit.gain(), whole)
    centred, gain = unit.parts(x)
    assert gain.shape == (width, 1, 1)
    torch.testing.assert_close(centred * gain, whole)


def test_takes_a_gain_before_it_as_every_unit_does():
    torch.manual_seed(0)
    unit, x, gain = ghost_unit(any_kit(norm=TrialNorm()), 3, 8), maps(3), torch.rand(3, 1, 1)
    torch.testing.assert_close(unit(x, gain), unit(x * gain))


def test_has_no_gain_with_an_ordinary_norm():
    assert ghost_unit(any_kit(), 3, 8).gain() is None


@pytest.mark.parametrize("block", [GhostBottleneck(hidden=24), Ghosted(block=Basic()), Ghosted(block=Bottleneck(squeeze=1))])
def test_zeroing_the_last_norm_leaves_the_shortcut(block):
    torch.manual_seed(0)
    residual = block.make(16, 16, 1, any_kit())
    assert isinstance(residual, Residual)
    assert isinstance(residual.last_norm, GhostUnit)
    nn.init.zeros_(residual.last_norm.weight)
    assert not residual.last_norm.primary.norm.weight.any()
    assert not residual.last_norm.cheap.norm.weight.any()
    assert not residual.train().body(maps(16)).any()
    assert residual.body(maps(16)).requires_grad


# --- the bottleneck ---------------------------------------------------------------------------------------------------


def ghost_params(width_in, width_out):
    half = width_out // 2
    return width_in * half + 9 * half + 4 * half


def test_bottleneck_has_the_parameters_of_its_definition():
    # row 4 of GhostNet's table: 24 -> 72 -> 40, kernel 5, stride 2, squeezed to 20 (a quarter of 72, to a multiple of 4)
    block = GhostBottleneck(hidden=72, kernel=5, squeeze=0.25).make(24, 40, 2, any_kit())
    spatial, squeeze = 25 * 72 + 2 * 72, 2 * 72 * 20 + 72 + 20
    shortcut = 25 * 24 + 2 * 24 + 24 * 40 + 2 * 40
    assert params_of(block) == ghost_params(24, 72) + spatial + squeeze + ghost_params(72, 40) + shortcut


def test_bottleneck_convolves_in_space_only_where_the_map_shrinks():
    same = GhostBottleneck(hidden=24).make(16, 16, 1, any_kit())
    assert same.body.spatial is None
    assert same.shortcut is None
    smaller = GhostBottleneck(hidden=24).make(16, 16, 2, any_kit())
    assert smaller.body.spatial.norm.activation is None
    assert smaller.shortcut is not None


def test_bottleneck_adds_without_an_activation():
    block = randomised(GhostBottleneck(hidden=24).make(16, 20, 1, any_kit()))
    x = maps(16)
    with torch.no_grad():
        out = block(x)
        torch.testing.assert_close(out, block.shortcut(x) + block.body(x))
    assert (out < 0).any()


def test_squeeze_has_a_hard_gate():
    squeeze = randomised(GhostBottleneck(hidden=24, squeeze=0.5).make(16, 16, 1, any_kit())).body.squeeze
    x = 4 * maps(24)
    with torch.no_grad():
        logits = squeeze.restore(torch.relu(squeeze.reduce(x.mean((2, 3), keepdim=True))))
        gate = F.relu6(logits + 3) / 6
        torch.testing.assert_close(squeeze(x), x * gate)
    assert (gate == 0).any()
    assert (gate == 1).any()


def test_bottleneck_follows_the_rounding_with_its_hidden_width():
    assert GhostBottleneck(hidden=24, kernel=5).widened(lambda width: width // 2) == GhostBottleneck(hidden=12, kernel=5)


# --- other blocks with ghost modules ----------------------------------------------------------------------------------


def test_dense_units_become_ghosts_and_others_stay():
    module = Ghosted(block=MBConv(expand=4, kernel=3)).make(16, 16, 1, any_kit())
    assert ghosts_of(module) == ["body.expand", "body.project"]
    assert module.body.spatial.conv.depthwise
    grouped = Ghosted(block=Bottleneck(squeeze=1, group_width=8)).make(16, 32, 2, any_kit())
    assert ghosts_of(grouped) == ["body.0", "body.2", "shortcut"]


def test_a_convolution_that_would_gain_macs_stays_dense():
    # 1x1 from 8 channels: 8 MACs for each dense channel, 9 for each cheap one
    assert ghosts_of(Ghosted(block=Bottleneck(squeeze=2)).make(8, 8, 1, any_kit())) == ["body.1"]
    assert ghosts_of(Ghosted(block=Bottleneck(squeeze=2), cheap_kernel=1).make(8, 8, 1, any_kit())) == [
        "body.0",
        "body.1",
        "body.2",
    ]


@pytest.mark.parametrize("ratio", [2, 4])
def test_ghosted_blocks_have_the_parameters_of_the_formula(ratio):
    def counted(kernel, width_in, width_out):
        computed = width_out // ratio
        return kernel**2 * width_in * computed + 9 * (width_out - computed) + 2 * width_out

    module = Ghosted(block=Bottleneck(squeeze=4), ratio=ratio).make(32, 64, 2, any_kit())
    assert params_of(module) == counted(1, 32, 16) + counted(3, 16, 16) + counted(1, 16, 64) + counted(1, 32, 64)


def test_ghosts_are_not_made_of_ghosts():
    module = Ghosted(block=GhostBottleneck(hidden=32)).make(16, 16, 1, any_kit())
    assert ghosts_of(module) == ["body.expand", "body.project"]


def test_blocks_inside_a_block_are_ghosted_too():
    class Two(nn.Sequential):
        pass

    @dataclass(frozen=True, kw_only=True)
    class TrialTwice(Block):
        def make(self, width_in, width_out, stride, kit):
            first = kit.block(Basic(), width_in, width_out, stride)
            kit = kit.behind(first, width_in)
            assert kit.size == (6, 6)
            return Two(first, kit.block(Basic(), width_out, width_out, 1))

    kit = any_kit()
    with torch.device("meta"):
        module = Ghosted(block=TrialTwice(), ratio=4).make(16, 32, 2, kit)
    assert ghosts_of(module) == ["0.body.0", "0.body.1", "0.shortcut", "1.body.0", "1.body.1"]
    assert module[1].body[0].primary.conv.out_channels == 8
    assert next(kit.counter) == 2


def test_ghosted_passes_the_rounding_on():
    block = Ghosted(block=GhostBottleneck(hidden=24), ratio=3)
    assert block.widened(lambda width: 2 * width) == Ghosted(block=GhostBottleneck(hidden=48), ratio=3)


@pytest.mark.parametrize("given", [{"ratio": 1}, {"cheap_kernel": 4}, {"cheap_kernel": 0}])
def test_refuses_what_is_no_ghost_module(given):
    with pytest.raises(ValueError, match="GhostBottleneck needs ratio >= 2 and an odd cheap_kernel"):
        GhostBottleneck(hidden=8, **given)
    with pytest.raises(ValueError, match="Ghosted needs ratio >= 2 and an odd cheap_kernel"):
        Ghosted(block=Basic(), **given)


@pytest.mark.parametrize("given", [{"hidden": 0}, {"hidden": 8, "kernel": 4}, {"hidden": 8, "squeeze": -0.1}])
def test_bottleneck_refuses_what_has_no_meaning(given):
    with pytest.raises(ValueError, match="GhostBottleneck needs hidden >= 1, an odd kernel and squeeze >= 0"):
        GhostBottleneck(**given)
