"""The units of a network: its stem, each of its blocks at its place, and its head.

A search looks at thousands of tables of which most miss the budget. What a network costs is the sum over its units, of which
the networks of a space share most, so each unit is made once (on the meta device) and counted, and is timed once. No network is
built for that. Blocks of odd kernels leave a map of ceil(rows / stride) rows, whatever the padding.
"""

import functools
import hashlib
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from paretina.measure.cost import cost, counted, weight_bytes
from paretina.measure.parts import params_of
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Block, Blueprint, Chain, Head, Kit, MapShape, Model, NormUnit, Stem, each_narrowed
from paretina.model.build import initialise, materialise
from paretina.model.heads.pool import PoolHead
from paretina.model.layers import Normalise
from paretina.model.norms.batch import BatchNormUnit
from paretina.model.stems.conv import ConvStem
from paretina.spec import Spec, encode


@dataclass(frozen=True)
class PlacedUnit:
    """A stem, block or head with all that its cost depends on.

    Attributes:
        spec: a Stem, a Block or a Head.
        width_in: channels that come in.
        width_out: channels that leave a block; 0 for others.
        stride: of a block; 1 for others.
        rows: of the map, or image, that comes in.
        shared: a table with one row, which has all settings that blocks share.
        maps: of all borders, for a head.
    """

    spec: Stem | Block | Head
    width_in: int
    width_out: int
    stride: int
    rows: int
    shared: Blueprint
    maps: tuple[MapShape, ...] = ()

    @functools.cached_property
    def key(self) -> str:
        """A digest, the same in every process."""
        shared = self.shared
        said = [encode(self.spec), self.width_in, self.width_out, self.stride, self.rows, encode(shared.norm)]
        said += [encode(shared.activation), shared.padding, shared.resolution, shared.channels]
        said += [shared.classes, self.maps] if isinstance(self.spec, Head) else []
        return hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()

    def make(self, device: torch.device | str = "meta") -> nn.Module:
        """The module, with random weights unless it is on the meta device."""
        shared = self.shared
        image = (shared.resolution, shared.resolution)
        kit = Kit(shared.norm, shared.activation, shared.padding, (self.rows, self.rows), shared.channels, image=image)
        with torch.device("meta"):
            if isinstance(self.spec, Block):
                module: nn.Module = self.spec.make(self.width_in, self.width_out, self.stride, kit)
            elif isinstance(self.spec, Stem):
                # pixels are normalised before the stem
                preprocessing = shared.preprocessing
                module = nn.Sequential(Normalise(preprocessing.mean, preprocessing.std), self.spec.make(kit))
            else:
                module = OnLastMap(self.spec.make(self.maps, shared.classes, kit))
        shared.norm.connect(module)
        if torch.device(device).type != "meta":
            materialise(module)
            with torch.no_grad():
                initialise(module, shared.initialisation)
            module.to(device)
        return module.eval()

    def input(self, device: torch.device | str = "meta", batch: int = 1) -> torch.Tensor:
        """What comes in, of (batch, width_in, rows, rows): pixels for a stem, else random numbers."""
        shape = (batch, self.width_in, self.rows, self.rows)
        if isinstance(self.spec, Stem):
            return torch.zeros(shape, dtype=torch.uint8, device=device)
        return torch.empty(shape, device=device) if torch.device(device).type == "meta" else torch.randn(shape, device=device)


class OnLastMap(nn.Module):
    """A head that reads the last map alone."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: torch.Tensor) -> Any:
        return self.head([x], {})


def units_of(blueprint: Blueprint) -> tuple[PlacedUnit, ...] | None:
    """The units of a network in order; None where a wiring joins blocks in another way than one after the other."""
    if not all(type(row.wiring) is Chain for row in blueprint.stages):
        return None
    shared = shared_of(blueprint)
    found = [PlacedUnit(blueprint.stem, blueprint.channels, 0, 1, blueprint.resolution, shared)]
    rows, width = -(-blueprint.resolution // blueprint.stem.stride), blueprint.stem.width
    maps = [MapShape(width, (rows, rows), blueprint.border_strides[0])]
    for row, total in zip(blueprint.stages, blueprint.border_strides[1:], strict=True):
        stride = row.stride
        for block in each_narrowed(row.block, row.depth, row.wiring.hidden):  # type: ignore[attr-defined]
            found.append(PlacedUnit(block, width, row.width, stride, rows, shared))
            rows, width, stride = -(-rows // stride), row.width, 1
        maps.append(MapShape(width, (rows, rows), total))
    found.append(PlacedUnit(blueprint.head, width, 0, 1, rows, shared, tuple(maps)))
    return tuple(found)


PLAIN, STEM = MBConv(expand=1, kernel=3), ConvStem(width=8)


def shared_of(blueprint: Blueprint) -> Blueprint:
    """The settings that blocks share, as a table without most of its rows, so that tables with other rows are equal."""
    plain = replace(blueprint.stages[0], depth=1, width=8, stride=1, wiring=Chain(), block=PLAIN)
    return replace(blueprint, stages=(plain,), stem=STEM, head=PoolHead(), source="")


@functools.lru_cache(maxsize=100_000)
def counts_of_unit(unit: PlacedUnit) -> tuple[int, int, int, int]:
    """Parameters, MACs, activations and bytes of weights, of one image."""
    module, given = unit.make(), unit.input()
    params, stored = params_of(module), weight_bytes(module)
    without_norms(module)
    _, macs, activations = counted(lambda: module(given))
    return params, macs, activations, stored


def without_norms(module: nn.Module) -> None:
    """Replaces batch norms, with the activations after them, by nothing; in place.

    They have no multiply-adds and are no convolutions, but most of the time of counting is theirs.
    """
    for owner in list(module.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, BatchNormUnit):
                setattr(owner, name, PassedNorm())


class PassedNorm(NormUnit):
    """Stands where a norm was."""

    def centred(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


COUNTS = ("params", "macs", "activations", "weight_bytes")


def counts(model: Spec) -> dict[str, int]:
    """What a network costs for one image, counted: the same as `paretina.measure.cost.cost` gives, in less time."""
    units = units_of(model) if isinstance(model, Blueprint) else None
    if units is not None:
        try:
            sums = [sum(column) for column in zip(*map(counts_of_unit, units), strict=True)]
            return dict(zip(COUNTS, sums, strict=True))
        except (IndexError, KeyError, RuntimeError, TypeError):
            pass  # a head of several maps, or a block of even kernels: counted as a whole
    if not isinstance(model, Model):
        raise TypeError(f"only networks are counted, got {type(model).__name__}")
    found = cost(model)
    return {name: getattr(found, name) for name in COUNTS}
