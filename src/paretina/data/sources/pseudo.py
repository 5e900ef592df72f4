"""Pseudo: pictures of another source with labels that a model gave them, from a file.

For self-training (`paretina selftrain`), which writes the file; any other with the same two fields does as well. Pictures that
the file does not name are left out.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from paretina.data.source import Collection, Sample, Source
from paretina.data.sources.unlabelled import Unlabelled
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image


@dataclass(frozen=True, kw_only=True)
class Pseudo(Source):
    """
    Attributes:
        source: the pictures; their own labels are not used.
        labels: path of a JSON file with `classes`, a list of names, and `labels`, the class of each picture by its name.
    """

    source: Source
    labels: str

    def open(self) -> "PseudoCollection":
        whole = self.source.open()
        classes, labels = self.read()
        numbers = {name: number for number, name in enumerate(classes)}
        splits = {
            split: tuple(replace(sample, label=numbers[labels[sample.name]]) for sample in samples if sample.name in labels)
            for split, samples in whole.splits.items()
        }
        count = sum(map(len, splits.values()))
        if not splits.get("train"):
            raise ValueError(f"{self.labels} names no training picture of this data; it was written for other pictures")
        notes = (*whole.notes, f"{count:,} of {sum(map(len, whole.splits.values())):,} pictures have labels of a model")
        more: dict[str, Any] = {"whole": whole, "task": OneOf(), "weighted": whole.weighted}
        return PseudoCollection(classes, splits, notes, whole.mirrors, **more)

    def read(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """The classes, and the label of each picture.

        Raises:
            ValueError: there is no such file, or it is something else.
        """
        path = Path(self.labels).expanduser()
        try:
            found = json.loads(path.read_text())
            classes, labels = tuple(found["classes"]), dict(found["labels"])
        except OSError as error:
            raise ValueError(f"cannot read {self.labels}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, UnicodeDecodeError):
            raise ValueError(
                f'{self.labels} is no file of labels: {{"classes": [...], "labels": {{PICTURE: CLASS}}}}'
            ) from None
        if not all(isinstance(each, str) for each in (*classes, *labels.values())):
            raise ValueError(f"{self.labels} has classes or labels that are no names")
        if strange := set(labels.values()) - set(classes):
            raise ValueError(f"{self.labels} has the label {sorted(strange)[0]!r}, which is none of its classes")
        return classes, labels

    def pinned(self, collection: Collection) -> "Pseudo":
        return replace(self, source=self.source.pinned(collection.whole)) if isinstance(collection, PseudoCollection) else self


@dataclass(frozen=True)
class PseudoCollection(Collection):
    """
    Attributes:
        whole: the pictures.
    """

    COSTLY: ClassVar[bool] = True

    whole: Collection = field(kw_only=True)

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        return self.whole.image(sample, at_least)

    def unit(self, sample: Sample) -> str:
        return self.whole.unit(sample)

    def weight(self, sample: Sample) -> float:
        return self.whole.weight(sample)

    def encoded(self, sample: Sample) -> bytes | None:
        return self.whole.encoded(sample)

    def origin(self) -> Collection:
        return self.whole.origin()

    def name_at_origin(self, sample: Sample) -> str:
        return self.whole.name_at_origin(sample)

    def file(self, sample: Sample) -> Any:
        return self.whole.file(sample)


EXAMPLES = (Pseudo(source=Unlabelled(path="photos"), labels="labels.json"),)
