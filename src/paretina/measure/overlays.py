"""Draws classes of pixels and objects over pictures."""

import base64
import io

import numpy as np
import PIL.Image
from scipy import ndimage

from paretina.model.task import UNKNOWN

COLOURS = np.array(
    [
        *([0, 0, 0], [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0]),
        *([204, 121, 167], [148, 103, 189], [140, 86, 75]),
    ],
    np.uint8,
)
"""Of the classes, over and over from 1 on; those after black can be told apart without red and green (Okabe & Ito 2008, with
two more)."""

STRENGTH = 0.5
"""Share of the colour in a pixel."""


def colour_of(number: np.ndarray) -> np.ndarray:
    """The colour of each class, [..., 3]; class 0 is black."""
    return COLOURS[np.where(number == 0, 0, (number - 1) % (len(COLOURS) - 1) + 1)]


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


def side_by_side(*parts: np.ndarray) -> str:
    """Pictures of one size beside each other, as a data URI of a PNG file."""
    gap = np.full((len(parts[0]), 4, 3), 255, np.uint8)
    row = [piece for part in parts for piece in (part, gap)][:-1]
    file = io.BytesIO()
    PIL.Image.fromarray(np.concatenate(row, 1)).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
