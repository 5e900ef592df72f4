"""RegNetX, from 0.2 to 32 billion MACs.

A search over whole populations of networks found that good ones follow a line: the width of block j is start + slope * j,
brought to a few steps that grow by a constant factor. Five numbers are then a network. Grouped 3x3 convolutions and no
squeeze make it fast on GPUs for its MACs.

Source: Radosavovic et al. 2020 (arXiv:2003.13678), section 3.3 for the rule; the numbers are those of the released networks
(facebookresearch/pycls). torchvision rounds a tie the other way, so that the last stage of its 400 MF network has 400
channels instead of 384; that one is `regnetx_400mf_tv` here. MACs are counted at 224 pixels.
"""

import itertools
import math
from collections.abc import Mapping

from paretina.model.activations.pointwise import ReLU
from paretina.model.blocks.resnet import Bottleneck
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.edits.rewidth import Rewidth
from paretina.model.family import Peer, Published
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.conv import ConvStem


def block_widths(blocks: int, start: int, slope: float, factor: float) -> list[int]:
    """The width of each block before groups are minded: start * factor^k for the whole k that comes nearest to the line."""
    line = [start + slope * j for j in range(blocks)]
    steps = [round(math.log(width / start, factor)) for width in line]
    return [round(start * factor**step / 8) * 8 for step in steps]


def regnetx(blocks: int, start: int, slope: float, factor: float, group_width: int) -> Blueprint:
    """The network of five numbers; blocks of equal width are a stage.

    Args:
        blocks: in all stages.
        start: width of the first block, in channels.
        slope: by how much the line grows from block to block, in channels.
        factor: between the widths of neighbouring stages, above 1.
        group_width: channels of a group; a stage that is not as wide has one group.
    """
    stages = []
    for width, same in itertools.groupby(block_widths(blocks, start, slope, factor)):
        group = min(group_width, width)
        block = Bottleneck(squeeze=1, group_width=group)
        stages.append(Stage(block=block, depth=len(list(same)), width=round(width / group) * group, stride=2))
    return Blueprint(
        source="arXiv:2003.13678, section 3.3",
        resolution=224,
        stem=ConvStem(width=32),
        stages=tuple(stages),
        head=PoolHead(),
        norm=BatchNorm(),
        activation=ReLU(),
    )


X200 = regnetx(13, 24, 36.44, 2.49, 8)
X400 = regnetx(22, 24, 24.48, 2.54, 16)
X600 = regnetx(16, 48, 36.97, 2.24, 24)
X800 = regnetx(16, 56, 35.73, 2.28, 16)
X1600 = regnetx(18, 80, 34.01, 2.25, 24)
X3200 = regnetx(25, 88, 26.31, 2.25, 48)
X4000 = regnetx(23, 96, 38.65, 2.43, 40)
X6400 = regnetx(17, 184, 60.83, 2.07, 56)
X8000 = regnetx(23, 80, 49.56, 2.88, 120)
X12000 = regnetx(19, 168, 73.36, 2.37, 112)
X16000 = regnetx(22, 216, 55.59, 2.1, 128)
X32000 = regnetx(23, 320, 69.86, 2.0, 168)

X400_TV = Rewidth(stages=(4,), widths=(400,))(X400)


def named(blueprint: Blueprint, modules: Mapping[str, str]) -> dict[str, str]:
    """Their name of each of our tensors, from their name of each of our modules."""
    split = [name.rpartition(".") for name in blueprint.build("meta").state_dict()]
    return {f"{ours}.{field}": f"{modules[ours]}.{field}" for ours, _, field in split if field != "num_batches_tracked"}


def timm_names(blueprint: Blueprint) -> dict[str, str]:
    """timm's names of our tensors."""
    parts = {"body.0": "conv1", "body.1": "conv2", "body.2": "conv3", "shortcut": "downsample"}
    modules = {"stem.conv": "stem.conv", "stem.norm": "stem.bn", "head.classifier": "head.fc"}
    for stage, row in enumerate(blueprint.stages):
        for number, (ours, theirs) in itertools.product(range(row.depth), parts.items()):
            for unit, unit_there in (("conv", "conv"), ("norm", "bn")):
                modules[f"stages.{stage}.{number}.{ours}.{unit}"] = f"s{stage + 1}.b{number + 1}.{theirs}.{unit_there}"
    return named(blueprint, modules)


def torchvision_names(blueprint: Blueprint) -> dict[str, str]:
    """torchvision's names of our tensors."""
    parts = {"body.0": "f.a", "body.1": "f.b", "body.2": "f.c", "shortcut": "proj"}
    modules = {"stem.conv": "stem.0", "stem.norm": "stem.1", "head.classifier": "fc"}
    for stage, row in enumerate(blueprint.stages):
        for number, (ours, theirs) in itertools.product(range(row.depth), parts.items()):
            block = f"trunk_output.block{stage + 1}.block{stage + 1}-{number}"
            for unit, unit_there in (("conv", "0"), ("norm", "1")):
                modules[f"stages.{stage}.{number}.{ours}.{unit}"] = f"{block}.{theirs}.{unit_there}"
    return named(blueprint, modules)


def peers(timm: str, torchvision: str | None = None) -> tuple[Peer, ...]:
    found = (Peer("timm", timm, timm_names),)
    return found if torchvision is None else (*found, Peer("torchvision", torchvision, torchvision_names))


COUNTED = "counts are those of the same network in timm"
TOP1 = "the released weights in timm"
TV = "counts are those of the same network in torchvision"

NETWORKS = (
    Published("regnetx_200mf", "regnet", X200, 2_684_792, 0.1990, note=COUNTED, peers=peers("regnetx_002")),
    Published("regnetx_400mf", "regnet", X400, 5_157_512, 0.3977, note=COUNTED, peers=peers("regnetx_004")),
    Published(
        "regnetx_400mf_tv", "regnet", X400_TV, 5_495_976, 0.414, note=TV, peers=peers("regnetx_004_tv", "regnet_x_400mf")
    ),
    Published("regnetx_600mf", "regnet", X600, 6_196_040, 0.6009, note=COUNTED, peers=peers("regnetx_006")),
    Published("regnetx_800mf", "regnet", X800, 7_259_656, 0.800, note=TV, peers=peers("regnetx_008", "regnet_x_800mf")),
    Published("regnetx_1_6gf", "regnet", X1600, 9_190_136, 1.603, note=TV, peers=peers("regnetx_016", "regnet_x_1_6gf")),
    Published(
        "regnetx_3_2gf", "regnet", X3200, 15_296_552, 3.177, None, 78.16, TOP1, peers=peers("regnetx_032", "regnet_x_3_2gf")
    ),
    Published("regnetx_4_0gf", "regnet", X4000, 22_118_248, 3.965, None, 78.49, TOP1, peers=peers("regnetx_040")),
    Published("regnetx_6_4gf", "regnet", X6400, 26_209_256, 6.460, note=COUNTED, peers=peers("regnetx_064")),
    Published(
        "regnetx_8_0gf", "regnet", X8000, 39_572_648, 7.995, None, 79.21, TOP1, peers=peers("regnetx_080", "regnet_x_8gf")
    ),
    Published("regnetx_12gf", "regnet", X12000, 46_106_056, 12.087, note=COUNTED, peers=peers("regnetx_120")),
    Published(
        "regnetx_16gf", "regnet", X16000, 54_278_536, 15.941, None, 79.84, TOP1, peers=peers("regnetx_160", "regnet_x_16gf")
    ),
    Published("regnetx_32gf", "regnet", X32000, 107_811_560, 31.736, note=TV, peers=peers("regnetx_320", "regnet_x_32gf")),
)
