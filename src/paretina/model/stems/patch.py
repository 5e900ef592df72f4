"""PatchStem: cuts the image into non-overlapping squares, each of which becomes one pixel of the map.

The cheapest stem, and fast everywhere: one matrix product. Small networks and short training runs do better with overlapping
convolutions.

Source: ViT (arXiv:2010.11929), section 3.1; with 4x4 patches and a norm: ConvNeXt (arXiv:2201.03545), sections 2.2 and 2.6.
Where the patches leave a rest at the edges, the image is padded, so that no pixel is dropped.
"""

from dataclasses import dataclass

from torch import nn

from paretina.model.blueprint import Kit, Stem
from paretina.model.layers import Convolution
from paretina.model.norms.channel import ChannelNormUnit
from paretina.shapes import Map


class Patches(nn.Module):
    """Convolution whose stride is its kernel, and a layer norm over channels behind it or none."""

    def __init__(self, conv: nn.Module, norm: nn.Module | None) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm

    def forward(self, x: Map) -> Map:
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)


@dataclass(frozen=True, kw_only=True)
class PatchStem(Stem):
    """
    Attributes:
        patch: side of a patch, in pixels.
        norm: whether a layer norm over channels follows.
    """

    patch: int
    norm: bool = False

    def __post_init__(self) -> None:
        if self.patch < 1:
            raise ValueError(f"PatchStem needs patch >= 1, got {self.patch}")

    @property
    def stride(self) -> int:
        return self.patch

    def make(self, kit: Kit) -> nn.Module:
        # padded only where a rest is left, whatever the padding of the blueprint
        conv = Convolution(kit.channels, self.width, self.patch, self.patch, 1, bias=True, same=True)
        return Patches(conv, ChannelNormUnit(self.width, 1e-6) if self.norm else None)


EXAMPLES = (PatchStem(width=8, patch=4), PatchStem(width=16, patch=2, norm=True))
