"""Instances: which pixels are inside an object, and which on its border, so that objects which touch come apart.

The label numbers the objects of a picture, and each pixel then has one of three classes: background, inside, border. The border
is a band around each object, on the background, and the pixels of an object that have another one near them. Objects are what
hangs together inside. Borders are drawn after the transforms, so that they are equally wide at every image size.

Source: Guo et al. 2022 (arXiv:2207.14347); three classes for nuclei: Caicedo et al. 2019 (doi:10.1002/cyto.a.23863).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from paretina.model.task import UNKNOWN, from_numbers, require_shape
from paretina.model.tasks.places import Places
from paretina.shapes import Targets

CLASSES = ("background", "inside", "border")
"""The classes of a pixel, in the order of their numbers."""
BACKGROUND, INSIDE, BORDER = range(3)


@dataclass(frozen=True, kw_only=True)
class Instances(Places):
    """The label is a mask of object numbers, as uint8: 0 for the background, 255 where unknown.

    Attributes:
        border: width of the border in pixels of the network's input, at least 1.
    """

    JUDGE: ClassVar[str] = "InstancePrecision"
    WORDS: ClassVar[str] = "objects, each with its pixels"

    border: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.border <= 32:
            raise ValueError(f"Instances.border is a width in pixels, from 1 to 32, got {self.border}")

    def targets(self, given: Sequence[Tensor], classes: int) -> Targets:
        require_shape(self, given, 2)
        if classes < len(CLASSES):
            raise ValueError(f"the pixels of objects have the classes {', '.join(CLASSES)}, got {classes}")
        if not given:
            return torch.empty(0, classes, 0, 0)
        numbers = torch.stack(list(given))
        if numbers.dtype != torch.uint8:
            raise ValueError(f"a mask numbers the objects as uint8, 255 for unknown pixels, got {numbers.dtype}")
        return from_numbers(parts_of_objects(numbers, self.border), classes)


def parts_of_objects(numbers: Tensor, border: int) -> Tensor:
    """The class of each pixel, int64, -1 where it is not known.

    Args:
        numbers: (batch, row, column), uint8.
        border: width of the border in pixels.
    """
    unknown = numbers == UNKNOWN
    own = numbers.masked_fill(unknown, 0).float()[:, None]
    there = own > 0
    highest = windowed(own, border)
    lowest = -windowed(torch.where(there, -own, -float(UNKNOWN)), border)
    between = there & ((highest != own) | (lowest != own))
    near = there.float()
    for _ in range(border):  # in steps along rows and columns, as a dilation with a cross
        near = torch.maximum(F.max_pool2d(near, (3, 1), 1, (1, 0)), F.max_pool2d(near, (1, 3), 1, (0, 1)))
    found = torch.where(there, INSIDE, BACKGROUND)
    found[between | ((near > 0) & ~there)] = BORDER
    return found[:, 0].masked_fill(unknown, -1)


def windowed(values: Tensor, reach: int) -> Tensor:
    """The maximum of the values at most `reach` rows and columns away."""
    return F.max_pool2d(values, 2 * reach + 1, 1, reach)


EXAMPLES = (Instances(), Instances(border=1))
