"""AdamW: each parameter's step is measured in its own typical gradient.

Forgiving about the rate and the usual choice for transformers and for fine-tuning; needs two numbers of memory a parameter.
Weight decay shrinks the weights by rate × decay directly and takes no part in the gradient.

The linear scaling of the rate does not hold for adaptive rules, so here it is off unless asked for.

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
        betas: share of the running mean of gradients, and of squared gradients, that is kept at each update; each in [0, 1).
        eps: added to the root of the mean square, so that tiny gradients make tiny steps.
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
