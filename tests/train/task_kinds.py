"""Data and a term for tasks other than one class a picture: the smallest plug-ins that can learn something.

Loaded by path, so that processes that a test starts have them too. A head for pixels is in `tests/added/dense.py`.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from paretina.data.decode import DecodeError
from paretina.data.source import Collection, Sample, Source
from paretina.model.task import Task
from paretina.model.tasks.any_of import ABSENT, AnyOf
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.places import Places
from paretina.train.objective import Term

SIDE = 18


@dataclass(frozen=True)
class Drawn(Collection):
    """Pictures that follow from the number in their name."""

    COPIES: ClassVar[bool] = False
    damaged: tuple[str, ...] = field(default=(), kw_only=True)

    def image(self, sample, at_least=None):
        return self.both(sample)[0]

    def target(self, sample):
        if sample.name in self.damaged:
            raise DecodeError(f"{sample.name}: its mask is gone")
        return self.both(sample)[1]

    def both(self, sample):
        random = np.random.default_rng(int(sample.name))
        return self.masked(random, int(sample.name)) if self.task.DENSE else self.tagged(random, int(sample.name))

    def tagged(self, random, number):
        """A channel is bright where its class is there; every seventh picture has no label, every eighth shows nothing."""
        there = (np.arange(8) >> np.array([[0], [1], [2]]) & 1)[:, number % 8]
        image = random.integers(0, 90, (3, SIDE, SIDE)) + 150 * there[:, None, None]
        target = torch.tensor(there, dtype=torch.float32) * (number % 7 > 0)
        if number % 8 == 0:
            target = torch.full((3,), ABSENT)
        return torch.tensor(image, dtype=torch.uint8), target

    def masked(self, random, number):
        """A bright square and a dark one on grey; the first four rows are not known."""
        image, mask = random.integers(110, 150, (3, SIDE, SIDE)), np.zeros((SIDE, SIDE), np.uint8)
        for label, level in ((1, 220), (2, 30)):
            row, column = random.integers(2, SIDE - 8, 2)
            image[:, row : row + 7, column : column + 7] = level
            mask[row : row + 7, column : column + 7] = label
        mask[:4] = 255
        return torch.tensor(image, dtype=torch.uint8), torch.tensor(mask)


@dataclass(frozen=True, kw_only=True)
class Drawing(Source):
    task: Task = field(default_factory=AnyOf)
    train: int = 24
    val: int = 9
    mirrors: bool = True
    damaged: tuple[str, ...] = ()

    def open(self):
        numbers = iter(range(1, 1 + self.train + self.val))
        splits = {name: tuple(Sample(str(next(numbers)), 0) for _ in range(getattr(self, name))) for name in ("train", "val")}
        classes = ("ground", "bright", "dark") if self.task.DENSE else ("red", "green", "blue")
        return Drawn(classes, splits, (), self.mirrors, task=self.task, damaged=self.damaged)


@dataclass(frozen=True, kw_only=True)
class Steady(Term):
    """Wants every logit to be one; learns from no label."""

    TASKS: ClassVar[tuple[type[Task], ...]] = (Nothing,)

    def make(self, teacher):
        return lambda outputs, batch, clock: (outputs.logits - 1).square().mean()


__all__ = ["AnyOf", "Drawing", "Nothing", "Places", "Steady"]
