"""MapNormHead: the norm of the network on the last map, its mean, then one linear layer.

For networks whose blocks end with a sum, so that the last map can have any scale, and whose other norms are of the same kind.
`NormPoolHead` has a layer norm behind the mean, which is cheaper.

Source: Wave-MLP (arXiv:2111.12294), as in the released code.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from paretina.model.blueprint import Head, Kit, MapShape, NormUnit
from paretina.model.layers import Dropout, pooled
from paretina.shapes import Features, Logits, Map


class NormedMapPooled(nn.Module):
    """Norm, mean, dropout, classifier."""

    def __init__(self, norm: NormUnit, classifier: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = Dropout()
        self.classifier = classifier

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> Features:
        return pooled(self.norm(maps[-1]))

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))


@dataclass(frozen=True, kw_only=True)
class MapNormHead(Head):
    """Norm, mean, classifier; it names no width of its own."""

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        return NormedMapPooled(kit.norm.make(maps[-1].width, None), kit.classifier(maps[-1].width, classes))


EXAMPLES = (MapNormHead(),)
