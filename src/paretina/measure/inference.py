"""Prepares a copy of a network for inference under a plan.

Weights stored in bfloat16 need not be rounded again at every call, as with autocast, which costs more than the arithmetic for
small batches; pixels and logits stay in float32, since rounding them would cost more accuracy than everything in between.
"""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from paretina.measure.plan import InferencePlan, Plan
from paretina.model.build import Network
from paretina.shapes import Images

Fold = Callable[[Network], Network]
"""Gives a copy of a network in inference form, such as `paretina.model.fold.fold`."""

APART = {"isolate_recompiles": True} if "isolate_recompiles" in inspect.signature(torch.compile).parameters else {}
"""Settings of torch.compile with which networks of one class have separate limits of recompilation. Otherwise all of them share
a limit of 8, after which torch runs further ones eagerly, with nothing but a line in its log; releases of torch without
that setting cannot do otherwise."""


class RoundedTo(nn.Module):
    """Wraps a module and rounds its output; the module itself is unchanged."""

    def __init__(self, part: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.part = part
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x).to(self.dtype)  # type: ignore[no-any-return]


class InFloat32(nn.Module):
    """Wraps a module that computes in float32, so that its output is not rounded. What it takes has `float`, as tensors do."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Any) -> Tensor:
        return self.part(x.float())  # type: ignore[no-any-return]


def prepared(network: nn.Module, plan: Plan, fold: Fold | None = None) -> nn.Module:
    """Returns a copy of a network in evaluation mode, on the plan's device and prepared for it; the network is unchanged.

    A compiled copy compiles at its first call.

    Args:
        fold: gives a copy in inference form; needed where the plan folds.

    Raises:
        ValueError: the network does not support the plan.
    """
    folding = isinstance(plan, InferencePlan) and plan.fold
    rounding = is_rounded(plan)
    if (folding or rounding) and not isinstance(network, Network):
        raise ValueError(f"fold and weights=same are supported for Paretina networks only, not for {type(network).__name__}")
    if folding:
        if fold is None:
            raise ValueError("this plan folds norms, but no fold function was given; set fold=off")
        ready: nn.Module = fold(network)  # type: ignore[arg-type]
    else:
        ready = copy.deepcopy(network).eval().requires_grad_(False)
    plan.place(ready)
    if rounding:
        round_weights(ready, getattr(torch, plan.precision))  # type: ignore[arg-type]
    if plan.compile:
        # weights become constants, which the CPU library can reorder
        settings = {"options": {"freezing": True}} if plan.device_type == "cpu" else plan.compiling()
        return torch.compile(ready, **settings, **APART)  # type: ignore[no-any-return,call-overload]
    return ready


def is_rounded(plan: Plan) -> bool:
    """Whether the weights themselves are stored below float32."""
    return isinstance(plan, InferencePlan) and plan.weights == "same" and plan.precision != "float32"


def round_weights(network: Network, dtype: torch.dtype) -> None:
    """Stores the weights in another precision, in place; the preprocessing and the classifier stay in float32."""
    for each in network.networks():
        normalise, classifier = copy.deepcopy(each.normalise), copy.deepcopy(each.head.classifier)
        each.to(dtype)
        each.normalise = RoundedTo(normalise, dtype)
        each.head.classifier = InFloat32(classifier)  # type: ignore[arg-type]


def forward(network: nn.Module, plan: Plan, images: Images) -> Callable[[], Any]:
    """Returns a function that runs a prepared network once on `images`, which are moved to the device first."""
    images = images.to(device=plan.device).contiguous(memory_format=plan.torch_memory_format)
    rounded = is_rounded(plan)

    def run() -> Any:
        with torch.inference_mode():
            if rounded:
                return network(images)
            with plan.arithmetic():
                return network(images)

    return run
