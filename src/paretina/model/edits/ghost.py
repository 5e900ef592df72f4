"""Ghost: ghost modules in place of the dense convolutions of any network.

Saves nearly 1 - 1 / `ratio` of the MACs and parameters of dense convolutions and costs some accuracy: the paper's
ResNet-50 has a top-1 of 75.0 with `ratio=2` and of 74.1 with `ratio=4`. Best where MACs are what costs, as on a CPU with few
threads; the cheap depthwise kernels are bound by memory, so measure before and after. Blocks that have ghost modules already
stay as they are; so do stem, head, squeezes, grouped convolutions, blocks that a wiring names itself, and single convolutions
that would gain MACs.

Invariant: widths, depths, strides and the shape of every map at a stage border stay; every stage that changes has fewer MACs.

Source: Han et al. 2020 (arXiv:1911.11907), section 3.1.
"""

from dataclasses import dataclass, replace

from paretina.model.blocks.ghost import GhostBottleneck, Ghosted, GhostUnit, check_ghost
from paretina.model.blueprint import Blueprint, Edit, Stage


@dataclass(frozen=True, kw_only=True)
class Ghost(Edit):
    """
    Attributes:
        ratio: how many times more channels come out of a ghost module than are computed densely, at least 2.
        cheap_kernel: side of the ghost modules' depthwise kernel, in pixels; odd.
        stages: numbers of stages, from 1 as in a paper's table; None for all that have something to replace.
    """

    ratio: int = 2
    cheap_kernel: int = 3
    stages: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_ghost("Ghost", self.ratio, self.cheap_kernel)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        rows = blueprint.stages
        for number in self.stages or ():
            if not 1 <= number <= len(rows):
                raise ValueError(f"Ghost names stage {number}, but stages are numbered from 1 to {len(rows)}")
        tried = replace(blueprint, stages=tuple(self.ghosted(row, number) for number, row in enumerate(rows, 1)))
        # only building the block shows whether it has any dense unit
        built = tried.build("meta").stages
        kept = []
        for number, (old, new, stage) in enumerate(zip(rows, tried.stages, built, strict=True), 1):
            changed = new != old and any(isinstance(module, GhostUnit) for module in stage.modules())
            if self.stages is not None and number in self.stages and not changed:
                raise ValueError(
                    f"Ghost finds no dense convolution to replace in stage {number} ({type(old.block).__name__}); leave it out"
                )
            kept.append(new if changed else old)
        return replace(blueprint, stages=tuple(kept))

    def ghosted(self, row: Stage, number: int) -> Stage:
        if isinstance(row.block, Ghosted | GhostBottleneck) or (self.stages is not None and number not in self.stages):
            return row
        return replace(row, block=Ghosted(block=row.block, ratio=self.ratio, cheap_kernel=self.cheap_kernel))


EXAMPLES = (Ghost(), Ghost(ratio=4, cheap_kernel=5, stages=(2,)))
