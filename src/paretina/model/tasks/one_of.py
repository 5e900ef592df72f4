"""OneOf: single-label classification, one class per picture; the softmax of the logits gives probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretina.model.task import Task, from_numbers, from_probabilities, require_shape
from paretina.shapes import Logits, Targets


@dataclass(frozen=True, kw_only=True)
class OneOf(Task):
    """The label is the class index, negative if unknown, or a probability for each class."""

    JUDGE: ClassVar[str] = "TopOne"
    WORDS: ClassVar[str] = "one class a picture"

    def targets(self, given: Sequence[Tensor], classes: int) -> Targets:
        require_shape(self, given, 0, 1)
        if given and given[0].ndim:
            return from_probabilities(self, given, classes)
        return from_numbers(torch.tensor([int(target) for target in given], dtype=torch.int64), classes)

    def probabilities(self, logits: Logits) -> Logits:
        return logits.softmax(1)

    def answer(self, logits: Logits) -> Tensor:
        return logits.argmax(1)


EXAMPLES = (OneOf(),)
