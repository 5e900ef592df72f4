"""The universal cell segmenter: a U-Net of dense residual units, with group norm and ASPP, made for many kinds of cells at
once.

One network for pictures of different microscopes: group norm does not mix the statistics of different sets of pictures, and
ASPP sees far. It gives three classes of pixels, background, border and inside, of which objects are made (task `Instances`).

Pictures are read with three channels here, where the paper has one; `edits.Channels` makes it the network of the paper to the
parameter. The quarter network has a quarter of the width, for small machines. Other choices are fields: `head.aspp=off`,
`norm=BatchNorm`, and any other network can be the encoder: `--model efficientnet_lite0 head=UNetHead head.aspp=on`.

The sides of pictures are multiples of 16. Figures are counted with 1,000 classes, as those of all networks here; with three,
and one channel, there are 11,375,683 parameters, and 21.98 G multiply-adds at 272 pixels.

Source: Guo, Wang, Solorio & Allebach 2022 (arXiv:2207.14347).
"""

from paretina.model.activations.pointwise import ReLU
from paretina.model.blocks.dense_residual import DenseResidual
from paretina.model.blueprint import Blueprint, Preprocessing, Stage
from paretina.model.family import Published
from paretina.model.heads.unet import UNetHead
from paretina.model.norms.group import GroupNorm
from paretina.model.stems.full import FullStem


def universal(width: int, groups: int) -> Blueprint:
    """A table of the width of its first map; the last one has 16 times as many channels."""
    rows = (Stage(block=DenseResidual(), depth=1, width=width * 2**level, stride=2) for level in range(1, 5))
    return Blueprint(
        source="arXiv:2207.14347",
        resolution=272,
        stem=FullStem(width=width),
        stages=tuple(rows),
        head=UNetHead(width=width, block=DenseResidual(), enlarge="shuffle", aspp=True),
        norm=GroupNorm(groups=groups),
        activation=ReLU(),
        preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3, crop=1.0, fit="squash", interpolation="bilinear"),
    )


NETWORKS = (
    Published("universal_segmenter", "universal", universal(32, 8), 11_411_720, 24.572, note="paper, three channels"),
    Published("universal_segmenter_quarter", "universal", universal(8, 2), 723_008, 2.045, note="ours"),
)
