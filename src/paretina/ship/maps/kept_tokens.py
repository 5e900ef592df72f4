"""Kept tokens: where a network with `DroppedTokens` or `TwoPaths` computes most, by how many of its predictors keep a place.

It knows no class, and says what was computed, not what speaks for the answer: a place that is kept may not matter.
"""

import torch
from torch import Tensor

from paretina.ship.saliency import Saliency, Target


class KeptTokens(Saliency):
    NAME = "kept-tokens"
    SOURCE = "Rao et al. 2021 (arXiv:2106.02034), section 3.1"
    READS_MAP = False

    def __call__(self, target: Target, classes: Tensor) -> Tensor:
        with torch.no_grad():
            said = target.network.borders(target.images)[1]
        if "kept_places" not in said:
            raise ValueError(
                f"this network drops no tokens, so {self.NAME} has nothing to show; it is for DroppedTokens and TwoPaths"
            )
        found, side = said["kept_places"], target.images.shape[-1]
        return torch.nn.functional.interpolate(found[:, None], (side, side), mode="nearest")[:, 0]


METHOD = KeptTokens()
