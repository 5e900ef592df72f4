"""Wave: mixes places along rows and columns, each as a wave whose phase depends on the picture, and then channels by an MLP.

A large kernel along each side for the price of small ones: all of its MACs but a few percent are in 1x1 convolutions, which are
fast everywhere, on maps of any size. Places are added as waves: amplitude times cosine and sine of a phase, both made of the
place itself, so that the same kernel adds some and cancels others. A softmax for each channel, made of the mean of the map,
weighs rows, columns and the channel itself. Cosine and sine cost passes over the map that no MACs tell of.

The norm of the blueprint stands before each branch. A block that changes size or width begins with a convolution and a norm,
3x3 where it shrinks the map, which are separate layers in the paper.

Source: Tang et al. 2022 (arXiv:2111.12294), section 3 and figure 2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paretina.model.activations.pointwise import ReLU
from paretina.model.blueprint import Block, Kit
from paretina.model.layers import Residual, overwriting
from paretina.shapes import Map


def waves(amplitude: Map, phase: Map) -> Map:
    """Both parts of a wave, all cosines first: (batch, channel, ...) -> (batch, 2 channel, ...)."""
    return torch.cat((amplitude * phase.cos(), amplitude * phase.sin()), 1)


def mean_of(x: Map) -> Map:
    """The mean over all places, as a map of one place."""
    return x.mean((2, 3), keepdim=True)


def shares_of(gates: Map, branches: int) -> Tensor:
    """A softmax over branches for each channel; (batch, channel * branch, 1, 1) -> (branch, batch, channel, 1, 1)."""
    return gates.unflatten(1, (-1, branches)).softmax(2).movedim(2, 0)


class WaveMixing(nn.Module):
    """Mixes places along rows and along columns, and weighs both and the channels by the mean of the map."""

    def __init__(self, width: int, kernel: int, kit: Kit) -> None:
        super().__init__()
        self.row_phase, self.column_phase = (kit.unit(width, width, act=ReLU()) for _ in range(2))
        self.row_amplitude, self.column_amplitude, self.channel = (kit.conv(width, width) for _ in range(3))
        self.rows = kit.conv(2 * width, width, (1, kernel), groups=width)
        self.columns = kit.conv(2 * width, width, (kernel, 1), groups=width)
        squeezed = max(1, width // 4)
        self.gates = nn.Sequential(
            kit.conv(width, squeezed, bias=True),
            overwriting(kit.activation.make(squeezed)),
            kit.conv(squeezed, 3 * width, bias=True),
        )
        self.project = kit.conv(width, width, bias=True)

    def forward(self, x: Map) -> Map:
        rows = self.rows(waves(self.row_amplitude(x), self.row_phase(x)))
        columns = self.columns(waves(self.column_amplitude(x), self.column_phase(x)))
        channel = self.channel(x)
        shares = shares_of(self.gates(mean_of(rows + columns + channel)), 3)
        return self.project(rows * shares[0] + columns * shares[1] + channel * shares[2])


@dataclass(frozen=True, kw_only=True)
class Wave(Block):
    """
    Attributes:
        expand: hidden width of the MLP, as a multiple of the output width.
        kernel: length of the kernels along rows and columns, in pixels; odd.
    """

    expand: int = 4
    kernel: int = 7

    def __post_init__(self) -> None:
        if self.expand < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"Wave needs expand of at least 1 and an odd kernel, which keeps the size of the map, got {self}")

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        mixing = WaveMixing(width_out, self.kernel, kit)
        hidden = width_out * self.expand
        last = kit.conv(hidden, width_out, bias=True)
        layers = (kit.conv(width_out, hidden, bias=True), overwriting(kit.activation.make(hidden)), last)
        block = nn.Sequential()
        if stride > 1 or width_in != width_out:
            block.add_module("adapt", kit.unit(width_in, width_out, 3 if stride > 1 else 1, stride, act=False))
        # only a convolution ends a branch; with a weight of zero the branch starts at its bias, which is zero
        block.add_module("places", Residual(nn.Sequential(kit.norm.make(width_out, None), mixing), mixing.project))
        block.add_module("channels", Residual(nn.Sequential(kit.norm.make(width_out, None), *layers), last))
        return block


EXAMPLES = (Wave(), Wave(expand=2, kernel=3))
