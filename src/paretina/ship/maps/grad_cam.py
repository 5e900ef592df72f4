"""Grad-CAM: the map, each channel weighed by the mean gradient of the class logit by it.

Behind it stands any head; before a mean and a linear layer it equals CAM, divided by the number of places.
"""

import torch
from torch import Tensor

from paretina.ship.saliency import Saliency, Target


class GradCam(Saliency):
    NAME = "grad-cam"
    SOURCE = "Selvaraju et al. 2017 (arXiv:1610.02391), equations 1 and 2"

    def __call__(self, target: Target, classes: Tensor) -> Tensor:
        found, gradient = target.gradients(classes)
        return torch.einsum("bchw,bc->bhw", found, gradient.mean((2, 3))).clamp(min=0)


METHOD = GradCam()
