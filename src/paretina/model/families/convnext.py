"""ConvNeXt T, S, B, L and XL.

Source: Liu et al. 2022 (arXiv:2201.03545), section 3. Top-1 is that of the released checkpoints' README at 224 pixels; T to L
were trained on ImageNet-1k only, XL on ImageNet-22k first. If the side of an image is not a multiple of 32, all of its pixels
are used; other libraries drop the rest at the edges, so their outputs agree with ours at multiples of 32 only.
"""

from collections.abc import Callable, Mapping

from paretina.model.activations.pointwise import GELU
from paretina.model.blocks.convnext import ConvNeXt
from paretina.model.blueprint import Blueprint, Initialisation, Stage
from paretina.model.family import Peer, Published
from paretina.model.heads.norm_pool import NormPoolHead
from paretina.model.norms.channel import ChannelNorm
from paretina.model.stems.patch import PatchStem


def convnext(first: int, depths: tuple[int, int, int, int]) -> Blueprint:
    """The blueprint of a ConvNeXt: widths double from stage to stage, and sides halve."""
    widths = (first, 2 * first, 4 * first, 8 * first)
    rows = zip(depths, widths, (1, 2, 2, 2), strict=True)
    return Blueprint(
        source="arXiv:2201.03545, section 3",
        resolution=224,
        stem=PatchStem(width=first, patch=4, norm=True),
        stages=tuple(Stage(block=ConvNeXt(), depth=depth, width=width, stride=stride) for depth, width, stride in rows),
        head=NormPoolHead(),
        norm=ChannelNorm(eps=1e-6),
        activation=GELU(),
        initialisation=Initialisation(conv="normal", linear="normal"),
    )


TINY = convnext(96, (3, 3, 9, 3))
SMALL = convnext(96, (3, 3, 27, 3))
BASE = convnext(128, (3, 3, 27, 3))
LARGE = convnext(192, (3, 3, 27, 3))
XLARGE = convnext(256, (3, 3, 27, 3))


def names(
    blueprint: Blueprint,
    ends: Mapping[str, str],
    downsample: Callable[[int], str],
    block: Callable[[int, int], str],
    inner: Mapping[str, str],
    scale: str,
) -> dict[str, str]:
    """Maps our tensor names to another library's.

    Args:
        ends: its name of each layer of stem and head.
        downsample: from the number of a stage to its name of the two layers in front of it.
        block: from the numbers of a stage and of a block in it to its name of that block.
        inner: its name of each layer of a block.
        scale: its name of the layer scale of a block.
    """
    layers, scales = dict(ends), {}
    width_in = blueprint.stem.width
    for number, stage in enumerate(blueprint.stages):
        for i in range(stage.depth):
            ours = f"stages.{number}.{i}"
            if i == 0 and (stage.stride > 1 or width_in != stage.width):
                layers[f"{ours}.0.norm"] = f"{downsample(number)}.0"
                layers[f"{ours}.0.conv"] = f"{downsample(number)}.1"
                ours += ".1"
            layers |= {f"{ours}.body.{part}": f"{block(number, i)}.{theirs}" for part, theirs in inner.items()}
            scales[f"{ours}.body.scale.weight"] = f"{block(number, i)}.{scale}"
        width_in = stage.width
    return {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in layers.items() for kind in ("weight", "bias")} | scales


def timm_names(blueprint: Blueprint) -> dict[str, str]:
    return names(
        blueprint,
        ends={"stem.conv": "stem.0", "stem.norm": "stem.1", "head.norm": "head.norm", "head.classifier": "head.fc"},
        downsample=lambda stage: f"stages.{stage}.downsample",
        block=lambda stage, i: f"stages.{stage}.blocks.{i}",
        inner={"spatial": "conv_dw", "norm": "norm", "expand": "mlp.fc1", "project": "mlp.fc2"},
        scale="gamma",
    )


def torchvision_names(blueprint: Blueprint) -> dict[str, str]:
    return names(
        blueprint,
        ends={
            "stem.conv": "features.0.0",
            "stem.norm": "features.0.1",
            "head.norm": "classifier.0",
            "head.classifier": "classifier.2",
        },
        # stages and the layers between them take turns
        downsample=lambda stage: f"features.{2 * stage}",
        block=lambda stage, i: f"features.{2 * stage + 1}.{i}",
        inner={"spatial": "block.0", "norm": "block.2", "expand": "block.3", "project": "block.5"},
        scale="layer_scale",
    )


def peers(name: str) -> tuple[Peer, ...]:
    timm = Peer("timm", name, timm_names)
    return (timm,) if name == "convnext_xlarge" else (timm, Peer("torchvision", name, torchvision_names))


README = "released checkpoint at 224 pixels (facebookresearch/ConvNeXt README)"


def published(name: str, blueprint: Blueprint, params: int, macs: float, top1: float, note: str = README) -> Published:
    return Published(name, "convnext", blueprint, params, macs, top1=top1, note=note, peers=peers(name))


NETWORKS = (
    published("convnext_tiny", TINY, 28_589_128, 4.4555, 82.1),
    published("convnext_small", SMALL, 50_223_688, 8.6837, 83.1),
    published("convnext_base", BASE, 88_591_464, 15.3547, 83.8),
    published("convnext_large", LARGE, 197_767_336, 34.3614, 84.3),
    published("convnext_xlarge", XLARGE, 350_196_968, 60.9210, 87.0, f"{README}, ImageNet-22k first"),
)
