"""Computes Pareto frontiers, such as of accuracy and time.

A point dominates another if it is at least as good on every axis and better on one. The front is what nothing dominates; what
is left without it has a front of its own, the second rank, and so on. Of two axes, the hypervolume is the area that a front
dominates, up to a reference point: one number for how good a front is, and for each point how much of it only that one gives.

Accuracies are measured on a few hundred pictures, so a front through them is partly luck, and biased upwards: the best points
are also the lucky ones. Hence `front_shares`, how often each point is on the front when pictures and timings are resampled,
and `chosen_interval`, which is valid although the winner was chosen among many on the same pictures.

This module is independent of what is measured, and how.

Source: ranks and crowds: Deb et al. 2002, "NSGA-II"; hypervolume: Zitzler & Thiele 1999; contributions: Beume et al. 2007,
"SMS-EMOA"; interval of the rank correlation: Bonett & Wright 2000; bootstrap with Poisson weights: Hanley & MacGibbon 2006.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from paretina.measure.statistics import LEVEL, Interval, wilson

Number = int | float


@dataclass(frozen=True)
class Axis:
    """A quantity by which points are compared.

    Attributes:
        name: key of the value in a point.
        better: whether lower or higher is better.
        unit: for display.
        relative: whether ratios are compared instead of differences, as for most costs; values must then be above 0.
    """

    name: str
    better: Literal["low", "high"] = "low"
    unit: str = ""
    relative: bool = False

    def worth(self, value: Number) -> float:
        """The value on a scale on which higher is better.

        Raises:
            ValueError: ratios of it make no sense.
        """
        if self.relative:
            if value <= 0:
                raise ValueError(f"{self.name} must be above 0 to be compared by ratios, got {value}")
            value = math.log(value)
        return float(value if self.better == "high" else -value)


@dataclass(frozen=True)
class Point:
    """
    Attributes:
        values: by the name of the axis; may have more than the axes of a frontier.
    """

    name: str
    values: Mapping[str, Number]


@dataclass(frozen=True)
class Frontier:
    """Points and the axes by which they are compared; immutable, `add` returns a new one."""

    axes: tuple[Axis, ...]
    points: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        if not self.axes:
            raise ValueError("a frontier needs at least one axis")
        seen: set[str] = set()
        for point in self.points:
            if point.name in seen:
                raise ValueError(f"there is a point {point.name!r} already; each needs its own name")
            seen.add(point.name)
            for axis in self.axes:
                value = point.values.get(axis.name)
                if value is None or not math.isfinite(value):
                    raise ValueError(f"{point.name} needs a finite {axis.name}, got {value}; leave the point out")

    def add(self, point: Point) -> "Frontier":
        """The frontier with one more point.

        Raises:
            ValueError: there is a point of that name, or it lacks a value, or a value is not finite.
        """
        return replace(self, points=(*self.points, point))

    def worth(self, point: Point) -> tuple[float, ...]:
        """Its values on scales on which higher is better."""
        return tuple(axis.worth(point.values[axis.name]) for axis in self.axes)

    def dominates(self, one: Point, other: Point) -> bool:
        """Whether one is at least as good on every axis and better on one; two equal points do not dominate each other."""
        a, b = self.worth(one), self.worth(other)
        return a != b and all(x >= y for x, y in zip(a, b, strict=True))

    def front(self) -> tuple[Point, ...]:
        """The points that no other point dominates, sorted by the first axis."""
        found = [point for point in self.points if not any(self.dominates(other, point) for other in self.points)]
        return tuple(sorted(found, key=lambda point: (point.values[self.axes[0].name], point.name)))

    def ranks(self) -> dict[str, int]:
        """For each point the number of fronts to remove before it is on one; 0 for the front itself."""
        left, rank = self, 0
        found: dict[str, int] = {}
        while left.points:
            front = {point.name for point in left.front()}
            found |= dict.fromkeys(front, rank)
            left = replace(left, points=tuple(point for point in left.points if point.name not in front))
            rank += 1
        return found

    def best(self, count: int) -> tuple[Point, ...]:
        """The best `count` points, by rank; of the last rank, those that add the least to its hypervolume are dropped.

        They are dropped one at a time, since contributions depend on the other points. The ends of a front are kept longest:
        they are the cheapest and the most accurate.
        """
        ranks = self.ranks()
        kept: list[Point] = []
        for rank in sorted(set(ranks.values())):
            layer = [point for point in self.points if ranks[point.name] == rank]
            while len(kept) + len(layer) > count:
                gains = self.contributions(layer)
                layer.remove(min(layer, key=lambda point: (gains[point.name], self.worth(point), point.name)))
            kept += layer
            if len(kept) == count:
                break
        return tuple(kept)

    def contributions(self, layer: Sequence[Point]) -> dict[str, float]:
        """The contribution of each point to the hypervolume; infinite for the best on each axis.

        Axes are normalised first, so that units do not matter.
        """
        worths = np.array([self.worth(point) for point in layer])
        span = np.ptp(worths, axis=0)
        scaled = (worths - worths.min(0)) / np.where(span > 0, span, 1.0)
        ends = set(map(int, scaled.argmax(0)))
        corner = (-1.0,) * len(self.axes)
        whole = volume([tuple(row) for row in scaled], corner)
        found = {}
        for at, point in enumerate(layer):
            others = [tuple(row) for i, row in enumerate(scaled) if i != at]
            found[point.name] = math.inf if at in ends else whole - volume(others, corner)
        return found

    def hypervolume(self, reference: Mapping[str, Number]) -> float:
        """The area that the points dominate up to a reference, in the axes' own units (logarithms of relative ones).

        Points that are no better than the reference on an axis add nothing.

        Raises:
            ValueError: there are more axes than two.
        """
        corner = tuple(axis.worth(reference[axis.name]) for axis in self.axes)
        return volume([self.worth(point) for point in self.points], corner)

    def table(self) -> list[dict[str, Any]]:
        """One row per point, the best ranks first: name, rank, and its values."""
        ranks = self.ranks()
        ordered = sorted(self.points, key=lambda point: (ranks[point.name], point.values[self.axes[0].name], point.name))
        return [{"name": point.name, "rank": ranks[point.name], **point.values} for point in ordered]


def volume(worths: Sequence[tuple[float, ...]], corner: tuple[float, ...]) -> float:
    """The length or area between a corner and the staircase of points, more being better on each axis."""
    inside = [worth for worth in worths if all(x > c for x, c in zip(worth, corner, strict=True))]
    if len(corner) == 1:
        return max((x - corner[0] for (x,) in inside), default=0.0)
    if len(corner) != 2:
        raise ValueError(f"the hypervolume is defined for one or two axes only, got {len(corner)}")
    total, height = 0.0, corner[1]
    for x, y in sorted(inside, reverse=True):
        if y > height:
            total += (x - corner[0]) * (y - height)
            height = y
    return total


# --- uncertainty --------------------------------------------------------------------------------------------------------

RESAMPLES = 1000
MOST_DRAWN = 2 * 10**7
"""Maximum number of random numbers for resampling pictures at a time."""


def front_shares(
    names: Sequence[str],
    correct: np.ndarray,
    cost: Axis,
    costs: Sequence[Interval],
    seed: int = 0,
) -> dict[str, float]:
    """How often each candidate is on the front of accuracy and a cost when pictures and timings are drawn again, in [0, 1].

    The same pictures are drawn for all, since all were judged on the same; timings are drawn from normal distributions of the
    width of their 95 % intervals.

    Args:
        correct: whether each candidate knew each picture, [candidate, picture].

    Raises:
        ValueError: the numbers of names, rows and costs differ.
    """
    if correct.ndim != 2 or not len(names) == len(correct) == len(costs):
        raise ValueError(f"got {len(names)} names, {correct.shape} answers and {len(costs)} costs; each needs a row and a cost")
    random = np.random.default_rng(seed)
    times = max(100, min(RESAMPLES, MOST_DRAWN // max(1, correct.shape[1])))
    weights = random.poisson(1.0, (times, correct.shape[1])).astype(np.float32)
    shares = weights @ correct.T.astype(np.float32) / np.maximum(weights.sum(1, keepdims=True), 1.0)
    middle = np.array([cost_.value for cost_ in costs])
    width = np.array([(cost_.high - cost_.low) / (2 * NormalDist().inv_cdf(0.5 + LEVEL / 2)) for cost_ in costs])
    drawn = middle + width * random.standard_normal((times, len(costs)))
    worth = drawn if cost.better == "high" else -drawn
    on = np.zeros(len(names))
    for accuracy, value in zip(shares, worth, strict=True):
        at_least = (accuracy[:, None] >= accuracy) & (value[:, None] >= value)
        better = (accuracy[:, None] > accuracy) | (value[:, None] > value)
        on += ~(at_least & better).any(0)
    return {name: float(count / times) for name, count in zip(names, on, strict=True)}


def chosen_interval(successes: int, n: int, among: int = 1) -> Interval:
    """The interval of the share of the best of several that were judged on the same pictures; Wilson's, at a stricter level.

    The intervals of all of them hold together with 95 % confidence, and so does that of whichever was chosen.

    Args:
        among: candidates that it was chosen from; 1 gives the ordinary interval.

    Raises:
        ValueError: there was no trial, more successes than trials, or nothing to choose from.
    """
    if among < 1:
        raise ValueError(f"needs among >= 1, got {among}")
    return wilson(successes, n, 1 - (1 - LEVEL) / among)


# --- comparing two rankings ---------------------------------------------------------------------------------------------


def ranked(values: Sequence[Number]) -> list[float]:
    """Ranks from 1; ties get the mean rank."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    places = [0.0] * len(values)
    starts = [0, *(i for i in range(1, len(order)) if values[order[i]] != values[order[i - 1]]), len(order)]
    for start, end in pairwise(starts):
        for i in order[start:end]:
            places[i] = (start + 1 + end) / 2
    return places


def rank_correlation(a: Sequence[Number], b: Sequence[Number]) -> tuple[float, Interval | None] | None:
    """Spearman's rank correlation of paired values, in [-1, 1], with its 95 % interval.

    None with fewer than 4 pairs, or where all values of a side are equal and so have no order. A correlation of exactly
    1 or -1 has no interval: by Fisher's transformation, which the interval is taken from, it would have no width, however few
    the pairs.

    Raises:
        ValueError: the numbers of values differ.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values must be equally many, got {len(a)} and {len(b)}")
    if len(a) < 4 or len(set(a)) == 1 or len(set(b)) == 1:
        return None
    rho = float(np.corrcoef(ranked(a), ranked(b))[0, 1])
    rho = max(-1.0, min(1.0, rho))
    if abs(rho) > 1 - 1e-12:
        return float(round(rho)), None
    half = NormalDist().inv_cdf(0.5 + LEVEL / 2) * math.sqrt((1 + rho * rho / 2) / (len(a) - 3))
    return rho, Interval(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half))


def same_front(counted: Frontier, measured: Frontier) -> tuple[set[str], set[str], set[str]]:
    """Names that are on both fronts, on the first alone, and on the second alone."""
    first, second = ({point.name for point in frontier.front()} for frontier in (counted, measured))
    return first & second, first - second, second - first
