"""Evaluated: how a run is judged on its way and at its end, and which weights it keeps."""

from dataclasses import dataclass, field, replace
from typing import Literal

from paretina.data.transform import ImageTransform
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.squash import Squash
from paretina.measure.judge import Judge
from paretina.model.blueprint import Preprocessing
from paretina.spec import Spec
from paretina.traits import Never, traits

TESTED = Never("it is how a run is judged, and an ablation judges all runs alike")


@dataclass(frozen=True, kw_only=True)
class Evaluated(Spec):
    """
    Attributes:
        size: side in pixels at which the network is evaluated and saved; None for the last training size.
        fit: how a picture is made square in evaluation: cut to its middle, or squashed; None for the preprocessing of the
            network.
        crop: share of the shorter side that is kept in evaluation, in (0, 1]; None for the preprocessing of the network.
        every: epochs between evaluations on the validation data.
        judge: which figures there are of the validation data; None for those of the task.
        keep: which weights are saved: the last, or those with the best main figure of the judge, such as top-1 (then that
            figure is chosen on the data that it is measured on, and the result says so).
    """

    size: int | None = field(default=None, metadata=traits(left_out=TESTED, elsewhere=()))
    fit: Literal["crop", "squash"] | None = field(default=None, metadata=traits(left_out=TESTED, elsewhere=()))
    crop: float | None = field(default=None, metadata=traits(left_out=TESTED, elsewhere=()))
    every: float = field(default=1.0, metadata=traits(left_out=TESTED, elsewhere=()))
    judge: Judge | None = field(default=None, metadata=traits(left_out=TESTED, elsewhere=()))
    keep: Literal["last", "best"] = field(default="last", metadata=traits(left_out=TESTED, elsewhere=()))

    def __post_init__(self) -> None:
        if self.every <= 0:
            raise ValueError(f"Evaluated.every counts epochs (evaluate_every), above 0, got {self.every}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"Evaluated.size (test_size) is a side in pixels, at least 1, got {self.size}")
        if self.crop is not None and not 0 < self.crop <= 1:
            raise ValueError(f"Evaluated.crop (test_crop) is a share in (0, 1], got {self.crop}")

    def preprocessing(self, own: Preprocessing) -> Preprocessing:
        """The preprocessing that a trained network gets: its own, but for what is said here."""
        return replace(own, fit=self.fit or own.fit, crop=self.crop or own.crop)

    def plain(self) -> ImageTransform:
        """The plain way to a square picture: that of the test."""
        return Squash() if self.fit == "squash" else CentreCrop()

    def evaluations(self, epochs: float) -> int:
        """How often a run of so many epochs is evaluated."""
        return max(1, round(epochs / self.every))


EXAMPLES = (Evaluated(), Evaluated(size=96, keep="best"))
