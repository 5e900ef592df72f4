"""Separable: a depthwise and a pointwise convolution, each with norm and activation (MobileNetV1).

The cheapest block there is: its 3x3 needs an eighth to a ninth of the MACs of a dense 3x3 of the same widths. Nearly all of
them are in the pointwise convolution; the depthwise one is bound by memory on CPUs and GPUs. It has no residual.

Source: Howard et al. 2017 (arXiv:1704.04861), section 3.1 and figure 3.
"""

from dataclasses import dataclass

from torch import nn

from paretina.model.blueprint import Block, Kit, Unit
from paretina.shapes import Map


class DepthwisePointwise(nn.Module):
    """Convolve each channel in space, then mix the channels."""

    def __init__(self, depthwise: Unit, pointwise: Unit) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.pointwise = pointwise

    def forward(self, x: Map) -> Map:
        return self.pointwise(self.depthwise(x))


@dataclass(frozen=True, kw_only=True)
class Separable(Block):
    """
    Attributes:
        kernel: side of the depthwise kernel, in pixels; odd.
    """

    kernel: int = 3

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"Separable keeps the image size only with an odd kernel, got kernel={self.kernel}")

    @property
    def rectified(self) -> bool:
        return True

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        depthwise = kit.unit(width_in, width_in, self.kernel, stride, width_in)
        return DepthwisePointwise(depthwise, kit.unit(width_in, width_out))


EXAMPLES = (Separable(), Separable(kernel=5))
