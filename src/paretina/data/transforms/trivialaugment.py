"""TrivialAugment: one operation for each picture, at a strength drawn anew each time.

Nothing to tune; a strong start for an unknown data set. It transforms pictures one by one, so below 100 pixels it costs more
than `RandAugment`. Its strength cannot follow a schedule, and its range is wide: rotations to 135 degrees, translations by 32
pixels whatever the size of the picture, which is much below 100 pixels.

Source: Müller & Hutter 2021 (arXiv:2103.10158), the wide space; torchvision does the work.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torchvision.transforms import v2

from paretina.clock import Clock
from paretina.data.fill import Fill, colour
from paretina.data.transform import ImageTransform, made
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image


@dataclass(frozen=True, kw_only=True)
class TrivialAugment(ImageTransform):
    """
    Attributes:
        fill: colour of the area outside of a shifted or rotated picture.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf, AnyOf, Nothing)
    MOVES: ClassVar[bool] = True

    fill: Fill = "grey"
    interpolation: Literal["nearest", "bilinear"] = "bilinear"

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        interpolation = v2.InterpolationMode(self.interpolation)
        return made(v2.TrivialAugmentWide, interpolation=interpolation, fill=tuple(colour(self.fill, image)))(image)


EXAMPLES = (TrivialAugment(), TrivialAugment(fill="border", interpolation="nearest"))
