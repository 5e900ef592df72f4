"""GaussianBlur: blurs the picture at random.

Part of the views of methods that learn without labels, which must not tell two views by their fine detail; seldom of use with
labels, except for pictures that are blurred in use. Costs two passes over the picture.

Source: Chen et al. 2020 (arXiv:2002.05709), appendix A: the kernel covers a tenth of the side, sigma is 0.1 to 2 pixels at 224.
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

REFERENCE = 224
"""Side in pixels that `sigma` refers to."""

LEAST = 0.4
"""Smallest standard deviation in pixels."""

SHARE = 0.1
"""Side of the kernel as a share of that of the picture."""


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(ImageTransform):
    """
    Attributes:
        probability: share of the pictures that are blurred, in [0, 1].
        sigma: smallest and largest standard deviation, in pixels of a picture of 224; drawn uniformly, and in proportion to the
            side at other sizes, but never below 0.4 pixels, where nothing would change.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)

    probability: Schedule = field(default=Constant(value=0.5), metadata=traits(rises=STAYS))
    sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "probability")
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"GaussianBlur.sigma must be two numbers above 0 in rising order, got {self.sigma}")

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        if not torch.rand(()) < self.probability(clock):
            return image
        low, high = self.sigma
        shorter = min(image.shape[-2:])
        sigma = (low + (high - low) * torch.rand(()).item()) * size / REFERENCE
        kernel = max(2, round(size * SHARE)) // 2 * 2 + 1
        if shorter <= kernel // 2:  # the border is mirrored, which needs that many pixels
            return image
        return F.gaussian_blur(image, [kernel, kernel], [max(sigma, LEAST)] * 2)  # type: ignore[no-any-return]


EXAMPLES = (GaussianBlur(), GaussianBlur(probability=Linear(start=0.0, end=1.0), sigma=(0.5, 1.0)))
