"""XGrad-CAM: as Grad-CAM, with gradients weighed by the share of the channel that each place has."""

import torch
from torch import Tensor

from paretina.ship.saliency import Saliency, Target


class XGradCam(Saliency):
    NAME = "xgrad-cam"
    SOURCE = "Fu et al. 2020 (arXiv:2008.02312), equation 8"

    def __call__(self, target: Target, classes: Tensor) -> Tensor:
        found, gradient = target.gradients(classes)
        whole = found.sum((2, 3))
        weights = torch.where(
            whole.abs() > 1e-7, (found * gradient).sum((2, 3)) / torch.where(whole.abs() > 1e-7, whole, 1.0), 0.0
        )
        return torch.einsum("bchw,bc->bhw", found, weights).clamp(min=0)


METHOD = XGradCam()
