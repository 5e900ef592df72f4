"""Progressive learning: small images and weak regularisation first, large images and strong regularisation last.

Small images are cheap, and a network learns most of its features from them; but it overfits less on them, so the regularisation
that large images need would slow it down. So everything that is marked to rise (`paretina.traits`) rises with the size:
RandAugment, mixing, erasing and dropout, together, in equal stages. Needs a network that takes several sizes. Four stages from
half the size to the full size have 60 % of the pixels. It is meant for long runs: in runs of a few epochs it cost more than it
saved (records/progressive-shapes, records/progressive-elpv, records/finetune-elpv). If small images are simply better
(drawings, icons), it gains nothing.

Source: Tan & Le 2021 (arXiv:2104.00298), section 4 and algorithm 1; ranges of strength from their table 6: magnitudes and
dropout rise from a third of the final value, mixing from zero.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from paretina.schedules import Constant, Drawn, Schedule, Staged
from paretina.spec import Spec, put
from paretina.train.fields import rise_of
from paretina.train.recipe import Recipe
from paretina.traits import places


@dataclass(frozen=True, kw_only=True)
class Progressive(Spec):
    """An edit of a recipe: its size and strengths become the final values of progressive schedules.

    Attributes:
        start: first image size, in pixels.
        end: last image size, also used for testing unless the recipe sets another.
        stages: number of stages, of equal length.
        regularisation: whether strengths rise with the size ("adaptive") or stay at the recipe's values ("constant").
        sizes: whether sizes rise ("rising") or are drawn from those of all stages ("random"); strengths follow the size.
        every: with random sizes, epochs between draws; 0 draws at each update.
        step: sizes between start and end are rounded to multiples of this.
    """

    start: int
    end: int
    stages: int = 4
    regularisation: Literal["adaptive", "constant"] = "adaptive"
    sizes: Literal["rising", "random"] = "rising"
    every: float = 0.0
    step: int = field(default=8)

    def __post_init__(self) -> None:
        if not 1 <= self.start < self.end:
            raise ValueError(f"Progressive needs 1 <= start < end, got start={self.start}, end={self.end}")
        if self.stages < 2 or self.step < 1:
            raise ValueError(f"Progressive needs stages >= 2 and step >= 1, got stages={self.stages}, step={self.step}")

    def __call__(self, recipe: Recipe) -> Recipe:
        """Returns the recipe with progressive schedules.

        Raises:
            ValueError: a strength of the recipe already has a schedule.
        """
        between = Staged.between(float(self.start), float(self.end), self.stages).values
        sides = (float(self.start), *(float(round(side / self.step) * self.step) for side in between[1:-1]), float(self.end))
        risen = replace(recipe, size=self.schedule(sides), test=replace(recipe.test, size=recipe.test.size or self.end))
        if self.regularisation == "adaptive":
            for place in places(recipe):
                if isinstance(place.says.rises, float):
                    risen = put(risen, place.path, self.rise(place.value, place.says.rises, place.path))
        return risen

    def rise(self, last: Schedule, share: float, place: str) -> Schedule:
        if not isinstance(last, Constant):
            raise ValueError(f"{place} already has a schedule, {last}; give it a number, or set regularisation=constant")
        if last.value == 0:
            return last
        return self.schedule(Staged.between(share * last.value, last.value, self.stages).values)

    def schedule(self, values: tuple[float, ...]) -> Schedule:
        return Staged(values=values) if self.sizes == "rising" else Drawn(values=values, every=self.every)


def progressive_named(text: str) -> Progressive:
    """Parses `96:160`, `96:160:3` (stages) or `96:160:4:constant:random`: start, end, and options other than the defaults.

    Raises:
        ValueError: the text has another form.
    """
    start, end, stages, regularisation, sizes = rise_of(text)
    return Progressive(start=start, end=end, stages=stages, regularisation=regularisation, sizes=sizes)
