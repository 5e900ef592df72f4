"""ModernBottleneck: ResNet's bottleneck, with each change that leads from it to ConvNeXt as a switch.

With the default of every switch it computes the same as `Bottleneck`; with all of them set, the same as ConvNeXt's block, only
slower. For finding out which changes help in your network and on your device; `model/edits/modernise.py` sets them.

Source: Liu et al. 2022 (arXiv:2201.03545), section 2 and figures 3 and 4. The paper does not specify the biases: here a
convolution has one where no norm follows it. Nor does it say with which change layer scale comes in: here with `norms="one"`,
where it takes over from the scale of the norm that ended the block. A shortcut that changes the shape keeps its norm.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from torch import nn

from paretina.model.blocks.convnext import Downsample, LayerScale
from paretina.model.blocks.resnet import Shortcut, make_shortcut
from paretina.model.blueprint import Block, Kit, Unit
from paretina.model.layers import Residual, overwriting


@dataclass(frozen=True, kw_only=True)
class ModernBottleneck(Block):
    """
    Attributes:
        expand: hidden width as a multiple of the output width; below 1 in ResNet, above 1 in an inverted bottleneck.
        kernel: side of the spatial kernel, in pixels; odd.
        group_width: channels of a group of the spatial convolution, which must divide its width; 1 is depthwise, 0 one group.
        spatial: place of the spatial convolution: between the two 1x1, or first, where it has the width of the input.
        activations: one behind each of the first two convolutions and behind the sum, or a single one, before the last
            convolution.
        norms: one behind each convolution, or a single one, behind the spatial convolution, and a layer scale at the end.
        downsampling: inside, by the spatial convolution and the shortcut; or separate, by a layer norm and a convolution of
            patches in front of a block that changes nothing.
        shortcut: how a shape is changed on the shortcut when downsampling is inside; "pool" is ResNet's variant D.
    """

    expand: float = 0.25
    kernel: int = 3
    group_width: int = 0
    spatial: Literal["middle", "first"] = "middle"
    activations: Literal["all", "one"] = "all"
    norms: Literal["all", "one"] = "all"
    downsampling: Literal["inside", "separate"] = "inside"
    shortcut: Shortcut = "conv"

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"ModernBottleneck keeps the image size only with an odd kernel, got kernel={self.kernel}")
        if self.expand <= 0 or self.group_width < 0:
            raise ValueError(f"ModernBottleneck needs expand > 0 and group_width >= 0, got {self}")

    @property
    def width_step(self) -> int:
        grouped = max(1, self.group_width)
        if self.spatial == "first":
            return math.lcm(Fraction(self.expand).limit_denominator(1000).denominator, grouped)
        return (Fraction(self.expand).limit_denominator(1000) / grouped).denominator

    def hidden(self, width: int) -> int:
        """The hidden width of a block for an output width."""
        hidden = round(width * self.expand)
        if hidden < 1 or abs(hidden - width * self.expand) > 1e-6:
            raise ValueError(
                f"ModernBottleneck(expand={self.expand}) needs a width that gives an integer hidden width, got {width}"
            )
        return hidden

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        if self.downsampling == "separate" and (stride > 1 or width_in != width_out):
            downsample = Downsample(width_in, width_out, stride)
            return nn.Sequential(downsample, self.residual(width_out, width_out, 1, kit))
        return self.residual(width_in, width_out, stride, kit)

    def residual(self, width_in: int, width_out: int, stride: int, kit: Kit) -> Residual:
        hidden, every = self.hidden(width_out), self.activations == "all"
        if self.spatial == "first":
            start = (self.space(width_in, stride, kit, acts=every), self.mix(width_in, hidden, kit, acts=True))
        else:
            start = (self.mix(width_in, hidden, kit, acts=every), self.space(hidden, stride, kit, acts=True))
        end = self.mix(hidden, width_out, kit, acts=False)
        body = nn.Sequential(*start, end)
        if self.norms == "one":
            body.append(LayerScale(width_out, 1e-6))
        shortcut = make_shortcut(self.shortcut, width_in, width_out, stride, kit)
        last_norm = end.norm if isinstance(end, Unit) else body[-1]
        return Residual(body, last_norm, shortcut, overwriting(kit.activation.make(width_out)) if every else None)

    def space(self, width: int, stride: int, kit: Kit, *, acts: bool) -> nn.Module:
        """The spatial convolution, which always has its norm."""
        return kit.unit(width, width, self.kernel, stride, self.groups(width), act=acts)

    def mix(self, width_in: int, width_out: int, kit: Kit, *, acts: bool) -> nn.Module:
        """A 1x1 convolution."""
        if self.norms == "all":
            return kit.unit(width_in, width_out, act=acts)
        conv = kit.conv(width_in, width_out, bias=True)
        return nn.Sequential(conv, overwriting(kit.activation.make(width_out))) if acts else conv

    def groups(self, width: int) -> int:
        if self.group_width and width % self.group_width:
            raise ValueError(
                f"ModernBottleneck needs a spatial convolution whose width is a multiple of group_width={self.group_width}, "
                f"got {width}"
            )
        return width // self.group_width if self.group_width else 1


EXAMPLES = (
    ModernBottleneck(),
    ModernBottleneck(expand=4.0, group_width=1),
    ModernBottleneck(spatial="first", activations="one", shortcut="pool"),
    ModernBottleneck(norms="one"),
    ModernBottleneck(
        expand=4.0, kernel=7, group_width=1, spatial="first", activations="one", norms="one", downsampling="separate"
    ),
)
