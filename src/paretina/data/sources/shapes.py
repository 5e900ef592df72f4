"""Shapes: synthetic figures of any number and size, generated from a seed.

Ten classes that need a look at their outline: disc, gear, ring, ring with a gap, five- and six-pointed star, pentagon, hexagon,
and a spiral turning left or right. Colour, texture, turn, squash, clutter, something in front, light and noise are random
and say nothing about the class, so raw pixels do not help. Small differences (the teeth of a gear, a gap) vanish in small
images: that makes it a data set for experiments where image size matters, and for tests. A mirrored spiral turns the other
way, so mirroring is not allowed.

It is synthetic. A score shows how two methods compare on it, and is never evidence of quality on real pictures.

A picture depends only on (seed, split, class, number), not on the order, the process or the size of the data set. It takes
about 5 ms at 128 pixels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import PIL.Image
import PIL.ImageDraw
import torch

from paretina.data.source import Collection, Sample, Source
from paretina.shapes import Image

FINE = 3
"""Outlines are drawn this many times larger, then averaged, so that edges are smooth."""

Outline = list[tuple[np.ndarray, int]]
"""Polygons, [corner, 2] in units of the figure's radius, with 1 to fill and 0 to cut out; drawn in this order."""


@dataclass(frozen=True, kw_only=True)
class Shapes(Source):
    """
    Attributes:
        per_class: training pictures of each class.
        val_per_class: validation pictures of each class; they stay the same whatever `per_class` is.
        size: side of the pictures in pixels; at least 8.
        difficulty: from 0 (large, clear, alone) to 1 (small, faint, crowded, partly hidden).
        seed: of the generator.
    """

    WORD = "shapes"
    MIRRORS = False

    per_class: int = 450
    val_per_class: int = 150
    size: int = 128
    difficulty: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_class < 1 or self.val_per_class < 1:
            raise ValueError(f"Shapes needs at least one picture per class, got {self.per_class} and {self.val_per_class}")
        if self.size < 8:
            raise ValueError(f"Shapes.size must be at least 8 pixels, got {self.size}")
        if not 0 <= self.difficulty <= 1:
            raise ValueError(f"Shapes.difficulty must be in [0, 1], got {self.difficulty}")
        if self.seed < 0:
            raise ValueError(f"Shapes.seed must not be negative, got {self.seed}")

    def open(self) -> "ShapesCollection":
        classes = tuple(sorted(FIGURES))
        splits = {
            split: tuple(Sample(f"{split}/{name}/{n:05d}", label) for label, name in enumerate(classes) for n in range(count))
            for split, count in (("train", self.per_class), ("val", self.val_per_class))
        }
        notes = ("drawn by a program: a score on these pictures is not evidence of quality on real ones",)
        return ShapesCollection(classes, splits, notes, mirrors=self.MIRRORS, drawn=self)


@dataclass(frozen=True)
class ShapesCollection(Collection):
    """
    Attributes:
        drawn: the settings.
    """

    COSTLY: ClassVar[bool] = True
    COPIES: ClassVar[bool] = False

    drawn: Shapes = Shapes()

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """Draws one picture; `at_least` has no effect, since nothing is decoded."""
        split, name, number = sample.name.split("/")
        # The index of a class in FIGURES and not its label: a class added later must not change the pictures.
        key = [self.drawn.seed, ("train", "val").index(split), list(FIGURES).index(name), int(number)]
        pixels = draw(FIGURES[name], self.drawn.size, self.drawn.difficulty, np.random.default_rng(key))
        return torch.from_numpy(pixels).permute(2, 0, 1)  # h w c -> c h w


# --- outlines ---------------------------------------------------------------------------------------------------------


def around(radius: float | np.ndarray, count: int, start: float = 0.0, end: float = 2 * math.pi) -> np.ndarray:
    """Points at a radius, or at one radius each, for `count` angles from `start` up to and without `end`."""
    angle = start + (end - start) * np.arange(count) / count
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)


def disc(rng: np.random.Generator) -> Outline:
    return [(around(1.0, 72), 1)]


def gear(rng: np.random.Generator) -> Outline:
    teeth = int(rng.integers(9, 14))
    profile = np.tile([1.0, 1.0, 0.84, 0.84], teeth)
    return [(around(profile, 4 * teeth), 1)]


def ring(rng: np.random.Generator) -> Outline:
    return [(around(1.0, 72), 1), (around(rng.uniform(0.5, 0.72), 72), 0)]


def ring_gap(rng: np.random.Generator) -> Outline:
    half = rng.uniform(0.16, 0.3)  # radians
    gap = np.array([[0.0, 0.0], [1.2 * math.cos(half), 1.2 * math.sin(half)], [1.2 * math.cos(half), -1.2 * math.sin(half)]])
    return [*ring(rng), (gap, 0)]


def star(points: int) -> Callable[[np.random.Generator], Outline]:
    def outline(rng: np.random.Generator) -> Outline:
        return [(around(np.tile([1.0, rng.uniform(0.42, 0.58)], points), 2 * points), 1)]

    return outline


def polygon(corners: int) -> Callable[[np.random.Generator], Outline]:
    def outline(rng: np.random.Generator) -> Outline:
        return [(around(1.0, corners), 1)]

    return outline


def spiral(side: int) -> Callable[[np.random.Generator], Outline]:
    """A band; walking along it outwards one turns right, clockwise, if `side` is 1 (rows count downwards), left if it is -1."""

    def outline(rng: np.random.Generator) -> Outline:
        turns, width = rng.uniform(1.6, 2.2), rng.uniform(0.16, 0.22)
        along = np.linspace(0.0, 1.0, 90)
        angle = side * 2 * math.pi * turns * along
        radius = 0.08 + (0.92 - width / 2) * along
        direction = np.stack((np.cos(angle), np.sin(angle)), axis=1)
        outer, inner = direction * (radius + width / 2)[:, None], direction * np.maximum(radius - width / 2, 0.0)[:, None]
        return [(np.concatenate((outer, inner[::-1])), 1)]

    return outline


FIGURES: dict[str, Callable[[np.random.Generator], Outline]] = {
    "disc": disc,
    "gear": gear,
    "ring": ring,
    "ring_gap": ring_gap,
    "star5": star(5),
    "star6": star(6),
    "pentagon": polygon(5),
    "hexagon": polygon(6),
    "spiral_left": spiral(-1),
    "spiral_right": spiral(1),
}


# --- pictures ---------------------------------------------------------------------------------------------------------


def draw(
    figure: Callable[[np.random.Generator], Outline], size: int, difficulty: float, rng: np.random.Generator
) -> np.ndarray:
    """One picture, [size, size, 3] of uint8; lengths below are shares of `size`."""
    radius = rng.uniform(mix(0.34, 0.14, difficulty), mix(0.44, 0.3, difficulty))
    ground, paint = colours(rng, contrast=mix(0.6, 0.18, difficulty))
    canvas = surface(rng, size, ground, strength=mix(0.1, 0.35, difficulty))
    pieces = rng.integers(round(mix(0.0, 8.0, difficulty)), round(mix(3.0, 20.0, difficulty)) + 1)
    scatter(canvas, [shard(rng, reach=mix(0.04, 0.12, difficulty)) for _ in range(pieces)], rng)
    mask = stencil(place(figure(rng), rng, radius, difficulty), size)
    canvas += mask[:, :, None] * (surface(rng, size, paint, strength=mix(0.1, 0.35, difficulty)) - canvas)
    if rng.random() < difficulty:
        scatter(canvas, [shard(rng, reach=radius * 0.5, near=0.3)], rng)
    canvas *= light(rng, size, strength=mix(0.15, 0.5, difficulty))[:, :, None]
    canvas += rng.normal(0.0, mix(0.01, 0.1, difficulty) * rng.random(), canvas.shape).astype(np.float32)
    return np.rint(np.clip(canvas, 0.0, 1.0) * 255).astype(np.uint8)


def mix(easy: float, hard: float, difficulty: float) -> float:
    return easy + (hard - easy) * difficulty


def random_colour(rng: np.random.Generator) -> np.ndarray:
    return rng.random(3, dtype=np.float32)


def colours(rng: np.random.Generator, contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """Two colours at least `contrast` apart (largest difference of a channel), either of them the lighter one."""
    while True:
        ground, paint = random_colour(rng), random_colour(rng)
        if np.abs(ground - paint).max() >= contrast:
            return ground, paint


def place(outline: Outline, rng: np.random.Generator, radius: float, difficulty: float) -> Outline:
    """Turns, squashes and shifts an outline into the picture; never mirrors it."""
    turn, axis = rng.uniform(0, 2 * math.pi, 2)
    squash = rng.uniform(mix(0.85, 0.6, difficulty), 1.0)
    matrix = rotation(axis) @ np.diag([1.0, squash]) @ rotation(turn) * radius
    middle = 0.5 + rng.uniform(-1, 1, 2) * max(0.0, 0.5 - 0.95 * radius)
    return [(points @ matrix.T + middle, fill) for points, fill in outline]


def rotation(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def shard(rng: np.random.Generator, reach: float, near: float = 0.5) -> np.ndarray:
    """An uneven polygon, [corner, 2], of at most `reach`, around a point within `near` of the middle of the picture."""
    corners = int(rng.integers(3, 7))
    points = around(rng.uniform(0.4, 1.0, corners) * reach, corners, start=rng.uniform(0, 6))
    return points + 0.5 + rng.uniform(-near, near, 2)


def scatter(canvas: np.ndarray, pieces: list[np.ndarray], rng: np.random.Generator) -> None:
    """Paints polygons on the canvas, each in a colour of its own, later ones over earlier ones."""
    if not pieces:
        return
    side = len(canvas) * FINE
    paint, cover = PIL.Image.new("RGB", (side, side)), PIL.Image.new("L", (side, side))
    pens = PIL.ImageDraw.Draw(paint), PIL.ImageDraw.Draw(cover)
    for points in pieces:
        corners = (points * side).ravel().tolist()
        pens[0].polygon(corners, fill=tuple(rng.integers(0, 256, 3).tolist()))
        pens[1].polygon(corners, fill=255)
    canvas *= 1 - np.asarray(cover.reduce(FINE), dtype=np.float32)[:, :, None] / 255
    canvas += np.asarray(paint.reduce(FINE), dtype=np.float32) / 255  # black where nothing is covered, so weighted already


def stencil(outline: Outline, size: int) -> np.ndarray:
    """How much of each pixel an outline covers, [size, size] from 0 to 1."""
    large = PIL.Image.new("L", (size * FINE, size * FINE))
    pen = PIL.ImageDraw.Draw(large)
    for points, fill in outline:
        pen.polygon((points * (size * FINE)).ravel().tolist(), fill=255 * fill)
    return np.asarray(large.reduce(FINE), dtype=np.float32) / 255


def surface(rng: np.random.Generator, size: int, colour: np.ndarray, strength: float) -> np.ndarray:
    """A colour with clouds or stripes on it, [size, size, 3]."""
    if rng.random() < 0.5:
        cells = int(rng.integers(2, 12))
        grid = PIL.Image.fromarray(rng.random((cells, cells), dtype=np.float32))
        pattern = np.asarray(grid.resize((size, size), PIL.Image.Resampling.BICUBIC)) - 0.5
    else:
        waves, angle = rng.uniform(2, 16), rng.uniform(0, math.pi)
        steps = np.linspace(0.0, 2 * math.pi * waves, size, dtype=np.float32)
        pattern = 0.5 * np.sin(math.cos(angle) * steps[None] + math.sin(angle) * steps[:, None] + rng.uniform(0, 6))
    tint = colour + strength * (random_colour(rng) - 0.5)
    return (colour + (0.5 + pattern[:, :, None]) * (tint - colour) + strength * 0.5 * pattern[:, :, None]).astype(np.float32)


def light(rng: np.random.Generator, size: int, strength: float) -> np.ndarray:
    """A factor for each pixel that changes evenly across the picture, [size, size]."""
    angle = rng.uniform(0, 2 * math.pi)
    steps = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    ramp = math.cos(angle) * steps[None] + math.sin(angle) * steps[:, None]
    return (1 - strength * rng.random() * (0.5 + 0.5 * ramp)).astype(np.float32)


EXAMPLES = (Shapes(), Shapes(per_class=3, val_per_class=2, size=32, difficulty=0.0, seed=7))
