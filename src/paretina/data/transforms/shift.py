"""RandomShift: shifts the picture slightly, vertically and horizontally, and fills the gap.

The gentle alternative to `RandomResizedCrop` for drawings, icons and digits, whose outline must stay whole: scale and shape do
not change, and little is cut off. It keeps the size of the picture, so put it after `Squash` or `Letterbox`. It only
copies memory. "Pad by 4 and crop" on 32 pixels, as for CIFAR, is `share=0.125, fill="black"`.

Source: He et al. 2016 (arXiv:1512.03385), section 4.2.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.fill import Fill, colour, plain
from paretina.data.transform import ImageTransform
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.shapes import Image
from paretina.traits import STAYS, traits


def shifted(image: Image, down: int, right: int, gap: list[int]) -> Image:
    """The picture moved by whole pixels, negative for up and left; the rest takes the colour `gap`."""
    height, width = image.shape[-2:]
    rows, columns = max(0, height - abs(down)), max(0, width - abs(right))
    moved = plain(gap, height, width)
    kept = image[:, max(0, -down) :, max(0, -right) :][:, :rows, :columns]
    moved[:, max(0, down) :, max(0, right) :][:, :rows, :columns] = kept
    return moved


@dataclass(frozen=True, kw_only=True)
class RandomShift(ImageTransform):
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

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        height, width = image.shape[-2:]
        along = (2 * torch.rand(2) - 1).tolist()
        share = self.share(clock)
        down, right = round(along[0] * share * height), round(along[1] * share * width)
        return shifted(image, down, right, colour(self.fill, image)) if down or right else image


EXAMPLES = (RandomShift(), RandomShift(share=Linear(start=0.0, end=0.5), fill="black"))
