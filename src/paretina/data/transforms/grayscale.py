"""Grayscale: takes the colours of a picture away at random.

Part of the views of methods that learn without labels, which could tell by colours alone that two views are of one picture.
With labels it helps where colour means nothing, and hurts where it determines the class. Nearly free.

Source: Chen et al. 2020 (arXiv:2002.05709), appendix A: a fifth of the pictures.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torchvision.transforms.v2 import functional as F

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.transform import ImageTransform
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.shapes import Image
from paretina.traits import STAYS, traits


@dataclass(frozen=True, kw_only=True)
class Grayscale(ImageTransform):
    """
    Attributes:
        probability: share of the pictures that lose their colours, in [0, 1].
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)

    probability: Schedule = field(default=Constant(value=0.2), metadata=traits(rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "probability")

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        if not torch.rand(()) < self.probability(clock):
            return image
        return F.rgb_to_grayscale(image, num_output_channels=3)  # type: ignore[no-any-return]


EXAMPLES = (Grayscale(), Grayscale(probability=Linear(start=0.0, end=1.0)))
