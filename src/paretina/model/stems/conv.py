"""Stems of one or several convolutions, with or without a pool after them."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from paretina.model.blueprint import Kit, Rounding, Stem


@dataclass(frozen=True, kw_only=True)
class ConvStem(Stem):
    """One convolution.

    Attributes:
        kernel: its side, in pixels; odd.
        step: its stride.
        pool: whether a 3x3 max pool of stride 2 follows (ResNet).
    """

    LOW_PRECISION: ClassVar[bool] = True

    kernel: int = 3
    step: int = 2
    pool: bool = False

    @property
    def stride(self) -> int:
        return self.step * (2 if self.pool else 1)

    def make(self, kit: Kit) -> nn.Module:
        unit = kit.unit(kit.channels, self.width, self.kernel, self.step)
        return nn.Sequential(unit, nn.MaxPool2d(3, 2, padding=1)) if self.pool else unit


@dataclass(frozen=True, kw_only=True)
class DeepStem(Stem):
    """Three 3x3 convolutions, the first with stride 2, in place of a 7x7 (ResNet-C, arXiv:1812.01187, section 4.2).

    Attributes:
        inner: widths of the first two.
        pool: whether a 3x3 max pool of stride 2 follows.
    """

    LOW_PRECISION: ClassVar[bool] = True

    inner: tuple[int, int] = (32, 32)
    pool: bool = True

    @property
    def stride(self) -> int:
        return 4 if self.pool else 2

    def make(self, kit: Kit) -> nn.Module:
        first, second = self.inner
        stem = nn.Sequential(
            kit.unit(kit.channels, first, 3, 2),
            kit.unit(first, second, 3),
            kit.unit(second, self.width, 3),
        )
        return stem.append(nn.MaxPool2d(3, 2, padding=1)) if self.pool else stem

    def widened(self, rounding: Rounding) -> "Stem":
        return replace(self, width=rounding(self.width), inner=(rounding(self.inner[0]), rounding(self.inner[1])))


EXAMPLES = (ConvStem(width=8), ConvStem(width=16, kernel=7, pool=True), DeepStem(width=16, inner=(8, 8)))
