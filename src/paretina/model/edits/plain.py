"""PlainOperators: rewrites a ResNet with 3x3 convolutions, 2x2 max pools, batch norm, linear layers and concatenation alone.

For accelerators that are built for these, mostly with a quantiser of few bits. It is a much larger network: ResNet-18 becomes
20.95 million parameters and 5.87 billion MACs (11.69 and 1.81 before), ResNet-34 38.80 and 9.45, ResNet-50 160.4 and 46.0, of
which 2 bits a weight are more bytes than ResNet-50 in int8. So it is no way to a small or fast network on a CPU or a GPU.

Residual sums become concatenations and a 3x3 convolution, 1x1 convolutions become 3x3, and the stem becomes three 3x3
convolutions and a 2x2 max pool; see `PlainBlock` and `PlainStem`. The mean before the classifier stays. Weights of the
network before are of no use in it; let it learn from that network, block by block (`paretina distill --blockwise`).

Invariant: depths, widths and strides stay, hence the shape of every map at a stage border.

Source: Arch-Net (arXiv:2111.01135), the table of conversions.
"""

from dataclasses import dataclass, replace

from paretina.model.activations.pointwise import ReLU
from paretina.model.blocks.plain import PlainBlock
from paretina.model.blocks.resnet import Basic, Bottleneck
from paretina.model.blueprint import Blueprint, Edit, Stage, Stem
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.conv import ConvStem, DeepStem
from paretina.model.stems.plain import PlainStem

NAME = "PlainOperators"


@dataclass(frozen=True, kw_only=True)
class PlainOperators(Edit):
    """Has nothing to set."""

    ELSEWHERE = ("arch_net", "archnet")

    def edit(self, blueprint: Blueprint) -> Blueprint:
        source = blueprint.source
        if not isinstance(blueprint.norm, BatchNorm):
            raise ValueError(f"{NAME} is for networks with batch norm, and this one ({source}) has {blueprint.norm}")
        if not isinstance(blueprint.head, PoolHead) or blueprint.head.width:
            raise ValueError(f"{NAME} is for networks that end with a mean and a linear layer; {source} has {blueprint.head}")
        stages = tuple(plain_stage(stage, number, source) for number, stage in enumerate(blueprint.stages, 1))
        return replace(blueprint, stem=plain_stem(blueprint.stem, source), stages=stages, activation=ReLU())


def plain_stem(stem: Stem, source: str) -> Stem:
    """The stem in the allowed operators; one that has no others stays.

    Raises:
        ValueError: there is no rule for it.
    """
    if isinstance(stem, PlainStem) or (isinstance(stem, ConvStem) and stem.kernel == 3 and not stem.pool):
        return stem
    if isinstance(stem, ConvStem):
        return PlainStem(width=stem.width, inner=(stem.width, stem.width), steps=(1, 1, stem.step), pool=stem.pool)
    if isinstance(stem, DeepStem):
        return PlainStem(width=stem.width, inner=stem.inner, steps=(2, 1, 1), pool=stem.pool)
    raise ValueError(f"{NAME} has no rule for the stem of this network ({source}), {stem}; it is for ResNets")


def plain_stage(stage: Stage, number: int, source: str) -> Stage:
    """The stage in the allowed operators.

    Raises:
        ValueError: there is no rule for its block.
    """
    block = stage.block
    if isinstance(block, PlainBlock):
        return stage
    if isinstance(block, Basic):
        return replace(stage, block=PlainBlock(hidden=block.hidden))
    if isinstance(block, Bottleneck) and not block.group_width and block.strided == "3x3":
        return replace(stage, block=PlainBlock(squeeze=block.squeeze, hidden=block.hidden))
    raise ValueError(
        f"{NAME} has rules for the blocks of ResNet (Basic, and Bottleneck without groups and with the stride in the 3x3), and "
        f"none for {block} in stage {number} of this network ({source})"
    )


EXAMPLES = (PlainOperators(),)
