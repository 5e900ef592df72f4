"""RPReLU: shifts each channel, multiplies what is below zero by a slope, shifts once more; all three are learned.

For layers whose inputs become their signs: the shifts decide where zero is, in each channel. Elsewhere a PReLU is as good, and
the norm beside it has shifts already. Three numbers a channel, and three passes over the map.

Source: Liu et al. 2020 (arXiv:2003.03488), section 4.2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paretina.model.blueprint import Activation

START = 0.25
"""Slope that each channel begins with."""


class ShiftedPReLU(nn.Module):
    """
    Attributes:
        before: added to each channel first.
        slope: factor on what is then below zero.
        after: added at the end.
    """

    ROLES = {"before": "bias", "slope": "scale", "after": "bias"}

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.Parameter(torch.empty(width))
        self.slope = nn.Parameter(torch.empty(width))
        self.after = nn.Parameter(torch.empty(width))
        if not self.before.is_meta:
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.before.zero_()
        self.slope.fill_(START)
        self.after.zero_()

    def forward(self, x: Tensor) -> Tensor:
        x = F.prelu(x + self.before.to(x.dtype)[:, None, None], self.slope.to(x.dtype))
        return x + self.after.to(x.dtype)[:, None, None]

    def extra_repr(self) -> str:
        return str(len(self.slope))


@dataclass(frozen=True, kw_only=True)
class RPReLU(Activation):
    """Has nothing to set; shifts start at 0, slopes at 1/4."""

    LEARNS = True

    def make(self, width: int) -> nn.Module:
        return ShiftedPReLU(width)


EXAMPLES = (RPReLU(),)
