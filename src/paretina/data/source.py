"""Source: where pictures and their classes come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from paretina.shapes import Image
from paretina.spec import Spec


@dataclass(frozen=True)
class Sample:
    """One picture of a split.

    Attributes:
        name: what the picture is called in messages, logs and tables; unique in its collection.
        label: number of its class.
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
        COSTLY: whether reading pictures takes so long that a study keeps them from one run to the next. Two collections that
            are equal must then have the same pictures under the same names.
    """

    COSTLY: ClassVar[bool] = False

    classes: tuple[str, ...]
    splits: dict[str, tuple[Sample, ...]]
    notes: tuple[str, ...] = ()
    mirrors: bool = True

    @abstractmethod
    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """Decodes one picture; `at_least` as in `paretina.data.decode.decode`.

        Raises:
            paretina.data.decode.DecodeError: the picture cannot be read; the message names it.
        """

    def origin(self) -> "Collection":
        """Where the pixels really come from: itself, unless it is a part of something else."""
        return self

    def name_at_origin(self, sample: Sample) -> str:
        """The name of a sample in `origin()`."""
        return sample.name

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of a split.

        Raises:
            ValueError: the collection has no such split.
        """
        if name not in self.splits:
            raise ValueError(f"there is no split {name!r}; there are: {', '.join(self.splits)}")
        return self.splits[name]


@dataclass(frozen=True, kw_only=True)
class Source(Spec):
    """A choice of data; opening it looks at names and classes but decodes nothing."""

    PLUGINS = ("paretina.data.sources",)

    @abstractmethod
    def open(self) -> Collection:
        """Finds the samples.

        Raises:
            ValueError: nothing usable is there; the message says what was looked for and what to do.
        """
