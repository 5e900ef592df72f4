"""Progressive learning: small images and weak regularisation first, large images and strong regularisation last.

Small images are cheap, and a network learns most of its features from them; but it overfits less on them, so the regularisation
that large images need would slow it down. So everything that is marked to rise (`paretina.traits`) rises with the size:
RandAugment, mixing, erasing and dropout, together, in stages. Needs a network that takes several sizes. It is meant for long
runs: in runs of a few epochs it cost more than it saved (records/progressive-shapes, records/progressive-elpv,
records/finetune-elpv). If small images are simply better (drawings, icons), it gains nothing.

Stages are equally expensive, so that small images have most of the epochs: of four from half the size to the full size, the
first has 45 % of them. The learning rate is held until the last stage and falls to zero in it: a cosine has little left when
the large images come, which cost four points on 2,000 pictures of Fashion-MNIST.

Source: Tan & Le 2021 (arXiv:2104.00298), section 4 and algorithm 1; ranges of strength from their table 6: magnitudes and
dropout rise from a third of the final value, mixing from zero.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from paretina.clock import START
from paretina.schedules import Constant, Drawn, Held, Restarted, Schedule, Staged, Unequal, Warmup
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
        stages: number of stages.
        length: whether the stages of rising sizes are equally expensive, by their pixels ("cost"), or have the same number of
            epochs ("epochs").
        lr: what becomes of the learning rate where sizes rise: its peak is held until the last stage and then falls to zero
            ("held"), its schedule begins again in each stage ("restarted"), or it stays as it is ("kept").
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
    length: Literal["cost", "epochs"] = "cost"
    lr: Literal["held", "restarted", "kept"] = "held"
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
        shares = self.shares(sides)
        risen = replace(recipe, size=self.schedule(sides, shares), test=replace(recipe.test, size=recipe.test.size or self.end))
        if self.sizes == "rising":
            risen = replace(risen, optimizer=replace(recipe.optimizer, lr=self.rate(recipe.optimizer.lr, shares)))
        if self.regularisation == "adaptive":
            for place in places(recipe):
                if isinstance(place.says.rises, float):
                    risen = put(risen, place.path, self.rise(place.value, place.says.rises, place.path, shares))
        return risen

    def shares(self, sides: tuple[float, ...]) -> tuple[float, ...]:
        """The length of each stage as a share of the epochs."""
        parts = [side**-2 if self.length == "cost" else 1.0 for side in sides]
        return tuple(part / sum(parts) for part in parts)

    def rate(self, lr: Schedule, shares: tuple[float, ...]) -> Schedule:
        """The learning rate over the stages; the warmup of the recipe stays."""
        if self.lr == "kept":
            return lr
        inner = lr.then if isinstance(lr, Warmup) else lr
        if self.lr == "held":
            inner = Held(start=inner(START), hold=sum(shares[:-1]))
        else:
            inner = Restarted(then=inner, shares=shares)
        return replace(lr, then=inner, rebase=False) if isinstance(lr, Warmup) else inner

    def rise(self, last: Schedule, share: float, place: str, shares: tuple[float, ...]) -> Schedule:
        if not isinstance(last, Constant):
            raise ValueError(f"{place} already has a schedule, {last}; give it a number, or set regularisation=constant")
        if last.value == 0:
            return last
        return self.schedule(Staged.between(share * last.value, last.value, self.stages).values, shares)

    def schedule(self, values: tuple[float, ...], shares: tuple[float, ...]) -> Schedule:
        if self.sizes == "random":
            return Drawn(values=values, every=self.every)
        return Unequal(values=values, shares=shares) if self.length == "cost" else Staged(values=values)


def progressive_named(text: str) -> Progressive:
    """Parses `96:160`, `96:160:3` (stages) or `96:160:4:constant:kept`: start, end, and options other than the defaults.

    Raises:
        ValueError: the text has another form.
    """
    start, end, stages, options = rise_of(text)
    return Progressive(start=start, end=end, stages=4 if stages is None else stages, **options)  # type: ignore[arg-type]
