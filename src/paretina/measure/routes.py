"""Where a network that chooses its image size sends pictures, and what obvious choices would give.

The controls are computed on the same pictures from the same weights: one size for all; sizes drawn by chance, as often as the
network takes them; and an oracle, which knows the labels and takes for each picture the cheapest size that is right, or the
cheapest of all where none is. Their costs have no predictor, since they need none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from paretina.measure.cost import cost
from paretina.measure.evaluate import Evaluation
from paretina.measure.statistics import Interval, wilson
from paretina.model.assemblies.route import Numbers, Routed, Router
from paretina.tables import in_columns


@dataclass(frozen=True)
class RoutesTaken:
    """
    Attributes:
        sizes: sides in pixels, rising.
        pictures: how many took each.
        macs: of a picture on average, the predictor included.
        largest: MACs of the network at the largest size.
    """

    sizes: tuple[int, ...]
    pictures: tuple[int, ...]
    macs: int
    largest: int

    @property
    def shares(self) -> tuple[float, ...]:
        return shares_of(self.pictures)

    def said(self) -> str:
        return routes_said(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "shares": list(self.shares)}


def shares_of(counts: Sequence[int]) -> tuple[float, ...]:
    """Counts as shares; empty if there are none."""
    return tuple(count / sum(counts) for count in counts) if sum(counts) else ()


def routes_said(taken: dict[str, Any]) -> str:
    """The entry of a result in words."""
    sizes = ", ".join(f"{size} {100 * share:.0f} %" for size, share in zip(taken["sizes"], taken["shares"], strict=True))
    times = taken["macs"] / taken["largest"]
    return (
        f"sizes of {sum(taken['pictures']):,} pictures: {sizes}; {taken['macs'] / 1e6:,.4g} M MACs each, {times:.2f} of the "
        f"network at {taken['sizes'][-1]} pixels"
    )


def routes_taken(network: Router, counts: Sequence[int]) -> RoutesTaken | None:
    """What pictures cost that have taken sizes so often; None for no pictures."""
    if not sum(counts):
        return None
    counted = cost(replace(cast(Routed, network.model), shares=shares_of(counts)))
    return RoutesTaken(network.sizes, tuple(counts), counted.macs, counted.routes[-1].macs)


class TurnsOfSizes:
    """Numbers of sizes in the proportion of shares, spread evenly; the same from the start on.

    Each picture gets the size that is furthest behind its share.
    """

    def __init__(self, shares: Sequence[float]) -> None:
        self.shares = torch.tensor(shares, dtype=torch.float64)
        self.behind = torch.zeros_like(self.shares)

    def __call__(self, count: int) -> Numbers:
        found = []
        for _ in range(count):
            self.behind += self.shares
            found.append(int(self.behind.argmax()))
            self.behind[found[-1]] -= 1
        return torch.tensor(found)


# --- controls -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SizeChoice:
    """A way to choose sizes.

    Attributes:
        name: in tables.
        top1: in percent, with its 95 % interval; for sizes by chance it is the mean over all draws, without one.
        macs: of a picture on average.
        shares: of the pictures that take each size.
    """

    name: str
    top1: Interval
    macs: float
    shares: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        value, low, high = self.top1
        return {"name": self.name, "top1": value, "top1_low": low, "top1_high": high, "macs": self.macs, "shares": self.shares}


@dataclass(frozen=True)
class SizeChoices:
    """
    Attributes:
        choices: the network's own first, then the controls.
    """

    sizes: tuple[int, ...]
    choices: tuple[SizeChoice, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"sizes": self.sizes, "choices": [each.to_dict() for each in self.choices]}

    def table(self) -> list[str]:
        rows = [("choice of the size", "top-1 %", "M MACs", *(f"{size} px" for size in self.sizes))]
        for each in self.choices:
            value, low, high = each.top1
            between = f"{value:.1f}" if low == high else f"{value:.1f} [{low:.1f}, {high:.1f}]"
            rows.append((each.name, between, f"{each.macs / 1e6:,.4g}", *(f"{100 * share:.0f} %" for share in each.shares)))
        return in_columns(rows, "<>")


def answers_at_sizes(network: Router, evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    """The logits of pictures at every size, (size, picture, class), and the numbers of the pictures; on the CPU."""
    found, ids = [], torch.empty(0, dtype=torch.int64)
    before = network.draw
    try:
        for number in range(len(network.sizes)):
            network.draw = lambda count, number=number: torch.full((count,), number)  # type: ignore[misc]
            logits, ids = evaluation.run(network)
            found.append(logits)
    finally:
        network.draw = before
    return torch.stack(found), ids


def compare_choices(network: Router, answers: Tensor, labels: Tensor, chosen: Numbers) -> SizeChoices:
    """The network's choice of sizes beside the controls.

    Args:
        answers: logits at every size, (size, picture, class).
        labels: class of each picture.
        chosen: number of the size that the network took for each.
    """
    right = (answers.argmax(2) == labels).T  # picture, size
    count, sizes = right.shape
    counted = cost(replace(cast(Routed, network.model), shares=()))
    each = torch.tensor([route.macs for route in counted.routes], dtype=torch.float64)
    choosing = float(counted.macs - counted.routes[-1].macs)

    def taking(name: str, numbers: Numbers, more: float = 0.0) -> SizeChoice:
        hits = int(right[torch.arange(count), numbers].sum())
        shares = torch.bincount(numbers, minlength=sizes).double() / count
        return SizeChoice(name, percent(wilson(hits, count)), more + float(shares @ each), tuple(shares.tolist()))

    own = taking("its own", chosen, choosing)
    drawn = torch.tensor(own.shares, dtype=torch.float64)
    mean = 100 * float(right.double().mean(0) @ drawn)
    chance = SizeChoice("by chance, as often", Interval(mean, mean, mean), float(drawn @ each), own.shares)
    # the first that is right, or else the first
    best = right.int().argmax(1)
    fixed = [taking(f"always {size}", torch.full((count,), number)) for number, size in enumerate(network.sizes)]
    return SizeChoices(network.sizes, (own, *fixed, chance, taking("oracle", best)))


def percent(share: Interval) -> Interval:
    return Interval(*(100 * each for each in share))
