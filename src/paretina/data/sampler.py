"""Determines the order of samples and the seed of each.

Everything follows from (seed, epoch, sample): the order of an epoch, and the seed with which a sample is transformed. So one
worker and four give the same batches, and an interrupted run only needs the number of its next update.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from paretina.clock import Clock
from paretina.data.permutation import shuffled
from paretina.data.sampling import LazyOrder, Pool, Sampling
from paretina.schedules import Schedule
from paretina.text import how_many


@dataclass(frozen=True)
class Order:
    """In which order the samples of an epoch come.

    Attributes:
        drawn: the indices of an epoch's samples, for its seed and number.
        in_turn: whether an update's samples are dealt to its parts in turn, and not as neighbours.
    """

    drawn: Callable[[int, int], "np.ndarray | LazyOrder"]
    in_turn: bool = False

    def parts(self, indices: np.ndarray, count: int) -> list[np.ndarray]:
        """The samples of an update in as many parts, whose lengths differ by one at most."""
        return [indices[part::count] for part in range(count)] if self.in_turn else np.array_split(indices, count)


@dataclass(frozen=True)
class Request:
    """A request to the loader for one sample.

    Attributes:
        index: index of the sample in its split.
        seed: of the transforms of this sample, in this epoch.
        clock: of the update that the sample is for.
        size: side in pixels that the network sees at this update.
    """

    index: int
    seed: int
    clock: Clock
    size: int


def seed_of(*parts: int) -> int:
    """A seed in [0, 2^63), different for each combination of numbers."""
    digest = hashlib.blake2b(b"/".join(str(part).encode() for part in parts), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class Epochs:
    """The updates of a run over a number of samples.

    Attributes:
        samples: number of samples in the split.
        batch: samples of one update, over all ranks and accumulated parts; at most `samples`.
        epochs: passes over the data; may be a fraction, or 0 for no update.
        seed: of the run.
        whole: whether each epoch has every sample, in updates whose lengths differ by one at most; otherwise every update has
            `batch` samples, and those that are left over sit out an epoch.
    """

    samples: int
    batch: int
    epochs: float
    seed: int
    whole: bool = True

    def __post_init__(self) -> None:
        if self.samples < 1 or self.batch < 1 or self.epochs < 0:
            raise ValueError(f"a run needs samples and a batch above 0, and epochs of 0 or more, got {self}")

    @property
    def updates_per_epoch(self) -> int:
        return -(-self.samples // self.batch) if self.whole else max(1, self.samples // self.batch)

    @property
    def per_update(self) -> int:
        """Samples of the longest update."""
        return -(-self.samples // self.updates_per_epoch) if self.whole else min(self.batch, self.samples)

    def places(self, update: int) -> slice:
        """The positions of an update's samples in the order of its epoch."""
        place, count = update % self.updates_per_epoch, self.updates_per_epoch
        if not self.whole:
            return slice(place * self.batch, min((place + 1) * self.batch, self.samples))
        return slice(place * self.samples // count, (place + 1) * self.samples // count)

    def count(self, update: int) -> int:
        """Samples of an update."""
        return self.places(update).stop - self.places(update).start

    def smallest_part(self, parts: int) -> int:
        """Samples in the smallest of `parts` parts of an update.

        Raises:
            ValueError: there are more parts than samples in an update.
        """
        shortest = self.samples // self.updates_per_epoch if self.whole else self.per_update
        if parts > shortest:
            raise ValueError(
                f"an update of {how_many(shortest, 'picture')} cannot be cut into {parts} parts (processes times accumulate); "
                "lower accumulate, or raise batch_size if there are more pictures"
            )
        return shortest // parts

    @property
    def updates(self) -> int:
        return max(1, round(self.updates_per_epoch * self.epochs)) if self.epochs else 0

    def clock(self, update: int) -> Clock:
        return Clock(update, self.updates, self.updates / self.updates_per_epoch)

    def requests(
        self, size: Schedule, start: int, parts: int, part: slice, order: Order | None = None
    ) -> Iterator[list[Request]]:
        """Yields the requests from update `start` on: a list for each of the parts that `part` selects from every update.

        Parts are ranks times accumulated steps; they are as equal as the batch allows and none is left out.

        Args:
            order: of the samples; default: a random one of all.

        Raises:
            ValueError: there are more parts than pictures in an update.
        """
        self.smallest_part(parts)
        return self.stream(size, start, parts, part, order or Order(self.shuffled))

    def shuffled(self, seed: int, epoch: int) -> "np.ndarray | LazyOrder":
        return shuffled(self.samples, seed)

    def stream(self, size: Schedule, start: int, parts: int, part: slice, by: Order) -> Iterator[list[Request]]:
        order: np.ndarray | LazyOrder = np.empty(0, dtype=np.int64)
        times: np.ndarray | None = None
        drawn = -1
        for update in range(start, self.updates):
            epoch = update // self.updates_per_epoch
            if epoch != drawn:
                order = by.drawn(seed_of(self.seed, epoch), epoch)
                if len(order) != self.samples:
                    raise ValueError(f"an epoch has {self.samples} samples, and the sampling gave {len(order)}")
                times = occurrences(order) if isinstance(order, np.ndarray) else None
                drawn = epoch
            clock = self.clock(update)
            side = round(size(clock))
            place = self.places(update)
            here = order[place]
            again = np.zeros_like(here) if times is None else times[place]
            pieces = zip(by.parts(here, parts)[part], by.parts(again, parts)[part], strict=True)
            for piece, before in pieces:
                yield [
                    # a sample that comes again in an epoch is transformed otherwise
                    Request(int(i), seed_of(self.seed, epoch, int(i), *([int(n)] if n else [])), clock, side)
                    for i, n in zip(piece, before, strict=True)
                ]


def occurrences(order: np.ndarray) -> np.ndarray:
    """How often each index came before in the order."""
    by_index = np.argsort(order, kind="stable")
    ordered = order[by_index]
    first = np.searchsorted(ordered, ordered, side="left")
    found = np.empty(len(order), dtype=np.int64)
    found[by_index] = np.arange(len(order)) - first
    return found


def order_of(sampling: Sampling, labels: Sequence[int], groups: Sequence[int] | None = None, accumulate: int = 1) -> Order:
    """The order that a sampling gives these samples.

    Args:
        groups: the number of the set that each sample is from; None for one set.
        accumulate: parts of an update, on each process.

    Raises:
        ValueError: the sampling cannot be used on these samples.
    """
    known = np.asarray(labels, dtype=np.int64)
    pool = Pool(known, np.zeros_like(known) if groups is None else np.asarray(groups, dtype=np.int64), accumulate)
    sampling.check(pool)
    return Order(functools.partial(sampling.order, pool), sampling.in_turn)
