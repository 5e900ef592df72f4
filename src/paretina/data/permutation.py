"""A random order of very many numbers that is never written down: each place of it is computed when it is asked for.

A Feistel network is a permutation of the numbers of an even count of bits; numbers beyond the last are mapped again until they
are not (cycle walking). Some hundred million numbers so take no memory, and every process computes its own part.

Source: Luby and Rackoff 1988, "How to construct pseudorandom permutations from pseudorandom functions"; cycle walking: Black
and Rogaway 2002, "Ciphers with arbitrary finite domains"; the mixing function is that of SplitMix64 (Steele, Lea and Flood
2014).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from paretina.data.sampling import LazyOrder, Numbers

ROUNDS = 6
"""Four are proven to suffice for ideal round functions."""

Words = npt.NDArray[np.uint64]


MOST = 10_000_000
"""Numbers up to which an order is written down, as all releases have done it."""


def shuffled(count: int, seed: int) -> Numbers | LazyOrder:
    """A random order of the numbers below `count`."""
    return np.random.default_rng(seed).permutation(count) if count <= MOST else Permutation(count, seed)


@dataclass(frozen=True)
class Permutation(LazyOrder):
    """A random order of the numbers below `count`.

    Attributes:
        seed: of the order; another one for each epoch.
    """

    count: int
    seed: int

    def __post_init__(self) -> None:
        if not 0 < self.count <= 1 << 62:
            raise ValueError(f"a permutation needs a count from 1 to 2^62, got {self.count}")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, places: slice) -> Numbers:
        return self.at(np.arange(*places.indices(self.count), dtype=np.int64))

    def at(self, places: Numbers) -> Numbers:
        """The numbers at places of the order, from 0."""
        half = max(1, -(-(self.count - 1).bit_length() // 2))
        found = self.mapped(places.astype(np.uint64), half)
        while len(outside := np.flatnonzero(found >= np.uint64(self.count))):
            found[outside] = self.mapped(found[outside], half)
        return found.astype(np.int64)

    def mapped(self, numbers: Words, half: int) -> Words:
        """The numbers of twice `half` bits that a Feistel network maps others to."""
        low, bits = np.uint64((1 << half) - 1), np.uint64(half)
        left, right = numbers >> bits, numbers & low
        with np.errstate(over="ignore"):
            key = mixed(np.array([self.seed % (1 << 64)], np.uint64))
            for number in range(ROUNDS):
                key = mixed(key + np.uint64(number + 1))
                left, right = right, (left ^ mixed(right ^ key)) & low
        return (left << bits) | right


def mixed(words: Words) -> Words:
    """A hash of 64-bit words."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
