"""Counts parameters, MACs, activations and memory traffic of a network; nothing is timed.

Counts come from the operators of the module itself, run forward on the meta device in evaluation mode: nothing is allocated,
and there is no second description of the network that could drift. Gradients stay enabled while counting, because
`nn.MultiheadAttention` otherwise takes a fused path that torch's counter sees as nothing; the backward pass is not counted,
because that counter is wrong for grouped convolutions. One multiply-add is one MAC; norms, activations, pooling, resizing,
sorting and additions count as none. Those operators are listed (`NOTHING`), besides views and what torch calls pointwise. An
operator that is neither listed nor has a formula, such as a Fourier transform, is named in `Cost.uncounted`: the MACs are then
fewer than those of the network.

Bytes are counted twice, since what moves depends on what is fused. `bytes_moved` has only convolutions and matrix products:
each reads its inputs and weights once and writes its output once, as if everything between were done on the way. It is the
least that a compiled network moves. `bytes_unfused` has every operator that writes something, one after another, as eager
execution runs them; views and new empty tensors move nothing, and of an input that is repeated in place of being copied only
what is stored counts. Neither knows of caches, nor of copies that a kernel makes for itself.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from paretina.measure.parts import params_of, parts_of, passages
from paretina.model.blueprint import Model
from paretina.model.build import Network, Way
from paretina.model.rounding import LayerBits, bits_of, in_words, layers_in, rounding_of, stored_bytes_of
from paretina.torch_internals import TorchDispatchMode, tree_leaves

WORD = 64
"""Bits that one operation of a machine takes at once, in the count of OPs."""


@dataclass(frozen=True)
class StageCost:
    """One row: stem, a stage, or head.

    Attributes:
        output: shape of what comes out, without the batch.
        bits: what its layers are rounded to, such as "2w4a in 4 layers": 2 bits a weight, 4 a number that comes in; "" for
            floats.
    """

    name: str
    spec: str
    output: tuple[int, ...]
    params: int
    macs: int
    activations: int
    bytes_moved: int
    bytes_unfused: int
    bits: str = ""


@dataclass(frozen=True)
class RouteCost:
    """What a network does with a share of the pictures.

    Attributes:
        name: such as the size at which it runs.
        share: of the pictures, from 0 to 1.
    """

    name: str
    share: float
    macs: int
    activations: int
    bytes_moved: int
    bytes_unfused: int


@dataclass(frozen=True)
class Cost:
    """The cost of a batch, of one image by default.

    Attributes:
        params: trainable parameters.
        macs: multiply-adds of convolutions and matrix products.
        activations: values written by those operators.
        weight_bytes: bytes of parameters and saved buffers.
        bytes_moved: bytes that convolutions and matrix products read and write, weights included.
        bytes_unfused: the same for all operators, run one after another.
        resolution: side of the image, in pixels.
        batch: number of images.
        uncounted: operators with neither a formula nor an entry in `NOTHING`, such as "aten::_fft_r2c"; MACs and activations
            lack what they do.
        routes: of a network that chooses what it does with a picture: what each choice costs. The counts above are means by
            their shares, and have what is done with all pictures too.
        bits: of each layer of a network with a quantiser; empty for others. Weights are floats while it is trained and
            computed here, so `weight_bytes` and what moves are those of floats.
        low_bit_bytes: bytes of parameters and saved buffers with as many bits for each weight as it is rounded to, and its
            scales; None without a quantiser.
        int8_bytes: the same with 8 bits for each weight of a layer; None without a quantiser.
        bit_operations: multiply-adds of bits in layers that round both weights and inputs: a MAC counts as the bits of a weight
            times those of an input; None without a quantiser.
        float_macs: multiply-adds of all else, as floats; None without a quantiser.
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
    uncounted: tuple[str, ...] = ()
    routes: tuple[RouteCost, ...] = ()
    bits: tuple[LayerBits, ...] = ()
    low_bit_bytes: int | None = None
    int8_bytes: int | None = None
    bit_operations: int | None = None
    float_macs: int | None = None

    @property
    def ops(self) -> float | None:
        """OPs, as papers on binary networks count: bit operations / 64, the bits of a word, and MACs of floats.

        None without a quantiser. An 8-bit MAC is one of them, and so is a float one.

        Source: Bi-Real Net (arXiv:1808.00278), section 4.3; bits of both multiplied as in DoReFa-Net (arXiv:1606.06160).
        """
        if self.bit_operations is None or self.float_macs is None:
            return None
        return self.bit_operations / WORD + self.float_macs

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: floating-point operations (two per MAC) per byte moved."""
        return 2 * self.macs / self.bytes_moved if self.bytes_moved else 0.0


def rounded_in_words(found: "Cost") -> str:
    """What the layers of a network are rounded to, and what its weights would take so; "" without a quantiser."""
    if found.low_bit_bytes is None or found.int8_bytes is None:
        return ""
    layers = f"bits: {in_words(found.bits)}; " if found.bits else ""
    ops = ""
    if found.bit_operations and found.float_macs is not None and found.ops is not None:
        ops = (
            f"; {found.ops / 1e6:,.4g} M OPs: {found.bit_operations / 1e6:,.4g} M bit operations / {WORD} and "
            f"{found.float_macs / 1e6:,.4g} M MACs of floats"
        )
    return (
        f"{layers}weights {found.low_bit_bytes / 1e6:,.3g} MB at these bits, "
        f"{found.int8_bytes / 1e6:,.3g} MB in int8, {found.weight_bytes / 1e6:,.3g} MB in floats, as computed here{ops}"
    )


def without(uncounted: Iterable[str]) -> str:
    """A note that the MACs do not include these operators; empty if there are none."""
    names = sorted(uncounted)
    return f"the MACs do not include {', '.join(names)}: there is no formula for what is multiplied there" if names else ""


class Counts(NamedTuple):
    macs: int = 0
    activations: int = 0
    bytes_moved: int = 0
    bytes_unfused: int = 0


NOTHING = frozenset(
    name
    for names in (
        # copies, and numbers in another order
        "_to_copy _unsafe_index cat channel_shuffle clone col2im constant_pad_nd copy embedding fill flip gather im2col "
        "index index_add index_copy index_put index_select masked_fill masked_scatter masked_select "
        "native_channel_shuffle pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat "
        "replication_pad1d replication_pad2d replication_pad3d roll scatter scatter_add select_scatter slice_scatter "
        "stack take tril triu zero",
        # new tensors in the shape of another
        "empty_like full_like new_empty new_empty_strided new_full new_ones new_zeros ones_like rand_like randn_like "
        "zeros_like",
        # one number from one or two, where torch does not say so, and softmax and dropout
        "_log_softmax _prelu_kernel _safe_softmax _softmax abs bernoulli eq ge gelu glu gt hardswish le lt mish "
        "native_dropout ne relu6 rrelu rsub threshold",
        # norms
        "_batch_norm_no_update _fused_rms_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
        "_weight_norm_interface cudnn_batch_norm native_batch_norm native_group_norm native_layer_norm",
        # sums, means, extremes and orders
        "all amax amin aminmax any argmax argmin argsort count_nonzero cummax cummin cumsum linalg_vector_norm "
        "logsumexp max mean median min nansum norm sort std std_mean sum topk var var_mean",
        # pooling and resizing
        "_adaptive_avg_pool2d _adaptive_avg_pool3d _upsample_bicubic2d_aa _upsample_bilinear2d_aa "
        "_upsample_nearest_exact2d adaptive_max_pool2d adaptive_max_pool3d avg_pool2d avg_pool3d "
        "max_pool2d_with_indices max_pool3d_with_indices upsample_bicubic2d upsample_bilinear2d upsample_linear1d "
        "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d",
    )
    for name in names.split()
)
"""Operators of torch (`aten`), also in place, that count as no MACs; besides views and what torch calls pointwise."""


class OperatorCounter(TorchDispatchMode):
    """Adds up the MACs and the outputs of every operator that torch has a formula for, and the bytes of all operators.

    Attributes:
        uncounted: names of operators that should count and have no formula.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()
        self.uncounted: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        macs, activations, moved, unfused = self.counts
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        traffic = 0 if not inputs or is_view(func) else sum(map(stored_bytes, inputs + outputs))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            macs += formula(*args, **kwargs, out_val=out) // 2
            activations += outputs[0].numel()
            moved += traffic
        elif inputs and not counts_as_nothing(func):
            self.uncounted.add(name_of(func))
        self.counts = Counts(macs, activations, moved, unfused + traffic)
        return out


def is_view(func: Any) -> bool:
    """Whether an operator returns its input's own numbers in another shape."""
    return bool(func.is_view) or name_of(func) in ("aten::_unsafe_view", "aten::_reshape_alias", "aten::detach")


def name_of(func: Any) -> str:
    """Of an operator, such as "aten::mm"."""
    return str(func.name()).partition(".")[0]


def counts_as_nothing(func: Any) -> bool:
    """Whether an operator has no MACs by convention."""
    space, _, name = name_of(func).partition("::")
    tagged = {torch.Tag.pointwise, torch.Tag.inplace_view} & set(func.tags)
    return is_view(func) or bool(tagged) or (space == "aten" and name.removesuffix("_") in NOTHING)


def stored_bytes(tensor: Tensor) -> int:
    """Bytes that hold a tensor's numbers; less than its size where they are repeated by a stride of zero."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


@contextmanager
def counting() -> Iterator[OperatorCounter]:
    # in inference mode, which the caller may be in, no gradients can be enabled
    with torch.inference_mode(False), torch.enable_grad(), OperatorCounter() as counter:
        yield counter


class LowBits(NamedTuple):
    """What a layer does that rounds both weights and inputs: its MACs, and the bits of a weight times those of an input."""

    macs: int
    bits: int


@contextmanager
def counting_bits(module: nn.Module, counter: OperatorCounter) -> Iterator[list[LowBits]]:
    """Collects what layers that round both weights and inputs do, one entry each time that one runs."""
    found: list[LowBits] = []
    hooks = []
    for _, layer in layers_in(module):
        rounding = rounding_of(layer)
        if rounding is None or rounding.weight_bits is None or rounding.input_bits is None:
            continue
        before: list[int] = []
        bits = rounding.weight_bits * rounding.input_bits

        def enter(_: nn.Module, __: Any, before: list[int] = before) -> None:
            before.append(counter.counts.macs)

        def leave(_: nn.Module, __: Any, ___: Any, before: list[int] = before, bits: int = bits) -> None:
            found.append(LowBits(counter.counts.macs - before.pop(), bits))

        hooks += [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


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
        model: a blueprint or a network, which is not changed; any other module must take unnormalised images too.
        resolution: side of the square image in pixels; default: the blueprint's.
        batch: number of images.

    Raises:
        ValueError: the module has no blueprint, and no resolution was given.
    """
    network = model.build("meta") if isinstance(model, Model) else copy.deepcopy(model).to("meta")
    if resolution is None:
        if not isinstance(network, Network):
            raise ValueError(f"{type(network).__name__} has no blueprint with a resolution; give the resolution")
        resolution = network.model.resolution
    network.eval()
    # integer pixels become the dtype in which the network computes
    channels = network.model.channels if isinstance(network, Network) else 3
    images = torch.empty(batch, channels, resolution, resolution, dtype=torch.uint8, device="meta")
    parts = parts_of(network)
    rows = {
        part.name: StageCost(part.name, part.spec, (), params_of(part.module), 0, 0, 0, 0, in_words(bits_of(part.module)))
        for part in parts
    }
    routes: list[RouteCost] = []
    uncounted: set[str] = set()
    low_macs = bit_operations = 0.0
    for way in network.ways(images) if isinstance(network, Network) else (Way(1.0, lambda: network(images)),):
        with counting() as counter, counting_bits(network, counter) as in_bits:
            _, found = passages(parts, lambda counter=counter: counter.counts, way.run)  # type: ignore[misc]
        uncounted |= counter.uncounted
        low_macs += way.share * sum(each.macs for each in in_bits)
        bit_operations += way.share * sum(each.macs * each.bits for each in in_bits)
        if way.name:
            routes.append(RouteCost(way.name, way.share, *counter.counts))
        for passage in found:
            step = [round(way.share * (after - before)) for before, after in zip(passage.before, passage.behind, strict=True)]
            if not passage.name and not any(step):
                continue
            row = rows.get(passage.name) or StageCost("rest", "what is in no part", (), 0, 0, 0, 0, 0)
            sums = [old + new for old, new in zip(counts_of(row), step, strict=True)]
            rows[row.name] = StageCost(row.name, row.spec, shape_of(passage.out), row.params, *Counts(*sums), row.bits)
    stages = tuple(rows.values())
    bits = bits_of(network)
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
        uncounted=tuple(sorted(uncounted)),
        routes=tuple(routes),
        bits=bits,
        low_bit_bytes=stored_bytes_of(network) if bits else None,
        int8_bytes=stored_bytes_of(network, int8=True) if bits else None,
        bit_operations=round(bit_operations) if bits else None,
        float_macs=macs - round(low_macs) if bits else None,
    )


def counts_of(row: StageCost) -> Counts:
    return Counts(row.macs, row.activations, row.bytes_moved, row.bytes_unfused)


def shape_of(out: Any) -> tuple[int, ...]:
    """Shape of the first tensor that a part returned, without the batch."""
    tensors = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    return tuple(tensors[0].shape[1:]) if tensors else ()
