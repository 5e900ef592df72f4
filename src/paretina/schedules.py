"""Schedules: values that may vary during training, as functions of the clock.

A plain number means a constant wherever a schedule is expected, in Python, in JSON and on the command line.
"""

import hashlib
import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

from paretina.clock import START, Clock
from paretina.traits import Method, Never


@dataclass(frozen=True, kw_only=True)
class Schedule(Method):
    """A number as a function of the clock."""

    PLUGINS = ("paretina.schedules",)
    IN_WORDS = 'a number, such as 0.1, or a schedule, such as {"kind": "Linear", "start": 0.1, "end": 0}'
    LEFT_OUT = Never("the field that holds it says what may be left out")
    LOW_PRECISION = Never("it is computed in Python's numbers")

    @abstractmethod
    def __call__(self, clock: Clock) -> float: ...

    def with_peak(self, value: float) -> "Schedule":
        """Returns a schedule of the same shape with another peak value.

        Raises:
            ValueError: this kind of schedule has no peak to set.
        """
        raise ValueError(
            f"{type(self).__name__} has no peak to set; give the whole schedule, such as {Constant(value=value).to_json()}"
        )

    def left_out(self, path: str, of: str) -> Iterator[tuple[str, str]]:
        """The parts that it has beyond a constant: the name of each, and the assignment that leaves it out.

        Args:
            path: of the schedule in the recipe.
            of: the quantity that it controls, for the name: "the rate".
        """
        yield f"decay of {of}", f"{path}={Constant(value=self(START)).to_json()}"

    @classmethod
    def from_number(cls, value: float) -> "Schedule":
        return Constant(value=value)


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The same value at every update; written as a plain number."""

    value: float

    def __call__(self, clock: Clock) -> float:
        return self.value

    def with_peak(self, value: float) -> "Constant":
        return Constant(value=value)

    def left_out(self, path: str, of: str) -> Iterator[tuple[str, str]]:
        return iter(())


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """Linear interpolation from the first update to the end of the run."""

    start: float
    end: float

    def __call__(self, clock: Clock) -> float:
        return self.start + (self.end - self.start) * clock.progress

    def with_peak(self, value: float) -> "Linear":
        start, end = scaled((self.start, self.end), value)
        return Linear(start=start, end=end)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine: slow at both ends (Loshchilov & Hutter 2017, arXiv:1608.03983; He et al. 2019, arXiv:1812.01187, 5.1)."""

    start: float
    end: float = 0.0

    def __call__(self, clock: Clock) -> float:
        return self.end + (self.start - self.end) * 0.5 * (1.0 + math.cos(math.pi * clock.progress))

    def with_peak(self, value: float) -> "Cosine":
        start, end = scaled((self.start, self.end), value)
        return Cosine(start=start, end=end)


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """Decays by `factor` every `epochs` epochs, in steps (EfficientNet: 0.97 every 2.4 epochs; arXiv:1905.11946, section 5.2).

    Attributes:
        smooth: decay continuously, at every update, instead of in steps.
    """

    start: float
    factor: float = 0.97
    epochs: float = 2.4
    smooth: bool = False

    def __post_init__(self) -> None:
        if self.epochs <= 0 or self.factor <= 0:
            raise ValueError(f"Exponential needs epochs > 0 and factor > 0, got epochs={self.epochs}, factor={self.factor}")

    def __call__(self, clock: Clock) -> float:
        # a boundary such as epoch 2.4 must not be missed by a rounding error
        turns = clock.epoch / self.epochs + 1e-9
        return float(self.start * self.factor ** (turns if self.smooth else math.floor(turns)))

    def with_peak(self, value: float) -> "Exponential":
        if self.factor > 1:
            raise ValueError(
                f"Exponential(factor={self.factor:g}) rises to the end, so its peak depends on the epochs; set start instead"
            )
        return replace(self, start=value)


@dataclass(frozen=True, kw_only=True)
class Warmup(Schedule):
    """Linear warmup from zero to the first value of another schedule, then that schedule (arXiv:1706.02677, 2.2).

    Attributes:
        epochs: length of the warmup; in a run shorter than `epochs / share`, it is shortened to that share of the run.
        share: the largest share of the run that the warmup may take, in (0, 1].
        rebase: whether `then` starts when the warmup ends (cosine) or has been running since the first update
            (EfficientNet's staircase, which has already decayed when the warmup ends).
    """

    epochs: float
    then: Schedule
    share: float = 0.2
    rebase: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 0 or not 0 < self.share <= 1:
            raise ValueError(f"Warmup needs epochs >= 0 and 0 < share <= 1, got epochs={self.epochs}, share={self.share}")

    def __call__(self, clock: Clock) -> float:
        length = min(self.epochs, self.share * clock.epochs)
        after = clock.since(length)
        if length and clock.update < clock.updates - after.updates:
            return self.then(Clock(0, clock.updates, clock.epochs)) * clock.update / (clock.updates - after.updates)
        return self.then(after if self.rebase else clock)

    def with_peak(self, value: float) -> "Warmup":
        return replace(self, then=self.then.with_peak(value))

    def left_out(self, path: str, of: str) -> Iterator[tuple[str, str]]:
        if self.epochs:
            yield "warm-up", f"{path}.epochs=0"
        if not isinstance(self.then, Constant):
            yield f"decay of {of}", f"{path}.then={self.then(START):g}"


@dataclass(frozen=True, kw_only=True)
class Held(Schedule):
    """Constant for a share of the run, then linear to the end (Hägele et al. 2024, arXiv:2405.18392, section 3).

    Unlike a cosine it has its full value left late in a run, when progressive training comes to its large images.

    Attributes:
        hold: share of the run with the value `start`, in [0, 1).
    """

    start: float
    end: float = 0.0
    hold: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.hold < 1:
            raise ValueError(f"Held needs 0 <= hold < 1, got hold={self.hold}")

    def __call__(self, clock: Clock) -> float:
        return self.start + (self.end - self.start) * max(0.0, (clock.progress - self.hold) / (1 - self.hold))

    def with_peak(self, value: float) -> "Held":
        start, end = scaled((self.start, self.end), value)
        return replace(self, start=start, end=end)


def check_shares(shares: tuple[float, ...], kind: str) -> None:
    if any(share <= 0 for share in shares) or (shares and abs(sum(shares) - 1) > 1e-6):
        raise ValueError(
            f"{kind}.shares are shares of the run, above 0 and 1 together, got {', '.join(f'{s:g}' for s in shares)}"
        )


def stage_at(progress: float, shares: tuple[float, ...]) -> tuple[int, float]:
    """The stage of a run at `progress`, from 0, and the progress at which it began."""
    begins = [0.0, *itertools.accumulate(shares)][: len(shares)]
    number = max(n for n, begin in enumerate(begins) if n == 0 or begin <= progress + 1e-9)
    return number, begins[number]


@dataclass(frozen=True, kw_only=True)
class Staged(Schedule):
    """Piecewise constant, in stages of equal length (EfficientNetV2, arXiv:2104.00298, algorithm 1).

    Attributes:
        values: the value of each stage, first to last.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("Staged needs at least one value, got none")

    def __call__(self, clock: Clock) -> float:
        return self.values[min(int(clock.progress * len(self.values) + 1e-9), len(self.values) - 1)]

    def with_peak(self, value: float) -> "Staged":
        return Staged(values=scaled(self.values, value))

    @classmethod
    def between(cls, start: float, end: float, stages: int = 4) -> "Staged":
        """Returns `stages` evenly spaced values from `start` to `end`, both included; a single stage has the value `end`."""
        if stages < 1:
            raise ValueError(f"Staged needs at least one stage, got stages={stages}")
        # the last value is exactly `end`, without a rounding error
        return cls(values=(*(start + (end - start) * i / (stages - 1) for i in range(stages - 1)), end))


@dataclass(frozen=True, kw_only=True)
class Unequal(Schedule):
    """Piecewise constant, in stages of given lengths.

    Attributes:
        values: the value of each stage, first to last.
        shares: length of each stage as a share of the run.
    """

    values: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values or len(self.shares) != len(self.values):
            raise ValueError(f"Unequal needs a share for each value, got {len(self.shares)} for {len(self.values)} values")
        check_shares(self.shares, "Unequal")

    def __call__(self, clock: Clock) -> float:
        return self.values[stage_at(clock.progress, self.shares)[0]]

    def with_peak(self, value: float) -> "Unequal":
        return replace(self, values=scaled(self.values, value))


@dataclass(frozen=True, kw_only=True)
class Restarted(Schedule):
    """Another schedule, from its beginning in each stage (warm restarts: arXiv:1608.03983, section 3).

    Attributes:
        then: over one stage.
        shares: length of each stage as a share of the run.
    """

    then: Schedule
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.shares:
            raise ValueError("Restarted needs the share of at least one stage, got none")
        check_shares(self.shares, "Restarted")

    def __call__(self, clock: Clock) -> float:
        number, began = stage_at(clock.progress, self.shares)
        share = self.shares[number]
        first, updates = began * clock.updates, share * clock.updates
        length = max(1, round(updates))
        return self.then(Clock(min(length, max(0, round(clock.update - first))), length, share * clock.epochs))

    def with_peak(self, value: float) -> "Restarted":
        return replace(self, then=self.then.with_peak(value))


@dataclass(frozen=True, kw_only=True)
class Drawn(Schedule):
    """A value drawn at random from a list at intervals; schedules with the same seed and length draw the same index.

    Attributes:
        values: drawn with equal probability.
        every: epochs between draws; 0 draws at each update.
        seed: of the draws.
    """

    values: tuple[float, ...]
    every: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.values or self.every < 0:
            raise ValueError(f"Drawn needs at least one value and every >= 0, got values={self.values}, every={self.every}")

    def __call__(self, clock: Clock) -> float:
        turn = math.floor(clock.epoch / self.every + 1e-9) if self.every else clock.update
        digest = hashlib.blake2b(f"{self.seed}/{turn}".encode(), digest_size=8).digest()
        return self.values[int.from_bytes(digest, "big") % len(self.values)]

    def with_peak(self, value: float) -> "Drawn":
        return replace(self, values=scaled(self.values, value))


def scaled(values: tuple[float, ...], peak: float) -> tuple[float, ...]:
    """Scales numbers so that the largest is exactly `peak`.

    Raises:
        ValueError: none of them is above zero, so they cannot be scaled.
    """
    largest = max(values)
    if largest <= 0:
        raise ValueError(
            f"a schedule that never rises above zero has no peak to set, got {', '.join(f'{v:g}' for v in values)}"
        )
    return tuple(peak if each == largest else each * (peak / largest) for each in values)


EXAMPLES = (
    Constant(value=0.1),
    Linear(start=0.0, end=1.0),
    Cosine(start=0.4),
    Exponential(start=0.016),
    Warmup(epochs=5.0, then=Cosine(start=0.4)),
    Held(start=0.4),
    Staged(values=(128.0, 160.0, 192.0)),
    Unequal(values=(128.0, 192.0), shares=(0.7, 0.3)),
    Restarted(then=Cosine(start=0.4), shares=(0.7, 0.3)),
    Drawn(values=(128.0, 160.0, 192.0), every=8.0),
)
