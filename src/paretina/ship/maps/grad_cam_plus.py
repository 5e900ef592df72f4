"""Grad-CAM++: as Grad-CAM, with gradients weighed so that several things of the class count alike, whatever their size."""

import torch
from torch import Tensor

from paretina.ship.saliency import Saliency, Target


class GradCamPlus(Saliency):
    NAME = "grad-cam++"
    SOURCE = "Chattopadhay et al. 2018 (arXiv:1710.11063), equations 10 and 19"

    def __call__(self, target: Target, classes: Tensor) -> Tensor:
        found, gradient = target.gradients(classes)
        square, cube = gradient.square(), gradient.pow(3)
        below = 2 * square + found.sum((2, 3), keepdim=True) * cube
        alpha = torch.where(below != 0, square / torch.where(below != 0, below, 1.0), 0.0)
        weights = (alpha * gradient.clamp(min=0)).sum((2, 3))
        return torch.einsum("bchw,bc->bhw", found, weights).clamp(min=0)


METHOD = GradCamPlus()
