"""DenseResidual: four 3x3 convolutions, each on everything before it, and a fifth on all of them, added with a small factor.

With another width, or a stride, a 3x3 convolution follows that changes them. Many channels are read for the few that each
convolution adds, so it is slow for its parameters.

Source: the residual dense block of Wang et al. 2018 (ESRGAN, arXiv:1809.00219), with norms, in Guo et al. 2022
(arXiv:2207.14347).
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from paretina.model.blueprint import Block, Kit, Rounding, Unit
from paretina.model.layers import Residual, overwriting
from paretina.shapes import Map


class Dense(nn.Module):
    """Units that each read the input and the outputs of those before; the last one's output, times a factor."""

    def __init__(self, units: list[Unit], last: Unit, scale: float) -> None:
        super().__init__()
        self.units = nn.ModuleList(units)
        self.last = last
        self.scale = scale

    def forward(self, x: Map) -> Map:
        for unit in self.units:
            x = torch.cat((x, unit(x)), 1)
        return self.last(x) * self.scale  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class DenseResidual(Block):
    """
    Attributes:
        convolutions: how many convolutions add channels.
        growth: channels that each of them adds; 0 for a quarter of the input's.
        scale: factor on what is added to the input.
    """

    convolutions: int = 4
    growth: int = 0
    scale: float = 0.2

    def __post_init__(self) -> None:
        if self.convolutions < 1 or self.growth < 0:
            raise ValueError(
                f"DenseResidual needs at least one convolution and a growth of at least 0, got {self.convolutions} and "
                f"{self.growth}"
            )

    @property
    def width_step(self) -> int:
        return 1 if self.growth else 4

    def widened(self, rounding: Rounding) -> "DenseResidual":
        return replace(self, growth=self.growth and rounding(self.growth))

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        if not self.growth and width_in % 4:
            raise ValueError(
                f"DenseResidual adds a quarter of its input's channels at a time, which {width_in} cannot give; set growth"
            )
        growth = self.growth or width_in // 4
        units = [kit.unit(width_in + number * growth, growth, 3) for number in range(self.convolutions)]
        last = kit.unit(width_in + self.convolutions * growth, width_in, 3, act=False)
        whole = Residual(Dense(units, last, self.scale), last.norm, None, overwriting(kit.activation.make(width_in)))
        if stride == 1 and width_in == width_out:
            return whole
        return nn.Sequential(whole, kit.unit(width_in, width_out, 3, stride))


EXAMPLES = (DenseResidual(), DenseResidual(convolutions=2, growth=8, scale=1.0))
