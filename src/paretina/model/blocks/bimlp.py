"""BiMlp: Wave-MLP's block for layers whose weights and inputs are signs: more branches, a shortcut around each layer.

A sum of signs takes few values, so what one layer loses is given back by others: places are mixed along rows and columns, as
waves, and by channel, all three weighed by a softmax; channels are mixed by an MLP, whose output is weighed against kernels
along rows and columns. The shortcut of a layer has no parameters also where widths differ: channels are repeated, or the mean
is taken of neighbours. Each layer begins with a shift for each channel, which says where its sign changes, and ends with the
norm, the sum with the shortcut, and the activation. Meant for `model.quantiser=Binary` and `model.activation=RPReLU`, as in
`bimlp_s`; with floats it is a somewhat costlier `Wave`.

A block that changes size or width begins with a 1x1 convolution, which a quantiser keeps in more bits, with norm and
activation, and, where it shrinks the map, the mean of max pools of several sides. The convolution runs before the map shrinks,
so that in BiMLP three quarters of all MACs of floats are there.

The released code differs in two places from what is built here: a norm and an activation stand in the shortcut of the layer
that widens, and BiMLP-M has group norms.

Source: Xu et al. 2022 (arXiv:2212.14158), section 3; numbers and order of layers as in the released code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from paretina.model.blocks.wave import mean_of, shares_of, waves
from paretina.model.blueprint import Block, Kit, NormUnit, Unit
from paretina.model.layers import Residual, overwriting
from paretina.shapes import Map

POOLS = (2, 3, 5, 7)
"""Sides of the max pools that shrink a map, in pixels."""

GATE = 4
"""How many times narrower the gates are inside than the map."""


class ChannelShift(nn.Module):
    """Adds one learned number to each channel; starts at 0."""

    ROLES = {"shift": "bias"}

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(width))

    def reset_parameters(self) -> None:
        self.shift.zero_()

    def forward(self, x: Map) -> Map:
        return x + self.shift.to(x.dtype)[:, None, None]


def fitted(x: Map, width: int) -> Map:
    """A map with another number of channels, without parameters: all of them repeated, or the means of neighbours.

    Args:
        width: a multiple or a part of the number of channels.
    """
    have = x.shape[1]
    if width >= have:
        return x if width == have else x.repeat(1, width // have, 1, 1)
    return x.unflatten(1, (width, have // width)).mean(2)


class ShiftedUnit(nn.Module):
    """Shift, convolution, norm, the sum with the shifted input, activation."""

    def __init__(self, width_in: int, width_out: int, kit: Kit, kernel: int | tuple[int, int] = 1, groups: int = 1) -> None:
        super().__init__()
        self.width = width_out
        self.shift = ChannelShift(width_in)
        self.unit = Unit(kit.conv(width_in, width_out, kernel, groups=groups), kit.norm.make(width_out, None))
        self.activation = overwriting(kit.activation.make(width_out))

    @property
    def norm(self) -> NormUnit:
        return self.unit.norm

    def forward(self, x: Map) -> Map:
        x = self.shift(x)
        return self.activation(self.unit(x) + fitted(x, self.width))  # type: ignore[no-any-return]


class BinaryPlaces(nn.Module):
    """Mixes places along rows and columns and by channel; the weights of the three depend on the mean of all."""

    def __init__(self, width: int, kernel: int, kit: Kit) -> None:
        super().__init__()
        self.row_phase, self.column_phase = (ShiftedUnit(width, width, kit) for _ in range(2))
        self.row_amplitude, self.column_amplitude = (ShiftedUnit(width, width, kit) for _ in range(2))
        self.rows = ShiftedUnit(2 * width, width, kit, (1, kernel), width)
        self.columns = ShiftedUnit(2 * width, width, kit, (kernel, 1), width)
        self.channel = ShiftedUnit(width, width, kit)
        self.gates = nn.Sequential(ShiftedUnit(width, width // GATE, kit), ShiftedUnit(width // GATE, 3 * width, kit))
        self.project = ShiftedUnit(width, width, kit)

    def forward(self, x: Map) -> Map:
        rows = self.rows(waves(self.row_amplitude(x), self.row_phase(x)))
        columns = self.columns(waves(self.column_amplitude(x), self.column_phase(x)))
        channel = self.channel(x)
        shares = shares_of(self.gates(mean_of(rows + columns + channel + x)), 3)
        return self.project(rows * shares[0] + columns * shares[1] + channel * shares[2] + x)  # type: ignore[no-any-return]


class BinaryChannels(nn.Module):
    """An MLP over channels, weighed against a kernel along rows and one along columns.

    Attributes:
        shares: of the two kernels, from 0 on; the MLP has what is left of 1.
    """

    ROLES = {"shares": "scale"}

    def __init__(self, width: int, hidden: int, kernel: int, kit: Kit) -> None:
        super().__init__()
        self.expand = ShiftedUnit(width, hidden, kit)
        self.reduce = ShiftedUnit(hidden, width, kit)
        self.rows = ShiftedUnit(width, width, kit, (1, kernel), width)
        self.columns = ShiftedUnit(width, width, kit, (kernel, 1), width)
        self.shares = nn.Parameter(torch.zeros(2))

    def reset_parameters(self) -> None:
        self.shares.zero_()

    def forward(self, x: Map) -> Map:
        row_share, column_share = self.shares.to(x.dtype)
        mixed = self.reduce(self.expand(x))
        return row_share * self.rows(x) + column_share * self.columns(x) + (1.0 - row_share - column_share) * mixed  # type: ignore[no-any-return]


class MeanOfPools(nn.Module):
    """The mean of max pools with one stride and several sides; each is padded so that no place is left out."""

    def __init__(self, sides: Sequence[int], stride: int) -> None:
        super().__init__()
        self.sides = tuple(sides)
        self.stride = stride

    def forward(self, x: Map) -> Map:
        return torch.stack([self.pooled(x, side) for side in self.sides]).mean(0)

    def pooled(self, x: Map, side: int) -> Map:
        missing = [max(0, (math.ceil(size / self.stride) - 1) * self.stride + side - size) for size in x.shape[2:]]
        (above, below), (left, right) = ((each // 2, each - each // 2) for each in missing)
        return F.max_pool2d(F.pad(x, (left, right, above, below), value=-math.inf), side, self.stride)

    def extra_repr(self) -> str:
        return f"{self.sides}, stride={self.stride}"


@dataclass(frozen=True, kw_only=True)
class BiMlp(Block):
    """
    Attributes:
        expand: hidden width of the MLP, as a multiple of the output width.
        kernel: length of the kernels along rows and columns, in pixels; odd.
    """

    expand: int = 4
    kernel: int = 7

    def __post_init__(self) -> None:
        if self.expand < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"BiMlp needs expand of at least 1 and an odd kernel, which keeps the size of the map, got {self}")

    @property
    def width_step(self) -> int:
        return GATE

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        if width_out % GATE:
            raise ValueError(
                f"BiMlp needs a width that is a multiple of {GATE}, which its gates are narrower by, got {width_out}"
            )
        places = BinaryPlaces(width_out, self.kernel, kit)
        channels = BinaryChannels(width_out, width_out * self.expand, self.kernel, kit)
        block = nn.Sequential()
        if stride > 1 or width_in != width_out:
            adapt = Unit(kit.conv(width_in, width_out, kept=True), kit.norm.make(width_out, kit.activation))
            block.add_module("adapt", adapt)
            if stride > 1:
                block.add_module("pool", MeanOfPools(POOLS, stride))
        for name, body, last in (("places", places, places.project), ("channels", channels, channels.reduce)):
            block.add_module(name, Residual(nn.Sequential(kit.norm.make(width_out, None), body), last.norm))
        return block


EXAMPLES = (BiMlp(), BiMlp(expand=2, kernel=3))
