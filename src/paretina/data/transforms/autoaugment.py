"""AutoAugment: one of 25 pairs of operations, found by search on one data set.

Needs no tuning and transfers well to photographs; `RandAugment` with a tuned level is as good and can follow a schedule. Its
strength is fixed. Costs about as much as `RandAugment`.

The pairs are those of the paper's appendix, as torchvision has them. EfficientNet's TensorFlow code trains with another set
("v0": translations in pixels, Cutout and SolarizeAdd, posterize and solarize on other scales), which these are not.

Source: Cubuk et al. 2019 (arXiv:1805.09501), tables 7 to 9; torchvision does the work.
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
class AutoAugment(ImageTransform):
    """
    Attributes:
        policy: the data set on which the pairs were found.
        fill: colour of the area outside of a shifted or rotated picture.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf, AnyOf, Nothing)
    MOVES: ClassVar[bool] = True
    ELSEWHERE = ("auto_augment",)

    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet"
    fill: Fill = "grey"
    interpolation: Literal["nearest", "bilinear"] = "bilinear"

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        policy = v2.AutoAugmentPolicy(self.policy)
        interpolation = v2.InterpolationMode(self.interpolation)
        return made(v2.AutoAugment, policy, interpolation, tuple(colour(self.fill, image)))(image)


EXAMPLES = (
    AutoAugment(),
    AutoAugment(policy="cifar10", fill="border", interpolation="nearest"),
    AutoAugment(policy="svhn", fill="white"),
)
