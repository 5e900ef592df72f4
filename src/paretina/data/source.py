"""Source: where pictures and their classes come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image
from paretina.traits import Method, Never


@dataclass(frozen=True)
class Sample:
    """One picture of a split.

    Attributes:
        name: what the picture is called in messages, logs and tables; unique in its collection.
        label: number of its class; 0 where the task is not one class a picture.
    """

    name: str
    label: int


@dataclass(frozen=True)
class Collection(ABC):
    """An opened source. Picklable, so that workers can have it.

    Attributes:
        classes: class names; a sample's label is an index into them.
        splits: the samples of `train`, `val` and, where there is one, `test`.
        notes: what was decided while opening, a sentence each: a split made, a folder left out.
        mirrors: whether the mirror image of a picture still belongs to its class.
        task: what is said about a picture.
        moved: pictures on the other side of an automatic split than their names say, because their copies are there; None where
            no copies were looked for.
        COPIES: whether copies are looked for; not in pictures that we make ourselves.
        COSTLY: whether reading pictures takes so long that a study keeps them from one run to the next. Two collections that
            are equal must then have the same pictures under the same names.
    """

    COSTLY: ClassVar[bool] = False
    COPIES: ClassVar[bool] = True

    classes: tuple[str, ...]
    splits: dict[str, tuple[Sample, ...]]
    notes: tuple[str, ...] = ()
    mirrors: bool = True
    task: Task = field(default_factory=OneOf, kw_only=True)
    moved: tuple[str, ...] | None = field(default=None, kw_only=True)

    @abstractmethod
    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """Decodes one picture; `at_least` as in `paretina.data.decode.decode`.

        Raises:
            paretina.data.decode.DecodeError: the picture cannot be read; the message names it.
        """

    def target(self, sample: Sample) -> Tensor:
        """What is said about a picture; its shape tells what it is, and must be one that `task` takes.

        Returns:
            `()`: the number of its class, negative where that is not known. `[class]`: a probability for each class. `[row
            column]`: the class number of each pixel, uint8, 255 where it is not known; of the size that `image` gives when it
            is asked for exact pixels.

        Raises:
            paretina.data.decode.DecodeError: it cannot be read; the message names the picture. The picture is then left out.
        """
        return torch.tensor(sample.label)

    def origin(self) -> "Collection":
        """Where the pixels really come from: itself, unless it is a part of something else."""
        return self

    def name_at_origin(self, sample: Sample) -> str:
        """The name of a sample in `origin()`."""
        return sample.name

    def file(self, sample: Sample) -> Path | None:
        """The file that a picture of `origin()` is read from; what is known of the picture holds until it changes."""
        return None

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of a split.

        Raises:
            ValueError: the collection has no such split.
        """
        if name not in self.splits:
            raise ValueError(f"there is no split {name!r}; there are: {', '.join(self.splits)}")
        return self.splits[name]


@dataclass(frozen=True, kw_only=True)
class Source(Method):
    """A choice of data; opening it looks at names and classes, and at the pictures only to keep copies together in a split.

    Attributes:
        WORD: what names it where data is asked for, such as "clipart"; "" for a source that is named by a path.
        SUFFIXES: ends of the names of files that are opened with it, such as ".npz"; it then has a field `path`.
        FOLDERS: whether folders are opened with it; it then has a field `path`.
    """

    PLUGINS = ("paretina.data.sources",)
    LEFT_OUT = Never("nothing can be trained without data")
    LOW_PRECISION = Never("it gives pictures and computes nothing")
    WORD: ClassVar[str] = ""
    SUFFIXES: ClassVar[tuple[str, ...]] = ()
    FOLDERS: ClassVar[bool] = False

    def pinned(self, collection: Collection) -> "Source":
        """The same with what opening found out about copies written down, so that the split never moves again.

        Args:
            collection: what opening this source gave.
        """
        return self

    @abstractmethod
    def open(self) -> Collection:
        """Finds the samples.

        Raises:
            ValueError: nothing usable is there; the message says what was looked for and what to do.
        """


def split_by_names_alone(data: dict[str, Any]) -> dict[str, Any]:
    """What a run of an earlier release wrote down, with all fields of that time, keeps the split that it had then."""
    return {"copies": "anywhere", **data} if {"val_share", "mirrors"} <= set(data) else data
