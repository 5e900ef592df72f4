"""Layer norm over channels: normalises each pixel by the statistics of its own channels.

The output for an image does not depend on the rest of its batch, and there are no running statistics, so training and
evaluation compute the same. Meant for networks made for it (ConvNeXt, transformers), which use it sparingly; batch norm is
folded away in inference and this is not. Not group norm with one group, whose statistics run over rows and columns too.

Source: Ba et al. 2016 (arXiv:1607.06450); over the channels of a map: ConvNeXt (arXiv:2201.03545), section 2.6.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from paretina.model.blueprint import Activation, Norm, NormUnit
from paretina.model.layers import overwriting


class ChannelNormUnit(nn.LayerNorm, NormUnit):
    """Layer norm over the channels of a map, and the activation after it.

    The output is channels_last whatever the input was; an input that is channels_last already is not copied.
    """

    def __init__(self, width: int, eps: float, activation: nn.Module | None = None) -> None:
        nn.LayerNorm.__init__(self, width, eps=eps)
        self.activation = activation

    def centred(self, x: Tensor) -> Tensor:
        x = nn.LayerNorm.forward(self, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # b c h w -> b h w c and back
        return x if self.activation is None else self.activation(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.centred(x)


@dataclass(frozen=True, kw_only=True)
class ChannelNorm(Norm):
    """
    Attributes:
        eps: added to the variance; 1e-6 in ConvNeXt.
    """

    ENDS_WITH_ACTIVATION: ClassVar[bool] = True

    eps: float = 1e-6

    def make(self, width: int, activation: Activation | None) -> NormUnit:
        return ChannelNormUnit(width, self.eps, None if activation is None else overwriting(activation.make(width)))


EXAMPLES = (ChannelNorm(), ChannelNorm(eps=1e-5))
