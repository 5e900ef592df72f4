"""Recipe: everything that decides a training run, as one value."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from torch import nn

from paretina.clock import Clock
from paretina.data.sampler import Epochs
from paretina.data.transform import BatchTransform, ImageTransform, Look, Transform, View
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.measure.judge import Judge
from paretina.model.blueprint import Blueprint, Door
from paretina.model.layers import Dropout, Residual
from paretina.model.roles import roles
from paretina.schedules import Constant, Cosine, Schedule, Warmup
from paretina.spec import Spec
from paretina.train.average import Average
from paretina.train.clipping import Clip
from paretina.train.objective import Learner, Objective, learning_modules
from paretina.train.objectives.supervised import Supervised
from paretina.train.optimizer import Optimizer, parameter_groups
from paretina.train.optimizers.adamw import AdamW


@dataclass(frozen=True, kw_only=True)
class StochasticDepth(Spec):
    """Drops whole residual branches of single images, more in deep blocks (Huang et al. 2016, arXiv:1603.09382).

    Attributes:
        rate: of the deepest block, in [0, 1).
        shape: whether rates rise in a line from the first block to the last, or are the same everywhere.
        ends: of `blocks` blocks numbered from 0, the last has `rate` ("closed", ConvNeXt) or `rate * (blocks - 1) / blocks`
            ("open", EfficientNet).
    """

    rate: Schedule = field(default=Constant(value=0.2))
    shape: Literal["linear", "uniform"] = "linear"
    ends: Literal["open", "closed"] = "open"

    def rates(self, blocks: int, clock: Clock) -> list[float]:
        """The rate of each block."""
        rate = self.rate(clock)
        if self.shape == "uniform":
            return [rate] * blocks
        steps = blocks if self.ends == "open" else max(1, blocks - 1)
        return [rate * number / steps for number in range(blocks)]


def with_leftovers(fields: dict[str, Any]) -> dict[str, Any]:
    """What a run of an earlier release wrote down, with all fields of that time, continues with the rules of that time."""
    return (
        {"whole_epochs": False, "bound_norm_memory": False, **fields}
        if {"evaluate_every", "max_damaged", "steady"} <= set(fields)
        else fields
    )


@dataclass(frozen=True, kw_only=True)
class Recipe(Spec):
    """
    Attributes:
        epochs: passes over the training data; may be a fraction.
        batch_size: pictures an update at most, over all ranks and accumulated parts.
        whole_epochs: whether each epoch shows every picture, in updates that are as long as `batch_size` or a little shorter;
            otherwise all are as long, and pictures that are left over sit out an epoch, as in releases before this field.
        size: side in pixels that the network sees while training; None for what `pixels` says.
        pixels: share of the pixels of the blueprint's resolution that are trained on, in (0, 1]. Below 1 the side is the
            nearest that leaves the same remainder modulo 32, so that maps of both sizes lie alike (arXiv:2106.03640).
        test_size: side at which it is evaluated and saved; None for the last training size.
        test_fit: how a picture is made square in evaluation: cut to its middle, or squashed; None for the door of the network.
        test_crop: share of the shorter side that is kept in evaluation; None for the door of the network.
        accumulate: parts that an update's batch is cut into, one forward and backward pass each; batch norm sees one part.
        transforms: what happens to pictures on their way in, in this order.
        views: what each picture is shown as, for objectives that compare several looks at it; each gets what `transforms` say
            of single pictures, then its own. Without any there is one view.
        objective: what is learned.
        clip: how long gradients are shortened, if at all.
        average: whether a running average of the weights is kept, evaluated and saved.
        stochastic_depth: whether residual branches are dropped.
        dropout: rate before the classifier, in [0, 1).
        zero_gamma: whether the last norm of each residual branch starts at zero (arXiv:1706.02677, 5.1); only from scratch, and
            for long runs: with twelve epochs it cost 15 points (records/time-to-accuracy).
        norm_momentum: share of a batch in the running statistics of norms; more in a run so short that they would not forget
            what they start from (`paretina.train.first`).
        bound_norm_memory: whether running statistics take more of each batch than `norm_momentum` where a run is too short for
            them to forget what they start with.
        classifier_rate: factor on the learning rate of the last layer; above 1 where it is new and the rest is good already.
        rate_decay: factor on the learning rate from each part to the one before it, head to stem, in (0, 1]; 1 for one rate
            everywhere (layer-wise rates, a stage a layer).
        tail: how many stages at the end learn besides the head, 0 for the head alone; None for all. Only with weights to start
            from.
        steady: whether norms keep their running statistics and nothing is dropped, also in the parts that learn.
        frozen: parts that do not learn: "stem", "stages.0", ...; only with weights to start from.
        frozen_stride: parts whose maps are smaller than the image by at most this factor do not learn either; 0 for none. They
            are the costly ones, and what they see is much the same in all pictures.
        teacher: model file of a network that terms may learn from, or timm:NAME.
        evaluate_every: epochs between evaluations on the validation data.
        judge: which figures there are of the validation data; None for those of the task.
        keep: which weights are saved: the last, or those with the best main figure of the judge, such as top-1 (then the figure
            is chosen on the data that it is measured on, and the result says so).
        max_damaged: share of unreadable pictures above which a run refuses to start.
        seed: everything random follows from it.
    """

    UPGRADES = (with_leftovers,)

    epochs: float = 30.0
    batch_size: int = 64
    whole_epochs: bool = True
    size: Schedule | None = None
    pixels: float = 1.0
    test_size: int | None = None
    test_fit: Literal["crop", "squash"] | None = None
    test_crop: float | None = None
    accumulate: int = 1
    transforms: tuple[Transform, ...] = (RandomResizedCrop(), HorizontalFlip())
    views: tuple[View, ...] = ()
    objective: Objective = field(default_factory=Supervised)
    optimizer: Optimizer = field(default_factory=lambda: AdamW(rate=Warmup(epochs=1.0, then=Cosine(start=1e-3))))
    clip: Clip | None = None
    average: Average | None = None
    stochastic_depth: StochasticDepth | None = None
    dropout: Schedule = Constant(value=0.0)
    zero_gamma: bool = False
    norm_momentum: float = 0.1
    bound_norm_memory: bool = True
    classifier_rate: float = 1.0
    rate_decay: float = 1.0
    tail: int | None = None
    steady: bool = False
    frozen: tuple[str, ...] = ()
    frozen_stride: int = 0
    teacher: str | None = None
    evaluate_every: float = 1.0
    judge: Judge | None = None
    keep: Literal["last", "best"] = "last"
    max_damaged: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "evaluate_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Recipe.{name} must be above 0, got {getattr(self, name)}")
        if self.batch_size < self.accumulate:
            raise ValueError(f"an update of {self.batch_size} pictures cannot be cut into accumulate={self.accumulate} parts")
        if not 0 < self.norm_momentum <= 1 or not 0 <= self.max_damaged <= 1:
            raise ValueError(
                f"Recipe needs 0 < norm_momentum <= 1 and 0 <= max_damaged <= 1, got {self.norm_momentum}, {self.max_damaged}"
            )
        if self.views and self.views[0].scale != 1:
            raise ValueError(f"the first view has the size of the recipe, so its scale is 1, got {self.views[0].scale:g}")
        if not 0 < self.pixels <= 1:
            raise ValueError(f"Recipe.pixels is a share in (0, 1], got {self.pixels}")
        if not 0 < self.rate_decay <= 1 or self.classifier_rate <= 0:
            raise ValueError(
                f"Recipe needs 0 < rate_decay <= 1 and classifier_rate > 0, got {self.rate_decay}, {self.classifier_rate}"
            )
        if self.tail is not None and self.tail < 0:
            raise ValueError(f"Recipe.tail counts stages at the end of the network, 0 or more, got {self.tail}")

    def updates(self, pictures: int) -> Epochs:
        """The updates of a run over so many pictures."""
        return Epochs(pictures, min(self.batch_size, pictures), self.epochs, self.seed, self.whole_epochs)

    def image_transforms(self) -> tuple[ImageTransform, ...]:
        return tuple(transform for transform in self.transforms if isinstance(transform, ImageTransform))

    def looks(self) -> tuple[Look, ...]:
        """How each view of a picture is made."""
        shared = self.image_transforms()
        return tuple(Look((*shared, *view.transforms), view.own, view.scale) for view in self.views or (View(),))

    def batch_transforms(self) -> tuple[BatchTransform, ...]:
        return tuple(transform for transform in self.transforms if isinstance(transform, BatchTransform))

    def sizes(self, resolution: int) -> Schedule:
        """The schedule of the training size for a blueprint of that resolution."""
        return self.size or Constant(value=float(side_of_share(resolution, self.pixels)))

    def final_size(self, resolution: int) -> int:
        """Side in pixels at which the network is evaluated and saved."""
        return self.test_size or round(self.sizes(resolution)(Clock(1, 1, self.epochs)))

    def door(self, door: Door) -> Door:
        """The door that a trained network gets: its own, but for what the recipe says of evaluation."""
        return replace(door, fit=self.test_fit or door.fit, crop=self.test_crop or door.crop)

    @property
    def needs_weights(self) -> bool:
        """Whether parts of the network stay as they start, which makes sense only for weights that are good already."""
        return bool(self.frozen or self.frozen_stride or self.tail is not None)

    def frozen_parts(self, blueprint: Blueprint) -> tuple[str, ...]:
        """The parts of a network that do not learn, by name.

        Raises:
            ValueError: the tail is longer than the network.
        """
        names = ["stem", *(f"stages.{i}" for i in range(len(blueprint.stages)))]
        if self.tail is not None and self.tail > len(blueprint.stages):
            raise ValueError(f"the network has {len(blueprint.stages)} stages, so its last {self.tail} cannot be its tail")
        early = [name for name, stride in zip(names, blueprint.border_strides, strict=True) if stride <= self.frozen_stride]
        if self.tail is not None:
            early = names[: max(len(early), len(names) - self.tail)]
        return (*early, *(name for name in self.frozen if name not in early))

    def groups(self, learner: Learner) -> list[dict[str, Any]]:
        """The parameters that learn, in groups of equal rate and decay."""
        owned = roles(learner)
        network = learner.result()
        last = {id(parameter) for parameter in cast(nn.Module, network.head.classifier).parameters()}
        places = ["head", *(f"stages.{i}" for i in reversed(range(len(network.stages)))), "stem"]
        parts: dict[float, list[tuple[str, nn.Parameter]]] = {}
        for name, parameter in learner.named_parameters():
            place = owned[name].place
            # what an objective adds to the network is new, as the head is
            factor = self.rate_decay ** (places.index(place) if place in places else 0)
            if id(parameter) in last:
                factor *= self.classifier_rate
            parts.setdefault(factor, []).append((name, parameter))
        if parts.keys() == {1.0}:
            return parameter_groups(parts[1.0], lambda name: owned[name].role, self.optimizer.decay)
        return [
            {**group, "rate_factor": factor}
            for factor, part in parts.items()
            if any(parameter.requires_grad for _, parameter in part)
            for group in parameter_groups(part, lambda name: owned[name].role, self.optimizer.decay)
        ]

    def set_rates(self, learner: nn.Module, clock: Clock) -> dict[str, float]:
        """Sets the drop rates of everything that learns, for one update; returns what is worth a column in the log."""
        dropout = self.dropout(clock)
        rates: dict[int, list[float]] = {}
        for module in learning_modules(learner):
            if isinstance(module, Dropout):
                module.set(dropout)
            elif isinstance(module, Residual) and self.stochastic_depth is not None:
                if module.blocks not in rates:
                    rates[module.blocks] = self.stochastic_depth.rates(module.blocks, clock)
                module.set(rates[module.blocks][module.number])
        values = {"schedule/dropout": dropout}
        if self.stochastic_depth is not None:
            values["schedule/stochastic_depth"] = self.stochastic_depth.rate(clock)
        return values


ALIGNED = 32
"""Stride of the last maps of nearly all convolutional networks; sides of equal remainder lie alike on all maps."""


def side_of_share(resolution: int, pixels: float) -> int:
    """The side whose square is about a share of the pixels of a resolution, with the same remainder modulo 32; at least 32."""
    if pixels == 1.0:
        return resolution
    steps = round((resolution - resolution * pixels**0.5) / ALIGNED)
    side = resolution - ALIGNED * steps
    return side if side >= ALIGNED else side + ALIGNED


EXAMPLES = (Recipe(), Recipe(stochastic_depth=StochasticDepth(), average=Average(), keep="best"))
