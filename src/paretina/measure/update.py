"""Makes one optimizer update under a plan: accumulates gradients over passes, then steps.

The training loop, rehearsals and measurements all use it, so that timings match training.
"""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from paretina.measure.plan import Plan
from paretina.torch_internals import overflow_of


class Update:
    """
    Attributes:
        scaler: scales losses for float16; does nothing otherwise.

    Nothing here waits for the device, unless float16 is trained by an optimizer that cannot skip a step by itself.
    """

    def __init__(self, plan: Plan, optimizer: torch.optim.Optimizer) -> None:
        self.plan = plan
        self.optimizer = optimizer
        self.scaler = torch.amp.GradScaler(plan.device_type, enabled=plan.precision == "float16")
        if self.scaler.is_enabled():
            optimizer.register_step_pre_hook(begin_momentum)

    def learn(self, losses: Callable[[], Mapping[str, Tensor]], share: float = 1.0) -> Mapping[str, Tensor]:
        """Makes one forward and backward pass and accumulates its gradients; returns the parts of the loss by name.

        Args:
            losses: computes the parts; called under the arithmetic of the plan.
            share: factor on the loss.
        """
        if self.plan.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        with self.plan.arithmetic():
            parts = losses()
        self.scaler.scale(cast(Tensor, sum(parts.values())) * share).backward()  # type: ignore[no-untyped-call]
        return parts

    def step(self, clip: Callable[[], Tensor] | None = None) -> tuple[Tensor | None, Tensor | None]:
        """Updates the weights and clears the gradients.

        Args:
            clip: clips gradients, and returns their norm before.

        Returns:
            Whether the weights were updated, which they are not if float16 overflowed: a truth value on the device, or None
            where they always are. And the result of `clip`.
        """
        moved = None
        self.scaler.unscale_(self.optimizer)
        norm = None if clip is None else clip()
        if self.scaler.is_enabled():
            moved = overflow_of(self.scaler, self.optimizer) == 0
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return moved, norm


def begin_momentum(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Starts the momentum of torch's SGD at zero: its fused kernel leaves it without values where the first step is skipped."""
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
