"""Learning curves: how the error falls with the number of training pictures, and what more of them would give.

The error of classifiers follows a power law over wide ranges, error = a n^-b + c (Hestness et al. 2017, arXiv:1712.00409;
POW3 in the survey of Viering & Loog 2021, arXiv:2103.10948). It is fitted by weighted least squares with a >= 0, 0 < b <= 2 and
c >= 0. Intervals are those of a bootstrap that draws the pictures that are judged anew, and at each size the training sets.

No law holds for certain beyond what was measured: a curve can level off. So the largest set is also predicted from the smaller
ones, and compared with what it gave.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from paretina.measure.statistics import LEVEL, Interval, as_columns, t_quantile

RESAMPLES = 1000

EXPONENTS = np.geomspace(0.02, 2.0, 80)
"""What is tried for b; a and c follow from it."""

WORTH = 1.0
"""Points of top-1 that twice as many pictures must add to be worth saying that they help."""

DOUBLINGS = (2, 4)
"""Multiples of the present number for which there is a forecast."""


@dataclass(frozen=True)
class PowerLaw:
    """error(n) = a n^-b + c, as fractions in [0, 1]."""

    a: float
    b: float
    c: float

    def error(self, n: int | float) -> float:
        return float(min(1.0, self.a * n**-self.b + self.c))


def fit_laws(sizes: Sequence[int], errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Power laws for many curves at once.

    Args:
        sizes: numbers of training pictures, at least two different ones.
        errors: (curve, size), in [0, 1].
        weights: (size), the inverse of the variance of each.

    Returns:
        (curve, 3): a, b and c of each, with the least weighted squares.
    """
    base = float(sizes[-1])
    best = np.full(len(errors), np.inf)
    found = np.zeros((len(errors), 3))
    total = weights.sum()
    for b in EXPONENTS:
        x = (np.asarray(sizes) / base) ** -b
        mean_x, mean_y = (weights * x).sum() / total, errors @ weights / total
        spread = (weights * (x - mean_x) ** 2).sum()
        a = ((errors - mean_y[:, None]) * (weights * (x - mean_x))).sum(1) / spread
        c = mean_y - a * mean_x
        through = np.maximum(0.0, errors @ (weights * x) / (weights * x * x).sum())  # where c would be below zero
        a, c = np.where(c < 0, through, a), np.maximum(c, 0.0)
        a, c = np.where(a < 0, 0.0, a), np.where(a < 0, np.clip(mean_y, 0, 1), c)
        loss = (weights * (a[:, None] * x + c[:, None] - errors) ** 2).sum(1)
        better = loss < best
        best = np.where(better, loss, best)
        found[better] = np.stack((a * base**b, np.full_like(a, b), c), 1)[better]
    return found


def errors_at(laws: np.ndarray, n: int | float) -> np.ndarray:
    """The error of each law, (curve, 3), at a number of training pictures."""
    return np.minimum(1.0, laws[:, 0] * n ** -laws[:, 1] + laws[:, 2])


@dataclass(frozen=True)
class Measurement:
    """Classifiers that were fitted to a number of training pictures.

    Attributes:
        n: training pictures.
        right: (repeat, picture), whether each of the same pictures was recognised.
    """

    n: int
    right: np.ndarray

    @property
    def error(self) -> float:
        return 1 - float(self.right.mean())


@dataclass(frozen=True)
class Forecast:
    """
    Attributes:
        times: how many times as many training pictures.
        n: so many.
        top1: in percent, with the 95 % interval.
        gained: points more than with the present ones, with the 95 % interval.
    """

    times: int
    n: int
    top1: Interval
    gained: Interval


@dataclass(frozen=True)
class ClassGain:
    """What a class gained from the last doubling of all pictures.

    Attributes:
        train: its training pictures.
        n: its pictures that were judged.
        recall: with all training pictures, in percent.
        gained: points of recall that the second half of the training pictures added; its interval holds for all classes at once
            (Bonferroni).
    """

    name: str
    train: int
    n: int
    recall: float
    gained: Interval


@dataclass(frozen=True)
class LearningCurve:
    """
    Attributes:
        points: number of training pictures, repeats, and top-1 in percent with its interval, at each size.
        law: fitted to all of them.
        predicted: top-1 with all pictures as the smaller sizes predict it, with its interval; None where these are too few.
        missed: points by which the measured one is above that, with the interval over the same pictures.
        forecasts: for more pictures.
        classes: by what they gained, most first.
    """

    points: tuple[tuple[int, int, Interval], ...]
    law: PowerLaw
    predicted: Interval | None
    missed: Interval | None
    forecasts: tuple[Forecast, ...]
    classes: tuple[ClassGain, ...]

    @property
    def holds(self) -> bool | None:
        """Whether the smaller sizes predict the largest; None where they are too few to tell."""
        return None if self.missed is None else self.missed.low <= 0 <= self.missed.high

    @property
    def verdict(self) -> str:
        """Whether twice as many pictures help: yes, no or unclear."""
        gained = self.forecasts[0].gained
        if self.holds is False and not (gained.low > 0 and self.missed is not None and self.missed.value > 0):
            return "unclear"
        if gained.low > 0 and gained.value >= WORTH:
            return "yes"
        return "no" if gained.high < WORTH else "unclear"

    def to_dict(self) -> dict[str, Any]:
        return {
            "points": [{"train": n, "repeats": repeats, **as_columns("top1", top1)} for n, repeats, top1 in self.points],
            "law": {"a": self.law.a, "b": self.law.b, "c": self.law.c},
            "check": {**as_columns("predicted", self.predicted), **as_columns("missed", self.missed), "holds": self.holds},
            "forecasts": [
                {"times": each.times, "train": each.n, **as_columns("top1", each.top1), **as_columns("gained", each.gained)}
                for each in self.forecasts
            ],
            "verdict": self.verdict,
            "classes": [
                {
                    "class": each.name,
                    "train": each.train,
                    "n": each.n,
                    "recall": each.recall,
                    **as_columns("gained", each.gained),
                }
                for each in self.classes
            ],
        }


def learning_curve(
    measured: Sequence[Measurement], labels: np.ndarray, classes: Sequence[str], counts: Sequence[int], seed: int = 0
) -> LearningCurve:
    """The curve of classifiers that were fitted to more and more training pictures.

    Args:
        measured: by rising number of pictures, all judged on the same ones; the last with all training pictures.
        labels: the class number of each picture that was judged.
        counts: training pictures of each class.
        seed: of the bootstrap.

    Raises:
        ValueError: there are fewer than three sizes.
    """
    if len(measured) < 3:
        raise ValueError(f"a learning curve needs at least three sizes of the training set, got {len(measured)}")
    random = np.random.default_rng(seed)
    sizes, pictures = [each.n for each in measured], len(labels)
    drawn = np.stack([resampled(each, random, pictures) for each in with_spread(measured)], 1)  # (resample, size)
    seen = np.array([[each.error for each in measured]])
    weights = 1 / (drawn.var(0) + 1 / (4 * pictures * pictures))
    law, laws = fit_laws(sizes, seen, weights), fit_laws(sizes, drawn, weights)
    now, now_drawn = errors_at(law, sizes[-1]), errors_at(laws, sizes[-1])
    forecasts = []
    for times in DOUBLINGS:
        later, later_drawn = errors_at(law, times * sizes[-1]), errors_at(laws, times * sizes[-1])
        forecasts.append(
            Forecast(
                times,
                times * sizes[-1],
                between(100 * (1 - later[0]), 100 * (1 - later_drawn)),
                between(100 * (now - later)[0], 100 * (now_drawn - later_drawn)),
            )
        )
    predicted = missed = None
    if len(measured) > 3:
        part, parts = fit_laws(sizes[:-1], seen[:, :-1], weights[:-1]), fit_laws(sizes[:-1], drawn[:, :-1], weights[:-1])
        value, values = errors_at(part, sizes[-1]), errors_at(parts, sizes[-1])
        predicted = between(100 * (1 - value[0]), 100 * (1 - values))
        missed = between(100 * (value[0] - seen[0, -1]), 100 * (values - drawn[:, -1]))
    points = tuple(
        (each.n, len(each.right), between(100 * (1 - each.error), 100 * (1 - drawn[:, at]))) for at, each in enumerate(measured)
    )
    return LearningCurve(
        points=points,
        law=PowerLaw(*map(float, law[0])),
        predicted=predicted,
        missed=missed,
        forecasts=tuple(forecasts),
        classes=class_gains(measured, labels, classes, counts),
    )


def with_spread(measured: Sequence[Measurement]) -> list[tuple[Measurement, float]]:
    """Each size with the standard deviation of its error that its own repeats do not show.

    All training pictures can be drawn in one way only, so what another set of this size would give is taken from the size
    before, where it is larger by the root of the ratio of sizes; a few repeats tell it roughly, so it is widened as Student's t
    is against the normal distribution.
    """
    last, before = measured[-1], measured[-2]
    spread, repeats = 0.0, len(before.right)
    if repeats > 1:
        spread = float((1 - before.right.mean(1)).std(ddof=1))
        spread *= t_quantile(repeats - 1) / NormalDist().inv_cdf(0.5 + LEVEL / 2)
    return [*((each, 0.0) for each in measured[:-1]), (last, spread * math.sqrt(before.n / last.n))]


def resampled(given: tuple[Measurement, float], random: np.random.Generator, pictures: int) -> np.ndarray:
    """Errors of a size for pictures and training sets that are drawn anew, one a resample; the same pictures at each size."""
    each, spread = given
    same = np.random.default_rng(1)  # so that differences between sizes are those over the same pictures
    found = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        chosen = same.integers(pictures, size=pictures)
        rows = random.integers(len(each.right), size=len(each.right))
        found[number] = 1 - each.right[rows][:, chosen].mean()
    return np.clip(found + spread * random.standard_normal(RESAMPLES), 0.0, 1.0)


def between(value: float, drawn: np.ndarray) -> Interval:
    """A value with the 95 % interval of a bootstrap, which holds the value itself."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def class_gains(
    measured: Sequence[Measurement], labels: np.ndarray, classes: Sequence[str], counts: Sequence[int]
) -> tuple[ClassGain, ...]:
    """What each class gained between the last two sizes, most first; classes without pictures to judge are left out.

    The interval is that of a mean over the pictures of the class, each with the mean of the repeats, with half a picture
    added that gained and one that lost, so that it has a width where no picture differs.
    """
    known = [number for number in range(len(classes)) if (labels == number).any()]
    z = NormalDist().inv_cdf(1 - (1 - LEVEL) / 2 / max(1, len(known)))
    found = []
    for number in known:
        own = labels == number
        before, after = (each.right[:, own].mean(0) for each in measured[-2:])
        changes = np.concatenate((after - before, [0.5, -0.5]))
        half = z * float(changes.std(ddof=1)) / math.sqrt(len(changes))
        gained = 100 * float((after - before).mean())
        interval = Interval(gained, gained - 100 * half, gained + 100 * half)
        found.append(ClassGain(classes[number], counts[number], int(own.sum()), 100 * float(after.mean()), interval))
    return tuple(sorted(found, key=lambda each: -each.gained.value))
