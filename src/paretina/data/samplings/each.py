"""Each: as many pictures of each set in every update, where there is more than one set.

For sets of different sizes that count alike: pictures of a small set come several times an epoch, those of a large one not in
each. Every part of an update has all sets, however many processes and accumulated parts there are; or, with `apart`, one.

Source of `apart`: Guo et al. 2022, arXiv:2207.14347: a batch of each data set in turn, their gradients accumulated, one step a
sweep. Here each picture has the same weight, so the step is that of the mean over sets.
"""

from dataclasses import dataclass

import numpy as np

from paretina.data.sampling import Numbers, Pool, Sampling, check_sets, drawn, members


@dataclass(frozen=True, kw_only=True)
class Each(Sampling):
    """
    Attributes:
        apart: whether each part of an update is of one set, so that batch statistics are of one set too; `accumulate` must be
            the number of sets, or a multiple of it. Without batch norm, gradients are the same either way.
    """

    apart: bool = False

    @property
    def in_turn(self) -> bool:
        return self.apart

    def check(self, pool: Pool) -> None:
        check_sets(pool, "Each")
        sets = len(members(pool))
        if self.apart and pool.accumulate % sets:
            raise ValueError(
                f"Each.apart has one set in each part of an update, and {sets} sets cannot share accumulate={pool.accumulate} "
                f"evenly; set accumulate={sets} or a multiple of it, or leave apart out: sampling=Each"
            )

    def order(self, pool: Pool, seed: int, epoch: int) -> Numbers:
        sets, random = members(pool), np.random.default_rng(seed)
        count = -(-len(pool) // len(sets))
        # neighbours are of different sets, so any part of an epoch has them alike, to within one; every n-th is of one set
        found: Numbers = np.stack([drawn(each, count, random) for each in sets], 1).reshape(-1)[: len(pool)]
        return found


EXAMPLES = (Each(), Each(apart=True))
