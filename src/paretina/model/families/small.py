"""Small: narrow networks for budgets of a minute to ten on a few CPU cores, from scratch, with pictures of 28 to 96 pixels.

The number behind the `w` is the width behind the stem, in channels, and `s2` is a stem of stride 2: a quarter of the MACs, and
fine detail of small pictures is lost.

- `resnet9`: convolutions with max pools and two residual pairs, ending in the maximum of each feature. It is in the manner of
  the DAWNBench winners (Page 2018, "How to train your ResNet") and of airbench (arXiv:2404.00498), without whitening: the first
  convolution is learned. Here pools stand before norms, activations of a pair behind its sum, and the logits have no factor.
- `plain4`: four convolutions of stride 2 and nothing else, the floor for whatever is trained from scratch.
- `resnet8`: three basic blocks with widths in steps of two, the smallest of section 4.2 of arXiv:1512.03385.
- `resnet18`: its rows at a quarter and half of the widths, with one 3x3 convolution as the stem.
- `fused`: the first three stages of an EfficientNetV2, without any depthwise convolution.
- `regnetx`: three stages of RegNetX's blocks with groups of 16.
- `convnext`: three stages over 2x2 patches. Kernels are 3x3, since larger depthwise ones cost several times as much here, and
  layer scale starts at 1, since a short training has no time to let it grow.

All are ours: nothing is published about them, so there are counts and no accuracy.
"""

from typing import Any

from paretina.model.activations.pointwise import GELU, ReLU, SiLU
from paretina.model.blocks.conv_pool import ConvPool
from paretina.model.blocks.convnext import ConvNeXt
from paretina.model.blocks.fused_mbconv import FusedMBConv
from paretina.model.blocks.resnet import Basic, Bottleneck
from paretina.model.blueprint import Block, Blueprint, Preprocessing, Stage, Stem
from paretina.model.family import Published
from paretina.model.heads.max_pool import MaxPoolHead
from paretina.model.heads.norm_pool import NormPoolHead
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.norms.channel import ChannelNorm
from paretina.model.stems.conv import ConvStem
from paretina.model.stems.patch import PatchStem

Row = tuple[Block, int, int, int]
"""Block, depth, width, stride."""


def small(stem: Stem, *rows: Row, **others: Any) -> Blueprint:
    """A table with what all share, so far as it is not among the `others`; nothing of a small picture is cut off."""
    shared = {"head": PoolHead(), "norm": BatchNorm(), "activation": ReLU()}
    return Blueprint(
        source="ours",
        resolution=64,
        stem=stem,
        stages=tuple(Stage(block=block, depth=depth, width=width, stride=stride) for block, depth, width, stride in rows),
        preprocessing=Preprocessing(crop=1.0, fit="squash", interpolation="bilinear"),
        **(shared | others),
    )


def resnet9(width: int, step: int) -> Blueprint:
    return small(
        ConvStem(width=width, step=step),
        (ConvPool(), 1, 2 * width, 2),
        (Basic(), 1, 2 * width, 1),
        (ConvPool(), 1, 4 * width, 2),
        (ConvPool(), 1, 8 * width, 2),
        (Basic(), 1, 8 * width, 1),
        head=MaxPoolHead(),
    )


def plain4(width: int) -> Blueprint:
    row = FusedMBConv(expand=1)  # with a stride it is one convolution without a shortcut
    rows = ((row, 1, width * 2**stage, 2) for stage in (1, 2, 3))
    return small(ConvStem(width=width), *rows)


def resnet8(width: int, step: int) -> Blueprint:
    return small(
        ConvStem(width=width, step=step), (Basic(), 1, width, 1), (Basic(), 1, 2 * width, 2), (Basic(), 1, 4 * width, 2)
    )


def resnet18(width: int, step: int) -> Blueprint:
    rows = ((Basic(), 2, width * 2**stage, min(2, stage + 1)) for stage in range(4))
    return small(ConvStem(width=width, step=step), *rows)


def fused(width: int, step: int) -> Blueprint:
    return small(
        ConvStem(width=width, step=step),
        (FusedMBConv(expand=1), 1, width, 1),
        (FusedMBConv(expand=4), 2, 2 * width, 2),
        (FusedMBConv(expand=4), 2, 4 * width, 2),
        activation=SiLU(),
    )


def regnetx(width: int, step: int) -> Blueprint:
    block = Bottleneck(squeeze=1, group_width=16)
    return small(ConvStem(width=width, step=step), (block, 1, width, 1), (block, 2, 2 * width, 2), (block, 3, 4 * width, 2))


def convnext(width: int) -> Blueprint:
    block = ConvNeXt(kernel=3, layer_scale=1.0)
    rows = ((block, 2, width, 1), (block, 2, 2 * width, 2), (block, 2, 4 * width, 2))
    stem = PatchStem(width=width, patch=2, norm=True)
    return small(stem, *rows, head=NormPoolHead(), norm=ChannelNorm(eps=1e-6), activation=GELU())


def ours(name: str, blueprint: Blueprint, params: int, macs: float) -> Published:
    return Published(name, "small", blueprint, params, macs, note="ours")


NETWORKS = (
    ours("resnet9_w16", resnet9(16, 1), 540_664, 0.09627),
    ours("resnet9_w16_s2", resnet9(16, 2), 540_664, 0.02416),
    ours("resnet9_w24", resnet9(24, 1), 1_118_080, 0.21518),
    ours("resnet9_w24_s2", resnet9(24, 2), 1_118_080, 0.05394),
    ours("resnet9_w32", resnet9(32, 1), 1_900_552, 0.38128),
    ours("resnet9_w32_s2", resnet9(32, 2), 1_900_552, 0.09551),
    ours("resnet9_w64", resnet9(64, 1), 7_081_000, 1.51754),
    ours("resnet9_w64_s2", resnet9(64, 2), 7_081_000, 0.37977),
    ours("plain4_w24_s2", plain4(24), 412_096, 0.00882),
    ours("plain4_w48_s2", plain4(48), 1_258_648, 0.03356),
    ours("resnet8_w16", resnet8(16, 1), 142_392, 0.05007),
    ours("resnet8_w16_s2", resnet8(16, 2), 142_392, 0.01256),
    ours("resnet8_w32", resnet8(32, 1), 436_360, 0.19660),
    ours("resnet8_w32_s2", resnet8(32, 2), 436_360, 0.04925),
    ours("resnet8_w64", resnet8(64, 1), 1_482_024, 0.77909),
    ours("resnet8_w64_s2", resnet8(64, 2), 1_482_024, 0.19496),
    ours("resnet18_w16", resnet18(16, 1), 829_176, 0.14031),
    ours("resnet18_w16_s2", resnet18(16, 2), 829_176, 0.03517),
    ours("resnet18_w32", resnet18(32, 1), 3_052_040, 0.55744),
    ours("resnet18_w32_s2", resnet18(32, 2), 3_052_040, 0.13955),
    ours("fused_w16", fused(16, 1), 330_456, 0.11823),
    ours("fused_w16_s2", fused(16, 2), 330_456, 0.02960),
    ours("fused_w24", fused(24, 1), 692_752, 0.26463),
    ours("fused_w24_s2", fused(24, 2), 692_752, 0.06623),
    ours("fused_w32", fused(32, 1), 1_186_760, 0.46923),
    ours("fused_w32_s2", fused(32, 2), 1_186_760, 0.11740),
    ours("regnetx_w32", regnetx(32, 1), 328_648, 0.11849),
    ours("regnetx_w32_s2", regnetx(32, 2), 328_648, 0.02972),
    ours("regnetx_w64", regnetx(64, 1), 889_768, 0.36280),
    ours("regnetx_w64_s2", regnetx(64, 2), 889_768, 0.09089),
    ours("convnext_w24_s2", convnext(24), 320_464, 0.03184),
    ours("convnext_w32_s2", convnext(32), 523_208, 0.05608),
    ours("convnext_w48_s2", convnext(48), 1_073_080, 0.12501),
)
