"""FullStem: two convolutions at the resolution of the picture, so that the first map has a place for each pixel.

For networks that give a class for each pixel. Costs as much for every pixel as the finest maps of such a network.

Source: Guo et al. 2022 (arXiv:2207.14347).
"""

from dataclasses import dataclass

from torch import nn

from paretina.model.blueprint import Kit, Stem


@dataclass(frozen=True, kw_only=True)
class FullStem(Stem):
    """
    Attributes:
        kernel: side of the first convolution in pixels, odd; the second has 3.
    """

    kernel: int = 7

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"FullStem.kernel is an odd number of pixels, got {self.kernel}")

    @property
    def stride(self) -> int:
        return 1

    def make(self, kit: Kit) -> nn.Module:
        return nn.Sequential(kit.unit(kit.channels, self.width, self.kernel), kit.unit(self.width, self.width, 3))


EXAMPLES = (FullStem(width=8), FullStem(width=8, kernel=3))
