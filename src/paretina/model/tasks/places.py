"""Places: semantic segmentation, one class per pixel. The logits have the size of the picture, each pixel as in OneOf."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretina.model.task import UNKNOWN, Task, from_numbers, require_shape
from paretina.shapes import Logits, Targets


@dataclass(frozen=True, kw_only=True)
class Places(Task):
    """The label is a mask of class indices, as uint8, 255 where unknown; so there are at most 255 classes."""

    DENSE: ClassVar[bool] = True
    JUDGE: ClassVar[str] = "MeanIoU"
    WORDS: ClassVar[str] = "one class a pixel"

    def targets(self, given: Sequence[Tensor], classes: int) -> Targets:
        require_shape(self, given, 2)
        if classes > UNKNOWN:
            raise ValueError(f"a mask has room for {UNKNOWN} classes, got {classes}")
        if not given:
            return torch.empty(0, classes, 0, 0)
        numbers = torch.stack(list(given))
        if numbers.dtype != torch.uint8:
            raise ValueError(f"a mask has class indices as uint8, 255 for unknown pixels, got {numbers.dtype}")
        signed = numbers.long()
        return from_numbers(signed.masked_fill(numbers == UNKNOWN, -1), classes)

    def probabilities(self, logits: Logits) -> Logits:
        return logits.softmax(1)

    def answer(self, logits: Logits) -> Tensor:
        return logits.argmax(1)


EXAMPLES = (Places(),)
