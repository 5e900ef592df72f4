"""SplitPaths: gives the longest stage of a ConvNeXt a short path for places that matter less, and predictors that choose them.

See `paretina.model.wirings.two_paths`; predictors and short paths are to be trained, by the recipe `token-dropping` with
objective.kept_weight=10. Weights of the network before fit all of its other parts.

Invariant: the other parameters and their names stay; the maps keep their sizes.

Source: Rao et al. 2022 (arXiv:2207.01580).
"""

from dataclasses import dataclass, replace

from paretina.model.blocks.convnext import ConvNeXt
from paretina.model.blueprint import Blueprint, Chain, Edit
from paretina.model.wirings.two_paths import TwoPaths


@dataclass(frozen=True, kw_only=True)
class SplitPaths(Edit):
    """
    Attributes:
        keep: share of the places that the first predictor keeps on the long path, as `TwoPaths.keep`.
        less: how much less of all places each further one keeps.
        after: how many blocks stand before each predictor; () for a ninth, two and three ninths of them, as in the source.
    """

    keep: float = 0.7
    less: float = 0.2
    after: tuple[int, ...] = ()

    def edit(self, blueprint: Blueprint) -> Blueprint:
        fit = [
            number
            for number, stage in enumerate(blueprint.stages)
            if type(stage.wiring) is Chain and isinstance(stage.block, ConvNeXt) and stage.depth > 1
        ]
        if not fit:
            raise ValueError(
                f"{self} changes nothing: no stage of this network ({blueprint.source}) is a chain of at least two ConvNeXt "
                "blocks; convnext_tiny has such stages"
            )
        longest = max(fit, key=lambda number: blueprint.stages[number].depth)
        stage = blueprint.stages[longest]
        assert isinstance(stage.wiring, Chain)
        after = self.after or tuple(sorted({min(stage.depth - 1, max(1, stage.depth * part // 9)) for part in (1, 2, 3)}))
        wiring = TwoPaths(hidden=stage.wiring.hidden, keep=self.keep, less=self.less, after=after)
        stages = (*blueprint.stages[:longest], replace(stage, wiring=wiring), *blueprint.stages[longest + 1 :])
        return replace(blueprint, stages=stages)


EXAMPLES = (SplitPaths(), SplitPaths(keep=0.5, less=0.1, after=(1,)))
