"""Boxes: detection. The label of a picture lists its objects, each with a box and a class.

A target is (class, slot, 5): each object has a slot, and there, in the row of its class, the left, top, right and bottom of its
box as shares of the picture's sides, and 1. The answers of a network have the same form, with a score in place of the 1. So a
row of zeros says nothing here too, and a picture without any number is unlabelled. One that is known to show no object has
`ABSENT` in place of the 1 in its first slot, and one region that hides objects (a crowd, an object that is too hard) has
`IGNORED`, in the row of its class or, where it is of a class that is not learned, in all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from paretina.model.task import OF_BOXES, Task, require_shape
from paretina.model.tasks.any_of import ABSENT
from paretina.shapes import Logits, Targets

IGNORED = 0.5
"""In place of the 1 where a box holds what is neither to be found nor to be missed."""
SURE = 0.75
"""What is above is an object."""
NUMBERS = 6
"""Of an object in a label: left, top, right, bottom, number of its class, and 1, or 0 for a region that is ignored."""
EVERY = 1 << 20
"""In place of the number of a class, for a region that is ignored whatever class is found there."""


@dataclass(frozen=True, kw_only=True)
class Boxes(Task):
    """The label is [object, 6], float: left, top, right and bottom as shares of the picture's sides, the number of the class,
    and 1.

    The last number is 0 for a region that is ignored, whose class may be `EVERY`. A class below 0 means that the picture is
    unlabelled.

    Attributes:
        most: objects that a picture may have.
    """

    BOXES: ClassVar[bool] = True
    JUDGE: ClassVar[str] = "BoxPrecision"
    WORDS: ClassVar[str] = "objects, each with a box"

    most: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.most <= 10_000:
            raise ValueError(f"Boxes.most is a number of objects, from 1 to 10000, got {self.most}")

    def targets(self, given: Sequence[Tensor], classes: int) -> Targets:
        require_shape(self, given, OF_BOXES)
        found = torch.zeros(len(given), classes, self.most, 5)
        for own, boxes in zip(found, given, strict=True):
            if len(boxes) > self.most:
                raise ValueError(f"a picture has {len(boxes)} objects, and Boxes.most is {self.most}; raise it")
            every = boxes[:, 4] == EVERY
            if bool((boxes[every, 5] > 0).any()):
                raise ValueError("an object has one class; only a region that is ignored (0 as the last number) is of all")
            numbers = boxes[:, 4].long().masked_fill(every, 0)
            if len(boxes) and int(numbers.max()) >= classes:
                raise ValueError(f"class numbers lie in 0 to {classes - 1} (with {classes} classes), got {int(numbers.max())}")
            if len(boxes) and int(numbers.min()) < 0:
                continue
            places = boxes[:, :4]
            if not bool(((places >= 0) & (places <= 1)).all()):
                raise ValueError(
                    f"boxes are shares of a picture, 0 to 1, got {places.min().item():g} to {places.max().item():g}"
                )
            slots = torch.arange(len(boxes))
            own[numbers, slots, :4] = places
            own[numbers, slots, 4] = IGNORED + (1 - IGNORED) * boxes[:, 5]
            own[:, slots[every]] = own[:1, slots[every]]
            if not len(boxes):
                own[:, 0, 4] = ABSENT
        return found

    def places(self, side: int) -> tuple[int, ...]:
        return (self.most, 5)

    def probabilities(self, logits: Logits) -> Logits:
        return logits

    def answer(self, logits: Logits) -> Float[Tensor, "batch slot 6"]:
        """Returns left, top, right, bottom, score and number of the class of what is in each slot; a score of 0 for nothing."""
        scores, numbers = logits[..., 4].max(1)
        places = logits[..., :4].gather(1, numbers[:, None, :, None].expand(-1, 1, -1, 4))[:, 0]
        return torch.cat((places, scores[..., None], numbers[..., None].to(places.dtype)), 2)


EXAMPLES = (Boxes(), Boxes(most=12))
