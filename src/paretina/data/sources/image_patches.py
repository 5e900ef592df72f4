"""ImagePatches: many small training pictures cut out of a single large one.

For distillation: a student that sees nothing but patches of one busy picture, labelled by a teacher, comes to classify real
pictures it never saw. Natural pictures full of things work best (streets, markets); noise hardly works. Judge on real pictures
only: give this as the training part of `Apart`.

A patch depends only on (seed, number) and the picture. It is a crop of half of the picture's shorter side, of which a random
part is brought to 1.42 times the size, turned, sheared, and cut at the centre, so that the corners that open are gone; then
colours are changed in half of the patches, and half are mirrored.

Source: Asano & Saeed 2021 (arXiv:2112.00725), section 3.1 and their code. They store patches as JPEG, whose loss acts as one
more augmentation; here they are made when they are needed.
"""

import functools
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from paretina.data.decode import DecodeError, decode
from paretina.data.sampler import seed_of
from paretina.data.source import Collection, Sample, Source
from paretina.data.transform import made
from paretina.model.tasks.nothing import Nothing
from paretina.shapes import Image

CROP = 0.5
"""Side of the first crop as a share of the shorter side of the picture."""

AREA = (1 / 500, 1.0)
"""Smallest and largest share of that crop's area that a patch shows."""

DEGREES = 30.0
"""Largest turn, and largest shear, to each side."""

COLOURS = (0.4, 0.4, 0.4, 0.1)
"""Brightness, contrast, saturation, hue: as in `ColorJitter`."""


@dataclass(frozen=True, kw_only=True)
class ImagePatches(Source):
    """
    Attributes:
        path: the picture.
        count: number of patches.
        size: their side in pixels.
        seed: of the patches.
        classes: names of the classes that a network for them has: those of the teacher.
    """

    path: str
    count: int = 50_000
    size: int = 64
    seed: int = 0
    classes: tuple[str, ...] = ("unlabelled",)

    def __post_init__(self) -> None:
        if self.count < 1 or self.size < 8:
            raise ValueError(f"ImagePatches needs count >= 1 and size >= 8, got count={self.count}, size={self.size}")
        if self.seed < 0:
            raise ValueError(f"ImagePatches.seed must not be negative, got {self.seed}")

    def open(self) -> "ImagePatchesCollection":
        path = Path(self.path).expanduser().absolute()
        if not path.is_file():
            raise ValueError(f"there is no picture {self.path!r}")
        try:
            shorter = min(picture(str(path)).shape[-2:])
        except DecodeError as error:
            raise ValueError(str(error)) from None
        if shorter * CROP < self.size:
            raise ValueError(
                f"{self.path!r} has a shorter side of {shorter} pixels, of which patches of {self.size} need at least twice as "
                "many; take a larger picture or a smaller size"
            )
        samples = tuple(Sample(f"{number:07d}", 0) for number in range(self.count))
        notes = (f"{self.count:,} patches of {self.path}: judge what learns from them on real pictures",)
        splits: dict[str, tuple[Sample, ...]] = {"train": samples, "val": ()}
        return ImagePatchesCollection(self.classes, splits, notes, task=Nothing(), cut=self, place=str(path))


@dataclass(frozen=True)
class ImagePatchesCollection(Collection):
    """
    Attributes:
        cut: the settings.
        place: full path of the picture.
    """

    cut: ImagePatches = field(kw_only=True)
    place: str = field(kw_only=True)

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """One patch, (3, size, size).

        Raises:
            DecodeError: the picture cannot be read any more.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.cut.seed, int(sample.name)))
            return patch(picture(self.place), self.cut.size)


@functools.lru_cache(maxsize=1)
def picture(path: str) -> Image:
    """A picture, which stays in memory.

    Raises:
        DecodeError: it cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DecodeError(f"{path}: {error.strerror or error}") from None
    return decode(data, path)


def between(low: float, high: float) -> float:
    return low + (high - low) * torch.rand(()).item()


def patch(image: Image, size: int) -> Image:
    """A random patch of a picture, by torch's global generator."""
    side = int(min(image.shape[-2:]) * CROP)
    top, left = (int(torch.randint(room - side + 1, ())) for room in image.shape[-2:])
    part = image[:, top : top + side, left : left + side]
    wide = math.ceil(size * math.sqrt(2))
    shown = max(2, round(side * math.sqrt(between(*AREA))))
    top, left = (int(torch.randint(side - shown + 1, ())) for _ in range(2))
    part = F.resized_crop(part, top, left, shown, shown, [wide, wide], antialias=True)
    turn, shear = between(-DEGREES, DEGREES), between(-DEGREES, DEGREES)
    part = F.affine(part, turn, [0, 0], 1.0, [shear, 0.0], interpolation=F.InterpolationMode.BILINEAR)
    part = F.center_crop(part, [size, size])
    if torch.rand(()) < 0.5:
        part = made(v2.ColorJitter, *COLOURS)(part)
    return part.flip(-1) if torch.rand(()) < 0.5 else part


EXAMPLES = (
    ImagePatches(path="street.jpg"),
    ImagePatches(path="street.jpg", count=100, size=32, seed=1, classes=("cat", "dog")),
)
