"""Ghost modules by an edit: what changes, what stays."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from paretina.measure.cost import cost
from paretina.model.blocks.ghost import Ghosted, GhostUnit
from paretina.model.blueprint import Block, Blueprint, Stage
from paretina.model.edits.ghost import Ghost
from paretina.model.edits.scale import Scale
from paretina.model.families.efficientnet import B0
from paretina.model.families.efficientnetv2 import S
from paretina.model.families.ghostnet import GHOSTNET
from paretina.model.families.resnet import R18, R50, R50D
from paretina.spec import put

SMALL = {
    "B0": replace(B0, resolution=64, classes=5, stages=B0.stages[:3]),
    "S": replace(S, resolution=64, classes=5, stages=S.stages[2:4]),
    "R18": replace(R18, resolution=64, classes=5),
    "R50D": replace(R50D, resolution=64, classes=5, stages=R50D.stages[:2]),
}


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("B0", Ghost()),
        ("S", Ghost()),
        ("R18", Ghost(ratio=4)),
        ("R50D", Ghost(ratio=3, cheap_kernel=5)),
    ],
)
def test_maps_stay_and_every_changed_stage_has_fewer_macs_and_parameters(name, edit):
    base, edited = SMALL[name], edit(SMALL[name])
    before, after = cost(base).stages, cost(edited).stages
    assert [row.output for row in before] == [row.output for row in after]
    assert (before[0].params, before[-1].params) == (after[0].params, after[-1].params)
    for old, new, row_before, row_after in zip(before[1:-1], after[1:-1], base.stages, edited.stages, strict=True):
        assert replace(row_after, block=row_before.block) == row_before
        if row_after == row_before:
            assert (new.macs, new.params) == (old.macs, old.params)
        else:
            assert new.macs < old.macs
            assert new.params < old.params
    assert any(isinstance(row.block, Ghosted) for row in edited.stages)


@pytest.mark.parametrize("ratio", [2, 4])
def test_bottlenecks_have_the_counts_of_the_formula(ratio):
    def ghost(kernel, width_in, width_out, side):
        computed = width_out // ratio
        weights = kernel**2 * width_in * computed + 9 * (width_out - computed)
        return torch.tensor([weights + 2 * width_out, weights * side**2])

    total = torch.tensor([64 * 3 * 49 + 128 + 512 * 5 + 5, 64 * 3 * 49 * 112**2 + 512 * 5])
    width_in, side = 64, 56
    for depth, width, stride in ((2, 256, 1), (2, 512, 2)):
        for number in range(depth):
            hidden, before = width // 4, side
            if number == 0:
                side //= stride
                total += ghost(1, width_in, width, side)
            total += ghost(1, width_in, hidden, before) + ghost(3, hidden, hidden, side) + ghost(1, hidden, width, side)
            width_in = width
    short = replace(R50, classes=5, stages=tuple(replace(row, depth=2) for row in R50.stages[:2]))
    counted = cost(Ghost(ratio=ratio)(short))
    assert [counted.params, counted.macs] == total.tolist()


def test_a_stage_can_be_chosen():
    edited = Ghost(stages=(2, 4))(SMALL["R18"])
    assert [isinstance(row.block, Ghosted) for row in edited.stages] == [False, True, False, True]
    network = edited.build("meta")
    assert [any(isinstance(module, GhostUnit) for module in stage.modules()) for stage in network.stages] == [
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("number", [0, 5])
def test_a_stage_that_is_not_there_is_refused(number):
    with pytest.raises(ValueError, match=f"Ghost names stage {number}, but stages are numbered from 1 to 4"):
        Ghost(stages=(number,))(SMALL["R18"])


@dataclass(frozen=True, kw_only=True)
class TrialPool(Block):
    """A block without any convolution."""

    def make(self, width_in, width_out, stride, kit):
        return nn.AvgPool2d(stride)


def test_a_stage_without_dense_convolutions_stays_or_is_refused_by_name():
    base = replace(SMALL["R18"], stages=(SMALL["R18"].stages[0], Stage(block=TrialPool(), depth=1, width=64, stride=2)))
    edited = Ghost()(base)
    assert isinstance(edited.stages[0].block, Ghosted)
    assert edited.stages[1] == base.stages[1]
    with pytest.raises(ValueError, match=r"finds no dense convolution to replace in stage 2 \(TrialPool\); leave it out"):
        Ghost(stages=(1, 2))(base)


def test_ghosting_twice_changes_nothing_and_is_refused():
    for edit in (Ghost(), Ghost(ratio=4)):
        with pytest.raises(ValueError, match="changes nothing in this blueprint"):
            edit(Ghost()(SMALL["R18"]))


def test_a_network_of_ghost_modules_is_refused():
    tiny = replace(GHOSTNET, stages=GHOSTNET.stages[:3])
    with pytest.raises(ValueError, match="changes nothing in this blueprint"):
        Ghost()(tiny)
    with pytest.raises(ValueError, match=r"finds no dense convolution to replace in stage 2 \(GhostBottleneck\); leave it out"):
        Ghost(stages=(2,))(tiny)


def test_scaling_before_and_after_gives_the_same():
    wider = Scale(width=1.25, depth=2.0)
    assert wider(Ghost()(SMALL["B0"])) == Ghost()(wider(SMALL["B0"]))


def test_what_was_done_can_be_read_and_set_by_its_path():
    edited = Ghost(ratio=2)(SMALL["B0"])
    assert put(edited, "stages.*.block.ratio", 4) == Ghost(ratio=4)(SMALL["B0"])
    assert put(edited, "stages.*.block.block.squeeze", 0.0) == Ghost()(put(SMALL["B0"], "stages.*.block.squeeze", 0.0))
    assert Blueprint.from_json(edited.to_json()) == edited


@pytest.mark.parametrize("given", [{"ratio": 1}, {"cheap_kernel": 2}])
def test_refuses_what_is_no_ghost_module(given):
    with pytest.raises(ValueError, match="Ghost needs ratio >= 2 and an odd cheap_kernel"):
        Ghost(**given)
