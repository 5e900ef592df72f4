"""RandomResizedCrop: a random part of the picture, slightly stretched, at the network's input size.

The usual first transform for photographs, whose subject fills the picture at any scale. It costs less than a resize of the
whole picture, but makes things look larger in training than in the test (FixRes, arXiv:1906.06423), and it can cut the subject
away: for a few thousand pictures or whole drawings raise `smallest` to 0.25 and more. EfficientNetV2 uses 0.05 with bilinear.

Large JPEG files are reduced while they are decoded, to a shorter side of at least twice the largest training size: a crop of
under a quarter of the area is then enlarged from fewer pixels than the file has, and looks softer than the same part would.
From there on the crop decides: it is cut out of the smallest copy, halved once or more, in which it has an eighth more pixels a
side than the result (`paretina.data.levels`), so that small images cost less than large ones.

Source: Szegedy et al. 2015 (arXiv:1409.4842), section 6; ten tries, then the centre, as in torchvision.
"""

import functools
import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torchvision import tv_tensors

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.levels import Window
from paretina.data.resize import resized_alone
from paretina.data.transform import CropTransform
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.shapes import Image
from paretina.traits import GIVES_WAY, STAYS, traits


@functools.cache
def logarithms(ratio: tuple[float, float]) -> list[float]:
    return torch.tensor(ratio).log().tolist()


def part(area: tuple[float, float], ratio: tuple[float, float], height: int, width: int) -> Window:
    """Draws the rows and columns to keep, the same as torchvision's transform by the same random numbers."""
    ends = logarithms(ratio)
    real, whole = torch.empty(1), torch.empty(1, dtype=torch.int64)  # filled again and again, which takes less time
    for _ in range(10):
        pixels = height * width * real.uniform_(*area).item()
        form = real.uniform_(*ends).exp_().item()
        columns, rows = round(math.sqrt(pixels * form)), round(math.sqrt(pixels / form))
        if 0 < columns <= width and 0 < rows <= height:
            top, left = (int(whole.random_(0, room + 1)) for room in (height - rows, width - columns))
            return Window(top, left, rows, columns)
    # none fits: the middle, as much of it as the ratio allows
    columns = max(1, min(width, round(height * ratio[1])))
    rows = max(1, min(height, round(width / ratio[0])))
    top, left = (height - rows) // 2, (width - columns) // 2
    return Window(top, left, rows, columns)


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(CropTransform):
    """
    Attributes:
        smallest: minimum share of the picture's area that is kept, in [0, largest].
        largest: maximum share, in (0, 1].
        ratio: minimum and maximum aspect ratio (width / height) of the crop; the logarithm is drawn uniformly.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MOVES: ClassVar[bool] = True
    LEFT_OUT = GIVES_WAY

    smallest: Schedule = field(default=Constant(value=0.08), metadata=traits(rises=STAYS))
    largest: float = 1.0
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    def __post_init__(self) -> None:
        if not 0 < self.largest <= 1:
            raise ValueError(f"RandomResizedCrop.largest must be in (0, 1], got {self.largest:g}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"RandomResizedCrop.ratio must be two positive numbers in rising order, got {self.ratio}")
        require_within(self, 0.0, self.largest, "smallest")

    def window(self, height: int, width: int, size: int, clock: Clock) -> Window:
        return part((self.smallest(clock), self.largest), self.ratio, height, width)

    def cut(self, image: Image, window: Window, size: int, any_layout: bool = False) -> Image:
        kept = window.of(image)
        if isinstance(image, tv_tensors.Mask):
            kept = tv_tensors.Mask(kept)
        return resized_alone(kept, size, size, self.interpolation, any_layout)


EXAMPLES = (
    RandomResizedCrop(),
    RandomResizedCrop(smallest=Linear(start=0.5, end=0.25), ratio=(1.0, 1.0), interpolation="bilinear"),
)
