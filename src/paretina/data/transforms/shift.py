"""RandomShift: shifts the picture slightly, vertically and horizontally, and fills the gap.

The gentle alternative to `RandomResizedCrop` for drawings, icons and digits, whose outline must stay whole: scale and shape do
not change, and little is cut off. It keeps the size of the picture, so put it after `Squash` or `Letterbox`. It only
copies memory. "Pad by 4 and crop" on 32 pixels, as for CIFAR, is `share=0.125, fill="black"`.

Source: He et al. 2016 (arXiv:1512.03385), section 4.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.fill import Fill, colours
from paretina.data.operations import shifted
from paretina.data.transform import ManyTransform
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.shapes import Images
from paretina.traits import STAYS, traits


@dataclass(frozen=True, kw_only=True)
class RandomShift(ManyTransform):
    """
    Attributes:
        share: maximum shift as a share of each side, in [0, 1]; drawn uniformly.
        fill: colour of the gap.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MOVES: ClassVar[bool] = True

    share: Schedule = field(default=Constant(value=0.1), metadata=traits(rises=STAYS))
    fill: Fill = "border"

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "share")

    def draw(self, clock: Clock) -> tuple[float, float]:
        """How far down and to the right, as shares of the sides."""
        down, right = (2 * torch.rand(2) - 1).tolist()
        share = self.share(clock)
        return down * share, right * share

    def many(self, images: Images, drawn: Sequence[tuple[float, float]], size: int) -> Images:
        height, width = images.shape[-2:]
        moves = [(round(down * height), round(right * width)) for down, right in drawn]
        if not any(down or right for down, right in moves):
            return images
        return torch.from_numpy(shifted(images.numpy(), moves, colours(self.fill, images)))


EXAMPLES = (RandomShift(), RandomShift(share=Linear(start=0.0, end=0.5), fill="black"))
