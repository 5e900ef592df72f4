"""GhostNet 0.5x, 1.0x and 1.3x.

Source: Han et al. 2020 (arXiv:1911.11907), table 1; rounding of scaled widths as in the released PyTorch code: to multiples of
4, and never for the last hidden layer. The kernel of the cheap operations is 3 everywhere, also where the block's is 5.
"""

from paretina.model.activations.pointwise import ReLU
from paretina.model.blocks.ghost import GhostBottleneck
from paretina.model.blueprint import Blueprint, Preprocessing, Stage
from paretina.model.edits.scale import Round, Scale
from paretina.model.family import Peer, Published
from paretina.model.heads.hidden import HiddenHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.conv import ConvStem


def row(kernel: int, hidden: int, width: int, squeeze: float, stride: int) -> Stage:
    return Stage(block=GhostBottleneck(hidden=hidden, kernel=kernel, squeeze=squeeze), depth=1, width=width, stride=stride)


GHOSTNET = Blueprint(
    source="arXiv:1911.11907, table 1",
    resolution=224,
    stem=ConvStem(width=16),
    stages=(
        row(3, 16, 16, 0.0, 1),
        row(3, 48, 24, 0.0, 2),
        row(3, 72, 24, 0.0, 1),
        row(5, 72, 40, 0.25, 2),
        row(5, 120, 40, 0.25, 1),
        row(3, 240, 80, 0.0, 2),
        row(3, 200, 80, 0.0, 1),
        row(3, 184, 80, 0.0, 1),
        row(3, 184, 80, 0.0, 1),
        row(3, 480, 112, 0.25, 1),
        row(3, 672, 112, 0.25, 1),
        row(5, 672, 160, 0.25, 2),
        row(5, 960, 160, 0.0, 1),
        row(5, 960, 160, 0.25, 1),
        row(5, 960, 160, 0.0, 1),
        row(5, 960, 160, 0.25, 1),
    ),
    head=HiddenHead(width=960, hidden=1280),
    norm=BatchNorm(),
    activation=ReLU(),
    preprocessing=Preprocessing(interpolation="bilinear"),
)

GHOSTNET_050 = Scale(width=0.5, round=Round(divisor=4))(GHOSTNET)
GHOSTNET_130 = Scale(width=1.3, round=Round(divisor=4))(GHOSTNET)


INNER = {
    "body.expand.primary.conv": "ghost1.primary_conv.0",
    "body.expand.primary.norm": "ghost1.primary_conv.1",
    "body.expand.cheap.conv": "ghost1.cheap_operation.0",
    "body.expand.cheap.norm": "ghost1.cheap_operation.1",
    "body.spatial.conv": "conv_dw",
    "body.spatial.norm": "bn_dw",
    "body.squeeze.reduce": "se.conv_reduce",
    "body.squeeze.restore": "se.conv_expand",
    "body.project.primary.conv": "ghost2.primary_conv.0",
    "body.project.primary.norm": "ghost2.primary_conv.1",
    "body.project.cheap.conv": "ghost2.cheap_operation.0",
    "body.project.cheap.norm": "ghost2.cheap_operation.1",
    "shortcut.0.conv": "shortcut.0",
    "shortcut.0.norm": "shortcut.1",
    "shortcut.1.conv": "shortcut.2",
    "shortcut.1.norm": "shortcut.3",
}
"""timm's names of the parts of a block."""


def timm_names(blueprint: Blueprint) -> dict[str, str]:
    """timm's names of our tensors.

    Its blocks stand in groups: a block that halves the map is a group of its own, and so are the blocks between two of these.
    """
    places: dict[tuple[str, str], str] = {}
    group, number, before = -1, 0, 0
    for stage, row in enumerate(blueprint.stages):
        for depth in range(row.depth):
            stride = row.stride if depth == 0 else 1
            group, number = (group, number + 1) if stride == before == 1 else (group + 1, 0)
            before = stride
            places[str(stage), str(depth)] = f"blocks.{group}.{number}"
    outer = {
        "stem.conv": "conv_stem",
        "stem.norm": "bn1",
        "head.unit.conv": f"blocks.{group + 1}.0.conv",
        "head.unit.norm": f"blocks.{group + 1}.0.bn1",
        "head.hidden": "conv_head",
        "head.classifier": "classifier",
    }
    names = {}
    for ours in blueprint.build("meta").state_dict():
        owner, _, field = ours.rpartition(".")
        if field == "num_batches_tracked":
            continue
        if owner in outer:
            theirs = outer[owner]
        else:
            _, at, block, inner = owner.split(".", 3)
            theirs = f"{places[at, block]}.{INNER[inner]}"
        names[ours] = f"{theirs}.{field}"
    return names


def in_timm(name: str) -> tuple[Peer, ...]:
    return (Peer("timm", name, timm_names),)


PAPER = "arXiv:1911.11907, as listed by Papers with Code"
README = "released PyTorch weights (huawei-noah/Efficient-AI-Backbones README)"

NETWORKS = (
    Published("ghostnet_050", "ghostnet", GHOSTNET_050, 2_587_292, 0.0423, None, 66.2, PAPER, peers=in_timm("ghostnet_050")),
    Published("ghostnet_100", "ghostnet", GHOSTNET, 5_182_508, 0.1412, None, 73.98, README, peers=in_timm("ghostnet_100")),
    Published("ghostnet_130", "ghostnet", GHOSTNET_130, 7_358_820, 0.2270, None, 75.7, PAPER, peers=in_timm("ghostnet_130")),
)
