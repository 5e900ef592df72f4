"""Times networks on a device under a plan; nothing is counted.

Whatever is compared is timed in turn: each round runs every candidate for a short while, in a random order, so that a drift of
the machine hits all alike. A turn begins with calls that are not kept, since another network has emptied the caches; then come
its samples. Samples of one turn resemble each other, so the intervals are bootstrapped over rounds, not over samples, and all
candidates were run in the same rounds, so ratios are taken round by round. Raw samples are kept.

p50 and p95 are quantiles of all samples. Fewer than 20 samples say nothing about p95, which is then absent.

Source: interleaving and repetition: Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time"; bootstrap over clusters:
Davison & Hinkley 1997, "Bootstrap methods and their application", section 3.8.
"""

import gc
import math
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from paretina.measure.energy import Energy, EnergyCounter, measure_energy
from paretina.measure.machine import Device, Others
from paretina.measure.memory import peak_of
from paretina.measure.plan import Plan
from paretina.measure.statistics import Interval, as_columns
from paretina.spec import encode

Step = Callable[[], object]
"""Does the work of one batch."""

MakeStep = Callable[[int], Step]
"""Makes the step for a batch size: one forward pass, or one update in training."""

Clock = Callable[[], float]
"""Seconds since an arbitrary start."""

Counts = np.ndarray[tuple[int, int], np.dtype[np.int64]]
Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]

LEAST_ROUNDS = 5
MOST_ROUNDS = 200
RESAMPLES = 2000
TURN_S = 0.06
"""Duration in seconds of a turn of a fast step."""

MOST_CALLS = 12
"""Maximum number of samples in a turn."""

BLOCK_S = 0.001
"""Steps faster than this are repeated for at least this time, and a sample is the mean of the repetitions."""

COLD_S = 0.2
"""Steps longer than this are not affected by cold caches, so none of their calls is discarded."""

WARM_S = 0.5
ENOUGH = 0.02
"""Minimum gain of throughput from doubling the batch size; below it, larger ones are not tried."""


@dataclass(frozen=True)
class Series:
    """The timings of one candidate.

    Attributes:
        rounds: milliseconds of each call, round by round.
    """

    rounds: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not self.rounds or not all(self.rounds):
            raise ValueError("a series needs at least one round, and each round a sample")

    @property
    def samples(self) -> tuple[float, ...]:
        """All samples, in the order in which they were taken."""
        return tuple(sample for turn in self.rounds for sample in turn)

    @property
    def n(self) -> int:
        return len(self.samples)

    @cached_property
    def p50(self) -> Interval:
        return self.quantile(0.5)

    @cached_property
    def p95(self) -> Interval | None:
        """The 95 % quantile; None with fewer than 20 samples."""
        return self.quantile(0.95) if self.n >= 20 else None

    def quantile(self, share: float, seed: int = 0) -> Interval:
        """The quantile of the samples with its 95 % interval."""
        found = quantiles(self, drawn_rounds(len(self.rounds), seed), share)
        low, high = np.quantile(found, (0.025, 0.975))
        return Interval(float(np.quantile(self.samples, share)), float(low), float(high))

    def to_dict(self) -> dict[str, Any]:
        data = {"n": self.n, "rounds": len(self.rounds), **as_columns("p50_ms", self.p50)}
        data |= as_columns("p95_ms", self.p95)
        return {**data, "samples_ms": [[round(sample, 5) for sample in turn] for turn in self.rounds]}


def drawn_rounds(count: int, seed: int) -> Counts:
    """How often each of some rounds was drawn, in many draws of as many with replacement."""
    return np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=RESAMPLES)


def quantiles(series: Series, drawn: Counts, share: float) -> Numbers:
    """The quantile of the samples of each draw, as numpy has it, with every sample as often as its round was drawn."""
    turns = series.rounds[: drawn.shape[1]]
    samples = np.concatenate([np.asarray(turn) for turn in turns])
    order = samples.argsort()
    of_round = np.repeat(np.arange(len(turns)), [len(turn) for turn in turns])[order]
    reached = drawn[:, of_round].cumsum(1)
    place = share * (reached[:, -1] - 1)
    below, above = ((reached > edge[:, None]).argmax(1) for edge in (np.floor(place), np.ceil(place)))
    low, high = samples[order][below], samples[order][above]
    return low + (high - low) * (place - np.floor(place))  # type: ignore[no-any-return]


def ratio(slow: Series, fast: Series, seed: int = 0) -> Interval:
    """The ratio of two medians measured in the same rounds; above 1 if the second is faster."""
    drawn = drawn_rounds(min(len(slow.rounds), len(fast.rounds)), seed)
    found = quantiles(slow, drawn, 0.5) / quantiles(fast, drawn, 0.5)
    low, high = np.quantile(found, (0.025, 0.975))
    return Interval(float(np.median(slow.samples) / np.median(fast.samples)), float(low), float(high))


# --- in turn ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turns:
    """Settings for timing candidates in turn.

    Attributes:
        rounds: number of them; None for as many as fit into the time, at least 5.
        seconds: for all candidates together, warm-up not counted.
        seed: of the order in a round.
        clock: returns the time in seconds.
        wait: blocks until the device is done.
    """

    rounds: int | None = None
    seconds: float = 10.0
    seed: int = 0
    clock: Clock = time.perf_counter
    wait: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        if self.rounds is not None and self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got rounds={self.rounds}")
        if not self.seconds > 0:
            raise ValueError(f"seconds must be above 0, got seconds={self.seconds}")

    def took(self, step: Step) -> float:
        """Seconds of one call."""
        start = self.clock()
        step()
        self.wait()
        return self.clock() - start

    def warm_up(self, step: Step, seconds: float) -> float:
        """Calls a step at least twice, and until the time is up; returns seconds of the fastest call after the first."""
        began = self.clock()
        self.took(step)
        best = self.took(step)
        calls = 2
        while self.clock() - began < seconds and calls < 1000:
            best = min(best, self.took(step))
            calls += 1
        return best

    def run(self, steps: Mapping[str, Step]) -> dict[str, Series]:
        """Times every step, each round in another order.

        Raises:
            ValueError: there is nothing to time.
        """
        if not steps:
            raise ValueError("there is nothing to time")
        order = random.Random(self.seed)
        share = self.seconds / len(steps)
        paces: dict[str, float] = {}
        for name, step in steps.items():
            paces[name] = self.warm_up(step, min(WARM_S, share / 4))
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in steps}
        most, least = (self.rounds, self.rounds) if self.rounds else (MOST_ROUNDS, LEAST_ROUNDS)
        began, done = self.clock(), 0
        with no_collection():
            while done < most:
                passed = self.clock() - began
                # a round that would exceed the time is not started
                if done >= least and passed * (done + 1) / done > self.seconds:
                    break
                for name in order.sample(list(steps), len(steps)):
                    found[name].append(self.turn(steps[name], paces[name]))
                done += 1
        return {name: Series(tuple(turns)) for name, turns in found.items()}

    def turn(self, step: Step, pace: float) -> tuple[float, ...]:
        """Milliseconds of several calls, after warm-up calls."""
        block = max(1, math.ceil(BLOCK_S / max(pace, 1e-9)))
        calls = min(MOST_CALLS, max(1, round(TURN_S / max(block * pace, 1e-9))))
        if pace < COLD_S:
            for _ in range(block):
                self.took(step)
        if block == 1:
            return tuple(1000 * self.took(step) for _ in range(calls))
        return tuple(1000 * self.took(repeated(step, block)) / block for _ in range(calls))


def repeated(step: Step, times: int) -> Step:
    def all_of_them() -> None:
        for _ in range(times):
            step()

    return all_of_them


@contextmanager
def no_collection() -> Any:
    """Context without Python's garbage collector, which would disturb samples."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


# --- batches ------------------------------------------------------------------------------------------------------------


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an out-of-memory error."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(re.search("out of memory|can't allocate memory", str(error), re.IGNORECASE))
    )


def batches(make: MakeStep, turns: Turns, *, first: int = 1, most: int = 256, room: int | None = None) -> dict[int, float]:
    """Images a second by batch size, in powers of two, until a doubling gains less than 2 % twice in a row.

    Stops too if the memory or the time of `turns` does not suffice for the next one. Each figure is of few calls: enough for
    choosing, not for reporting.

    Args:
        room: largest batch that there is memory for, where that is known.
    """
    found: dict[int, float] = {}
    began, size, idle, best = turns.clock(), first, 0, 0.0
    while size <= most and (room is None or size <= room or not found):
        try:
            step = make(size)
            first_call = turns.took(step)
            times = [turns.took(step)]
            while len(times) < 3 and turns.clock() - began < turns.seconds / 2:
                times.append(turns.took(step))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or not found:
                raise
            break
        found[size] = size / min(times)
        idle = 0 if found[size] > (1 + ENOUGH) * best else idle + 1
        best = max(best, found[size])
        # the next one takes twice as long, and is called twice
        if idle == 2 or turns.clock() - began + 4 * max(first_call, times[0]) > turns.seconds:
            break
        size *= 2
    return found


def best_batch(found: Mapping[int, float]) -> int:
    """The smallest batch size whose throughput is within 2 % of the best."""
    best = max(found.values())
    return min(size for size, rate in found.items() if rate * (1 + ENOUGH) >= best)


@dataclass(frozen=True)
class LineFit:
    """The largest batch that fits into memory.

    Attributes:
        batch: number of images.
        how: tried, or extrapolated from two smaller ones and the free memory.
    """

    batch: int
    how: str


def largest_batch(make: MakeStep, device: Device, *, small: int = 4, limit: int = 1 << 14) -> LineFit | None:
    """The largest batch that fits; None if the system does not report memory use.

    On a GPU it is tried, by doubling and halving, up to `limit`. On a CPU a batch that does not fit ends the process or the
    machine, so the peaks of two small batches are continued in a straight line.
    """
    if device.kind == "cuda":
        return LineFit(tried_batch(make, device.wait, limit), "tried")
    free = device.free_bytes()
    low, high = (peak_of(lambda size=size: make(size)(), device.device) for size in (small, 2 * small))  # type: ignore[misc]
    if free is None or low is None or high is None or high <= low:
        return None
    slope = (high - low) / small
    room = free / 2**20 - (low - slope * small)
    return LineFit(max(0, int(room / slope)), "extrapolated")


def tried_batch(make: MakeStep, wait: Callable[[], None], limit: int) -> int:
    """The largest batch that can be run, within one part in eight; 0 where not even one image fits."""

    def fits(size: int) -> bool:
        try:
            make(size)()
            wait()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    good, bad = 0, 1
    while bad <= limit and fits(bad):
        good, bad = bad, 2 * bad
    if bad > limit:
        return good
    while bad - good > max(1, good // 8):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


# --- timing networks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """A network to time.

    Attributes:
        plan: for inference; `training_plan` for training.
        infer: makes a forward pass for a batch size.
        train: makes an update for a batch size; None skips training.
        weight_mb: memory of its weights, in MiB.
    """

    name: str
    plan: Plan
    infer: MakeStep
    train: MakeStep | None = None
    training_plan: Plan | None = None
    weight_mb: float = 0.0


@dataclass(frozen=True)
class BatchTiming:
    """The timing of one batch size.

    Attributes:
        batch: images per step.
        step: duration of a step.
        peak_mb: peak memory including weights, in MiB; None if the system does not report it.
        largest: largest batch that fits; None if the system does not report memory.
        energy: per image; None if the machine has no counter.
        tried: images per second at other batch sizes, if the best was searched for.
    """

    batch: int
    step: Series
    peak_mb: float | None = None
    largest: LineFit | None = None
    energy: Energy | None = None
    tried: dict[int, float] = field(default_factory=dict)

    @property
    def img_s(self) -> Interval:
        """Images per second, from the median step."""
        value, low, high = self.step.p50
        return Interval(*(1000 * self.batch / ms for ms in (value, high, low)))

    def to_dict(self) -> dict[str, Any]:
        return {
            "batch": self.batch,
            **as_columns("img_s", self.img_s),
            **self.step.to_dict(),
            "peak_mb": self.peak_mb,
            "largest_batch": self.largest.batch if self.largest else None,
            "largest_batch_is": self.largest.how if self.largest else None,
            "energy_j": self.energy.image_j if self.energy else None,
            "energy_above_idle_j": self.energy.above_idle_j if self.energy else None,
            "energy_counter": self.energy.counter if self.energy else None,
            "tried_img_s": {str(size): rate for size, rate in self.tried.items()},
        }


@dataclass(frozen=True)
class Timing:
    """The timings of one network on one device under one plan.

    Attributes:
        latency: of one image.
        inference: at the batch size with the best throughput, or at the given one.
        training: of an update; None if skipped.
        others: cores used by other processes meanwhile, on average; None if unknown.
        disturbed: whether that is more than on a quiet machine.
    """

    device: Device
    plan: Plan
    training_plan: Plan | None
    latency: Series
    inference: BatchTiming
    training: BatchTiming | None
    others: float | None
    disturbed: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "device": self.device.to_dict(),
            "plan": encode(self.plan),
            "training_plan": encode(self.training_plan) if self.training_plan else None,
            "latency": self.latency.to_dict(),
            "inference": self.inference.to_dict(),
            "training": self.training.to_dict() if self.training else None,
            "others_cores": self.others,
            "disturbed": self.disturbed,
        }


LEAST_TRAINING = 2
"""Smallest training batch: batch norm needs two images if its map has one pixel."""


def time_subjects(
    subjects: Sequence[Subject],
    device: Device,
    turns: Turns | None = None,
    *,
    batch: int | None = None,
    training_batch: int | None = None,
    memory: bool = True,
    others: Others | None = None,
    counter: EnergyCounter | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Timing]:
    """Times networks in turn: one image, the best batch, and the training step.

    Args:
        turns: clock and duration; the time is per subject, for one image, batch and training together.
        batch: images per forward pass; default: the fastest batch size found.
        training_batch: images per update; default: 32, or as many as the time allows.
        memory: whether to measure peak memory and the largest batch too.
        others: monitors other processes.
        counter: of energy; None skips energy.
        say: called with progress messages.

    Raises:
        ValueError: there is nothing to time, or two subjects have one name.
    """
    named = {subject.name: subject for subject in subjects}
    if len(named) < len(subjects):
        names = [subject.name for subject in subjects]
        raise ValueError(f"each must have its own name, got {', '.join(names)}")
    if not subjects:
        raise ValueError("there is nothing to time")
    turns = turns or Turns(wait=device.wait)
    trained = {name: subject for name, subject in named.items() if subject.train}
    phases = 3 if trained else 2
    phase = replace(turns, seconds=turns.seconds / phases)
    alone = replace(phase, seconds=phase.seconds / 2)
    watch = others or Others()

    def together(steps: dict[str, Step]) -> dict[str, Series]:
        return replace(phase, seconds=phase.seconds * len(steps)).run(steps)

    say("one image")
    latency = together({name: subject.infer(1) for name, subject in named.items()})
    tried: dict[str, dict[int, float]] = {}
    sizes: dict[str, int] = {}
    for name, subject in named.items():
        if batch is None:
            say(f"{name}: the best batch")
            tried[name] = batches(subject.infer, alone)
        sizes[name] = batch or best_batch(tried[name])
    say("throughput")
    inference = together({name: subject.infer(sizes[name]) for name, subject in named.items()})
    updates: dict[str, int] = {}
    training: dict[str, Series] = {}
    if trained:
        for name, subject in trained.items():
            updates[name] = training_batch or affordable(subject.train, phase)  # type: ignore[arg-type]
        say("training")
        training = together({name: subject.train(updates[name]) for name, subject in trained.items()})  # type: ignore[misc]
    used = watch.used()
    found = {}
    for name, subject in named.items():
        if memory or counter:
            say(f"{name}: memory{' and energy' if counter else ''}")
        run = Measuring(device, turns, memory, counter, subject.weight_mb)
        found[name] = Timing(
            device=device,
            plan=subject.plan,
            training_plan=subject.training_plan or subject.plan if subject.train else None,
            latency=latency[name],
            inference=run.batch(subject.infer, sizes[name], inference[name], tried.get(name, {})),
            training=run.batch(subject.train, updates[name], training[name], {}) if subject.train else None,
            others=used,
            disturbed=watch.disturbed(used),
        )
    return found


def affordable(train: MakeStep, turns: Turns, most: int = 32) -> int:
    """Batch size of an update: the largest power of two up to `most` whose minimum rounds fit into twice the time."""
    size = LEAST_TRAINING
    while True:
        step = train(size)
        turns.took(step)
        if size >= most or 2 * LEAST_ROUNDS * turns.took(step) > 2 * turns.seconds:
            return size
        size *= 2


@dataclass(frozen=True)
class Measuring:
    """Measurements outside of the rounds."""

    device: Device
    turns: Turns
    memory: bool
    counter: EnergyCounter | None
    weight_mb: float

    def batch(self, make: MakeStep, size: int, series: Series, tried: dict[int, float]) -> BatchTiming:
        def twice() -> object:  # an optimizer allocates its moments at the first step
            step = make(size)
            step()
            return step()

        peak = peak_of(twice, self.device.device) if self.memory else None
        energy = None
        if self.counter is not None:
            energy = measure_energy(make(size), size, self.counter, clock=self.turns.clock, wait=self.turns.wait)
        return BatchTiming(
            batch=size,
            step=series,
            peak_mb=None if peak is None else peak + self.weight_mb,
            largest=largest_batch(make, self.device) if self.memory else None,
            energy=energy,
            tried=tried,
        )
