"""MBConv: the inverted residual of MobileNetV2, with squeeze-and-excitation.

Few MACs and parameters; its depthwise convolution is bound by memory on CPUs and GPUs.

Source: Sandler et al. 2018 (arXiv:1801.04381), section 3; squeeze as in Tan & Le 2019 (arXiv:1905.11946); grouped convolutions
in place of the depthwise one: Masters et al. 2021 (arXiv:2106.03640).
"""

from dataclasses import dataclass, replace

from torch import nn

from paretina.model.blueprint import Block, Kit, Rounding, Unit
from paretina.model.layers import Residual, SqueezeExcite, overwriting
from paretina.shapes import Map


class InvertedBottleneck(nn.Module):
    """Expand, convolve in space, squeeze, project."""

    def __init__(self, expand: Unit | None, spatial: Unit, squeeze: nn.Module | None, project: Unit) -> None:
        super().__init__()
        self.expand: Unit | None = expand
        self.spatial: Unit = spatial
        self.squeeze = squeeze
        self.project: Unit = project

    def forward(self, x: Map) -> Map:
        # what comes next takes the gain of a norm: a convolution into its weights, the squeeze onto its gate
        gain = None
        if self.expand is not None:
            x, gain = self.expand.parts(x)
        x, gain = self.spatial.parts(x, gain)
        if self.squeeze is not None:
            x, gain = self.squeeze(x, gain), None
        x, gain = self.project.parts(x, gain)
        return x if gain is None else x * gain.to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class MBConv(Block):
    """
    Attributes:
        expand: hidden width as a multiple of the input width.
        kernel: side of the spatial kernel, in pixels; odd.
        squeeze: squeezed width as a fraction of the *input* width, rounded down; 0 leaves the squeeze out.
        group_width: channels a group of the spatial convolution should have; 1 is depthwise. Where it does not divide the
            hidden width, the number of groups is the largest that divides it and is at most hidden // group_width.
        hidden: hidden width; 0 for the input width * `expand`.
    """

    expand: int
    kernel: int
    squeeze: float = 0.25
    group_width: int = 1
    hidden: int = 0

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"MBConv keeps the image size only with an odd kernel, got kernel={self.kernel}")
        if self.expand < 1 or self.group_width < 1 or self.squeeze < 0:
            raise ValueError(f"MBConv needs expand >= 1, group_width >= 1 and squeeze >= 0, got {self}")
        if self.hidden < 0 or (self.hidden and self.expand == 1):
            raise ValueError(f"MBConv has a hidden width of its own only with expand above 1, got {self}")

    def hidden_width(self, width_in: int, width_out: int) -> int:
        return 0 if self.expand == 1 else self.hidden or width_in * self.expand

    def widened(self, rounding: Rounding) -> "MBConv":
        return replace(self, hidden=self.hidden and rounding(self.hidden))

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        hidden = self.hidden_width(width_in, width_out) or width_in
        most = max(1, hidden // self.group_width)
        groups = next(count for count in range(most, 0, -1) if hidden % count == 0)
        project = kit.unit(hidden, width_out, act=False)
        body = InvertedBottleneck(
            expand=kit.unit(width_in, hidden) if self.expand > 1 else None,
            spatial=kit.unit(hidden, hidden, self.kernel, stride, groups),
            squeeze=self.make_squeeze(width_in, hidden, kit) if self.squeeze else None,
            project=project,
        )
        return Residual(body, project.norm) if stride == 1 and width_in == width_out else body

    def make_squeeze(self, width_in: int, hidden: int, kit: Kit) -> nn.Module:
        squeezed = max(1, int(width_in * self.squeeze))
        return SqueezeExcite(hidden, squeezed, overwriting(kit.activation.make(squeezed)))

    def regrouped(self, group_width: int, expand: int | None) -> "MBConv":
        expand = self.expand if expand is None or self.expand == 1 else expand
        return replace(self, group_width=group_width, expand=expand)


EXAMPLES = (
    MBConv(expand=1, kernel=3),
    MBConv(expand=4, kernel=5, squeeze=0.0),
    MBConv(expand=6, kernel=3, group_width=16),
    MBConv(expand=6, kernel=3, hidden=40),
)
