"""Operations on many small pictures at once, each with its own strength, as RandAugment and its kin need them.

One picture at a time, most of the time goes into calling a function and not into pixels: at 64 pixels and below the same
operation on sixteen pictures takes hardly longer than on one. The definitions are torchvision's, which are Pillow's; results
differ from torchvision's by one grey level at most, but at the border of what was sheared or turned: there torchvision weighs
the picture twice against the gap, here it is weighed once.

Whatever stands beside a picture, it comes out the same to the bit. Sums are of whole numbers, and factors are multiplied and
added in steps of their own: a sum that a processor rounds once in the middle of an array and twice at its end would tell where
in the batch a picture stood.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import grid_sample

Pixels = npt.NDArray[np.uint8]
"""Pictures of one size: batch, 3, height, width."""

Reals = npt.NDArray[np.float32]

AT_ONCE = 1 << 15
"""Pixels that go through an operation together: what it needs besides stays in the processor's cache."""


def in_parts(places: Sequence[int], shape: tuple[int, int]) -> list[Sequence[int]]:
    """Places of pictures of some height and width, as many in each part as should go through an operation together."""
    step = max(1, AT_ONCE // math.prod(shape))
    return [places[start : start + step] for start in range(0, len(places), step)]


def each(values: Sequence[float] | Reals) -> Reals:
    """One number a picture, as a factor of all of its pixels."""
    return np.asarray(values, dtype=np.float32).reshape(-1, 1, 1, 1)


def levels(reals: Reals) -> Pixels:
    """Grey levels, cut off at both ends and at the point; overwrites what is given."""
    np.maximum(reals, np.float32(0), out=reals)
    np.minimum(reals, np.float32(255), out=reals)
    return reals.astype(np.uint8)


def between(pixels: Pixels, others: Reals, factors: Reals) -> Pixels:
    """The pictures at 1, the others at 0, and beyond the pictures above 1."""
    reals = pixels * factors
    reals += others * (np.float32(1) - factors)
    return levels(reals)


def greys(pixels: Pixels) -> Reals:
    """The brightness of each pixel in whole levels: batch, 1, height, width."""
    grey = pixels[:, 0] * np.float32(0.2989)
    grey += pixels[:, 1] * np.float32(0.587)
    grey += pixels[:, 2] * np.float32(0.114)
    return np.floor(grey, out=grey)[:, None]


def brighter(pixels: Pixels, factors: Sequence[float]) -> Pixels:
    """Black at factor 0, the picture at 1."""
    return levels(pixels * each(factors))


def more_colourful(pixels: Pixels, factors: Sequence[float]) -> Pixels:
    """Grey at factor 0, the picture at 1."""
    return between(pixels, greys(pixels), each(factors))


def more_contrasting(pixels: Pixels, factors: Sequence[float]) -> Pixels:
    """The mean grey at factor 0, the picture at 1."""
    means = greys(pixels).mean(axis=(1, 2, 3), dtype=np.float64, keepdims=True)
    return between(pixels, means.astype(np.float32), each(factors))


def sharper(pixels: Pixels, factors: Sequence[float]) -> Pixels:
    """Smoothed over 3 x 3 pixels at factor 0, the picture at 1; its outermost pixels stay."""
    if min(pixels.shape[-2:]) < 3:
        return pixels
    whole = pixels.astype(np.int16)
    across = whole[..., :-2] + whole[..., 1:-1]
    across += whole[..., 2:]
    sums = across[..., :-2, :] + across[..., 1:-1, :]
    sums += across[..., 2:, :]
    inner = pixels[..., 1:-1, 1:-1]
    sums += inner * np.int16(4)
    smooth = sums * np.float32(1 / 13)  # a thirteenth is never halfway between two levels
    np.rint(smooth, out=smooth)
    reals = inner.astype(np.float32)
    smooth -= reals
    smooth *= np.float32(1) - each(factors)
    reals += smooth
    found = pixels.copy()
    found[..., 1:-1, 1:-1] = levels(reals)
    return found


def posterized(pixels: Pixels, bits: Sequence[int]) -> Pixels:
    """Of the eight bits of each level, only the first ones; at least 1."""
    return pixels & np.asarray([256 - (1 << 8 - kept) for kept in bits], dtype=np.uint8).reshape(-1, 1, 1, 1)


def solarized(pixels: Pixels, thresholds: Sequence[int]) -> Pixels:
    """What is at or above the threshold is inverted, nothing where that is 256."""
    bright = pixels > np.asarray(thresholds, dtype=np.int16).reshape(-1, 1, 1, 1) - 1
    found: Pixels = pixels ^ bright.view(np.uint8) * np.uint8(255)
    return found


def autocontrasted(pixels: Pixels, weights: Sequence[float]) -> Pixels:
    """Each channel stretched from black to white, blended into the picture with a weight up to 1."""
    low, high = (end.astype(np.float32) for end in (pixels.min((2, 3), keepdims=True), pixels.max((2, 3), keepdims=True)))
    flat = low == high
    low[flat] = 0
    steps = (high - low) * np.float32(1 / 255)
    steps[flat] = 1
    wide = pixels - low
    wide /= steps
    return mixed_in(pixels, levels(wide), weights)


def mixed_in(pixels: Pixels, others: Pixels, weights: Sequence[float]) -> Pixels:
    """Something else blended into the pictures with a weight up to 1, rounded."""
    if min(weights) >= 1:
        return others
    reals = pixels.astype(np.float32)
    change = others - reals
    change *= np.minimum(each(weights), np.float32(1))
    reals += change
    return np.rint(reals, out=reals).astype(np.uint8)


def equalized(pixels: Pixels, weights: Sequence[float]) -> Pixels:
    """Each channel with a flat histogram, as far as its levels allow, blended into the picture with a weight up to 1.

    A table of 256 levels a channel: level k becomes the share of pixels below k, by Pillow's whole-number rule.
    """
    count, _, height, width = pixels.shape
    places = pixels.reshape(3 * count, -1) + np.arange(0, 3 * count * 256, 256)[:, None]
    counts = np.bincount(places.ravel(), minlength=3 * count * 256).reshape(3 * count, 256)
    below = counts.cumsum(1)
    brightest = 255 - (counts[:, ::-1] != 0).argmax(1)
    steps = (height * width - counts[np.arange(3 * count), brightest]) // 255
    table = np.zeros((3 * count, 256), dtype=np.int64)
    table[:, 1:] = (below[:, :-1] + steps[:, None] // 2) // np.maximum(steps, 1)[:, None]
    table = np.where(steps[:, None] > 0, table.clip(0, 255), np.arange(256))
    own = np.broadcast_to(np.arange(256, dtype=np.uint8), (count, 3, 1, 256))
    looked_up = mixed_in(own, table.astype(np.uint8).reshape(count, 3, 1, 256), weights)
    return np.ascontiguousarray(looked_up).ravel().take(places).reshape(pixels.shape)


Map = tuple[float, float, float, float, float, float]
"""From a pixel of the result to one of the picture, both counted from the centre: x' = a x + b y + c, y' = d x + e y + f."""


def shear_x(pixels_a_pixel: float, height: int, width: int) -> Map:
    """To the left below the upper left corner, where positive."""
    return (1.0, pixels_a_pixel, pixels_a_pixel * height / 2, 0.0, 1.0, 0.0)


def shear_y(pixels_a_pixel: float, height: int, width: int) -> Map:
    """Upwards to the right of the upper left corner, where positive."""
    return (1.0, 0.0, 0.0, pixels_a_pixel, 1.0, pixels_a_pixel * width / 2)


def rotate(degrees: float) -> Map:
    """About the centre, to the left where positive."""
    turn = math.radians(-degrees)
    return (math.cos(turn), math.sin(turn), 0.0, -math.sin(turn), math.cos(turn), 0.0)


def mapped(pixels: Pixels, maps: Sequence[Map], gaps: Pixels, interpolation: Literal["nearest", "bilinear"]) -> Pixels:
    """Each picture through its own map; what lies outside of it has the colour of its gap (batch, 3)."""
    height, width = pixels.shape[-2:]
    a, b, c, d, e, f = (each(column)[..., 0] for column in zip(*maps, strict=True))
    x = np.arange((1 - width) / 2, width / 2, dtype=np.float32)
    y = np.arange((1 - height) / 2, height / 2, dtype=np.float32)[:, None]
    grid = np.empty((len(pixels), height, width, 2), dtype=np.float32)
    across, down = np.float32(2 / width), np.float32(2 / height)
    np.add(x * (a * across), y * (b * across) + c * across, out=grid[..., 0])
    np.add(x * (d * down), y * (e * down) + f * down, out=grid[..., 1])
    colour = gaps[:, :, None, None].astype(np.float32)
    # counted from the colour of the gap, outside is zero
    whole = torch.from_numpy(pixels - colour)
    found: Reals = grid_sample(whole, torch.from_numpy(grid), mode=interpolation, align_corners=False).numpy()
    found += colour
    return np.rint(found, out=found).astype(np.uint8)


def shifted(pixels: Pixels, moves: Sequence[tuple[int, int]], gaps: Pixels) -> Pixels:
    """Each picture moved by whole pixels, negative for up and left; the rest has the colour of its gap (batch, 3)."""
    found = np.empty_like(pixels)
    height, width = pixels.shape[-2:]
    for moved, image, (down, right), gap in zip(found, pixels, moves, gaps, strict=True):
        rows, columns = max(0, height - abs(down)), max(0, width - abs(right))
        if rows < height or columns < width:
            moved[:] = gap[:, None, None]
        from_row, from_column, to_row, to_column = max(0, -down), max(0, -right), max(0, down), max(0, right)
        kept = image[:, from_row : from_row + rows, from_column : from_column + columns]
        moved[:, to_row : to_row + rows, to_column : to_column + columns] = kept
    return found


def mirrored(pixels: Pixels, which: Sequence[bool]) -> Pixels:
    """Those that are asked for from right to left, the others as they are."""
    found = pixels.copy()
    chosen = np.flatnonzero(np.asarray(which))
    # NumPy would turn around one byte at a time
    found[chosen] = torch.from_numpy(pixels[chosen]).flip(-1).numpy()
    return found
