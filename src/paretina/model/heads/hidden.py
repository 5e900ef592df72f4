"""HiddenHead: the mean over the last map, a hidden layer, then the classifier.

The wide layer before the classifier sees one vector per image instead of a map, so it costs parameters but hardly any MACs.

Source: Howard et al. 2019 (arXiv:1905.02244), section 5.1; in GhostNet: arXiv:1911.11907, table 1.
"""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from paretina.model.blueprint import Head, Kit, MapShape, Rounding, Unit
from paretina.model.layers import Dropout, overwriting
from paretina.shapes import Features, Logits, Map


class PooledHidden(nn.Module):
    """1x1 unit (or none), mean, hidden layer with bias and without norm, activation, dropout, classifier."""

    def __init__(self, unit: Unit | None, hidden: nn.Module, activation: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.unit = unit
        self.hidden = hidden
        self.activation = activation
        self.dropout = Dropout()
        self.classifier = classifier

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> Features:
        # a norm's gain is left out before the pool (proxy norm, arXiv:2106.03743); other norms have none
        x = maps[-1] if self.unit is None else self.unit.centred(maps[-1])
        # stays a map of one pixel: activations with parameters want one
        return self.activation(self.hidden(x.mean((2, 3), keepdim=True))).flatten(1)

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))


@dataclass(frozen=True, kw_only=True)
class HiddenHead(Head):
    """
    Attributes:
        hidden: width of the hidden layer; it is not scaled with the network.
        width: channels of a 1x1 convolution before the pool; 0 leaves it out.
    """

    hidden: int
    width: int = 0

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        last = maps[-1].width
        unit = kit.unit(last, self.width) if self.width else None
        hidden = kit.conv(self.width or last, self.hidden, bias=True)
        activation = overwriting(kit.activation.make(self.hidden))
        return PooledHidden(unit, hidden, activation, kit.classifier(self.hidden, classes))

    def widened(self, rounding: Rounding) -> "Head":
        return replace(self, width=rounding(self.width)) if self.width else self


EXAMPLES = (HiddenHead(hidden=24), HiddenHead(hidden=24, width=32))
