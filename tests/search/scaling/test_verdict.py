"""The winner is the best of equal cost, and is not called where costs differ."""

import pytest

from paretina.search.scaling.verdict import ScoredShares, decide


def one(name, *top1, single="", within=True, ratio=2.0, ms=None):
    return ScoredShares(name, single, within, ratio, dict(enumerate(top1)), ms)


def test_the_most_accurate_of_equal_cost_wins_and_is_paired_with_the_best_single_dimension():
    found = decide(
        [one("fast", 82.0, 84.0, 83.0), one("width", 81.0, 82.9, 82.1, single="width"), one("depth", 80.0, 80.0, 80.0)]
    )
    assert (found.leader, found.winner, found.control) == ("fast", "fast", "width")
    # differences 1.0, 1.1, 0.9: mean 1.0, deviation 0.1, t(2) = 4.303
    assert found.gain.value == pytest.approx(1.0)
    assert found.gain.low == pytest.approx(1 - 4.303 * 0.1 / 3**0.5, abs=1e-3)
    assert "fast is +1.00 points" in found.said[0]
    assert "not clearly" not in found.said[0]


def test_what_costs_something_else_is_not_compared():
    depth = one("depth", 79.0, 79.1, 79.0, single="depth", within=False, ratio=1.7)
    width = one("width", 80.0, 80.1, 80.0, single="width")
    found = decide([one("fast", 82.0, 82.2, 82.0), depth, width])
    assert (found.winner, found.control) == ("fast", "width")
    better = decide([one("fast", 82.0), width, one("depth", 83.0, within=False, ratio=1.7)])
    assert (better.leader, better.winner) == ("fast", None)
    assert "no winner is called: depth is more accurate" in better.said[0]
    assert "even cheaper" in better.said[0]
    alone = decide([one("fast", 82.0), one("width", 80.0, within=False)])
    assert alone.winner is None
    none = decide([one("fast", 82.0, within=False)])
    assert none.leader is None
    assert "no network of the asked cost" in none.said[0]


def test_a_single_dimension_may_win_and_uncertain_gains_are_called_so():
    found = decide([one("fast", 80.0, 80.0, 80.1), one("width", 82.0, 82.0, 82.0, single="width")])
    assert found.winner == found.control == "width"
    assert "nothing is gained" in found.said[0]
    unsure = decide([one("fast", 80.0, 84.0), one("width", 81.0, 82.0, single="width")])
    assert (unsure.leader, unsure.winner) == ("fast", None)
    assert "no winner is called: fast is +0.50 points" in unsure.said[0]
    assert "not clearly better" in unsure.said[1]
    lone = decide([one("fast", 82.0), one("width", 80.0, single="width")])
    assert (lone.leader, lone.winner) == ("fast", None)
    assert "one seed says nothing about chance" in lone.said[0]


def test_the_reward_prefers_the_quicker_of_almost_equal_ones():
    # doubling the time must gain 5 %: 80 at 1 ms beats 81 at 2 ms
    found = decide([one("slow", 81.0, ms=2.0), one("quick", 80.0, single="width", ms=1.0)], target_ms=1.0)
    assert (found.leader, found.by_reward) == ("slow", "quick")
    assert decide([one("slow", 81.0, ms=2.0), one("quick", 76.0, ms=1.0)], target_ms=1.0).by_reward == "slow"


def test_latency_decides_only_among_networks_of_the_asked_cost():
    found = decide([one("fast", 80.0, ms=2.0), one("width", 90.0, within=False, ms=1.0)], target_ms=1.0)
    assert found.by_reward == "fast"
    assert decide([one("width", 90.0, within=False, ms=1.0)], target_ms=1.0).by_reward is None
    assert decide([one("fast", 80.0, ms=2.0)], target_ms=None).by_reward is None


def test_what_is_no_better_than_the_base_or_level_with_another_is_no_winner():
    width, fast = one("width", 80.0, 82.0, single="width"), one("fast", 70.0, 71.0)
    said = decide([width, fast], base=one("base", 81.0, 81.0))
    assert said.winner is None
    assert "none of the larger networks is more accurate than the base (81.00 %)" in " ".join(said.said)
    level = decide([width, one("depth", 82.0, 80.0, single="depth")])
    assert level.winner is None
    assert "width and depth are equally accurate" in " ".join(level.said)
    assert "alone is the most accurate" not in " ".join(level.said)
    lone = decide([one("width", 82.0, single="width"), one("fast", 80.0)])
    assert "in one training of each, which says little" in " ".join(lone.said)
