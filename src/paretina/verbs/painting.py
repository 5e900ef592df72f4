"""Writes the masks that a model with a class for each pixel gives for pictures, and the pictures with these drawn over them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import torch.nn.functional as F
from torch import Tensor

from paretina.data.masks import png_of
from paretina.measure.judges.instance_precision import InstancePrecision
from paretina.measure.objects import components
from paretina.measure.overlays import outlined, palette, tinted
from paretina.model.blueprint import Preprocessing
from paretina.model.task import UNKNOWN, Task
from paretina.model.tasks.instances import INSIDE, Instances
from paretina.run import write_aside
from paretina.shapes import Image
from paretina.ship.overlay import place_of
from paretina.text import printable
from paretina.verbs.checks import MisuseError


@dataclass(frozen=True)
class Painted:
    """The answer for a picture, at its own size.

    Attributes:
        classes: (row, column), uint8, 255 where the network does not see the picture.
        objects: (row, column), int32, their numbers, 0 for none; None unless the model is for objects.
    """

    classes: np.ndarray
    objects: np.ndarray | None

    @classmethod
    def of(cls, shares: Tensor, rows: int, columns: int, preprocessing: Preprocessing, task: Task) -> "Painted":
        """
        Args:
            shares: probabilities of what the network sees, (class, row, column).
            rows, columns: size of the picture.
        """
        top, left, height, width = place_of(rows, columns, preprocessing)
        larger = F.interpolate(shares[None].float(), (height, width), mode="bilinear", align_corners=False)[0]
        classes = np.full((rows, columns), UNKNOWN, np.uint8)
        classes[top : top + height, left : left + width] = larger.argmax(0).numpy()
        if not isinstance(task, Instances):
            return cls(classes, None)
        by = height * width / (shares.shape[1] * shares.shape[2])
        return cls(classes, components(classes == INSIDE, max(1, round(InstancePrecision().smallest * by))))

    @property
    def count(self) -> int | None:
        """How many objects there are; None unless the model is for objects."""
        return None if self.objects is None else int(self.objects.max(initial=0))

    def part(self, number: int) -> float:
        """The share of the pixels that are of a class."""
        return float((self.classes == number).sum() / max(1, (self.classes != UNKNOWN).sum()))

    def mask(self) -> bytes:
        """A PNG file: the numbers of classes with a palette, or those of objects in 16 bits."""
        if self.objects is None:
            return png_of(self.classes, palette())
        return png_of(self.objects.astype(np.uint16))

    def overlay(self, image: Image) -> PIL.Image.Image:
        """The picture with the classes, or the outlines of objects, drawn over it."""
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        found = tinted(pixels, self.classes) if self.objects is None else outlined(pixels, self.objects)
        return PIL.Image.fromarray(found)


def places_for(names: Sequence[str], folder: Path, what: str) -> dict[str, Path]:
    """Where the file of each picture is written in a folder: its name as PNG, below the folders that the pictures differ in.

    Raises:
        MisuseError: it would be written over a picture, or two in one place.
    """
    if folder.exists() and not folder.is_dir():
        raise MisuseError(f"{what} {folder} is a file; name a folder")
    whole = {name: Path(name).resolve() for name in names}
    common = Path(os.path.commonpath([path.parent for path in whole.values()])) if whole else Path()
    found: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for name, path in whole.items():
        place = folder / path.relative_to(common).with_suffix(".png")
        if place.resolve() in whole.values():
            raise MisuseError(f"{what} {folder} would write over the picture {printable(str(place))}; name another folder")
        if place in taken:
            raise MisuseError(
                f"{printable(taken[place])} and {printable(name)} would both be written as {printable(str(place))}; give "
                "them one after the other, with a folder each"
            )
        taken[place] = name
        found[name] = place
    return found


def write_mask(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    write_aside(place, data)


def save_overlay(place: Path, image: PIL.Image.Image) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    image.save(place, "PNG")
