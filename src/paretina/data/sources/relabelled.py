"""Relabelled: another source with corrected labels of some of its pictures.

For labels that were found to be wrong, as `paretina data labels` finds them. A run stores the corrections themselves, not the
file that they came from, so that it can be resumed and evaluated exactly. Splits stay as they are with the labels before, so
no picture changes sides. Validation and test pictures keep their labels unless `val` says otherwise: figures of runs with
other labels cannot be compared.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from paretina.data.decode import DecodeError
from paretina.data.source import Collection, Sample, Source, WrappedCollection
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.folder import Folder
from paretina.model.tasks.one_of import OneOf
from paretina.spec import near
from paretina.text import how_many

LEFT_OUT = ""
"""In place of a class: the picture is left out."""


@dataclass(frozen=True, kw_only=True)
class Relabelled(Source):
    """
    Attributes:
        source: the data with the labels before.
        labels: pairs of the name of a picture and its class; "" leaves the picture out.
        val: whether validation and test pictures are relabelled too.
    """

    source: Source
    labels: tuple[tuple[str, str], ...]
    val: bool = False

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(name for name, _ in self.labels).items() if count > 1]
        if twice:
            raise ValueError(f"Relabelled.labels has the picture {twice[0]!r} twice; leave one out")

    def open(self) -> "RelabelledCollection":
        whole = self.source.open()
        if whole.task != OneOf():
            raise ValueError(
                f"labels can be corrected where each picture has one class, but the task of this data is {whole.task.WORDS}"
            )
        wanted = dict(self.labels)
        unknown = next((label for label in wanted.values() if label and label not in whole.classes), None)
        if unknown is not None:
            raise ValueError(
                f"a corrected label names the class {unknown!r}, which this data does not have{near(unknown, whole.classes)}"
            )
        known = {sample.name for samples in whole.splits.values() for sample in samples}
        if missing := [name for name in wanted if name not in known]:
            raise ValueError(
                f"{how_many(len(missing), 'corrected label')} of pictures that are not in this data, such as {missing[0]!r}"
                f"{hint(missing[0], known)}"
            )
        numbers = {name: number for number, name in enumerate(whole.classes)}
        changed: dict[str, int] = {}
        splits, left_out, kept = {}, 0, 0
        for split, samples in whole.splits.items():
            if split != "train" and not self.val:
                kept += sum(sample.name in wanted for sample in samples)
                splits[split] = samples
                continue
            found = []
            for sample in samples:
                label = wanted.get(sample.name)
                if label == LEFT_OUT:
                    left_out += 1
                elif label is None or numbers[label] == sample.label:
                    found.append(sample)
                else:
                    changed[sample.name] = numbers[label]
                    found.append(replace(sample, label=numbers[label]))
            splits[split] = tuple(found)
        notes = [f"corrected labels: {len(changed):,} changed, {how_many(left_out, 'picture', ',')} left out"]
        if kept:
            notes.append(f"corrected labels of validation or test pictures, which keep those that they have: {kept:,}")
        more: dict[str, Any] = {"whole": whole, "changed": changed, "task": whole.task, "moved": whole.moved}
        return RelabelledCollection(whole.classes, splits, (*whole.notes, *notes), whole.mirrors, **more)

    def pinned(self, collection: Collection) -> "Relabelled":
        return (
            replace(self, source=self.source.pinned(collection.whole)) if isinstance(collection, RelabelledCollection) else self
        )


def hint(name: str, known: set[str]) -> str:
    """The picture of that name in another folder, as the end of a sentence; "" where there is none."""
    last = name.rpartition("/")[2]
    found = next((each for each in sorted(known) if each.rpartition("/")[2] == last), None)
    return f"; did you mean {found!r}?" if found else ""


@dataclass(frozen=True)
class RelabelledCollection(WrappedCollection):
    """
    Attributes:
        changed: numbers of the new classes, by the names of the pictures.
    """

    changed: dict[str, int] = field(default_factory=dict, kw_only=True, repr=False)

    def target(self, sample: Sample) -> Tensor:
        if sample.name not in self.changed:
            return self.whole.target(sample)
        label = torch.tensor(self.changed[sample.name])
        try:
            soft = self.whole.target(sample).ndim == 1
        except DecodeError:
            soft = False
        return F.one_hot(label, len(self.classes)).float() if soft else label


EXAMPLES = (
    Relabelled(source=Folder(path="photos"), labels=(("cat/1.jpg", "dog"), ("cat/2.jpg", ""))),
    Relabelled(source=Arrays(path="digits.npz"), labels=(("17", "3"),), val=True),
)
