"""The interface of data sources: pictures with their classes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image
from paretina.spec import field_map
from paretina.traits import Method, Never

NONE_HELD_OUT = "val_share is 0, so no pictures are held out as val"
ALL_HELD_OUT = "val_share is 1, so all pictures are held out as val"


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of a split.

    Attributes:
        name: the picture's name in messages, logs and tables; unique in its collection.
        label: class index; 0 if the task is not one class per picture.
    """

    name: str
    label: int


@dataclass(frozen=True)
class Collection(ABC):
    """An opened source. Picklable, so that it can be sent to workers.

    Attributes:
        classes: class names; a sample's label is an index into them.
        splits: the samples of `train`, `val` and, where there is one, `test`.
        notes: decisions made while opening, a sentence each: a split made, a folder left out.
        mirrors: whether the mirror image of a picture still belongs to its class.
        task: the kind of labels.
        moved: pictures on the other side of an automatic split than by name, because their copies are there; None if copies
            were not searched for.
        weighted: whether some pictures count more than others in the loss, see `weight`.
        COPIES: whether to search for copies; not in generated pictures.
        COSTLY: whether reading pictures takes so long that a study keeps them from one run to the next. Two equal collections
            must then have the same pictures under the same names.
    """

    COSTLY: ClassVar[bool] = False
    COPIES: ClassVar[bool] = True

    classes: tuple[str, ...]
    splits: dict[str, tuple[Sample, ...]]
    notes: tuple[str, ...] = ()
    mirrors: bool = True
    task: Task = field(default_factory=OneOf, kw_only=True)
    moved: tuple[str, ...] | None = field(default=None, kw_only=True)
    weighted: bool = field(default=False, kw_only=True)

    @abstractmethod
    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """Decodes one picture; `at_least` as in `paretina.data.decode.decode`.

        Raises:
            paretina.data.decode.DecodeError: the picture cannot be read; the message names it.
        """

    def encoded(self, sample: Sample) -> bytes | None:
        """The picture file of which `image` is `paretina.data.decode.decode`; None where `image` is anything else.

        Pictures that are read again in each epoch are then decoded at the size that is needed.

        Raises:
            paretina.data.decode.DecodeError: it cannot be read; the message names the picture.
        """
        return None

    def target(self, sample: Sample) -> Tensor:
        """The target of a picture; its shape determines its kind, and must be one that `task` accepts.

        Returns:
            `()`: the number of its class, negative where that is not known. `[class]`: a probability for each class. `[row
            column]`: the class number of each pixel, uint8, 255 where it is not known; of the size that `image` gives when it
            is asked for exact pixels. `[object 6]`, in floats: boxes, see `paretina.model.tasks.boxes`.

        Raises:
            paretina.data.decode.DecodeError: it cannot be read; the message names the picture. The picture is then left out.
        """
        return torch.tensor(sample.label)

    def weight(self, sample: Sample) -> float:
        """How much a training picture counts in the loss: its row of targets is multiplied by this, 0 or more.

        Evaluation does not use it, nor does what is no loss: samplings, and the linear probe.
        """
        return 1.0

    def is_soft(self) -> bool:
        """Whether there is one class a picture and the targets are probabilities."""
        first = next((samples[0] for samples in self.splits.values() if samples), None)
        return isinstance(self.task, OneOf) and first is not None and self.target(first).ndim == 1

    def group(self, sample: Sample) -> int:
        """The number of the set that a picture is from, from 0; for samplings that tell sets apart."""
        return 0

    def unit(self, sample: Sample) -> str:
        """What stays on one side of a split: the name of the picture's group, or its own where it has none."""
        return sample.name

    def origin(self) -> "Collection":
        """The collection that the pixels really come from: itself, unless it is a part of another one."""
        return self

    def name_at_origin(self, sample: Sample) -> str:
        """The name of a sample in `origin()`."""
        return sample.name

    def file(self, sample: Sample) -> Path | None:
        """The file that a picture of `origin()` is read from; cached results for the picture are valid until it changes."""
        return None

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of a split.

        Raises:
            ValueError: the collection has no such split.
        """
        if name not in self.splits:
            raise ValueError(f"there is no split {name!r}; there are: {', '.join(self.splits)}")
        return self.splits[name]


@dataclass(frozen=True)
class WrappedCollection(Collection):
    """Pictures of another collection, under their names there; only their labels and splits may differ.

    Attributes:
        whole: the other collection.
    """

    whole: Collection = field(kw_only=True)

    def at_whole(self, sample: Sample) -> Sample:
        """The sample as it is in the other collection."""
        return sample

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        return self.whole.image(self.at_whole(sample), at_least)

    def target(self, sample: Sample) -> Tensor:
        return self.whole.target(self.at_whole(sample))

    def weight(self, sample: Sample) -> float:
        return self.whole.weight(self.at_whole(sample))

    def group(self, sample: Sample) -> int:
        return self.whole.group(self.at_whole(sample))

    def unit(self, sample: Sample) -> str:
        return self.whole.unit(self.at_whole(sample))

    def origin(self) -> Collection:
        return self.whole.origin()

    def name_at_origin(self, sample: Sample) -> str:
        return self.whole.name_at_origin(self.at_whole(sample))

    def file(self, sample: Sample) -> Path | None:
        return self.whole.file(self.at_whole(sample))

    def encoded(self, sample: Sample) -> bytes | None:
        return self.whole.encoded(self.at_whole(sample))


@dataclass(frozen=True, kw_only=True)
class Source(Method):
    """A data source; opening it reads names and classes, and the pictures only to keep copies together in a split.

    Attributes:
        WORD: its name on the command line, such as "clipart"; "" for a source that is named by a path.
        SUFFIXES: extensions of the files that it opens, such as ".npz"; it then has a field `path`.
        FOLDERS: whether it opens folders; it then has a field `path`.
        PREFIXES: how words begin that it takes, such as "hf:"; its field `path` then gets the whole word.
        SIGNS: patterns of files, such as "*.tar", by which a folder is one of its own; it then has a field `path`. A pattern
            with a slash is enough; another one counts where the folder has no other folders in it, which could be classes.
        MIRRORS: whether the mirror images of its pictures belong to their classes, unless its field `mirrors` says otherwise.
    """

    PLUGINS = ("paretina.data.sources",)
    LEFT_OUT = Never("nothing can be trained without data")
    LOW_PRECISION = Never("it gives pictures and computes nothing")
    WORD: ClassVar[str] = ""
    SUFFIXES: ClassVar[tuple[str, ...]] = ()
    FOLDERS: ClassVar[bool] = False
    PREFIXES: ClassVar[tuple[str, ...]] = ()
    SIGNS: ClassVar[tuple[str, ...]] = ()
    MIRRORS: ClassVar[bool] = True
    JOINS: ClassVar[bool] = False

    @classmethod
    def joined(cls, sets: "Mapping[str, Source]") -> "Source":
        """The source for several named with commas, by the name of each; of the one kind that has JOINS.

        Raises:
            TypeError: this kind has not.
        """
        raise TypeError(f"{cls.__name__} joins no sources")

    def pinned(self, collection: Collection) -> "Source":
        """Returns the source with the copies found while opening stored in it, so that the split never changes again.

        Args:
            collection: the result of opening this source.
        """
        return self

    def dense(self) -> bool:
        """Whether its labels are masks, as far as is known before it is opened."""
        inner = getattr(self, "source", None)
        return isinstance(inner, Source) and inner.dense()

    def boxed(self) -> bool:
        """Whether its labels are boxes, as far as is known before it is opened."""
        inner = getattr(self, "source", None)
        return isinstance(inner, Source) and inner.boxed()

    def asked_for(self, task: str) -> "Source | None":
        """The source with the labels for a task, "classify", "segment" or "detect"; None where it has none."""
        own = "detect" if self.boxed() else "segment" if self.dense() else "classify"
        return self if task == own else None

    def read_as(self, task: Task, classes: tuple[str, ...]) -> "Source":
        """The source with what it does not say about its labels taken from a model that is to understand them.

        Args:
            task: of the model.
            classes: of the model.
        """
        inner = getattr(self, "source", None)
        if not isinstance(inner, Source):
            return self
        return replace(self, source=inner.read_as(task, classes))  # type: ignore[call-arg]

    def undivided(self) -> "Source":
        """Returns the source without a split of its own making; where the data itself has splits, they stay."""
        fields = field_map(type(self))
        off: dict[str, Any] = {name: value for name, value in (("val_share", 0.0), ("moved", None)) if name in fields}
        if isinstance(inner := getattr(self, "source", None), Source):
            off["source"] = inner.undivided()
        return replace(self, **off)

    @abstractmethod
    def open(self) -> Collection:
        """Opens the source and finds its samples.

        Raises:
            ValueError: there is no usable data; the message says what was expected and what to do.
        """


def innermost(source: Source) -> Source:
    """The source that the pictures of a wrapping source really come from: the last one in its fields `source`."""
    while isinstance(inner := getattr(source, "source", None), Source):
        source = inner
    return source


def with_innermost(source: Source, inner: Source) -> Source:
    """A wrapping source around another innermost one."""
    within = getattr(source, "source", None)
    if not isinstance(within, Source):
        return inner
    return replace(source, source=with_innermost(within, inner))  # type: ignore[call-arg]


def split_by_names_alone(data: dict[str, Any]) -> dict[str, Any]:
    """Upgrades the data of a run of an earlier release, which keeps the split that it had then."""
    return {"copies": "anywhere", **data} if {"val_share", "mirrors"} <= set(data) else data
