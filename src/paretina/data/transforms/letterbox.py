"""Letterbox: the whole picture at the network's input size, undistorted, with bars on two sides.

For pictures that are far from square and whose ends matter. The bars cost as much computation as the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from paretina.clock import Clock
from paretina.data.fill import Fill, colours
from paretina.data.resize import resized
from paretina.data.transform import PLAIN, ManyTransform
from paretina.model.task import Task
from paretina.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Letterbox(ManyTransform):
    """
    Attributes:
        fill: colour of the bars.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MOVES: ClassVar[bool] = True
    FIXED: ClassVar[bool] = True
    LEFT_OUT = PLAIN

    fill: Fill = "border"
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    def needed(self, height: int, width: int) -> int:
        return max(height, width)

    def draw(self, clock: Clock) -> None:
        return None

    def many(self, images: Images, drawn: Sequence[Any], size: int) -> Images:
        height, width = (max(1, round(side * size / max(images.shape[-2:]))) for side in images.shape[-2:])
        inside = resized(images, height, width, self.interpolation)
        boxed = torch.from_numpy(colours(self.fill, images))[..., None, None].repeat(1, 1, size, size)
        top, left = (size - height) // 2, (size - width) // 2
        boxed[..., top : top + height, left : left + width] = inside
        return boxed


EXAMPLES = (Letterbox(), Letterbox(fill="grey", interpolation="bilinear"))
