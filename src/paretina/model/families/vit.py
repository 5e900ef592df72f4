"""ViT and DeiT, tiny, small and base, with patches of 16 x 16 pixels; DeiT also with a distillation token.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), table 1, for base; tiny and small: Touvron et al. 2020 (arXiv:2012.12877),
table 1. ViT and DeiT of one size are one network, trained differently: ViT on ImageNet-21k first, with other statistics at its
preprocessing; DeiT on ImageNet-1k alone. Top-1 of DeiT is that of the released code's README. That of ViT is of the
weights of Steiner et al. 2021 (arXiv:2106.10270), as timm measured it at 224 pixels and a crop of 0.9.
"""

from dataclasses import replace

from paretina.model.activations.pointwise import GELU
from paretina.model.blocks.encoder import Encoder
from paretina.model.blueprint import Blueprint, Initialisation, Preprocessing, Stage
from paretina.model.family import Peer, Published
from paretina.model.heads.token import TokenHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.patch import PatchStem
from paretina.model.wirings.tokens import Tokens


def deit(width: int, *, distilled: bool = False) -> Blueprint:
    """The table of a DeiT: twelve blocks of one width."""
    wiring = Tokens(distilled=distilled)
    return Blueprint(
        source="arXiv:2012.12877, table 1",
        resolution=224,
        stem=PatchStem(width=width, patch=16),
        stages=(Stage(block=Encoder(), depth=12, width=width, stride=1, wiring=wiring),),
        head=TokenHead(distilled=distilled),
        norm=BatchNorm(),  # of no block here; of what an edit may add
        activation=GELU(),
        initialisation=Initialisation(conv="normal", linear="normal"),
    )


def vit(width: int) -> Blueprint:
    """The same network with the preprocessing of ViT."""
    preprocessing = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop=0.9)
    return replace(deit(width), source="arXiv:2010.11929, table 1", preprocessing=preprocessing)


def timm_names(blueprint: Blueprint) -> dict[str, str]:
    owners = {"stem.conv": "patch_embed.proj", "head.norm": "norm"}
    for i in range(blueprint.stages[0].depth):
        attention, perceptron, theirs = (
            f"stages.0.blocks.{i}.attention.body",
            f"stages.0.blocks.{i}.perceptron.body",
            f"blocks.{i}",
        )
        owners |= {f"{attention}.norm": f"{theirs}.norm1", f"{perceptron}.0": f"{theirs}.norm2"}
        owners |= {f"{attention}.project_in": f"{theirs}.attn.qkv", f"{attention}.project_out": f"{theirs}.attn.proj"}
        owners |= {f"{perceptron}.1": f"{theirs}.mlp.fc1", f"{perceptron}.3": f"{theirs}.mlp.fc2"}
    tables = {"stages.0.class_token": "cls_token", "stages.0.positions": "pos_embed"}
    if blueprint.head == TokenHead(distilled=True):
        owners |= {"head.classifier.label": "head", "head.classifier.teacher": "head_dist"}
        tables["stages.0.distillation_token"] = "dist_token"
    else:
        owners["head.classifier"] = "head"
    return tables | {f"{ours}.{field}": f"{theirs}.{field}" for ours, theirs in owners.items() for field in ("weight", "bias")}


DEIT = "released weights (facebookresearch/deit README)"
DISTILLED = "released weights, distilled (facebookresearch/deit README)"
VIT = "weights of arXiv:2106.10270, ImageNet-21k first, measured by timm"


def published(name: str, blueprint: Blueprint, params: int, macs: float, top1: float, note: str) -> Published:
    peer = Peer("timm", f"{name}_patch16_224", timm_names)
    return Published(name, name.partition("_")[0], blueprint, params, macs, top1=top1, note=note, peers=(peer,))


NETWORKS = (
    published("vit_tiny", vit(192), 5_717_416, 1.2537, 75.45, VIT),
    published("vit_small", vit(384), 22_050_664, 4.5989, 81.40, VIT),
    published("vit_base", vit(768), 86_567_656, 17.5638, 84.53, VIT),
    published("deit_tiny", deit(192), 5_717_416, 1.2537, 72.2, DEIT),
    published("deit_small", deit(384), 22_050_664, 4.5989, 79.9, DEIT),
    published("deit_base", deit(768), 86_567_656, 17.5638, 81.8, DEIT),
    published("deit_tiny_distilled", deit(192, distilled=True), 5_910_800, 1.2610, 74.5, DISTILLED),
    published("deit_small_distilled", deit(384, distilled=True), 22_436_432, 4.6241, 81.2, DISTILLED),
    published("deit_base_distilled", deit(768, distilled=True), 87_338_192, 17.6568, 83.4, DISTILLED),
)
