"""Splits a network into a sequence of parts, to count and time each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import nn

from paretina.model.blueprint import Stage
from paretina.model.build import Combined, Network
from paretina.spec import field_map

T = TypeVar("T")

MOST = 0.6
"""Share of the parameters above which a part is too coarse, and is split further."""


@dataclass(frozen=True)
class NetworkPart:
    """
    Attributes:
        name: in tables.
        spec: its description.
        module: the module whose forward is called.
    """

    name: str
    spec: str
    module: nn.Module


@dataclass(frozen=True)
class Passage(Generic[T]):
    """The readings before and after a part in a run of the network.

    Attributes:
        name: of the part; "" for what runs after the last one.
        out: the output of the part.
    """

    name: str
    before: T
    behind: T
    out: Any


def parts_of(network: nn.Module) -> tuple[NetworkPart, ...]:
    """Stem, stages and head of each network in a Paretina network; the children of any other module.

    In other modules, a part with most of the parameters is split in turn.
    """
    if isinstance(network, Combined):
        names = {id(each): name for name, each in network.named_modules()}
        return tuple(
            NetworkPart(f"{names[id(each)]} {part.name}", part.spec, part.module)
            for each in network.networks()
            for part in parts_of(each)
        )
    if isinstance(network, Network):
        rows = zip(network.blueprint.stages, network.stages, strict=True)
        return (
            NetworkPart("stem", str(network.blueprint.stem), network.stem),
            *(
                NetworkPart(
                    f"stage {number}", f"{row.depth} x {row.block}{hidden_in(row)}{wired_in(row)}, stride {row.stride}", stage
                )
                for number, (row, stage) in enumerate(rows, 1)
            ),
            NetworkPart("head", str(network.blueprint.head), network.head),
        )
    whole = params_of(network)
    return tuple(NetworkPart(name, type(module).__name__, module) for name, module in taken_apart("", network, whole))


PLAIN = ("Chain", "Tokens")
"""Wirings that put the blocks one after the other."""


def wired_in(row: Stage) -> str:
    """How the blocks of a stage are put together, where that is not one after the other."""
    wiring = row.wiring
    if type(wiring).__name__ in PLAIN:
        return ""
    values = {name: getattr(wiring, name) for name in field_map(type(wiring)) if name != "hidden"}
    said = ", ".join(f"{name}={value}" for name, value in values.items() if value not in (False, (), None))
    return f" as {type(wiring).__name__}{f'({said})' if said else ''}"


def hidden_in(row: Stage) -> str:
    """The hidden widths of a stage whose blocks have their own; "" elsewhere."""
    hidden = [width for width in getattr(row.wiring, "hidden", ()) if width]
    if not hidden:
        return ""
    return f" with {min(hidden)}{f' to {max(hidden)}' if max(hidden) > min(hidden) else ''} hidden channels"


def taken_apart(prefix: str, module: nn.Module, whole: int) -> list[tuple[str, nn.Module]]:
    found: list[tuple[str, nn.Module]] = []
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        inner = [*child.children()]
        # a module list is never called itself; a block outside of a list is not split, however large
        listed = isinstance(child, nn.ModuleList)
        wrapped = params_of(child) == whole > 0
        large = isinstance(child, nn.Sequential) and params_of(child) > MOST * whole
        if inner and (listed or wrapped or large):
            found += taken_apart("" if wrapped else f"{path}.", child, whole)
        else:
            found.append((path, child))
    return found


def passages(parts: tuple[NetworkPart, ...], read: Callable[[], T], run: Callable[[], Any]) -> tuple[Any, list[Passage[T]]]:
    """Runs a network once and takes a reading at the boundary of each part; a passage is between two boundaries.

    So code that runs between two parts belongs to the later one.

    Args:
        parts: those of the network that `run` calls; one that is called twice has two passages.
        read: a clock, or a counter.
    """
    borders: list[tuple[str, T, Any]] = []
    hooks = []
    for part in parts:

        def passed(_: nn.Module, __: Any, out: Any, name: str = part.name) -> None:
            borders.append((name, read(), out))

        hooks.append(part.module.register_forward_hook(passed))
    try:
        last = read()
        result = run()
        borders.append(("", read(), None))
    finally:
        for hook in hooks:
            hook.remove()
    found = []
    for name, now, out in borders:
        found.append(Passage(name, last, now, out))
        last = now
    return result, found


def params_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
