"""ConvNeXt's block: a large depthwise convolution, one norm, then two linear layers with one activation between them.

Accurate for its time where dense matrix products are fast, and its output for an image does not depend on the batch. Nearly
all of its MACs are in the two linear layers. Made for long training with strong augmentation; the layer scale starts so small
that a block is nearly the identity at first.

The layer norm over channels belongs to the block, whatever the blueprint's norm. A block that changes size or width begins with
a layer norm and a convolution of patches, which are separate layers in the paper: so the block works in every row of every
table, whatever the stride and the width. Where patches leave a rest at the edge, the map is padded and no pixel is dropped.

Source: Liu et al. 2022 (arXiv:2201.03545), figure 4 and section 2.6; layer scale: Touvron et al. 2021 (arXiv:2103.17239).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from paretina.model.blueprint import Block, Kit, Rounding
from paretina.model.layers import Convolution, Residual, overwriting
from paretina.model.norms.channel import ChannelNormUnit
from paretina.shapes import Map

EPS = 1e-6


class LayerScale(nn.Module):
    """One learned factor per channel.

    Attributes:
        start: initial value of every factor.
    """

    ROLES = {"weight": "scale"}

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.start = start
        self.weight = nn.Parameter(torch.empty(width))

    def reset_parameters(self) -> None:
        self.weight.fill_(self.start)

    def forward(self, x: Map) -> Map:
        return x * self.weight[:, None, None]


class Downsample(nn.Module):
    """Layer norm over channels, then non-overlapping patches."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.norm = ChannelNormUnit(width_in, EPS)
        self.conv = Convolution(width_in, width_out, stride, stride, 1, bias=True, same=True)

    def forward(self, x: Map) -> Map:
        return self.conv(self.norm(x))


class ConvNeXtBody(nn.Module):
    """Depthwise convolution, layer norm, linear, activation, linear, layer scale.

    Channels are the last axis in memory from the norm on, so that on channels_last maps nothing is copied.
    """

    scale: nn.Module

    def __init__(self, spatial: nn.Module, width: int, hidden: int, activation: nn.Module, start: float) -> None:
        super().__init__()
        self.spatial = spatial
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.expand = nn.Linear(width, hidden)
        self.activation = activation
        self.project = nn.Linear(hidden, width)
        self.scale = LayerScale(width, start)

    def forward(self, x: Map) -> Map:
        x = self.norm(self.spatial(x).permute(0, 2, 3, 1))  # b c h w -> b h w c
        x = self.project(self.activation(self.expand(x)))
        return self.scale(x.permute(0, 3, 1, 2))

    @torch.no_grad()
    def fold(self) -> None:
        """Folds the norm's scale and shift into the first linear layer and the layer scale into the second, in place."""
        if self.norm.elementwise_affine:
            kernel = self.expand.weight.double()
            self.expand.bias.copy_(self.expand.bias.double() + kernel @ self.norm.bias.double())
            self.expand.weight.copy_(kernel * self.norm.weight.double())
            self.norm = nn.LayerNorm(self.norm.normalized_shape, eps=self.norm.eps, elementwise_affine=False)
        if isinstance(self.scale, LayerScale):
            factor: Tensor = self.scale.weight.double()
            self.project.weight.copy_(self.project.weight.double() * factor[:, None])
            self.project.bias.copy_(self.project.bias.double() * factor)
            self.scale = nn.Identity()


@dataclass(frozen=True, kw_only=True)
class ConvNeXt(Block):
    """
    Attributes:
        expand: hidden width as a multiple of the output width.
        kernel: side of the depthwise kernel, in pixels; odd.
        layer_scale: initial value of the factors at the end of the block.
        hidden: hidden width; 0 for the output width * `expand`.
    """

    expand: int = 4
    kernel: int = 7
    layer_scale: float = 1e-6
    hidden: int = 0

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"ConvNeXt keeps the image size only with an odd kernel, got kernel={self.kernel}")
        if self.expand < 1:
            raise ValueError(f"ConvNeXt needs expand >= 1, got {self.expand}")

    def hidden_width(self, width_in: int, width_out: int) -> int:
        return self.hidden or width_out * self.expand

    def widened(self, rounding: Rounding) -> "ConvNeXt":
        return replace(self, hidden=self.hidden and rounding(self.hidden))

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        spatial = kit.conv(width_out, width_out, self.kernel, groups=width_out, bias=True)
        hidden = self.hidden_width(width_in, width_out)
        body = ConvNeXtBody(spatial, width_out, hidden, overwriting(kit.activation.make(hidden)), self.layer_scale)
        residual = Residual(body, body.scale)
        if stride == 1 and width_in == width_out:
            return residual
        return nn.Sequential(Downsample(width_in, width_out, stride), residual)


EXAMPLES = (ConvNeXt(), ConvNeXt(hidden=20), ConvNeXt(expand=2, kernel=3, layer_scale=1.0))
