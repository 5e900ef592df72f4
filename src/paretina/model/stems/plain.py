"""PlainStem: three 3x3 convolutions and a 2x2 max pool, for hardware that knows nothing else.

With the stride in the last one, two of them run at the full size of the picture: at 224 pixels and 64 channels these cost more
than a whole ResNet-18.

Source: Arch-Net (arXiv:2111.01135), the table of conversions.
"""

import math
from dataclasses import dataclass, replace

from torch import nn

from paretina.model.blueprint import Kit, Rounding, Stem


@dataclass(frozen=True, kw_only=True)
class PlainStem(Stem):
    """
    Attributes:
        inner: widths of the first two.
        steps: strides of the three.
        pool: whether the 2x2 max pool of stride 2 follows.
    """

    inner: tuple[int, int] = (64, 64)
    steps: tuple[int, int, int] = (1, 1, 2)
    pool: bool = True

    def __post_init__(self) -> None:
        if min((self.width, *self.inner, *self.steps)) < 1:
            raise ValueError(f"PlainStem needs widths and steps of at least 1, got {self}")

    @property
    def stride(self) -> int:
        return math.prod(self.steps) * (2 if self.pool else 1)

    def make(self, kit: Kit) -> nn.Module:
        widths = (kit.channels, *self.inner, self.width)
        layers = zip(widths[:-1], widths[1:], self.steps, strict=True)
        stem = nn.Sequential(*(kit.unit(before, after, 3, step) for before, after, step in layers))
        return stem.append(nn.MaxPool2d(2, 2, ceil_mode=True)) if self.pool else stem

    def widened(self, rounding: Rounding) -> "Stem":
        return replace(self, width=rounding(self.width), inner=(rounding(self.inner[0]), rounding(self.inner[1])))


EXAMPLES = (PlainStem(width=16, inner=(8, 8)), PlainStem(width=16, inner=(8, 12), steps=(2, 1, 1), pool=False))
