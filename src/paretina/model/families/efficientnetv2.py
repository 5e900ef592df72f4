"""EfficientNetV2 S, M, L, XL and B0 to B3.

Source: Tan & Le 2021 (arXiv:2104.00298), table 4 for S; M, L, XL and the B levels from the released code (google/automl,
efficientnetv2). Test resolutions are those of the released evaluation, at which MACs are counted. B1 to B3 are B0 scaled
without the 0.9 rule of the first EfficientNet. Top-1 is that of the released checkpoints' README; XL was trained on
ImageNet-21k first.
"""

from dataclasses import replace

from paretina.model.activations.pointwise import SiLU
from paretina.model.blocks.fused_mbconv import FusedMBConv
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Blueprint, Initialisation, Preprocessing, Stage
from paretina.model.edits.scale import Round, Scale
from paretina.model.families.efficientnet import plain, timm_names, torchvision_names
from paretina.model.family import Peer, Published
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.conv import ConvStem

CENTRED = Preprocessing(mean=(128 / 255,) * 3, std=(128 / 255,) * 3, crop=1.0, fit="squash", interpolation="bilinear")

S = Blueprint(
    source="arXiv:2104.00298, table 4",
    resolution=384,
    stem=ConvStem(width=24),
    stages=(
        Stage(block=FusedMBConv(expand=1), depth=2, width=24, stride=1),
        Stage(block=FusedMBConv(expand=4), depth=4, width=48, stride=2),
        Stage(block=FusedMBConv(expand=4), depth=4, width=64, stride=2),
        Stage(block=MBConv(expand=4, kernel=3), depth=6, width=128, stride=2),
        Stage(block=MBConv(expand=6, kernel=3), depth=9, width=160, stride=1),
        Stage(block=MBConv(expand=6, kernel=3), depth=15, width=256, stride=2),
    ),
    head=PoolHead(width=1280),
    norm=BatchNorm(eps=1e-3),
    activation=SiLU(),
    padding="same",
    initialisation=Initialisation(conv="fan_out", linear="outputs"),
    preprocessing=CENTRED,
)

M = replace(
    S,
    source="google/automl, efficientnetv2",
    resolution=480,
    stages=(
        Stage(block=FusedMBConv(expand=1), depth=3, width=24, stride=1),
        Stage(block=FusedMBConv(expand=4), depth=5, width=48, stride=2),
        Stage(block=FusedMBConv(expand=4), depth=5, width=80, stride=2),
        Stage(block=MBConv(expand=4, kernel=3), depth=7, width=160, stride=2),
        Stage(block=MBConv(expand=6, kernel=3), depth=14, width=176, stride=1),
        Stage(block=MBConv(expand=6, kernel=3), depth=18, width=304, stride=2),
        Stage(block=MBConv(expand=6, kernel=3), depth=5, width=512, stride=1),
    ),
)

L = replace(
    M,
    stem=ConvStem(width=32),
    stages=(
        Stage(block=FusedMBConv(expand=1), depth=4, width=32, stride=1),
        Stage(block=FusedMBConv(expand=4), depth=7, width=64, stride=2),
        Stage(block=FusedMBConv(expand=4), depth=7, width=96, stride=2),
        Stage(block=MBConv(expand=4, kernel=3), depth=10, width=192, stride=2),
        Stage(block=MBConv(expand=6, kernel=3), depth=19, width=224, stride=1),
        Stage(block=MBConv(expand=6, kernel=3), depth=25, width=384, stride=2),
        Stage(block=MBConv(expand=6, kernel=3), depth=7, width=640, stride=1),
    ),
)

XL = replace(
    L,
    resolution=512,
    stages=(
        Stage(block=FusedMBConv(expand=1), depth=4, width=32, stride=1),
        Stage(block=FusedMBConv(expand=4), depth=8, width=64, stride=2),
        Stage(block=FusedMBConv(expand=4), depth=8, width=96, stride=2),
        Stage(block=MBConv(expand=4, kernel=3), depth=16, width=192, stride=2),
        Stage(block=MBConv(expand=6, kernel=3), depth=24, width=256, stride=1),
        Stage(block=MBConv(expand=6, kernel=3), depth=32, width=512, stride=2),
        Stage(block=MBConv(expand=6, kernel=3), depth=8, width=640, stride=1),
    ),
)

B0 = replace(
    S,
    source="google/automl, efficientnetv2",
    resolution=224,
    stem=ConvStem(width=32),
    stages=(
        Stage(block=FusedMBConv(expand=1), depth=1, width=16, stride=1),
        Stage(block=FusedMBConv(expand=4), depth=2, width=32, stride=2),
        Stage(block=FusedMBConv(expand=4), depth=2, width=48, stride=2),
        Stage(block=MBConv(expand=4, kernel=3), depth=3, width=96, stride=2),
        Stage(block=MBConv(expand=6, kernel=3), depth=5, width=112, stride=1),
        Stage(block=MBConv(expand=6, kernel=3), depth=8, width=192, stride=2),
    ),
    preprocessing=Preprocessing(crop=224 / 256),
)


def scaled(width: float, depth: float, resolution: int) -> Blueprint:
    grown = Scale(width=width, depth=depth, resolution=resolution, round=Round(floor=0.0))(B0)
    return replace(grown, preprocessing=replace(B0.preprocessing, crop=resolution / (resolution + 32)))


B1 = scaled(1.0, 1.1, 240)
B2 = scaled(1.1, 1.2, 260)
B3 = scaled(1.2, 1.4, 300)

README = "released checkpoint (google/automl README)"

TABLE = (
    Published("efficientnetv2_s", "efficientnetv2", S, 21_458_488, 8.3656, top1=83.9, note=README),
    Published("efficientnetv2_m", "efficientnetv2", M, 54_139_356, 24.5825, top1=85.2, note=README),
    Published("efficientnetv2_l", "efficientnetv2", L, 118_515_272, 56.0797, top1=85.7, note=README),
    Published("efficientnetv2_xl", "efficientnetv2", XL, 208_119_808, 93.3535, top1=87.2, note=f"{README}, ImageNet-21k first"),
    Published("efficientnetv2_b0", "efficientnetv2", B0, 7_139_704, 0.7181, top1=78.7, note=README),
    Published("efficientnetv2_b1", "efficientnetv2", B1, 8_141_052, 1.1968, top1=79.8, note=README),
    Published("efficientnetv2_b2", "efficientnetv2", B2, 10_096_086, 1.6975, top1=80.5, note=README),
    Published("efficientnetv2_b3", "efficientnetv2", B3, 14_358_406, 3.0115, top1=82.1, note=README),
)


def peers(network: Published) -> tuple[Peer, ...]:
    """timm has each as released, S to XL also in torch's manner; torchvision has S to L with preprocessings of its own."""
    found = [Peer("timm", f"tf_{network.name}", timm_names)]
    size = network.name.removeprefix("efficientnetv2_")
    if size in ("s", "m", "l", "xl"):
        found.append(Peer("timm", network.name, timm_names, plain(network.blueprint)))
    if size in ("s", "m", "l"):
        preprocessing = Preprocessing(crop=1.0, interpolation="bilinear")
        preprocessing = (
            replace(preprocessing, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic") if size == "l" else preprocessing
        )
        own = replace(plain(network.blueprint, 1e-3), preprocessing=preprocessing)
        found.append(Peer("torchvision", f"efficientnet_v2_{size}", torchvision_names, own))
    return tuple(found)


NETWORKS = tuple(replace(network, peers=peers(network)) for network in TABLE)
