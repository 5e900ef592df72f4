"""Shuffled: every sample once an epoch, in random order. The usual case."""

from dataclasses import dataclass

import numpy as np

from paretina.data.sampling import Numbers, Pool, Sampling


@dataclass(frozen=True, kw_only=True)
class Shuffled(Sampling):
    """Nothing to set."""

    def order(self, pool: Pool, seed: int, epoch: int) -> Numbers:
        return np.random.default_rng(seed).permutation(len(pool))


EXAMPLES = (Shuffled(),)
