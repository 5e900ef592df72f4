"""Update: how what learns is moved under a plan: passes that add up gradients, then the step of the optimizer.

The loop, rehearsals and measurements make their updates with it, so that what is timed is what is done.
"""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from paretina.measure.plan import Plan


class Update:
    """
    Attributes:
        scaler: scales losses where gradients are float16; does nothing otherwise.
    """

    def __init__(self, plan: Plan, optimizer: torch.optim.Optimizer) -> None:
        self.plan = plan
        self.optimizer = optimizer
        self.scaler = torch.amp.GradScaler(plan.device_type, enabled=plan.precision == "float16")

    def learn(self, losses: Callable[[], Mapping[str, Tensor]], share: float = 1.0) -> Mapping[str, Tensor]:
        """Makes one pass and adds its gradients to those of the passes before; returns the parts of the loss by name.

        Args:
            losses: makes them; called under the arithmetic of the plan.
            share: factor on the loss.
        """
        with self.plan.arithmetic():
            parts = losses()
        self.scaler.scale(cast(Tensor, sum(parts.values())) * share).backward()  # type: ignore[no-untyped-call]
        return parts

    def step(self, clip: Callable[[], Tensor] | None = None) -> tuple[bool, Tensor | None]:
        """Moves the weights by the gradients, which are then gone.

        Args:
            clip: shortens gradients, and returns how long they were.

        Returns:
            Whether the weights were moved, which they are not where float16 overflowed, and what `clip` returned.
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
