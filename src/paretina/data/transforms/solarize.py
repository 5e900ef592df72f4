"""Solarize: inverts the bright pixels of a picture at random.

Part of the second view of BYOL; RandAugment has it among its operations. Nearly free.

Source: Grill et al. 2020 (arXiv:2006.07733), appendix B: pixels from half of the brightest level on, a fifth of the second
views.
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
class Solarize(ImageTransform):
    """
    Attributes:
        probability: share of the pictures that are solarised, in [0, 1].
        threshold: grey level from which on pixels are inverted, 0 to 255.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)

    probability: Schedule = field(default=Constant(value=0.2), metadata=traits(rises=STAYS))
    threshold: int = 128

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "probability")
        if not 0 <= self.threshold <= 255:
            raise ValueError(f"Solarize.threshold is a grey level, 0 to 255, got {self.threshold}")

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        if not torch.rand(()) < self.probability(clock):
            return image
        return F.solarize(image, float(self.threshold))  # type: ignore[no-any-return]


EXAMPLES = (Solarize(), Solarize(probability=Linear(start=0.0, end=1.0), threshold=64))
