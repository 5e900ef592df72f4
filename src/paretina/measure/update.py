"""Makes one optimizer update under a plan: accumulates gradients over passes, then steps.

The training loop, rehearsals and measurements all use it, so that timings match training.
"""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from paretina.measure.plan import Plan


class Update:
    """
    Attributes:
        scaler: scales losses for float16; does nothing otherwise.
    """

    def __init__(self, plan: Plan, optimizer: torch.optim.Optimizer) -> None:
        self.plan = plan
        self.optimizer = optimizer
        self.scaler = torch.amp.GradScaler(plan.device_type, enabled=plan.precision == "float16")

    def learn(self, losses: Callable[[], Mapping[str, Tensor]], share: float = 1.0) -> Mapping[str, Tensor]:
        """Makes one forward and backward pass and accumulates its gradients; returns the parts of the loss by name.

        Args:
            losses: computes the parts; called under the arithmetic of the plan.
            share: factor on the loss.
        """
        with self.plan.arithmetic():
            parts = losses()
        self.scaler.scale(cast(Tensor, sum(parts.values())) * share).backward()  # type: ignore[no-untyped-call]
        return parts

    def step(self, clip: Callable[[], Tensor] | None = None) -> tuple[bool, Tensor | None]:
        """Updates the weights and clears the gradients.

        Args:
            clip: clips gradients, and returns their norm before.

        Returns:
            Whether the weights were updated, which they are not if float16 overflowed, and the result of `clip`.
        """
        norm = None
        if clip is not None:
            self.scaler.unscale_(self.optimizer)
            norm = clip()
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return self.scaler.get_scale() >= scale, norm
