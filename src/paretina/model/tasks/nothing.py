"""Nothing: no labels at all; what is learned comes from the objective alone, and the logits mean nothing by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretina.model.task import Task
from paretina.shapes import Logits, Targets


@dataclass(frozen=True, kw_only=True)
class Nothing(Task):
    """Whatever a source says of a picture is left out: all targets are zero."""

    JUDGE: ClassVar[str] = "HeldOutLoss"

    def targets(self, given: Sequence[Tensor], classes: int) -> Targets:
        return torch.zeros(len(given), classes)

    def probabilities(self, logits: Logits) -> Logits:
        raise TypeError("the logits of a network that learned without labels are no probabilities")

    def answer(self, logits: Logits) -> Tensor:
        return logits


EXAMPLES = (Nothing(),)
