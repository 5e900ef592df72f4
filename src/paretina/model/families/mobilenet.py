"""MobileNetV1 and V2 in several widths, and scaled as in the compound scaling paper.

Source: V1: Howard et al. 2017 (arXiv:1704.04861), table 1. V2: Sandler et al. 2018 (arXiv:1801.04381), table 2; a width below
1 keeps the 1280 channels of the head. Scaling: Tan & Le 2019 (arXiv:1905.11946), table 3. Of its compound rows only V1's says
its factors (depth 1.4, width 1.2, resolution 1.3); the same for V2 is our reading, which meets the paper's MACs. Both
compound networks have 288 pixels instead of 224 * 1.3 = 291: a multiple of 32, where the MACs come nearest to the paper's.

MACs are counted at the resolution of the blueprint. Padding, norm and preprocessing are those of timm's weights. A number
in a name is the width in percent; `d` says that the depth was scaled too, and that stem, head and the ends were not.
"""

from dataclasses import replace

from paretina.model.activations.pointwise import ReLU6
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.separable import Separable
from paretina.model.blueprint import Blueprint, Preprocessing, Stage
from paretina.model.edits.scale import Scale
from paretina.model.families.efficientnet import named, place, timm_names
from paretina.model.family import Peer, Published
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.conv import ConvStem
from paretina.spec import get

V1 = Blueprint(
    source="arXiv:1704.04861, table 1",
    resolution=224,
    stem=ConvStem(width=32),
    stages=(
        Stage(block=Separable(), depth=1, width=64, stride=1),
        Stage(block=Separable(), depth=2, width=128, stride=2),
        Stage(block=Separable(), depth=2, width=256, stride=2),
        Stage(block=Separable(), depth=6, width=512, stride=2),
        Stage(block=Separable(), depth=2, width=1024, stride=2),
    ),
    head=PoolHead(),
    norm=BatchNorm(),
    activation=ReLU6(),
    preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)

V2 = replace(
    V1,
    source="arXiv:1801.04381, table 2",
    stages=(
        Stage(block=MBConv(expand=1, kernel=3, squeeze=0.0), depth=1, width=16, stride=1),
        Stage(block=MBConv(expand=6, kernel=3, squeeze=0.0), depth=2, width=24, stride=2),
        Stage(block=MBConv(expand=6, kernel=3, squeeze=0.0), depth=3, width=32, stride=2),
        Stage(block=MBConv(expand=6, kernel=3, squeeze=0.0), depth=4, width=64, stride=2),
        Stage(block=MBConv(expand=6, kernel=3, squeeze=0.0), depth=3, width=96, stride=1),
        Stage(block=MBConv(expand=6, kernel=3, squeeze=0.0), depth=3, width=160, stride=2),
        Stage(block=MBConv(expand=6, kernel=3, squeeze=0.0), depth=1, width=320, stride=1),
    ),
    head=PoolHead(width=1280),
    preprocessing=Preprocessing(),
)


def tabled(edit: Scale, base: Blueprint) -> Blueprint:
    """A row of the scaling table."""
    return replace(edit(base), source="arXiv:1905.11946, table 3")


V1_125 = Scale(width=1.25)(V1)
V1_WIDTH2 = tabled(Scale(width=2.0), V1)
V1_RESOLUTION2 = tabled(Scale(resolution=448), V1)
V1_COMPOUND = tabled(Scale(depth=1.4, width=1.2, resolution=288), V1)

V2_035 = Scale(width=0.35, keep=("head",))(V2)
V2_050 = Scale(width=0.5, keep=("head",))(V2)
V2_140 = Scale(width=1.4)(V2)
V2_110D = Scale(width=1.1, depth=1.2, keep=("stem", "head", "ends"))(V2)
V2_120D = Scale(width=1.2, depth=1.4, keep=("stem", "head", "ends"))(V2)
V2_DEPTH4 = tabled(Scale(depth=4.0), V2)
V2_WIDTH2 = tabled(Scale(width=2.0), V2)
V2_RESOLUTION2 = tabled(Scale(resolution=448), V2)
V2_COMPOUND = tabled(Scale(depth=1.4, width=1.2, resolution=288), V2)


# --- the same networks in other libraries ---------------------------------------------------------------------------------

V1_IN_TIMM = {"depthwise.conv": "conv_dw", "depthwise.norm": "bn1", "pointwise.conv": "conv_pw", "pointwise.norm": "bn2"}


def timm_names_v1(blueprint: Blueprint) -> dict[str, str]:
    """timm's name of each tensor of a MobileNetV1; those of V2 are as in EfficientNet."""
    outer = {"stem.conv": "conv_stem", "stem.norm": "bn1", "head.classifier": "classifier"}

    def owner(path: str) -> str:
        if path in outer:
            return outer[path]
        stage, number, part = place(path)
        return f"blocks.{stage}.{number}.{V1_IN_TIMM[part]}"

    return named(blueprint, owner)


def torchvision_names(blueprint: Blueprint) -> dict[str, str]:
    """torchvision's name of each tensor of a MobileNetV2: stem, blocks and the head's convolution are one list there."""
    depths = [row.depth for row in blueprint.stages]
    last = f"features.{sum(depths) + 1}"
    outer = {
        "stem.conv": "features.0.0",
        "stem.norm": "features.0.1",
        "head.unit.conv": f"{last}.0",
        "head.unit.norm": f"{last}.1",
        "head.classifier": "classifier.1",
    }

    def owner(path: str) -> str:
        if path in outer:
            return outer[path]
        stage, number, part = place(path)
        first, _, leaf = part.rpartition(".")
        units = (
            ("expand", "spatial", "project") if get(blueprint, f"stages.{stage}.block.expand") > 1 else ("spatial", "project")
        )
        block = f"features.{1 + sum(depths[:stage]) + number}.conv"
        at = units.index(first)
        if first == "project":  # its convolution and norm stand in the list of the block itself
            return f"{block}.{at + (leaf == 'norm')}"
        return f"{block}.{at}.{int(leaf == 'norm')}"

    return named(blueprint, owner)


def in_timm(name: str) -> tuple[Peer, ...]:
    return (Peer("timm", name, timm_names_v1 if name.startswith("mobilenetv1") else timm_names),)


BOTH = (*in_timm("mobilenetv2_100"), Peer("torchvision", "mobilenet_v2", torchvision_names))

TABLE = "arXiv:1905.11946, table 3"
TIMM = "timm's weights, its own recipe"
OURS = f"{TABLE}; parameters are our count"
COMPOUND = f"{OURS}; the paper has 2.3e9 MACs"
GUESSED = f"{OURS}; the paper has 1.3e9 MACs and does not say its factors"

NETWORKS = (
    Published("mobilenet_v1", "mobilenet", V1, 4_231_976, 0.5687, None, 70.6, TABLE, peers=in_timm("mobilenetv1_100")),
    Published("mobilenet_v1_125", "mobilenet", V1_125, 6_270_840, 0.8795, peers=in_timm("mobilenetv1_125")),
    Published("mobilenet_v1_width2", "mobilenet", V1_WIDTH2, 14_742_120, 2.216, None, 74.2, OURS),
    Published("mobilenet_v1_resolution2", "mobilenet", V1_RESOLUTION2, 4_231_976, 2.272, None, 72.7, TABLE),
    Published("mobilenet_v1_compound", "mobilenet", V1_COMPOUND, 8_677_512, 2.243, None, 75.6, COMPOUND),
    Published("mobilenet_v2", "mobilenet", V2, 3_504_872, 0.3008, None, 72.0, TABLE, peers=BOTH),
    Published("mobilenet_v2_035", "mobilenet", V2_035, 1_677_128, 0.0593, peers=in_timm("mobilenetv2_035")),
    Published("mobilenet_v2_050", "mobilenet", V2_050, 1_968_680, 0.0971, peers=in_timm("mobilenetv2_050")),
    Published("mobilenet_v2_140", "mobilenet", V2_140, 6_108_776, 0.5822, None, 76.53, TIMM, peers=in_timm("mobilenetv2_140")),
    Published(
        "mobilenet_v2_110d", "mobilenet", V2_110D, 4_516_520, 0.4305, None, 75.06, TIMM, peers=in_timm("mobilenetv2_110d")
    ),
    Published(
        "mobilenet_v2_120d", "mobilenet", V2_120D, 5_831_144, 0.6689, None, 77.30, TIMM, peers=in_timm("mobilenetv2_120d")
    ),
    Published("mobilenet_v2_depth4", "mobilenet", V2_DEPTH4, 12_051_800, 1.220, None, 76.8, OURS),
    Published("mobilenet_v2_width2", "mobilenet", V2_WIDTH2, 11_258_088, 1.137, None, 76.4, OURS),
    Published("mobilenet_v2_resolution2", "mobilenet", V2_RESOLUTION2, 3_504_872, 1.199, None, 74.8, TABLE),
    Published("mobilenet_v2_compound", "mobilenet", V2_COMPOUND, 7_987_552, 1.284, None, 77.4, GUESSED),
)
