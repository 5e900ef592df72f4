"""Computes confidence intervals and significance tests.

All are two-sided 95 % intervals. Shares of pictures get Wilson's interval, means over runs get Student's, means of several
shares what the intervals of the shares combine to. Two networks that were tested on the same pictures are told apart by
McNemar's exact test, and the difference of their shares has Agresti and Min's interval.

Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference"; McNemar 1947, "Note on the sampling
error of the difference between correlated proportions or percentages"; Agresti & Min 2005, "Simple improved confidence
intervals for comparing matched proportions"; combining: Zou, Huang & Zhang 2009, "A note on
confidence interval estimation for a linear function of binomial proportions".
"""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

LEVEL = 0.95


class Interval(NamedTuple):
    """A number and the two ends between which the truth lies with 95 % confidence."""

    value: float
    low: float
    high: float


def as_columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    """An interval as table columns: `name`, `name_low` and `name_high`, all None if there is no interval."""
    value, low, high = interval or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def as_object(interval: Interval | None) -> dict[str, float] | None:
    """An interval as a JSON object with `value`, `low` and `high`, or null."""
    return None if interval is None else interval._asdict()


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """The interval of a share, in [0, 1]; sound for few trials and for shares of 0 and 1, where p ± 2 s is not.

    Args:
        level: confidence level.

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


def clustered_share(parts: Sequence[tuple[int, int]]) -> Interval:
    """The interval of a share of trials that come in groups, in [0, 1], such as right answers on pictures of several patients.

    Wilson's interval for as many independent trials as say as much (Kish 1965, Survey Sampling, section 8.2; Korn and Graubard
    1998, "Confidence intervals for proportions with small expected number of positive counts estimated from survey data"), with
    Student's quantile for the number of groups. Where all groups have the same share, a group counts as one trial.

    Args:
        parts: successes and trials of each group.

    Raises:
        ValueError: there are fewer than two groups with a trial, or one has more successes than trials.
    """
    if any(not 0 <= successes <= trials for successes, trials in parts):
        raise ValueError("a group of trials needs 0 <= successes <= trials")
    groups = [(successes, trials) for successes, trials in parts if trials]
    if len(groups) < 2:
        raise ValueError(f"the interval of a share over groups needs two groups or more, got {len(groups)}")
    n, count = sum(trials for _, trials in groups), len(groups)
    share = sum(successes for successes, _ in groups) / n
    spread = count / (count - 1) * sum((successes - share * trials) ** 2 for successes, trials in groups) / n**2
    alone = share * (1 - share)
    worth = min(float(n), alone / spread) if alone > 0 and spread > 0 else float(count)
    t = t_quantile(count - 1)
    centre = (share + t * t / (2 * worth)) / (1 + t * t / worth)
    half = t / (1 + t * t / worth) * math.sqrt(alone / worth + t * t / (4 * worth * worth))
    return Interval(share, 0.0 if share == 0 else centre - half, 1.0 if share == 1 else centre + half)


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


def paired_difference(won: int, lost: int, n: int) -> Interval:
    """The difference of two shares over the same n trials, (won - lost) / n, with its 95 % interval.

    Wald's with half a trial more in each of the four cells (Agresti & Min 2005), which covers also where few differ or none.

    Args:
        won: trials in which only the first succeeded.
        lost: trials in which only the second did.

    Raises:
        ValueError: there was no trial, or more differ than there are.
    """
    if n < 1 or won < 0 or lost < 0 or won + lost > n:
        raise ValueError(f"a paired difference needs n >= 1 and won + lost <= n, got won={won}, lost={lost}, n={n}")
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    a, b, all_of_them = won + 0.5, lost + 0.5, n + 2.0
    centre = (a - b) / all_of_them
    half = z * math.sqrt(a + b - (a - b) ** 2 / all_of_them) / all_of_them
    value = (won - lost) / n
    return Interval(value, min(value, centre - half), max(value, centre + half))


# --- Student's t and McNemar's test --------------------------------------------------------------------------------------


def t_quantile(freedom: int) -> float:
    """The number that |t| stays under with 95 % probability, for `freedom` >= 1 degrees of freedom."""
    return t_limit(1 - LEVEL, freedom)


def t_limit(level: float, freedom: int) -> float:
    """The number that |t| exceeds with a probability of `level`.

    Raises:
        ValueError: the level is not between 0 and 1, or there is no degree of freedom.
    """
    if not 0 < level < 1 or freedom < 1:
        raise ValueError(f"Student's t needs 0 < level < 1 and freedom >= 1, got level={level}, freedom={freedom}")
    from scipy.special import stdtrit  # a quarter of a second to import, which most commands never need

    return -float(stdtrit(freedom, level / 2))


def t_above(t: float, freedom: int) -> float:
    """The probability that Student's t is larger than `t`."""
    from scipy.special import stdtr

    return float(stdtr(freedom, -t))


def mcnemar(only_one: int, only_other: int) -> float:
    """The p-value of McNemar's exact test, two-sided: how likely such a difference is where both recognise equally many.

    Args:
        only_one: pictures that one of them alone recognises.
        only_other: pictures that the other alone recognises.
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_one, only_other), only_one + only_other, 0.5)))
