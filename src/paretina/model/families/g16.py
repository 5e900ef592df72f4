"""G16-EfficientNet B0 to B5: groups of 16 channels, expansion 4, layer norm with proxy norm, at native and half resolution.

Source: Masters et al. 2021 (arXiv:2106.03640); code and figure in graphcore-research, Making_EfficientNet_More_Efficient.
Faster to train than EfficientNet at equal accuracy on the authors' hardware, although MACs are higher. The half resolutions
have about half of the pixels, and the same remainder modulo 32, as a network needs that is trained at one and tested at the
other; B2's is the 196 of the released configuration (the table beside it has 192). Parameters and MACs are counted from the
released definition.

Top-1 is read off the authors' figure, which has no numbers: within 0.03. They fine-tuned each network for two epochs at the
size of the test, which the figure does not state for those trained at half resolution.

Proxy norm is the subject of patent application WO 2023/052547 (`norms/proxy.py`). `Regroup()` of an EfficientNet, with
another norm, does without it.
"""

from dataclasses import replace

from paretina.model.blueprint import Blueprint, Initialisation
from paretina.model.edits.regroup import Regroup
from paretina.model.families.efficientnet import B0, B1, B2, B3, B4, B5
from paretina.model.family import Published
from paretina.model.norms.proxy import ProxyNorm


def g16(blueprint: Blueprint) -> Blueprint:
    """The G16 network of an EfficientNet level."""
    return replace(
        Regroup()(blueprint),
        norm=ProxyNorm(eps=1e-3),
        initialisation=Initialisation(conv="fan_out", linear="glorot"),
        source="arXiv:2106.03640",
    )


def at(resolution: int, blueprint: Blueprint) -> Blueprint:
    """A network at another resolution, with the crop that belongs to it."""
    return replace(
        blueprint, resolution=resolution, preprocessing=replace(blueprint.preprocessing, crop=resolution / (resolution + 32))
    )


G16_B0, G16_B1, G16_B2, G16_B3, G16_B4, G16_B5 = map(g16, (B0, B1, B2, B3, B4, B5))

NATIVE = "digitised from the authors' figure (within 0.03), LN + PN, fine-tuned for 2 epochs"
HALF = f"{NATIVE}, trained at half resolution; size of the test not stated"

NETWORKS = (
    Published("g16_efficientnet_b0", "g16_efficientnet", G16_B0, 5_938_484, 0.6347, top1=79.42, note=NATIVE),
    Published("g16_efficientnet_b1", "g16_efficientnet", G16_B1, 8_368_344, 1.1117, top1=81.34, note=NATIVE),
    Published("g16_efficientnet_b2", "g16_efficientnet", G16_B2, 9_543_570, 1.5225, top1=81.81, note=NATIVE),
    Published("g16_efficientnet_b3", "g16_efficientnet", G16_B3, 12_641_768, 2.7309, top1=82.62, note=NATIVE),
    Published("g16_efficientnet_b4", "g16_efficientnet", G16_B4, 19_401_000, 6.1832, top1=83.39, note=NATIVE),
    Published("g16_efficientnet_b5", "g16_efficientnet", G16_B5, 28_815_624, 13.5012, top1=84.05, note=NATIVE),
    Published("g16_efficientnet_b0_half", "g16_efficientnet", at(160, G16_B0), 5_938_484, 0.3246, top1=78.30, note=HALF),
    Published("g16_efficientnet_b1_half", "g16_efficientnet", at(176, G16_B1), 8_368_344, 0.6060, top1=80.50, note=HALF),
    Published("g16_efficientnet_b2_half", "g16_efficientnet", at(196, G16_B2), 9_543_570, 0.8909, top1=81.18, note=HALF),
    Published("g16_efficientnet_b3_half", "g16_efficientnet", at(204, G16_B3), 12_641_768, 1.2907, top1=81.97, note=HALF),
    Published("g16_efficientnet_b4_half", "g16_efficientnet", at(252, G16_B4), 19_401_000, 2.7430, top1=82.99, note=HALF),
    Published("g16_efficientnet_b5_half", "g16_efficientnet", at(328, G16_B5), 28_815_624, 7.0965, top1=83.81, note=HALF),
)
