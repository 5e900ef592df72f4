"""Each: as many pictures of each set in every update, where there is more than one set.

For sets of different sizes that count alike: pictures of a small set come several times an epoch, those of a large one not in
each. Every part of an update has all sets, however many processes and accumulated parts there are.
"""

from dataclasses import dataclass

import numpy as np

from paretina.data.sampling import Numbers, Pool, Sampling, check_sets, drawn, members


@dataclass(frozen=True, kw_only=True)
class Each(Sampling):
    """Nothing to set."""

    def check(self, pool: Pool) -> None:
        check_sets(pool, "Each")

    def order(self, pool: Pool, seed: int, epoch: int) -> Numbers:
        sets, random = members(pool), np.random.default_rng(seed)
        count = -(-len(pool) // len(sets))
        # neighbours are of different sets, so any part of an epoch has them alike, to within one
        found: Numbers = np.stack([drawn(each, count, random) for each in sets], 1).reshape(-1)[: len(pool)]
        return found


EXAMPLES = (Each(),)
