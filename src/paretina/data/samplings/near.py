"""Near: every sample once an epoch, neighbours of the source near each other, for shards, slow disks and networks.

The source is cut into blocks of neighbours. An epoch takes a few blocks at a time, chosen at random, and mixes their samples,
so that a reader has only that many places open. A large window is as good as a full shuffle; a small one gives batches of
pictures that lie together, and is refused where the classes do too.

Source: the shuffling of shards and of a buffer of samples, as in WebDataset (Aizman et al. 2019, arXiv:2001.01858); here it
follows from (seed, epoch), so that each place is known without reading those before it.
"""

from dataclasses import dataclass

import numpy as np

from paretina.data.permutation import Permutation
from paretina.data.sampler import seed_of
from paretina.data.sampling import LazyOrder, Numbers, Pool, Sampling

SORTED = 0.9
"""Share of neighbours of one class from which samples count as sorted by class."""


@dataclass(frozen=True, kw_only=True)
class Near(Sampling):
    """
    Attributes:
        block: neighbouring samples that are read together, such as those of a shard.
        window: blocks that are mixed.
    """

    block: int = 1000
    window: int = 16

    def __post_init__(self) -> None:
        if self.block < 1 or self.window < 1:
            raise ValueError(f"Near.block and Near.window must be at least 1, got {self.block} and {self.window}")

    def check(self, pool: Pool) -> None:
        mixed = self.block * self.window
        if 2 * mixed >= len(pool) or len(np.unique(pool.labels)) < 2:
            return
        same = float((pool.labels[1:] == pool.labels[:-1]).mean())
        if same > SORTED:
            raise ValueError(
                f"Near mixes {mixed:,} neighbours of {len(pool):,}, and {100 * same:.0f} % of them are next to one of their "
                "class; leave it out (sampling=Shuffled), raise window, or list the pictures in another order"
            )

    def order(self, pool: Pool, seed: int, epoch: int) -> "BlockOrder":
        return BlockOrder(len(pool), self.block, self.window, seed)


@dataclass(frozen=True)
class BlockOrder(LazyOrder):
    """The order of an epoch; samples behind the last whole block come last, mixed with each other.

    Attributes:
        count: number of samples.
    """

    count: int
    block: int
    window: int
    seed: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, places: slice) -> Numbers:
        wanted = np.arange(*places.indices(self.count), dtype=np.int64)
        found = np.empty_like(wanted)
        whole = self.count // self.block
        tail = wanted >= whole * self.block
        if tail.any():
            last = self.count - whole * self.block
            found[tail] = whole * self.block + Permutation(last, seed_of(self.seed, -1)).at(wanted[tail] - whole * self.block)
        blocks = Permutation(whole, seed_of(self.seed, -2)) if whole else None
        length = self.window * self.block
        for number in np.unique(wanted[~tail] // length).tolist():
            here = ~tail & (wanted // length == number)
            taken = blocks[number * self.window : (number + 1) * self.window]  # type: ignore[index]
            inside = Permutation(len(taken) * self.block, seed_of(self.seed, number)).at(wanted[here] - number * length)
            found[here] = taken[inside // self.block] * self.block + inside % self.block
        return found


EXAMPLES = (Near(), Near(block=10, window=4))
