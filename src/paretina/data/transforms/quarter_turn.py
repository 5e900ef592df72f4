"""QuarterTurn: turns the picture by 0, 90, 180 or 270 degrees, all equally likely.

For pictures without an up and down: microscopy, aerial views. With `HorizontalFlip` all eight ways to lay a square are there.
Exact, since no pixel is interpolated. A picture that is not square is only turned by 0 or 180 degrees: put it behind a crop or
a resize.

Source: Guo et al. 2022 (arXiv:2207.14347), whose training draws from flips and quarter turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.transform import ManyTransform
from paretina.model.task import Task
from paretina.schedules import Constant, Schedule
from paretina.shapes import Images
from paretina.traits import STAYS, traits


@dataclass(frozen=True, kw_only=True)
class QuarterTurn(ManyTransform):
    """
    Attributes:
        probability: how often one of the four turns is drawn, in [0, 1]; otherwise the picture stays.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MOVES: ClassVar[bool] = True
    MIRRORS: ClassVar[bool] = False

    probability: Schedule = field(default=Constant(value=1.0), metadata=traits(rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "probability")

    def draw(self, clock: Clock) -> int:
        """How many quarter turns to the left."""
        chosen, turns = torch.rand(2).tolist()
        return int(4 * turns) if chosen < self.probability(clock) else 0

    def many(self, images: Images, drawn: Sequence[int], size: int) -> Images:
        if images.shape[-2] != images.shape[-1]:
            drawn = [turns // 2 * 2 for turns in drawn]
        if not any(drawn):
            return images
        return torch.stack([image.rot90(turns, (-2, -1)) for image, turns in zip(images, drawn, strict=True)])


EXAMPLES = (QuarterTurn(), QuarterTurn(probability=Constant(value=0.5)))
