"""Draws saliency maps over pictures, at the pictures' own size."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from paretina.data.preprocess import SLACK
from paretina.model.blueprint import Preprocessing

COLOURS = np.array(
    [[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]], dtype=np.float64
)  # from low to high; told apart without red and green, and in grey
STRENGTH = 0.65
"""Share of the colour where the map is highest."""

CELL = 224
"""Side of a picture on a sheet, in pixels."""

LINE = 16


def place_of(rows: int, columns: int, preprocessing: Preprocessing) -> tuple[int, int, int, int]:
    """What of a picture the network sees: top, left, height, width in pixels; see `paretina.data.preprocess`."""
    if preprocessing.fit != "crop":
        return 0, 0, rows, columns
    side = max(1, int(preprocessing.crop * min(rows, columns) + SLACK))
    return (rows - side + 1) // 2, (columns - side + 1) // 2, side, side


def on_picture(found: Tensor, rows: int, columns: int, preprocessing: Preprocessing) -> Tensor:
    """A map of what the network sees, (row, column), at the size of the whole picture; 0 where it sees nothing."""
    top, left, height, width = place_of(rows, columns, preprocessing)
    whole = torch.zeros(rows, columns)
    inner = F.interpolate(found[None, None].float(), (height, width), mode="bilinear", align_corners=False)[0, 0]
    whole[top : top + height, left : left + width] = inner.clamp(min=0)
    return whole


def overlaid(image: Tensor, found: Tensor, preprocessing: Preprocessing) -> Image.Image:
    """The picture with a map over it, at its own size; what the network does not see is darkened.

    Args:
        image: (3, row, column), uint8.
        found: from 0 to 1, of what the network sees.
    """
    rows, columns = image.shape[-2:]
    heat = on_picture(found, rows, columns, preprocessing).numpy()
    places = np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(heat, places, COLOURS[:, channel]) for channel in range(3)], axis=2)
    share = (STRENGTH * heat)[:, :, None]
    pixels = image.permute(1, 2, 0).numpy().astype(np.float64)
    top, left, height, width = place_of(rows, columns, preprocessing)
    seen = np.full((rows, columns, 1), 0.4)
    seen[top : top + height, left : left + width] = 1.0
    return Image.fromarray(np.rint(seen * (share * colours + (1 - share) * pixels)).astype(np.uint8))


def sheet(rows: Sequence[Sequence[Image.Image]], columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Image.Image:
    """Pictures side by side: a row for each picture, a column for each network.

    Args:
        columns: their titles.
        lines: a caption below each picture.
    """
    height = CELL + LINE
    found = Image.new("RGB", (CELL * len(columns), LINE + height * len(rows)), "white")
    draw = ImageDraw.Draw(found)
    for number, title in enumerate(columns):
        draw.text((CELL * number + 4, 2), plain(title), fill="black")
    for down, (pictures, captions) in enumerate(zip(rows, lines, strict=True)):
        for right, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
            small = ImageOps.contain(picture, (CELL, CELL))
            x = CELL * right + (CELL - small.width) // 2
            y = LINE + height * down
            found.paste(small, (x, y + (CELL - small.height) // 2))
            draw.text((CELL * right + 4, y + CELL + 2), plain(caption), fill="black")
    return found


def plain(text: str) -> str:
    """Text that the built-in font has letters for, at most as long as a cell is wide."""
    return text.encode("latin-1", "replace").decode("latin-1")[:36]
