"""Optimizers: the settings that all update rules share.

A plug-in defines the update rule. Shared are the learning rate and the weight decay as schedules, and which roles of parameters
are decayed. The loop calls `set_rates` before each update, so no scheduler is needed.

Source: linear scaling of the rate with the batch: Goyal et al. 2017 (arXiv:1706.02677), 2.1; no decay of biases and norms:
He et al. 2019 (arXiv:1812.01187), 3.1.
"""

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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
    """The parts of the lr schedule that an ablation may leave out."""
    return lr.left_out(path, "the rate")


@dataclass(frozen=True, kw_only=True)
class Optimizer(Method):
    """An update rule with learning rate and weight decay.

    Attributes:
        lr: learning rate; with `scale_lr` it is that for a batch of `lr_batch` pictures, and scales linearly with the batch.
        weight_decay: weight decay of the decayed parameters; never scaled with the batch.
        decay: roles of the parameters that are decayed.
        scale_lr: whether the learning rate scales with the batch size.
        lr_batch: batch size that `lr` refers to.
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
        """The optimizer for the groups of `parameter_groups`; its learning rates are zero until `set_rates`.

        Its state consists of tensors and plain scalars. Loaded state and gradients may have any memory format: they are
        converted to that of their parameter before each step.
        """
        optimizer = self.rule([{**group, "lr": 0.0, "weight_decay": 0.0} for group in groups])
        optimizer.register_step_pre_hook(align)
        return optimizer

    @abstractmethod
    def rule(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The torch optimizer; each group has `lr` and `weight_decay`."""

    def with_peak(self, lr: float) -> "Optimizer":
        """A copy with peak learning rate `lr`, not scaled with the batch; the shape of the schedule is kept.

        Raises:
            ValueError: the schedule has no peak to set.
        """
        return replace(self, lr=self.lr.with_peak(lr), scale_lr=False)

    def rate_at(self, clock: Clock, batch_size: int) -> float:
        """The learning rate of an update of `batch_size` pictures, over all ranks and accumulated steps."""
        return self.lr(clock) * (batch_size / self.lr_batch if self.scale_lr else 1.0)

    def set_rates(self, optimizer: torch.optim.Optimizer, clock: Clock, batch_size: int) -> float:
        """Sets learning rate and weight decay of the groups for the next update and returns the learning rate.

        A group may have a `rate_factor` on the learning rate; default: 1.
        """
        rate, weight_decay = self.rate_at(clock, batch_size), self.weight_decay(clock)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("rate_factor", 1.0)
            group["weight_decay"] = weight_decay if group["decayed"] else 0.0
        return rate


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], role_of: Callable[[str], str], decay: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Splits the trainable parameters into a decayed and an undecayed group, in the given order; empty groups are left out.

    Args:
        named: parameters with their names; frozen ones are left out.
        role_of: returns the role of a parameter by name.
        decay: roles that are decayed; a warning lists those that no trainable parameter has.

    Raises:
        ValueError: every parameter is frozen.
    """
    named = list(named)
    learning = [(role_of(name), parameter) for name, parameter in named if parameter.requires_grad]
    if not learning:
        raise ValueError(f"there is nothing to train: all {len(named)} parameters are frozen")
    idle = sorted(set(decay) - {role for role, _ in learning})
    if idle:
        warnings.warn(f"decay names {', '.join(idle)}, but no trainable parameter has that role", stacklevel=2)
    decayed = [parameter for role, parameter in learning if role in decay]
    others = [parameter for role, parameter in learning if role not in decay]
    groups: list[dict[str, Any]] = [{"params": decayed, "decayed": True}, {"params": others, "decayed": False}]
    return [group for group in groups if group["params"]]


def can_fuse(groups: list[dict[str, Any]]) -> bool:
    """Whether torch's fused kernels, with one pass over memory per step, support these parameters."""
    parameters = (parameter for group in groups for parameter in group["params"])
    return all(parameter.is_floating_point() and parameter.device.type in ("cpu", "cuda") for parameter in parameters)


def align(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Converts gradients and state to the memory layout of their parameter.

    Fused CPU kernels pair values by memory position and ignore strides: a momentum that was stored contiguously and loaded for
    a channels_last kernel would be applied to the wrong weights, without an error.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and not lies_like(parameter.grad, parameter):
                parameter.grad = laid_out_like(parameter.grad, parameter)
            state = optimizer.state.get(parameter, {})
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape and not lies_like(value, parameter):
                    state[name] = laid_out_like(value, parameter)


@contextmanager
def skipped_at(overflow: Tensor | None, tensors: Sequence[Tensor]) -> Iterator[None]:
    """Context of a step; afterwards weights and state are as before it if gradients overflowed, without a wait for the device.

    Args:
        overflow: above 0 if they did; None if they cannot.
    """
    if overflow is None:
        yield
        return
    before = [tensor.clone() for tensor in tensors]
    yield
    for tensor, old in zip(tensors, before, strict=True):
        tensor.copy_(torch.where(overflow > 0, old, tensor))


def lies_like(tensor: Tensor, pattern: Tensor) -> bool:
    """Whether two tensors have the same memory layout; strides of axes of length one are ignored."""
    if tensor.stride() == pattern.stride():
        return True
    return all(a == b for a, b, n in zip(tensor.stride(), pattern.stride(), pattern.shape, strict=True) if n > 1)


def laid_out_like(tensor: Tensor, pattern: Tensor) -> Tensor:
    return torch.empty_like(pattern, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
