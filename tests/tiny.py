"""A network that is small enough to be built and trained hundreds of times, whatever a test needs to change of it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from paretina.model.activations.pointwise import SiLU
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.conv import ConvStem


def row(depth: int, width: int, stride: int, kernel: int = 3) -> Stage:
    """A stage of inverted residuals."""
    return Stage(block=MBConv(expand=2, kernel=kernel), depth=depth, width=width, stride=stride)


def tiny_blueprint(*stages: Stage, **fields: Any) -> Blueprint:
    """A network for 16 pixels and 3 classes.

    Args:
        stages: default: one, of one block.
        fields: of the blueprint, in place of what stands here.
    """
    usual = {
        "source": "tests",
        "resolution": 16,
        "stem": ConvStem(width=8),
        "head": PoolHead(),
        "norm": BatchNorm(),
        "activation": SiLU(),
        "classes": 3,
    }
    return Blueprint(stages=stages or (row(1, 8, 2),), **{**usual, **fields})


def noise_npz(path: Path, train: int, val: int, side: int = 16, contrast: int = 0) -> str:
    """Writes pictures of noise of three classes, a, b and c, as arrays; returns the path.

    Args:
        contrast: by how much each class is brighter than the one before, up to 70.
    """
    random, labels = np.random.default_rng(0), np.arange(train + val) % 3
    images = random.random((train + val, side, side, 3)) * (255 - 2 * contrast) + contrast * labels[:, None, None, None]
    split = ["train"] * train + ["val"] * val
    np.savez(path, images=images.astype(np.uint8), labels=labels, split=split, classes=["a", "b", "c"])
    return str(path)


GROWING = ("bimlp", "wave_mlp")
"""Families in which maps grow, and with them phases whose cosines are taken, unless norms have the statistics of the maps."""


def with_own_statistics(network: torch.nn.Module, images: torch.Tensor) -> torch.nn.Module:
    """A network whose batch norms have the statistics of these images, in evaluation; changed in place."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
    for norm in norms:
        norm.momentum = 0.1
    return network.eval()
