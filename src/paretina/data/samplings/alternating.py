"""Alternating: one set of pictures at a time, an epoch or several, where there is more than one set.

For labelled and pseudo-labelled pictures in turn: a step that learns from both at once is pulled towards the labels that the
network made itself, and loses from round to round; turns correct on one what was learned on the other. An epoch has as many
pictures as all sets together, so a smaller set comes several times in its epoch.

Source: the alternating phases of GIST and RIST (Teh 2022, arXiv:2212.00470), where a phase is a whole training; here it is a
number of epochs of one.
"""

from dataclasses import dataclass

import numpy as np

from paretina.data.sampling import Numbers, Pool, Sampling, check_sets, drawn, members


@dataclass(frozen=True, kw_only=True)
class Alternating(Sampling):
    """
    Attributes:
        every: epochs of each turn.
        random: whether the set of each epoch is drawn; otherwise they come in their order, over and over.
    """

    every: int = 1
    random: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"Alternating.every is a number of epochs, at least 1, got {self.every}")
        if self.random and self.every > 1:
            raise ValueError(f"Alternating.random draws the set of each epoch, so every=1, got every={self.every}")

    def check(self, pool: Pool) -> None:
        check_sets(pool, "Alternating")

    def order(self, pool: Pool, seed: int, epoch: int) -> Numbers:
        sets, random = members(pool), np.random.default_rng(seed)
        number = int(random.integers(len(sets))) if self.random else epoch // self.every % len(sets)
        return drawn(sets[number], len(pool), random)


EXAMPLES = (Alternating(), Alternating(every=2), Alternating(random=True))
