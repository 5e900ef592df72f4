"""ResNet-18 to -152 in the variants A, B, C and D.

Source: He et al. 2015 (arXiv:1512.03385), table 1; variants: He et al. 2019 (arXiv:1812.01187), section 4. A has the stride in
the first 1x1 of a block, B in the 3x3, C is B with three 3x3 convolutions as the stem, D is C with an average pool in the
shortcut. `resnet50` alone means B, as in torchvision and timm; blocks of two 3x3 have no A. Top-1 of B is that of torchvision's
first weights; of A, C and D that of the GluonCV zoo, whose training is longer.
"""

from dataclasses import replace

from paretina.model.activations.pointwise import ReLU
from paretina.model.blocks.resnet import Basic, Bottleneck
from paretina.model.blueprint import Block, Blueprint, Preprocessing, Stage
from paretina.model.family import Peer, Published
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.conv import ConvStem, DeepStem


def resnet(block: Block, depths: tuple[int, int, int, int], factor: int = 1) -> Blueprint:
    """The table of a ResNet: widths 64 to 512 times `factor`, halved in size from stage to stage."""
    widths = (64 * factor, 128 * factor, 256 * factor, 512 * factor)
    rows = zip(depths, widths, (1, 2, 2, 2), strict=True)
    return Blueprint(
        source="arXiv:1512.03385, table 1",
        resolution=224,
        stem=ConvStem(width=64, kernel=7, pool=True),
        stages=tuple(Stage(block=block, depth=depth, width=width, stride=stride) for depth, width, stride in rows),
        head=PoolHead(),
        norm=BatchNorm(),
        activation=ReLU(),
        preprocessing=Preprocessing(interpolation="bilinear"),
    )


def variant_c(blueprint: Blueprint) -> Blueprint:
    return replace(blueprint, stem=DeepStem(width=64, inner=(32, 32)), source="arXiv:1812.01187, section 4.2")


R18 = resnet(Basic(), (2, 2, 2, 2))
R34 = resnet(Basic(), (3, 4, 6, 3))
R50 = resnet(Bottleneck(), (3, 4, 6, 3), 4)
R101 = resnet(Bottleneck(), (3, 4, 23, 3), 4)
R152 = resnet(Bottleneck(), (3, 8, 36, 3), 4)

R50A = resnet(Bottleneck(strided="1x1"), (3, 4, 6, 3), 4)

R18C, R34C, R50C, R101C, R152C = map(variant_c, (R18, R34, R50, R101, R152))

R18D = variant_c(resnet(Basic(shortcut="pool"), (2, 2, 2, 2)))
R34D = variant_c(resnet(Basic(shortcut="pool"), (3, 4, 6, 3)))
R50D = variant_c(resnet(Bottleneck(shortcut="pool"), (3, 4, 6, 3), 4))
R101D = variant_c(resnet(Bottleneck(shortcut="pool"), (3, 4, 23, 3), 4))
R152D = variant_c(resnet(Bottleneck(shortcut="pool"), (3, 8, 36, 3), 4))

TORCHVISION = "torchvision, first weights"
GLUON = "GluonCV model zoo"

TABLE = (
    Published("resnet18", "resnet", R18, 11_689_512, 1.8141, top1=69.76, note=TORCHVISION),
    Published("resnet34", "resnet", R34, 21_797_672, 3.6638, top1=73.31, note=TORCHVISION),
    Published("resnet50", "resnet", R50, 25_557_032, 4.0892, top1=76.13, note=TORCHVISION),
    Published("resnet101", "resnet", R101, 44_549_160, 7.8014, top1=77.37, note=TORCHVISION),
    Published("resnet152", "resnet", R152, 60_192_808, 11.5136, top1=78.31, note=TORCHVISION),
    Published("resnet50a", "resnet", R50A, 25_557_032, 3.858, top1=77.36, note=GLUON),
    Published("resnet18c", "resnet", R18C, 11_708_744, 2.054),
    Published("resnet34c", "resnet", R34C, 21_816_904, 3.903),
    Published("resnet50c", "resnet", R50C, 25_576_264, 4.329, top1=78.03, note=GLUON),
    Published("resnet101c", "resnet", R101C, 44_568_392, 8.041),
    Published("resnet152c", "resnet", R152C, 60_212_040, 11.753),
    Published("resnet18d", "resnet", R18D, 11_708_744, 2.054),
    Published("resnet34d", "resnet", R34D, 21_816_904, 3.903),
    Published("resnet50d", "resnet", R50D, 25_576_264, 4.329, top1=78.48, note=GLUON),
    Published("resnet101d", "resnet", R101D, 44_568_392, 8.041, top1=80.51, note=GLUON),
    Published("resnet152d", "resnet", R152D, 60_212_040, 11.753, top1=80.61, note=GLUON),
)


# --- the same networks in other libraries ---------------------------------------------------------------------------------

DEEP_STEM = {
    "stem.0.conv": "conv1.0",
    "stem.0.norm": "conv1.1",
    "stem.1.conv": "conv1.3",
    "stem.1.norm": "conv1.4",
    "stem.2.conv": "conv1.6",
    "stem.2.norm": "bn1",
}


def names(blueprint: Blueprint) -> dict[str, str]:
    """The name of each tensor in timm and, of those that are there, in torchvision; counters of batches are left out."""
    outer = {"stem.0.conv": "conv1", "stem.0.norm": "bn1", "head.classifier": "fc"}
    outer |= DEEP_STEM if isinstance(blueprint.stem, DeepStem) else {}

    def owner(path: str) -> str:
        if path in outer:
            return outer[path]
        _, stage, number, part, *rest = path.split(".")
        block = f"layer{int(stage) + 1}.{number}"
        kind = rest[-1]
        if part == "body":
            return f"{block}.{'conv' if kind == 'conv' else 'bn'}{int(rest[0]) + 1}"
        # in variant D the pool is there counted even where its stride is 1 and it does nothing
        first = 1 if getattr(blueprint.stages[int(stage)].block, "shortcut", "conv") == "pool" else 0
        return f"{block}.downsample.{first + (kind == 'norm')}"

    pairs = (name.rpartition(".") for name in blueprint.build("meta").state_dict())
    return {f"{path}.{field}": f"{owner(path)}.{field}" for path, _, field in pairs if field != "num_batches_tracked"}


def peers(network: Published) -> tuple[Peer, ...]:
    """torchvision has B; timm has B and D, and C of the deeper ones; A is in neither."""
    depth, variant = network.name[6:].rstrip("abcd"), network.name[6:].lstrip("0123456789")
    found = []
    if variant in ("", "d") or (variant == "c" and depth in ("50", "101", "152")):
        found.append(Peer("timm", network.name, names))
    if variant == "":
        found.append(Peer("torchvision", network.name, names))
    return tuple(found)


NETWORKS = tuple(replace(network, peers=peers(network)) for network in TABLE)
