"""Verdicts on whether a refinement is worth its cost, from pairs of runs with and without it, one pair per seed.

Both runs of a pair have the same seed, so effects of the seed on both cancel in their difference. The gain is the mean
difference in top-1, in points (percent of the validation pictures), with Student's t interval; costs are ratios of the run with
the refinement to the run without it, with intervals on a logarithmic scale. All intervals cover the variation between seeds on
these validation pictures; they do not cover other pictures.

The tested quantity is the worth: the gain minus the price of its costs. One-sided tests in both directions give one p-value per
switch, and the p-values of all switches are Holm-corrected, so that with 95 % confidence none of the verdicts "worth it" and
"not worth it" is wrong, however the switches depend on each other. By default nothing is priced, and a refinement is worth it
if it gains and training takes at most twice as long, both significantly.

- "worth it" needs both, so its p-value is the larger one of the two (intersection-union test);
- "not worth it" needs one of the two, so 9/10 of its error rate are given to the gain and 1/10 to the time, which is measured
  far more precisely.

Adding seeds after looking at the results is multiple testing. So each look at the verdicts of a study spends a part of the 5 %
error rate: half of what remains, or all of it if it is declared the last. Verdicts of earlier looks are kept. The number of
added seeds may depend on the results, which the sum of these parts does not fully cover: of simulated studies without any
effect that are extended twice as advised, 4.6 % have a wrong verdict (benchmarks/ablation_statistics.py).

With fewer than 3 pairs there is no verdict. Equal differences do not make a gain certain if there are few validation pictures:
the standard deviation is at least the resolution of a difference of two counts of pictures.

Source: Holm 1979, "A simple sequentially rejective multiple test procedure"; Berger 1982, "Multiparameter hypothesis testing
and acceptance sampling" (intersection-union); error spent over looks as in Lan & DeMets 1983, by Bonferroni's inequality.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import NormalDist, fmean, variance
from typing import Any, Literal, NamedTuple

from paretina.measure.statistics import Interval, as_object, t_above, t_limit

LEVEL = 0.05
"""Family-wise error rate: fraction of studies in which any verdict may be wrong."""

LEAST_PAIRS = 3
POWER = 0.8
MOST_SEEDS = 200
"""Number of seeds above which no recommendation is given."""

GAIN_SHARE = 0.9
"""Part of the error rate of "not worth it" for the gain, if training time has a limit."""

Said = Literal["worth it", "not worth it", "cannot tell yet"]


# --- power ----------------------------------------------------------------------------------------------------------------


def power(effect: float, pairs: int, level: float) -> float:
    """The probability that a two-sided t-test at `level` finds an effect and its sign.

    Args:
        effect: mean of the differences, in units of their standard deviation.
    """
    # scipy's noncentral t (1.17) gives nan for some ordinary values, such as 60 pairs, an effect of 5 and a level of 0.2
    freedom, limit = pairs - 1, t_limit(level, pairs - 1)
    shift = abs(effect) * math.sqrt(pairs)
    # t exceeds the limit if the mean does for the deviation w, in units of the true one, and w^2 * freedom is chi-squared
    logarithm = math.log(2) + freedom / 2 * math.log(freedom / 2) - math.lgamma(freedom / 2)
    reach = 8 / math.sqrt(2 * freedom)
    start, end, steps = max(0.0, 1 - reach), 1 + reach, 80 if freedom > 10 else 400
    step = (end - start) / steps
    normal, total = NormalDist(), 0.0
    for number in range(steps):
        w = start + (number + 0.5) * step
        density = math.exp(logarithm + (freedom - 1) * math.log(w) - freedom * w * w / 2)
        total += density * normal.cdf(shift - limit * w) * step
    return min(1.0, total)


def more_pairs(mean: float, deviation: float, pairs: int, level: float) -> int | None:
    """The number of additional pairs for a power of 0.8, if the estimated mean and deviation are right; None if too many.

    At least one, since there is no new verdict without another run.
    """
    if mean == 0:
        return None

    def tells(count: int) -> bool:
        return deviation == 0 or power(mean / deviation, count, level) >= POWER

    low, high = max(pairs, LEAST_PAIRS - 1), MOST_SEEDS
    if not tells(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high - pairs


# --- means of pairs ---------------------------------------------------------------------------------------------------------


class Mean(NamedTuple):
    """A mean of independent, roughly normal values.

    Attributes:
        error: standard error.
        freedom: degrees of freedom of the standard error.
    """

    value: float
    error: float
    freedom: int

    def interval(self, level: float = LEVEL) -> Interval:
        """The confidence interval with error rate `level`."""
        half = t_limit(level, self.freedom) * self.error
        return Interval(self.value, self.value - half, self.value + half)

    def above(self, limit: float) -> float:
        """The p-value of the null hypothesis "the mean is at most `limit`"."""
        if self.error == 0:
            return 0.0 if self.value > limit else 1.0
        return t_above((self.value - limit) / self.error, self.freedom)

    def below(self, limit: float) -> float:
        """The p-value of the null hypothesis "the mean is at least `limit`"."""
        return Mean(-self.value, self.error, self.freedom).above(-limit)


def mean_of(values: Sequence[float], resolution: float = 0.0, error: float = 0.0) -> Mean | None:
    """The mean of some values, or None if they are too few.

    Args:
        resolution: step of the scale of differences of two counts; a lower bound of the visible deviation.
        error: standard error of a common term of all values.
    """
    if len(values) < LEAST_PAIRS:
        return None
    spread = max(variance(values), resolution**2 / 6)  # a count is rounded to a step, whose variance is 1/12
    return Mean(fmean(values), math.sqrt(spread / len(values) + error**2), len(values) - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-corrected p-values, in the given order; these control the family-wise error rate."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for done, i in enumerate(order):
        highest = max(highest, (len(p_values) - done) * p_values[i])
        corrected[i] = min(1.0, highest)
    return corrected


# --- looks ------------------------------------------------------------------------------------------------------------------


def level_of_look(spent: float, final: bool = False) -> float:
    """The error rate that the next look may spend, given what earlier ones have spent.

    Raises:
        ValueError: nothing is left, since the last look has been taken.
    """
    left = LEVEL - spent
    if left < 1e-9:
        raise ValueError("this study had its last look at the verdicts; for more seeds or switches start another study")
    return left if final else left / 2


# --- verdicts ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Price:
    """What accuracy may cost.

    Attributes:
        train: points of top-1 that must be gained per percent of additional training time.
        inference: likewise for inference time per image.
        memory: likewise for peak training memory.
        least: smallest gain that counts, in points.
        most: largest factor on training time; None for no limit.
    """

    train: float = 0.0
    inference: float = 0.0
    memory: float = 0.0
    least: float = 0.0
    most: float | None = 2.0

    def __post_init__(self) -> None:
        for name in ("train", "inference", "memory", "least"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"a price is 0 points or more, got {name}={getattr(self, name)}")
        if self.most is not None and not 0 < self.most < math.inf:
            raise ValueError(f"most is a factor on training time, above 0, got most={self.most}")

    def to_dict(self) -> dict[str, float | None]:
        return asdict(self)

    def said(self) -> str:
        """The criterion for "worth it", in words."""
        parts = [f"more than {self.least:g} points" if self.least else "a gain in top-1"]
        named = (("train", "training time"), ("inference", "inference time"), ("memory", "memory in training"))
        parts += [
            f"{getattr(self, name):g} points per percent of additional {what}" for name, what in named if getattr(self, name)
        ]
        limit = f", and training that takes at most {self.most:g} times as long" if self.most is not None else ""
        return f"{', and '.join(parts)}{limit}"


UNPRICED = Price()


@dataclass(frozen=True)
class Pairs:
    """The results of the runs with and without a refinement, one entry per seed.

    Attributes:
        name: name of the switch.
        gain: top-1 with it minus that without it, in points.
        time: ratio of training time with it to that without it; None if not measured.
        memory: likewise for peak memory.
        inference: ratio of inference time per image, with its interval; None if not measured, 1 if the network is the same.
        resolution: points that correspond to one validation picture.
        failed: number of failed runs.
    """

    name: str
    gain: tuple[float, ...]
    time: tuple[float | None, ...] = ()
    memory: tuple[float | None, ...] = ()
    inference: Interval | None = None
    resolution: float = 0.0
    failed: int = 0

    def known(self, name: Literal["time", "memory"]) -> list[float]:
        return [ratio for ratio in getattr(self, name) if ratio is not None]

    def ratio(self, name: Literal["time", "memory"]) -> Interval | None:
        """The mean ratio with its interval; None if there are too few measurements."""
        found = mean_of([math.log(ratio) for ratio in self.known(name)])
        return None if found is None else Interval(*map(math.exp, found.interval()))

    def worth(self, price: Price) -> tuple[float, ...]:
        """The gain of each seed minus the price of its costs; seeds with unknown priced costs are left out."""
        found = []
        for i, gain in enumerate(self.gain):
            costs = [(price.train, self.time), (price.memory, self.memory)]
            ratios = [(rate, measured[i] if i < len(measured) else None) for rate, measured in costs if rate]
            if price.inference:
                ratios.append((price.inference, self.inference.value if self.inference else None))
            if all(ratio is not None for _, ratio in ratios):
                spent = sum(rate * 100 * (ratio - 1) for rate, ratio in ratios if ratio is not None)
                found.append(gain - spent - price.least)
        return tuple(found)

    def mean_worth(self, price: Price) -> Mean | None:
        error = 0.0
        if price.inference and self.inference is not None:
            error = price.inference * 100 * (self.inference.high - self.inference.low) / 3.92
        return mean_of(self.worth(price), self.resolution, error)


@dataclass(frozen=True)
class Verdict:
    """The verdict on a switch.

    Attributes:
        n: number of pairs.
        gain: points of top-1, with its 95 % interval; None with fewer than 3 pairs.
        corrected: the same with the simultaneous interval for all switches, at the level of the look.
        worth: gain minus the price of its costs, with its 95 % interval.
        p: p-value of the verdict; `p_corrected` is corrected for the number of switches; below the level there is a verdict.
        more: number of additional seeds that would probably give a verdict; None if there is one, or they would be too many.
        why: the reason, one sentence.
    """

    name: str
    n: int
    gain: Interval | None
    corrected: Interval | None
    worth: Interval | None
    p: float | None
    p_corrected: float | None
    verdict: Said
    more: int | None
    why: str

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        for name in ("gain", "corrected", "worth"):
            data[name] = as_object(getattr(self, name))
        return data


@dataclass(frozen=True)
class Evidence:
    """The p-values of one switch in both directions, and their data."""

    pairs: Pairs
    price: Price

    @cached_property
    def worth(self) -> Mean | None:
        return self.pairs.mean_worth(self.price)

    @cached_property
    def time(self) -> Mean | None:
        """The mean of the logarithm of the training time ratio."""
        return mean_of([math.log(ratio) for ratio in self.pairs.known("time")])

    @property
    def usable(self) -> bool:
        """Whether a verdict is possible: enough pairs, and no failed run."""
        return self.worth is not None and not self.pairs.failed

    def fast(self) -> tuple[float, float]:
        """The p-values for "within the limit on training time" and "above it"."""
        if self.price.most is None:
            return 0.0, 1.0
        if self.time is None:
            return 1.0, 1.0
        limit = math.log(self.price.most)
        return self.time.below(limit), self.time.above(limit)

    def for_it(self) -> float:
        return 1.0 if not self.usable or self.worth is None else max(self.worth.above(0.0), self.fast()[0])

    def harm(self) -> float:
        """The p-value for "it gains less than it costs"."""
        return 1.0 if not self.usable or self.worth is None else self.worth.below(0.0)

    def against_it(self) -> float:
        if not self.usable or self.price.most is None:
            return self.harm()
        return min(1.0, self.harm() / GAIN_SHARE, self.fast()[1] / (1 - GAIN_SHARE))

    def p(self) -> float:
        """The two-sided p-value."""
        return min(1.0, 2 * min(self.for_it(), self.against_it()))


def decide_verdicts(
    pairs: Sequence[Pairs],
    price: Price = UNPRICED,
    level: float = LEVEL,
    next_level: float | None = None,
    earlier: Mapping[str, Said] | None = None,
) -> tuple[Verdict, ...]:
    """The verdicts on all switches of a study; none may be left out, since p-values are corrected for their number.

    Args:
        level: the error rate that this look may spend; see `level_of_look`.
        next_level: that of the next look, used to compute the seeds that are still needed; default: `level`.
        earlier: verdicts of earlier looks, by name of the switch.
    """
    found = [Evidence(each, price) for each in pairs]
    corrected = holm([evidence.p() for evidence in found])
    one = (next_level or level) / max(1, len(found))
    return tuple(
        verdict_of(evidence, p, level, one, len(found), (earlier or {}).get(evidence.pairs.name))
        for evidence, p in zip(found, corrected, strict=True)
    )


def verdict_of(evidence: Evidence, p: float, level: float, one: float, family: int, told: Said | None) -> Verdict:
    """The verdict from a corrected p-value; `one` is the level of the next look for a single switch."""
    pairs, worth = evidence.pairs, evidence.worth
    gain = mean_of(pairs.gain, pairs.resolution)
    verdict: Said = "cannot tell yet"
    if p <= level:
        verdict = "worth it" if evidence.for_it() < evidence.against_it() else "not worth it"
    elif told is not None and told != "cannot tell yet":
        verdict = told
    more = None
    if verdict == "cannot tell yet" and not pairs.failed:
        if worth is None:
            more = LEAST_PAIRS - len(pairs.worth(evidence.price))
        else:
            deviation = worth.error * math.sqrt(worth.freedom + 1)
            more = more_pairs(worth.value, deviation, len(pairs.gain), one)
    return Verdict(
        name=pairs.name,
        n=len(pairs.gain),
        gain=None if gain is None else gain.interval(),
        corrected=None if gain is None else gain.interval(level / family),
        worth=None if worth is None else worth.interval(),
        p=evidence.p() if worth is not None else None,
        p_corrected=p if worth is not None else None,
        verdict=verdict,
        more=more,
        why=reason(evidence, verdict, more, p <= level),
    )


def reason(evidence: Evidence, verdict: Said, more: int | None, now: bool) -> str:
    """The reason for a verdict, one sentence."""
    pairs, price, worth = evidence.pairs, evidence.price, evidence.worth
    if verdict != "cannot tell yet" and not now:
        return "verdict of an earlier look, with fewer runs"
    priced = price.train or price.inference or price.memory or price.least
    if verdict == "worth it":
        return "it gains more than it costs" if priced else "it gains"
    if verdict == "not worth it":
        if price.most is None or evidence.harm() / GAIN_SHARE <= evidence.fast()[1] / (1 - GAIN_SHARE):
            return "it gains less than it costs" if priced else "it does harm"
        ratio = pairs.ratio("time")
        return f"training takes {ratio.value:.2f} times as long" if ratio else "training takes too long"
    if pairs.failed:
        return f"{pairs.failed} of its runs failed"
    if worth is None:
        short = len(pairs.worth(price)) < len(pairs.gain)
        costs = ", each with all costs that have a price" if short else ""
        return f"at least {LEAST_PAIRS} pairs are needed{costs}"
    fast = evidence.fast()[0]
    if price.most is not None and evidence.time is None:
        return "too few runs have a known training time"
    if worth.value > 0 and fast > worth.above(0.0):
        return f"training time may be more than {price.most:g} times as long"
    if more is None:
        return "the difference is too small for a verdict"
    return "it may be chance"
