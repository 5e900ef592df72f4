"""MergeTokens: merges tokens in every block of a network with tokens (ViT, DeiT), which keeps its weights.

See `paretina.model.wirings.merged_tokens`: no training is needed, and what it costs in accuracy is measured by evaluating it.

    paretina finetune runs/vit photos/ epochs=0 start.head=small edits.MergeTokens=on edits.MergeTokens.merged=8 -o runs/merged
    paretina evaluate runs/merged photos/

Invariant: parameters and their names stay; later blocks have fewer tokens.

Source: Bolya et al. 2022 (arXiv:2210.09461).
"""

from dataclasses import dataclass, fields, replace

from paretina.model.blueprint import Blueprint, Edit, Stage
from paretina.model.wirings.merged_tokens import MergedTokens
from paretina.model.wirings.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class MergeTokens(Edit):
    """
    Attributes:
        merged: tokens that go in each block, as `MergedTokens.merged`.
    """

    merged: int = 8

    def edit(self, blueprint: Blueprint) -> Blueprint:
        stages = tuple(self.with_merging(stage) for stage in blueprint.stages)
        if stages == blueprint.stages:
            raise ValueError(
                f"{self} changes nothing: no stage of this network ({blueprint.source}) has tokens that are not merged; "
                "those with the wiring Tokens have, such as vit_tiny"
            )
        return replace(blueprint, stages=stages)

    def with_merging(self, stage: Stage) -> Stage:
        if type(stage.wiring) is not Tokens:
            return stage
        same = {each.name: getattr(stage.wiring, each.name) for each in fields(Tokens)}
        return replace(stage, wiring=MergedTokens(**same, merged=self.merged))


EXAMPLES = (MergeTokens(merged=2),)
