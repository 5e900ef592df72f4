"""Wave-MLP T, S and M.

Source: Tang et al. 2022 (arXiv:2111.12294), table 1. Parameters and MACs are published with two digits (17 M and 2.4 G, 30 and
4.5, 44 and 7.9), which these networks have; the exact numbers are ours, without biases before norms. All norms are batch norms
here. Top-1 is that of the released README.
"""

from paretina.model.activations.pointwise import GELU
from paretina.model.blocks.wave import Wave
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.family import Published
from paretina.model.heads.map_norm import MapNormHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.conv import ConvStem

WIDTHS = (64, 128, 320, 512)


def wave_mlp(depths: tuple[int, int, int, int], expands: tuple[int, int, int, int] = (4, 4, 4, 4)) -> Blueprint:
    """The blueprint of a Wave-MLP.

    Args:
        depths: blocks of each stage.
        expands: hidden width of the MLPs of each stage, as a multiple of its width.
    """
    rows = zip(expands, depths, WIDTHS, (1, 2, 2, 2), strict=True)
    return Blueprint(
        source="arXiv:2111.12294, table 1",
        resolution=224,
        stem=ConvStem(width=WIDTHS[0], kernel=7, step=4),
        stages=tuple(
            Stage(block=Wave(expand=expand), depth=depth, width=width, stride=stride) for expand, depth, width, stride in rows
        ),
        head=MapNormHead(),
        norm=BatchNorm(),
        activation=GELU(),
    )


TINY = wave_mlp((2, 2, 4, 2))
SMALL = wave_mlp((2, 3, 10, 3))
MEDIUM = wave_mlp((3, 4, 18, 3), (8, 8, 4, 4))

README = "released weights (huawei-noah/Efficient-AI-Backbones README)"

NETWORKS = (
    Published("wave_mlp_t", "wave_mlp", TINY, 17_186_760, 2.4615, top1=80.9, note=README),
    Published("wave_mlp_s", "wave_mlp", SMALL, 30_696_520, 4.5220, top1=82.9, note=README),
    Published("wave_mlp_m", "wave_mlp", MEDIUM, 44_041_656, 7.8722, top1=83.3, note=README),
)
