"""WithoutLabels: the pictures of another source, whatever its labels are.

For what learns from pictures alone, where they lie in a form that has labels: a table, shards, a folder with masks or
annotations. Its splits stay as they are.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from paretina.data.source import Collection, Sample, Source, WrappedCollection
from paretina.data.sources.arrays import Arrays
from paretina.model.tasks.nothing import Nothing
from paretina.text import how_many


@dataclass(frozen=True, kw_only=True)
class WithoutLabels(Source):
    """
    Attributes:
        source: the pictures.
        classes: names of the classes that a network for these pictures has; with a teacher they are the teacher's.
    """

    source: Source
    classes: tuple[str, ...] = ("unlabelled",)

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("WithoutLabels.classes needs at least one name, got none")

    def open(self) -> "WithoutLabelsCollection":
        whole = self.source.open()
        splits = {name: tuple(replace(sample, label=0) for sample in samples) for name, samples in whole.splits.items()}
        counts = {name: len(samples) for name, samples in splits.items() if samples}
        apart = f", of which {counts['val']:,} are held out for the loss" if "val" in counts else ""
        note = f"labels are not used: {how_many(sum(counts.values()), 'picture', ',')}{apart}"
        more: dict[str, Any] = {"whole": whole, "task": Nothing(), "moved": whole.moved, "weighted": whole.weighted}
        return WithoutLabelsCollection(self.classes, splits, (*whole.notes, note), whole.mirrors, **more)

    def dense(self) -> bool:
        return False

    def boxed(self) -> bool:
        return False

    def pinned(self, collection: Collection) -> "WithoutLabels":
        if not isinstance(collection, WithoutLabelsCollection):
            return self
        return replace(self, source=self.source.pinned(collection.whole))


@dataclass(frozen=True)
class WithoutLabelsCollection(WrappedCollection):
    whole: Collection = field(kw_only=True)

    def at_whole(self, sample: Sample) -> Sample:
        return replace(sample, label=self.numbers.get(sample.name, sample.label))

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """The label of each picture in the other collection, by which some pictures are made."""
        return {sample.name: sample.label for samples in self.whole.splits.values() for sample in samples}

    def target(self, sample: Sample) -> Tensor:
        return torch.tensor(0)


EXAMPLES = (WithoutLabels(source=Arrays(path="digits.npz")), WithoutLabels(source=Arrays(path="a.npz"), classes=("cat", "dog")))
