"""CentreCrop: the largest central square of the picture, at the network's input size.

Deterministic and without distortion, and exactly what evaluation does; what is left and right of the square is lost.
`Squash` and `Letterbox` keep the whole picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from paretina.clock import Clock
from paretina.data.preprocess import preprocess
from paretina.data.transform import PLAIN, ManyTransform
from paretina.model.blueprint import Preprocessing
from paretina.model.task import Task
from paretina.shapes import Images


@dataclass(frozen=True, kw_only=True)
class CentreCrop(ManyTransform):
    """
    Attributes:
        share: side of the square as a share of the picture's shorter side, in (0, 1]; 0.875 is "resize to 256, crop 224".
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MOVES: ClassVar[bool] = True
    FIXED: ClassVar[bool] = True
    LEFT_OUT = PLAIN

    share: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"CentreCrop.share must be in (0, 1], got {self.share:g}")

    def needed(self, height: int, width: int) -> int:
        return int(self.share * min(height, width))

    def draw(self, clock: Clock) -> None:
        return None

    def many(self, images: Images, drawn: Sequence[Any], size: int) -> Images:
        return preprocess(images, Preprocessing(crop=self.share, interpolation=self.interpolation), size)


EXAMPLES = (CentreCrop(), CentreCrop(share=0.875, interpolation="bilinear"))
