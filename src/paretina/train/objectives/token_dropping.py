"""TokenDropping: trains the predictors of `DroppedTokens` or `TwoPaths`, and the network to do with what they keep.

Beside the terms of the loss, which should be cross entropy and distillation from the network with all tokens, there are two
more: the square of how far the share of kept tokens is from its target, and the distance of the kept tokens from those of the
teacher; with `TwoPaths`, where no place is lost, the distance of the last map from the teacher's. Training takes as long as
without dropping, and longer by the predictors and the teacher.

    paretina finetune runs/vit photos/ --recipe token-dropping teacher=runs/vit edits.DropTokens=on edits.DropTokens.keep=0.7

Source: Rao et al. 2021 (arXiv:2106.02034), section 3.3; weights as in the released code: 0.5 on both kinds of distillation, 2
on the shares (DeiT-S; 5 for DeiT-B, 10 for `TwoPaths`). There the tokens are compared behind the last norm; here behind one
without scale, so that the comparison does not depend on it. Published for DeiT-S with a share of 0.7: 79.3 %, and 79.2 without
distillation.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

import torch
import torch.nn.functional as F

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.model.wirings.dropped_tokens import DroppedTokens
from paretina.model.wirings.two_paths import TwoPaths
from paretina.schedules import Constant, Schedule
from paretina.shapes import Loss, Map
from paretina.train.objective import Learner, Outputs, Teacher
from paretina.train.objectives.supervised import Supervised
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.traits import STAYS, Never, SetTo, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


def distance(own: Map, theirs: Map, kept: Map) -> Loss:
    """The mean squared difference of normalised tokens over those that are kept, in all pictures together.

    Args:
        kept: 1 for places that are kept, otherwise 0; one channel.
    """
    one, other = (F.layer_norm(each.float().movedim(1, 3), each.shape[1:2]) for each in (own, theirs))
    off = (one - other).square().mean(3, keepdim=True).movedim(3, 1)
    return (off * kept).sum() / kept.sum().clamp(min=1.0)


class TokenDroppingLearner(Learner):
    def __init__(self, network: Network, choice: "TokenDropping", teacher: Teacher | None) -> None:
        super().__init__()
        self.network = network
        self.choice = choice
        self.teacher = teacher
        self.terms = {type(term).__name__: term.make(teacher) for term in choice.terms}
        stages = cast(Blueprint, network.model).stages
        self.at, self.predictors = len(stages), 0
        for number, stage in enumerate(stages, 1):
            if isinstance(stage.wiring, DroppedTokens):
                self.at, self.predictors = number, len(stage.wiring.after)

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        logits, extras = self.network(batch.images, extras=True)
        outputs = Outputs(logits.float(), extras)
        losses = {name: term(outputs, batch, clock) for name, term in self.terms.items()}
        losses["kept"] = self.choice.kept_weight(clock) * extras["kept_excess"].float().square().mean()
        weight = self.choice.token_weight(clock)
        if self.teacher is not None and weight:
            maps = self.teacher(batch).extras.get("maps")
            own = extras["maps"][self.at]
            if maps is None or len(maps) <= self.at or maps[self.at].shape != own.shape:
                raise ValueError(
                    "TokenDropping compares tokens with those of the teacher, which has none of this number and width; take "
                    "the network before its edit as the teacher, or leave them out: objective.token_weight=0"
                )
            kept = torch.ones_like(own[:, :1])
            if self.predictors:
                kept = (extras["kept_places"] == self.predictors).float().unsqueeze(1).detach()
            losses["tokens"] = weight * distance(own, maps[self.at], kept)
        return losses

    def result(self) -> Network:
        return self.network


@dataclass(frozen=True, kw_only=True)
class TokenDropping(Supervised):
    """
    Attributes:
        kept_weight: factor on the square of the error of the shares of kept tokens.
        token_weight: factor on the distance of the kept tokens from the teacher's; 0 without a teacher.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf,)
    LOW_PRECISION: ClassVar[bool | Never] = False
    MAPS: ClassVar[bool] = False
    WEIGHTS: ClassVar[bool] = False

    kept_weight: Schedule = field(
        default_factory=lambda: Constant(value=2.0),
        metadata=traits(left_out=Never("without it all tokens are kept"), rises=STAYS),
    )
    token_weight: Schedule = field(
        default_factory=lambda: Constant(value=0.5), metadata=traits(left_out=SetTo("distillation of tokens", "0"), rises=STAYS)
    )

    @property
    def TEACHER(self) -> bool:  # type: ignore[override]  # noqa: N802
        """Whether tokens are compared with those of a teacher."""
        return self.token_weight != Constant(value=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within(self, 0.0, math.inf, "kept_weight")
        require_within(self, 0.0, math.inf, "token_weight")

    def check(self, recipe: "Recipe", model: Model) -> None:
        kinds = DroppedTokens, TwoPaths
        if not isinstance(model, Blueprint) or not any(isinstance(stage.wiring, kinds) for stage in model.stages):
            raise ValueError(
                "TokenDropping trains predictors of tokens, and this network has none; add them with edits.DropTokens=on to a "
                "network with tokens, such as deit_tiny, or with edits.SplitPaths=on to a ConvNeXt"
            )
        if recipe.teacher is None and self.TEACHER:
            raise ValueError(
                "TokenDropping compares tokens with those of a teacher, and there is none; set it, teacher=FILE, or leave them "
                "out: objective.token_weight=0"
            )
        super().check(recipe, model)

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        return TokenDroppingLearner(network, self, teacher)


EXAMPLES = (TokenDropping(terms=(CrossEntropy(),), token_weight=Constant(value=0.0)),)
