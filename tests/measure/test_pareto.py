import itertools
import math
import random

import numpy as np
import pytest
from scipy import stats

from paretina.measure.pareto import (
    Axis,
    Frontier,
    Point,
    chosen_interval,
    front_shares,
    rank_correlation,
    ranked,
    same_front,
    volume,
)
from paretina.measure.statistics import Interval, wilson

TOP1 = Axis(name="top1", better="high", unit="%")
MS = Axis(name="ms", relative=True)
X, Y = Axis(name="x"), Axis(name="y")


def frontier(rows, axes=(MS, TOP1)):
    points = (Point(name, dict(zip([axis.name for axis in axes], values, strict=True))) for name, *values in rows)
    return Frontier(axes, tuple(points))


def names(points):
    return [point.name for point in points]


def noise(count, seed, axes=(X, Y)):
    draw = random.Random(seed)
    return frontier([(str(i), *(draw.randint(1, 6) for _ in axes)) for i in range(count)], axes)


# --- dominance --------------------------------------------------------------------------------------------------------


def test_front_by_hand():
    found = frontier([("slow", 9.0, 70.0), ("quick", 1.0, 60.0), ("beaten", 9.5, 69.0), ("middle", 4.0, 70.0)])
    assert names(found.front()) == ["quick", "middle"]
    assert found.ranks() == {"quick": 0, "middle": 0, "slow": 1, "beaten": 2}


def test_directions_are_those_of_the_axes():
    rows = [("a", 1.0, 10.0), ("b", 2.0, 20.0)]
    assert names(frontier(rows, (X, Y)).front()) == ["a"]
    upwards = (Axis(name="x", better="high"), Axis(name="y", better="high"))
    assert names(frontier(rows, upwards).front()) == ["b"]


def test_equal_points_do_not_dominate_each_other():
    assert names(frontier([("a", 1.0, 10.0), ("b", 1.0, 10.0)]).front()) == ["a", "b"]


def test_dominance_is_irreflexive_and_transitive():
    found = noise(25, 1, (X, Y, TOP1))
    numbers, points = range(25), found.points
    better = {(a, b): found.dominates(points[a], points[b]) for a, b in itertools.product(numbers, repeat=2)}
    assert not any(better[a, a] for a in numbers)
    assert all(better[a, c] for a, b, c in itertools.product(numbers, repeat=3) if better[a, b] and better[b, c])
    assert any(better.values())


def test_add_leaves_the_frontier_as_it_was_and_refuses_what_does_not_fit():
    found = frontier([("a", 1.0, 10.0)])
    more = found.add(Point("b", {"ms": 2.0, "top1": 20.0, "more": 1.0}))
    assert names(found.points) == ["a"]
    assert names(more.front()) == ["a", "b"]
    with pytest.raises(ValueError, match="'a' already"):
        found.add(Point("a", {"ms": 2.0, "top1": 20.0}))
    with pytest.raises(ValueError, match="b needs a finite top1, got None"):
        found.add(Point("b", {"ms": 2.0}))
    with pytest.raises(ValueError, match="b needs a finite ms, got nan"):
        found.add(Point("b", {"ms": math.nan, "top1": 20.0}))
    with pytest.raises(ValueError, match="ms must be above 0"):
        found.add(Point("b", {"ms": 0.0, "top1": 20.0})).front()


def test_table_has_the_best_ranks_first():
    rows = frontier([("slow", 9.0, 60.0), ("quick", 1.0, 60.0)]).table()
    assert rows == [
        {"name": "quick", "rank": 0, "ms": 1.0, "top1": 60.0},
        {"name": "slow", "rank": 1, "ms": 9.0, "top1": 60.0},
    ]


# --- hypervolume ------------------------------------------------------------------------------------------------------


def test_hypervolume_by_hand():
    # two squares of 2, one unit of which they share
    assert frontier([("a", 1.0, 2.0), ("b", 2.0, 1.0)], (X, Y)).hypervolume({"x": 3.0, "y": 3.0}) == pytest.approx(3.0)


def test_hypervolume_of_a_relative_axis_is_in_logarithms():
    found = frontier([("a", 1.0, 60.0), ("b", math.e, 70.0)]).hypervolume({"ms": math.e**2, "top1": 50.0})
    assert found == pytest.approx(2 * 10 + 1 * 10)


def test_hypervolume_counts_the_cells_of_a_grid_that_are_dominated():
    for seed in range(5):
        found = noise(7, seed)
        cells = itertools.product(range(1, 9), repeat=2)
        dominated = sum(any(p.values["x"] <= x and p.values["y"] <= y for p in found.points) for x, y in cells)
        assert found.hypervolume({"x": 9.0, "y": 9.0}) == dominated


def test_what_lies_beyond_the_reference_adds_nothing():
    found = frontier([("a", 1.0, 2.0)], (X, Y))
    more = found.add(Point("b", {"x": 0.5, "y": 3.0})).add(Point("c", {"x": 4.0, "y": 0.0}))
    assert more.hypervolume({"x": 3.0, "y": 3.0}) == found.hypervolume({"x": 3.0, "y": 3.0}) == 2.0


def test_hypervolume_of_three_axes_is_refused():
    with pytest.raises(ValueError, match="one or two axes only, got 3"):
        volume([(1.0, 1.0, 1.0)], (0.0, 0.0, 0.0))


# --- the best so many -------------------------------------------------------------------------------------------------


def test_best_takes_whole_ranks_first():
    found = frontier([("slow", 9.0, 70.0), ("quick", 1.0, 60.0), ("beaten", 9.5, 69.0), ("middle", 4.0, 70.0)])
    assert set(names(found.best(3))) == {"quick", "middle", "slow"}


def test_best_keeps_the_ends_and_drops_the_crowded():
    rows = [("cheap", 1.0, 50.0), ("crowded", 9.5, 69.0), ("useful", 3.0, 65.0), ("best", 10.0, 70.0)]
    assert names(frontier(rows).best(3)) == ["cheap", "useful", "best"]
    assert set(names(frontier(rows).best(2))) == {"cheap", "best"}


def test_best_of_one_and_of_more_than_there_are():
    rows = [("a", 1.0, 50.0), ("b", 2.0, 60.0)]
    assert len(frontier(rows).best(1)) == 1
    assert set(names(frontier(rows).best(5))) == {"a", "b"}


def test_best_never_prefers_what_is_dominated():
    for seed in range(10):
        found = noise(12, seed)
        ranks = found.ranks()
        kept = names(found.best(6))
        worst = max(ranks[name] for name in kept)
        assert len(kept) == 6
        assert all(name in kept for name, rank in ranks.items() if rank < worst)


# --- how sure ---------------------------------------------------------------------------------------------------------


def test_a_point_that_nothing_comes_near_is_always_on_the_front():
    correct = np.zeros((3, 200), bool)
    correct[0, :150] = correct[1, :100] = correct[2, :20] = True
    costs = [Interval(10.0, 9.9, 10.1), Interval(1.0, 0.9, 1.1), Interval(5.0, 4.9, 5.1)]
    shares = front_shares(["good", "quick", "bad"], correct, MS, costs)
    assert shares == {"good": 1.0, "quick": 1.0, "bad": 0.0}


def test_two_that_differ_by_luck_share_the_front():
    random_ = np.random.default_rng(0)
    correct = random_.random((2, 400)) < 0.7
    shares = front_shares(["a", "b"], correct, MS, [Interval(5.0, 4.0, 6.0)] * 2)
    # better on both axes has a chance of a quarter for equals, so each stays on the front about three times in four
    assert all(0.4 < share < 1.0 for share in shares.values())


def test_shares_of_a_cost_that_should_be_high():
    rate = Axis(name="img_s", better="high")
    correct = np.ones((2, 50), bool)
    shares = front_shares(["slow", "fast"], correct, rate, [Interval(10.0, 10.0, 10.0), Interval(99.0, 99.0, 99.0)])
    assert shares == {"slow": 0.0, "fast": 1.0}


def test_shares_need_a_row_and_a_cost_each():
    with pytest.raises(ValueError, match="2 names"):
        front_shares(["a", "b"], np.ones((1, 5), bool), MS, [Interval(1.0, 1.0, 1.0)])


def test_interval_of_one_is_the_ordinary_one():
    assert chosen_interval(30, 40) == pytest.approx(wilson(30, 40))
    assert chosen_interval(0, 40, 9).low == 0.0
    assert chosen_interval(40, 40, 9).high == 1.0


def test_interval_of_the_best_of_many_covers_the_truth_where_the_ordinary_one_does_not():
    draw, n, among, truth = np.random.default_rng(1), 200, 20, 0.7
    ordinary = strict = 0
    for best in draw.binomial(n, truth, (400, among)).max(1):
        ordinary += wilson(int(best), n).low <= truth
        strict += chosen_interval(int(best), n, among).low <= truth
    assert ordinary / 400 < 0.85
    assert strict / 400 > 0.95


def test_an_interval_needs_trials():
    for wrong in ((0, 0, 1), (3, 2, 1), (1, 2, 0)):
        with pytest.raises(ValueError, match="needs"):
            chosen_interval(*wrong)


# --- two orders -------------------------------------------------------------------------------------------------------


def test_equal_values_share_a_place():
    assert ranked([5.0, 1.0, 5.0, 9.0]) == [2.5, 1.0, 2.5, 4.0]


def test_rank_correlation_agrees_with_scipy():
    draw = random.Random(2)
    a = [draw.randint(0, 9) for _ in range(20)]
    b = [value + draw.randint(0, 9) for value in a]
    rho, found = rank_correlation(a, b)
    assert rho == found.value == pytest.approx(stats.spearmanr(a, b).statistic)
    assert -1 < found.low < found.value < found.high < 1


def test_the_same_order_correlates_fully_and_its_reverse_inversely_without_an_interval():
    assert rank_correlation([1, 2, 3, 9], [1, 4, 9, 10]) == (1.0, None)
    assert rank_correlation([1, 2, 3, 9], [4, 3, 2, 1]) == (-1.0, None)


def test_no_order_can_be_told_from_few_or_from_equals():
    assert rank_correlation([1, 2, 3], [1, 2, 3]) is None
    assert rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None
    with pytest.raises(ValueError, match="equally many"):
        rank_correlation([1], [1, 2])


def test_what_two_fronts_share():
    macs = Axis(name="macs", relative=True)
    counted = frontier([("a", 1.0, 60.0), ("b", 2.0, 70.0), ("c", 3.0, 65.0)], (macs, TOP1))
    measured = frontier([("a", 9.0, 60.0), ("b", 8.0, 70.0), ("c", 3.0, 65.0)])
    assert same_front(counted, measured) == ({"b"}, {"a"}, {"c"})
