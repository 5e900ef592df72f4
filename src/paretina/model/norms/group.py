"""Group norm: normalises groups of channels by the statistics of their own image.

For small batches, or if an image's output must not depend on its batch. With one group it is layer norm over channels,
rows and columns. Slower than batch norm in inference, where batch norm is folded away.

Source: Wu & He 2018 (arXiv:1803.08494); in EfficientNet: arXiv:2106.03640.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from paretina.model.blueprint import Activation, Norm, NormUnit
from paretina.model.layers import overwriting


class GroupNormUnit(nn.GroupNorm, NormUnit):
    """Group norm and the activation after it."""

    def __init__(self, groups: int, width: int, eps: float, activation: nn.Module | None) -> None:
        nn.GroupNorm.__init__(self, groups, width, eps=eps)
        self.activation = activation

    def centred(self, x: Tensor) -> Tensor:
        x = nn.GroupNorm.forward(self, x)
        return x if self.activation is None else self.activation(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.centred(x)


@dataclass(frozen=True, kw_only=True)
class GroupNorm(Norm):
    """
    Attributes:
        groups: number of groups; each width of the network must be a multiple of it. 1 is layer norm.
        eps: added to the variance.
    """

    ENDS_WITH_ACTIVATION: ClassVar[bool] = True

    groups: int = 4
    eps: float = 1e-5

    def make(self, width: int, activation: Activation | None) -> NormUnit:
        if width % self.groups:
            raise ValueError(f"GroupNorm(groups={self.groups}) needs widths that are multiples of {self.groups}, got {width}")
        return GroupNormUnit(self.groups, width, self.eps, None if activation is None else overwriting(activation.make(width)))


EXAMPLES = (GroupNorm(groups=2), GroupNorm(groups=1, eps=1e-3))
