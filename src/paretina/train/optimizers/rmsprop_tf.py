"""RMSPropTF: RMSProp as TensorFlow defines it, the optimizer of EfficientNet.

torch.optim.RMSprop differs. Here the mean square starts at 1, so the first steps are small; eps is inside the root; and the
learning rate is inside the momentum buffer, so lowering it does not affect earlier steps. EfficientNet's published recipe
(decay and momentum 0.9, eps 1e-3, lr 0.016 for batch 256) uses this form. Stores two values per parameter.

Weight decay is the gradient of decay / 2 · |w|² in the loss, added before squares are taken. EfficientNet decays everything
except norms, so its `decay` is ("kernel", "bias").

Source: Tan & Le 2019 (arXiv:1905.11946), section 5.2; form: TensorFlow's RMSPropOptimizer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from paretina.schedules import Constant, Exponential, Warmup
from paretina.torch_internals import (
    SkipsOverflow,
    foreach_add,
    foreach_addcdiv_,
    foreach_addcmul_,
    foreach_mul_,
    foreach_sqrt_,
    foreach_sub_,
)
from paretina.train.optimizer import Optimizer, skipped_at
from paretina.traits import SETTING, traits


@dataclass(frozen=True, kw_only=True)
class RMSPropTF(Optimizer):
    """
    Attributes:
        memory: decay rate of the mean square, in [0, 1); TensorFlow calls it decay.
        momentum: momentum, in [0, 1).
        eps: added to the mean square, inside the root.
    """

    memory: float = field(default=0.9, metadata=traits(left_out=SETTING))
    momentum: float = field(default=0.9, metadata=traits(left_out=SETTING))
    eps: float = field(default=1e-3, metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.memory < 1 and 0 <= self.momentum < 1 and self.eps > 0):
            given = f"memory={self.memory}, momentum={self.momentum}, eps={self.eps}"
            raise ValueError(f"RMSPropTF needs 0 <= memory < 1, 0 <= momentum < 1 and eps > 0, got {given}")

    def rule(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return TensorFlowRMSProp(groups, memory=self.memory, momentum=self.momentum, eps=self.eps)


class TensorFlowRMSProp(SkipsOverflow, torch.optim.Optimizer):
    """s <- d s + (1 - d) g²; m <- μ m + lr g / sqrt(s + eps); w <- w - m; with s = 1 and m = 0 at first."""

    def __init__(self, groups: list[dict[str, Any]], *, memory: float, momentum: float, eps: float) -> None:
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0, "memory": memory, "momentum": momentum, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Performs one update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            if group["weight_decay"]:
                gradients = list(foreach_add(gradients, weights, alpha=group["weight_decay"]))
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight] = {"square": torch.ones_like(weight), "step": torch.zeros_like(weight)}
            squares = [self.state[weight]["square"] for weight in weights]
            steps = [self.state[weight]["step"] for weight in weights]
            with skipped_at(self.found_inf, [*weights, *squares, *steps]):
                foreach_mul_(squares, group["memory"])
                foreach_addcmul_(squares, gradients, gradients, value=1 - group["memory"])
                roots = foreach_add(squares, group["eps"])
                foreach_sqrt_(roots)
                foreach_mul_(steps, group["momentum"])
                foreach_addcdiv_(steps, gradients, roots, value=group["lr"])
                foreach_sub_(weights, steps)
        return loss


EXAMPLES = (
    RMSPropTF(
        lr=Warmup(epochs=5.0, then=Exponential(start=0.016), rebase=False),
        weight_decay=Constant(value=1e-5),
        decay=("kernel", "bias"),
    ),
)
