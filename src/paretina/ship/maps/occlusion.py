"""Occlusion: how far the probability of the class falls where a grey square covers each place. It needs answers only.

64 passes a picture, so it is the slowest, and works for any classifier, shipped files too.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from paretina.ship.saliency import Saliency, Target

PLACES = 8
"""Squares along each side of the picture."""


class Occlusion(Saliency):
    NAME = "occlusion"
    SOURCE = "Zeiler & Fergus 2014 (arXiv:1311.2901), section 4.2"
    READS_MAP = False

    def __call__(self, target: Target, classes: Tensor) -> Tensor:
        return occluded(lambda images: target.network(images).softmax(1), target.images, classes)


def occluded(shares: Callable[[Tensor], Tensor], images: Tensor, classes: Tensor) -> Tensor:
    """The fall of the probability of each picture's class, (batch, 8, 8), at least 0.

    Args:
        shares: probabilities of pictures, uint8 of any size.
    """
    rows, columns = images.shape[-2:]
    found = torch.zeros(len(images), PLACES, PLACES)
    fill = images.float().mean((2, 3), keepdim=True).round().to(images.dtype)
    tops, lefts = (torch.linspace(0, length, PLACES + 1).round().int().tolist() for length in (rows, columns))
    with torch.inference_mode():
        wanted = shares(images).gather(1, classes[:, None])[:, 0]
        for i in range(PLACES):
            for j in range(PLACES):
                covered = images.clone()
                place = (..., slice(tops[i], tops[i + 1]), slice(lefts[j], lefts[j + 1]))
                covered[place] = fill.expand_as(covered[place])
                found[:, i, j] = wanted - shares(covered).gather(1, classes[:, None])[:, 0]
    return found.clamp(min=0)


METHOD = Occlusion()
