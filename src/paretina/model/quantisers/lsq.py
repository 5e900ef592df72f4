"""Lsq: weights and inputs of few bits, with steps between the values that are learned.

Takes up the weights of a float network where 8 bits are left, and bears 3 or 4 bits where a fixed rule does not; each layer has
two more numbers to learn, and their gradients cost a pass over its input. With `signed`, inputs may be below zero, so it is for
any network whose layers come from the kit.

A number becomes the nearest multiple of the step between -Qn and Qp steps, where with b bits Qn = 2^(b-1) and Qp = 2^(b-1) - 1
for weights and signed inputs, 0 and 2^b - 1 for others. A step begins at 2 mean|x| / sqrt(Qp), that of weights with those that
training starts from, that of inputs with the first batch that is trained on (the mean of the ranks', where there are several);
until then, a network that is only evaluated takes the step from what comes in. Its gradient, round(x / step) - x / step inside
the range and -Qn or Qp outside, is multiplied by 1 / sqrt(numbers of the tensor times Qp). Steps are in the model file; float
weights lack them, and they then begin as said.

The first convolution has 8 bits for its weights, and pictures are not rounded. The classifier has 8 bits for its weights, and
its input is not rounded. Sums of branches, norms, biases and the gates of squeezes are floats.

Source: Esser et al. 2020 (arXiv:1902.08153), section 2: steps, their gradient and start; first and last layer with 8 bits.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paretina.model.blueprint import Blueprint, Quantiser, QuantiserPlace
from paretina.model.rounding import LayerRounding, rounded, slowed


def rounded_to_steps(x: Tensor, step: Tensor, least: int, most: int) -> Tensor:
    """Numbers rounded to multiples of a step, from `least` to `most` of them.

    Args:
        step: above zero; a scalar, or of a shape that goes with that of `x`.
    """
    if step.requires_grad and torch.is_grad_enabled():  # or a graph that is shipped would be for one number of pictures
        step = slowed(step, 1.0 / math.sqrt(x.numel() / step.numel() * most))
    return rounded((x / step).clamp(least, most)) * step


def range_of(bits: int, signed: bool) -> tuple[int, int]:
    """The least and the largest whole number of that many bits."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def first_step(x: Tensor, most: int, rows: bool = False) -> Tensor:
    """The step that a tensor begins with; with `rows`, one for each of its rows, in a shape that goes with that of `x`."""
    size = x.detach().abs().float()
    mean = size.mean(tuple(range(1, x.ndim)), keepdim=True) if rows else size.mean()
    return (2.0 * mean / math.sqrt(most)).clamp(min=torch.finfo(torch.float32).tiny)


class LsqRounding(LayerRounding):
    """
    Attributes:
        weight_step: step of the weights, zero before it is set; its sign has no meaning.
        input_step: likewise of the inputs; None where they are not rounded.
        weight_range: least and largest number of steps of a weight.
        input_range: likewise of an input.
    """

    ROLES = {"weight_step": "scale", "input_step": "scale"}

    def __init__(self, weight_bits: int, input_bits: int | None, signed: bool, steps: tuple[int, ...]) -> None:
        super().__init__(weight_bits, input_bits)
        self.weight_step: nn.Parameter | None = nn.Parameter(torch.zeros(steps))
        self.input_step = None if input_bits is None else nn.Parameter(torch.zeros(()))
        self.weight_range = range_of(weight_bits, True)
        self.input_range = range_of(input_bits or 8, signed)

    def reset_parameters(self) -> None:
        for step in self.parameters():
            nn.init.zeros_(step)

    def weight(self, weight: Tensor) -> Tensor:
        assert self.weight_step is not None
        return rounded_to_steps(weight, self.known(self.weight_step, weight, self.weight_range[1]), *self.weight_range)

    def input(self, x: Tensor) -> Tensor:
        assert self.input_step is not None
        return rounded_to_steps(x, self.known(self.input_step, x, self.input_range[1]).to(x.dtype), *self.input_range)

    def known(self, step: Tensor, x: Tensor, most: int) -> Tensor:
        """A step, or that which the tensor at hand would begin with if it was never set."""
        return step.abs() if self.begun else torch.where(step == 0, first_step(x, most, step.ndim > 0), step.abs())

    def begin(self, x: Tensor, weight: Tensor) -> None:
        """Sets the steps that were never set; the same on all ranks."""
        for step, tensor, (_, most) in (
            (self.weight_step, weight, self.weight_range),
            (self.input_step, x, self.input_range),
        ):
            if step is not None:
                start = first_step(tensor, most, step.ndim > 0)
                if torch.distributed.is_available() and torch.distributed.is_initialized():
                    torch.distributed.all_reduce(start)
                    start = start / torch.distributed.get_world_size()
                step.copy_(torch.where(step == 0, start, step))

    def settle(self) -> None:
        self.weight_bits = self.weight_step = None
        # without a step, inputs go on to say which it is
        self.begun = self.input_step is None or self.input_step.is_meta or bool(self.input_step != 0)

    def scales(self, rows: int) -> int:
        return 0 if self.weight_step is None else self.weight_step.numel()


@dataclass(frozen=True, kw_only=True)
class Lsq(Quantiser):
    """
    Attributes:
        signed: whether inputs of layers may be below zero, which costs a bit of them: for activations other than ReLU, and for
            blocks that end without activation. A network with such inputs is refused without it.
        per_channel: whether each output channel has a step of its own for its weights, as depthwise convolutions need.
    """

    weights: int = 4
    signed: bool = False
    per_channel: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights < 2:
            raise ValueError(
                f"Lsq.weights must be 2 to 8 bits, got {self.weights}: with one bit no step is above zero; Dorefa has one bit"
            )
        if self.signed and self.activations < 2:
            raise ValueError(f"Lsq.activations must be 2 to 8 bits with signed=true, got {self.activations}")

    def check(self, blueprint: Blueprint) -> None:
        if not self.signed:
            super().check(blueprint)

    def make(self, place: QuantiserPlace, shape: tuple[int, ...]) -> LayerRounding:
        steps = (shape[0], *[1] * (len(shape) - 1)) if self.per_channel else ()
        return LsqRounding(*self.bits_at(place), self.signed, steps)


EXAMPLES = (Lsq(), Lsq(weights=2, activations=2), Lsq(weights=8, activations=8, signed=True, per_channel=True))
