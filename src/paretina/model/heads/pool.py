"""PoolHead: the mean over the last map, then one linear layer.

Source: Lin et al. 2013 (arXiv:1312.4400), section 3.2; with a 1x1 convolution before the pool: MobileNetV2 (arXiv:1801.04381).
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import nn

from paretina.model.blueprint import Head, Kit, MapShape, Rounding, Unit
from paretina.model.layers import Dropout
from paretina.shapes import Features, Logits, Map


class Pooled(nn.Module):
    """1x1 unit (or none), mean, dropout, classifier."""

    def __init__(self, unit: Unit | None, classifier: nn.Module) -> None:
        super().__init__()
        self.unit = unit
        self.dropout = Dropout()
        self.classifier = classifier

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> Features:
        # a norm's gain is left out before the pool (proxy norm, arXiv:2106.03743); other norms have none
        x = maps[-1] if self.unit is None else self.unit.centred(maps[-1])
        return x.mean((2, 3))

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))


@dataclass(frozen=True, kw_only=True)
class PoolHead(Head):
    """
    Attributes:
        width: channels of a 1x1 convolution before the pool; 0 leaves it out.
    """

    LOW_PRECISION: ClassVar[bool] = True

    width: int = 0

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        last = maps[-1].width
        unit = kit.unit(last, self.width) if self.width else None
        return Pooled(unit, kit.classifier(self.width or last, classes))

    def widened(self, rounding: Rounding) -> "Head":
        return replace(self, width=rounding(self.width)) if self.width else self


EXAMPLES = (PoolHead(), PoolHead(width=32))
