"""RandomErasing: erases a random rectangle, so that the network learns to use all of an object.

A small, cheap gain for long runs and large networks; put it last, after the crop. Pictures are not normalised here, so a fill
of zero would be black and not the mean: the default is grey.

Source: Zhong et al. 2017 (arXiv:1708.04896), algorithm 1: up to ten tries for a rectangle that fits, else nothing is erased.
With `ratio=(1.0, 1.0)` and one area it is near to Cutout (arXiv:1708.04552), whose squares may hang over the edge.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.fill import colour, plain
from paretina.data.transform import ImageTransform
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.shapes import Image
from paretina.traits import traits


def rectangle(height: int, width: int, area: tuple[float, float], ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """Draws the top, left, height and width of a rectangle inside the picture; a height of 0 where ten tries did not fit."""
    for share, form, down, right in torch.rand(10, 4).tolist():
        pixels = height * width * (area[0] + (area[1] - area[0]) * share)
        tall = math.exp(math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * form)
        rows, columns = round(math.sqrt(pixels * tall)), round(math.sqrt(pixels / tall))
        if 0 < rows <= height and 0 < columns <= width:
            return int(down * (height - rows + 1)), int(right * (width - columns + 1)), rows, columns
    return 0, 0, 0, 0


@dataclass(frozen=True, kw_only=True)
class RandomErasing(ImageTransform):
    """
    Attributes:
        probability: share of the pictures that are erased, in [0, 1].
        area: minimum and maximum share of the picture that is erased.
        ratio: minimum and maximum aspect ratio (height / width) of the rectangle; the logarithm is drawn uniformly.
        fill: colour of the rectangle; `noise` draws every pixel and channel at random, which the paper found best.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    ELSEWHERE = ("reprob",)

    probability: Schedule = field(default=Constant(value=0.25), metadata=traits(rises=0.0))
    area: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    fill: Literal["grey", "white", "black", "border", "noise"] = "grey"

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "probability")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"RandomErasing.area must be two shares in (0, 1] in rising order, got {self.area}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"RandomErasing.ratio must be two positive numbers in rising order, got {self.ratio}")

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        if not torch.rand(()) < self.probability(clock):
            return image
        top, left, rows, columns = rectangle(image.shape[-2], image.shape[-1], self.area, self.ratio)
        if self.fill == "noise":
            paint = torch.randint(256, (3, rows, columns), dtype=torch.uint8)
        else:
            paint = plain(colour(self.fill, image), rows, columns)
        erased = image.clone()
        erased[:, top : top + rows, left : left + columns] = paint
        return erased


EXAMPLES = (RandomErasing(), RandomErasing(probability=Linear(start=0.0, end=1.0), area=(0.1, 0.4), fill="noise"))
