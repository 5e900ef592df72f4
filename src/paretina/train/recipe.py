"""The training recipe: all training settings of a run, as one value (`Recipe`)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from paretina.clock import END, Clock
from paretina.data.borders import BetweenObjects
from paretina.data.bounds import require_within
from paretina.data.sampler import Epochs
from paretina.data.sampling import Sampling
from paretina.data.samplings.shuffled import Shuffled
from paretina.data.transform import PLAIN, BatchTransform, ImageTransform, Look, Transform, View
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.model.layers import Dropout, Residual
from paretina.schedules import Constant, Cosine, Schedule, Warmup
from paretina.spec import Spec, specs_within
from paretina.train.average import Average
from paretina.train.clipping import Clip
from paretina.train.evaluated import TESTED, Evaluated
from paretina.train.learning import Learning
from paretina.train.objective import Objective, Term, learning_modules
from paretina.train.objectives.supervised import Supervised
from paretina.train.optimizer import Optimizer
from paretina.train.optimizers.adamw import AdamW
from paretina.train.starting import Starting
from paretina.traits import INSIDE, STAYS, By, Never, SetTo, traits


@dataclass(frozen=True, kw_only=True)
class StochasticDepth(Spec):
    """Stochastic depth: drops residual branches of single images, more in deep blocks (Huang et al. 2016, arXiv:1603.09382).

    Attributes:
        rate: drop rate of the deepest block, in [0, 1).
        shape: whether rates rise linearly from the first block to the last, or are the same in all blocks.
        ends: of `blocks` blocks numbered from 0, the last has `rate` ("closed", ConvNeXt) or `rate * (blocks - 1) / blocks`
            ("open", EfficientNet).
        subset: whether branches are computed only for the images that keep them, which saves their share of time and memory.
            The number of these is then fixed but for rounding, norms in the branch see only them, and compilation breaks the
            graph at each branch (arXiv:2304.07193, section 5).
    """

    rate: Schedule = field(default=Constant(value=0.2), metadata=traits(rises=STAYS, elsewhere=("drop_path",)))
    shape: Literal["linear", "uniform"] = field(default="linear", metadata=traits(elsewhere=()))
    ends: Literal["open", "closed"] = field(default="open", metadata=traits(elsewhere=()))
    subset: bool = field(default=False, metadata=traits(elsewhere=()))

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "rate", below=True)

    def rates(self, blocks: int, clock: Clock) -> list[float]:
        """The rate of each block."""
        rate = self.rate(clock)
        if self.shape == "uniform":
            return [rate] * blocks
        steps = blocks if self.ends == "open" else max(1, blocks - 1)
        return [rate * number / steps for number in range(blocks)]


def with_leftovers(fields: dict[str, Any]) -> dict[str, Any]:
    """Recipes saved by an earlier release, with all fields of that release, keep its rules."""
    return (
        {"whole_epochs": False, "bound_norm_memory": False, **fields}
        if {"evaluate_every", "max_damaged", "steady"} <= set(fields)
        else fields
    )


def with_whole_pictures(fields: dict[str, Any]) -> dict[str, Any]:
    """Recipes saved by an earlier release, with all fields of that release, see the pixels that they saw then."""
    return {"decoding": "whole", **fields} if {"epochs", "optimizer", "transforms", "max_damaged"} <= set(fields) else fields


LENGTH = Never("an ablation compares runs of equal length")
SIZES = Never("it is the batch size, which cannot be left out")
DRIVES = Never("the others rise with it")


def rising_size(size: Schedule | None, path: str) -> Iterator[tuple[str, str]]:
    """A size schedule is left out by setting its last size."""
    if size is not None and not isinstance(size, Constant):
        yield "rising size", f"{path}={size(END):g}"


@dataclass(frozen=True, kw_only=True)
class Recipe(Spec):
    """
    Attributes:
        epochs: passes over the training data; may be fractional. 0 with `start.head=probe` saves the linear probe as it is,
            evaluated at the image size of the probe unless `test.size` is given.
        batch_size: largest number of pictures per update, over all ranks and accumulated parts.
        whole_epochs: whether each epoch has every picture, in batches of `batch_size` or slightly fewer; otherwise all batches
            are full, and left-over pictures are skipped in that epoch, as in releases before this field.
        size: training image size in pixels; None to derive it from `pixel_share`.
        pixel_share: fraction of the pixels of the model's resolution to train on, in (0, 1]. Below 1 the size is the nearest
            that is equal to the resolution modulo 32, so that feature maps of both are aligned (arXiv:2106.03640).
        accumulate: gradient accumulation steps: the batch is split into this many parts; batch norm sees one part.
        sampling: the order of the pictures in an epoch, and how often each comes.
        decoding: which pixels a training image is made of. "crop": of a copy of the picture, halved as often as the part that
            is cut out allows, so that small images take less time; "packed": the same, of pictures whose shorter side is at
            most twice the largest training size, which can be cached (`plan.cache_gb`); "whole": of the picture itself, as in
            releases before this field. In all three a photo is first reduced while it is decoded, to no less than twice the
            largest size. "auto": packed with a cache, else crop; a run stores which. Evaluation always sees exact pixels.
        transforms: transforms of pictures and batches, applied in this order.
        views: views of each picture, for objectives that compare several; each gets the picture transforms of `transforms`,
            then its own. Empty: one view.
        objective: the training objective.
        dropout: dropout rate before the classifier, in [0, 1).
        average: exponential moving average of the weights, which is evaluated and saved.
        stochastic_depth: stochastic depth (drop path).
        clip: gradient clipping.
        start: initial values, and the momentum of norm statistics.
        learning: which parts are trained, and their relative learning rates.
        teacher: model file or finished run of a network to distil from, or timm:NAME; rejected if nothing learns from it.
        test: how a run is evaluated during and after training, and which weights are saved.
        max_damaged: fraction of unreadable pictures above which a run is refused.
        seed: seed of all randomness.
    """

    UPGRADES = (with_leftovers, with_whole_pictures)
    ALIASES = {
        "lr": "optimizer.lr",
        "pixels": "pixel_share",
        **{name: f"start.{name}" for name in ("zero_gamma", "norm_momentum", "bound_norm_memory")},
        **{name: f"learning.{name}" for name in ("classifier_lr", "lr_decay", "frozen_stride", "frozen", "trainable_stages")},
        "freeze_norm_statistics": "learning.freeze_norm_statistics",
        "classifier_rate": "learning.classifier_lr",
        "rate_decay": "learning.lr_decay",
        "tail": "learning.trainable_stages",
        "steady": "learning.freeze_norm_statistics",
        "test_size": "test.size",
        "test_fit": "test.fit",
        "test_crop": "test.crop",
        "evaluate_every": "test.every",
        "judge": "test.judge",
        "keep": "test.keep",
    }

    epochs: float = field(default=30.0, metadata=traits(left_out=LENGTH, elsewhere=()))
    batch_size: int = field(default=64, metadata=traits(left_out=SIZES, elsewhere=("b",)))
    whole_epochs: bool = field(
        default=True, metadata=traits(left_out=Never("it sets how epochs are split into updates"), elsewhere=())
    )
    size: Schedule | None = field(
        default=None,
        metadata=traits(left_out=By(rising_size), rises=DRIVES, elsewhere=("image_size", "img_size", "imgsz")),
    )
    pixel_share: float = field(default=1.0, metadata=traits(left_out=SetTo("fewer pixels", "1"), elsewhere=()))
    accumulate: int = field(default=1, metadata=traits(left_out=SIZES, elsewhere=("grad_accum_steps",)))
    sampling: Sampling = field(default=Shuffled(), metadata=traits(left_out=SetTo("sampling", "Shuffled"), elsewhere=()))
    decoding: Literal["auto", "whole", "crop", "packed"] = field(
        default="auto",
        metadata=traits(left_out=Never("it decides how fast pictures are read; see `paretina.data.levels`"), elsewhere=()),
    )
    transforms: tuple[Transform, ...] = field(
        default=(RandomResizedCrop(), HorizontalFlip()), metadata=traits(left_out=INSIDE, elsewhere=())
    )
    views: tuple[View, ...] = field(
        default=(), metadata=traits(left_out=Never("the objective needs this number of views"), elsewhere=())
    )
    objective: Objective = field(default_factory=Supervised, metadata=traits(left_out=INSIDE, elsewhere=()))
    optimizer: Optimizer = field(
        default_factory=lambda: AdamW(lr=Warmup(epochs=1.0, then=Cosine(start=1e-3))),
        metadata=traits(left_out=INSIDE, elsewhere={"opt": "KIND lr=VALUE"}),
    )
    dropout: Schedule = field(
        default=Constant(value=0.0),
        metadata=traits(left_out=SetTo("dropout", "0"), rises=1 / 3, elsewhere=("drop",)),
    )
    average: Average | None = field(
        default=None, metadata=traits(left_out=SetTo("average", "off"), elsewhere={"ema": "on", "model_ema": "on"})
    )
    stochastic_depth: StochasticDepth | None = field(
        default=None, metadata=traits(left_out=SetTo("stochastic depth", "off"), elsewhere=())
    )
    clip: Clip | None = field(default=None, metadata=traits(left_out=SetTo("clipping", "off"), elsewhere=()))
    start: Starting = field(default=Starting(), metadata=traits(left_out=INSIDE, elsewhere=()))
    learning: Learning = field(default=Learning(), metadata=traits(left_out=INSIDE, elsewhere=()))
    teacher: str | None = field(
        default=None, metadata=traits(left_out=Never("the terms that learn from it are left out"), elsewhere=())
    )
    test: Evaluated = field(default=Evaluated(), metadata=traits(left_out=TESTED, elsewhere=()))
    max_damaged: float = field(
        default=0.01, metadata=traits(left_out=Never("it decides whether a run starts, not how it trains"), elsewhere=())
    )
    seed: int = field(default=0, metadata=traits(left_out=Never("an ablation trains with several seeds"), elsewhere=()))

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"Recipe.epochs must be at least 0, got {self.epochs}")
        for name in ("batch_size", "accumulate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Recipe.{name} must be above 0, got {getattr(self, name)}")
        if self.batch_size < self.accumulate:
            raise ValueError(f"a batch of {self.batch_size} pictures cannot be split into accumulate={self.accumulate} parts")
        if not 0 <= self.max_damaged <= 1:
            raise ValueError(f"Recipe.max_damaged is a fraction in [0, 1], got {self.max_damaged}")
        if self.views and self.views[0].scale != 1:
            raise ValueError(f"the first view has the size of the recipe, so its scale is 1, got {self.views[0].scale:g}")
        if not 0 < self.pixel_share <= 1:
            raise ValueError(f"Recipe.pixel_share is a fraction in (0, 1], got {self.pixel_share}")
        require_within(self, 0.0, 1.0, "dropout", below=True)

    def updates(self, pictures: int) -> Epochs:
        """The updates of a run on `pictures` training pictures."""
        return Epochs(pictures, min(self.batch_size, pictures), self.epochs, self.seed, self.whole_epochs)

    def taught(self) -> tuple[str, ...]:
        """The names of what learns from a teacher: the objective, or terms in it."""
        return tuple(type(each).__name__ for each in specs_within(self.objective) if getattr(each, "TEACHER", False))

    def image_transforms(self) -> tuple[ImageTransform, ...]:
        return tuple(transform for transform in self.transforms if isinstance(transform, ImageTransform))

    def looks(self) -> tuple[Look, ...]:
        """How each view of a picture is made."""
        shared = self.image_transforms()
        return tuple(Look((*shared, *view.transforms), view.own, view.scale) for view in self.views or (View(),))

    def pixels(self) -> BetweenObjects | None:
        """What gives the weight of each pixel, by the terms of the loss; None for 1."""
        terms: tuple[Term, ...] = getattr(self.objective, "terms", ())
        return next((found for term in terms if (found := term.pixels()) is not None), None)

    def without(self, transform: Transform) -> tuple[Transform, ...]:
        """The transforms with one replaced by the plain resizing to a square, as in evaluation.

        Other plain resizings are dropped, since they would have no effect.
        """
        plain = self.test.plain()
        kept = (each for each in self.transforms if type(each).LEFT_OUT != PLAIN)
        return tuple(plain if each is transform else each for each in kept)

    def batch_transforms(self) -> tuple[BatchTransform, ...]:
        return tuple(transform for transform in self.transforms if isinstance(transform, BatchTransform))

    def sizes(self, resolution: int) -> Schedule:
        """The schedule of the training image size for a network of that resolution."""
        return self.size or Constant(value=float(side_of_share(resolution, self.pixel_share)))

    def final_size(self, resolution: int) -> int:
        """Image size in pixels at which the network is evaluated and saved."""
        return self.test.size or (round(self.sizes(resolution)(Clock(1, 1, self.epochs))) if self.epochs else resolution)

    def set_rates(self, learner: nn.Module, clock: Clock) -> dict[str, float]:
        """Sets the drop rates of a learner for one update; returns those to log."""
        dropout = self.dropout(clock)
        rates: dict[int, list[float]] = {}
        for module in learning_modules(learner):
            if isinstance(module, Dropout):
                module.set(dropout)
            elif isinstance(module, Residual) and self.stochastic_depth is not None:
                if module.blocks not in rates:
                    rates[module.blocks] = self.stochastic_depth.rates(module.blocks, clock)
                module.set(rates[module.blocks][module.number])
                module.subset = self.stochastic_depth.subset
        values = {"schedule/dropout": dropout}
        if self.stochastic_depth is not None:
            values["schedule/stochastic_depth"] = self.stochastic_depth.rate(clock)
        return values


ALIGNED = 32
"""Stride of the last feature maps of nearly all CNNs; sizes that are equal modulo this are aligned alike on all maps."""


def side_of_share(resolution: int, share: float) -> int:
    """The image size with about `share` of the pixels of a resolution, equal to it modulo 32; at least 32."""
    if share == 1.0:
        return resolution
    steps = round((resolution - resolution * share**0.5) / ALIGNED)
    side = resolution - ALIGNED * steps
    return side if side >= ALIGNED else side + ALIGNED


EXAMPLES = (Recipe(), Recipe(stochastic_depth=StochasticDepth(), average=Average(), test=Evaluated(keep="best")))
