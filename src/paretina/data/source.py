"""Source: where pictures and their classes come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

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
    """

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
