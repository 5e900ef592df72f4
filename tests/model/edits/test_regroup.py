"""Grouped in place of depthwise convolutions, with the counts of the sheet."""

from dataclasses import replace

import pytest

from covering import few
from paretina.measure.cost import cost
from paretina.model.edits.regroup import Regroup
from paretina.model.families.efficientnet import B0, B1, B2, B3, B4, B5
from paretina.model.families.resnet import R50
from paretina.model.layers import Convolution
from paretina.model.norms.group import GroupNorm
from paretina.spec import put


def spatial(blueprint):
    """Channels and groups of every convolution that is larger than 1x1, the stem's left out."""
    stages = replace(blueprint, resolution=32).build("meta").stages
    found = [module for module in stages.modules() if isinstance(module, Convolution) and module.kernel_size[0] > 1]
    return [(conv.in_channels, conv.groups) for conv in found]


@pytest.mark.parametrize(
    ("base", "params"),
    few([(B0, 5913796), (B1, 8332120), (B2, 9504122), (B3, 12590896), (B4, 19328168), (B5, 28715320)]),
)
def test_has_the_published_parameters(base, params):
    grouped = Regroup()(base)
    assert cost(replace(grouped, norm=GroupNorm(groups=1, eps=1e-3)), 64).params == params
    assert cost(grouped, 64).params == params  # batch norm has as many


def test_has_the_published_parameters_in_each_stage():
    stages = [[5768], [12660, 20118], [46262, 80890], [46410, 111860, 111860], [204084, 307132, 307132]]
    stages += [[343132, 680112, 680112, 680112], [582064]]
    wanted = [928, *(sum(blocks) for blocks in stages), 412160 + 1281000]
    assert [stage.params for stage in cost(Regroup()(B0), 64).stages] == wanted


def test_groups_alone_and_expansion_alone_have_the_published_counts():
    grouped = cost(Regroup(expand=None)(B0))
    assert grouped.params == 8018788
    assert grouped.macs == pytest.approx(0.904e9, rel=0.01)
    narrow = cost(put(Regroup()(B0), "stages.*.block.group_width", 1))
    assert narrow.params == 4092196
    assert narrow.macs == pytest.approx(0.271e9, rel=0.01)


def test_every_block_has_groups_of_sixteen_where_they_fit():
    found = spatial(Regroup()(B0))
    assert all(width == 16 * groups for width, groups in found)
    assert found[0] == (32, 2)
    assert found[1] == (64, 4)  # 16 channels expanded by 4


@pytest.mark.parametrize(
    ("base", "first"),
    [(B1, [(32, 2), (16, 1)]), (B3, [(40, 2), (24, 1)]), (B4, [(48, 3), (24, 1)]), (B5, [(48, 3), (24, 1), (24, 1)])],
)
def test_widths_that_are_no_multiple_make_wider_groups(base, first):
    # 40 channels: two groups of 20; 24 channels: one group, a dense convolution
    assert spatial(Regroup()(base))[: len(first)] == first


def test_blocks_that_do_not_expand_stay_so():
    assert [stage.block.expand for stage in Regroup()(B0).stages] == [1, 4, 4, 4, 4, 4, 4]
    assert [stage.block.expand for stage in Regroup(expand=None)(B0).stages] == [1, 6, 6, 6, 6, 6, 6]


def test_borders_stay():
    before, after = cost(B0, 64), cost(Regroup()(B0), 64)
    assert [stage.output for stage in before.stages] == [stage.output for stage in after.stages]


def test_a_network_without_depthwise_convolutions_is_refused():
    with pytest.raises(ValueError, match="no stage has depthwise convolutions to regroup"):
        Regroup()(R50)


@pytest.mark.parametrize("given", [{"group_width": 1}, {"expand": 1}])
def test_numbers_without_meaning_are_refused(given):
    with pytest.raises(ValueError, match="Regroup needs group_width >= 2, and expand >= 2 or None"):
        Regroup(**given)
