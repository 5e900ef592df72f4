"""DropTokens: gives a network with tokens (ViT, DeiT) predictors that drop those which matter least.

See `paretina.model.wirings.dropped_tokens`; the predictors are to be trained, by the recipe `token-dropping`. Weights of the
network before fit all of its other parts.

Invariant: the other parameters and their names stay; later blocks have fewer tokens.

Source: Rao et al. 2021 (arXiv:2106.02034).
"""

from dataclasses import dataclass, fields, replace

from paretina.model.blueprint import Blueprint, Edit, Stage
from paretina.model.wirings.dropped_tokens import DroppedTokens
from paretina.model.wirings.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class DropTokens(Edit):
    """
    Attributes:
        keep: share of the tokens that each predictor keeps of those that the one before kept, as `DroppedTokens.keep`.
        after: how many blocks stand before each predictor; () for a quarter, a half and three quarters of them.
    """

    keep: float = 0.7
    after: tuple[int, ...] = ()

    def edit(self, blueprint: Blueprint) -> Blueprint:
        stages = tuple(self.with_dropping(stage) for stage in blueprint.stages)
        if stages == blueprint.stages:
            raise ValueError(
                f"{self} changes nothing: no stage of this network ({blueprint.source}) has tokens of which all are kept; "
                "those with the wiring Tokens have, such as vit_tiny"
            )
        return replace(blueprint, stages=stages)

    def with_dropping(self, stage: Stage) -> Stage:
        if type(stage.wiring) is not Tokens:
            return stage
        same = {each.name: getattr(stage.wiring, each.name) for each in fields(Tokens)}
        parts = sorted({max(1, stage.depth * part // 4) for part in (1, 2, 3)})
        return replace(stage, wiring=DroppedTokens(**same, keep=self.keep, after=self.after or tuple(parts)))


EXAMPLES = (DropTokens(), DropTokens(keep=0.5, after=(2,)))
