"""LARS: SGD with momentum, in which each tensor has a learning rate of its own.

The step of a tensor is proportional to its norm and not to that of its gradient, so that batches of thousands of pictures
train; the optimizer of most methods that learn without labels. In batches of some hundred pictures it gains nothing over SGD.
Stores one value per parameter. Biases and norms (roles that are not in `decay`) are neither decayed nor given a rate of their
own.

Learning rates are large: 0.2 to 0.45 times batch / 256 for BYOL, with `trust` 1e-3.

Source: You et al. 2017 (arXiv:1708.03888), algorithm 1, in the form of BYOL's code: the ratio is that of the weights' norm to
the norm of gradient plus decay (the paper has the sum of two norms below), and the rate is outside the momentum.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from paretina.schedules import Constant, Cosine, Warmup
from paretina.torch_internals import SkipsOverflow, foreach_add, foreach_add_, foreach_mul_
from paretina.train.optimizer import Optimizer, skipped_at
from paretina.traits import SETTING, traits


@dataclass(frozen=True, kw_only=True)
class LARS(Optimizer):
    """
    Attributes:
        momentum: momentum, in [0, 1).
        trust: norm of a step as a share of the norm of its tensor, at a learning rate of 1; above 0.
    """

    momentum: float = field(default=0.9, metadata=traits(left_out=SETTING))
    trust: float = field(default=1e-3, metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1 or self.trust <= 0:
            raise ValueError(f"LARS needs 0 <= momentum < 1 and trust > 0, got momentum={self.momentum}, trust={self.trust}")

    def rule(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return LayerwiseSGD(groups, momentum=self.momentum, trust=self.trust)


class LayerwiseSGD(SkipsOverflow, torch.optim.Optimizer):
    """u = g + wd w; m <- μ m + r u; w <- w - lr m; r is trust |w| / |u|, or 1 in undecayed groups and at norms of 0."""

    def __init__(self, groups: list[dict[str, Any]], *, momentum: float, trust: float) -> None:
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0, "momentum": momentum, "trust": trust})

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
            # a copy in any case, since gradients are not to be changed
            updates = list(foreach_add([weight.grad for weight in weights], weights, alpha=group["weight_decay"]))
            if group["decayed"]:
                for weight, update in zip(weights, updates, strict=True):
                    own, norm = weight.norm(), update.norm()
                    ratio = torch.where((own > 0) & (norm > 0), group["trust"] * own / norm, 1.0)
                    update.mul_(ratio)
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight] = {"step": torch.zeros_like(weight)}
            steps = [self.state[weight]["step"] for weight in weights]
            with skipped_at(self.found_inf, [*weights, *steps]):
                foreach_mul_(steps, group["momentum"])
                foreach_add_(steps, updates)
                foreach_add_(weights, steps, alpha=-group["lr"])
        return loss


EXAMPLES = (LARS(lr=Warmup(epochs=10.0, then=Cosine(start=0.45)), weight_decay=Constant(value=1e-6)),)
