"""Optimizer: how the parameters follow their gradients.

A plug-in names the update rule. What all rules share stands here: the learning rate and the weight decay as schedules, and
which roles of parameters are decayed. The loop calls `set_rates` before each update, so an optimizer never needs a scheduler.

Source: linear scaling of the rate with the batch: Goyal et al. 2017 (arXiv:1706.02677), 2.1; no decay of biases and norms:
He et al. 2019 (arXiv:1812.01187), 3.1.
"""

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.model.roles import Role
from paretina.schedules import Constant, Schedule
from paretina.traits import INSIDE, SETTING, STAYS, By, Method, Never, SetTo, traits


def lr_left_out(lr: Schedule, path: str) -> Iterator[tuple[str, str]]:
    """What of the rate's schedule an ablation may leave out."""
    return lr.left_out(path, "the rate")


@dataclass(frozen=True, kw_only=True)
class Optimizer(Method):
    """An update rule with its rates.

    Attributes:
        lr: learning rate; where `scale_lr` is on, that for `lr_batch` pictures an update, and the rate in use is
            proportional to the pictures of an update.
        weight_decay: pull of the decayed parameters towards zero; never scaled with the batch.
        decay: roles of the parameters that are decayed.
        scale_lr: whether the rate follows the batch.
        lr_batch: number of pictures for which `lr` is written.
    """

    PLUGINS = ("paretina.train.optimizers",)
    LEFT_OUT = INSIDE
    LOW_PRECISION = Never("weights, gradients and moments are float32")

    ALIASES = {"rate": "lr", "scale_rate": "scale_lr", "rate_batch": "lr_batch"}

    lr: Schedule = field(metadata=traits(left_out=By(lr_left_out), rises=STAYS, elsewhere=("learning_rate",)))
    weight_decay: Schedule = field(
        default=Constant(value=0.0),
        metadata=traits(left_out=SetTo("weight decay", "0"), rises=STAYS, elsewhere=("wd", "weight_decay")),
    )
    decay: tuple[Role, ...] = field(default=("kernel",), metadata=traits(left_out=SETTING))
    scale_lr: bool = field(default=True, metadata=traits(left_out=SETTING))
    lr_batch: int = field(default=256, metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        if self.lr_batch < 1:
            raise ValueError(f"{type(self).__name__} needs lr_batch >= 1, got lr_batch={self.lr_batch}")
        require_within(self, 0.0, math.inf, "lr", "weight_decay")

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over the groups of `parameter_groups`; its rates are zero until `set_rates`.

        Its state consists of tensors and plain scalars. State that was loaded, and gradients, may have any memory format: they
        are laid out like their parameter before each step.
        """
        optimizer = self.rule([{**group, "lr": 0.0, "weight_decay": 0.0} for group in groups])
        optimizer.register_step_pre_hook(align)
        return optimizer

    @abstractmethod
    def rule(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The bare optimizer; each group holds `lr` and `weight_decay`."""

    def with_peak(self, lr: float) -> "Optimizer":
        """The same with a learning rate that rises to `lr` and follows the schedule otherwise, whatever the batch is.

        Raises:
            ValueError: the schedule has no peak that could be moved.
        """
        return replace(self, lr=self.lr.with_peak(lr), scale_lr=False)

    def rate_at(self, clock: Clock, batch_size: int) -> float:
        """The learning rate of an update over `batch_size` pictures, those of all ranks and accumulated steps together."""
        return self.lr(clock) * (batch_size / self.lr_batch if self.scale_lr else 1.0)

    def set_rates(self, optimizer: torch.optim.Optimizer, clock: Clock, batch_size: int) -> float:
        """Writes rate and decay of the coming update into the groups and returns the rate.

        A group may hold a `rate_factor` on the rate; without one it is 1.
        """
        rate, weight_decay = self.rate_at(clock, batch_size), self.weight_decay(clock)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("rate_factor", 1.0)
            group["weight_decay"] = weight_decay if group["decayed"] else 0.0
        return rate


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], role_of: Callable[[str], str], decay: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Sorts what learns into a decayed and an undecayed group, in the order given; a group without parameters is left out.

    Args:
        named: parameters with their names; frozen ones are left out.
        role_of: the role of the parameter of that name.
        decay: roles that are decayed; a warning names those that no learning parameter has.

    Raises:
        ValueError: every parameter is frozen.
    """
    named = list(named)
    learning = [(role_of(name), parameter) for name, parameter in named if parameter.requires_grad]
    if not learning:
        raise ValueError(f"there is nothing to train: all {len(named)} parameters are frozen")
    idle = sorted(set(decay) - {role for role, _ in learning})
    if idle:
        warnings.warn(f"decay names {', '.join(idle)}, but no parameter that learns has that role", stacklevel=2)
    decayed = [parameter for role, parameter in learning if role in decay]
    others = [parameter for role, parameter in learning if role not in decay]
    groups: list[dict[str, Any]] = [{"params": decayed, "decayed": True}, {"params": others, "decayed": False}]
    return [group for group in groups if group["params"]]


def can_fuse(groups: list[dict[str, Any]]) -> bool:
    """Whether torch's fused kernels, one pass over memory a step, take these parameters."""
    parameters = (parameter for group in groups for parameter in group["params"])
    return all(parameter.is_floating_point() and parameter.device.type in ("cpu", "cuda") for parameter in parameters)


def align(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Lays gradients and state out in memory like their parameter.

    Fused kernels on the CPU pair the numbers as they lie in memory and do not look at strides: a momentum that was stored
    contiguously and loaded for a channels_last kernel would be applied to the wrong weights, without an error.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and not lies_like(parameter.grad, parameter):
                parameter.grad = laid_out_like(parameter.grad, parameter)
            state = optimizer.state.get(parameter, {})
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape and not lies_like(value, parameter):
                    state[name] = laid_out_like(value, parameter)


def lies_like(tensor: Tensor, pattern: Tensor) -> bool:
    """Whether equal indices lie at equal places; the stride of an axis of length one does not matter."""
    if tensor.stride() == pattern.stride():
        return True
    return all(a == b for a, b, n in zip(tensor.stride(), pattern.stride(), pattern.shape, strict=True) if n > 1)


def laid_out_like(tensor: Tensor, pattern: Tensor) -> Tensor:
    return torch.empty_like(pattern, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
