"""Pictures whose objects are described in files beside them: what the sources of COCO and Pascal VOC share."""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from paretina.data.decode import DecodeError, decode
from paretina.data.masks import size_of_picture
from paretina.data.source import Collection, Sample
from paretina.model.task import UNKNOWN, Task
from paretina.model.tasks.boxes import Boxes
from paretina.model.tasks.instances import Instances
from paretina.model.tasks.places import Places
from paretina.shapes import Image
from paretina.system import cores
from paretina.text import how_many

Labels = Literal["boxes", "classes", "instances"]
"""What is said of the objects: a box each, the class of each pixel, or the pixels of each object."""

LEAST = 100
"""Objects that a picture may have at least, so that models trained on different data have one task."""

Row = tuple[float, float, float, float, int, int]
"""An object: left, top, right, bottom as shares of the picture's sides, number of its class, 1, or 0 for a region to ignore."""

PixelsOf = Callable[[str, int, int], np.ndarray]
"""Gives the mask of a picture of some rows and columns, [row, column], uint8."""


@dataclass(frozen=True)
class AnnotatedCollection(Collection):
    """
    Attributes:
        root: the folder that the names of the samples are relative to.
        labels: what is said of objects.
        rows: the objects of each picture.
        sizes: rows and columns of each picture.
        faults: why a picture cannot be used.
        pixels: gives masks, where labels are masks.
    """

    COSTLY: ClassVar[bool] = True

    root: str = ""
    labels: Labels = "boxes"
    rows: Mapping[str, tuple[Row, ...]] = field(default_factory=dict, repr=False, hash=False)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict, repr=False, hash=False)
    faults: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    pixels: Any = field(default=None, repr=False, hash=False)

    def file(self, sample: Sample) -> Path:
        return Path(self.root, sample.name)

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        return decode(self.encoded(sample), sample.name, at_least)

    def encoded(self, sample: Sample) -> bytes:
        self.check(sample)
        try:
            return Path(self.root, sample.name).read_bytes()
        except OSError as error:
            raise DecodeError(f"{sample.name}: {error.strerror or error}") from None

    def target(self, sample: Sample) -> Tensor:
        self.check(sample)
        if self.labels == "boxes":
            return torch.tensor(self.rows.get(sample.name, ()), dtype=torch.float32).reshape(-1, 6)
        try:
            return torch.from_numpy(self.pixels(sample.name, *self.sizes[sample.name]))
        except DecodeError as error:
            raise DecodeError(f"{sample.name}: {error}") from None

    def check(self, sample: Sample) -> None:
        """Raises what is wrong with a picture.

        Raises:
            DecodeError: something is.
        """
        if sample.name in self.faults:
            raise DecodeError(f"{sample.name}: {self.faults[sample.name]}")


def task_for(labels: Labels, rows: Mapping[str, tuple[Row, ...]], most: int, border: int) -> Task:
    """The task of labels.

    Args:
        most: objects that a picture may have; 0 for as many as one has, and `LEAST` at least.
        border: width of the border between objects, with instances.
    """
    if labels == "instances":
        return Instances(border=border)
    if labels == "classes":
        return Places()
    return Boxes(most=most or max([LEAST, *map(len, rows.values())]))


def too_many(rows: Mapping[str, tuple[Row, ...]], task: Task) -> dict[str, str]:
    """Why pictures with more objects than there is room for cannot be used."""
    if not isinstance(task, Boxes):
        return {}
    return {
        name: f"it has {how_many(len(each), 'object')}, and there is room for {task.most} (data.most)"
        for name, each in rows.items()
        if len(each) > task.most
    }


def sizes_of(root: Path, said: Mapping[str, tuple[int, int] | None]) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Rows and columns of each picture, and why others cannot be used.

    Args:
        said: rows and columns by the annotations, where they say it.
    """

    def look(name: str) -> tuple[int, int] | str:
        path = root / name
        if not path.is_file():
            return "there is no such file"
        try:
            found = size_of_picture(path, name)
        except DecodeError as error:
            return str(error).removeprefix(f"{name}: ")
        own = said[name]
        if own is not None and own != found:
            there, wanted = (f"{columns} x {rows}" for rows, columns in (found, own))
            return f"it has {there} pixels, and its annotations are for {wanted}"
        return found

    names = list(said)
    with ThreadPoolExecutor(max(1, min(8, cores()))) as threads:
        found = dict(zip(names, threads.map(look, names), strict=True))
    good = {name: each for name, each in found.items() if not isinstance(each, str)}
    return good, {name: each for name, each in found.items() if isinstance(each, str)}


def row_of(corners: tuple[float, float, float, float], size: tuple[int, int], label: int, known: bool) -> Row | None:
    """An object by its corners in pixels, cut off at the edges of the picture; None if nothing of it is inside.

    Args:
        corners: left, top, right, bottom.
        size: rows and columns of the picture.
    """
    rows, columns = size
    left, right = (min(1.0, max(0.0, each / columns)) for each in (corners[0], corners[2]))
    top, bottom = (min(1.0, max(0.0, each / rows)) for each in (corners[1], corners[3]))
    return (left, top, right, bottom, label, int(known)) if right > left and bottom > top else None


def number(value: Any, what: str) -> float:
    """A finite number from a file.

    Raises:
        ValueError: it is none; the message begins with `what`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what} must be a number, got {value!r}")
    return float(value)


def painted(layers: list[tuple[int, np.ndarray]], rows: int, columns: int) -> np.ndarray:
    """A mask of numbers, the larger objects below the smaller ones.

    Args:
        layers: the number of each object, and its pixels, [row, column], bool.
    """
    found = np.zeros((rows, columns), np.uint8)
    for value, inside in sorted(layers, key=lambda layer: (layer[0] != UNKNOWN, -int(layer[1].sum()))):
        found[inside] = value
    return found
