"""Shuffled: every sample once an epoch, in random order. The usual case."""

from dataclasses import dataclass

from paretina.data.permutation import shuffled
from paretina.data.sampling import LazyOrder, Numbers, Pool, Sampling


@dataclass(frozen=True, kw_only=True)
class Shuffled(Sampling):
    """Nothing to set."""

    def order(self, pool: Pool, seed: int, epoch: int) -> Numbers | LazyOrder:
        return shuffled(len(pool), seed)


EXAMPLES = (Shuffled(),)
