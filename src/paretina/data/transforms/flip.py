"""HorizontalFlip: mirrors the picture left to right at random.

Nearly free and nearly always a gain, except where left and right matter: letters, digits, traffic signs. It is refused for
sources that do not allow mirroring.

Source: Krizhevsky et al. 2012 (AlexNet), section 4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.operations import mirrored
from paretina.data.transform import ManyTransform
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.shapes import Images
from paretina.traits import STAYS, traits


@dataclass(frozen=True, kw_only=True)
class HorizontalFlip(ManyTransform):
    """
    Attributes:
        probability: share of the pictures that are mirrored, in [0, 1].
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MOVES: ClassVar[bool] = True
    MIRRORS: ClassVar[bool] = True
    ANY_LAYOUT: ClassVar[bool] = True

    probability: Schedule = field(default=Constant(value=0.5), metadata=traits(rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "probability")

    def draw(self, clock: Clock) -> bool:
        return torch.rand(()).item() < self.probability(clock)

    def many(self, images: Images, drawn: Sequence[bool], size: int) -> Images:
        if not any(drawn):
            return images
        if all(drawn):
            return images.flip(-1)
        return torch.from_numpy(mirrored(images.numpy(), drawn))


EXAMPLES = (HorizontalFlip(), HorizontalFlip(probability=Linear(start=0.0, end=0.5)))
