"""Scaling laws: accuracy against the number of training pictures and the fraction of wrong labels, and network comparisons.

From 10 to 300 million pictures, scores grow by about the same number of points per factor of ten (Sun et al. 2017). Near 100 %
this cannot continue, and the error follows a power law better, possibly with a floor. All forms are fitted, and each predicts
the largest set from the smaller ones: the form that does this best is the one to extrapolate with.

Each seed draws its own nested subsets and gives its own fit, so the intervals are Student's t over seeds and include the
variation of the subset, which a single fit does not show. With fewer than 3 seeds there are none.

Source: Sun et al. 2017 (arXiv:1707.02968), section 5; power laws: Hestness et al. 2017 (arXiv:1712.00409).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, NamedTuple

from paretina.measure.statistics import Interval, as_object
from paretina.search.ablation.verdicts import mean_of
from paretina.text import how_many

Curve = Mapping[float, float]
"""Top-1 in percent by number of training pictures, or by fraction of wrong labels, for one seed."""

Form = Literal["log-linear", "power", "power with floor"]

LEAST_SIZES = {"log-linear": 2, "power": 2, "power with floor": 4}
"""Fewest numbers of pictures for a fit; with as many as the form has parameters, there is no residual."""

PARAMETERS = {"log-linear": 2, "power": 2, "power with floor": 3}
"""Number of fitted parameters; with as many numbers of pictures the fit is exact, and R² always 1."""

FLOORS = 200


class Line(NamedTuple):
    """y = offset + slope * x."""

    offset: float
    slope: float

    def __call__(self, x: float) -> float:
        return self.offset + self.slope * x


def line(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """The least-squares line.

    Raises:
        ValueError: there are fewer than two different x.
    """
    if len(set(xs)) < 2 or len(xs) != len(ys):
        raise ValueError(f"a line needs values at two or more places, got {len(ys)} values at {sorted(set(xs))}")
    middle, level = fmean(xs), fmean(ys)
    slope = sum((x - middle) * (y - level) for x, y in zip(xs, ys, strict=True)) / sum((x - middle) ** 2 for x in xs)
    return Line(level - slope * middle, slope)


# --- laws of data -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LawFit:
    """One fitted form.

    Attributes:
        form: log-linear: top-1 = offset + slope * log10(pictures); power: error = offset * pictures^slope + floor, in percent.
        floor: irreducible error; 0 if the form has none.
    """

    form: Form
    offset: float
    slope: float
    floor: float = 0.0

    def __call__(self, pictures: float) -> float:
        """Top-1 in percent by this law; may be outside 0 to 100."""
        if self.form == "log-linear":
            return self.offset + self.slope * math.log10(pictures)
        return 100.0 - self.floor - self.offset * pictures**self.slope


def fit_law(form: Form, curve: Curve) -> LawFit:
    """Fits a form to one curve.

    Raises:
        ValueError: there are too few numbers of pictures, or an error is 0, which has no logarithm.
    """
    if len(curve) < LEAST_SIZES[form]:
        raise ValueError(f"{form} needs {LEAST_SIZES[form]} numbers of pictures or more, got {len(curve)}")
    logs = [math.log10(pictures) for pictures in curve]
    if form == "log-linear":
        return LawFit(form, *line(logs, list(curve.values())))
    errors = [100.0 - top1 for top1 in curve.values()]
    least = min(errors)
    if least <= 0:
        raise ValueError("a power law needs errors above 0, but with some number of pictures there are none")
    floors = [least * i / FLOORS for i in range(FLOORS)] if form == "power with floor" else [0.0]

    def with_floor(floor: float) -> LawFit:
        found = line(logs, [math.log10(error - floor) for error in errors])
        return LawFit(form, 10.0**found.offset, found.slope, floor)

    return min((with_floor(floor) for floor in floors), key=lambda found: squares(found, curve))


def squares(found: Callable[[float], float], curve: Curve) -> float:
    return sum((found(x) - y) ** 2 for x, y in curve.items())


@dataclass(frozen=True)
class Law:
    """A form fitted to the curves of several seeds.

    Attributes:
        fit: fit of the mean over seeds.
        slope: slope of `fit`, with an interval as wide as that of the mean over the seeds' own fits (None with fewer than 3
            seeds); points of top-1 per factor of ten in the log-linear law, exponent of the error in the others.
        at_twice: top-1 that `fit` predicts for twice the number of pictures, likewise.
        residuals: measured top-1 minus that of the fit, by number of pictures.
        r2: fraction of the variance that the fit explains; None if there is no variance, or no more numbers of pictures than
            parameters.
        foretold: prediction for the largest number of pictures by a fit without it, minus the measured value; None if too few
            are left.
    """

    fit: LawFit
    slope: tuple[float, Interval | None]
    at_twice: tuple[float, Interval | None]
    residuals: dict[float, float]
    r2: float | None
    foretold: float | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "form": self.fit.form,
            "offset": self.fit.offset,
            "slope": self.slope[0],
            "slope_interval": as_object(self.slope[1]),
            "floor": self.fit.floor,
            "at_twice": self.at_twice[0],
            "at_twice_interval": as_object(self.at_twice[1]),
            "residuals": {f"{pictures:g}": value for pictures, value in self.residuals.items()},
            "r2": self.r2,
            "foretold": self.foretold,
        }


def mean_curve(curves: Sequence[Curve]) -> dict[float, float]:
    """The mean over seeds, at points where all have a value.

    Raises:
        ValueError: there is no curve.
    """
    if not curves:
        raise ValueError("a law needs the curve of at least one seed, got none")
    shared = [x for x in curves[0] if all(x in curve for curve in curves)]
    return {x: fmean(curve[x] for curve in curves) for x in sorted(shared)}


def law(form: Form, curves: Sequence[Curve]) -> Law:
    """Fits a form to the curves of several seeds, at their common numbers of pictures.

    Raises:
        ValueError: there are too few numbers of pictures, or none that all seeds have.
    """
    mean = mean_curve(curves)
    whole = fit_law(form, mean)
    each = [fit_law(form, {x: curve[x] for x in mean}) for curve in curves]
    largest = max(mean)
    level = fmean(mean.values())
    variation = sum((y - level) ** 2 for y in mean.values())
    smaller = {x: y for x, y in mean.items() if x != largest}
    ahead = fit_law(form, smaller)(largest) - mean[largest] if len(smaller) >= LEAST_SIZES[form] else None
    return Law(
        fit=whole,
        slope=centred(whole.slope, [found.slope for found in each]),
        at_twice=centred(whole(2 * largest), [found(2 * largest) for found in each]),
        residuals={x: y - whole(x) for x, y in mean.items()},
        r2=1 - squares(whole, mean) / variation if variation and len(mean) > PARAMETERS[form] else None,
        foretold=ahead,
    )


def laws(curves: Sequence[Curve]) -> list[Law]:
    """Fits of all forms that have enough numbers of pictures, in the order of `Form`."""
    found = []
    for form in LEAST_SIZES:
        try:
            found.append(law(form, curves))  # type: ignore[arg-type]
        except ValueError:
            continue
    return found


def averaged(values: Sequence[float]) -> tuple[float, Interval | None]:
    """The mean of one value per seed, with its interval."""
    return fmean(values), interval(values)


def centred(value: float, values: Sequence[float]) -> tuple[float, Interval | None]:
    """A value of the fit to the mean over seeds, with an interval as wide as that of the seeds' own fits."""
    ends = interval(values)
    return value, None if ends is None else Interval(value, value + ends.low - ends.value, value + ends.high - ends.value)


def interval(values: Sequence[float]) -> Interval | None:
    """Student's t interval of the mean of one value per seed; None with fewer than 3."""
    found = mean_of(values)
    return None if found is None else found.interval()


# --- label noise --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fall:
    """The effect of one fraction of wrong labels.

    Attributes:
        noise: fraction of wrong training labels.
        top1: mean over seeds, in percent.
        points: drop in top-1 from the clean run, averaged over pairs, with its interval.
    """

    noise: float
    top1: float
    points: tuple[float, Interval | None]

    def to_dict(self) -> dict[str, Any]:
        fall, ends = self.points
        return {"noise": self.noise, "top1": self.top1, "fall": fall, "fall_interval": as_object(ends)}


@dataclass(frozen=True)
class Noise:
    """Accuracy against label noise.

    Attributes:
        slope: points of top-1 per percent of wrong labels, by a line through all levels, with its interval.
    """

    falls: tuple[Fall, ...]
    slope: tuple[float, Interval | None]

    def to_dict(self) -> dict[str, Any]:
        slope, ends = self.slope
        return {"falls": [fall.to_dict() for fall in self.falls], "slope": slope, "slope_interval": as_object(ends)}


def noise_law(curves: Sequence[Curve]) -> Noise:
    """The drop at each noise level, paired with the clean run of the same seed.

    Raises:
        ValueError: a curve has no clean level, or there is no other common level.
    """
    mean = mean_curve(curves)
    if 0 not in mean or len(mean) < 2:
        raise ValueError(f"label noise needs runs without it and with it, got levels {sorted(mean)}")
    falls = []
    for level, top1 in mean.items():
        each = [curve[0] - curve[level] for curve in curves]
        falls.append(Fall(level, top1, averaged(each)))
    percent = [100 * level for level in mean]
    slopes = [line(percent, [curve[level] for level in mean]).slope for curve in curves]
    return Noise(tuple(falls), averaged(slopes))


# --- data against size --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exchange:
    """Comparison of another network with the baseline at equal training cost.

    Attributes:
        name: name of the other network.
        gains: top-1 of the other network minus that of the baseline, in points, with intervals, by number of training pictures.
        slopes: difference in points gained per factor of ten in pictures, likewise; positive if the other network makes better
            use of data.
        worth: factor on the number of pictures with which the baseline would match the other network; None if more data does
            not help the baseline, or the factor is above a million.
    """

    name: str
    gains: dict[float, tuple[float, Interval | None]]
    slopes: tuple[float, Interval | None] | None
    worth: float | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "gains": {f"{x:g}": {"gain": gain, "interval": as_object(ends)} for x, (gain, ends) in self.gains.items()},
            "slope_difference": None if self.slopes is None else self.slopes[0],
            "slope_difference_interval": None if self.slopes is None else as_object(self.slopes[1]),
            "worth_in_data": self.worth,
        }


def exchange(name: str, base: Sequence[Curve], other: Sequence[Curve]) -> Exchange:
    """Compares two networks, paired by seed.

    Raises:
        ValueError: the seeds differ in number, or no number of pictures is common to all.
    """
    if len(base) != len(other):
        raise ValueError(f"two networks are compared seed by seed, got {len(base)} and {how_many(len(other), 'seed')}")
    shared = [x for x in mean_curve(base) if x in mean_curve(other)]
    if not shared:
        raise ValueError(f"{name} and the baseline have no number of pictures in common")
    gains = {}
    for x in shared:
        each = [theirs[x] - ours[x] for ours, theirs in zip(base, other, strict=True)]
        gains[x] = averaged(each)
    slopes, worth = None, None
    if len(shared) > 1:
        ours, theirs = (
            [fit_law("log-linear", {x: curve[x] for x in shared}).slope for curve in curves] for curves in (base, other)
        )
        apart = [b - a for a, b in zip(ours, theirs, strict=True)]
        slopes = averaged(apart)
        rise = fmean(ours)
        tens = gains[max(shared)][0] / rise if rise > 0 else math.inf
        worth = 10.0**tens if abs(tens) <= 6 else None
    return Exchange(name, gains, slopes, worth)
