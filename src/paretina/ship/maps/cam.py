"""CAM: the last map, weighed by the classifier's weights for the class.

Exact for networks whose head is the mean over the last map and one linear layer: the map's mean is the logit, but for the bias.
"""

import torch
from torch import Tensor, nn

from paretina.model.heads.pool import Pooled
from paretina.ship.saliency import Saliency, Target


class Cam(Saliency):
    NAME = "cam"
    SOURCE = "Zhou et al. 2016 (arXiv:1512.04150), section 2"

    def __call__(self, target: Target, classes: Tensor) -> Tensor:
        return signed(target, classes).clamp(min=0)


def signed(target: Target, classes: Tensor) -> Tensor:
    """The map with what speaks against the class, which is below 0; its mean is the logit without the bias.

    Raises:
        ValueError: the head is another.
    """
    head = target.network.head
    if not isinstance(head, Pooled) or not isinstance(head.classifier, nn.Linear):
        raise ValueError(
            "cam needs the mean over the last map and one linear layer behind it, and this network ends in "
            f"{type(head).__name__}; use --method grad-cam"
        )
    with torch.no_grad():
        last = target.map if head.unit is None else head.unit.centred(target.map)
        return torch.einsum("bchw,bc->bhw", last, head.classifier.weight[classes])


METHOD = Cam()
