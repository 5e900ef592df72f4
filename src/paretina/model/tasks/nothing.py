"""Nothing: no labels; everything is learned from the objective, and the logits have no meaning of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretina.model.task import Task
from paretina.shapes import Logits, Targets


@dataclass(frozen=True, kw_only=True)
class Nothing(Task):
    """The labels of the source are ignored: all targets are zero."""

    JUDGE: ClassVar[str] = "HeldOutLoss"
    WORDS: ClassVar[str] = "no labels"

    def targets(self, given: Sequence[Tensor], classes: int) -> Targets:
        return torch.zeros(len(given), classes)

    def probabilities(self, logits: Logits) -> Logits:
        raise TypeError("the logits of a network trained without labels are not probabilities")

    def answer(self, logits: Logits) -> Tensor:
        return logits


EXAMPLES = (Nothing(),)
