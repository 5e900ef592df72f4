import itertools
import math

import numpy as np
import pytest
from scipy import stats

from paretina.measure.statistics import (
    Interval,
    as_columns,
    as_object,
    clustered_share,
    combined_mean,
    mcnemar,
    mean_interval,
    paired_interval,
    t_above,
    t_limit,
    t_quantile,
    wilson,
)


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


# printed in every table of Student's t, such as Abramowitz & Stegun 1964, table 26.10
@pytest.mark.parametrize(
    ("freedom", "limit"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (120, 1.980)]
)
def test_t_quantile_as_printed(freedom, limit):
    assert t_quantile(freedom) == pytest.approx(limit, abs=5.1e-4)


def test_many_degrees_of_freedom_are_a_normal_distribution():
    assert t_quantile(50_000_000) == pytest.approx(1.959963984540054, rel=1e-7)


@pytest.mark.parametrize("level", [0.2, 0.05, 0.05 / 7, 0.025 / 20, 1e-9])
def test_limits_of_one_and_two_degrees_of_freedom_by_formula(level):
    # Cauchy's distribution, and one whose tail (1 - t / sqrt(2 + t^2)) / 2 can be solved for t
    assert t_limit(level, 1) == pytest.approx(1 / math.tan(math.pi * level / 2), rel=1e-9)
    assert t_limit(level, 2) == pytest.approx((1 - level) * math.sqrt(2 / (level * (2 - level))), rel=1e-9)


@pytest.mark.parametrize("t", [-30.0, -3.0, 0.0, 0.7, 12.0, 1e6])
def test_tails_of_one_and_three_degrees_of_freedom_by_formula(t):
    angle = math.atan2(math.sqrt(3), t)  # what is left to a quarter turn, so that nothing cancels for large t
    assert t_above(t, 1) == pytest.approx(math.atan2(1, t) / math.pi, rel=1e-9)
    assert t_above(t, 3) == pytest.approx((angle - math.sin(2 * angle) / 2) / math.pi, rel=1e-6, abs=1e-17)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 30, 301])
@pytest.mark.parametrize("level", [0.2, 0.05, 0.025 / 20])
def test_a_limit_is_exceeded_as_often_as_its_level_says(level, freedom):
    assert 2 * t_above(t_limit(level, freedom), freedom) == pytest.approx(level, rel=1e-9)


@pytest.mark.parametrize(("level", "freedom"), [(0.0, 3), (1.0, 3), (0.05, 0)])
def test_a_limit_needs_a_level_and_freedom(level, freedom):
    with pytest.raises(ValueError, match="0 < level < 1 and freedom >= 1"):
        t_limit(level, freedom)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8])
def test_mcnemar_counts_coins_one_by_one(n):
    throws = [sum(throw) for throw in itertools.product((0, 1), repeat=n)]
    for fewer in range(n // 2 + 1):
        expected = sum(min(heads, n - heads) <= fewer for heads in throws) / 2**n
        assert mcnemar(fewer, n - fewer) == mcnemar(n - fewer, fewer) == pytest.approx(expected)


def test_mcnemar_has_no_trouble_with_many_pictures():
    # a deviation of 10,000 coins is 50: 4,900 heads lie two of them (and half a coin) below the middle
    assert mcnemar(4900, 5100) == pytest.approx(math.erfc(1.99 / math.sqrt(2)), rel=0.01)
    assert mcnemar(5000, 5000) == 1.0
    assert mcnemar(0, 10_000_000) == 0.0


def test_an_interval_as_columns_and_as_an_object():
    found = Interval(2.0, 1.0, 3.5)
    assert as_columns("top1", found) == {"top1": 2.0, "top1_low": 1.0, "top1_high": 3.5}
    assert as_columns("top1", None) == {"top1": None, "top1_low": None, "top1_high": None}
    assert as_object(found) == {"value": 2.0, "low": 1.0, "high": 3.5}
    assert as_object(None) is None


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


# --- shares over groups -------------------------------------------------------------------------------------------------


def test_a_share_over_groups_covers_what_pictures_alone_would_not():
    random = np.random.default_rng(0)
    inside = alone = 0
    for _ in range(400):
        parts = []
        for _ in range(12):
            share = random.beta(3, 1)  # 0.75 on average, and very different from group to group
            trials = int(random.integers(5, 30))
            parts.append((int(random.binomial(trials, share)), trials))
        _, low, high = clustered_share(parts)
        inside += low <= 0.75 <= high
        _, low, high = wilson(sum(hits for hits, _ in parts), sum(trials for _, trials in parts))
        alone += low <= 0.75 <= high
    assert inside / 400 >= 0.92
    assert alone / 400 < 0.75


def test_groups_without_spread_count_once_each():
    found = clustered_share([(5, 5)] * 6)
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(6 / (6 + t_quantile(5) ** 2))
    single = clustered_share([(number % 2, 1) for number in range(200)])
    assert single == pytest.approx(wilson(100, 200), abs=2e-3)  # Student's quantile instead of the normal one


@pytest.mark.parametrize(("parts", "reason"), [([(1, 2)], "two groups or more, got 1"), ([(3, 2), (1, 1)], "successes")])
def test_shares_over_groups_that_cannot_be(parts, reason):
    with pytest.raises(ValueError, match=reason):
        clustered_share(parts)
