"""Eigen-CAM: the first principal component of the map. It knows no class: a baseline for what is merely conspicuous."""

import torch
from torch import Tensor

from paretina.ship.saliency import Saliency, Target


class EigenCam(Saliency):
    NAME = "eigen-cam"
    SOURCE = "Muhammad & Yeasin 2020 (arXiv:2008.00299), section III"

    def __call__(self, target: Target, classes: Tensor) -> Tensor:
        rows, columns = target.map.shape[2:]
        flat = target.map.flatten(2).transpose(1, 2).double()  # b place c
        flat = flat - flat.mean(1, keepdim=True)
        _, _, right = torch.linalg.svd(flat, full_matrices=False)
        found = torch.einsum("bpc,bc->bp", flat, right[:, 0])
        # the sign of a component means nothing: the side that stands out is taken
        found = torch.where((found.amax(1) < -found.amin(1))[:, None], -found, found)
        return found.clamp(min=0).float().unflatten(1, (rows, columns))


METHOD = EigenCam()
