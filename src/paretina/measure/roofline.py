"""Roofline analysis: what bounds each stage of a network, given the measured limits of this device.

A device can multiply and add only so fast, and move bytes only so fast. A stage whose operations take nearly as long as the
first allows is bound by arithmetic, one whose bytes take nearly as long as the second allows is bound by memory; where neither
explains a third of the time, something else does: calling many small operators, threads that wait, or kernels that are slow on
this device. Where the shares of MACs and of time lie far apart, MACs say nothing about cost.

Both ceilings are the best of several tries: products of square matrices in the precision of the plan, and copies of memory far
larger than the caches, read and written. Stages that stay in the caches can therefore pass the ceiling of memory.
Operators are run one after another in eager execution, so the bytes of all of them count; a compiled network has those of its
convolutions and matrix products alone.

Source: Williams et al. 2009, "Roofline: an insightful visual performance model for multicore architectures".
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor

from paretina.measure.cost import Cost
from paretina.measure.parts import NetworkPart, passages
from paretina.measure.plan import Plan
from paretina.measure.timing import Clock, Step
from paretina.tables import in_columns

EXPLAINED = 1 / 3
"""Share of the time that a ceiling must explain to count as the bound of a stage."""

SIDES = (512, 1024, 2048, 4096)
"""Sides of the matrices: small ones do not reach the ceiling of large devices, and large ones are long on small devices."""

COPIED = 1 << 28
"""Bytes that are copied; caches are smaller."""

Bound = Literal["arithmetic", "memory", "overhead"]


@dataclass(frozen=True)
class Ceilings:
    """The measured limits of a device.

    Attributes:
        precision: of the arithmetic.
        gmacs_s: multiply-adds a second, in units of 1e9.
        gb_s: bytes a second, read and written together, in units of 1e9.
    """

    precision: str
    gmacs_s: float
    gb_s: float

    @property
    def ridge(self) -> float:
        """MACs per byte at which both limits take equally long."""
        return self.gmacs_s / self.gb_s

    def arithmetic_ms(self, macs: int | float) -> float:
        return macs / self.gmacs_s / 1e6

    def memory_ms(self, moved: int | float) -> float:
        return moved / self.gb_s / 1e6


def fastest(step: Step, seconds: float, clock: Clock, wait: Callable[[], None]) -> float:
    """Seconds of the fastest of several calls, at least three, after a warm-up call."""
    step()
    wait()
    began, best, calls = clock(), float("inf"), 0
    while calls < 3 or clock() - began < seconds:
        start = clock()
        step()
        wait()
        best = min(best, clock() - start)
        calls += 1
    return best


def measure_ceilings(
    plan: Plan,
    *,
    seconds: float = 1.0,
    sides: Sequence[int] = SIDES,
    copied: int = COPIED,
    clock: Clock = time.perf_counter,
    wait: Callable[[], None] = lambda: None,
) -> Ceilings:
    """Measures both ceilings of a plan's device, in the plan's precision and with its threads.

    Args:
        seconds: for each ceiling.
        sides: of the square matrices; one that would take more than a quarter of the time is left out, but not the first.
        copied: bytes to copy.
        wait: returns when the device is done.
    """
    dtype = getattr(torch, plan.precision)
    with torch.inference_mode(), plan.threaded():
        gmacs_s = 0.0
        for side in sides:
            if gmacs_s and side**3 / gmacs_s / 1e9 > seconds / 4:
                break
            left, right = (torch.ones(side, side, dtype=dtype, device=plan.device) for _ in range(2))
            product = fastest(multiplied(left, right), seconds / len(sides), clock, wait)
            gmacs_s = max(gmacs_s, side**3 / product / 1e9)
        source = torch.ones(copied // 4, device=plan.device)
        target = torch.empty_like(source)
        copy = fastest(lambda: target.copy_(source), seconds, clock, wait)
    return Ceilings(plan.precision, gmacs_s, 2 * (copied // 4 * 4) / copy / 1e9)


def multiplied(left: Tensor, right: Tensor) -> Step:
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out)


# --- stages -------------------------------------------------------------------------------------------------------------


def time_parts(
    parts: Sequence[NetworkPart],
    run: Step,
    *,
    rounds: int = 20,
    seconds: float = 5.0,
    clock: Clock = time.perf_counter,
    device: str = "cpu",
) -> dict[str, float]:
    """Times each part in milliseconds, as the median over several runs of the whole network.

    Code between two parts belongs to the later one, and code after the last part to the last. Compiled networks have no
    separate parts.

    Args:
        run: runs the network that has these parts once.
        rounds: number of runs at most; at least three are made.
        seconds: after which no further run is begun.
        device: on a GPU its own clock is read, by events, so that parts need not wait for each other.
    """
    run()
    run()
    samples: dict[str, list[float]] = {part.name: [] for part in parts}
    began = clock()
    for number in range(rounds):
        if number >= 3 and clock() - began > seconds:
            break
        for name, ms in one_run(tuple(parts), run, clock, device).items():
            samples[name].append(ms)
    return {name: median(found) if found else 0.0 for name, found in samples.items()}


def one_run(parts: tuple[NetworkPart, ...], run: Step, clock: Clock, device: str) -> dict[str, float]:
    if device.startswith("cuda"):
        _, on_device = passages(parts, recorded, run)
        torch.cuda.synchronize(device)
        spans = [(passage.name, passage.before.elapsed_time(passage.behind)) for passage in on_device]
    else:
        _, found = passages(parts, clock, run)
        spans = [(passage.name, 1000 * (passage.behind - passage.before)) for passage in found]
    sums: dict[str, float] = {}
    last = next((name for name, _ in reversed(spans) if name), parts[-1].name)
    for name, ms in spans:
        sums[name or last] = sums.get(name or last, 0.0) + ms
    return sums


def recorded() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()  # type: ignore[no-untyped-call]
    return event


@dataclass(frozen=True)
class StageTime:
    """One row of the table.

    Attributes:
        macs: multiply-adds of the batch.
        macs_share: of all, from 0 to 1.
        ms: measured.
        time_share: of all, from 0 to 1.
        arithmetic_ms: what the MACs would take at the ceiling of arithmetic.
        memory_ms: what the bytes would take at the ceiling of memory.
        attained: the larger of both as a share of the measured time; above 1 where caches helped.
        bound: what limits the stage.
    """

    name: str
    macs: int
    macs_share: float
    ms: float
    time_share: float
    arithmetic_ms: float
    memory_ms: float
    attained: float
    bound: Bound

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def roofline(counted: Cost, measured: Mapping[str, float], ceilings: Ceilings, *, fused: bool = False) -> tuple[StageTime, ...]:
    """Computes the table: counts and times, a row per stage.

    Args:
        counted: of float32 weights, at the batch that was timed; in a precision of two bytes half of its bytes move.
        measured: milliseconds by the name of the stage.
        fused: whether only convolutions and matrix products move bytes, as in a compiled network.

    Raises:
        ValueError: a stage was counted and not timed.
    """
    rows = [stage for stage in counted.stages if stage.name != "rest"]
    missing = [stage.name for stage in rows if stage.name not in measured]
    if missing:
        raise ValueError(f"each stage must be timed, but there is no time for {', '.join(missing)}")
    size = 1.0 if ceilings.precision == "float32" else 0.5
    macs, ms = max(1, sum(row.macs for row in rows)), sum(measured[row.name] for row in rows)
    found = []
    for row in rows:
        took = measured[row.name]
        arithmetic = ceilings.arithmetic_ms(row.macs)
        memory = ceilings.memory_ms(size * (row.bytes_moved if fused else row.bytes_unfused))
        found.append(
            StageTime(
                name=row.name,
                macs=row.macs,
                macs_share=row.macs / macs,
                ms=took,
                time_share=took / ms if ms else 0.0,
                arithmetic_ms=arithmetic,
                memory_ms=memory,
                attained=max(arithmetic, memory) / took if took else 0.0,
                bound=bound(arithmetic, memory, took),
            )
        )
    return tuple(found)


def bound(arithmetic: float, memory: float, took: float) -> Bound:
    """What limits a stage: the larger of the two ceilings, unless it explains less than a third of the time."""
    if max(arithmetic, memory) < EXPLAINED * took:
        return "overhead"
    return "arithmetic" if arithmetic >= memory else "memory"


def table(rows: Sequence[StageTime]) -> list[str]:
    """The table as lines of text."""
    lines = [["stage", "MACs", "share", "ms", "share", "arithmetic", "memory", "attained", "bound by"]]
    for row in rows:
        shares = (f"{100 * share:.1f} %" for share in (row.macs_share, row.time_share))
        limits = (f"{row.arithmetic_ms:.3f} ms", f"{row.memory_ms:.3f} ms", f"{100 * row.attained:.0f} %")
        figures = (f"{row.macs / 1e6:.1f} M", next(shares), f"{row.ms:.3f}", next(shares))
        lines.append([row.name, *figures, *limits, row.bound])
    return in_columns(lines, "<>>>>>>><")
