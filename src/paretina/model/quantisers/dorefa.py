"""Dorefa: weights of few bits by a fixed rule, inputs of layers by another, nothing to learn for either.

With 2 bits for weights and 4 for inputs, ResNets lose about a point of ImageNet when they are taught by the float network layer
by layer for long enough; without that they lose far more. What is gained is a network for hardware that computes with so few
bits. Computed with floats, as here, it is somewhat slower than without.

With t = tanh(w) and s twice the mean of |t| over the tensor, a weight becomes s times the nearest of 2^bits numbers from -1/2
to 1/2 at equal distances. So no weight is zero, and those beyond the mean magnitude all become the largest. The gradient of the
rounded weight is that of t inside this range and zero outside; s counts as a constant. Inputs become the nearest of 2^bits
numbers from 0 to 10 at equal distances, and what is below zero becomes zero: it is for networks whose layers read what a ReLU
has left, and others are refused. In the paper they are from 0 to 1, a tenth of the input; the norm behind each layer makes
both the same.

The first convolution has 8 bits for its weights, and pictures are not rounded. The classifier has 8 bits by another rule: its
rows lose their means, and reach from -1/2 to 1/2 with s twice the largest |t|; its input is not rounded. Sums of branches,
norms, biases and the gates of squeezes are floats.

Source: Arch-Net (arXiv:2111.01135), after DoReFa-Net (Zhou et al. 2016, arXiv:1606.06160), section 2.3, where s is twice the
largest |t|.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from paretina.model.blueprint import Quantiser, QuantiserPlace
from paretina.model.rounding import LayerRounding, levels

REACH = 10.0
"""The largest input that is not cut off."""


def spread(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Numbers rounded to `scale` times 2^bits numbers from -1/2 to 1/2; the scale gets no gradient."""
    scale = scale.detach().clamp(min=torch.finfo(x.dtype).tiny)
    return (levels(x / scale + 0.5, bits) - 0.5) * scale


def rounded_weight_by_mean(weight: Tensor, bits: int) -> Tensor:
    """A weight of any shape, rounded with one scale."""
    bent = weight.tanh()
    return spread(bent, 2.0 * bent.abs().mean(), bits)


def rounded_weight_by_row(weight: Tensor, bits: int) -> Tensor:
    """A weight (output, ...), whose rows lose their means and are rounded each with a scale of its own."""
    bent = weight.tanh()
    rest = tuple(range(1, weight.ndim))
    bent = bent - bent.mean(rest, keepdim=True)
    return spread(bent, 2.0 * bent.abs().amax(rest, keepdim=True), bits)


class DorefaRounding(LayerRounding):
    """
    Attributes:
        by_row: whether each row of the weight has a scale of its own.
    """

    def __init__(self, weight_bits: int, input_bits: int | None, by_row: bool) -> None:
        super().__init__(weight_bits, input_bits)
        self.by_row = by_row

    def weight(self, weight: Tensor) -> Tensor:
        assert self.weight_bits is not None
        return (rounded_weight_by_row if self.by_row else rounded_weight_by_mean)(weight, self.weight_bits)

    def input(self, x: Tensor) -> Tensor:
        assert self.input_bits is not None
        return levels(x / REACH, self.input_bits) * REACH

    def scales(self, rows: int) -> int:
        return rows if self.by_row else 1


@dataclass(frozen=True, kw_only=True)
class Dorefa(Quantiser):
    """Has nothing to set beyond the bits."""

    def make(self, place: QuantiserPlace, shape: tuple[int, ...]) -> LayerRounding:
        return DorefaRounding(*self.bits_at(place), by_row=place == "last")


EXAMPLES = (Dorefa(), Dorefa(weights=8, activations=8), Dorefa(weights=1, activations=2))
