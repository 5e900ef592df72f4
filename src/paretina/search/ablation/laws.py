"""Laws: how accuracy follows the number of training pictures and the share of wrong labels, and what another network is worth.

From 10 to 300 million pictures, scores grow by about the same number of points with each factor of ten (Sun et al. 2017). Near
100 % that cannot last, and the error follows a power of the number better, which may have a floor. All are fitted, and each is
asked to foretell the largest set from the smaller ones: the law that does so best is the one to extrapolate with.

Each seed draws its own nested subsets and gives a fit of its own, so the intervals are Student's over seeds and include the
luck of the subset, of which a single fit says nothing. With fewer than 3 seeds there are none.

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
"""Top-1 in percent by the number of training pictures, or by the share of wrong labels, of one seed."""

Form = Literal["log-linear", "power", "power with floor"]

LEAST_SIZES = {"log-linear": 2, "power": 2, "power with floor": 4}
"""Numbers of pictures below which a form fits whatever there is; with as many as it has parameters, it leaves no residual."""

PARAMETERS = {"log-linear": 2, "power": 2, "power with floor": 3}
"""That are fitted; with as many numbers of pictures the fit meets all of them, and R² would be 1 whatever they are."""

FLOORS = 200


class Line(NamedTuple):
    """y = offset + slope * x."""

    offset: float
    slope: float

    def __call__(self, x: float) -> float:
        return self.offset + self.slope * x


def line(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """The line of least squares.

    Raises:
        ValueError: there are fewer than two different places.
    """
    if len(set(xs)) < 2 or len(xs) != len(ys):
        raise ValueError(f"a line needs values at two places or more, got {len(ys)} values at {sorted(set(xs))}")
    middle, level = fmean(xs), fmean(ys)
    slope = sum((x - middle) * (y - level) for x, y in zip(xs, ys, strict=True)) / sum((x - middle) ** 2 for x in xs)
    return Line(level - slope * middle, slope)


# --- laws of data -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LawFit:
    """One form, fitted.

    Attributes:
        form: log-linear: top-1 = offset + slope * log10(pictures); power: error = offset * pictures^slope + floor, in percent.
        floor: error that no number of pictures removes; 0 where the form has none.
    """

    form: Form
    offset: float
    slope: float
    floor: float = 0.0

    def __call__(self, pictures: float) -> float:
        """Top-1 in percent, by this law; it may leave the range from 0 to 100."""
        if self.form == "log-linear":
            return self.offset + self.slope * math.log10(pictures)
        return 100.0 - self.floor - self.offset * pictures**self.slope


def fit_law(form: Form, curve: Curve) -> LawFit:
    """Fits a form to one curve.

    Raises:
        ValueError: there are too few numbers of pictures for it, or an answer is wrong nowhere, whose logarithm does not exist.
    """
    if len(curve) < LEAST_SIZES[form]:
        raise ValueError(f"{form} needs {LEAST_SIZES[form]} numbers of pictures or more, got {len(curve)}")
    logs = [math.log10(pictures) for pictures in curve]
    if form == "log-linear":
        return LawFit(form, *line(logs, list(curve.values())))
    errors = [100.0 - top1 for top1 in curve.values()]
    least = min(errors)
    if least <= 0:
        raise ValueError("a power law of the error needs errors, but with some number of pictures every answer is right")
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
        fit: of the mean over seeds.
        slope: of `fit`, with its interval, as wide as that of the mean over the seeds' own fits, which is None with fewer than
            3 seeds; points of top-1 for ten times the pictures in the log-linear law, the exponent of the error in the others.
        at_twice: top-1 that `fit` foretells for twice the pictures there are, likewise.
        residuals: top-1 that was measured without that of the fit, by the number of pictures.
        r2: share of the variance that the fit explains; None where there is no variance, or there are no more numbers of
            pictures than parameters.
        foretold: what the fit without the largest number of pictures says of it, without what was measured there; None
            where too few are left.
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
    """The mean over seeds, where all of them have a value.

    Raises:
        ValueError: there is no curve.
    """
    if not curves:
        raise ValueError("a law needs the curve of a seed or more, got none")
    shared = [x for x in curves[0] if all(x in curve for curve in curves)]
    return {x: fmean(curve[x] for curve in curves) for x in sorted(shared)}


def law(form: Form, curves: Sequence[Curve]) -> Law:
    """Fits a form to the curves of some seeds, which must have their numbers of pictures in common.

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
    """All forms that can be fitted, in the order of `Form`; none where there are too few numbers of pictures."""
    found = []
    for form in LEAST_SIZES:
        try:
            found.append(law(form, curves))  # type: ignore[arg-type]
        except ValueError:
            continue
    return found


def averaged(values: Sequence[float]) -> tuple[float, Interval | None]:
    """The mean of one value a seed, with its interval."""
    return fmean(values), interval(values)


def centred(value: float, values: Sequence[float]) -> tuple[float, Interval | None]:
    """A value of the fit to the mean over seeds, with an interval around it as wide as the seeds' own fits give it."""
    ends = interval(values)
    return value, None if ends is None else Interval(value, value + ends.low - ends.value, value + ends.high - ends.value)


def interval(values: Sequence[float]) -> Interval | None:
    """Student's interval of the mean of one value a seed; None with fewer than 3."""
    found = mean_of(values)
    return None if found is None else found.interval()


# --- label noise --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fall:
    """What one share of wrong labels costs.

    Attributes:
        noise: share of wrong labels among the training pictures.
        top1: mean over seeds, in percent.
        points: top-1 less than without wrong labels, on average over pairs, with its interval.
    """

    noise: float
    top1: float
    points: tuple[float, Interval | None]

    def to_dict(self) -> dict[str, Any]:
        fall, ends = self.points
        return {"noise": self.noise, "top1": self.top1, "fall": fall, "fall_interval": as_object(ends)}


@dataclass(frozen=True)
class Noise:
    """How accuracy falls with wrong labels.

    Attributes:
        slope: points of top-1 for each percent of wrong labels, by a line through all levels, with its interval.
    """

    falls: tuple[Fall, ...]
    slope: tuple[float, Interval | None]

    def to_dict(self) -> dict[str, Any]:
        slope, ends = self.slope
        return {"falls": [fall.to_dict() for fall in self.falls], "slope": slope, "slope_interval": as_object(ends)}


def noise_law(curves: Sequence[Curve]) -> Noise:
    """The fall at each level of noise, in pairs with the clean run of the same seed.

    Raises:
        ValueError: a curve has no clean level, or there is no other level that all have.
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
    """What another network is worth beside the base, at equal cost of training.

    Attributes:
        name: of the other network.
        gains: points of top-1 of the other network minus the base, with intervals, by the number of training pictures.
        slopes: points that the other network gains more from ten times the pictures, likewise; positive where it makes better
            use of data.
        worth: factor on the number of pictures that brings the base as much as the other network does, with all pictures; None
            where more data does not help the base, or the factor is beyond a million.
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
    """Compares two networks seed by seed.

    Raises:
        ValueError: the seeds differ in number, or no number of pictures is common to all.
    """
    if len(base) != len(other):
        raise ValueError(f"two networks are compared seed by seed, got {len(base)} and {how_many(len(other), 'seed')}")
    shared = [x for x in mean_curve(base) if x in mean_curve(other)]
    if not shared:
        raise ValueError(f"{name} and the base have no number of pictures in common")
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
