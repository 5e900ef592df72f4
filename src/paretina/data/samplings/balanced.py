"""Balanced: every class equally often, in groups of a few pictures of one class.

For folders in which some classes have many times the pictures of others, where recall of the rare ones matters more than
overall accuracy: their pictures come several times an epoch, those of large classes not in each, so accuracy on classes as they
occur falls a little. With groups of several it is what metric learning needs: a batch then has pictures of the same class to
compare.

Source: class-balanced sampling as in Teh et al. 2020 (arXiv:2004.01113), section 3.4.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from paretina.data.sampling import Numbers, Pool, Sampling, drawn
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf


@dataclass(frozen=True, kw_only=True)
class Balanced(Sampling):
    """
    Attributes:
        group: neighbouring samples of one class; a class with fewer samples has some of them twice in a group.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf,)

    group: int = 1

    def __post_init__(self) -> None:
        if self.group < 1:
            raise ValueError(f"Balanced.group must be at least 1, got {self.group}")

    def check(self, pool: Pool) -> None:
        if (pool.labels < 0).any():
            unknown = int((pool.labels < 0).sum())
            raise ValueError(
                f"Balanced draws by class, and {unknown:,} of {len(pool):,} training pictures have no label; leave it out: "
                "sampling=Shuffled"
            )

    def order(self, pool: Pool, seed: int, epoch: int) -> Numbers:
        random = np.random.default_rng(seed)
        classes = [np.flatnonzero(pool.labels == label) for label in np.unique(pool.labels)]
        rounds = -(-len(pool) // (len(classes) * self.group))
        groups = np.concatenate(
            [drawn(members, rounds * self.group, random).reshape(rounds, self.group) for members in classes]
        )
        # each round has one group of every class
        turns = np.concatenate([random.permutation(len(classes)) * rounds + number for number in range(rounds)])
        found: Numbers = groups[turns].reshape(-1)[: len(pool)]
        return found


EXAMPLES = (Balanced(), Balanced(group=4))
