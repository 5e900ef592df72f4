"""SGD with momentum.

The optimizer of ResNet and of most recipes for convolutional networks. Needs a well-chosen learning rate, which scales with the
batch; stores one value per parameter. Weight decay is added to the gradient, so its effect scales with the learning rate.

Source: momentum: Sutskever et al. 2013; as used in He et al. 2019 (arXiv:1812.01187), section 2.
"""

from dataclasses import dataclass, field
from typing import Any

import torch

from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.optimizer import Optimizer, can_fuse
from paretina.traits import SETTING, traits


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """
    Attributes:
        momentum: momentum, in [0, 1); the learning rate is applied outside the momentum buffer.
        nesterov: whether to use Nesterov momentum.
    """

    momentum: float = field(default=0.9, metadata=traits(left_out=SETTING, elsewhere={"momentum": "0.9"}))
    nesterov: bool = field(default=True, metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"SGD needs 0 <= momentum < 1, got momentum={self.momentum}")
        if self.nesterov and not self.momentum:
            raise ValueError("Nesterov needs momentum; set nesterov=False or momentum > 0")

    def rule(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        fused = can_fuse(groups) or None
        return torch.optim.SGD(groups, momentum=self.momentum, nesterov=self.nesterov, fused=fused)


EXAMPLES = (
    SGD(lr=Warmup(epochs=5.0, then=Cosine(start=0.1)), weight_decay=Constant(value=1e-4)),
    SGD(lr=Constant(value=0.05), momentum=0.0, nesterov=False),
)
