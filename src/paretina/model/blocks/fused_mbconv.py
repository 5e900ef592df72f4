"""Fused-MBConv: MBConv whose expansion and depthwise convolution are one dense convolution.

More MACs and parameters than MBConv, yet faster in early stages wherever dense convolutions are fast.

Source: Tan & Le 2021 (arXiv:2104.00298), section 3.2; Gupta & Akin 2020 (arXiv:2003.02838).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from paretina.model.blocks.mbconv import InvertedBottleneck
from paretina.model.blueprint import Block, Kit, Rounding
from paretina.model.layers import Residual, SqueezeExcite, overwriting


@dataclass(frozen=True, kw_only=True)
class FusedMBConv(Block):
    """
    Attributes:
        expand: hidden width as a multiple of the input width. With 1 there is no projection: a single convolution leads to the
            output width, and its activation comes before the residual is added.
        kernel: side of the kernel, in pixels; odd.
        squeeze: squeezed width as a fraction of the input width; the released networks have none.
        hidden: hidden width; 0 for the input width * `expand`.
    """

    LOW_PRECISION: ClassVar[bool] = True

    expand: int
    kernel: int = 3
    squeeze: float = 0.0
    hidden: int = 0

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"FusedMBConv keeps the image size only with an odd kernel, got kernel={self.kernel}")
        if self.expand < 1 or self.squeeze < 0:
            raise ValueError(f"FusedMBConv needs expand >= 1 and squeeze >= 0, got {self}")
        if self.expand == 1 and self.squeeze:
            raise ValueError("FusedMBConv has no squeeze with expand=1: there is no hidden width to squeeze")
        if self.hidden < 0 or (self.hidden and self.expand == 1):
            raise ValueError(f"FusedMBConv has a hidden width of its own only with expand above 1, got {self}")

    @property
    def rectified(self) -> bool:
        return self.expand == 1

    def hidden_width(self, width_in: int, width_out: int) -> int:
        return 0 if self.expand == 1 else self.hidden or width_in * self.expand

    def widened(self, rounding: Rounding) -> "FusedMBConv":
        return replace(self, hidden=self.hidden and rounding(self.hidden))

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        if self.expand == 1:
            unit = kit.unit(width_in, width_out, self.kernel, stride)
            return Residual(unit, unit.norm) if stride == 1 and width_in == width_out else unit
        hidden = self.hidden_width(width_in, width_out)
        squeezed = max(1, int(width_in * self.squeeze))
        project = kit.unit(hidden, width_out, act=False)
        body = InvertedBottleneck(
            expand=None,
            spatial=kit.unit(width_in, hidden, self.kernel, stride),
            squeeze=SqueezeExcite(hidden, squeezed, overwriting(kit.activation.make(squeezed))) if self.squeeze else None,
            project=project,
        )
        return Residual(body, project.norm) if stride == 1 and width_in == width_out else body


EXAMPLES = (
    FusedMBConv(expand=1),
    FusedMBConv(expand=4),
    FusedMBConv(expand=2, kernel=5, squeeze=0.25),
    FusedMBConv(expand=4, hidden=20),
)
