"""Halving: successive halving. Many points are trained briefly, the best of them longer, and few as long as a trial.

Each rung is a training of its own, with its own schedule, from scratch: what is compared in the middle of one long schedule is
the learning rate more than the candidate. All rungs together take as many epochs as the trials of other procedures.

Source: Jamieson & Talwalkar 2016 (arXiv:1502.07943).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from paretina.search.architecture.procedure import Procedure, Proposal, Searcher, Values, ranks
from paretina.search.architecture.space import Dimension, Point, drawn


class HalvingSearcher(Searcher):
    """Rungs under way."""

    def __init__(self, dimensions: Sequence[Dimension], counts: Sequence[int], shares: Sequence[float], seed: int) -> None:
        self.dimensions, self.random, self.asked = dimensions, Random(seed), 0
        self.counts, self.shares, self.rung = counts, shares, 0
        self.waiting: list[Point] = []
        self.open = 0
        self.told: list[tuple[Point, Values | None]] = []

    def ask(self) -> Proposal | None:
        if self.rung == 0:
            known = sum(values is not None for _, values in self.told)
            if known + self.open >= self.counts[0]:
                return None
            point = drawn(self.dimensions, self.random)
        elif self.waiting:
            point = self.waiting.pop(0)
        else:
            return None
        self.asked += 1
        self.open += 1
        return Proposal(point, self.shares[self.rung], self.asked - 1)

    def tell(self, proposal: Proposal, values: Values | None) -> None:
        self.open -= 1
        self.told.append((proposal.point, values))
        known = [(point, found) for point, found in self.told if found is not None]
        whole = len(known) >= self.counts[0] if self.rung == 0 else not self.waiting
        if self.open or not whole or self.rung + 1 == len(self.counts):
            return
        self.rung += 1
        places = ranks([found for _, found in known])
        order = sorted(range(len(known)), key=lambda at: (places[at], at))
        self.waiting = [known[at][0] for at in order[: self.counts[self.rung]]]
        self.told = []


@dataclass(frozen=True, kw_only=True)
class SuccessiveHalving(Procedure):
    """
    Attributes:
        factor: 1 in this many continues, each as many times as long; above 1.
        rungs: at most this many.
    """

    WORD: ClassVar[str] = "halving"

    factor: int = 3
    rungs: int = 3

    def __post_init__(self) -> None:
        if self.factor < 2 or self.rungs < 1:
            raise ValueError(f"SuccessiveHalving needs factor >= 2 and rungs >= 1, got {self.factor} and {self.rungs}")

    def sizes(self, trials: int) -> tuple[list[int], list[float]]:
        """Candidates and share of a trial of each rung; all together no more than `trials` whole trials."""
        rungs = min(self.rungs, trials)
        last = trials // rungs
        counts = [last * self.factor ** (rungs - 1 - rung) for rung in range(rungs)]
        return counts, [self.factor ** -(rungs - 1.0 - rung) for rung in range(rungs)]

    def begin(self, dimensions: Sequence[Dimension], trials: int, objectives: int, seed: int) -> HalvingSearcher:
        return HalvingSearcher(dimensions, *self.sizes(trials), seed)


EXAMPLES = (SuccessiveHalving(), SuccessiveHalving(factor=2, rungs=4))
