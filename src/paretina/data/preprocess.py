"""Preprocesses pictures for evaluation, except for normalisation, which the network does itself."""

import torchvision.transforms.v2.functional as V

from paretina.data.resize import resized
from paretina.model.blueprint import Preprocessing
from paretina.shapes import Image, Images

SLACK = 2.0**-10
"""Added to the side of a cropped square before it is cut off to whole pixels, so that it does not depend on the arithmetic: 0.7
of 10 pixels are 7, whether the product is computed in 32 bits or in 64."""


def preprocess(image: Image | Images, preprocessing: Preprocessing, size: int) -> Image | Images:
    """Returns the picture, or several of one size, at (3, size, size): cut to the central square or squashed, then resized.

    The square has `preprocessing.crop` times the shorter side of the picture and is cut out before the one resize, as in
    EfficientNet's released evaluation.
    """
    if preprocessing.fit == "crop":
        rows, columns = image.shape[-2:]
        side = max(1, int(preprocessing.crop * min(rows, columns) + SLACK))
        # an odd pixel goes to the end, as in the reference code of the Lite weights
        image = V.crop(image, (rows - side + 1) // 2, (columns - side + 1) // 2, side, side)
    return resized(image, size, size, preprocessing.interpolation)
