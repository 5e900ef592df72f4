"""PixelHead: a class for each pixel, from the last map: dropout, one 1x1 convolution, and the logits as large as the picture.

The plainest head for dense tasks. Edges are as coarse as the last map, so take a network whose maps stay large.

Source: Long et al. 2015 (arXiv:1411.4038), section 4.1: FCN-32s, here at the stride of the network. Each logit is repeated, and
not interpolated as in the paper.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import nn

from paretina.model.blueprint import Head, Kit, MapShape
from paretina.model.layers import Dropout
from paretina.shapes import Logits, Map


class Enlarged(nn.Module):
    """1x1 convolution to the classes, and each of its logits for all pixels that it stands for."""

    def __init__(self, width: int, classes: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, classes, 1)
        self.stride = stride

    def forward(self, x: Map) -> Logits:
        return F.interpolate(self.conv(x).float(), scale_factor=self.stride, mode="nearest")


class Pixelwise(nn.Module):
    def __init__(self, width: int, classes: int, stride: int) -> None:
        super().__init__()
        self.dropout = Dropout()
        self.classifier = Enlarged(width, classes, stride)

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> Map:
        return maps[-1]

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))


@dataclass(frozen=True, kw_only=True)
class PixelHead(Head):
    """Needs data whose task is `Places`, and pictures whose sides are multiples of the stride of the network."""

    DENSE: ClassVar[bool] = True

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        return Pixelwise(maps[-1].width, classes, maps[-1].stride)


EXAMPLES = (PixelHead(),)
