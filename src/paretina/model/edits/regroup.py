"""Regroup: grouped convolutions in place of depthwise ones, and a smaller expansion to compensate.

A depthwise convolution does so little with each number that memory decides its time, not arithmetic. Groups of 16 channels do
16 times as much and hardly take longer where the processor multiplies matrices well; with expansion 4 in place of 6,
EfficientNet keeps about its parameters. MACs rise, 1.6 times for B0 and 1.3 times for B5, so judge it by measured time, and
by memory in training, which falls with the expansion. With `ProxyNorm` this is the paper's G16-EfficientNet
(`g16_efficientnet_b0`).

Blocks decide for themselves what is regrouped (`Block.regrouped`); those without depthwise convolutions stay as they are.
Where the group width does not divide the hidden width, groups are wider: the 40 channels of B3 make two groups of 20, and its
24 make one, which is a dense convolution.

With batch norm and few updates it can fail: a small EfficientNet with groups of 16 channels hardly left chance in 280 updates,
where depthwise convolutions, groups of 4, and groups of 16 with layer and proxy norm learned (records/groups-shapes).

Invariant: depths, strides and the widths at stage borders stay.

Source: Masters et al. 2021 (arXiv:2106.03640), section 3.2.
"""

from dataclasses import dataclass, replace

from paretina.model.blueprint import Blueprint, Edit


@dataclass(frozen=True, kw_only=True)
class Regroup(Edit):
    """
    Attributes:
        group_width: channels of a group, at least 2.
        expand: hidden width as a multiple of the input width, in blocks that expand at all; None keeps it.
    """

    group_width: int = 16
    expand: int | None = 4

    def __post_init__(self) -> None:
        if self.group_width < 2 or (self.expand is not None and self.expand < 2):
            raise ValueError(f"Regroup needs group_width >= 2, and expand >= 2 or None, got {self}")

    def edit(self, blueprint: Blueprint) -> Blueprint:
        stages = tuple(replace(row, block=row.block.regrouped(self.group_width, self.expand)) for row in blueprint.stages)
        if stages == blueprint.stages:
            raise ValueError(f"{self} changes nothing: no stage has depthwise convolutions to regroup ({blueprint.source})")
        return replace(blueprint, stages=stages)


EXAMPLES = (Regroup(), Regroup(group_width=8, expand=None))
