"""InnerSplit: a part of the training pictures of another source stands in for its validation pictures.

For choices during training, which must not be made on validation pictures.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from paretina.data.source import Collection, Source, WrappedCollection
from paretina.data.sources.shapes import Shapes
from paretina.data.split import held_out_units


def unsalted(data: dict[str, Any]) -> dict[str, Any]:
    """Upgrades the data of an earlier release, whose studies keep the split that they had."""
    return {"salt": "", **data} if {"source", "share"} <= set(data) else data


@dataclass(frozen=True, kw_only=True)
class InnerSplit(Source):
    """
    Attributes:
        source: the full data; its validation pictures are not used.
        share: share of each class's training pictures that is held out, in (0, 1).
        salt: goes before the names that are hashed. Earlier releases had none, so that nearly nothing was held out of what an
            automatic split by the same hash had left.
    """

    UPGRADES = (unsalted,)

    source: Source
    share: float = 0.2
    salt: str = "inner/"

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"InnerSplit.share must be in (0, 1), got {self.share:g}")

    def open(self) -> "InnerCollection":
        whole = self.source.open()
        pool = whole.split("train")
        names, labels = [sample.name for sample in pool], [sample.label for sample in pool]
        held = held_out_units(names, labels, [whole.unit(sample) for sample in pool], self.share, self.salt)
        splits = {
            "train": tuple(sample for sample in pool if sample.name not in held),
            "val": tuple(sample for sample in pool if sample.name in held),
        }
        notes = (*whole.notes, f"{len(held):,} of {len(pool):,} training pictures are judged on, and no validation picture")
        more: dict[str, Any] = {"whole": whole, "task": whole.task, "weighted": whole.weighted}
        return InnerCollection(whole.classes, splits, notes, whole.mirrors, **more)

    def pinned(self, collection: Collection) -> "InnerSplit":
        return replace(self, source=self.source.pinned(collection.whole)) if isinstance(collection, InnerCollection) else self


@dataclass(frozen=True)
class InnerCollection(WrappedCollection):
    """The training pictures of the full collection, of which some are judged on."""

    COSTLY: ClassVar[bool] = True


EXAMPLES = (InnerSplit(source=Shapes(per_class=20)),)
