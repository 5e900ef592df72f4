"""Intervals: how far a measured number may lie from the truth.

All are two-sided 95 % intervals. Shares of pictures get Wilson's interval, means over runs get Student's, means of several
shares what the intervals of the shares combine to.

Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference"; quantiles of Student's t after
Abramowitz & Stegun 1964, formulas 26.7.3, 26.7.4 (exact sums) and 26.7.5 (expansion for many degrees of freedom); combining:
Zou, Huang & Zhang 2009, "A note on confidence interval estimation for a linear function of binomial proportions".
"""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

LEVEL = 0.95
MANY = 200
"""Degrees of freedom above which the expansion of the t quantile is exact to ten digits."""


class Interval(NamedTuple):
    """A number and the two ends between which the truth lies with 95 % confidence."""

    value: float
    low: float
    high: float


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """The interval of a share, in [0, 1]; sound for few trials and for shares of 0 and 1, where p ± 2 s is not.

    Args:
        level: how likely it covers the true share.

    Raises:
        ValueError: there was no trial, or there were more successes than trials.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"a share needs n >= 1 and 0 <= successes <= n, got successes={successes}, n={n}")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # the ends of 0 of n and n of n are 0 and 1 exactly, but for rounding
    return Interval(share, 0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def mean_interval(values: Sequence[float]) -> Interval:
    """The interval of the mean of independent, roughly normal values, such as one score a seed.

    Raises:
        ValueError: fewer than two values, which say nothing about their spread, or one that is not finite.
    """
    if len(values) < 2:
        raise ValueError(f"an interval of a mean needs at least two values, got {len(values)}; run more seeds")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"an interval of a mean needs finite values, got {list(values)}")
    mean = fmean(values)
    half = t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def combined_mean(parts: Sequence[Interval]) -> Interval:
    """The interval of the mean of independent numbers, from an interval of each, such as the recalls of several classes.

    Its arms are the root of the summed squares of the arms below, and above, divided by the number of parts. So it has a width
    even where every share is 0 or 1, of which resampling sees no spread. With a handful of trials a part it is too narrow; see
    `paretina.measure.accuracy`.

    Raises:
        ValueError: there is no part.
    """
    if not parts:
        raise ValueError("an interval of a mean needs at least one part, got none")
    mean = fmean(part.value for part in parts)
    below = math.hypot(*(part.value - part.low for part in parts)) / len(parts)
    above = math.hypot(*(part.high - part.value for part in parts)) / len(parts)
    return Interval(mean, mean - below, mean + above)


def paired_interval(a: Sequence[float], b: Sequence[float]) -> Interval:
    """The interval of the mean of a - b where the two come in pairs, such as two recipes on the same seeds.

    Raises:
        ValueError: the numbers of values differ, or there are fewer than two pairs.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values must be equally many, got {len(a)} and {len(b)}")
    return mean_interval([x - y for x, y in zip(a, b, strict=True)])


def t_quantile(freedom: int) -> float:
    """The number that |t| stays under with 95 % probability, for `freedom` >= 1 degrees of freedom."""
    if freedom < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, got {freedom}")
    if freedom > MANY:
        return t_expansion(freedom)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_inside(middle, freedom) < LEVEL else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def t_inside(angle: float, freedom: int) -> float:
    """The probability that |t| < sqrt(freedom) * tan(angle), as a finite sum."""
    odd = freedom % 2
    cosine = math.cos(angle)
    term = cosine if odd else 1.0
    total = 0.0
    for i in range(freedom // 2):
        total += term
        over, under = (2 * i + 2, 2 * i + 3) if odd else (2 * i + 1, 2 * i + 2)
        term *= cosine * cosine * over / under
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def t_expansion(freedom: int) -> float:
    x = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    parts = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + sum(part / freedom**i for i, part in enumerate(parts, start=1))
