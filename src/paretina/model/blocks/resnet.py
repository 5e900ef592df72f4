"""The two blocks of ResNet: two 3x3 convolutions, or a 3x3 between two 1x1.

Dense, hence fast for its MACs on every device.

Source: He et al. 2015 (arXiv:1512.03385), figure 5; variants B and D: He et al. 2019 (arXiv:1812.01187), section 4.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import nn

from paretina.model.blueprint import Block, Kit, Rounding
from paretina.model.layers import Residual, overwriting

Shortcut = Literal["conv", "pool"]


def make_shortcut(kind: Shortcut, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module | None:
    """The projection where shapes change: a strided 1x1, or (variant D) a 2x2 average pool before a 1x1 of stride 1."""
    if stride == 1 and width_in == width_out:
        return None
    if kind == "pool" and stride > 1:
        pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
        return nn.Sequential(pool, kit.unit(width_in, width_out, act=False))
    return kit.unit(width_in, width_out, stride=stride, act=False)


@dataclass(frozen=True, kw_only=True)
class Basic(Block):
    """
    Attributes:
        shortcut: how a shape is changed on the shortcut; "pool" is variant D.
        hidden: channels between the two convolutions; 0 for the output width.
    """

    LOW_PRECISION: ClassVar[bool] = True

    shortcut: Shortcut = "conv"
    hidden: int = 0

    @property
    def rectified(self) -> bool:
        return True

    def hidden_width(self, width_in: int, width_out: int) -> int:
        return self.hidden or width_out

    def widened(self, rounding: Rounding) -> "Basic":
        return replace(self, hidden=self.hidden and rounding(self.hidden))

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        hidden = self.hidden_width(width_in, width_out)
        last = kit.unit(hidden, width_out, 3, act=False)
        body = nn.Sequential(kit.unit(width_in, hidden, 3, stride), last)
        shortcut = make_shortcut(self.shortcut, width_in, width_out, stride, kit)
        return Residual(body, last.norm, shortcut, overwriting(kit.activation.make(width_out)))


@dataclass(frozen=True, kw_only=True)
class Bottleneck(Block):
    """
    Attributes:
        squeeze: by how much the hidden width is smaller than the output width.
        strided: which convolution has the stride: the 3x3 (variant B) or the first 1x1 (A, the original).
        shortcut: how a shape is changed on the shortcut; "pool" is variant D.
        group_width: channels of a group of the 3x3, which must divide the hidden width; 0 is one group.
        hidden: width of the 3x3; 0 for the output width / `squeeze`.
    """

    LOW_PRECISION: ClassVar[bool] = True

    squeeze: int = 4
    strided: Literal["3x3", "1x1"] = "3x3"
    shortcut: Shortcut = "conv"
    group_width: int = 0
    hidden: int = 0

    @property
    def rectified(self) -> bool:
        return True

    def hidden_width(self, width_in: int, width_out: int) -> int:
        return self.hidden or width_out // self.squeeze

    @property
    def width_step(self) -> int:
        return 1 if self.hidden else self.squeeze * max(1, self.group_width)

    def widened(self, rounding: Rounding) -> "Bottleneck":
        return replace(self, hidden=self.hidden and rounding(self.hidden))

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        if not self.hidden and width_out % self.squeeze:
            raise ValueError(f"Bottleneck needs widths that are multiples of squeeze={self.squeeze}, got {width_out}")
        hidden = self.hidden_width(width_in, width_out)
        if self.group_width and hidden % self.group_width:
            raise ValueError(
                f"Bottleneck needs a hidden width that is a multiple of group_width={self.group_width}, got {hidden}"
            )
        groups = hidden // self.group_width if self.group_width else 1
        first, second = (stride, 1) if self.strided == "1x1" else (1, stride)
        last = kit.unit(hidden, width_out, act=False)
        body = nn.Sequential(kit.unit(width_in, hidden, stride=first), kit.unit(hidden, hidden, 3, second, groups), last)
        shortcut = make_shortcut(self.shortcut, width_in, width_out, stride, kit)
        return Residual(body, last.norm, shortcut, overwriting(kit.activation.make(width_out)))


EXAMPLES = (
    Basic(),
    Basic(shortcut="pool"),
    Bottleneck(),
    Bottleneck(strided="1x1"),
    Bottleneck(shortcut="pool"),
    Bottleneck(squeeze=1, group_width=8),
    Basic(hidden=12),
    Bottleneck(hidden=20),
)
