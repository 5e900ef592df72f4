"""Scale: compound scaling of depth, width and resolution, with the rounding rules of the family.

Scales up a network that is good for its cost. Time grows linearly with depth, and quadratically with width and resolution;
rounding overshoots, so compare the costs of the built networks, never the factors. Large images cost memory and training time
for little accuracy, so EfficientNetV2 caps them at 480 pixels.

Source: Tan & Le 2019 (arXiv:1905.11946), section 3; rounding as in the released code (tensorflow/tpu, efficientnet). The cap:
Tan & Le 2021 (arXiv:2104.00298), section 3.3.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from paretina.model.blueprint import Blueprint, Edit, Stage, deepened
from paretina.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Round(Spec):
    """Rounds scaled widths to the nearest multiple of `divisor`, at least one multiple.

    Attributes:
        floor: a result below this share of the exact width goes one multiple up; 0.9 in EfficientNet, 0 (never) in V2.
    """

    divisor: int = 8
    floor: float = 0.9

    def __post_init__(self) -> None:
        if self.divisor < 1 or not 0 <= self.floor <= 1:
            raise ValueError(f"Round needs divisor >= 1 and 0 <= floor <= 1, got divisor={self.divisor}, floor={self.floor}")

    def __call__(self, width: float) -> int:
        rounded = max(self.divisor, int(width + self.divisor / 2) // self.divisor * self.divisor)
        return rounded + self.divisor if rounded < self.floor * width else rounded


@dataclass(frozen=True, kw_only=True)
class Scale(Edit):
    """
    Attributes:
        width: factor on every width.
        depth: factor on the number of blocks of each stage, rounded up.
        resolution: side of the test image in pixels; None keeps it.
        max_resolution: upper limit of the side in pixels, whether given or kept; None for no limit.
        round: rounding rule of widths.
        keep: what is not scaled: the width of the stem, the width of the head, the depth of the first and last stage.
    """

    width: float = 1.0
    depth: float = 1.0
    resolution: int | None = None
    max_resolution: int | None = None
    round: Round = Round()
    keep: tuple[Literal["stem", "head", "ends"], ...] = ()

    def __post_init__(self) -> None:
        if self.width <= 0 or self.depth <= 0:
            raise ValueError(f"Scale needs width > 0 and depth > 0, got width={self.width}, depth={self.depth}")
        if self.max_resolution is not None and self.max_resolution < 1:
            raise ValueError(f"Scale needs max_resolution >= 1, got {self.max_resolution}")

    def edit(self, blueprint: Blueprint) -> Blueprint:
        last = len(blueprint.stages) - 1
        resolution = blueprint.resolution if self.resolution is None else self.resolution
        return replace(
            blueprint,
            stem=blueprint.stem if "stem" in self.keep else blueprint.stem.widened(self.scaled),
            head=blueprint.head if "head" in self.keep else blueprint.head.widened(self.scaled),
            stages=tuple(
                self.stage(stage, deepen="ends" not in self.keep or i not in (0, last))
                for i, stage in enumerate(blueprint.stages)
            ),
            resolution=resolution if self.max_resolution is None else min(resolution, self.max_resolution),
        )

    def scaled(self, width: int) -> int:
        return width if self.width == 1.0 else self.round(width * self.width)

    def stage(self, stage: Stage, deepen: bool) -> Stage:
        # the sum of rounding errors in depth * factor must not add a block: 2.2 * 25 is 55.00000000000001
        depth = math.ceil(stage.depth * self.depth - 1e-9) if deepen else stage.depth
        stage = deepened(stage, depth)
        wiring = stage.wiring.widened(self.scaled)
        return replace(stage, width=self.scaled(stage.width), block=stage.block.widened(self.scaled), wiring=wiring)


EXAMPLES = (Scale(width=1.1, depth=1.2, resolution=260), Scale(width=2.0, keep=("stem", "head", "ends")))
