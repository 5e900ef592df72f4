"""Ghost modules: half of the maps are computed, the other half are derived from them by cheap filters.

A ghost module makes 1 / `ratio` of its channels with an ordinary convolution and derives the others from them with small
depthwise kernels, so it has about 1 / `ratio` of the MACs and parameters. `GhostBottleneck` is the block of GhostNet;
`Ghosted` does the same to the dense convolutions of any other block. Depthwise kernels are bound by memory: on GPUs, and on
CPUs with several threads, a network rarely becomes faster by as much as its MACs fall. Measure it.

Source: Han et al. 2020 (arXiv:1911.11907), sections 3.1 and 3.2.
"""

from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor, nn

from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.resnet import Basic, Bottleneck
from paretina.model.blueprint import Activation, Block, Kit, Rounding, Unit
from paretina.model.edits.scale import Round
from paretina.model.layers import Residual, SqueezeExcite, overwriting
from paretina.shapes import Map


class Scales:
    """The scales of several norms, set to zero as one."""

    def __init__(self, *scales: Tensor) -> None:
        self.scales = scales

    def zero_(self) -> "Scales":
        for scale in self.scales:
            scale.zero_()
        return self


class GhostUnit(Unit):
    """Convolution, norm and activation that computes some of its channels and derives the others from them.

    It replaces a `Unit`, but consists of two of them and has no `conv` of its own.

    Attributes:
        primary: the ordinary unit.
        cheap: the depthwise unit on the output of `primary`.
        width: output channels; any above it are cut off.
    """

    def __init__(self, primary: Unit, cheap: Unit, width: int) -> None:
        nn.Module.__init__(self)
        self.primary = primary
        self.cheap = cheap
        self.width = width

    @property
    def norm(self) -> "GhostUnit":  # type: ignore[override]
        """The last norm of a residual body that ends in this unit: the unit itself, since it has two norms."""
        return self

    @property
    def weight(self) -> Scales:
        """The scales of both norms: only if both are zero does the output start, and stay for a while, near zero.

        With the first alone, the second norm would blow up the first step that leaves zero.
        """
        return Scales(self.primary.norm.weight, self.cheap.norm.weight)  # type: ignore[arg-type]

    def centred(self, x: Map) -> Map:
        return self.parts(x)[0]

    def gain(self) -> Tensor | None:
        return self.joined(self.primary.gain(), self.cheap.gain())

    def parts(self, x: Map, gain: Tensor | None = None) -> tuple[Map, Tensor | None]:
        first, first_gain = self.primary.parts(x, gain)
        second, second_gain = self.cheap.parts(first, first_gain)
        return torch.cat((first, second), 1)[:, : self.width], self.joined(first_gain, second_gain)

    def joined(self, first: Tensor | None, second: Tensor | None) -> Tensor | None:
        # both halves have the same norm, so both have a gain or neither has
        return None if first is None or second is None else torch.cat((first, second))[: self.width]

    def forward(self, x: Map, gain: Tensor | None = None) -> Map:
        x, gain = self.parts(x, gain)
        return x if gain is None else x * gain


def ghost_unit(
    kit: Kit,
    width_in: int,
    width_out: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    act: bool | Activation = True,
    ratio: int = 2,
    cheap_kernel: int = 3,
) -> GhostUnit:
    """A ghost module in place of `kit.unit`; the activation stands behind both of its convolutions.

    Args:
        ratio: how many times more channels come out than are computed densely, at least 2.
        cheap_kernel: side of the depthwise kernel, in pixels; odd.
    """
    computed = -(-width_out // ratio)
    # of the plain kit: that of a ghosted block would make a ghost of the primary convolution again
    primary = Kit.unit(kit, width_in, computed, kernel, stride, act=act)
    cheap = Kit.unit(kit, computed, computed * (ratio - 1), cheap_kernel, groups=computed, act=act)
    return GhostUnit(primary, cheap, width_out)


def check_ghost(where: str, ratio: int, cheap_kernel: int) -> None:
    if ratio < 2 or cheap_kernel < 1 or cheap_kernel % 2 == 0:
        raise ValueError(
            f"{where} needs ratio >= 2 and an odd cheap_kernel, which keeps the size of the map, "
            f"got ratio={ratio}, cheap_kernel={cheap_kernel}"
        )


class GhostBody(nn.Module):
    """Expand, convolve in space (where the map shrinks), squeeze, project."""

    def __init__(self, expand: Unit, spatial: Unit | None, squeeze: nn.Module | None, project: Unit) -> None:
        super().__init__()
        self.expand: Unit = expand
        self.spatial: Unit | None = spatial
        self.squeeze = squeeze
        self.project: Unit = project

    def forward(self, x: Map) -> Map:
        # a norm's gain goes to whatever comes next: into the weights of a convolution, or onto the gate
        x, gain = self.expand.parts(x)
        if self.spatial is not None:
            x, gain = self.spatial.parts(x, gain)
        if self.squeeze is not None:
            x, gain = self.squeeze(x, gain), None
        return self.project(x, gain)


@dataclass(frozen=True, kw_only=True)
class GhostBottleneck(Block):
    """
    Attributes:
        hidden: width between the two ghost modules.
        kernel: side of the depthwise kernel that shrinks the map, and of the shortcut's, in pixels; odd.
        squeeze: squeezed width as a fraction of `hidden`, rounded to a multiple of 4; 0 leaves the squeeze out. Its gate is
            the hard sigmoid relu6(x + 3) / 6.
        ratio: of the ghost modules: how many times more channels come out than are computed densely.
        cheap_kernel: side of the ghost modules' depthwise kernel, in pixels; odd.
    """

    hidden: int
    kernel: int = 3
    squeeze: float = 0.0
    ratio: int = 2
    cheap_kernel: int = 3

    def __post_init__(self) -> None:
        check_ghost("GhostBottleneck", self.ratio, self.cheap_kernel)
        if self.hidden < 1 or self.kernel % 2 == 0 or self.squeeze < 0:
            raise ValueError(f"GhostBottleneck needs hidden >= 1, an odd kernel and squeeze >= 0, got {self}")

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        hidden, ghost = self.hidden, partial(ghost_unit, kit, ratio=self.ratio, cheap_kernel=self.cheap_kernel)
        project = ghost(hidden, width_out, act=False)
        body = GhostBody(
            expand=ghost(width_in, hidden),
            spatial=kit.unit(hidden, hidden, self.kernel, stride, groups=hidden, act=False) if stride > 1 else None,
            squeeze=self.make_squeeze(kit) if self.squeeze else None,
            project=project,
        )
        return Residual(body, project.norm, self.make_shortcut(width_in, width_out, stride, kit))

    def make_squeeze(self, kit: Kit) -> nn.Module:
        squeezed = Round(divisor=4)(self.hidden * self.squeeze)
        return SqueezeExcite(self.hidden, squeezed, overwriting(kit.activation.make(squeezed)), nn.Hardsigmoid())

    def make_shortcut(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module | None:
        if stride == 1 and width_in == width_out:
            return None
        return nn.Sequential(
            kit.unit(width_in, width_in, self.kernel, stride, groups=width_in, act=False),
            kit.unit(width_in, width_out, act=False),
        )

    def widened(self, rounding: Rounding) -> "GhostBottleneck":
        return replace(self, hidden=rounding(self.hidden))


@dataclass(frozen=True)
class GhostKit(Kit):
    """A kit whose dense convolutions are ghost modules wherever that reduces the MACs."""

    ratio: int = 2
    cheap_kernel: int = 3

    def unit(
        self,
        width_in: int,
        width_out: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        act: bool | Activation = True,
    ) -> Unit:
        if groups > 1 or not self.saves(width_in, width_out, kernel):
            return super().unit(width_in, width_out, kernel, stride, groups, act=act)
        return ghost_unit(self, width_in, width_out, kernel, stride, act=act, ratio=self.ratio, cheap_kernel=self.cheap_kernel)

    def saves(self, width_in: int, width_out: int, kernel: int) -> bool:
        """Whether a ghost module has fewer MACs, and weights, than the dense convolution."""
        computed, inputs = -(-width_out // self.ratio), kernel**2 * width_in
        return computed * (inputs + (self.ratio - 1) * self.cheap_kernel**2) < width_out * inputs


@dataclass(frozen=True, kw_only=True)
class Ghosted(Block):
    """Another block, with ghost modules for its dense convolutions, except where they would have more MACs.

    Grouped and depthwise convolutions, squeezes and convolutions without norm are not changed.

    Attributes:
        block: the block to change.
        ratio: how many times more channels come out of a ghost module than are computed densely.
        cheap_kernel: side of the ghost modules' depthwise kernel, in pixels; odd.
    """

    block: Block
    ratio: int = 2
    cheap_kernel: int = 3

    def __post_init__(self) -> None:
        check_ghost("Ghosted", self.ratio, self.cheap_kernel)

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        shared = {field.name: getattr(kit, field.name) for field in fields(Kit)}
        ghosts = GhostKit(**shared, ratio=self.ratio, cheap_kernel=self.cheap_kernel)
        return self.block.make(width_in, width_out, stride, ghosts)

    def hidden_width(self, width_in: int, width_out: int) -> int:
        return self.block.hidden_width(width_in, width_out)

    def narrowed(self, hidden: int) -> "Ghosted":
        return replace(self, block=self.block.narrowed(hidden))

    @property
    def width_step(self) -> int:
        return self.block.width_step

    def with_wider_groups(self, factor: float) -> "Ghosted":
        return replace(self, block=self.block.with_wider_groups(factor))

    def widened(self, rounding: Rounding) -> "Ghosted":
        return replace(self, block=self.block.widened(rounding))


EXAMPLES = (
    GhostBottleneck(hidden=24),
    GhostBottleneck(hidden=36, kernel=5, squeeze=0.25),
    GhostBottleneck(hidden=24, ratio=3, cheap_kernel=5),
    Ghosted(block=Basic()),
    Ghosted(block=Bottleneck(squeeze=2, shortcut="pool"), ratio=4),
    Ghosted(block=MBConv(expand=4, kernel=3)),
)
