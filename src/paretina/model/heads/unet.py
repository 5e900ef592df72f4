"""UNetHead: a class for each pixel, from the coarsest map up: enlarged, beside the finer map of the network, through a block.

Each level has half the channels of the one below: a quarter of them enlarged from it, a quarter from the network's map at this
stride. It keeps finer detail than `PyramidHead`, at several times the cost. With `aspp` the coarsest map first goes through
convolutions of different reach beside each other, and the mean of the whole picture.

Source: Ronneberger et al. 2015 (arXiv:1505.04597); with pixel shuffle, blocks and ASPP: Guo et al. 2022 (arXiv:2207.14347).
ASPP: Chen et al. 2017 (arXiv:1706.05587), here added to its input.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import nn

from paretina.model.blocks.resnet import Basic
from paretina.model.blueprint import Block, Head, Kit, MapShape, Rounding, Unit
from paretina.model.heads.pyramid import Enlarged, levels
from paretina.model.layers import Convolution, Dropout, overwriting
from paretina.shapes import Logits, Map

DILATIONS = (6, 12, 18)
"""Steps between the taps of the 3x3 convolutions of ASPP, in places of the coarsest map."""


def dilated(unit: Unit, step: int) -> Unit:
    """A unit with a 3x3 convolution whose taps are `step` places apart; in place."""
    conv = unit.conv
    assert isinstance(conv, Convolution)
    conv.dilation = conv.padding = (step, step)
    return unit


class Aspp(nn.Module):
    """Five branches of one width beside each other, a 1x1 convolution of them, and the input added."""

    def __init__(self, width: int, kit: Kit) -> None:
        super().__init__()
        inner = width // 2
        self.point = kit.unit(width, inner)
        self.reaching = nn.ModuleList(dilated(kit.unit(width, inner, 3), step) for step in DILATIONS)
        self.whole = kit.unit(width, inner)
        self.last = kit.unit(5 * inner, width, act=False)
        self.activation = overwriting(kit.activation.make(width))

    def forward(self, x: Map) -> Map:
        mean = self.whole(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        branches = (self.point(x), *(unit(x) for unit in self.reaching), mean)
        return self.activation(x + self.last(torch.cat(branches, 1)))  # type: ignore[no-any-return]


class ShuffledUp(nn.Module):
    """Channels become places; norm and activation."""

    def __init__(self, by: int, norm: nn.Module) -> None:
        super().__init__()
        self.by = by
        self.norm = norm

    def forward(self, x: Map) -> Map:
        return self.norm(F.pixel_shuffle(x, self.by))  # type: ignore[no-any-return]


class StretchedUp(nn.Module):
    """Fewer channels, interpolated between places."""

    def __init__(self, by: int, unit: nn.Module) -> None:
        super().__init__()
        self.by = by
        self.unit = unit

    def forward(self, x: Map) -> Map:
        return F.interpolate(self.unit(x), scale_factor=float(self.by), mode="bilinear")


class LevelUp(nn.Module):
    """From one level to the next finer one."""

    def __init__(self, up: nn.Module, skip: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.up = up
        self.skip = skip
        self.block = block

    def forward(self, x: Map, finer: Map) -> Map:
        enlarged = self.up(x)[:, :, : finer.shape[2], : finer.shape[3]]  # maps of odd sizes were rounded up
        return self.block(torch.cat((enlarged, self.skip(finer)), 1))  # type: ignore[no-any-return]


class Climb(nn.Module):
    """The coarsest map, level by level; dropout; classifier."""

    def __init__(self, numbers: list[int], bottom: nn.Module, steps: list[LevelUp], classifier: nn.Module) -> None:
        super().__init__()
        self.numbers = numbers
        self.bottom = bottom
        self.steps = nn.ModuleList(steps)
        self.dropout = Dropout()
        self.classifier = classifier

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> Map:
        x = self.bottom(maps[self.numbers[0]])
        for number, step in zip(self.numbers[1:], self.steps, strict=True):
            x = step(x, maps[number])
        return x  # type: ignore[no-any-return]

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))


@dataclass(frozen=True, kw_only=True)
class UNetHead(Head):
    """
    Attributes:
        width: channels of the finest level; each coarser one has twice as many. 0 starts with those of the coarsest map.
        block: of every level.
        enlarge: how a level is enlarged: channels become places ("shuffle"), or places are interpolated ("bilinear").
        aspp: whether the coarsest map goes through ASPP first.
        finest: stride of the finest map that is used.
    """

    DENSE: ClassVar[bool] = True

    width: int = 16
    block: Block = field(default_factory=Basic)
    enlarge: Literal["shuffle", "bilinear"] = "shuffle"
    aspp: bool = False
    finest: int = 1

    def __post_init__(self) -> None:
        if self.width < 0 or self.finest < 1:
            raise ValueError(f"UNetHead needs width of at least 0 and finest of at least 1, got {self.width} and {self.finest}")

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        numbers = levels(maps, self.finest, "UNetHead")
        given, steps = maps[numbers[0]].width, len(numbers) - 1
        width = self.width * 2**steps or given
        strides = [maps[number].stride for number in numbers]
        bottom = nn.Sequential()
        if width != given:
            bottom.append(kit.unit(given, width))
        if self.aspp:
            bottom.append(Aspp(width, kit))
        climb = []
        for number, coarse, fine in zip(numbers[1:], strides, strides[1:], strict=False):
            by = coarse // fine
            if width % (2 * by * by) or width // (by * by) < 1:
                raise ValueError(
                    f"UNetHead halves {width} channels from stride {coarse} to {fine}, which needs a multiple of "
                    f"{2 * by * by}; set a larger width, such as head.width=16, or a larger finest"
                )
            part, half = width // (by * by), width // 2
            up: nn.Module = ShuffledUp(by, kit.norm.make(part, kit.activation))
            if self.enlarge == "bilinear":
                up = StretchedUp(by, kit.unit(width, part))
            climb.append(LevelUp(up, kit.unit(maps[number].width, half - part), self.block.make(half, half, 1, kit)))
            width = half
        return Climb(numbers, bottom, climb, Enlarged(width, classes, strides[-1]))

    def widened(self, rounding: Rounding) -> "Head":
        return replace(self, width=self.width and rounding(self.width), block=self.block.widened(rounding))


EXAMPLES = (
    UNetHead(width=8),
    UNetHead(width=8, enlarge="bilinear", aspp=True),
    UNetHead(width=4, finest=4),
)
