"""Cost: what a network costs, counted, never timed.

Counts come from the operators of the module itself, run forward on the meta device in evaluation mode: nothing is allocated,
and there is no second description of the network that could drift. Gradients stay enabled while counting, because
`nn.MultiheadAttention` otherwise takes a fused path that torch's counter sees as nothing; the backward pass is not counted,
because that counter is wrong for grouped convolutions. One multiply-add is one MAC; norms, activations, pooling and additions
count as none.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from paretina.model.blueprint import Blueprint
from paretina.model.build import Network


@dataclass(frozen=True)
class StageCost:
    """One row: stem, a stage, or head.

    Attributes:
        output: shape of what comes out, without the batch.
    """

    name: str
    spec: str
    output: tuple[int, ...]
    params: int
    macs: int
    activations: int


@dataclass(frozen=True)
class Cost:
    """What one image costs.

    Attributes:
        params: trainable parameters.
        macs: multiply-adds of convolutions and matrix products, batch of 1.
        activations: numbers written by those operators, batch of 1.
        weight_bytes: bytes of parameters and saved buffers, as the network stands.
        resolution: side of the image, in pixels.
    """

    params: int
    macs: int
    activations: int
    weight_bytes: int
    resolution: int
    stages: tuple[StageCost, ...]


class Counter(TorchDispatchMode):
    """Adds up the MACs and the outputs of every operator that torch has a formula for."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self.activations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.macs += formula(*args, **kwargs, out_val=out) // 2
            first = out[0] if isinstance(out, tuple) else out
            self.activations += first.numel()
        return out


def counted(run: Callable[[], Any]) -> tuple[Any, int, int]:
    """Result, MACs and activations of a function that runs on the meta device."""
    # in inference mode, which the caller may be in, no gradients can be enabled
    with torch.inference_mode(False), torch.enable_grad(), Counter() as counter:
        out = run()
    return out, counter.macs, counter.activations


def params_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def weight_bytes(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


@torch.inference_mode(False)
def cost(model: Blueprint | Network, resolution: int | None = None) -> Cost:
    """Counts a network.

    Args:
        model: a blueprint, or a network as it stands (it is not changed).
        resolution: side of the square image in pixels; the blueprint's unless told.
    """
    network = model.build("meta") if isinstance(model, Blueprint) else copy.deepcopy(model).to("meta")
    blueprint = network.blueprint
    resolution = resolution or blueprint.resolution
    network.eval()
    # whole pixels become what the network computes in, whatever that is
    x = network.door(torch.empty(1, 3, resolution, resolution, dtype=torch.uint8, device="meta"))
    rows: list[StageCost] = []
    maps: list[Tensor] = []
    extras: dict[str, Any] = {}

    def add(name: str, spec: str, module: nn.Module, *inputs: Any) -> Any:
        out, macs, activations = counted(lambda: module(*inputs))
        shown = out[0] if isinstance(out, tuple) else out
        rows.append(StageCost(name, spec, tuple(shown.shape[1:]), params_of(module), macs, activations))
        return out

    maps.append(add("stem", str(blueprint.stem), network.stem, x))
    for number, (row, stage) in enumerate(zip(blueprint.stages, network.stages, strict=True), 1):
        out = add(f"stage {number}", f"{row.depth} x {row.block}, stride {row.stride}", stage, maps[-1])
        if isinstance(out, tuple):
            out, more = out
            extras.update(more)
        maps.append(out)
    add("head", str(blueprint.head), network.head, maps, extras)
    return Cost(
        params=params_of(network),
        macs=sum(row.macs for row in rows),
        activations=sum(row.activations for row in rows),
        weight_bytes=weight_bytes(network),
        resolution=resolution,
        stages=tuple(rows),
    )
