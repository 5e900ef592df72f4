"""Intervals hold the truth in about 95 % of cases; `benchmarks/coverage.py` has more of them, and more draws."""

import math

import numpy as np
import pytest
import torch

from paretina.measure.ood import auroc
from paretina.measure.pareto import rank_correlation
from paretina.measure.statistics import mean_interval, paired_difference, wilson

DRAWS = 1000
LEAST, MOST = 0.935, 0.975
"""Two standard errors of 1,000 draws around 95 %, and a little more above, since shares are discrete."""


def covered(draw, truth, times=DRAWS):
    random = np.random.default_rng(0)
    found = [draw(random) for _ in range(times)]
    return sum(each.low <= truth <= each.high for each in found) / times


@pytest.mark.parametrize("n", [300, 2000])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_shares(n, share):
    assert LEAST <= covered(lambda random: wilson(int(random.binomial(n, share)), n), share) <= MOST


@pytest.mark.parametrize(("few", "share"), [(5, 0.6), (10, 0.8), (30, 0.9)])
def test_recalls_of_classes_with_few_pictures_hold_at_least_as_often(few, share):
    assert covered(lambda random: wilson(int(random.binomial(few, share)), few), share) >= LEAST


@pytest.mark.parametrize("n", [300, 2000])
@pytest.mark.parametrize(("win", "lose"), [(0.1, 0.08), (0.03, 0.02), (0.0, 0.01)])
def test_differences_over_the_same_pictures(n, win, lose):
    def draw(random):
        won, lost, _ = random.multinomial(n, (win, lose, 1 - win - lose))
        return paired_difference(int(won), int(lost), n)

    assert LEAST <= covered(draw, win - lose) <= MOST


def test_differences_that_are_seldom_hold_at_least_as_often():
    def draw(random):
        won, lost, _ = random.multinomial(300, (0.005, 0.005, 0.99))
        return paired_difference(int(won), int(lost), 300)

    assert covered(draw, 0.0) >= LEAST


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_means_of_seeds(seeds):
    assert LEAST <= covered(lambda random: mean_interval(random.normal(80, 0.4, seeds).tolist()), 80.0) <= MOST


@pytest.mark.parametrize("count", [8, 20])
def test_rank_correlations(count):
    truth = 6 / math.pi * math.asin(0.35)  # Spearman's, of a normal pair with correlation 0.7

    def draw(random):
        while True:  # a correlation of exactly 1 has no interval
            pairs = random.multivariate_normal((0, 0), ((1, 0.7), (0.7, 1)), count)
            known = rank_correlation(pairs[:, 0].tolist(), pairs[:, 1].tolist())
            if known is not None and known[1] is not None:
                return known[1]

    assert LEAST <= covered(draw, truth) <= MOST


def test_auroc():
    truth = 0.5 * (1 + math.erf(1.5 / 2))

    def draw(random):
        return auroc(torch.from_numpy(random.normal(1.5, 1, 300)), torch.from_numpy(random.normal(0, 1, 300)))

    assert LEAST <= covered(draw, truth, 500) <= MOST
