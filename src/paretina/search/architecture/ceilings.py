"""Costs that a search can bound before anything is trained: counted ones, and latency by the latency table. Needs no torch."""

import math
from dataclasses import dataclass

from paretina.spec import Spec, near

PRICED = {"latency_ms": "ms", "macs": "MACs", "params": "parameters", "activations": "values", "weight_bytes": "bytes"}
"""The costs and their units."""

TOO_LATE = ("throughput", "train_seconds", "peak_mb", "energy_j")
"""Costs of `paretina frontier` that are only known of what was trained or run."""


@dataclass(frozen=True, kw_only=True)
class Ceiling(Spec):
    """
    Attributes:
        cost: one of `PRICED`.
        limit: the most that a candidate may cost, above 0.
    """

    cost: str
    limit: float

    def holds(self, value: float) -> bool:
        return value <= self.limit

    def __str__(self) -> str:
        return f"{self.cost} <= {self.limit:g}"


EXAMPLES_OF = {"latency_ms": "12", "macs": "2e7", "params": "1e6", "activations": "1e6", "weight_bytes": "4e6"}
"""A limit of each cost that a small network has."""


def ceiling_of(text: str, what: str = "--budget") -> Ceiling:
    """Reads `latency_ms=12`.

    Args:
        what: the option, for messages.

    Raises:
        ValueError: there is no such cost, it is not known before training, or the limit is not a number above 0.
    """
    name, _, value = text.partition("=")
    name = name.strip()
    if name in TOO_LATE:
        raise ValueError(
            f"{name} is not known before a network is trained and run, so a search cannot hold to it; give one of "
            f"{', '.join(PRICED)}"
        )
    if name not in PRICED:
        raise ValueError(f"there is no cost {name!r} ({what} looks like latency_ms=12){near(name, PRICED)}")
    try:
        limit = float(value)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise ValueError(f"{what} {text!r} needs a number above 0, such as {name}={EXAMPLES_OF[name]}")
    return Ceiling(cost=name, limit=limit)
