"""RandAugment: a few operations drawn at random for each picture, all at the same strength.

The strongest of the simple augmentations when the schedule is long or the network large; too much of it hurts small networks,
small pictures and short runs (EfficientNetV2, table 5: level 5 is best at 128 pixels, 15 at 300). The pictures of a batch for
which one operation was drawn go through it together, so small pictures cost little.

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
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torchvision import tv_tensors

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.fill import Fill, colours
from paretina.data.operations import (
    Pixels,
    autocontrasted,
    brighter,
    equalized,
    in_parts,
    mapped,
    more_colourful,
    more_contrasting,
    posterized,
    rotate,
    sharper,
    shear_x,
    shear_y,
    shifted,
    solarized,
)
from paretina.data.transform import ManyTransform
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.shapes import Images
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


def operated(
    operation: Operation,
    pixels: Pixels,
    strengths: Sequence[float],
    gaps: Pixels,
    interpolation: Literal["nearest", "bilinear"] = "bilinear",
) -> Pixels:
    """Applies one operation to pictures of one size.

    Args:
        strengths: one a picture; 0 leaves it as it is, 1 is full; the sign is the direction, where the operation has one.
        gaps: colours of what lies outside of the pictures (batch, 3).
    """
    height, width = pixels.shape[-2:]
    sizes = [abs(strength) for strength in strengths]
    factors = [max(0.1, 1 + 0.9 * strength) for strength in strengths]
    match operation:
        case "identity":
            return pixels
        case "shear_x":
            return mapped(pixels, [shear_x(0.3 * strength, height, width) for strength in strengths], gaps, interpolation)
        case "shear_y":
            return mapped(pixels, [shear_y(0.3 * strength, height, width) for strength in strengths], gaps, interpolation)
        case "rotate":
            return mapped(pixels, [rotate(30.0 * strength) for strength in strengths], gaps, interpolation)
        case "translate_x":
            return shifted(pixels, [(0, moved(strength, width)) for strength in strengths], gaps)
        case "translate_y":
            return shifted(pixels, [(moved(strength, height), 0) for strength in strengths], gaps)
        case "brightness":
            return brighter(pixels, factors)
        case "color":
            return more_colourful(pixels, factors)
        case "contrast":
            return more_contrasting(pixels, factors)
        case "sharpness":
            return sharper(pixels, factors)
        case "posterize":
            return posterized(pixels, [max(1, 8 - round(4 * size)) for size in sizes])
        case "solarize":
            return solarized(pixels, [max(0, math.ceil(256 * (1 - size))) for size in sizes])
        case "autocontrast":
            return autocontrasted(pixels, sizes)
        case "equalize":
            return equalized(pixels, sizes)


def moved(strength: float, side: int) -> int:
    """How far to translate, in pixels."""
    return round(math.copysign(min(0.75, 150 / 331 * abs(strength)), strength) * side)


@dataclass(frozen=True, kw_only=True)
class RandAugment(ManyTransform):
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

    def draw(self, clock: Clock) -> list[tuple[Operation, float]]:
        """The operations, and with which strength."""
        chosen = torch.randint(len(self.operations), (self.number,)).tolist()
        backwards = torch.rand(self.number).tolist()
        strength = self.magnitude(clock) / FULL[self.scale]
        return [
            (self.operations[index], -strength if back < 0.5 else strength)
            for index, back in zip(chosen, backwards, strict=True)
        ]

    def many(self, images: Images, drawn: Sequence[list[tuple[Operation, float]]], size: int) -> Images:
        gaps = colours(self.fill, images)
        masks = isinstance(images, tv_tensors.Mask)
        pixels = images.numpy().copy(order="C")
        for turn in range(self.number):
            groups = defaultdict(list)
            for place, operations in enumerate(drawn):
                operation, strength = operations[turn]
                if strength and operation != "identity" and (operation in MOVING or not masks):
                    groups[operation].append(place)
            for operation, places in groups.items():
                for part in in_parts(places, pixels.shape[-2:]):
                    strengths = [drawn[place][turn][1] for place in part]
                    pixels[part] = operated(
                        operation, pixels[part], strengths, gaps[part], "nearest" if masks else self.interpolation
                    )
        return torch.from_numpy(pixels)


EXAMPLES = (
    RandAugment(),
    RandAugment(number=1, magnitude=Linear(start=5.0, end=15.0), fill="border", interpolation="nearest"),
    RandAugment(number=3, scale="torchvision", operations=("rotate", "translate_x", "equalize")),
)
