"""Draws classes of pixels and objects over pictures."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
from scipy import ndimage

from paretina.colours import COLOURS
from paretina.model.task import UNKNOWN

STRENGTH = 0.5
"""Share of the colour in a pixel."""


def colour_of(number: np.ndarray) -> np.ndarray:
    """The colour of each class, [..., 3]; class 0 is black."""
    return np.array(COLOURS, np.uint8)[np.where(number == 0, 0, (number - 1) % (len(COLOURS) - 1) + 1)]


def palette() -> bytes:
    """The colours of the classes 0 to 255 as a palette; of pixels that are not known white."""
    found = colour_of(np.arange(UNKNOWN + 1))
    found[UNKNOWN] = 255
    return found.astype(np.uint8).tobytes()


def tinted(pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The picture with the colours of classes over it; class 0 and what is not known stay as they are.

    Args:
        pixels: (row, column, 3), uint8.
        classes: (row, column), 255 where not known.
    """
    over = (classes > 0) & (classes != UNKNOWN)
    found = pixels.astype(np.float32)
    found[over] = (1 - STRENGTH) * found[over] + STRENGTH * colour_of(classes[over])
    return np.rint(found).astype(np.uint8)


def outlined(pixels: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """The picture with the outlines of objects, each in a colour of its own.

    Args:
        pixels: (row, column, 3), uint8.
        objects: (row, column), 0 for none.
    """
    inner = ndimage.minimum_filter(objects, 3, mode="nearest")
    outer = ndimage.maximum_filter(objects, 3, mode="nearest")
    edge = (objects > 0) & ((inner != objects) | (outer != objects))
    found = pixels.copy()
    found[edge] = colour_of(objects[edge])
    return found


def framed(pixels: np.ndarray, corners: Sequence[Sequence[float]], labels: Sequence[int]) -> np.ndarray:
    """The picture with boxes drawn over it, the first one on top.

    Args:
        pixels: (row, column, 3), uint8.
        corners: left, top, right and bottom of each box, in pixels.
        labels: of each box, which colour it has, from 1 on.
    """
    found = PIL.Image.fromarray(np.ascontiguousarray(pixels))
    pen = PIL.ImageDraw.Draw(found)
    wide = max(1, round(min(found.size) / 150))
    colours = colour_of(np.array(labels, np.int64)).tolist()
    for box, colour in zip(reversed(corners), reversed(colours), strict=True):
        pen.rectangle(tuple(box), outline=tuple(colour), width=wide)
    return np.asarray(found)


def side_by_side(*parts: np.ndarray) -> str:
    """Pictures of one size beside each other, as a data URI of a PNG file."""
    gap = np.full((len(parts[0]), 4, 3), 255, np.uint8)
    row = [piece for part in parts for piece in (part, gap)][:-1]
    file = io.BytesIO()
    PIL.Image.fromarray(np.concatenate(row, 1)).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
