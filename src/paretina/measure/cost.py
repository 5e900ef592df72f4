"""Cost: what a network costs, counted, never timed.

Counts come from the operators of the module itself, run forward on the meta device in evaluation mode: nothing is allocated,
and there is no second description of the network that could drift. Gradients stay enabled while counting, because
`nn.MultiheadAttention` otherwise takes a fused path that torch's counter sees as nothing; the backward pass is not counted,
because that counter is wrong for grouped convolutions. One multiply-add is one MAC; norms, activations, pooling and additions
count as none.

Bytes are counted twice, since what moves depends on what is fused. `bytes_moved` has only convolutions and matrix products:
each reads its inputs and weights once and writes its output once, as if everything between were done on the way. It is the
least that a compiled network moves. `bytes_unfused` has every operator that writes something, one after another, as eager
execution runs them; views and new empty tensors move nothing, and of an input that is repeated in place of being copied only
what is stored counts. Neither knows of caches, nor of copies that a kernel makes for itself.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from paretina.measure.parts import params_of, parts_of, passages
from paretina.model.blueprint import Model
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
    bytes_moved: int
    bytes_unfused: int


@dataclass(frozen=True)
class Cost:
    """What a batch of one image costs, unless another batch was asked for.

    Attributes:
        params: trainable parameters.
        macs: multiply-adds of convolutions and matrix products.
        activations: numbers written by those operators.
        weight_bytes: bytes of parameters and saved buffers, as the network stands.
        bytes_moved: bytes that convolutions and matrix products read and write, weights included.
        bytes_unfused: the same for all operators, run one after another.
        resolution: side of the image, in pixels.
        batch: number of images.
    """

    params: int
    macs: int
    activations: int
    weight_bytes: int
    resolution: int
    stages: tuple[StageCost, ...]
    bytes_moved: int
    bytes_unfused: int
    batch: int = 1

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: floating-point operations, two a MAC, for each byte moved."""
        return 2 * self.macs / self.bytes_moved if self.bytes_moved else 0.0


class Counts(NamedTuple):
    macs: int = 0
    activations: int = 0
    bytes_moved: int = 0
    bytes_unfused: int = 0


class Counter(TorchDispatchMode):
    """Adds up the MACs and the outputs of every operator that torch has a formula for, and the bytes of all operators."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        macs, activations, moved, unfused = self.counts
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        traffic = 0 if not inputs or is_view(func) else sum(map(stored_bytes, inputs + outputs))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            macs += formula(*args, **kwargs, out_val=out) // 2
            activations += outputs[0].numel()
            moved += traffic
        self.counts = Counts(macs, activations, moved, unfused + traffic)
        return out


def is_view(func: Any) -> bool:
    """Whether an operator returns its input's own numbers in another shape."""
    if func._overloadpacket in (torch.ops.aten._unsafe_view, torch.ops.aten._reshape_alias, torch.ops.aten.detach):
        return True
    return any(out.alias_info is not None and not out.alias_info.is_write for out in func._schema.returns)


def stored_bytes(tensor: Tensor) -> int:
    """Bytes that hold a tensor's numbers; less than its size where they are repeated by a stride of zero."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


@contextmanager
def counting() -> Iterator[Counter]:
    # in inference mode, which the caller may be in, no gradients can be enabled
    with torch.inference_mode(False), torch.enable_grad(), Counter() as counter:
        yield counter


def counted(run: Callable[[], Any]) -> tuple[Any, int, int]:
    """Result, MACs and activations of a function that runs on the meta device."""
    with counting() as counter:
        out = run()
    return out, counter.counts.macs, counter.counts.activations


def weight_bytes(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


@torch.inference_mode(False)
def cost(model: Model | nn.Module, resolution: int | None = None, batch: int = 1) -> Cost:
    """Counts a network.

    Args:
        model: a blueprint, or a network as it stands (it is not changed); a module that is none of ours takes unnormalised
            images too.
        resolution: side of the square image in pixels; the blueprint's unless told.
        batch: number of images.

    Raises:
        ValueError: a module without a blueprint is to be counted, and no resolution was given.
    """
    network = model.build("meta") if isinstance(model, Model) else copy.deepcopy(model).to("meta")
    if resolution is None:
        if not isinstance(network, Network):
            raise ValueError(f"{type(network).__name__} has no blueprint to name its resolution; give one")
        resolution = network.model.resolution
    network.eval()
    parts = parts_of(network)
    # whole pixels become what the network computes in, whatever that is
    channels = network.model.channels if isinstance(network, Network) else 3
    images = torch.empty(batch, channels, resolution, resolution, dtype=torch.uint8, device="meta")
    with counting() as counter:
        _, found = passages(parts, lambda: counter.counts, lambda: network(images))
    rows = {part.name: StageCost(part.name, part.spec, (), params_of(part.module), 0, 0, 0, 0) for part in parts}
    for passage in found:
        step = [after - before for before, after in zip(passage.before, passage.behind, strict=True)]
        if not passage.name and not any(step):
            continue
        row = rows.get(passage.name) or StageCost("rest", "what is in no part", (), 0, 0, 0, 0, 0)
        sums = [old + new for old, new in zip(counts_of(row), step, strict=True)]
        rows[row.name] = StageCost(row.name, row.spec, shape_of(passage.out), row.params, *sums)
    stages = tuple(rows.values())
    macs, activations, bytes_moved, bytes_unfused = (sum(column) for column in zip(*map(counts_of, stages), strict=True))
    return Cost(
        params=params_of(network),
        macs=macs,
        activations=activations,
        weight_bytes=weight_bytes(network),
        resolution=resolution,
        stages=stages,
        bytes_moved=bytes_moved,
        bytes_unfused=bytes_unfused,
        batch=batch,
    )


def counts_of(row: StageCost) -> Counts:
    return Counts(row.macs, row.activations, row.bytes_moved, row.bytes_unfused)


def shape_of(out: Any) -> tuple[int, ...]:
    """Shape of the first tensor that a part returned, without the batch."""
    tensors = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    return tuple(tensors[0].shape[1:]) if tensors else ()
