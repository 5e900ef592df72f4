"""The way from ResNet-50 to ConvNeXt-T, held against the paper step by step."""

import functools
import itertools
from dataclasses import replace

import pytest
import torch

from paretina.measure.cost import cost
from paretina.model.activations.pointwise import GELU
from paretina.model.blocks.convnext import ConvNeXt
from paretina.model.blocks.modern import ModernBottleneck
from paretina.model.blocks.resnet import Bottleneck
from paretina.model.edits.modernise import (
    MODERNISATION,
    Depthwise,
    FewerActivations,
    Invert,
    LargeKernel,
    MoveUp,
    Patchify,
    SeparateDownsampling,
    StageRatio,
    ToGELU,
    ToLayerNorm,
)
from paretina.model.families.convnext import TINY
from paretina.model.families.efficientnet import B0
from paretina.model.families.resnet import R18, R50, R50A, R50D
from paretina.model.heads.norm_pool import NormPoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.norms.channel import ChannelNorm
from paretina.model.stems.patch import PatchStem
from paretina.spec import put

STEPS = tuple(itertools.accumulate(MODERNISATION, lambda blueprint, edit: edit(blueprint), initial=R50))
NAMES = ["ResNet50", *(type(edit).__name__ for edit in MODERNISATION)]
# table 10; None where it contradicts figure 2, which has 4.2
MACS = (4.09, 4.53, 4.42, 2.35, 5.27, 4.64, 4.07, 4.15, 4.15, 4.15, 4.15, None, 4.49)
every_step = pytest.mark.parametrize("number", range(len(STEPS)), ids=NAMES)


@functools.cache
def counted(number):
    return cost(STEPS[number])


@every_step
def test_has_the_macs_of_the_paper(number):
    macs = counted(number).macs
    if MACS[number] is None:
        assert macs == counted(number - 1).macs  # a norm has none
        assert macs == pytest.approx(4.2e9, abs=0.06e9)
    else:
        assert macs == pytest.approx(MACS[number] * 1e9, rel=0.01)


def test_ends_at_convnext_tiny():
    other = {
        name: getattr(TINY, name) for name in ("source", "preprocessing", "initialisation")
    }  # where weights start is no step
    assert replace(STEPS[-1], **other) == TINY
    assert counted(len(MODERNISATION)).params == 28_589_128


def small(blueprint):
    """A network of the same kind that trains at once."""
    stages = tuple(replace(stage, depth=1, width=stage.width // 16) for stage in blueprint.stages[:3])
    stem = replace(blueprint.stem, width=blueprint.stem.width // 16)
    return replace(blueprint, resolution=32, classes=3, stem=stem, stages=stages)


@every_step
def test_can_be_trained(number):
    torch.manual_seed(0)
    network = small(STEPS[number]).build().train()
    for parameter in network.parameters():
        if parameter.dim() == 1 and parameter.max() == 1e-6:  # layer scale, which takes long to grow
            parameter.data.fill_(0.1)
    images, answers = torch.rand(12, 3, 32, 32), torch.arange(12) % 3
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        loss = torch.nn.functional.cross_entropy(network(images), answers)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def block(blueprint):
    return blueprint.stages[0].block


def test_blocks_change_one_switch_at_a_time():
    # from the first step that turns bottlenecks into switches to the last one that leaves them
    blocks = [block(step) for step in STEPS[3:-1]]
    assert all(isinstance(found, ModernBottleneck) for found in blocks)
    for before, after in itertools.pairwise(blocks):
        assert sum(getattr(before, name) != getattr(after, name) for name in before.__dataclass_fields__) <= 1


def test_invert_swaps_the_widths():
    widths = [[(stage.width, stage.block.hidden(stage.width)) for stage in step.stages] for step in STEPS[4:6]]
    assert widths[0] == [(384, 96), (768, 192), (1536, 384), (3072, 768)]
    assert widths[1] == [(96, 384), (192, 768), (384, 1536), (768, 3072)]


def test_steps_can_be_taken_in_another_order():
    turned = R50
    for edit in reversed(MODERNISATION[:-1]):
        turned = edit(turned)
    assert SeparateDownsampling()(turned) == STEPS[-1]


def test_leaving_a_step_out_leaves_its_switch():
    without = R50
    for edit in MODERNISATION:
        without = without if isinstance(edit, FewerActivations) else edit(without)
    assert block(without) == ModernBottleneck(
        expand=4.0, kernel=7, group_width=1, spatial="first", norms="one", downsampling="separate"
    )
    without = R50
    for edit in MODERNISATION:
        without = without if isinstance(edit, ToLayerNorm) else edit(without)
    assert isinstance(block(without), ModernBottleneck)
    assert without.norm == BatchNorm()


def test_another_kernel_becomes_another_convnext():
    last = R50
    for edit in MODERNISATION:
        last = (replace(edit, kernel=5) if isinstance(edit, LargeKernel) else edit)(last)
    assert block(last) == ConvNeXt(kernel=5)


def test_alone_each_changes_what_it_names():
    assert Patchify()(R50) == replace(R50, stem=PatchStem(width=64, patch=4))
    assert StageRatio(depths=(3, 4, 9, 3))(R50) == put(R50, "stages.2.depth", 9)
    assert ToGELU()(R50) == replace(R50, activation=GELU())
    assert ToLayerNorm()(R50) == replace(R50, norm=ChannelNorm())
    assert Depthwise()(R50) == put(R50, "stages.*.block", ModernBottleneck(group_width=1))
    assert LargeKernel(kernel=5)(R50D) == put(R50D, "stages.*.block", ModernBottleneck(kernel=5, shortcut="pool"))
    assert MoveUp()(R50) == put(R50, "stages.*.block", ModernBottleneck(spatial="first"))
    separate = put(R50, "stages.*.block", ModernBottleneck(downsampling="separate"))
    assert SeparateDownsampling()(R50) == replace(separate, head=NormPoolHead())


def test_a_depth_for_each_stage_is_needed():
    with pytest.raises(ValueError, match=r"StageRatio\(depths=\(3, 3\)\) needs one depth for each of the 4 stages"):
        StageRatio(depths=(3, 3))(R50)


@pytest.mark.parametrize("blueprint", [B0, R18, R50A, TINY], ids=lambda blueprint: blueprint.source)
@pytest.mark.parametrize("edit", MODERNISATION[2:3] + MODERNISATION[4:], ids=repr)
def test_networks_without_bottlenecks_are_refused(edit, blueprint):
    with pytest.raises(ValueError, match="changes networks of bottlenecks with the stride in the 3x3"):
        edit(blueprint)


@pytest.mark.parametrize("edit", [*MODERNISATION[:3], *MODERNISATION[4:-1]], ids=repr)
def test_a_step_taken_twice_is_refused(edit):
    with pytest.raises(ValueError, match="changes nothing in this blueprint"):
        edit(edit(R50))


def test_the_kernel_it_has_already_is_refused():
    with pytest.raises(ValueError, match="changes nothing in this blueprint"):
        LargeKernel(kernel=3)(R50)
    assert block(R50) == Bottleneck()


def test_widths_that_cannot_be_inverted_are_refused():
    with pytest.raises(ValueError, match="needs a width that gives an integer hidden width, got 50"):
        Invert()(put(R50, "stages.0.width", 50))
