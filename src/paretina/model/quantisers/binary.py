"""Binary: weights and inputs of one bit, their signs, so that a product is an XNOR and a sum counts bits.

The least that a network can be stored in, and on hardware with such operations the least that it can be computed with; computed
with floats, as here, it is slower than without. Loses several points of ImageNet in networks that are made for it (`bimlp_s`),
and far more in others. Inputs must have both signs: a network whose activation lets nothing through that is below zero is
refused. Trains best for long, with Adam, a rate that falls linearly, weak augmentation and a teacher. Weight decay makes
weights near zero change their signs, so it is left out, at the latest once the weights have one bit.

An input becomes -1 or 1, zero becomes 1. A weight becomes its sign times the mean magnitude of the weights of its output
channel, which counts as a constant; its gradient passes where the weight is within -1 and 1. Sign has no gradient of its own,
so that of an input x is one of three: 2 - 2|x| within -1 and 1 ("quadratic"), 1 there ("clipped"), or that of |x|^(1/power)
with the sign of x ("reste"). The last is |x|^(1/power - 1) / power up to |x| = 1.5 and zero beyond, and below 0.1, where it
grows without limit, the slope of the line to zero. In its paper the power rises from 1 to 3 during training; here it stays.
Convolutions are padded with 1, since one bit has no zero.

The first convolution, those that blocks keep from it and the classifier have 8 bits for their weights, in steps of 1/127 of the
largest of each row, or stay floats; their inputs are not rounded. Sums of branches, norms, biases and the gates of squeezes are
floats.

With `ternary` an input becomes the nearest of -1, 0 and 1, and takes two bits. The released code of BiMLP computes so, and what
is published of its weights is not of a binary network. It also has a scale for each position of a kernel in place of each
output channel, with which depthwise weights are floats; that is not here.

Source: scales: XNOR-Net (Rastegari et al. 2016, arXiv:1603.05279), section 3.1; gradients: Courbariaux et al. 2016
(arXiv:1602.02830), Bi-Real Net (Liu et al. 2018, arXiv:1808.00278), ReSTE (Wu et al. 2023, arXiv:2308.06689); that of weights:
ReActNet (Liu et al. 2020, arXiv:2003.03488).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from paretina.model.blueprint import Blueprint, Quantiser, QuantiserPlace
from paretina.model.rounding import LayerRounding, rounded

Surrogate = Literal["quadratic", "clipped", "reste"]

NEAR = 0.1
"""Magnitude below which the gradient of "reste" is the slope of a line."""

FAR = 1.5
"""Magnitude beyond which the gradient of "reste" is zero."""


def signs(x: Tensor) -> Tensor:
    """-1 where a number is below zero and 1 elsewhere, also at zero."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def thirds(x: Tensor) -> Tensor:
    """The nearest of -1, 0 and 1; a half becomes 0."""
    return x.clamp(-1.0, 1.0).round()


def slope(x: Tensor, surrogate: Surrogate, power: float = 3.0) -> Tensor:
    """What stands for the derivative of sign."""
    size = x.abs()
    if surrogate == "quadratic":
        return (2.0 - 2.0 * size).clamp(min=0.0)
    if surrogate == "clipped":
        return (size <= 1.0).to(x.dtype)
    steep = size.clamp(min=NEAR) ** (1.0 / power - 1.0)
    return torch.where(size > NEAR, steep / power, steep) * (size <= FAR)


class Stepped(torch.autograd.Function):
    """`signs` or `thirds`, with the gradient of a surrogate."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ternary: bool, surrogate: Surrogate, power: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.surrogate, ctx.power = surrogate, power
        return thirds(x) if ternary else signs(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] * slope(x, ctx.surrogate, ctx.power), None, None, None


class SignedWeight(torch.autograd.Function):
    """`signed_weight`; its gradient passes where the weight is within -1 and 1."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return signed_weight(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        return gradients[0] * (weight.abs() <= 1.0)


def signed_weight(weight: Tensor) -> Tensor:
    """A weight (output, ...): signs, each row times its mean magnitude."""
    return signs(weight) * weight.abs().mean(tuple(range(1, weight.ndim)), keepdim=True)


def weight_in_steps(weight: Tensor, bits: int) -> Tensor:
    """A weight (output, ...), each row rounded to steps of which its largest magnitude has 2^(bits - 1) - 1."""
    largest = weight.detach().abs().amax(tuple(range(1, weight.ndim)), keepdim=True)
    step = (largest / (2 ** (bits - 1) - 1)).clamp(min=torch.finfo(weight.dtype).tiny)
    return rounded(weight / step) * step


class BinaryRounding(LayerRounding):
    """
    Attributes:
        choice: the quantiser.
    """

    def __init__(self, choice: "Binary") -> None:
        weights, inputs = choice.bits_at("inner")
        super().__init__(None if choice.float_weights else weights, inputs)
        self.choice = choice
        self.edge = 1.0 if choice.edge == "one" else 0.0

    def weight(self, weight: Tensor) -> Tensor:
        if self.weight_bits is None:
            return weight
        if weight.requires_grad and torch.is_grad_enabled():
            return SignedWeight.apply(weight)  # type: ignore[no-any-return, no-untyped-call]
        return signed_weight(weight)

    def input(self, x: Tensor) -> Tensor:
        choice = self.choice
        if x.requires_grad and torch.is_grad_enabled():
            return Stepped.apply(x, choice.ternary, choice.gradient, choice.power)  # type: ignore[no-any-return, no-untyped-call]
        return thirds(x) if choice.ternary else signs(x)

    def scales(self, rows: int) -> int:
        return rows


class KeptRounding(LayerRounding):
    """Rounds weights to many bits, each row with a step of its own."""

    def weight(self, weight: Tensor) -> Tensor:
        assert self.weight_bits is not None
        return weight_in_steps(weight, self.weight_bits)

    def scales(self, rows: int) -> int:
        return rows


@dataclass(frozen=True, kw_only=True)
class Binary(Quantiser):
    """
    Attributes:
        weights: 1.
        activations: 1; three values of an input, with `ternary`, take two.
        gradient: what stands for the derivative of sign at an input.
        power: of "reste"; the larger, the closer to sign and the less even. 1 is "clipped" at 1.5 in place of 1.
        ternary: whether inputs have three values, -1, 0 and 1, and not two.
        float_weights: whether weights stay floats, and inputs alone have one bit: the first of two steps of a training.
        float_ends: whether the first convolution, those that blocks keep and the classifier stay floats, in place of 8 bits for
            their weights.
        edge: what convolutions are padded with: one, or zero, a third value that is neither sign.
    """

    weights: int = 1
    activations: int = 1
    gradient: Surrogate = "quadratic"
    power: float = 3.0
    ternary: bool = False
    float_weights: bool = False
    float_ends: bool = False
    edge: Literal["one", "zero"] = "one"

    def __post_init__(self) -> None:
        if (self.weights, self.activations) != (1, 1):
            raise ValueError(
                f"Binary has 1 bit for weights and 1 for inputs, got weights={self.weights}, activations={self.activations}; "
                "Dorefa and Lsq have more, and ternary=true has three values for inputs"
            )
        if not self.power >= 1:
            raise ValueError(f"Binary.power must be at least 1, got {self.power}")

    def bits_at(self, place: QuantiserPlace) -> tuple[int, int | None]:
        weights, inputs = super().bits_at(place)
        return weights, inputs and (2 if self.ternary else 1)

    def check(self, blueprint: Blueprint) -> None:
        if blueprint.activation.RECTIFIES and not self.ternary:
            raise ValueError(
                f"Binary makes each input its sign, and {type(blueprint.activation).__name__}, the activation of this network, "
                "leaves nothing below zero, so that all would be 1; set model.activation=RPReLU, or choose one like bimlp_s"
            )

    def make(self, place: QuantiserPlace, shape: tuple[int, ...]) -> LayerRounding | None:
        if place == "inner":
            return BinaryRounding(self)
        return None if self.float_ends else KeptRounding(*self.bits_at(place))


EXAMPLES = (Binary(), Binary(gradient="reste", edge="zero"), Binary(gradient="clipped", ternary=True))
