"""Which parts of a network are trained, and their relative learning rates."""

import math
from dataclasses import dataclass, field
from typing import Any, cast

from torch import nn

from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.model.roles import Owned, networks_in, roles
from paretina.spec import Spec
from paretina.text import how_many
from paretina.train.objective import Learner
from paretina.train.optimizer import Optimizer, parameter_groups
from paretina.traits import SETTING, SetTo, traits


@dataclass(frozen=True, kw_only=True)
class PartRate(Spec):
    """The learning rate of a part, relative to the others.

    Attributes:
        network: of several networks the one that it is for, such as "predictor"; "" for all.
        place: "stem", "stages.0", "head"; "" for all parts.
        factor: on the learning rate, above 0.
    """

    network: str = field(default="", metadata=traits(left_out=SETTING, elsewhere=()))
    place: str = field(default="", metadata=traits(left_out=SETTING, elsewhere=()))
    factor: float = field(default=1.0, metadata=traits(left_out=SetTo("rates by part", "1"), elsewhere=()))

    def __post_init__(self) -> None:
        if self.factor <= 0:
            raise ValueError(f"PartRate.factor is a factor on the learning rate, above 0, got {self.factor:g}; frozen freezes")

    def fits(self, owned: Owned) -> bool:
        """Whether it is for a parameter; names of networks are seen from the network that is trained."""
        inside = not self.network or f".{owned.network}".endswith(f".{self.network}")
        return inside and self.place in ("", owned.place)


@dataclass(frozen=True, kw_only=True)
class Learning(Spec):
    """
    Attributes:
        classifier_lr: learning rate multiplier of the last layer; above 1 if it is new and the rest is pretrained.
        lr_decay: layer-wise lr decay: factor on the learning rate from each stage to the one before it, head to stem, in
            (0, 1]; 1 for the same rate everywhere.
        part_rates: learning rate multipliers of parts; a parameter that several are for gets all of them.
        frozen_stride: parts whose feature maps have at most this stride are frozen; 0 for none. They are the most expensive,
            and their features are similar for all kinds of pictures.
        frozen: frozen parts: "stem", "stages.0", ...; only with weights to start from.
        trainable_stages: number of last stages that are trained besides the head, 0 for the head alone; None for all. Only with
            weights to start from.
        freeze_norm_statistics: whether norm layers keep their running statistics and dropout is off, also in trained parts.
        remembered_views: number of views of each picture that go through the frozen leading parts once, before training, which
            then uses the stored feature maps; 0 for none. See `paretina.train.remembered`.
    """

    classifier_lr: float = field(default=1.0, metadata=traits(left_out=SetTo("classifier rate", "1"), elsewhere=()))
    lr_decay: float = field(default=1.0, metadata=traits(left_out=SetTo("layer-wise rates", "1"), elsewhere=()))
    part_rates: tuple[PartRate, ...] = field(default=(), metadata=traits(left_out=SetTo("rates by part", "[]"), elsewhere=()))
    frozen_stride: int = field(default=0, metadata=traits(left_out=SetTo("frozen parts", "0"), elsewhere=()))
    frozen: tuple[str, ...] = field(default=(), metadata=traits(left_out=SetTo("frozen parts", "[]"), elsewhere=()))
    trainable_stages: int | None = field(default=None, metadata=traits(left_out=SetTo("frozen parts", "none"), elsewhere=()))
    freeze_norm_statistics: bool = field(
        default=False, metadata=traits(left_out=SetTo("frozen norm statistics", "off"), elsewhere=())
    )

    remembered_views: int = field(default=0, metadata=traits(left_out=SetTo("remembered views", "0"), elsewhere=()))

    def __post_init__(self) -> None:
        if self.remembered_views < 0:
            raise ValueError(f"Learning.remembered_views must be at least 0, got {self.remembered_views}")
        if not 0 < self.lr_decay <= 1 or self.classifier_lr <= 0:
            raise ValueError(
                f"Learning needs 0 < lr_decay <= 1 and classifier_lr > 0, got {self.lr_decay}, {self.classifier_lr}"
            )
        if self.frozen_stride < 0:
            raise ValueError(f"Learning.frozen_stride must be at least 0, got {self.frozen_stride}")
        if self.trainable_stages is not None and self.trainable_stages < 0:
            raise ValueError(f"Learning.trainable_stages is a number of last stages, 0 or more, got {self.trainable_stages}")

    @property
    def needs_weights(self) -> bool:
        """Whether parts of the network are frozen, which makes sense only with pretrained weights."""
        return bool(self.frozen or self.frozen_stride or self.trainable_stages is not None)

    def frozen_parts(self, model: Model) -> tuple[str, ...]:
        """The names of the frozen parts; for several networks, those of each.

        Raises:
            ValueError: `trainable_stages` is larger than the number of stages.
        """
        parts = {part: None for blueprint in dict.fromkeys(model.blueprints()) for part in self.frozen_in(blueprint)}
        return (*parts, *(name for name in self.frozen if name not in parts))

    def frozen_in(self, blueprint: Blueprint) -> tuple[str, ...]:
        """The parts of one network that are frozen because of their position."""
        names = ["stem", *(f"stages.{i}" for i in range(len(blueprint.stages)))]
        trainable = self.trainable_stages
        if trainable is not None and trainable > len(blueprint.stages):
            raise ValueError(
                f"the network has {how_many(len(blueprint.stages), 'stage')}, so trainable_stages={trainable} cannot learn"
            )
        early = [name for name, stride in zip(names, blueprint.border_strides, strict=True) if stride <= self.frozen_stride]
        if trainable is not None:
            early = names[: max(len(early), len(names) - trainable)]
        return tuple(early)

    def apply(self, network: Network) -> None:
        """Freezes the frozen parts, in place.

        Raises:
            ValueError: there is no such part.
        """
        network.freeze(self.frozen_parts(network.model))
        network.frozen_statistics = self.freeze_norm_statistics

    def groups(self, learner: Learner, optimizer: Optimizer) -> list[dict[str, Any]]:
        """The trainable parameters, in groups of equal learning rate and weight decay."""
        owned = roles(learner)
        networks = learner.result().networks()
        last = {id(parameter) for each in networks for parameter in cast(nn.Module, each.head.classifier).parameters()}
        orders = {name: each.parts()[::-1] for name, each in networks_in(learner)}
        for rate in self.part_rates:
            if not any(rate.fits(each) for each in owned.values()):
                known = sorted(
                    {name for each in owned.values() for name in (each.network.rpartition(".")[2], each.place) if name}
                )
                raise ValueError(f"{rate} is for no part of this network; there are: {', '.join(known)}")
        parts: dict[float, list[tuple[str, nn.Parameter]]] = {}
        for name, parameter in learner.named_parameters():
            place, order = owned[name].place, orders.get(owned[name].network, ())
            # modules that an objective or an assembly adds are new, like the head
            factor = self.lr_decay ** (order.index(place) if place in order else 0)
            if id(parameter) in last:
                factor *= self.classifier_lr
            factor *= math.prod(rate.factor for rate in self.part_rates if rate.fits(owned[name]))
            parts.setdefault(factor, []).append((name, parameter))
        if parts.keys() == {1.0}:
            return parameter_groups(parts[1.0], lambda name: owned[name].role, optimizer.decay)
        return [
            {**group, "rate_factor": factor}
            for factor, part in parts.items()
            if any(parameter.requires_grad for _, parameter in part)
            for group in parameter_groups(part, lambda name: owned[name].role, optimizer.decay)
        ]


EXAMPLES = (
    Learning(),
    Learning(trainable_stages=0, freeze_norm_statistics=True),
    Learning(frozen_stride=16, remembered_views=2),
    Learning(part_rates=(PartRate(network="predictor", factor=0.1),)),
)
