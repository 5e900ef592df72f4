"""BiMLP S and M: networks for layers whose weights and inputs are signs.

Source: Xu et al. 2022 (arXiv:2212.14158); depths, widths and the order of layers as in the released code. As OPs, bit
operations / 64 and MACs of floats, S has 0.155 G and M 0.187 G, where the paper says 0.156 and 0.188. MACs in tables count each
product of signs as one. Parameters are ours, without biases before norms. Top-1 is that of the released weights (MindSpore),
whose inputs have three values, -1, 0 and 1: `model.quantiser.ternary=true`; no recipe of their training was published.
"""

from paretina.model.activations.rprelu import RPReLU
from paretina.model.blocks.bimlp import BiMlp
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.family import Published
from paretina.model.heads.map_norm import MapNormHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.quantisers.binary import Binary
from paretina.model.stems.conv import ConvStem

WIDTHS = (64, 128, 320, 512)


def bimlp(depths: tuple[int, int, int, int], widths: tuple[int, int, int, int] = WIDTHS) -> Blueprint:
    """The blueprint of a BiMLP; stem, the convolutions between stages and the classifier are floats."""
    rows = zip(depths, widths, (1, 2, 2, 2), strict=True)
    return Blueprint(
        source="arXiv:2212.14158",
        resolution=224,
        stem=ConvStem(width=widths[0], kernel=7, step=4),
        stages=tuple(Stage(block=BiMlp(), depth=depth, width=width, stride=stride) for depth, width, stride in rows),
        head=MapNormHead(),
        norm=BatchNorm(),
        activation=RPReLU(),
        quantiser=Binary(float_ends=True),
    )


S = bimlp((2, 2, 4, 2))
M = bimlp((2, 3, 10, 3))

README = "released weights, which are ternary (mindspore-ai/models README)"

NETWORKS = (
    Published("bimlp_s", "bimlp", S, 15_782_268, 2.3618),
    Published("bimlp_m", "bimlp", M, 29_574_284, 4.4293, top1=71.56, note=README),
)
