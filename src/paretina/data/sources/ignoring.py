"""Ignoring: another source without some of its classes.

For classes that are not to be told apart, such as `unknown` or `broken`: they do not appear in the model, and their pictures
are left out of training and of every figure. With one class a picture, its pictures are left out. With several, the label is
left out, and with it pictures that have no other. Where each pixel has a class, its pixels are not known any more. Where
objects have boxes, those of the class are neither to be found nor to be missed, whatever is found there, as crowds. A picture
with probabilities is left out where an ignored class is the likeliest, and the others of its probabilities add up to 1 again.

Nothing is read but labels, and these only where they are not in the list of pictures.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from paretina.data.decode import DecodeError
from paretina.data.names import counterpart
from paretina.data.source import Collection, Sample, Source, WrappedCollection
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.shapes import Shapes
from paretina.model.task import UNKNOWN
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.boxes import EVERY
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.spec import near
from paretina.text import how_many


@dataclass(frozen=True, kw_only=True)
class Ignoring(Source):
    """
    Attributes:
        source: the full data.
        classes: names of the classes that are left out, one or more.
    """

    source: Source
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"Ignoring.classes must be one or more different names, got {list(self.classes)}")

    def open(self) -> "IgnoringCollection":
        whole = self.source.open()
        ignored = {named(name, whole.classes) for name in self.classes}
        kept = tuple(number for number, name in enumerate(whole.classes) if name not in ignored)
        if isinstance(whole.task, Nothing):
            raise ValueError("classes can be ignored only where pictures have labels, and this data has none")
        least = 1 if whole.task.BOXES else 2
        if len(kept) < least:
            left = f"only {whole.classes[kept[0]]!r} is" if kept else "none is"
            needed = "one is" if least == 1 else "two are"
            raise ValueError(f"of {how_many(len(whole.classes), 'class')} {left} left without those to ignore; {needed} needed")
        more: dict[str, Any] = {"whole": whole, "kept": kept, "task": whole.task, "moved": whole.moved}
        found = IgnoringCollection(tuple(whole.classes[each] for each in kept), {}, (), whole.mirrors, **more)
        splits = {split: found.remaining(samples) for split, samples in whole.splits.items()}
        gone = {split: len(whole.splits[split]) - len(samples) for split, samples in splits.items()}
        several = sum(map(bool, whole.splits.values())) > 1
        lost = ", ".join(
            f"{count:,} of {len(whole.splits[split]):,}{f' in {split}' if several else ''}"
            for split, count in gone.items()
            if count
        )
        listed = ", ".join(name for name in whole.classes if name in ignored)
        note = f"ignored {how_many(len(ignored), 'class')} ({listed}): pictures left out: {lost or 'none'}"
        if whole.task.DENSE:
            note = f"ignored {how_many(len(ignored), 'class')} ({listed}), whose pixels count as unknown"
        if whole.task.BOXES:
            note = f"ignored {how_many(len(ignored), 'class')} ({listed}), whose objects are neither to be found nor missed"
        return replace(found, splits=splits, notes=(*whole.notes, note))

    def pinned(self, collection: Collection) -> "Ignoring":
        return (
            replace(self, source=self.source.pinned(collection.whole)) if isinstance(collection, IgnoringCollection) else self
        )


def named(name: str, classes: tuple[str, ...]) -> str:
    """The class of that name; case and the Unicode form may differ, as for class folders.

    Raises:
        ValueError: there is none.
    """
    found = counterpart(name, classes)
    if found is None:
        raise ValueError(f"there is no class {name!r} to ignore{near(name, classes)}")
    return found


@dataclass(frozen=True)
class IgnoringCollection(WrappedCollection):
    """
    Attributes:
        kept: numbers that its classes have in the full collection.
    """

    kept: tuple[int, ...] = field(default=(), kw_only=True)

    def at_whole(self, sample: Sample) -> Sample:
        """By its name, since whoever evaluates gives samples the numbers that a model has for its classes."""
        return replace(sample, label=self.numbers[sample.name]) if sample.name in self.numbers else sample

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """The class of each picture in the full collection, where pictures are made by their class; else empty."""
        if self.task != OneOf() or self.origin().COSTLY:
            return {}
        return {sample.name: sample.label for samples in self.whole.splits.values() for sample in samples}

    def remaining(self, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """The samples that have a class left, or none to begin with, with the numbers of their classes."""
        if self.task.DENSE or self.task.BOXES:
            return samples
        numbers = {old: new for new, old in enumerate(self.kept)}
        if isinstance(self.task, AnyOf):
            return tuple(sample for sample in samples if self.has_other(sample))
        return tuple(
            replace(sample, label=numbers.get(sample.label, sample.label))
            for sample in samples
            if sample.label < 0 or sample.label in numbers
        )

    def has_other(self, sample: Sample) -> bool:
        """Whether a picture with several labels has one that is not ignored, or had none; damaged ones stay, to be named."""
        try:
            target = self.whole.target(sample)
        except DecodeError:
            return True
        return not bool((target > 0.5).any()) or bool((target[list(self.kept)] > 0.5).any())

    def target(self, sample: Sample) -> Tensor:
        found = self.whole.target(self.at_whole(sample))
        if self.task.DENSE:
            table = torch.full((UNKNOWN + 1,), UNKNOWN, dtype=torch.uint8)
            table[list(self.kept)] = torch.arange(len(self.kept), dtype=torch.uint8)
            return table[found.long()]
        if self.task.BOXES:
            return self.boxes(found)
        if found.ndim:
            own = found[list(self.kept)]
            return own if isinstance(self.task, AnyOf) or not own.sum() else own / own.sum()
        return torch.tensor(sample.label)

    def boxes(self, found: Tensor) -> Tensor:
        """The boxes of a picture, [object, 6], with the new numbers of classes."""
        numbers, own = found[:, 4].long(), found.clone()
        ours = torch.isin(numbers, torch.tensor(self.kept))
        own[ours, 4] = torch.searchsorted(torch.tensor(self.kept), numbers[ours]).to(own.dtype)
        gone = ~ours & (numbers >= 0)  # below 0 the picture is unlabelled
        own[gone, 4] = EVERY
        own[gone, 5] = 0
        return own


EXAMPLES = (
    Ignoring(source=Shapes(per_class=20), classes=("disc",)),
    Ignoring(source=Arrays(path="digits.npz"), classes=("unknown", "broken")),
)
