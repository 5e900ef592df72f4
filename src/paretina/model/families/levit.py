"""LeViT-128S, 128, 192, 256 and 384: attention on the small maps behind a convolutional stem.

Source: Graham et al. 2021 (arXiv:2104.01136), table 2. The first block of the second and third stage is the shrinking
attention, so these have one block more than the table's depth. Parameters are counted with both classifiers, as published.
Top-1 is that of the released code's README: 1000 epochs with a teacher. In that code the last norm of each branch starts at
0, so that blocks begin as the identity; here it starts at 1 unless the recipe has `start.zero_gamma=on`.
"""

from paretina.model.activations.pointwise import HardSwish
from paretina.model.blocks.levit import Levit
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.family import Peer, Published
from paretina.model.heads.distilled import DistilledHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.levit import LevitStem


def levit(key: int, widths: tuple[int, ...], heads: tuple[int, ...], depths: tuple[int, ...] = (4, 4, 4)) -> Blueprint:
    """The table of a LeViT: width, heads and depth of each stage; `key` is the width of a key of one head."""
    rows = zip(widths, heads, depths, (1, 2, 2), strict=True)
    return Blueprint(
        source="arXiv:2104.01136, table 2",
        resolution=224,
        stem=LevitStem(width=widths[0]),
        stages=tuple(
            Stage(block=Levit(key=key, heads=count), depth=depth + (stride > 1), width=width, stride=stride)
            for width, count, depth, stride in rows
        ),
        head=DistilledHead(),
        norm=BatchNorm(),
        activation=HardSwish(),
    )


S128 = levit(16, (128, 256, 384), (4, 6, 8), (2, 3, 4))
L128 = levit(16, (128, 256, 384), (4, 8, 12))
L192 = levit(32, (192, 288, 384), (3, 5, 6))
L256 = levit(32, (256, 384, 512), (4, 6, 8))
L384 = levit(32, (384, 512, 768), (6, 9, 12))


def timm_names(blueprint: Blueprint) -> dict[str, str]:
    width_in = blueprint.stem.width
    tables: dict[str, str] = {}
    units = {f"stem.{i}": f"stem.conv{i + 1}" for i in range(4)}
    for number, stage in enumerate(blueprint.stages):
        adapts = stage.stride > 1 or stage.width != width_in
        for i in range(stage.depth):
            ours = f"stages.{number}.{i}"
            if adapts and i == 0:
                theirs = f"stages.{number}.downsample"
                attention, there = f"{ours}.attention", f"{theirs}.attn_downsample"
                units |= {f"{attention}.project_in": f"{there}.kv", f"{attention}.query": f"{there}.q.ln"}
            else:
                theirs = f"stages.{number}.blocks.{i - adapts}"
                attention, there = f"{ours}.attention.body", f"{theirs}.attn"
                units[f"{attention}.project_in"] = f"{there}.qkv"
            units[f"{attention}.project_out"] = f"{there}.proj.ln"
            units |= {f"{ours}.perceptron.body.{j}": f"{theirs}.mlp.ln{j + 1}" for j in range(2)}
            tables[f"{attention}.table"] = f"{there}.attention_biases"
        width_in = stage.width
    owners = {f"{ours}.conv": f"{theirs}.linear" for ours, theirs in units.items()}
    norms = {f"{ours}.norm": f"{theirs}.bn" for ours, theirs in units.items()}
    for ours, theirs in (("label", "head"), ("teacher", "head_dist")):
        norms[f"head.classifier.{ours}.norm"] = f"{theirs}.bn"
        tables |= {f"head.classifier.{ours}.linear.{field}": f"{theirs}.linear.{field}" for field in ("weight", "bias")}
    weights = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in owners.items()}
    fields = ("weight", "bias", "running_mean", "running_var")
    return weights | tables | {f"{ours}.{field}": f"{theirs}.{field}" for ours, theirs in norms.items() for field in fields}


NOTE = "released weights, distilled for 1000 epochs (facebookresearch/LeViT README)"


def published(name: str, blueprint: Blueprint, params: int, macs: float, top1: float) -> Published:
    return Published(name, "levit", blueprint, params, macs, top1=top1, note=NOTE, peers=(Peer("timm", name, timm_names),))


NETWORKS = (
    published("levit_128s", S128, 7_777_058, 0.3047, 76.6),
    published("levit_128", L128, 9_213_936, 0.4053, 78.6),
    published("levit_192", L192, 10_947_069, 0.6570, 80.0),
    published("levit_256", L256, 18_893_876, 1.1273, 81.6),
    published("levit_384", L384, 39_128_836, 2.3518, 82.6),
)
