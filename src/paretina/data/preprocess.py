"""Preprocessing for evaluation: what the door of a network asks for, without the normalisation, which the network does."""

import torchvision.transforms.v2.functional as V

from paretina.data.resize import resized
from paretina.model.blueprint import Door
from paretina.shapes import Image


def preprocess(image: Image, door: Door, size: int) -> Image:
    """Returns the picture at (3, size, size): cut to the central square or squashed, then resized.

    The square has `door.crop` times the shorter side of the picture and is cut out before the one resize, as in EfficientNet's
    released evaluation.
    """
    if door.fit == "crop":
        rows, columns = image.shape[1:]
        side = max(1, int(door.crop * min(rows, columns)))
        # the odd pixel goes behind, as in the reference of the Lite weights
        image = V.crop(image, (rows - side + 1) // 2, (columns - side + 1) // 2, side, side)
    return resized(image, size, size, door.interpolation)
