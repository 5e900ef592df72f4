"""Reduced copies of a picture, out of which a training crop is cut: at 1/2, 1/4, 1/8 ... of its sides.

Cutting a crop of 300 pixels out of a photo and shrinking it to 64 costs as much as shrinking it to 128: the pixels of the crop
count, not those of the result. So the crop is drawn first, by the size of the picture alone, and then cut out of the smallest
copy that has enough pixels for it. Small images then cost less than large ones, and a JPEG is decoded no further than needed.

A copy that is halved n times has ceil(side / 2^n) pixels a side, and each of its pixels stands for 2^n x 2^n of the picture
(the last ones for what is left): positions are divided by 2^n, exactly. Only factors of two are used: at 7/8, 3/4 and 5/8
libjpeg takes longer than for the whole picture, since it has fast code for powers of two alone.

How far the result is from the same crop of the whole picture, in grey levels, on nine photos at 128 pixels (JPEG, quality 90),
by how many times the side of the result the crop still has in the copy:

| times | mean | worst crop |
|---|---|---|
| 1 | 1.4 | 4.4 |
| 1.25 | 1.2 | 2.6 |
| 1.5 | 0.9 | 1.9 |
| 2 | 0.4 | 0.6 |
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from paretina.data.resize import resized
from paretina.shapes import Image

MARGIN = 1.125
"""How many times the side of the result a random crop must have in the copy that it is cut from; see the table."""

WHOLE_MARGIN = 2.0
"""The same where it is always the same part, which differs from what evaluation sees by nothing else."""


@dataclass(frozen=True)
class Window:
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def shorter(self) -> int:
        return min(self.height, self.width)

    def halved(self, halvings: int, rows: int, columns: int) -> "Window":
        """The same part of a copy, to the nearest pixel of it; at least one pixel.

        Args:
            halvings: how often the copy was halved.
            rows, columns: of the copy.
        """
        if not halvings:
            return self
        top, bottom = ends(self.top, self.height, halvings, rows)
        left, right = ends(self.left, self.width, halvings, columns)
        return Window(top, left, bottom - top, right - left)

    def of(self, image: Image) -> Image:
        return image[:, self.top : self.top + self.height, self.left : self.left + self.width]


def ends(start: int, length: int, halvings: int, most: int) -> tuple[int, int]:
    """Where a stretch of pixels begins and ends in a copy of `most` pixels."""
    half = 1 << halvings >> 1
    first = min((start + half) >> halvings, most - 1)
    return first, max(first + 1, min((start + length + half) >> halvings, most))


def halvings_for(part: int, side: int, margin: float) -> int:
    """How often a picture may be halved so that `part` of its pixels are left to be `margin` times `side`.

    Args:
        part: shorter side of what is cut out, in pixels of the picture.
        side: of the result, in pixels.
    """
    found = 0
    while part >= margin * side * (2 << found):
        found += 1
    return found


def copies_for(height: int, width: int, smallest: int | None) -> int:
    """Number of reduced copies of a picture that can be asked for; 0 if none may be used.

    Args:
        smallest: side in pixels of the smallest image that is made of it; None for no copies.
    """
    return 0 if smallest is None else halvings_for(min(height, width), smallest, MARGIN)


def halved(image: Image) -> Image:
    """The picture at half of its sides, rounded up; an odd last row or column is repeated first."""
    rows, columns = image.shape[1:]
    if rows % 2 or columns % 2:
        row, column = ((torch.arange(side + side % 2)).clamp(max=side - 1) for side in (rows, columns))
        image = image[:, row][:, :, column]
    half = resized(image, -(-rows // 2), -(-columns // 2), "bicubic")
    return half.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # channels last in memory, as the decoder gives them


def within(image: Image, shorter: int) -> Image:
    """The picture with a shorter side of at most `shorter` pixels, in its form."""
    rows, columns = image.shape[1:]
    least = min(rows, columns)
    if least <= shorter:
        return image
    height, width = (max(1, round(side * shorter / least)) for side in (rows, columns))
    small = resized(image, height, width)
    return small.permute(1, 2, 0).contiguous().permute(2, 0, 1)


class Levels(ABC):
    """A picture and its copies.

    Attributes:
        height, width: of the picture itself, level 0, upright.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height = height
        self.width = width

    @abstractmethod
    def level(self, halvings: int) -> Image:
        """The picture, halved so many times; channels last in memory.

        Raises:
            paretina.data.decode.DecodeError: it cannot be read.
        """


class WholeLevels(Levels):
    """A picture in memory; copies are made on request."""

    def __init__(self, image: Image) -> None:
        super().__init__(image.shape[1], image.shape[2])
        self.image = image

    def level(self, halvings: int) -> Image:
        image = self.image
        for _ in range(halvings):
            image = halved(image)
        return image


class StoredLevels(Levels):
    """A picture and its first copies, one after the other in memory.

    Attributes:
        pixels: of many pictures.
        start: where those of this one begin.
    """

    def __init__(self, pixels: torch.Tensor, start: int, height: int, width: int) -> None:
        super().__init__(height, width)
        self.pixels = pixels
        self.start = start

    def level(self, halvings: int) -> Image:
        start, rows, columns = level_place(self.start, self.height, self.width, halvings)
        return self.pixels[start : start + 3 * rows * columns].view(rows, columns, 3).permute(2, 0, 1)


def level_place(start: int, height: int, width: int, halvings: int) -> tuple[int, int, int]:
    """Where a copy begins among stored pixels, and its rows and columns."""
    rows, columns = height, width
    for _ in range(halvings):
        start += 3 * rows * columns
        rows, columns = -(-rows // 2), -(-columns // 2)
    return start, rows, columns


def stored_size(height: int, width: int, copies: int) -> int:
    """Bytes of a picture with so many copies."""
    return level_place(0, height, width, copies + 1)[0]
