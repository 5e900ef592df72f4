"""G-Ghost RegNetX and G-Ghost ResNet: a plain network, and G-Ghost stages in it.

Source: Han et al. 2022 (arXiv:2201.03297), section 4. RegNetX as in the released code: every stage behind the first with 3
blocks or more; the narrow path has groups of 3/4 the width, and its channels, about half, are a multiple of that. 3.2, 4, 8 and
16 GF have published weights; the released code defines the others too, and their counts are what it builds.

For ResNet only a recipe of another framework is public: a ResNet-101 of 38 216 872 parameters and 77.36 top-1. We take half of
the channels in all four stages, which gives 35 435 432. That is the recipe's count less a 1x1 convolution from all channels to
the narrow ones in each stage (it has one in place of the split; 2 785 280), plus one norm over the cheap channels in each stage
(3840). So the structure may be the same, but this is arithmetic, not a proof.
"""

from dataclasses import replace

from paretina.model.blocks.resnet import Bottleneck
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.families import regnet, resnet
from paretina.model.family import Published
from paretina.model.wirings.gghost import GGhost

SOURCE = "arXiv:2201.03297, section 4"


def with_ghosts(plain: Blueprint) -> Blueprint:
    """G-Ghost RegNetX of a plain one."""

    def changed(row: Stage) -> Stage:
        if row.depth < 3 or not isinstance(row.block, Bottleneck):
            return row
        group = int(0.75 * row.block.group_width)
        return replace(row, wiring=GGhost(multiple=group, narrow=replace(row.block, group_width=group)))

    first, *others = plain.stages
    return replace(plain, source=SOURCE, stages=(first, *map(changed, others)))


def with_ghosts_everywhere(plain: Blueprint) -> Blueprint:
    """G-Ghost ResNet of a plain one."""
    return replace(plain, source=SOURCE, stages=tuple(replace(row, wiring=GGhost()) for row in plain.stages))


GHOST_X200 = with_ghosts(regnet.X200)
GHOST_X400 = with_ghosts(regnet.X400)
GHOST_X600 = with_ghosts(regnet.X600)
GHOST_X800 = with_ghosts(regnet.X800)
GHOST_X1600 = with_ghosts(regnet.X1600)
GHOST_X3200 = with_ghosts(regnet.X3200)
GHOST_X4000 = with_ghosts(regnet.X4000)
GHOST_X6400 = with_ghosts(regnet.X6400)
GHOST_X8000 = with_ghosts(regnet.X8000)
GHOST_X12000 = with_ghosts(regnet.X12000)
GHOST_X16000 = with_ghosts(regnet.X16000)
GHOST_X32000 = with_ghosts(regnet.X32000)

GHOST_R50 = with_ghosts_everywhere(resnet.R50)
GHOST_R101 = with_ghosts_everywhere(resnet.R101)

README = "released weights (huawei-noah/Efficient-AI-Backbones README)"
CODE = "counts are what the released code builds; it has no weights"
OURS = "not verified: no count is published for this network, parameters and MACs are our own"
RECIPE = f"{OURS}; see the family's card for the one recipe that is public"

NETWORKS = (
    Published("gghost_regnetx_200mf", "gghost", GHOST_X200, 1_825_440, 0.131, note=CODE),
    Published("gghost_regnetx_400mf", "gghost", GHOST_X400, 2_884_456, 0.221, note=CODE),
    Published("gghost_regnetx_600mf", "gghost", GHOST_X600, 4_029_776, 0.390, note=CODE),
    Published("gghost_regnetx_800mf", "gghost", GHOST_X800, 5_248_328, 0.529, note=CODE),
    Published("gghost_regnetx_1_6gf", "gghost", GHOST_X1600, 7_109_660, 1.021, note=CODE),
    Published("gghost_regnetx_3_2gf", "gghost", GHOST_X3200, 10_511_000, 1.8017, None, 77.8, README),
    Published("gghost_regnetx_4_0gf", "gghost", GHOST_X4000, 15_726_268, 2.2284, None, 78.6, README),
    Published("gghost_regnetx_6_4gf", "gghost", GHOST_X6400, 17_993_748, 4.055, note=CODE),
    Published("gghost_regnetx_8_0gf", "gghost", GHOST_X8000, 24_586_928, 4.1497, None, 79.0, README),
    Published("gghost_regnetx_12gf", "gghost", GHOST_X12000, 30_627_208, 7.378, note=CODE),
    Published("gghost_regnetx_16gf", "gghost", GHOST_X16000, 32_381_704, 8.9974, None, 79.9, README),
    Published("gghost_regnetx_32gf", "gghost", GHOST_X32000, 62_815_448, 17.158, note=CODE),
    Published("gghost_resnet50", "gghost", GHOST_R50, 26_217_896, 2.991, note=OURS),
    Published("gghost_resnet101", "gghost", GHOST_R101, 35_435_432, 3.923, note=RECIPE),
)
