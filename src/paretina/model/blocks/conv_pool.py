"""ConvPool: one 3x3 convolution; where the map shrinks, a max pool stands between it and its norm.

The downsampling of networks that learn to tell 32-pixel pictures apart within a minute. It reads every pixel, so it costs up to
four times the MACs of a strided convolution, and keeps more of small pictures; plain `Basic` rows between its rows make a
ResNet-9 of it. Pooling before the norm in place of behind the activation spares both of them three quarters of the map: a
tenth to a third of the time of such a row. The order matters only for the statistics of the norm and where its scale is below
zero, since the activation rises.

Source: Page 2018, "How to train your ResNet", parts 4 and 8; airbench: Jordan 2024 (arXiv:2404.00498), section 3.
"""

from dataclasses import dataclass

from torch import nn

from paretina.model.blueprint import Block, Kit, NormUnit
from paretina.shapes import Map


class PooledUnit(nn.Module):
    """Convolution, max pool, norm, activation."""

    def __init__(self, conv: nn.Module, pool: nn.Module, norm: NormUnit) -> None:
        super().__init__()
        self.conv = conv
        self.pool = pool
        self.norm = norm

    def forward(self, x: Map) -> Map:
        return self.norm(self.pool(self.conv(x)))


@dataclass(frozen=True, kw_only=True)
class ConvPool(Block):
    """Has nothing to set; the pool's side and stride are the stride of the row, and where a rest is left it is pooled too."""

    @property
    def rectified(self) -> bool:
        return True

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        if stride == 1:
            return kit.unit(width_in, width_out, 3)
        pool = nn.MaxPool2d(stride, stride, ceil_mode=True)
        return PooledUnit(kit.conv(width_in, width_out, 3), pool, kit.norm.make(width_out, kit.activation))


EXAMPLES = (ConvPool(),)
