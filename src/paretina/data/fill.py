"""Chooses the fill colour of gaps, where a picture was shifted, padded or erased."""

from typing import Literal

import torch
from torchvision import tv_tensors

from paretina.model.task import UNKNOWN
from paretina.shapes import Image

Fill = Literal["grey", "white", "black", "border"]
"""A fixed colour, or the median colour of the picture's own edge: the paper of a drawing, the sky of a photograph."""

LEVELS = {"grey": 128, "white": 255, "black": 0}


def colour(fill: Fill, image: Image) -> list[int]:
    """The red, green and blue to fill gaps of this picture with, 0 to 255; in a mask, gaps are unknown pixels."""
    if isinstance(image, tv_tensors.Mask):
        return [UNKNOWN] * 3
    if fill == "border":
        edge = torch.cat((image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]), dim=1)
        return [int(level) for level in edge.median(dim=1).values]
    return [LEVELS[fill]] * 3


def plain(levels: list[int], height: int, width: int) -> Image:
    """A picture of a single colour."""
    return torch.tensor(levels, dtype=torch.uint8).view(3, 1, 1).repeat(1, height, width)
