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
from jaxtyping import Float, Int
from torch import Tensor, nn

from paretina.model.blueprint import Block, Kit, Rounding
from paretina.model.layers import Convolution, Residual, overwriting, rows
from paretina.model.norms.channel import ChannelNormUnit
from paretina.shapes import Map

EPS = 1e-6

Rows = Float[Tensor, "batch *place _channel"]
Kept = Float[Tensor, "batch row column"]
Numbers = Int[Tensor, "batch _number"]


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


class ShortPath(nn.Module):
    """Layer norm, linear, layer scale, of places that take neither of the two larger linear layers."""

    scale: nn.Module

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.project = nn.Linear(width, width)
        self.scale = LayerScale(width, start)

    def forward(self, x: Rows) -> Rows:
        return scaled(self.project(self.norm(x)), self.scale)

    @torch.no_grad()
    def fold(self) -> None:
        """As `ConvNeXtBody.fold`."""
        fold_norm(self, self.project)
        fold_scale(self, self.project)


class ConvNeXtBody(nn.Module):
    """Depthwise convolution, layer norm, linear, activation, linear, layer scale.

    Channels are the last axis in memory from the norm on, so that on channels_last maps nothing is copied.

    Attributes:
        short_path: what some of the places take in place of all that follows the convolution; None unless the stage says which.
    """

    scale: nn.Module
    short_path: ShortPath | None

    def __init__(self, spatial: nn.Module, width: int, hidden: int, activation: nn.Module, start: float) -> None:
        super().__init__()
        self.spatial = spatial
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.expand = nn.Linear(width, hidden)
        self.activation = activation
        self.project = nn.Linear(hidden, width)
        self.scale = LayerScale(width, start)
        self.short_path = None

    def forward(self, x: Map, kept: Kept | None = None, long: Numbers | None = None, short: Numbers | None = None) -> Map:
        """
        Args:
            kept: 1 for places that take the long path and 0 for others, all of which are computed on both; has a gradient.
            long: numbers of the places that take the long path, in place of `kept`: each is computed on one path only.
            short: numbers of the other places.
        """
        x = self.spatial(x).permute(0, 2, 3, 1)  # b c h w -> b h w c
        if kept is not None:
            assert self.short_path is not None
            share = kept.unsqueeze(3).to(x.dtype)
            x = self.long_path(x) * share + self.short_path(x) * (1 - share)
        elif long is not None and short is not None:
            assert self.short_path is not None
            places, size = x.flatten(1, 2), x.shape[1:3]
            found = torch.cat((self.long_path(rows(places, long)), self.short_path(rows(places, short))), 1)
            numbers = torch.cat((long, short), 1)
            x = torch.zeros_like(found).scatter(1, numbers.unsqueeze(2).expand_as(found), found).unflatten(1, size)
        else:
            x = self.project(self.activation(self.expand(self.norm(x))))
            return self.scale(x.permute(0, 3, 1, 2))
        return x.permute(0, 3, 1, 2)

    def long_path(self, x: Rows) -> Rows:
        """What follows the convolution, with the channels last."""
        return scaled(self.project(self.activation(self.expand(self.norm(x)))), self.scale)

    @torch.no_grad()
    def fold(self) -> None:
        """Folds the norm's scale and shift into the first linear layer and the layer scale into the second, in place."""
        fold_norm(self, self.expand)
        fold_scale(self, self.project)


def scaled(x: Rows, scale: nn.Module) -> Rows:
    """Rows times a layer scale that may be folded."""
    return x * scale.weight if isinstance(scale, LayerScale) else x


def fold_norm(owner: "ConvNeXtBody | ShortPath", layer: nn.Linear) -> None:
    """Folds the scale and shift of the owner's norm into the linear layer behind it, in place."""
    if owner.norm.elementwise_affine:
        kernel = layer.weight.double()
        layer.bias.copy_(layer.bias.double() + kernel @ owner.norm.bias.double())
        layer.weight.copy_(kernel * owner.norm.weight.double())
        owner.norm = nn.LayerNorm(owner.norm.normalized_shape, eps=owner.norm.eps, elementwise_affine=False)


def fold_scale(owner: "ConvNeXtBody | ShortPath", layer: nn.Linear) -> None:
    """Folds the owner's layer scale into the linear layer before it, in place."""
    if isinstance(owner.scale, LayerScale):
        factor: Tensor = owner.scale.weight.double()
        layer.weight.copy_(layer.weight.double() * factor[:, None])
        layer.bias.copy_(layer.bias.double() * factor)
        owner.scale = nn.Identity()


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
        body = ConvNeXtBody(spatial, width_out, hidden, overwriting(kit.row_activation(hidden, self)), self.layer_scale)
        residual = Residual(body, body.scale)
        if stride == 1 and width_in == width_out:
            return residual
        return nn.Sequential(Downsample(width_in, width_out, stride), residual)


EXAMPLES = (ConvNeXt(), ConvNeXt(hidden=20), ConvNeXt(expand=2, kernel=3, layer_scale=1.0))
