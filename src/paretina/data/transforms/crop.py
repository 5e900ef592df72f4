"""RandomResizedCrop: a random part of the picture, slightly stretched, at the network's input size.

The usual first transform for photographs, whose subject fills the picture at any scale. It costs less than a resize of the
whole picture, but makes things look larger in training than in the test (FixRes, arXiv:1906.06423), and it can cut the subject
away: for a few thousand pictures or whole drawings raise `smallest` to 0.25 and more. EfficientNetV2 uses 0.05 with bilinear.

Source: Szegedy et al. 2015 (arXiv:1409.4842), section 6; torchvision does the work: ten tries, then the centre.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.data.resize import resized
from paretina.data.transform import ImageTransform, made
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.shapes import Image
from paretina.traits import GIVES_WAY, STAYS, traits


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(ImageTransform):
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

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        area = (self.smallest(clock), self.largest)
        place = made(v2.RandomResizedCrop, size, area, self.ratio).make_params([image])
        return resized(F.crop(image, **place), size, size, self.interpolation)


EXAMPLES = (
    RandomResizedCrop(),
    RandomResizedCrop(smallest=Linear(start=0.5, end=0.25), ratio=(1.0, 1.0), interpolation="bilinear"),
)
