"""Boxes beside a picture: how they move with its pixels.

A transform that moves pixels is called on a mask too (`Transform.MOVES`). Here that mask says where in the picture each pixel
comes from, so that after all transforms it is known where the boxes went, whatever the transforms were: crops, resizes, flips,
turns, shears and shifts map straight lines to straight lines, and the map is fitted to what arrived.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchvision import tv_tensors

from paretina.model.task import OF_BOXES, form_of
from paretina.shapes import Image

STEPS = 4094
"""Places that are told apart along a side; the last of 12 bits means that a pixel comes from outside the picture."""
KEPT = 0.25
"""Share of a box that must be left in the picture; an object of which less is seen is left out."""
GRID = 48
"""Pixels along a side that the map is fitted to, at most."""
SLACK = 3.0
"""By how many pixels of the coarser picture, before or after, a pixel may miss its place before the map is refused."""


def are_boxes(target: Tensor) -> bool:
    """Whether a target lists boxes; see `paretina.model.tasks.boxes`."""
    return form_of(target) == OF_BOXES


def origins(rows: int, columns: int) -> Image:
    """A mask as large as a picture whose three channels say, in 12 bits each, in which row and column a pixel is."""
    down, across = (((torch.arange(side) + 0.5) * (STEPS / side)).int() for side in (rows, columns))
    down, across = down[:, None].expand(rows, columns), across[None, :].expand(rows, columns)
    low, middle, high = down & 255, across & 255, (down >> 8) | (across >> 8 << 4)
    return tv_tensors.Mask(torch.stack((low, middle, high)).to(torch.uint8))


def moved(boxes: Tensor, mask: Image, rows: int, columns: int) -> Tensor:
    """The boxes of a picture after its transforms: what is left of each in the picture, without those that are (nearly) gone.

    Args:
        boxes: [object, 6], as shares of the picture before, see `paretina.model.tasks.boxes.Boxes`.
        mask: what the transforms have made of `origins`.
        rows, columns: size of the picture before, in pixels.

    Raises:
        ValueError: the pixels were not moved as boxes can follow, such as by a wave.
    """
    if not len(boxes) or int(boxes[:, 4].min()) < 0:
        return boxes
    height, width = mask.shape[-2:]
    down, across = (torch.arange(0, side, max(1, -(-side // GRID))) for side in (height, width))
    low, middle, high = mask.as_subclass(Tensor)[:, down][:, :, across].long().flatten(1)
    source = torch.stack((middle | (high >> 4 << 8), low | ((high & 15) << 8)), 1).double()
    y, x = (each.flatten() for each in torch.meshgrid((down + 0.5) / height, (across + 0.5) / width, indexing="ij"))
    seen = (source < STEPS).all(1)
    if int(seen.sum()) < 3:
        return boxes[:0]
    ones = torch.ones_like(x)
    here = torch.stack((x, y, ones), 1).double()[seen]
    there = (source[seen] + 0.5) / STEPS
    found = torch.linalg.lstsq(here, there, driver="gelsd").solution  # [x y 1] to shares before
    coarse = max(1 / min(rows, columns, STEPS), float(found[:2].abs().amax()) / min(height, width))
    if float((here @ found - there).abs().max()) > SLACK * coarse:
        raise ValueError(
            "a transform moved pixels in a way that boxes cannot follow: only crops, resizes, flips, turns, shears and shifts "
            "of a whole picture are for boxes; leave it out"
        )
    matrix, shift = found[:2], found[2]
    if abs(float(torch.linalg.det(matrix))) < 1e-12:
        return boxes[:0]
    left, top, right, bottom = boxes[:, :4].double().unbind(1)
    corners = torch.stack((torch.stack((left, right, left, right), 1), torch.stack((top, top, bottom, bottom), 1)), 2)
    after = (corners - shift) @ torch.linalg.inv(matrix)
    whole = torch.cat((after.amin(1), after.amax(1)), 1)
    inside = whole.clamp(0, 1)
    area, rest = ((each[:, 2:] - each[:, :2]).clamp(min=0).prod(1) for each in (whole, inside))
    kept = (rest > 0) & (rest >= KEPT * area)
    return torch.cat((inside.to(boxes.dtype), boxes[:, 4:]), 1)[kept]


def boxes_around(objects: np.ndarray) -> Tensor:
    """The boxes of objects, all of class 0, as a label for `paretina.model.tasks.boxes.Boxes`.

    Args:
        objects: (row, column), their numbers, 0 for none.
    """
    rows, columns = objects.shape
    places = [each for each in ndimage.find_objects(objects) if each is not None]
    found = [(x.start / columns, y.start / rows, x.stop / columns, y.stop / rows, 0.0, 1.0) for y, x in places]
    return torch.tensor(found, dtype=torch.float32).reshape(-1, 6)
