"""Evolution: regularised evolution. A parent wins a small tournament, one of its values is changed, and the oldest dies.

That the oldest dies, and not the worst, keeps the search from clinging to points that were lucky once. Of two objectives, the
tournament is won by who is dominated the least. Points that miss the budget do not enter the population.

Source: Real et al. 2019 (arXiv:1802.01548), algorithm 1.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from paretina.search.architecture.procedure import Procedure, Proposal, Searcher, Values, ranks
from paretina.search.architecture.space import Dimension, Point, drawn


class EvolutionSearcher(Searcher):
    """A population under way."""

    def __init__(
        self, dimensions: Sequence[Dimension], population: int, tournament: int, random_share: float, seed: int
    ) -> None:
        self.dimensions, self.random, self.asked = dimensions, Random(seed), 0
        self.tournament, self.random_share = tournament, random_share
        self.population: deque[tuple[Point, Values]] = deque(maxlen=population)

    def ask(self) -> Proposal:
        self.asked += 1
        least = self.population.maxlen or 1
        if len(self.population) < least or self.random.random() < self.random_share:
            point = drawn(self.dimensions, self.random)
        else:
            point = self.mutated(self.parent())
        return Proposal(point, 1.0, self.asked - 1)

    def parent(self) -> Point:
        chosen = self.random.sample(list(self.population), min(self.tournament, len(self.population)))
        places = ranks([values for _, values in chosen])
        return chosen[places.index(min(places))][0]

    def mutated(self, parent: Point) -> Point:
        """The point with another value of one dimension; of ordered values a neighbour."""
        free = [dimension for dimension in self.dimensions if len(dimension.values) > 1]
        if not free:
            return dict(parent)
        dimension = self.random.choice(free)
        at = dimension.values.index(parent[dimension.name])
        others = [i for i in range(len(dimension.values)) if i != at and (not dimension.ordered or abs(i - at) == 1)]
        return {**parent, dimension.name: dimension.values[self.random.choice(others)]}

    def tell(self, proposal: Proposal, values: Values | None) -> None:
        if values is not None:
            self.population.append((proposal.point, values))


@dataclass(frozen=True, kw_only=True)
class Evolution(Procedure):
    """
    Attributes:
        population: points that may be parents; None for a fifth of the trials, at least 4 and at most 50.
        tournament: of these, drawn for each child; None for a third of the population, at least 2.
        random_share: share of children that are drawn at random once there is a population, in [0, 1).
    """

    WORD: ClassVar[str] = "evolution"

    population: int | None = None
    tournament: int | None = None
    random_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("population", "tournament"):
            if getattr(self, name) is not None and getattr(self, name) < 2:
                raise ValueError(f"Evolution.{name} must be at least 2, got {getattr(self, name)}")
        if not 0 <= self.random_share < 1:
            raise ValueError(f"Evolution.random_share must be in [0, 1), got {self.random_share:g}")

    def begin(self, dimensions: Sequence[Dimension], trials: int, objectives: int, seed: int) -> EvolutionSearcher:
        population = self.population or min(50, max(4, trials // 5))
        tournament = self.tournament or max(2, population // 3)
        return EvolutionSearcher(dimensions, population, tournament, self.random_share, seed)


EXAMPLES = (Evolution(), Evolution(population=8, tournament=3))
