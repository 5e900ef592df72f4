"""RandAugment: a few operations drawn at random for each picture, all at the same strength.

The strongest of the simple augmentations when the schedule is long or the network large; too much of it hurts small networks,
small pictures and short runs (EfficientNetV2, table 5: level 5 is best at 128 pixels, 15 at 300). With two operations it
costs about as much as decoding a small picture.

One level means one strength here, in either of the units that are in use: full strength is 10 on TensorFlow's scale and 30 on
torchvision's. Levels are real numbers, so progressive learning may ask for 6.67, and may go beyond full strength:

    rotate                          30 degrees x s
    shear_x, shear_y                0.3 x s pixels a pixel, about the upper left corner
    translate_x, translate_y        150 / 331 of the side x s, at most three quarters of it
    brightness, color, contrast,
    sharpness                       factor 1 + 0.9 x s, or 1 - 0.9 x s but at least 0.1
    posterize                       8 - 4 x s bits a channel, rounded, at least 1
    solarize                        inverts what is at least 256 x (1 - s)
    autocontrast, equalize          blended into the picture with weight s, at most 1

where s is the strength; the operations from the top down to sharpness go either way with equal chance. At strength 0 all of
them leave the picture as it is, and all get stronger with s. In TensorFlow, posterize and solarize get weaker with the level,
autocontrast and equalize know none, and a move is 10 pixels a level whatever the size of the picture. Up to full strength the
ranges are torchvision's, but for three operations: there autocontrast and equalize are whole at every level, and solarize
counts from 255, so that level 0 turns white into black.

Source: Cubuk et al. 2019 (arXiv:1909.13719); the ranges are torchvision's, after AutoAugment (arXiv:1805.09501, table 6).
"""

import math
import typing
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.fill import Fill, colour
from paretina.data.transform import ImageTransform
from paretina.data.transforms.shift import shifted
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.shapes import Image
from paretina.traits import traits

Operation = Literal[
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
]
OPERATIONS: tuple[Operation, ...] = typing.get_args(Operation)
MOVING: tuple[Operation, ...] = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
"""Those that move pixels; the others leave a mask as it is."""

FULL = {"tensorflow": 10.0, "torchvision": 30.0}
"""The level of full strength on each scale."""


def operate(
    operation: Operation, image: Image, strength: float, gap: list[int], interpolation: Literal["nearest", "bilinear"]
) -> Image:
    """Applies one operation.

    Args:
        strength: 0 leaves the picture as it is, 1 is full; the sign is the direction, where the operation has one.
        gap: colour of the area outside of the picture.
    """
    if strength == 0 or (isinstance(image, tv_tensors.Mask) and operation not in MOVING):
        return image
    height, width = image.shape[-2:]
    size = abs(strength)
    factor = max(0.1, 1 + 0.9 * strength)
    mode = v2.InterpolationMode(interpolation)
    match operation:
        case "identity":
            return image
        case "shear_x" | "shear_y":
            angle = math.degrees(math.atan(0.3 * strength))
            shear = [angle, 0.0] if operation == "shear_x" else [0.0, angle]
            return F.affine(image, 0.0, [0, 0], 1.0, shear, interpolation=mode, fill=gap, center=[0.0, 0.0])
        case "translate_x":
            return shifted(image, 0, moved(strength, width), gap)
        case "translate_y":
            return shifted(image, moved(strength, height), 0, gap)
        case "rotate":
            return F.rotate(image, 30.0 * strength, interpolation=mode, fill=gap)
        case "brightness":
            return F.adjust_brightness(image, factor)
        case "color":
            return F.adjust_saturation(image, factor)
        case "contrast":
            return F.adjust_contrast(image, factor)
        case "sharpness":
            return F.adjust_sharpness(image, factor)
        case "posterize":
            return F.posterize(image, max(1, 8 - round(4 * size)))
        case "solarize":
            threshold = math.ceil(256 * (1 - size))
            return F.solarize(image, max(0, threshold)) if threshold < 256 else image
        case "autocontrast":
            return blended(image, F.autocontrast(image), size)
        case "equalize":
            return blended(image, F.equalize(image), size)


def moved(strength: float, side: int) -> int:
    """How far to translate, in pixels."""
    return round(math.copysign(min(0.75, 150 / 331 * abs(strength)), strength) * side)


def blended(image: Image, other: Image, weight: float) -> Image:
    if weight >= 1:
        return other
    return image.float().lerp(other.float(), weight).round_().to(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class RandAugment(ImageTransform):
    """
    Attributes:
        number: operations per picture, drawn with replacement; at least 1.
        magnitude: level of all of them; 0 for no effect; see the table above.
        scale: the scale of `magnitude`; full strength is 10 on TensorFlow's and 30 on torchvision's.
        operations: those that may be drawn; leave out any that change the class of your pictures.
        fill: colour of the area outside of a shifted or rotated picture.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MOVES: ClassVar[bool] = True
    ELSEWHERE = (
        "aa",
        "randaugment",
    )

    number: int = 2
    magnitude: Schedule = field(default=Constant(value=10.0), metadata=traits(rises=1 / 3))
    scale: Literal["tensorflow", "torchvision"] = "tensorflow"
    operations: tuple[Operation, ...] = OPERATIONS
    fill: Fill = "grey"
    interpolation: Literal["nearest", "bilinear"] = "bilinear"

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"RandAugment.number must be at least 1, got {self.number}")
        if not self.operations:
            raise ValueError("RandAugment.operations is empty; name at least one, or switch RandAugment off")
        require_within(self, 0.0, math.inf, "magnitude")

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        chosen = torch.randint(len(self.operations), (self.number,)).tolist()
        backwards = (torch.rand(self.number) < 0.5).tolist()
        strength = self.magnitude(clock) / FULL[self.scale]
        if strength == 0:
            return image
        gap = colour(self.fill, image)
        mask = isinstance(image, tv_tensors.Mask)
        for index, back in zip(chosen, backwards, strict=True):
            image = operate(self.operations[index], image, -strength if back else strength, gap, self.interpolation)
            image = tv_tensors.Mask(image) if mask else image  # functions that only copy memory return a plain tensor
        return image


EXAMPLES = (
    RandAugment(),
    RandAugment(number=1, magnitude=Linear(start=5.0, end=15.0), fill="border", interpolation="nearest"),
    RandAugment(number=3, scale="torchvision", operations=("rotate", "translate_x", "equalize")),
)
