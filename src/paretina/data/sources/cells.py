"""Cells: synthetic microscopy of several looks, with the objects in each picture or their boxes, generated from a seed.

Five looks, each a set of its own: `bright` (fluorescent nuclei on black), `dark` (absorbing cells on a light ground), `phase`
(grey cells with a bright halo, as in phase contrast), `ring` (bright membranes, dark inside) and `grain` (cells that differ
from the ground by their texture alone). Cells are ellipses with a wavy outline; some touch. Light, noise, number and size are
random.

Made for experiments with several sets at once, for an unseen look, and for tests. It is synthetic: a score shows how two
methods compare on it, and is never evidence of quality on real pictures.

A picture depends only on (seed, look, split, number), not on the order, the process or the size of the data set. It takes about
10 ms at 96 pixels.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from paretina.data.boxes import boxes_around
from paretina.data.masks import numbered
from paretina.data.source import Collection, Sample, Source
from paretina.model.task import Task
from paretina.model.tasks.boxes import Boxes
from paretina.model.tasks.instances import CLASSES, Instances
from paretina.shapes import Image

Look = Literal["bright", "dark", "phase", "ring", "grain"]
LOOKS: tuple[Look, ...] = ("bright", "dark", "phase", "ring", "grain")


@dataclass(frozen=True, kw_only=True)
class Cells(Source):
    """
    Attributes:
        looks: which looks there are, in equal parts.
        train: training pictures of each look.
        val: validation pictures of each look; they stay the same whatever `train` is.
        size: side of the pictures in pixels, at least 24.
        border: width of the border between objects in pixels of the network's input.
        seed: of the generator.
        labels: what is said of the objects: "masks", the pixels of each, or "boxes".
    """

    WORD = "cells"

    looks: tuple[Look, ...] = LOOKS
    train: int = 60
    val: int = 20
    size: int = 96
    border: int = 2
    seed: int = 0
    labels: Literal["masks", "boxes"] = "masks"

    def __post_init__(self) -> None:
        if not self.looks or len(set(self.looks)) < len(self.looks):
            raise ValueError(f"Cells.looks are one or more different looks, got {list(self.looks)}")
        if self.train < 1 or self.val < 1:
            raise ValueError(f"Cells needs at least one picture of each look, got train={self.train} and val={self.val}")
        if self.size < 24:
            raise ValueError(f"Cells.size must be at least 24 pixels, got {self.size}")
        if self.seed < 0:
            raise ValueError(f"Cells.seed must not be negative, got {self.seed}")
        Instances(border=self.border)

    def dense(self) -> bool:
        return self.labels == "masks"

    def boxed(self) -> bool:
        return self.labels == "boxes"

    def asked_for(self, task: str) -> Source | None:
        labels: dict[str, Literal["masks", "boxes"]] = {"segment": "masks", "detect": "boxes"}
        return replace(self, labels=labels[task]) if task in labels else None

    def read_as(self, task: Task, classes: tuple[str, ...]) -> Source:
        return replace(self, labels="boxes") if isinstance(task, Boxes) else self

    def open(self) -> "CellCollection":
        splits = {
            split: tuple(Sample(f"{split}/{look}/{n:05d}", 0) for look in self.looks for n in range(count))
            for split, count in (("train", self.train), ("val", self.val))
        }
        notes = ("drawn by a program: a score on these pictures is not evidence of quality on real ones",)
        if self.labels == "boxes":
            return CellCollection(("cell",), splits, notes, task=Boxes(), made=self)
        return CellCollection(CLASSES, splits, notes, task=Instances(border=self.border), made=self)


@dataclass(frozen=True)
class CellCollection(Collection):
    """
    Attributes:
        made: the settings.
    """

    COSTLY: ClassVar[bool] = True
    COPIES: ClassVar[bool] = False

    made: Cells = field(default_factory=Cells)

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """Draws one picture; `at_least` has no effect, since nothing is decoded."""
        pixels, _ = self.drawn(sample)
        return torch.from_numpy(np.repeat(pixels[None], 3, 0))

    def target(self, sample: Sample) -> Tensor:
        objects = self.drawn(sample)[1]
        return boxes_around(objects) if self.made.labels == "boxes" else torch.from_numpy(numbered(objects))

    def group(self, sample: Sample) -> int:
        """The number of the look."""
        return self.made.looks.index(sample.name.split("/")[1])  # type: ignore[arg-type]

    def drawn(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """The picture, uint8, and the numbers of the objects, int32; both (row, column)."""
        split, look, number = sample.name.split("/")
        key: Any = (self.made.seed, ("train", "val").index(split), LOOKS.index(look), int(number))  # type: ignore[arg-type]
        return draw_cells(key, look, self.made.size)


@functools.lru_cache(maxsize=64)
def draw_cells(key: tuple[int, ...], look: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture, uint8, and the numbers of its objects, int32; both (row, column) and not to be written to.

    Args:
        key: what the random numbers follow from.
    """
    rng = np.random.default_rng(key)
    objects = place_cells(rng, size)
    pixels = np.clip(LIGHTS[look](rng, objects, size), 0, 1)
    blur = ndimage.gaussian_filter(pixels, rng.uniform(0.3, 0.9))
    noisy = blur + rng.normal(0, rng.uniform(0.01, 0.05), blur.shape)
    return np.rint(255 * np.clip(noisy, 0, 1)).astype(np.uint8), objects


def place_cells(rng: np.random.Generator, size: int) -> np.ndarray:
    """Ellipses with wavy outlines that do not overlap; later ones are cut off by earlier ones that they touch."""
    objects = np.zeros((size, size), np.int32)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    scale = size * rng.uniform(0.06, 0.11)
    wanted = int(rng.integers(5, 16))
    middle = rng.uniform(0.1, 0.9, 2) * size
    for number in range(1, wanted + 1):
        if number > 1:  # next to another cell, or anywhere
            middle = middle + rng.normal(0, 2.2 * scale, 2) if rng.random() < 0.5 else rng.uniform(0.05, 0.95, 2) * size
        turn, stretch, radius = rng.uniform(0, np.pi), rng.uniform(1.0, 1.7), scale * rng.uniform(0.75, 1.3)
        y, x = rows - middle[0], columns - middle[1]
        u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
        angle = np.arctan2(v, u)
        waves = 1 + 0.08 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.05 * np.sin(5 * angle + rng.uniform(0, 6))
        inside = (u / stretch) ** 2 + (v * stretch**0.5) ** 2 < (radius * waves) ** 2
        own = inside & (objects == 0)
        if own.sum() >= 0.6 * inside.sum() and own.sum() >= 12:
            parts, count = ndimage.label(own)
            if count:
                largest = np.bincount(parts.ravel())[1:].argmax() + 1
                objects[parts == largest] = number
    return objects


def clouds(rng: np.random.Generator, size: int, width: float) -> np.ndarray:
    """Noise without details, from about -1 to 1."""
    found = ndimage.gaussian_filter(rng.normal(0, 1, (size, size)), width)
    return found / max(1e-6, 2.5 * float(found.std()))  # type: ignore[no-any-return]


def depth_of(objects: np.ndarray) -> np.ndarray:
    """How far a pixel is from the edge of its object, in pixels; 0 outside."""
    edges = ndimage.maximum_filter(objects, 3) != ndimage.minimum_filter(objects, 3)
    return np.where(objects > 0, ndimage.distance_transform_edt(~edges), 0)


def by_cell(rng: np.random.Generator, objects: np.ndarray, low: float, high: float) -> np.ndarray:
    """A random number for each object; 0 outside."""
    levels = rng.uniform(low, high, int(objects.max()) + 1)
    levels[0] = 0
    return levels[objects]  # type: ignore[no-any-return]


def bright(rng: np.random.Generator, objects: np.ndarray, size: int) -> np.ndarray:
    glow = np.minimum(1, depth_of(objects) / 3)
    return 0.06 + 0.03 * clouds(rng, size, 9.0) + by_cell(rng, objects, 0.25, 0.85) * (0.6 + 0.4 * glow)


def dark(rng: np.random.Generator, objects: np.ndarray, size: int) -> np.ndarray:
    ground = 0.82 + 0.07 * clouds(rng, size, size / 5)
    return ground - by_cell(rng, objects, 0.18, 0.5) * (0.8 + 0.2 * clouds(rng, size, 2.0))


def phase(rng: np.random.Generator, objects: np.ndarray, size: int) -> np.ndarray:
    outside = ndimage.distance_transform_edt(objects == 0)
    halo = 0.3 * np.exp(-((outside / 2.2) ** 2)) * (objects == 0)
    return 0.48 + 0.05 * clouds(rng, size, size / 6) + halo - by_cell(rng, objects, 0.04, 0.2) + 0.04 * clouds(rng, size, 1.2)


def ring(rng: np.random.Generator, objects: np.ndarray, size: int) -> np.ndarray:
    edge = np.exp(-((depth_of(objects) - 1) ** 2) / 1.5) * (objects > 0)
    return 0.1 + 0.04 * clouds(rng, size, 8.0) + edge * by_cell(rng, objects, 0.4, 0.85)


def grain(rng: np.random.Generator, objects: np.ndarray, size: int) -> np.ndarray:
    coarse, fine = clouds(rng, size, 1.6), clouds(rng, size, 0.5)
    return 0.45 + np.where(objects > 0, 0.22 * coarse - 0.06, 0.05 * fine)  # type: ignore[no-any-return]


LIGHTS: dict[str, Any] = {"bright": bright, "dark": dark, "phase": phase, "ring": ring, "grain": grain}

EXAMPLES = (Cells(), Cells(looks=("bright", "phase"), train=3, val=2, size=32, border=1, seed=7), Cells(labels="boxes"))
