"""TokenHead: a layer norm and a linear layer on the class token.

For stages with the wiring `Tokens`. Without such tokens, the mean over the last map is used instead. With a second classifier
on the distillation token, a distillation objective takes both outputs from `head.both(maps, extras)`; calling the head returns
their mean, as in inference.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), section 3.1; with distillation: Touvron et al. 2020 (arXiv:2012.12877),
section 4.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from paretina.model.blueprint import Head, Kit, MapShape
from paretina.model.heads.distilled import TwoClassifiers
from paretina.model.layers import Dropout
from paretina.shapes import Features, Logits, Map

GIVEN = ("class_token", "distillation_token")
"""The extras of `Tokens`."""


class TwoHalves(TwoClassifiers):
    """The mean of two linear classifiers, each on its half of the features."""

    def parted(self, x: Features) -> tuple[Features, Features]:
        label, teacher = x.chunk(2, 1)
        return label, teacher

    def fold(self) -> None:
        if isinstance(self.label, nn.Linear) and isinstance(self.teacher, nn.Linear):
            self.merge(self.label, self.teacher, lambda label, teacher: torch.cat((label, teacher), 1) / 2)


class TokenAnswer(nn.Module):
    """Layer norm of each token, dropout, classifier.

    Attributes:
        tokens: names of the extras to read.
    """

    def __init__(self, width: int, classes: int, distilled: bool, kit: Kit) -> None:
        super().__init__()
        self.tokens = GIVEN if distilled else GIVEN[:1]
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.dropout = Dropout()
        first, *second = (kit.classifier(width, classes) for _ in self.tokens)
        self.classifier: nn.Module = TwoHalves(first, *second) if distilled else first

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> Features:
        """The tokens after the norm, side by side."""
        if not any(name in extras for name in GIVEN):
            found = [maps[-1].mean((2, 3))] * len(self.tokens)
        elif all(name in extras for name in self.tokens):
            found = [extras[name] for name in self.tokens]
        else:
            given = ", ".join(name for name in GIVEN if name in extras)
            raise ValueError(f"TokenHead reads {' and '.join(self.tokens)}, but the stages give {given}; set Tokens.distilled")
        return torch.cat([self.norm(token) for token in found], 1)

    def both(self, maps: list[Map], extras: dict[str, Any]) -> tuple[Logits, Logits]:
        """Returns the logits of both classifiers; see `TwoClassifiers.both`.

        Raises:
            TypeError: there is no second classifier.
        """
        if not isinstance(self.classifier, TwoHalves):
            raise TypeError("this head has one classifier; TokenHead(distilled=True) has two")
        return self.classifier.both(self.dropout(self.embedding(maps, extras)))

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))


@dataclass(frozen=True, kw_only=True)
class TokenHead(Head):
    """
    Attributes:
        distilled: whether a second classifier reads the distillation token.
    """

    distilled: bool = False

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        return TokenAnswer(maps[-1].width, classes, self.distilled, kit)


EXAMPLES = (TokenHead(), TokenHead(distilled=True))
