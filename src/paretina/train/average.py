"""Exponential moving average (EMA) of the weights.

Helps most when the learning rate stays high to the end, and smooths the validation curve; costs a copy of the network in memory
and a pass over it at each averaging. The averaged copy is evaluated and saved instead of the trained network. Batch norm
statistics are averaged along with the weights, since they belong to them.

An average with decay d spans about 1 / (1 - d) updates, and still contains d^n of its initial value after n updates. With the
published 0.9999, meant for 200,000 updates, a run of 1,000 would end with 90 % of the untrained network. So the decay used is
the smallest of three: `decay`; 1 - 1 / (share × updates of the run), which keeps the span below that share of the run; and
(1 + n) / (10 + n) after n updates, which discounts the initial value.

Source: Polyak & Juditsky 1992; in EfficientNet (Tan & Le 2019, arXiv:1905.11946) 0.9999 with TensorFlow's rule for the start.
"""

import copy
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.schedules import Constant, Schedule
from paretina.spec import Spec
from paretina.torch_internals import foreach_lerp_
from paretina.traits import STAYS, traits


@dataclass(frozen=True, kw_only=True)
class Average(Spec):
    """
    Attributes:
        decay: largest EMA decay, in [0, 1].
        share: longest span of the average, as a fraction of the run; None uses `decay` however short the run.
        debias: how the initial value is discounted in the first updates: TensorFlow's rule, or not.
        every: updates between averagings; the decay is adjusted for them, and the last update is always averaged.
        initial: share of the initial weights in the average, in [0, 1); the rest is the average as it would be without. Between
            pretrained and fine-tuned weights lie some that are better than both (Wortsman et al. 2022, arXiv:2109.01903).
    """

    decay: Schedule = field(default=Constant(value=0.9999), metadata=traits(rises=STAYS, elsewhere=("model_ema_decay",)))
    share: float | None = field(default=0.1, metadata=traits(elsewhere=()))
    debias: Literal["tensorflow", "none"] = field(default="tensorflow", metadata=traits(elsewhere=()))
    every: int = field(default=1, metadata=traits(elsewhere=()))
    initial: float = field(default=0.0, metadata=traits(elsewhere=()))

    def __post_init__(self) -> None:
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"Average needs 0 < share <= 1, or share=None, got share={self.share}")
        if self.every < 1:
            raise ValueError(f"Average needs every >= 1, got every={self.every}")
        require_within(self, 0.0, 1.0, "decay")
        if not 0 <= self.initial < 1:
            raise ValueError(f"Average.initial is a share in [0, 1), got {self.initial}")

    def make(self, module: nn.Module) -> "Averager":
        """An average of a module, initialised as a copy of it."""
        return Averager(self, module)

    def ceiling(self, clock: Clock) -> float:
        """The largest decay at a time of the run, however many updates were made."""
        decay = self.decay(clock)
        return decay if self.share is None else min(decay, 1 - 1 / max(1.0, self.share * clock.updates))

    def decay_at(self, count: int, clock: Clock) -> float:
        """The decay at an update, after `count` updates."""
        decay = self.ceiling(clock)
        return min(decay, (1 + count) / (10 + count)) if self.debias == "tensorflow" else decay


class Averager:
    """A running average of one module.

    Attributes:
        module: the averaged module, in eval mode and without gradients; weights of reduced precision are kept in float32.
        count: number of updates seen; a tensor on the device where some of them may have been skipped there.
    """

    count: int | Tensor

    def __init__(self, choice: Average, module: nn.Module) -> None:
        self.choice = choice
        self.count = 0
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        for tensor in averaged(self.module).values():
            if tensor.dtype in (torch.float16, torch.bfloat16):
                tensor.data = tensor.data.float()
        self.initial = (
            {name: tensor.detach().clone() for name, tensor in averaged(self.module).items()} if choice.initial else {}
        )

    @torch.no_grad()
    def update(self, module: nn.Module, clock: Clock, moved: Tensor | None = None) -> None:
        """Adds the module after an update at the time of `clock`; call it once per update. Does not wait for the device.

        Args:
            moved: whether the update changed the weights, as a truth value on the device; one that did not leaves average and
                count as they are. None: it did.

        Raises:
            ValueError: the module's weights have other names than the initial ones.
        """
        if moved is not None:
            self.update_where(moved, module, clock)
            return
        count = int(self.count)
        decay = self.choice.decay_at(count, clock)
        self.count = count + 1
        waited = self.count % self.choice.every
        if waited and clock.update + 1 < clock.updates:
            return
        weight = 1 - decay ** (waited or self.choice.every)
        means, values = self.pairs(module)
        moving = [name for name, mean in means.items() if mean.is_floating_point()]
        # a no-op for tensors that already have the dtype of the average
        latest = [values[name].to(means[name].dtype) for name in moving]
        if moving and self.initial:
            latest = [value.clone() for value in latest]
            foreach_lerp_(latest, [self.initial[name] for name in moving], self.choice.initial)
        if moving:
            foreach_lerp_([means[name] for name in moving], latest, weight)
        for name, mean in means.items():
            if not mean.is_floating_point():
                mean.copy_(values[name])

    @torch.no_grad()
    def update_where(self, moved: Tensor, module: nn.Module, clock: Clock) -> None:
        """As `update`, where only the device knows whether there is something to add."""
        exact = torch.float32 if moved.device.type == "mps" else torch.float64
        count = torch.as_tensor(self.count, device=moved.device, dtype=exact)
        decay = torch.full_like(count, self.choice.ceiling(clock))
        if self.choice.debias == "tensorflow":
            decay = torch.minimum(decay, (1 + count) / (10 + count))
        self.count = count + moved
        every = self.choice.every
        waited = self.count % every
        adds = moved if clock.update + 1 >= clock.updates else moved & (waited == 0)
        weight = 1 - decay ** torch.where(waited == 0, every, waited)
        means, values = self.pairs(module)
        for name, mean in means.items():
            if not mean.is_floating_point():
                mean.copy_(torch.where(adds, values[name], mean))
                continue
            latest = values[name].to(mean.dtype)
            if self.initial:
                latest = latest.lerp(self.initial[name], self.choice.initial)
            mean.copy_(torch.where(adds, mean.lerp(latest, weight.to(mean.dtype)), mean))

    def pairs(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The tensors of the average and those of a module, by name."""
        means, values = averaged(self.module), averaged(module)
        if means.keys() != values.keys():
            other = ", ".join(sorted(means.keys() ^ values.keys())[:5])
            raise ValueError(f"the average and the module must have the same weights, but only one of them has {other}")
        return means, values

    def state_dict(self) -> dict[str, Any]:
        """The number of updates, the tensors of the average by name, and the initial ones where they have a share in it."""
        return {"count": int(self.count), "module": self.module.state_dict(), "initial": self.initial}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a state from `state_dict`; the tensors are copied."""
        self.module.load_state_dict(state["module"])
        for name, tensor in self.initial.items():
            tensor.copy_(state["initial"][name])
        self.count = int(state["count"])


def averaged(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module's state dict, shared ones once; non-persistent buffers, such as drop rates, are left out."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


EXAMPLES = (
    Average(),
    Average(decay=Constant(value=0.999), share=None, debias="none", every=5),
    Average(decay=Constant(value=0.0), initial=0.5),
)
