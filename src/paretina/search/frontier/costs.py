"""The costs that a frontier can be plotted against, and budgets for them. Needs no torch."""

import math
from dataclasses import dataclass

from paretina.measure.pareto import Axis
from paretina.spec import near

COSTS = {
    axis.name: axis
    for axis in (
        Axis(name="latency_ms", unit="ms", relative=True),
        Axis(name="throughput", better="high", unit="pictures/s", relative=True),
        Axis(name="train_seconds", unit="s", relative=True),
        Axis(name="weight_bytes", unit="bytes", relative=True),
        Axis(name="peak_mb", unit="MB", relative=True),
        Axis(name="macs", unit="MACs", relative=True),
        Axis(name="energy_j", unit="J", relative=True),
    )
}

COUNTED = ("macs", "weight_bytes")
TIMED = ("latency_ms", "throughput", "peak_mb", "energy_j")


@dataclass(frozen=True)
class Budget:
    """A limit on a cost: an upper one, or a lower one if higher is better."""

    cost: str
    limit: float

    def holds(self, value: float) -> bool:
        return value >= self.limit if COSTS[self.cost].better == "high" else value <= self.limit

    def __str__(self) -> str:
        return f"{self.cost} {'>=' if COSTS[self.cost].better == 'high' else '<='} {self.limit:g}"


def budget_of(text: str) -> Budget:
    """Reads `latency_ms=10`.

    Raises:
        ValueError: there is no such cost, or the limit is not a number above 0.
    """
    name, _, value = text.partition("=")
    name = name.strip()
    if name not in COSTS:
        raise ValueError(f"there is no cost {name!r} (a budget looks like latency_ms=10){near(name, COSTS)}")
    try:
        limit = float(value)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise ValueError(f"the budget {text!r} needs a number above 0, such as {name}=10")
    return Budget(name, limit)
