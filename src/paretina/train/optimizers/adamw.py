"""AdamW: Adam with decoupled weight decay.

Tolerant of the learning rate, and the usual choice for transformers and fine-tuning; stores two values per parameter. Weight
decay shrinks the weights by lr × decay directly and is not part of the gradient.

Linear scaling of the learning rate does not hold for adaptive optimizers, so here it is off by default.

Source: Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2.
"""

from dataclasses import dataclass, field
from typing import Any

import torch

from paretina.schedules import Constant, Cosine, Schedule, Warmup
from paretina.train.optimizer import Optimizer, can_fuse
from paretina.traits import SETTING, traits


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """
    Attributes:
        betas: decay rates of the running means of gradients and of squared gradients; each in [0, 1).
        eps: added to the root of the mean square, for numerical stability.
    """

    weight_decay: Schedule = field(default=Constant(value=0.05))
    scale_lr: bool = False
    betas: tuple[float, float] = field(default=(0.9, 0.999), metadata=traits(left_out=SETTING))
    eps: float = field(default=1e-8, metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 <= beta < 1 for beta in self.betas) or self.eps <= 0:
            raise ValueError(f"AdamW needs betas in [0, 1) and eps > 0, got betas={self.betas}, eps={self.eps}")

    def rule(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, betas=self.betas, eps=self.eps, fused=can_fuse(groups) or None)


EXAMPLES = (AdamW(lr=Warmup(epochs=5.0, then=Cosine(start=1e-3))), AdamW(lr=Constant(value=3e-4), betas=(0.9, 0.95)))
