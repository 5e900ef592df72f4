"""Which stages are fused."""

from dataclasses import replace

import pytest
import torch

from paretina.measure.cost import cost, params_of
from paretina.model.blocks.fused_mbconv import FusedMBConv
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Stage, any_kit
from paretina.model.edits.fuse import Fuse
from paretina.model.families.efficientnet import B0, B4
from paretina.model.families.efficientnetv2 import S
from paretina.model.families.resnet import R50
from paretina.model.norms.batch import BatchNorm
from paretina.spec import put

TINY = replace(B0, resolution=32, classes=5, stages=B0.stages[:3])


def shapes(blueprint):
    return [stage.output for stage in cost(blueprint).stages]


@pytest.mark.parametrize("stages", [(1,), (3, 2), None])
def test_every_map_keeps_its_shape_and_other_stages_stay(stages):
    fused = Fuse(stages=stages)(TINY)
    assert shapes(fused) == shapes(TINY)
    assert fused.build("meta").blocks == TINY.build("meta").blocks
    assert replace(fused, stages=TINY.stages) == TINY
    for number, (old, new) in enumerate(zip(TINY.stages, fused.stages, strict=True), 1):
        chosen = stages is None or number in stages
        assert replace(new, block=old.block) == old
        assert isinstance(new.block, FusedMBConv if chosen else MBConv)
        assert chosen or new == old


def test_kernel_and_expansion_carry_over_and_the_squeeze_only_if_asked_for():
    assert [Fuse()(TINY).stages[i].block for i in (0, 2)] == [FusedMBConv(expand=1), FusedMBConv(expand=6, kernel=5)]
    kept = Fuse(squeeze=True)(TINY)
    assert [kept.stages[i].block for i in (0, 2)] == [FusedMBConv(expand=1), FusedMBConv(expand=6, kernel=5, squeeze=0.25)]
    assert {stage.block.kernel for stage in Fuse(kernel=3)(TINY).stages} == {3}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("width_out", [4, 6])
def test_a_fused_block_can_do_all_that_the_other_does_where_activations_do_nothing(stride, width_out):
    torch.manual_seed(0)
    plain = MBConv(expand=3, kernel=5, squeeze=0.0)
    fused = Fuse().fused(Stage(block=plain, depth=1, width=width_out, stride=stride), 1).block
    kit = any_kit(norm=BatchNorm(eps=0.0))
    first, second = (block.make(4, width_out, stride, kit).eval() for block in (plain, fused))
    one, two = getattr(first, "body", first), getattr(second, "body", second)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.abs_()  # with inputs above zero, so is everything, and ReLU lets it through
        expand, depthwise = one.expand.conv.weight, one.spatial.conv.weight
        two.spatial.conv.weight.copy_(expand * depthwise)  # (hidden, in, 1, 1) times (hidden, 1, 5, 5)
        two.project.conv.weight.copy_(one.project.conv.weight)
        x = torch.rand(2, 4, 8, 8)
        torch.testing.assert_close(second(x), first(x))


@pytest.mark.parametrize(
    ("fuse", "params"),
    [(Fuse(stages=(1, 2, 3), kernel=3), 20.0), (Fuse(stages=(1, 2, 3, 4, 5)), 43.4), (Fuse(), 132.0)],
    ids=repr,
)
def test_the_study_on_b4_has_about_the_published_parameters(fuse, params):
    assert params_of(fuse(B4).build("meta")) == pytest.approx(params * 1e6, rel=0.005)


def test_more_fused_stages_cost_more():
    costs = [cost(TINY), *(cost(Fuse(stages=tuple(range(1, last + 1)))(TINY)) for last in (1, 2, 3))]
    assert [c.macs for c in costs] == sorted({c.macs for c in costs})
    assert [c.params for c in costs] == sorted({c.params for c in costs})


def test_without_numbers_what_is_fused_already_stays():
    assert Fuse()(S).stages[:3] == S.stages[:3]
    assert all(isinstance(stage.block, FusedMBConv) for stage in Fuse()(S).stages)


@pytest.mark.parametrize("number", [0, -1, 4])
def test_a_stage_that_is_not_there_is_refused(number):
    with pytest.raises(ValueError, match=f"Fuse names stage {number}, but stages are numbered from 1 to 3"):
        Fuse(stages=(1, number))(TINY)


@pytest.mark.parametrize(("base", "kind"), [(S, "FusedMBConv"), (R50, "Bottleneck")])
def test_a_stage_of_another_block_is_refused(base, kind):
    with pytest.raises(ValueError, match=f"needs stages of MBConv, but stage 2 has {kind}; leave it out"):
        Fuse(stages=(2,))(base)


def test_where_there_is_nothing_to_fuse_it_changes_nothing():
    with pytest.raises(ValueError, match="changes nothing"):
        Fuse()(R50)


def test_groups_are_not_lost_in_silence():
    grouped = put(TINY, "stages.1.block.group_width", 16)
    with pytest.raises(ValueError, match=r"the groups of stage 2 \(group_width=16\) one dense convolution"):
        Fuse()(grouped)
    assert Fuse(stages=(1, 3))(grouped).stages[1] == grouped.stages[1]


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="Fuse needs an odd kernel, got kernel=2"):
        Fuse(kernel=2)
