"""Preprocess: pictures for evaluation, as a network wants them, but for the normalisation, which the network does itself."""

import torchvision.transforms.v2.functional as V
from torchvision.transforms import InterpolationMode

from paretina.model.blueprint import Preprocessing
from paretina.shapes import Image


def preprocess(image: Image, preprocessing: Preprocessing, size: int) -> Image:
    """Returns the picture at (3, size, size): cut to the central square or squashed, then resized.

    The square has `preprocessing.crop` times the shorter side of the picture and is cut out before the one resize, as in
    EfficientNet's released evaluation.
    """
    if preprocessing.fit == "crop":
        rows, columns = image.shape[1:]
        side = max(1, int(preprocessing.crop * min(rows, columns)))
        # the odd pixel goes behind, as in the reference of the Lite weights
        image = V.crop(image, (rows - side + 1) // 2, (columns - side + 1) // 2, side, side)
    mode = InterpolationMode.BICUBIC if preprocessing.interpolation == "bicubic" else InterpolationMode.BILINEAR
    resized: Image = V.resize(image, [size, size], interpolation=mode, antialias=True)
    return resized
