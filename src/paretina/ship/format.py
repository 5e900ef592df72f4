"""The interface of file formats: how one is written, and how its own runtime executes it."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from paretina.ship.header import Header, Precision
from paretina.ship.whole import Whole
from paretina.spec import modules_in, near

Runner = Callable[[Tensor], Tensor]
"""Pixels, (batch, channel, row, column) of uint8, to probabilities in float32."""


@dataclass(frozen=True)
class Running:
    """A shipped file in its runtime.

    Attributes:
        run: uint8 pixels of any size, (batch, channel, row, column), to probabilities.
        features: the same pixels to (batch, feature), what is before the classifier; None where the file has none.
        runtime: its name and version.
        fit: prepares it for many pictures of the shape of these, before time is measured; a runtime does so by itself after a
            hundred.
    """

    path: Path
    header: Header
    run: Runner
    features: Runner | None
    runtime: str
    fit: Callable[[Tensor], None] = lambda images: None


class Format(ABC):
    """A file format with its runtime.

    Attributes:
        NAME: as in `--to`.
        SUFFIX: of its files.
        EXTRA: the extra of this package that installs what it needs; "" where nothing is.
        MODULES: which must be importable.
        PRECISIONS: that it can be written in, each with what it means here.
        RUNS_CODE: whether a file can run code when its runtime opens it, so that one from elsewhere must be trusted.
    """

    NAME: ClassVar[str]
    SUFFIX: ClassVar[str]
    EXTRA: ClassVar[str]
    MODULES: ClassVar[tuple[str, ...]]
    PRECISIONS: ClassVar[Mapping[Precision, str]]
    RUNS_CODE: ClassVar[bool] = False

    @abstractmethod
    def write(self, whole: Whole, path: Path, header: Header, calibration: "Calibration | None" = None) -> Header:
        """Writes one file; returns its header, with further steps if there were any.

        Args:
            header: its precision decides how the file computes.
            calibration: for int8.

        Raises:
            ValueError: the network cannot be written in this format.
        """

    @abstractmethod
    def header(self, path: Path) -> Header:
        """Reads what a file says of itself, without loading its network.

        Raises:
            ValueError: it is damaged, or was not written by this library.
        """

    @abstractmethod
    def amended(self, path: Path, header: Header) -> None:
        """Writes another header into a file."""

    @abstractmethod
    def open(self, path: Path, threads: int | None = None) -> Running:
        """Loads a file into its runtime.

        Args:
            threads: of the CPU; None for as many as torch has, by OMP_NUM_THREADS or the cores that this process may run on.
        """

    def require(self) -> None:
        """Checks that what it needs is installed.

        Raises:
            ValueError: something is missing; the message has the command that installs it.
        """
        missing = [name for name in self.MODULES if importlib.util.find_spec(name) is None]
        if missing:
            raise ValueError(
                f"{self.NAME} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
                f"pip install 'paretina[{self.EXTRA}]'"
            )


@dataclass(frozen=True)
class Calibration:
    """Training pictures for int8.

    Attributes:
        pictures: raw pictures that ranges are measured on, each (channel, row, column) of uint8.
        held: others, on which it is decided which layers stay in float.
        answers: number of the class that the float network gives each of these.
        labels: the class that each of these has.
        most: share of them by which fewer may be right, from -1 to 1.
    """

    pictures: tuple[Tensor, ...]
    held: tuple[Tensor, ...]
    answers: Tensor
    labels: Tensor
    most: float = 0.005

    def changed(self, found: Tensor) -> float:
        """The share of held pictures whose answer is not that of the float network.

        Args:
            found: the class that each is given.
        """
        return float((found != self.answers).float().mean())

    def lost(self, found: Tensor) -> float:
        """By what share fewer of the held pictures are right than by the float network."""
        return float((self.answers == self.labels).float().mean() - (found == self.labels).float().mean())


@cache
def formats() -> Mapping[str, Format]:
    """All formats by name."""
    found = (module.FORMAT for module in modules_in("paretina.ship.formats") if hasattr(module, "FORMAT"))
    return {each.NAME: each for each in found}


def format_named(name: str) -> Format:
    """The format with a given name.

    Raises:
        ValueError: there is none.
    """
    known = formats()
    if name not in known:
        raise ValueError(f"there is no format {name!r}{near(name, known)}")
    return known[name]


def format_of(path: Path) -> Format | None:
    """The format that a file's name ends with; None for another, such as a model file."""
    return next((each for each in formats().values() if path.name.endswith(each.SUFFIX)), None)
