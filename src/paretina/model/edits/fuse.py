"""Fuse: replaces MBConv by Fused-MBConv in some stages.

One dense convolution does the work of the expansion and of the depthwise convolution: more MACs and parameters, yet less time
in early stages wherever dense convolutions are fast. Late stages are wide, and there the MACs grow faster than the speed:
fuse some stages, and measure. In the paper's study on EfficientNet-B4, stages 1 to 3 were the fastest on a TPU and among the
most accurate.

Kernel and expansion carry over. The squeeze does so only if it is asked for, because the released networks have none in fused
blocks. B4 then has 43.5 and 132.1 million parameters with stages 1 to 5 and with all of them fused, the paper 43.4 and 132.0.
With stages 1 to 3 it has 21.0, the paper 20.0 (`kernel=3` gives 19.9).

Invariant: depths, widths and strides stay, hence the shape of every map at a stage border; other stages do not change.

Source: Tan & Le 2021 (arXiv:2104.00298), section 3.2 and table 3.
"""

from dataclasses import dataclass, replace

from paretina.model.blocks.fused_mbconv import FusedMBConv
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Blueprint, Edit, Stage


@dataclass(frozen=True, kw_only=True)
class Fuse(Edit):
    """
    Attributes:
        stages: numbers of stages, from 1 as in a paper's table; None for all that consist of MBConv.
        kernel: side of the fused kernel, in pixels; None keeps that of the block.
        squeeze: whether the squeeze stays; blocks of expansion 1 lose it in any case, as they have no hidden width.
    """

    stages: tuple[int, ...] | None = None
    kernel: int | None = None
    squeeze: bool = False

    def __post_init__(self) -> None:
        if self.kernel is not None and (self.kernel < 1 or self.kernel % 2 == 0):
            raise ValueError(f"Fuse needs an odd kernel, got kernel={self.kernel}")

    def edit(self, blueprint: Blueprint) -> Blueprint:
        rows = list(blueprint.stages)
        every = tuple(number for number, row in enumerate(rows, 1) if isinstance(row.block, MBConv))
        for number in every if self.stages is None else self.stages:
            if not 1 <= number <= len(rows):
                raise ValueError(f"Fuse names stage {number}, but stages are numbered from 1 to {len(rows)}")
            rows[number - 1] = self.fused(blueprint.stages[number - 1], number)
        return replace(blueprint, stages=tuple(rows))

    def fused(self, row: Stage, number: int) -> Stage:
        block = row.block
        if not isinstance(block, MBConv):
            raise ValueError(f"Fuse needs stages of MBConv, but stage {number} has {type(block).__name__}; leave it out")
        if block.group_width != 1:
            raise ValueError(
                f"Fuse would make the groups of stage {number} (group_width={block.group_width}) one dense convolution; "
                f"set its group_width to 1 first, or leave it out"
            )
        squeeze = block.squeeze if self.squeeze and block.expand > 1 else 0.0
        kernel = block.kernel if self.kernel is None else self.kernel
        fused = FusedMBConv(expand=block.expand, kernel=kernel, squeeze=squeeze, hidden=block.hidden)
        return replace(row, block=fused)


EXAMPLES = (Fuse(), Fuse(stages=(2,), kernel=3, squeeze=True))
