"""Squash: the whole picture at the network's input size, stretched to a square.

Keeps all of the content and wastes no pixels, but distorts shapes; good for pictures that are nearly square. EfficientNetV2
evaluates this way from 320 pixels on. `Letterbox` keeps the shape too, `CentreCrop` only the middle.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from paretina.clock import Clock
from paretina.data.resize import resized
from paretina.data.transform import PLAIN, ImageTransform
from paretina.model.task import Task
from paretina.shapes import Image


@dataclass(frozen=True, kw_only=True)
class Squash(ImageTransform):
    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MOVES: ClassVar[bool] = True
    LEFT_OUT = PLAIN

    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        return resized(image, size, size, self.interpolation)


EXAMPLES = (Squash(), Squash(interpolation="bilinear"))
