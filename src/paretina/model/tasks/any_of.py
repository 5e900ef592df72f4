"""AnyOf: multi-label classification, any number of classes per picture; the sigmoid of each logit is a probability.

A row of zeros means unlabelled here too. A picture that is known to show none of the classes has `ABSENT` in its row instead
of zeros, which is near enough to zero to be learned as zero, and counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretina.model.task import Task, from_probabilities, require_shape
from paretina.shapes import Logits, Targets

ABSENT = 1e-6
"""The target of every class for a picture that is known to show none of them."""


@dataclass(frozen=True, kw_only=True)
class AnyOf(Task):
    """The label is a probability for each class, usually 0 or 1; classes above 0.5 are present."""

    JUDGE: ClassVar[str] = "MeanPrecision"
    WORDS: ClassVar[str] = "several labels a picture"

    def targets(self, given: Sequence[Tensor], classes: int) -> Targets:
        require_shape(self, given, 1)
        return from_probabilities(self, given, classes) if given else torch.empty(0, classes)

    def probabilities(self, logits: Logits) -> Logits:
        return logits.sigmoid()

    def answer(self, logits: Logits) -> Tensor:
        return self.probabilities(logits) > 0.5


EXAMPLES = (AnyOf(),)
