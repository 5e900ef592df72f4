"""NormPoolHead: the mean over the last map, a layer norm, then one linear layer.

For networks without a norm at the end of their blocks, whose last map can have any scale. Nearly free.

Source: ConvNeXt (arXiv:2201.03545), section 2.6.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from paretina.model.blueprint import Head, Kit, MapShape
from paretina.model.layers import Dropout, pooled
from paretina.shapes import Features, Logits, Map


class NormPooled(nn.Module):
    """Mean, layer norm, dropout, classifier."""

    def __init__(self, width: int, classifier: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.dropout = Dropout()
        self.classifier = classifier

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> Features:
        return self.norm(pooled(maps[-1]))

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))


@dataclass(frozen=True, kw_only=True)
class NormPoolHead(Head):
    """Mean, layer norm, classifier; it names no width of its own."""

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        return NormPooled(maps[-1].width, kit.classifier(maps[-1].width, classes))


EXAMPLES = (NormPoolHead(),)
