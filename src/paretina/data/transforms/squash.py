"""Squash: the whole picture at the network's input size, stretched to a square.

Keeps all of the content and wastes no pixels, but distorts shapes; good for pictures that are nearly square. EfficientNetV2
evaluates this way from 320 pixels on. `Letterbox` keeps the shape too, `CentreCrop` only the middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from paretina.clock import Clock
from paretina.data.resize import resized
from paretina.data.transform import PLAIN, ManyTransform
from paretina.model.task import Task
from paretina.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Squash(ManyTransform):
    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MOVES: ClassVar[bool] = True
    FIXED: ClassVar[bool] = True
    LEFT_OUT = PLAIN

    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    def needed(self, height: int, width: int) -> int:
        return min(height, width)

    def draw(self, clock: Clock) -> None:
        return None

    def many(self, images: Images, drawn: Sequence[Any], size: int) -> Images:
        return resized(images, size, size, self.interpolation)


EXAMPLES = (Squash(), Squash(interpolation="bilinear"))
