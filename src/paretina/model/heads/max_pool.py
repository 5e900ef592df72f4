"""MaxPoolHead: the maximum over the last map, then one linear layer.

Asks whether a feature is anywhere in the picture, where the mean asks how much of the picture has it: for small things in front
of much else, and for short trainings of small networks. Feature values are larger than means, and so are first gradients of the
classifier. Nearly free.

Source: Page 2018, "How to train your ResNet", part 4; airbench: Jordan 2024 (arXiv:2404.00498), section 3.
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import nn

from paretina.model.blueprint import Head, Kit, MapShape
from paretina.model.layers import Dropout
from paretina.shapes import Features, Logits, Map


class MaxPooled(nn.Module):
    """Maximum, dropout, classifier."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.dropout = Dropout()
        self.classifier = classifier

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> Features:
        # as a pool, since the gradient of amax() takes several passes over the map
        return F.max_pool2d(maps[-1], maps[-1].shape[2:]).flatten(1)

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))


@dataclass(frozen=True, kw_only=True)
class MaxPoolHead(Head):
    """Maximum, classifier; it names no width of its own."""

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        return MaxPooled(kit.classifier(maps[-1].width, classes))


EXAMPLES = (MaxPoolHead(),)
