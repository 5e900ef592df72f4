"""GGhost: a stage with narrow middle blocks, whose other channels are derived from its first block.

The blocks of a stage give similar maps. So a part of the channels passes through narrow blocks, and the rest comes from the
first block by one 1x1 convolution; the means of all the narrow maps are mixed in, as one number a channel. Unlike ghost
modules it adds no depthwise kernels, which is meant for GPUs. In RegNetX of 3 to 16 GF it takes away 43 to 48 % of the MACs;
the published top-1 is between 0.4 points lower and 0.1 higher than that of plain RegNetX in timm. The mix has a norm on maps of
one pixel: with batch norm, training needs two images a step at least.

Source: Han et al. 2022 (arXiv:2201.03297), section 4; as in the released code, in which the mix sees the first block too, and a
block of full width follows the concatenation. The paper's diagram ends with the concatenation.
"""

from dataclasses import dataclass

import torch
from torch import nn

from paretina.model.blocks.resnet import Bottleneck
from paretina.model.blueprint import Block, Kit, Wiring
from paretina.model.layers import overwriting
from paretina.shapes import Map


class GhostStage(nn.Module):
    """A full block, narrow blocks beside a cheap path, a full block.

    Attributes:
        kept: how many of the first channels are intrinsic.
        base: the first block, of full width.
        narrow: blocks on the intrinsic channels.
        mix: from the means of `base` and of every narrow block to one number for each of the other channels.
        cheap: from the other channels of `base` to those of the stage.
        end: the last block, of full width.
    """

    def __init__(
        self,
        kept: int,
        base: nn.Module,
        narrow: nn.ModuleList,
        mix: nn.Module,
        cheap: nn.Module,
        activation: nn.Module,
        end: nn.Module,
    ) -> None:
        super().__init__()
        self.kept = kept
        self.base = base
        self.narrow = narrow
        self.mix = mix
        self.cheap = cheap
        self.activation = activation
        self.end = end

    def forward(self, x: Map) -> Map:
        x = self.base(x)
        intrinsic, others = x.split((self.kept, x.shape[1] - self.kept), 1)
        means = [x.mean((2, 3), keepdim=True)]
        for block in self.narrow:
            intrinsic = block(intrinsic)
            means.append(intrinsic.mean((2, 3), keepdim=True))
        others = self.activation(self.cheap(others) + self.mix(torch.cat(means, 1)))
        return self.end(torch.cat((intrinsic, others), 1))


@dataclass(frozen=True, kw_only=True)
class GGhost(Wiring):
    """Needs stages with a depth of at least 3: the first block, narrow ones, and the last.

    Attributes:
        ghosts: share of the channels that are derived cheaply, between 0 and 1.
        multiple: the number of the other channels is rounded down to a multiple of this.
        narrow: the block of the narrow path; None for the block of the stage.
    """

    ghosts: float = 0.5
    multiple: int = 1
    narrow: Block | None = None

    def __post_init__(self) -> None:
        if not 0 < self.ghosts < 1 or self.multiple < 1:
            raise ValueError(f"GGhost needs 0 < ghosts < 1 and multiple >= 1, got {self}")

    def intrinsic(self, width: int) -> int:
        """How many of a stage's channels pass through the narrow blocks.

        Raises:
            ValueError: none would be left.
        """
        kept = int(width * (1 - self.ghosts) / self.multiple) * self.multiple
        if kept < 1:
            raise ValueError(
                f"GGhost(ghosts={self.ghosts}, multiple={self.multiple}) leaves none of {width} channels to the narrow blocks; "
                "lower one of them"
            )
        return kept

    def make(self, block: Block, depth: int, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        if depth < 3:
            raise ValueError(f"GGhost needs a depth of at least 3, got {depth}; leave this stage a Chain")
        kept, inner = self.intrinsic(width_out), block if self.narrow is None else self.narrow
        ghosts = width_out - kept
        base = kit.block(block, width_in, width_out, stride)
        kit = kit.behind(base, width_in)
        return GhostStage(
            kept=kept,
            base=base,
            narrow=nn.ModuleList(kit.block(inner, kept, kept, 1) for _ in range(depth - 2)),
            mix=nn.Sequential(kit.unit(width_out + kept * (depth - 2), ghosts), kit.unit(ghosts, ghosts, act=False)),
            cheap=kit.unit(ghosts, ghosts, act=False),
            activation=overwriting(kit.activation.make(ghosts)),
            end=kit.block(block, width_out, width_out, 1),
        )


EXAMPLES = (GGhost(), GGhost(ghosts=0.6, multiple=4, narrow=Bottleneck(squeeze=1)))
