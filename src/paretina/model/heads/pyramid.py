"""PyramidHead: a class for each pixel, from the maps of a network at all strides, brought to one width and added up.

A light decoder for any network with maps at several strides, as those of classifiers are: the coarse maps say what is there,
the fine ones where. Each finer map is added to the enlarged sum of the coarser ones, behind a 1x1 convolution, and a 3x3
convolution follows. The logits of the finest map are enlarged to the picture, whose sides must be multiples of its stride.

Source: Lin et al. 2016 (arXiv:1612.03144), section 3; for pixels: Kirillov et al. 2019 (arXiv:1901.02446), section 3, which
sums the levels at the end and not from one to the next.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import nn

from paretina.model.blueprint import Head, Kit, MapShape, Rounding
from paretina.model.layers import Dropout
from paretina.shapes import Logits, Map


class Enlarged(nn.Module):
    """1x1 convolution to the classes; the logits are enlarged, in float32, to the pixels of the picture.

    Args:
        stride: of the map.
    """

    def __init__(self, width: int, classes: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, classes, 1)
        self.stride = stride

    def forward(self, x: Map) -> Logits:
        x = self.conv(x).float()
        return x if self.stride == 1 else F.interpolate(x, scale_factor=float(self.stride), mode="bilinear")


def levels(maps: tuple[MapShape, ...], finest: int, head: str) -> list[int]:
    """The numbers of the last map at each stride from `finest` on, the coarsest first.

    Raises:
        ValueError: there is none.
    """
    last = {shape.stride: number for number, shape in enumerate(maps)}
    kept = [last[stride] for stride in sorted(last, reverse=True) if stride >= finest]
    if not kept:
        raise ValueError(
            f"{head}.finest={finest} leaves no map: those of this network have the strides {', '.join(map(str, sorted(last)))}"
        )
    return kept


class Pyramid(nn.Module):
    """Maps of several strides to one; dropout; classifier."""

    def __init__(self, numbers: list[int], laterals: list[nn.Module], merges: list[nn.Module], classifier: nn.Module) -> None:
        super().__init__()
        self.numbers = numbers
        self.laterals = nn.ModuleList(laterals)
        self.merges = nn.ModuleList(merges)
        self.dropout = Dropout()
        self.classifier = classifier

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> Map:
        found: Map | None = None
        for number, lateral, merge in zip(self.numbers, self.laterals, self.merges, strict=True):
            own = lateral(maps[number])
            found = merge(own if found is None else own + F.interpolate(found, size=own.shape[2:], mode="bilinear"))
        assert found is not None
        return found

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))


@dataclass(frozen=True, kw_only=True)
class PyramidHead(Head):
    """
    Attributes:
        width: channels of every level.
        finest: stride of the finest map that is used; finer ones cost more and give sharper edges.
    """

    DENSE: ClassVar[bool] = True

    width: int = 64
    finest: int = 4

    def __post_init__(self) -> None:
        if self.width < 1 or self.finest < 1:
            raise ValueError(f"PyramidHead needs width and finest of at least 1, got {self.width} and {self.finest}")

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        numbers = levels(maps, self.finest, "PyramidHead")
        laterals: list[nn.Module] = [kit.unit(maps[number].width, self.width, act=False) for number in numbers]
        merges: list[nn.Module] = [kit.unit(self.width, self.width, 3) for _ in numbers]
        return Pyramid(numbers, laterals, merges, Enlarged(self.width, classes, maps[numbers[-1]].stride))

    def widened(self, rounding: Rounding) -> "Head":
        return replace(self, width=rounding(self.width))


EXAMPLES = (PyramidHead(width=8), PyramidHead(width=8, finest=1))
