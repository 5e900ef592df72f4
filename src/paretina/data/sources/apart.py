"""Apart: training pictures from one source, validation pictures from another.

For training pictures without labels or from elsewhere, and a judgement on the pictures that count. Classes, and with them the
labels, are those of the validation source; a training picture whose class is not among these, or that has none, has no label:
it says nothing to losses that learn from labels, and as much as any to a teacher.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from paretina.data.source import Collection, Sample, Source
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.shapes import Shapes
from paretina.data.sources.unlabelled import Unlabelled
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image
from paretina.text import how_many

NO_LABEL = -1

TRAIN, VAL = "train/", "val/"
"""What stands before the names of pictures, which may be the same in both sources."""


@dataclass(frozen=True, kw_only=True)
class Apart(Source):
    """
    Attributes:
        train: where the training pictures come from: its split `train`.
        val: where the pictures to judge on come from: its split `val`, and `test` where it has one.
    """

    train: Source
    val: Source

    def open(self) -> "ApartCollection":
        train, val = self.train.open(), self.val.open()
        if not isinstance(val.task, OneOf) or not isinstance(train.task, OneOf | Nothing):
            tasks = f"{train.task.WORDS} to train on and {val.task.WORDS} to validate on"
            raise ValueError(f"Apart is for one class a picture, or none in the training pictures; got {tasks}")
        numbers = {name: number for number, name in enumerate(val.classes)}
        known = [NO_LABEL if isinstance(train.task, Nothing) else numbers.get(name, NO_LABEL) for name in train.classes]
        splits = {
            "train": tuple(Sample(f"{TRAIN}{each.name}", known[each.label]) for each in train.split("train")),
            **{
                name: tuple(replace(each, name=f"{VAL}{each.name}") for each in samples)
                for name, samples in val.splits.items()
                if name in ("val", "test")
            },
        }
        without = sum(sample.label == NO_LABEL for sample in splits["train"])
        notes = [*train.notes, *val.notes]
        if without:
            notes.append(f"{without:,} of {how_many(len(splits['train']), 'training picture')} have no label")
        if train.is_soft():
            raise ValueError("Apart needs training labels that are classes, and those of this data are probabilities")
        more: dict[str, Any] = {"parts": (train, val), "task": val.task, "weighted": train.weighted}
        return ApartCollection(val.classes, splits, tuple(notes), train.mirrors and val.mirrors, **more)

    def pinned(self, collection: Collection) -> "Apart":
        if not isinstance(collection, ApartCollection):
            return self
        train, val = collection.parts
        return replace(self, train=self.train.pinned(train), val=self.val.pinned(val))


@dataclass(frozen=True)
class ApartCollection(Collection):
    """
    Attributes:
        parts: the collections of the training and of the validation pictures.
    """

    COSTLY: ClassVar[bool] = True

    parts: tuple[Collection, Collection] = field(kw_only=True)

    def file(self, sample: Sample) -> Path | None:
        part, own = self.own(sample)
        return part.file(own)

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        part, own = self.own(sample)
        return part.image(own, at_least)

    def encoded(self, sample: Sample) -> bytes | None:
        part, own = self.own(sample)
        return part.encoded(own)

    def target(self, sample: Sample) -> Tensor:
        part, own = self.own(sample)
        return super().target(sample) if part is self.parts[0] else part.target(own)

    def unit(self, sample: Sample) -> str:
        part, own = self.own(sample)
        return sample.name[: -len(own.name)] + part.unit(own)

    def weight(self, sample: Sample) -> float:
        part, own = self.own(sample)
        return part.weight(own)

    def group(self, sample: Sample) -> int:
        part, own = self.own(sample)
        return part.group(own)

    def own(self, sample: Sample) -> tuple[Collection, Sample]:
        """The collection that a sample is from, and the sample by its name there."""
        first = sample.name.startswith(TRAIN)
        return self.parts[not first], replace(sample, name=sample.name.removeprefix(TRAIN if first else VAL))


EXAMPLES = (
    Apart(train=Unlabelled(path="photos"), val=Arrays(path="digits.npz")),
    Apart(train=Shapes(per_class=20), val=Shapes(per_class=10, difficulty=0.4)),
)
