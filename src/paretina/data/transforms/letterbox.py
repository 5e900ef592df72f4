"""Letterbox: the whole picture at the network's input size, undistorted, with bars on two sides.

For pictures that are far from square and whose ends matter. The bars cost as much computation as the picture.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from paretina.clock import Clock
from paretina.data.fill import Fill, colour, plain
from paretina.data.resize import resized
from paretina.data.transform import PLAIN, ImageTransform
from paretina.model.task import Task
from paretina.shapes import Image


@dataclass(frozen=True, kw_only=True)
class Letterbox(ImageTransform):
    """
    Attributes:
        fill: colour of the bars.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MOVES: ClassVar[bool] = True
    LEFT_OUT = PLAIN

    fill: Fill = "border"
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        height, width = (max(1, round(side * size / max(image.shape[-2:]))) for side in image.shape[-2:])
        inside = resized(image, height, width, self.interpolation)
        boxed = plain(colour(self.fill, image), size, size)
        top, left = (size - height) // 2, (size - width) // 2
        boxed[:, top : top + height, left : left + width] = inside
        return boxed


EXAMPLES = (Letterbox(), Letterbox(fill="grey", interpolation="bilinear"))
