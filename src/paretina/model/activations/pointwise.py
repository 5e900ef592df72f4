"""Parameter-free activations of torch."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paretina.model.blueprint import Activation


class Pointwise(nn.Module):
    """Applies an elementwise function of torch.

    Attributes:
        inplace: whether it may overwrite its input, which saves a pass over memory; it does so only without gradients. Off
            until `paretina.model.layers.overwriting` turns it on.
    """

    def __init__(self, function: str) -> None:
        super().__init__()
        self.function = function
        self.inplace = False

    def forward(self, x: Tensor) -> Tensor:
        function = getattr(F, self.function)
        return function(x, inplace=self.inplace and not torch.is_grad_enabled())  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return self.function


@dataclass(frozen=True, kw_only=True)
class ReLU(Activation):
    """max(x, 0)."""

    LOW_PRECISION: ClassVar[bool] = True
    RECTIFIES: ClassVar[bool] = True

    def make(self, width: int) -> nn.Module:
        return nn.ReLU()


@dataclass(frozen=True, kw_only=True)
class ReLU6(Activation):
    """min(max(x, 0), 6): bounded, hence easy to quantise (arXiv:1704.04861)."""

    RECTIFIES: ClassVar[bool] = True

    def make(self, width: int) -> nn.Module:
        return Pointwise("relu6")


@dataclass(frozen=True, kw_only=True)
class SiLU(Activation):
    """x * sigmoid(x), also called swish (arXiv:1702.03118, arXiv:1710.05941)."""

    LOW_PRECISION: ClassVar[bool] = True

    def make(self, width: int) -> nn.Module:
        return Pointwise("silu")


@dataclass(frozen=True, kw_only=True)
class HardSwish(Activation):
    """x * relu6(x + 3) / 6 (arXiv:1905.02244, section 5.2)."""

    def make(self, width: int) -> nn.Module:
        return Pointwise("hardswish")


@dataclass(frozen=True, kw_only=True)
class GELU(Activation):
    """x times the normal distribution function of x, exact (arXiv:1606.08415)."""

    def make(self, width: int) -> nn.Module:
        return nn.GELU()


EXAMPLES = (ReLU(), ReLU6(), SiLU(), HardSwish(), GELU())
