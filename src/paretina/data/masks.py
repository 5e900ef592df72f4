"""Reads masks: pictures whose pixels are numbers, of classes or of objects.

A number is taken as it is in the file: of a palette the index and not the colour, of 16 bits all of them. Colours are refused,
since it is not known which class each of them stands for.
"""

import functools
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from paretina.data.decode import CODED, SIDEWAYS, DecodeError, faults_named, opened, orientation
from paretina.model.task import UNKNOWN

FEW = 256
"""Different numbers of a mask that are listed; with more, only the largest is known."""


@dataclass(frozen=True)
class MaskLook:
    """What is known of a mask after it was read once.

    Attributes:
        shape: rows and columns.
        values: the different numbers in it, rising; of more than `FEW`, the first ones and the last.
        count: how many different numbers there are.
        deep: whether its pixels have more than 8 bits.
    """

    shape: tuple[int, int]
    values: tuple[int, ...]
    count: int
    deep: bool


def read_mask(data: bytes, name: str) -> np.ndarray:
    """The numbers of a mask file, [row, column], uint8 or int32.

    Args:
        name: of the mask, for messages.

    Raises:
        DecodeError: it cannot be read, has colours, or holds something else than whole numbers from 0 on.
    """
    with faults_named(data, name):
        image, _ = opened(data)
        with image:
            if image.format in CODED:
                raise ValueError("is a JPEG, which changes the numbers of pixels; save masks as PNG or TIFF")
            found = numbers_in(image)
    return np.ascontiguousarray(found)


def numbers_in(image: PIL.Image.Image) -> np.ndarray:
    if image.mode == "RGBA" or image.mode == "LA":
        image.load()
        if image.getchannel("A").getextrema() == (255, 255):  # nothing is transparent
            image = image.convert(image.mode[:-1])
    values = np.asarray(image)
    if image.mode == "1":
        return values.astype(np.uint8)
    if values.ndim == 3 and values.shape[2] == 3 and bool((values == values[:, :, :1]).all()):
        values = values[:, :, 0]  # grey, saved with three channels
    if values.ndim != 2:
        raise ValueError(
            f"has colours ({image.mode}), and it is not known which class each of them is; save the numbers of the classes, as "
            "grey or with a palette"
        )
    if values.dtype == np.uint8:
        return values
    whole = values.astype(np.int64)
    if not bool((whole == values).all()) or whole.min() < 0 or whole.max() > np.iinfo(np.int32).max:
        raise ValueError(f"has values from {values.min():g} to {values.max():g}; a mask has whole numbers from 0 on")
    return whole.astype(np.int32)


def look_at_mask(path: Path, name: str) -> MaskLook:
    """Reads a mask once; asked again for the same unchanged file, the answer is remembered.

    Raises:
        DecodeError: as `read_mask`, or there is no such file.
    """
    try:
        stamp = os.stat(path)
    except OSError as error:
        raise DecodeError(f"{name}: {error.strerror or error}") from None
    return looked_at(path, name, stamp.st_size, stamp.st_mtime_ns)


@functools.lru_cache(maxsize=200_000)
def looked_at(path: Path, name: str, size: int, changed: int) -> MaskLook:
    mask = read_mask(path.read_bytes(), name)
    values = np.flatnonzero(np.bincount(mask.ravel())) if mask.dtype == np.uint8 else np.unique(mask)
    few = values if len(values) <= FEW else np.append(values[: FEW - 1], values[-1])
    return MaskLook((mask.shape[0], mask.shape[1]), tuple(few.tolist()), len(values), mask.dtype != np.uint8)


@functools.lru_cache(maxsize=200_000)
def size_at(path: Path, name: str, size: int, changed: int) -> tuple[int, int]:
    with path.open("rb") as file:
        data = file.read()
    with faults_named(data, name):
        image, _ = opened(data)
        with image:
            columns, rows = image.size
            if orientation(image) in SIDEWAYS:
                rows, columns = columns, rows
    return rows, columns


def size_of_picture(path: Path, name: str) -> tuple[int, int]:
    """Rows and columns of a picture file as it is shown, of which only the header is read.

    Raises:
        DecodeError: it is no picture that can be read.
    """
    try:
        stamp = os.stat(path)
        return size_at(path, name, stamp.st_size, stamp.st_mtime_ns)
    except OSError as error:
        raise DecodeError(f"{name}: {error.strerror or error}") from None


def numbered(mask: np.ndarray) -> np.ndarray:
    """The objects of a mask numbered from 1 on, as uint8; 0 stays.

    Of more than 254 objects, numbers are given again, in the order in which objects begin from the top, so that objects of one
    number are far apart.
    """
    values, places, inverse = np.unique(mask, return_index=True, return_inverse=True)
    order = np.argsort(places[values > 0], kind="stable")
    table = np.zeros(len(values), np.uint8)
    table[np.flatnonzero(values > 0)[order]] = np.arange(len(order)) % (UNKNOWN - 1) + 1
    return table[inverse].reshape(mask.shape)


def png_of(mask: np.ndarray, palette: bytes | None = None) -> bytes:
    """A mask as a PNG file: uint8 grey, or with a palette of RGB; uint16 grey of 16 bits."""
    if mask.dtype == np.uint16:
        image = PIL.Image.fromarray(mask)
    else:
        image = PIL.Image.fromarray(mask.astype(np.uint8))
        if palette is not None:
            image = image.convert("L")
            image.putpalette(palette)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=False)
    return file.getvalue()
