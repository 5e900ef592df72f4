"""Random: each point anew, every value with equal chance. The control of every search."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from paretina.search.architecture.procedure import Procedure, Proposal, Searcher, Values
from paretina.search.architecture.space import Dimension, drawn


class RandomSearcher(Searcher):
    """Draws points."""

    def __init__(self, dimensions: Sequence[Dimension], seed: int) -> None:
        self.dimensions, self.random, self.asked = dimensions, Random(seed), 0

    def ask(self) -> Proposal:
        self.asked += 1
        return Proposal(drawn(self.dimensions, self.random), 1.0, self.asked - 1)

    def tell(self, proposal: Proposal, values: Values | None) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class RandomSearch(Procedure):
    """Random search."""

    WORD: ClassVar[str] = "random"

    def begin(self, dimensions: Sequence[Dimension], trials: int, objectives: int, seed: int) -> RandomSearcher:
        return RandomSearcher(dimensions, seed)


EXAMPLES = (RandomSearch(),)
