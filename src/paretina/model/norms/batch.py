"""Batch norm: normalises each channel by the statistics of its batch.

The usual choice with 16 images per step or more; costs one pass over the activation and makes an image's output depend on the
rest of its batch in training.

Source: Ioffe & Szegedy 2015 (arXiv:1502.03167).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from paretina.model.blueprint import Activation, Norm, NormUnit
from paretina.model.layers import overwriting


class BatchNormUnit(nn.BatchNorm2d, NormUnit):
    """Batch norm and the activation after it."""

    def __init__(self, width: int, eps: float, activation: nn.Module | None) -> None:
        nn.BatchNorm2d.__init__(self, width, eps=eps)
        self.activation = activation

    def centred(self, x: Tensor) -> Tensor:
        x = nn.BatchNorm2d.forward(self, x)
        return x if self.activation is None else self.activation(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.centred(x)


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Norm):
    """
    Attributes:
        eps: added to the variance. EfficientNet has 1e-3, most others 1e-5.
    """

    LOW_PRECISION: ClassVar[bool] = True
    ENDS_WITH_ACTIVATION: ClassVar[bool] = True

    eps: float = 1e-5

    def make(self, width: int, activation: Activation | None) -> NormUnit:
        return BatchNormUnit(width, self.eps, None if activation is None else overwriting(activation.make(width)))


EXAMPLES = (BatchNorm(), BatchNorm(eps=1e-3))
