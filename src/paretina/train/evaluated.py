"""How a run is evaluated during and after training, and which weights are saved."""

from dataclasses import dataclass, field, replace
from typing import Literal

from paretina.data.transform import ImageTransform
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.squash import Squash
from paretina.measure.judge import Judge
from paretina.model.blueprint import Preprocessing
from paretina.spec import Spec
from paretina.traits import Never, traits

TESTED = Never("it sets how a run is evaluated, which is the same for all runs of an ablation")


@dataclass(frozen=True, kw_only=True)
class Evaluated(Spec):
    """
    Attributes:
        size: image size in pixels at which the network is evaluated and saved; None for the last training size.
        fit: how a picture is made square in evaluation: centre crop, or squash; None for the network's own preprocessing.
        crop: crop ratio in evaluation, a fraction of the shorter side in (0, 1]; None for the network's own preprocessing.
        every: epochs between evaluations on the validation data.
        judge: computes the validation figures; None for the default of the task.
        keep: which weights are saved: the last, or those with the best main figure of the judge, such as top-1 (which is then
            optimistic, since it is selected on the validation data, and the result says so).
    """

    size: int | None = field(default=None, metadata=traits(left_out=TESTED, elsewhere=()))
    fit: Literal["crop", "squash"] | None = field(default=None, metadata=traits(left_out=TESTED, elsewhere=()))
    crop: float | None = field(default=None, metadata=traits(left_out=TESTED, elsewhere=()))
    every: float = field(default=1.0, metadata=traits(left_out=TESTED, elsewhere=()))
    judge: Judge | None = field(default=None, metadata=traits(left_out=TESTED, elsewhere=()))
    keep: Literal["last", "best"] = field(default="last", metadata=traits(left_out=TESTED, elsewhere=()))

    def __post_init__(self) -> None:
        if self.every <= 0:
            raise ValueError(f"Evaluated.every (evaluate_every) is a number of epochs, above 0, got {self.every}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"Evaluated.size (test_size) is a side in pixels, at least 1, got {self.size}")
        if self.crop is not None and not 0 < self.crop <= 1:
            raise ValueError(f"Evaluated.crop (test_crop) is a fraction in (0, 1], got {self.crop}")

    def preprocessing(self, own: Preprocessing) -> Preprocessing:
        """The preprocessing of the trained network: its own, with the changes given here."""
        return replace(own, fit=self.fit or own.fit, crop=self.crop or own.crop)

    def plain(self) -> ImageTransform:
        """The plain resizing to a square, as in evaluation."""
        return Squash() if self.fit == "squash" else CentreCrop()

    def evaluations(self, epochs: float) -> int:
        """The number of evaluations in a run of `epochs` epochs."""
        return max(1, round(epochs / self.every))


EXAMPLES = (Evaluated(), Evaluated(size=96, keep="best"))
