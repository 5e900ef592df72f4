"""Chooses the fill colour of gaps, where a picture was shifted, padded or erased."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torchvision import tv_tensors

from paretina.model.task import UNKNOWN
from paretina.shapes import Image, Images

Fill = Literal["grey", "white", "black", "border"]
"""A fixed colour, or the median colour of the picture's own edge: the paper of a drawing, the sky of a photograph."""

LEVELS = {"grey": 128, "white": 255, "black": 0}


def colours(fill: Fill, images: Images) -> npt.NDArray[np.uint8]:
    """The red, green and blue of the gap in each picture (batch, 3), 0 to 255; in a mask nothing is known of a gap."""
    if fill == "border" and not isinstance(images, tv_tensors.Mask):
        pixels = images.numpy()
        edge = np.concatenate((pixels[:, :, 0], pixels[:, :, -1], pixels[..., 0], pixels[..., -1]), axis=2)
        middle = (edge.shape[2] - 1) // 2
        return np.partition(edge, middle, axis=2)[..., middle]
    return np.full((len(images), 3), UNKNOWN if isinstance(images, tv_tensors.Mask) else LEVELS[fill], dtype=np.uint8)


def colour(fill: Fill, image: Image) -> list[int]:
    """`colours` of one picture."""
    return [int(level) for level in colours(fill, alone(image))[0]]


def alone(image: Image) -> Images:
    """A picture or mask as a batch of one."""
    return tv_tensors.Mask(image[None]) if isinstance(image, tv_tensors.Mask) else image[None]


def plain(levels: list[int], height: int, width: int) -> Image:
    """A picture of a single colour."""
    return torch.tensor(levels, dtype=torch.uint8).view(3, 1, 1).repeat(1, height, width)
