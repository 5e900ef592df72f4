"""InnerSplit: a part of the training pictures of another source stands in for its validation pictures.

For choices during training, which must not be made on validation pictures.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from paretina.data.source import Collection, Sample, Source
from paretina.data.sources.shapes import Shapes
from paretina.data.split import held_out
from paretina.shapes import Image


@dataclass(frozen=True, kw_only=True)
class InnerSplit(Source):
    """
    Attributes:
        source: the full data; its validation pictures are not used.
        share: share of each class's training pictures that is held out, in (0, 1).
    """

    source: Source
    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"InnerSplit.share must be in (0, 1), got {self.share:g}")

    def open(self) -> "InnerCollection":
        whole = self.source.open()
        pool = whole.split("train")
        held = held_out([sample.name for sample in pool], [sample.label for sample in pool], self.share)
        splits = {
            "train": tuple(sample for sample in pool if sample.name not in held),
            "val": tuple(sample for sample in pool if sample.name in held),
        }
        notes = (*whole.notes, f"{len(held):,} of {len(pool):,} training pictures are judged on, and no validation picture")
        return InnerCollection(whole.classes, splits, notes, whole.mirrors, whole=whole, task=whole.task)

    def pinned(self, collection: Collection) -> "InnerSplit":
        return replace(self, source=self.source.pinned(collection.whole)) if isinstance(collection, InnerCollection) else self


@dataclass(frozen=True)
class InnerCollection(Collection):
    """
    Attributes:
        whole: the full collection.
    """

    COSTLY: ClassVar[bool] = True

    whole: Collection = field(kw_only=True)

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        return self.whole.image(sample, at_least)

    def encoded(self, sample: Sample) -> bytes | None:
        return self.whole.encoded(sample)

    def target(self, sample: Sample) -> Tensor:
        return self.whole.target(sample)

    def group(self, sample: Sample) -> int:
        return self.whole.group(sample)

    def origin(self) -> Collection:
        return self.whole.origin()

    def name_at_origin(self, sample: Sample) -> str:
        return self.whole.name_at_origin(sample)

    def file(self, sample: Sample) -> Path | None:
        return self.whole.file(sample)


EXAMPLES = (InnerSplit(source=Shapes(per_class=20)),)
