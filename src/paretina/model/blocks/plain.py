"""PlainBlock: a residual block of 3x3 convolutions alone, whose branches are joined by concatenation in place of a sum.

For accelerators that know nothing but 3x3 convolutions, 2x2 max pools, batch norm, linear layers and concatenation. Each 1x1 is
a 3x3, the shortcut has norm and activation as all else has, and a 3x3 turns both branches, one behind the other, into one. No
convolution reads more than 512 channels: wider ones are computed in groups, which stands for a split, a convolution each and a
concatenation. Far more parameters and MACs than the block that it replaces, so on a CPU or a GPU it only loses.

Where both branches are wider than 256 each, parts of 256 channels of one stand beside those of the other, so that each group
reads both.

Source: Arch-Net (arXiv:2111.01135), the table of conversions.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from paretina.model.blueprint import Block, Kit, Rounding
from paretina.shapes import Map

MOST_INPUTS = 512
"""Channels that a convolution reads at most."""


def groups_within(width_in: int, width_out: int) -> int:
    """The smallest number of groups that a convolution needs so that none reads more than `MOST_INPUTS` channels.

    Raises:
        ValueError: no number of groups divides both widths.
    """
    for groups in range(-(-width_in // MOST_INPUTS), min(width_in, width_out) + 1):
        if width_in % groups == width_out % groups == 0:
            return groups
    raise ValueError(
        f"no number of groups of at most {MOST_INPUTS} channels divides both {width_in} and {width_out} channels; choose "
        "widths that are multiples of 256"
    )


def parted(one: Map, other: Map, parts: int) -> Map:
    """Two maps of equal shape one behind the other, in equal parts: the first of one, the first of the other, and so on."""
    if parts == 1:
        return torch.cat((one, other), 1)
    pairs = zip(one.chunk(parts, 1), other.chunk(parts, 1), strict=True)
    return torch.cat([part for pair in pairs for part in pair], 1)


class Concatenated(nn.Module):
    """Body and shortcut (or the input itself), joined by a convolution of `parts` groups."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None, join: nn.Module, parts: int) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.join = join
        self.parts = parts

    def forward(self, x: Map) -> Map:
        body = self.body(x)
        return self.join(parted(body, x if self.shortcut is None else self.shortcut(x), self.parts))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class PlainBlock(Block):
    """
    Attributes:
        squeeze: 0 for a body of two convolutions; else of three, the middle one that many times narrower than the output.
        hidden: channels inside the body; 0 for the output width, divided by `squeeze` where there is one.
    """

    squeeze: int = 0
    hidden: int = 0

    def __post_init__(self) -> None:
        if self.squeeze < 0 or self.hidden < 0:
            raise ValueError(f"PlainBlock needs squeeze >= 0 and hidden >= 0, got {self}")

    @property
    def rectified(self) -> bool:
        return True

    def hidden_width(self, width_in: int, width_out: int) -> int:
        return self.hidden or width_out // max(1, self.squeeze)

    @property
    def width_step(self) -> int:
        return 1 if self.hidden else max(1, self.squeeze)

    def widened(self, rounding: Rounding) -> "PlainBlock":
        return replace(self, hidden=self.hidden and rounding(self.hidden))

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        if self.squeeze and not self.hidden and width_out % self.squeeze:
            raise ValueError(f"PlainBlock needs widths that are multiples of squeeze={self.squeeze}, got {width_out}")
        hidden = self.hidden_width(width_in, width_out)
        strides = (1, stride, 1) if self.squeeze else (stride, 1)
        widths = (width_in, *[hidden] * (len(strides) - 1), width_out)

        def unit(before: int, after: int, step: int) -> nn.Module:
            return kit.unit(before, after, 3, step, groups_within(before, after))

        body = nn.Sequential(*(unit(*each) for each in zip(widths[:-1], widths[1:], strides, strict=True)))
        same = stride == 1 and width_in == width_out
        shortcut = None if same else unit(width_in, width_out, stride)
        parts = groups_within(2 * width_out, width_out)
        return Concatenated(body, shortcut, kit.unit(2 * width_out, width_out, 3, 1, parts), parts)


EXAMPLES = (PlainBlock(), PlainBlock(squeeze=4), PlainBlock(hidden=12))
