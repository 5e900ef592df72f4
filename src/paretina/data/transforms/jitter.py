"""ColorJitter: random brightness, contrast, saturation and hue, in random order.

Helps with other cameras and other light; hurts where the colour determines the class (fruit, flowers, stains), so it is weak by
default. Costs a pass over the picture for each of the first three; hue costs several, because of its colour space.

Source: Howard 2013 (arXiv:1312.5402), section 2; torchvision does the work.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torchvision.transforms import v2

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.transform import ImageTransform, made
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.shapes import Image
from paretina.traits import STAYS, traits


@dataclass(frozen=True, kw_only=True)
class ColorJitter(ImageTransform):
    """
    Attributes:
        brightness: the factor is drawn from 1 - brightness (never below 0) to 1 + brightness; 0 for no change.
        contrast: likewise, about the mean grey.
        saturation: likewise, about the grey picture.
        hue: maximum rotation of the colour circle, in turns, in [0, 0.5].
        probability: share of the pictures that are changed, in [0, 1].
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)

    brightness: Schedule = field(default=Constant(value=0.2), metadata=traits(rises=STAYS))
    contrast: Schedule = field(default=Constant(value=0.2), metadata=traits(rises=STAYS))
    saturation: Schedule = field(default=Constant(value=0.2), metadata=traits(rises=STAYS))
    hue: Schedule = field(default=Constant(value=0.0), metadata=traits(rises=STAYS))
    probability: Schedule = field(default=Constant(value=1.0), metadata=traits(rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, float("inf"), "brightness", "contrast", "saturation")
        require_within(self, 0.0, 0.5, "hue")
        require_within(self, 0.0, 1.0, "probability")

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        probability = self.probability(clock)
        if probability < 1 and not torch.rand(()) < probability:  # at 1 nothing is drawn, as in releases before this field
            return image
        strengths = (self.brightness(clock), self.contrast(clock), self.saturation(clock), self.hue(clock))
        return made(v2.ColorJitter, *strengths)(image) if any(strengths) else image


EXAMPLES = (ColorJitter(), ColorJitter(brightness=Linear(start=0.0, end=0.4), hue=Constant(value=0.1)))
