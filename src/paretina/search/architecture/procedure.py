"""Procedure: how a search chooses the next points from what is known of the earlier ones.

A `Searcher` is asked for points and told what they gave. It depends on nothing but its seed and what it is told, so the same
calls give the same points: an interrupted study asks all of them again, is told what is known, and so continues where it was.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from paretina.search.architecture.space import Dimension, Point
from paretina.spec import kinds, near
from paretina.traits import Method, Never

Values = tuple[float, ...]
"""What a point gave: one number or two, better if higher."""


@dataclass(frozen=True)
class Proposal:
    """
    Attributes:
        point: to try next.
        share: length of its training as a share of that of a whole trial, in (0, 1].
        number: of the proposal, from 0.
    """

    point: Point
    share: float
    number: int


class Searcher(ABC):
    """A search under way."""

    @abstractmethod
    def ask(self) -> Proposal | None:
        """The next proposal; None where it has to be told of earlier ones first, or is done."""

    @abstractmethod
    def tell(self, proposal: Proposal, values: Values | None) -> None:
        """Takes in what a proposal gave; None where it misses the budget or could not be trained."""


@dataclass(frozen=True, kw_only=True)
class Procedure(Method):
    """A way to search."""

    PLUGINS = ("paretina.search.architecture.procedures",)
    LEFT_OUT = Never("it is how a search goes on, and no part of a training")
    LOW_PRECISION = Never("it computes nothing in training")
    WORD: ClassVar[str] = ""

    @abstractmethod
    def begin(self, dimensions: Sequence[Dimension], trials: int, objectives: int, seed: int) -> Searcher:
        """Begins a search.

        Args:
            trials: whole trials that there is budget for.
            objectives: numbers that it will be told of each proposal, 1 or 2.
        """

    def check(self) -> None:
        """Checks that what it needs is installed.

        Raises:
            ValueError: it is not; the message says how to install it.
        """


def procedure_named(word: str) -> Procedure:
    """The procedure of a word.

    Raises:
        ValueError: there is none, or what it needs is not installed.
    """
    known = {kind.WORD: kind for kind in kinds(Procedure).values()}  # type: ignore[type-abstract]
    if word not in known:
        raise ValueError(f"there is no search procedure {word!r}{near(word, known)}")
    found = known[word]()
    found.check()
    return found


def dominates(one: Values, other: Values) -> bool:
    """Whether one is at least as good in each number and better in one."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def ranks(values: Sequence[Values]) -> list[int]:
    """For each the number of others that dominate it; with one number, those that are better."""
    return [sum(dominates(other, one) for other in values) for one in values]
