"""The latency table: what each unit takes on this machine, and from their sum what a network takes.

Each distinct unit (stem, block at its place, head) is timed alone, all of them in turn. A whole network takes less or more than
the sum (caches, calls, the normalisation of pixels), so a line is fitted through a few whole networks, timed in the same
session, and checked on others that it was not fitted to; the error there is what a prediction can be trusted to. All are the
lower fifth of many samples and not the median: on a machine with other work, half of the samples may have lost their core.

Units that come up later are timed in sessions of their own, each with the first whole network once more, by which their times
are scaled to those of the first session.

Source: Cai et al. 2019 (arXiv:1812.00332), section 3.3, and Tan et al. 2019; the fit as the sum of isolated operators is not
the time of a network.
"""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from paretina.measure.choose_plan import default_inference_plan
from paretina.measure.inference import forward, prepared
from paretina.measure.machine import Device, Others
from paretina.measure.plan import Plan
from paretina.measure.timing import Turns, no_collection
from paretina.model.blueprint import Blueprint
from paretina.search.architecture.units import PlacedUnit, units_of

ROUNDS = 5
TURN_S = 0.004
"""Seconds of a unit in a round: a search times hundreds of them."""

WARM_CALLS = 2

LOWER = 0.2
"""The quantile of samples that stands for an undisturbed call."""

Step = Callable[[], object]


@dataclass(frozen=True)
class LatencyTable:
    """
    Attributes:
        units: milliseconds of each unit, by its key.
        fixed_ms: of a network without units.
        slope: of the sum of units.
        errors: of the networks that were held out, each as a share of what it takes.
        reference_ms: of the first whole network.
        disturbed: whether other processes used the machine meanwhile.
    """

    units: Mapping[str, float]
    fixed_ms: float
    slope: float
    errors: tuple[float, ...]
    reference_ms: float
    disturbed: bool = False

    @property
    def error(self) -> float | None:
        """The median error on held-out networks, as a share; None if there were none."""
        return statistics.median(self.errors) if self.errors else None

    def missing(self, blueprint: Blueprint) -> list[PlacedUnit]:
        """The units of a network that are not in the table, each once."""
        return [unit for unit in dict.fromkeys(needed(blueprint)) if unit.key not in self.units]

    def predicted(self, blueprint: Blueprint) -> float:
        """Milliseconds of one image.

        Raises:
            KeyError: a unit is missing.
        """
        return self.fixed_ms + self.slope * sum(self.units[unit.key] for unit in needed(blueprint))

    def to_dict(self) -> dict[str, Any]:
        return {
            "units": dict(self.units),
            "fixed_ms": self.fixed_ms,
            "slope": self.slope,
            "errors": list(self.errors),
            "reference_ms": self.reference_ms,
            "disturbed": self.disturbed,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LatencyTable":
        return cls(**{**data, "errors": tuple(data["errors"])})


def needed(blueprint: Blueprint) -> tuple[PlacedUnit, ...]:
    """The units of a network.

    Raises:
        ValueError: its blocks are not one after the other.
    """
    found = units_of(blueprint)
    if found is None:
        raise ValueError(
            "a latency table adds up blocks that follow each other, and this network joins them in another way; give a budget "
            "of a counted cost, such as macs"
        )
    return found


def fit(sums: Sequence[float], wholes: Sequence[float]) -> tuple[float, float]:
    """The line through whole networks against the sums of their units: what is fixed, and the slope, which is not negative.

    Least squares of relative errors, so that small networks count as much as large ones. With fewer than three networks, or
    sums that hardly differ, a factor alone.

    Args:
        sums: milliseconds, above 0.
        wholes: likewise.
    """
    weights = [1 / whole**2 for whole in wholes]
    factor = sum(w * x * y for w, x, y in zip(weights, sums, wholes, strict=True)) / sum(
        w * x * x for w, x in zip(weights, sums, strict=True)
    )
    total = sum(weights)
    x = sum(w * value for w, value in zip(weights, sums, strict=True)) / total
    y = sum(w * value for w, value in zip(weights, wholes, strict=True)) / total
    spread = sum(w * (value - x) ** 2 for w, value in zip(weights, sums, strict=True)) / total
    if len(sums) < 3 or spread < (0.05 * x) ** 2:
        return 0.0, factor
    slope = sum(w * (a - x) * (b - y) for w, a, b in zip(weights, sums, wholes, strict=True)) / total / spread
    fixed = y - slope * x
    # a line that falls, or that gives a network of nothing less than no time, is noise
    return (fixed, slope) if slope > 0 and fixed >= -0.5 * min(wholes) else (0.0, factor)


def table_of(
    units: Mapping[str, float], whole: Sequence[tuple[Blueprint, float]], fitted: int, disturbed: bool
) -> LatencyTable:
    """The table of one session.

    Args:
        whole: networks with their times; the first `fitted` are for the fit, the others are held out.
    """
    sums = [sum(units[unit.key] for unit in needed(blueprint)) for blueprint, _ in whole]
    times = [ms for _, ms in whole]
    fixed, slope = fit(sums[:fitted], times[:fitted])
    errors = tuple(abs(fixed + slope * a - b) / b for a, b in zip(sums[fitted:], times[fitted:], strict=True))
    return LatencyTable(units, fixed, slope, errors, times[0], disturbed)


# --- timing ---------------------------------------------------------------------------------------------------------------


def plan_of(device: str) -> Plan:
    return default_inference_plan(device)


def unit_step(unit: PlacedUnit, plan: Plan) -> Step:
    """A forward pass of one unit and one image."""
    module = plan.place(unit.make(plan.device)).requires_grad_(False)
    given = unit.input(plan.device).contiguous(memory_format=plan.torch_memory_format)

    def run() -> object:
        with torch.inference_mode(), plan.arithmetic():
            return module(given)

    return run


def network_step(blueprint: Blueprint, plan: Plan) -> Step:
    """A forward pass of one image through a network with random weights."""
    network = prepared(blueprint.build(), plan)
    side = blueprint.resolution
    return forward(network, plan, torch.zeros(1, blueprint.channels, side, side, dtype=torch.uint8))


def quickly(steps: Mapping[str, Step], turns: Turns, seed: int = 0) -> dict[str, float]:
    """Milliseconds of many short steps, in turn: each round in another order, after calls that are not kept."""
    order, found = random.Random(seed), {name: list[float]() for name in steps}
    for step in steps.values():
        step()
    with no_collection():
        for _ in range(ROUNDS):
            for name in order.sample(list(steps), len(steps)):
                step, began = steps[name], time.perf_counter()
                for _ in range(WARM_CALLS):
                    turns.took(step)
                pace = max(1e-6, (time.perf_counter() - began) / WARM_CALLS)
                calls = max(1, min(20, round(TURN_S / pace)))
                found[name] += [1000 * turns.took(step) for _ in range(calls)]
    return {name: float(np.quantile(samples, LOWER)) for name, samples in found.items()}


class LongTableError(ValueError):
    """A table would take longer than it may.

    Attributes:
        needs_s: seconds that it would take.
    """

    def __init__(self, needs_s: float) -> None:
        super().__init__(f"the latency table takes about {needs_s:.0f} s")
        self.needs_s = needs_s


SEEN = 8
"""Units after which the time of all is estimated; then again after each of them."""


def steps_within(
    make: Mapping[str, Callable[[], Step]], within: float | None, other_s: float, clock: Callable[[], float] = time.monotonic
) -> dict[str, Step]:
    """Makes the steps of units, and stops early where these and their timing would take too long.

    Args:
        within: seconds that there are; None for no limit.
        other_s: seconds that are needed besides.

    Raises:
        LongTableError: they would take longer.
    """
    found: dict[str, Step] = {}
    began = clock()
    calls_s = 0.0
    for name, unit in make.items():
        found[name] = unit()
        if within is None:
            continue
        found[name]()
        start = clock()
        found[name]()
        pace = clock() - start
        calls_s += pace + ROUNDS * (WARM_CALLS * pace + max(TURN_S, pace))
        if len(found) >= min(SEEN, len(make)):
            needs = ((clock() - began) + calls_s) * len(make) / len(found) + other_s
            if needs > within:
                raise LongTableError(needs)
    return found


def time_table(
    units: Sequence[PlacedUnit],
    networks: Sequence[Blueprint],
    fitted: int,
    device: str,
    seconds: float,
    within: float | None = None,
) -> LatencyTable:
    """Times units and whole networks in one session.

    Args:
        units: each once; at least those of the networks.
        networks: the first `fitted` are for the fit.
        seconds: of timing a whole network.
        within: seconds that all may take; None for no limit.

    Raises:
        LongTableError: it would take longer.
    """
    here, plan = Device.here(plan_of(device).device), plan_of(device)
    turns, others = Turns(seconds=seconds * len(networks), wait=here.wait), Others()
    torch.manual_seed(0)
    with plan.threaded():
        make = {unit.key: partial(unit_step, unit, plan) for unit in units}
        found = quickly(steps_within(make, within, seconds * len(networks)), turns)
        series = turns.run({str(at): network_step(blueprint, plan) for at, blueprint in enumerate(networks)})
    whole = [(blueprint, series[str(at)].quantile(LOWER).value) for at, blueprint in enumerate(networks)]
    return table_of(found, whole, fitted, others.disturbed(others.used()))


def time_more(
    units: Sequence[PlacedUnit], reference: Blueprint, table_ms: float, device: str, seconds: float
) -> dict[str, float]:
    """Milliseconds of further units, scaled to the session of the table by its first network.

    Args:
        table_ms: what that network took then.
    """
    here, plan = Device.here(plan_of(device).device), plan_of(device)
    turns = Turns(seconds=seconds, wait=here.wait)
    torch.manual_seed(0)
    with plan.threaded():
        whole = network_step(reference, plan)
        before = turns.run({"": whole})[""].quantile(LOWER).value
        found = quickly({unit.key: unit_step(unit, plan) for unit in units}, turns)
    return {key: ms * table_ms / before for key, ms in found.items()}
