import math

import numpy as np
import pytest
from scipy import stats

from paretina.measure.intervals import Interval, combined_mean, mean_interval, paired_interval, t_quantile, wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 20), (7612, 10000)])
def test_wilson_agrees_with_scipy(successes, n):
    wanted = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    value, low, high = wilson(successes, n)
    assert value == successes / n
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert 0.0 <= low <= value <= high <= 1.0


def test_wilson_by_hand():
    # 0 of n: the upper end is z^2 / (n + z^2)
    z = 1.959963984540054
    assert wilson(0, 10).high == pytest.approx(z * z / (10 + z * z))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (2, 1), (-1, 3)])
def test_wilson_refuses_shares_that_cannot_be(successes, n):
    with pytest.raises(ValueError, match="0 <= successes <= n"):
        wilson(successes, n)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 29, 99, 200, 201, 1000, 50_000])
def test_t_quantile_agrees_with_scipy(freedom):
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_t_quantile_needs_freedom():
    with pytest.raises(ValueError, match="at least one degree of freedom, got 0"):
        t_quantile(0)


def test_mean_of_three_by_hand():
    # mean 2, standard deviation 1, t(2) = 4.302653
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))


def test_one_run_has_no_interval():
    with pytest.raises(ValueError, match="at least two values, got 1; run more seeds"):
        mean_interval([77.0])


def test_a_failed_run_has_no_interval():
    with pytest.raises(ValueError, match="finite"):
        mean_interval([77.0, math.nan])


def test_pairs_cancel_what_the_seeds_share():
    base = [10.0, 50.0, 90.0]
    assert paired_interval([x + 1 for x in base], base) == Interval(1.0, 1.0, 1.0)


def test_pairs_must_match():
    with pytest.raises(ValueError, match="got 2 and 1"):
        paired_interval([1.0, 2.0], [1.0])


@pytest.mark.parametrize("truth", [(0.99, 0.01, 0.02), (0.5, 0.6, 0.9), (0.05, 0.1, 0.02, 0.9, 0.99, 0.4)])
@pytest.mark.parametrize("n", [10, 50])
def test_the_combined_interval_of_several_shares_covers_their_mean(truth, n):
    drawn = np.random.default_rng(0).binomial(n, truth, (1000, len(truth)))
    covered = 0
    for row in drawn.tolist():
        _, low, high = combined_mean([wilson(successes, n) for successes in row])
        covered += low <= sum(truth) / len(truth) <= high
    assert covered / 1000 >= 0.93


def test_the_combined_interval_of_one_share_is_its_own():
    assert combined_mean([wilson(3, 10)]) == pytest.approx(wilson(3, 10))
    with pytest.raises(ValueError, match="at least one part"):
        combined_mean([])
