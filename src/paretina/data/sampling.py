"""Samplings: in which order the samples of an epoch come, and which of them come more than once or not at all.

An order follows from (seed, epoch), the labels and the sets alone, so that a resumed run needs only the number of its next
update.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from paretina.traits import Method, Never

Numbers = npt.NDArray[np.int64]


class LazyOrder(ABC):
    """An order of samples whose places are computed when they are asked for; each sample comes once."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, places: slice) -> Numbers: ...


@dataclass(frozen=True)
class Pool:
    """What a sampling may know of the samples.

    Attributes:
        labels: the class of each, negative where it has none.
        groups: the number of the set that each is from; all 0 unless there are several sources.
        accumulate: parts of an update, on each process.
    """

    labels: Numbers
    groups: Numbers
    accumulate: int = 1

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Sampling(Method):
    """The order of the samples in an epoch."""

    PLUGINS = ("paretina.data.samplings",)
    LEFT_OUT = Never("there is always an order; another one is set by name: sampling=Shuffled")
    LOW_PRECISION = Never("it computes nothing")

    @property
    def in_turn(self) -> bool:
        """Whether the samples of an update are dealt to its parts in turn, and not as neighbours."""
        return False

    def check(self, pool: Pool) -> None:
        """Checks that it can be used on these samples.

        Raises:
            ValueError: it cannot; the message says what to change.
        """

    @abstractmethod
    def order(self, pool: Pool, seed: int, epoch: int) -> Numbers | LazyOrder:
        """The indices of an epoch's samples, as many as there are samples; some may come twice, and others not.

        Args:
            seed: different for each epoch.
            epoch: its number, from 0.
        """


def members(pool: Pool) -> list[Numbers]:
    """The indices of the samples of each set that has some."""
    return [np.flatnonzero(pool.groups == group) for group in np.unique(pool.groups)]


def drawn(indices: Numbers, count: int, random: np.random.Generator) -> Numbers:
    """So many of some samples, in random order, each as often as any other, to within one."""
    passes = [random.permutation(indices) for _ in range(-(-count // len(indices)))]
    return np.concatenate(passes)[:count]


def check_sets(pool: Pool, name: str) -> None:
    """Checks that there is more than one set to tell apart.

    Raises:
        ValueError: there is not.
    """
    if len(members(pool)) < 2:
        raise ValueError(
            f"{name} tells sets of pictures apart, and the training pictures are of one; name several with a comma, such as "
            "nuclei/,phase/, or leave it out: sampling=Shuffled"
        )
