"""Fold: another source, of which one of several equal parts is validated on and the others are trained on.

For cross-validation: over all folds each picture is validated on once. What the source has as train and val is put together and
divided anew; its test pictures stay what they are. Groups and copies of one picture stay in one fold; each class has nearly the
same share of each fold. Which picture is in which fold follows from the names, so that all folds of one division fit together.

Source: stratified cross-validation, Kohavi 1995 (A study of cross-validation and bootstrap for accuracy estimation and model
selection), section 3.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from paretina.data.grouping import joined, members
from paretina.data.likeness import copies, looked_at
from paretina.data.source import NONE_HELD_OUT, Collection, Source, WrappedCollection
from paretina.data.sources.folder import Folder
from paretina.data.sources.shapes import Shapes
from paretina.data.split import folds_of


@dataclass(frozen=True, kw_only=True)
class Fold(Source):
    """
    Attributes:
        source: the full data.
        count: number of folds, at least 2.
        number: of the fold that is validated on, from 1 to `count`.
        alike: the copies that stay together, by name; default: found by searching. A run stores them, so that its folds never
            change.
    """

    source: Source
    count: int = 5
    number: int = 1
    alike: tuple[tuple[str, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"Fold.count must be 2 or more, got {self.count}")
        if not 1 <= self.number <= self.count:
            raise ValueError(f"Fold.number must be from 1 to {self.count}, got {self.number}")

    def open(self) -> "FoldCollection":
        whole = self.source.undivided().open()
        pool = (*whole.split("train"), *whole.splits.get("val", ()))
        names, labels = [sample.name for sample in pool], [sample.label for sample in pool]
        notes, alike = [note for note in whole.notes if not note.endswith(NONE_HELD_OUT)], self.alike
        if alike is None:
            alike = ()
            if whole.origin().COPIES:
                seen = looked_at(whole, pool)
                alike = tuple(tuple(group) for group in copies(names, labels, seen.looks))
                notes += seen.notes()
        known = set(names)
        tied = joined(
            members({sample.name: whole.unit(sample) for sample in pool}),
            [kept for group in alike if len(kept := [name for name in group if name in known]) > 1],
        )
        fold = folds_of(names, labels, self.count, tied)
        splits = {
            "train": tuple(sample for sample in pool if fold[sample.name] != self.number - 1),
            "val": tuple(sample for sample in pool if fold[sample.name] == self.number - 1),
        }
        if "test" in whole.splits:
            splits["test"] = whole.splits["test"]
        notes.append(
            f"fold {self.number} of {self.count}: {len(splits['val']):,} of {len(pool):,} pictures are validated on"
            + (f", and none of {len(splits['test']):,} test pictures is in a fold" if "test" in splits else "")
        )
        missing = sorted({sample.label for sample in pool} - {sample.label for sample in splits["train"]})
        if missing:
            raise ValueError(
                f"all pictures of {whole.classes[missing[0]]} are in fold {self.number} of {self.count}, so none is left to "
                "train on: they are of one group, or copies of each other; add others, or leave the class out"
            )
        more: dict[str, Any] = {"task": whole.task, "weighted": whole.weighted, "whole": whole, "alike": alike}
        return FoldCollection(whole.classes, splits, tuple(notes), whole.mirrors, **more)

    def pinned(self, collection: Collection) -> "Fold":
        if not isinstance(collection, FoldCollection):
            return self
        return replace(self, alike=collection.alike)


@dataclass(frozen=True)
class FoldCollection(WrappedCollection):
    """
    Attributes:
        alike: names of pictures that are copies of each other.
    """

    COSTLY: ClassVar[bool] = True

    alike: tuple[tuple[str, ...], ...] = field(kw_only=True, repr=False)


EXAMPLES = (Fold(source=Shapes(per_class=20)), Fold(source=Folder(path="photos", groups="folder"), count=10, number=3))
