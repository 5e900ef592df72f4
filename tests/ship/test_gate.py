"""What the gate lets through, and what it says where it does not."""

import math

import pytest
import torch

from paretina.measure.statistics import Interval, paired_difference
from paretina.ship.gate import LIMITS, Limits, accuracies, agreements, enough, judged, loss_judged


def test_a_paired_difference_counts_only_where_both_differ():
    few, many = paired_difference(5, 1, 100), paired_difference(50, 10, 1000)
    assert few.value == many.value == pytest.approx(0.04)
    assert few.high - few.low > many.high - many.low
    assert few.low < 0.04 < few.high
    nothing = paired_difference(0, 0, 1000)
    assert nothing.value == 0
    assert 0 < nothing.high < 0.004  # nobody has seen a loss, but a small one cannot be excluded


def test_the_interval_covers_what_it_should():
    generator = torch.Generator().manual_seed(0)
    n, lose, win = 400, 0.03, 0.02
    hits = 0
    for _ in range(1000):
        draw = torch.rand(n, generator=generator)
        lost, won = int((draw < lose).sum()), int(((draw >= lose) & (draw < lose + win)).sum())
        found = paired_difference(won, lost, n)
        hits += found.low <= win - lose <= found.high
    assert hits / 1000 > 0.93


def test_accuracies_are_those_of_both_and_their_difference():
    right = torch.tensor([True] * 60 + [False] * 40)
    now = torch.tensor([True] * 55 + [False] * 5 + [True] * 10 + [False] * 30)
    before, after, gained, p = accuracies(right, now)
    assert (before.value, after.value) == (60.0, 65.0)
    assert gained.value == pytest.approx(5.0)
    assert gained.low < 0 < gained.high
    assert 0.2 < p < 0.4


def test_another_answer_counts_only_where_the_network_was_sure():
    own = torch.tensor([[0.5, 0.499, 0.001], [0.9, 0.05, 0.05]])
    limits = Limits(0.999, 5e-3, 0.01)
    assert agreements(own, torch.tensor([True, False]), limits) == (0.5, 0)
    assert agreements(own, torch.tensor([False, True]), limits) == (0.5, 1)


@pytest.mark.parametrize(
    ("agreement", "moved", "largest", "verdict"),
    [(1.0, 0, 1e-6, "passed"), (0.999, 1, 1e-3, "passed"), (0.99, 10, 1e-3, "failed"), (1.0, 0, 0.02, "failed")],
)
def test_float32_must_be_the_same_network(agreement, moved, largest, verdict):
    found, why = judged(agreement, moved, largest, Interval(0, 0, 0), 1000, LIMITS["float32"], "float32")
    assert found == verdict
    assert bool(why) == (verdict != "passed")


def test_probabilities_that_are_no_numbers_fail():
    assert judged(1.0, 0, math.inf, None, 100, LIMITS["float32"], "float32")[0] == "failed"


@pytest.mark.parametrize(
    ("gained", "verdict", "words"),
    [
        (Interval(-0.1, -0.4, 0.2), "passed", ""),
        (Interval(1.0, -0.2, 2.2), "passed", ""),
        (Interval(-3.0, -4.0, -2.0), "failed", "changed by -3.00 points, and only 0.5 may be lost"),
        (Interval(0.0, -1.0, 1.0), "undecided", "about 4,000 pictures are needed"),
        (Interval(-0.8, -2.0, 0.4), "undecided", "cannot be told"),
    ],
)
def test_a_loss_is_judged_by_its_interval(gained, verdict, words):
    found, why = loss_judged(gained, 1000, 0.5)
    assert found == verdict
    assert words in why
    point, _ = loss_judged(gained, 1000, 0.5, point=True)
    assert point == ("passed" if gained.value >= -0.5 else "failed")


def test_enough_pictures_would_decide():
    gained = Interval(-0.1, -1.1, 0.9)
    n = enough(gained, 500, 0.5)
    arm = 1.0 * math.sqrt(500 / n)
    assert gained.value - arm == pytest.approx(-0.5, abs=0.01)
