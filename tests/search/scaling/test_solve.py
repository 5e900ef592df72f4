"""The built, rounded network costs what was asked for, and never more."""

import random

import pytest

from paretina.measure.cost import cost
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.resnet import Basic, Bottleneck
from paretina.model.blueprint import Stage
from paretina.model.heads.pool import PoolHead
from paretina.model.stems.conv import ConvStem
from paretina.search.scaling import solve as solving
from paretina.search.scaling.shares import CORNERS, NAMED, Shares, named
from paretina.search.scaling.solve import Rules, Size, Solver, UnreachableError, by_units, grown, with_blocks
from quick_costs import fake_cost
from tiny import tiny_blueprint


def stage(depth, width, stride, block=None):
    return Stage(block=block or Basic(), depth=depth, width=width, stride=stride)


BASE = tiny_blueprint(stage(1, 16, 1), stage(2, 32, 2), stage(2, 48, 2), stem=ConvStem(width=16), resolution=32)


def solver(shares, by="macs", base=BASE, count=fake_cost, **rules):
    return Solver(base=base, shares=shares, by=by, rules=Rules(**{"multiple": 1, **rules}), count=count)


def test_factors_of_one_give_the_base_itself():
    size = Size(depths=(1, 2, 2), width=1.0, resolution=32, divisor=8)
    assert grown(BASE, size) == BASE
    assert solver(NAMED["fast"]).solve(1.0).blueprint == BASE


def test_depth_alone_multiplies_the_rows_and_changes_nothing_else():
    assert with_blocks((1, 2, 3), 3 * 6) == (4, 8, 12)
    found = grown(BASE, solver(CORNERS["depth"]).at(4.0, 8))
    assert [row.depth for row in found.stages] == [4, 8, 8]
    assert [row.width for row in found.stages] == [16, 32, 48]
    assert (found.resolution, found.stem) == (32, BASE.stem)


def test_blocks_come_one_at_a_time_and_of_equal_stages_the_last_first():
    assert [with_blocks((1, 1, 1), more) for more in range(4)] == [(1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2)]
    assert with_blocks((1, 2, 2, 1), 3, late=True) == (1, 2, 4, 2)


@pytest.mark.slow
def test_the_networks_of_rising_factors_never_get_cheaper():
    random.seed(0)
    for _ in range(10):
        parts = [random.random() for _ in range(3)]
        depth, width = parts[0] / sum(parts), parts[1] / sum(parts)
        one = solver(Shares(depth=depth, width=width, resolution=1 - depth - width))
        costs = [fake_cost(grown(BASE, one.at(1 + at / 8, 8))) for at in range(80)]
        for name in ("macs", "params"):
            values = [getattr(each, name) for each in costs]
            assert values == sorted(values)


@pytest.mark.slow
def test_the_cost_is_at_most_what_was_asked_and_the_next_step_would_exceed_it():
    random.seed(1)
    missed = 0
    for _ in range(12):
        parts = [random.random() + 0.1 for _ in range(3)]
        depth, width = parts[0] / sum(parts), parts[1] / sum(parts)
        times = random.uniform(1.5, 8.0)
        found = solver(Shares(depth=depth, width=width, resolution=1 - depth - width)).solve(times)
        assert found.ratio <= times < found.above
        assert found.ratio == fake_cost(found.blueprint).macs / fake_cost(BASE).macs
        missed += not found.within
    assert missed == 0  # within 5 % below, for all shares in which several dimensions grow


SMALL = tiny_blueprint(stage(1, 16, 2), stage(1, 32, 2), stem=ConvStem(width=16), resolution=32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["width", pytest.param("uniform", marks=pytest.mark.slow), "resolution"])
def test_four_times_is_four_times_for_the_networks_own_operators(name):
    found = solver(NAMED[name], base=SMALL, count=by_units).solve(4.0)
    assert 3.8 <= cost(found.blueprint).macs / cost(SMALL).macs <= 4.0
    assert found.cost("macs") == cost(found.blueprint).macs


def test_where_units_do_not_add_up_to_the_network_it_is_counted_as_a_whole(monkeypatch):
    monkeypatch.setattr(
        solving,
        "counts",
        lambda model: dict.fromkeys(("macs", "params", "activations"), sum(row.width for row in model.stages)),
    )
    found = solver(CORNERS["width"], "params", base=SMALL, count=by_units).solve(4.0)
    assert 3.8 <= cost(found.blueprint).params / cost(SMALL).params <= 4.0
    assert found.cost("params") == cost(found.blueprint).params


def test_other_costs_can_be_asked_for():
    width = solver(CORNERS["width"], "params", base=SMALL, count=by_units).solve(4.0)
    assert 3.8 <= cost(width.blueprint).params / cost(SMALL).params <= 4.0
    found = solver(CORNERS["resolution"], "activations").solve(2.0)
    assert 1.9 <= fake_cost(found.blueprint).activations / fake_cost(BASE).activations <= 2.0
    with pytest.raises(UnreachableError, match="cannot be reached by growing resolution"):
        solver(CORNERS["resolution"], "params").solve(2.0)
    with pytest.raises(ValueError, match="'mac' is not counted; did you mean 'macs'"):
        solver(NAMED["fast"], "mac")


def test_a_capped_image_leaves_its_growth_to_the_others():
    free, capped = solver(NAMED["efficientnet"]).solve(8.0), solver(named("efficientnet+cap36")).solve(8.0)
    assert free.size.resolution > 36 >= capped.size.resolution
    assert capped.within
    assert sum(capped.size.depths) > sum(free.size.depths) or capped.size.width > free.size.width
    with pytest.raises(UnreachableError, match="at most 36 pixels"):
        solver(named("resolution+cap36")).solve(8.0)


def test_late_stages_get_the_blocks():
    found = solver(named("depth+late")).solve(4.0)
    assert found.size.depths[0] == 1
    assert sum(found.size.depths) > 5


@pytest.mark.slow
def test_a_coarse_divisor_is_made_finer_only_where_the_target_is_missed():
    base = tiny_blueprint(stage(1, 24, 2), stem=ConvStem(width=24))
    coarse, usual = solver(CORNERS["width"], base=base, divisor=8), solver(CORNERS["width"], base=base)
    assert coarse.solve(3.0).ratio == pytest.approx((40 / 24) ** 2)
    assert usual.solve(3.0).ratio == pytest.approx((41 / 24) ** 2)
    assert not coarse.solve(3.0).within
    assert usual.solve(3.0).within
    assert usual.solve(4.0).size.divisor == 8  # twice the width is a multiple already


def test_groups_get_wider_and_their_number_stays():
    block = Bottleneck(squeeze=1, group_width=8)
    base = tiny_blueprint(stage(1, 32, 2, block), stage(1, 64, 2, block))
    found = grown(base, Size(depths=(1, 1), width=1.5, resolution=16, divisor=8))
    assert [(row.width, row.block.group_width) for row in found.stages] == [(48, 12), (96, 12)]
    odd = grown(base, Size(depths=(1, 1), width=1.3, resolution=16, divisor=8))  # 8 * 1.3 = 10 channels a group
    assert [(row.width, row.block.group_width) for row in odd.stages] == [(40, 10), (80, 10)]
    assert cost(odd).macs > cost(base).macs
    depthwise = tiny_blueprint(stage(1, 16, 2, MBConv(expand=2, kernel=3)))
    wider = grown(depthwise, Size(depths=(1,), width=2.0, resolution=16, divisor=8))
    assert (wider.stages[0].width, wider.stages[0].block.group_width) == (32, 1)


def test_bottlenecks_keep_widths_that_they_can_divide():
    base = tiny_blueprint(stage(1, 32, 2, Bottleneck()), head=PoolHead())
    found = Solver(base=base, shares=CORNERS["width"], rules=Rules(divisor=1)).solve(2.0)
    assert found.blueprint.stages[0].width % 4 == 0
    assert found.ratio <= 2.0


def test_rules_and_targets_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="scaled up"):
        solver(NAMED["fast"]).solve(0.5)
    with pytest.raises(ValueError, match="divisor is at least 1"):
        Rules(divisor=0)
    with pytest.raises(ValueError, match="tolerance is a share"):
        Rules(tolerance=0.6)


def test_images_keep_to_the_multiple_that_is_asked_for():
    found = solver(NAMED["efficientnet"], multiple=8).solve(4.0)
    assert found.size.resolution % 8 == 0
