"""Rounding of weights and inputs to few bits inside a layer, so that a network is trained as it is to be computed.

A layer with a `LayerRounding` keeps its weight under its name and in floats, and rounds it, and what comes in, each time that
it computes; gradients pass the rounding as if it were not there. The numbers are those of low-bit hardware, the arithmetic is
that of floats: nothing becomes faster or smaller here. `bits_of` and `stored_bytes_of` say what a network would take.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SCALE_BYTES = 4
"""Bytes of the scale that goes with the whole numbers of a tensor or of one of its rows."""


class Straight(torch.autograd.Function):
    """The nearest whole number, ties to the even one; its gradient is that of the identity (Bengio et al., arXiv:1308.3432)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Slowed(torch.autograd.Function):
    """The identity, with its gradient times a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def rounded(x: Tensor) -> Tensor:
    """The nearest whole numbers; the gradient passes as it is."""
    return Straight.apply(x) if x.requires_grad and torch.is_grad_enabled() else x.round()  # type: ignore[no-any-return, no-untyped-call]


def slowed(x: Tensor, factor: float) -> Tensor:
    """The same numbers; the gradient is multiplied by the factor."""
    return Slowed.apply(x, factor) if x.requires_grad and torch.is_grad_enabled() else x  # type: ignore[no-any-return, no-untyped-call]


def levels(x: Tensor, bits: int) -> Tensor:
    """Numbers from 0 to 1, rounded to 2^bits values from 0 to 1, at equal distances; others become 0 or 1, without gradient."""
    most = 2**bits - 1
    return rounded(x.clamp(0.0, 1.0) * most) / most


class LayerRounding(nn.Module):
    """How a layer rounds.

    Attributes:
        weight_bits: of each weight; None once the weight has been replaced by its rounded values.
        input_bits: of each number that comes in; None where it is not rounded.
        begun: whether `begin` was called since the module was made, or need not be.
        edge: what a convolution is padded with, which is not rounded.
    """

    edge: float = 0.0

    def __init__(self, weight_bits: int | None, input_bits: int | None) -> None:
        super().__init__()
        self.weight_bits = weight_bits
        self.input_bits = input_bits
        self.begun = False

    def weight(self, weight: Tensor) -> Tensor:
        """The rounded weight, (output, ...)."""
        raise TypeError(f"{type(self).__name__} must define weight(weight)")

    def input(self, x: Tensor) -> Tensor:
        """The rounded input of the layer, of any shape."""
        raise TypeError(f"{type(self).__name__} must define input(x)")

    def begin(self, x: Tensor, weight: Tensor) -> None:
        """Called without gradients before the first pass that has some, with what it rounds there."""

    def both(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The rounded input and weight."""
        if not self.begun and torch.is_grad_enabled():
            with torch.no_grad():
                self.begin(x, weight)
            self.begun = True
        x = x if self.input_bits is None else self.input(x)
        return x, weight if self.weight_bits is None else self.weight(weight).to(weight.dtype)

    def settle(self) -> None:
        """Called where the weight has been replaced by its rounded values; leaves what rounds inputs."""
        self.weight_bits = None
        self.begun = True

    def scales(self, rows: int) -> int:
        """How many scales belong to the whole numbers of a weight with that many rows."""
        return 1

    def extra_repr(self) -> str:
        parts = ((self.weight_bits, "weights"), (self.input_bits, "inputs"))
        return ", ".join(f"{bits}-bit {word}" for bits, word in parts if bits is not None)


def settled(layer: nn.Conv2d | nn.Linear, rounding: LayerRounding) -> LayerRounding | None:
    """Replaces a layer's weight by its rounded values, in place; returns what is left to round.

    Of a network without values only the kind of the rounding changes.
    """
    weight = layer.weight if layer.weight.is_meta else rounding.weight(layer.weight)
    layer.weight = nn.Parameter(weight.detach(), requires_grad=layer.weight.requires_grad)
    if rounding.input_bits is None:
        return None
    rounding.settle()
    return rounding


class RoundedLinear(nn.Linear):
    """A linear layer that rounds its weight, and its input where that has a number of bits."""

    def __init__(self, width_in: int, width_out: int, rounding: LayerRounding) -> None:
        super().__init__(width_in, width_out)
        self.rounding: LayerRounding | None = rounding

    def forward(self, x: Tensor) -> Tensor:
        if self.rounding is None:
            return super().forward(x)
        x, weight = self.rounding.both(x, self.weight)
        return nn.functional.linear(x, weight, self.bias)

    def fold(self) -> None:
        """The same layer, whose weight is the rounded one."""
        if self.rounding is not None:
            self.rounding = settled(self, self.rounding)


def of_rounding(name: str) -> bool:
    """Whether a tensor of a state dict belongs to what rounds a layer, such as a learned step."""
    return "rounding" in name.split(".")


def layers_in(module: nn.Module) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    """The convolutions and linear layers in a module, by name."""
    for name, each in module.named_modules():
        if isinstance(each, nn.Conv2d | nn.Linear):
            yield name, each


def rounding_of(layer: nn.Module) -> LayerRounding | None:
    """How a layer rounds; None if it does not."""
    found = getattr(layer, "rounding", None)
    return found if isinstance(found, LayerRounding) else None


@dataclass(frozen=True)
class LayerBits:
    """
    Attributes:
        name: of the layer in its network.
        weights: number of its weights.
        weight_bits: bits of each; None for floats.
        input_bits: bits of each number that comes in; None for floats.
    """

    name: str
    weights: int
    weight_bits: int | None
    input_bits: int | None

    def __str__(self) -> str:
        """As in papers: 2w4a; "float" where nothing is rounded."""
        weights = "" if self.weight_bits is None else f"{self.weight_bits}w"
        return f"{weights}{'' if self.input_bits is None else f'{self.input_bits}a'}" or "float"


def bits_of(module: nn.Module) -> tuple[LayerBits, ...]:
    """The bits of each convolution and linear layer in a module; empty if none of them rounds."""
    found = [(name, layer, rounding_of(layer)) for name, layer in layers_in(module)]
    if all(rounding is None for _, _, rounding in found):
        return ()
    return tuple(
        LayerBits(
            name,
            layer.weight.numel(),
            None if rounding is None else rounding.weight_bits,
            None if rounding is None else rounding.input_bits,
        )
        for name, layer, rounding in found
    )


def in_words(bits: tuple[LayerBits, ...]) -> str:
    """The kinds of layers, the most frequent first: "2w4a in 8 layers, 8w in 2"."""
    kinds = [str(each) for each in bits]
    counts = sorted(dict.fromkeys(kinds), key=lambda kind: (-kinds.count(kind), kinds.index(kind)))
    words = [f"{kind} in {kinds.count(kind)}" for kind in counts]
    return ", ".join([f"{words[0]} layer{'' if kinds.count(counts[0]) == 1 else 's'}", *words[1:]]) if words else ""


def stored_bytes_of(module: nn.Module, int8: bool = False) -> int:
    """Bytes of the parameters and saved buffers of a module if its weights took no more than the bits that they are rounded to.

    Each weight that is rounded has its scales beside it, in floats; biases, norms and weights that are not rounded are as they
    are.

    Args:
        int8: count each weight of a layer as 8 bits with a scale for each row, whether it is rounded or not.
    """
    total = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    for _, layer in layers_in(module):
        rounding, count, rows = rounding_of(layer), layer.weight.numel(), layer.weight.shape[0]
        if int8:
            total += count + SCALE_BYTES * rows - count * layer.weight.element_size()
        elif rounding is not None and rounding.weight_bits is not None:
            packed = -(-count * rounding.weight_bits // 8) + SCALE_BYTES * rounding.scales(rows)
            total += packed - count * layer.weight.element_size()
    return total
