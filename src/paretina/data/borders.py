"""Weights of pixels by how near they are to two objects, so that a loss looks at the seams between objects.

Source: Ronneberger et al. 2015 (arXiv:1505.04597), equation 2: w0 exp(-(d1 + d2)^2 / (2 sigma^2)), with the distances d1 and d2
to the borders of the nearest and of the second nearest object.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from paretina.model.task import UNKNOWN

REACH = 5
"""Multiples of sigma beyond which a distance counts as infinite; the weight is below w0 / 250,000 there."""


@dataclass(frozen=True)
class BetweenObjects:
    """Gives each pixel of masks that number the objects 1 more than equation 2; without the weights of classes.

    Attributes:
        w0: the largest weight, above 0.
        sigma: in pixels of the masks, above 0.
    """

    w0: float
    sigma: float

    def __call__(self, masks: Sequence[Tensor]) -> Float[Tensor, "batch row column"]:
        """
        Args:
            masks: of each picture the number of the object at each pixel, [row, column], uint8; 0 for none, 255 for unknown.
        """
        return 1 + torch.from_numpy(np.stack([self.w0 * nearness(mask.numpy(), self.sigma) for mask in masks])).float()


def nearness(mask: np.ndarray, sigma: float) -> np.ndarray:
    """exp(-(d1 + d2)^2 / (2 sigma^2)) at each pixel, [row, column]; 0 where there are not two objects.

    Distances are between centres of pixels, from outside of an object to its nearest pixel, from inside to the nearest pixel
    that is not its own.

    Args:
        mask: the number of the object at each pixel; 0 for none, 255 for unknown.
    """
    first, second = (np.full(mask.shape, np.inf) for _ in range(2))
    around = int(np.ceil(REACH * sigma)) + 1
    for number, box in enumerate(ndimage.find_objects(np.where(mask == UNKNOWN, 0, mask).astype(np.int32)), 1):
        if box is None:
            continue
        # of an object that is far away nothing is left of the weight, so that small windows do
        window = tuple(slice(max(0, each.start - around), each.stop + around) for each in box)
        own = mask[window] == number
        outside = ndimage.distance_transform_edt(~own)
        distance = np.where(own, ndimage.distance_transform_edt(own), outside) if not own.all() else np.full(own.shape, np.inf)
        second[window] = np.minimum(second[window], np.maximum(first[window], distance))
        first[window] = np.minimum(first[window], distance)
    return np.exp(-((first + second) ** 2) / (2 * sigma**2))
