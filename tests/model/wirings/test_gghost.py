"""G-Ghost stages: their shape, a second slow writing, and what every wiring in a network must satisfy."""

import copy
from dataclasses import replace

import pytest
import torch

from paretina.measure.cost import params_of
from paretina.model.blocks.resnet import Basic, Bottleneck
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.families.resnet import R18
from paretina.model.wirings.gghost import EXAMPLES, GGhost

every_example = pytest.mark.parametrize("wiring", EXAMPLES, ids=repr)


def blueprint_with(wiring, depth=4, block=Basic()):  # noqa: B008
    stages = (
        Stage(block=Basic(), depth=1, width=8, stride=1),
        Stage(block=block, depth=depth, width=16, stride=2, wiring=wiring),
    )
    return replace(R18, resolution=32, classes=5, stages=stages)


def stage_of(wiring, depth, block=Basic()):  # noqa: B008
    """A stage from 8 to 16 channels that halves the map."""
    torch.manual_seed(0)
    return blueprint_with(wiring, depth, block).build().stages[1]


def randomised(network):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5)
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return network


def images(count=4):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(
    ("width", "multiple", "kept"),
    [
        (192, 36, 72),
        (432, 36, 216),
        (240, 30, 120),
        (560, 30, 270),
        (240, 90, 90),
        (720, 90, 360),
        (512, 96, 192),
        (896, 96, 384),
    ],
)
def test_splits_channels_as_the_released_networks_do(width, multiple, kept):
    assert GGhost(multiple=multiple).intrinsic(width) == kept


@pytest.mark.parametrize(("ghosts", "kept"), [(0.25, 12), (0.5, 8), (0.8, 3)])
def test_share_is_that_of_the_cheap_channels(ghosts, kept):
    stage = stage_of(GGhost(ghosts=ghosts), 3)
    assert stage.kept == kept
    assert stage.cheap.conv.in_channels == stage.cheap.conv.out_channels == 16 - kept


@every_example
@pytest.mark.parametrize("depth", [3, 5])
def test_equals_a_second_writing(wiring, depth):
    stage = randomised(stage_of(wiring, depth)).eval()
    kept = wiring.intrinsic(16)
    x = torch.rand(2, 8, 10, 10)
    with torch.no_grad():
        first = stage.base(x)
        seen, narrow = [first], first[:, :kept]
        for block in stage.narrow:
            narrow = block(narrow)
            seen.append(narrow)
        mixed = torch.cat(seen, 1).mean((2, 3), keepdim=True)
        hidden = torch.relu(stage.mix[0].norm.centred(stage.mix[0].conv(mixed)))
        number = stage.mix[1](hidden).expand(-1, -1, 5, 5)
        cheap = stage.cheap.norm(stage.cheap.conv(first[:, kept:]))
        wanted = stage.end(torch.cat((narrow, torch.relu(cheap + number)), 1))
        torch.testing.assert_close(stage(x), wanted)
    assert len(stage.narrow) == depth - 2


def test_has_the_parameters_of_its_definition():
    def basic(width_in, width_out):
        shortcut = width_in * width_out + 2 * width_out if width_in != width_out else 0
        return 9 * width_in * width_out + 9 * width_out**2 + 4 * width_out + shortcut

    kept, ghosts, between = 6, 10, 3
    stage = stage_of(GGhost(ghosts=0.6, multiple=2), 2 + between)
    mix = (16 + kept * between) * ghosts + 2 * ghosts + ghosts**2 + 2 * ghosts
    cheap = ghosts**2 + 2 * ghosts
    assert params_of(stage) == basic(8, 16) + between * basic(kept, kept) + mix + cheap + basic(16, 16)


def test_narrow_path_may_have_a_block_of_its_own():
    wiring = GGhost(narrow=Bottleneck(squeeze=1, group_width=4))
    stage = stage_of(wiring, 3, Bottleneck(squeeze=1, group_width=8))
    assert stage.base.body[1].conv.groups == stage.end.body[1].conv.groups == 2
    assert stage.narrow[0].body[1].conv.groups == 2
    assert stage.narrow[0].body[1].conv.in_channels == 8


def test_blocks_are_numbered_in_their_order():
    network = blueprint_with(GGhost(), depth=5).build("meta")
    stage = network.stages[1]
    assert [block.block_number for block in (stage.base, *stage.narrow, stage.end)] == [1, 2, 3, 4, 5]
    assert network.blocks == 6
    assert [residual.number for residual in network.residuals()] == list(range(6))


def test_only_the_first_block_has_the_stride():
    network = blueprint_with(GGhost()).build("meta").eval()
    assert network.borders(images().to("meta"))[0][-1].shape == (4, 16, 4, 4)
    assert network.stages[1].base.body[0].conv.stride == (2, 2)
    assert network.stages[1].end.body[0].conv.stride == (1, 1)


@every_example
def test_sees_each_image_alone_in_evaluation(wiring):
    network, x = randomised(blueprint_with(wiring).build()).eval(), images()
    with torch.no_grad():
        wanted = network(x)
        torch.testing.assert_close(network(x[1:2]) / wanted.abs().max(), wanted[1:2] / wanted.abs().max())


@every_example
def test_gradient_reaches_every_parameter(wiring):
    network = randomised(blueprint_with(wiring).build()).train()
    (network(images(8)) * torch.randn(8, 5)).sum().backward()
    assert not [name for name, parameter in network.named_parameters() if not parameter.grad.any()]


@every_example
def test_state_moves_to_another_network(wiring):
    first, second = randomised(blueprint_with(wiring).build()).eval(), blueprint_with(wiring).build().eval()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    with torch.no_grad():
        assert torch.equal(first(images()), second(images()))


@every_example
def test_blueprint_read_back_is_equal(wiring):
    blueprint = blueprint_with(wiring)
    assert Blueprint.from_json(blueprint.to_json()) == blueprint


def test_short_stages_are_refused():
    with pytest.raises(ValueError, match="GGhost needs a depth of at least 3, got 2; leave this stage a Chain"):
        blueprint_with(GGhost(), depth=2).build("meta")


def test_a_split_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match=r"leaves none of 16 channels to the narrow blocks; lower one of them"):
        blueprint_with(GGhost(multiple=12)).build("meta")


@pytest.mark.parametrize("given", [{"ghosts": 0.0}, {"ghosts": 1.0}, {"multiple": 0}])
def test_shares_lie_between_none_and_all(given):
    with pytest.raises(ValueError, match="GGhost needs 0 < ghosts < 1 and multiple >= 1"):
        GGhost(**given)
