"""Determines the role and the place of every parameter.

Optimizers, weight decay and clipping select parameters by role and place, never by parsing names. The role follows from the
type of the module that owns the parameter; a module with parameters of its own declares `ROLES`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from paretina.model.build import Network

Role = Literal["kernel", "bias", "norm", "proxy", "table", "token", "scale"]

KERNELS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
NORMS = (*BATCH_NORMS, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Owned:
    """The role and place of a parameter.

    Attributes:
        role: kernel (of a convolution or linear layer), bias, norm (scale or shift of a norm), proxy (of a proxy norm), table
            (positions, attention biases), token, or scale (one factor a channel).
        place: the part it belongs to: stem, stages.N or head of the network that it is in; outside of any network the
            name of what holds it.
        network: path of that network inside the given module, such as "network" or "members.1"; "" for the module itself,
            and outside of any network.
    """

    role: Role
    place: str
    network: str = ""


def role_of(module: nn.Module, name: str) -> Role:
    """The role of a module's own parameter `name`.

    Raises:
        TypeError: the module's type is unknown and declares no ROLES.
    """
    declared = getattr(module, "ROLES", {})
    if name in declared:
        return declared[name]  # type: ignore[no-any-return]
    if isinstance(module, NORMS):
        return "norm"
    if isinstance(module, KERNELS):
        return "kernel" if name == "weight" else "bias"
    raise TypeError(f"{type(module).__name__}.{name} has no role; declare ROLES = {{{name!r}: ...}} in {type(module).__name__}")


def roles(module: nn.Module) -> dict[str, Owned]:
    """Role and place of each parameter of a module, by the names of `named_parameters`."""
    found: dict[str, Owned] = {}
    seen: set[int] = set()
    networks = {id(each): name for name, each in networks_in(module)}
    inside: dict[str, str] = {}  # by the name of a module, that of the innermost network around it
    for prefix, owner in module.named_modules():
        around = prefix.rpartition(".")[0]
        if id(owner) in networks:
            inside[prefix] = prefix
        elif prefix and around in inside:
            inside[prefix] = inside[around]
        for name, parameter in owner.named_parameters(recurse=False):
            if id(parameter) not in seen:  # shared parameters are named once, as in named_parameters
                seen.add(id(parameter))
                path = f"{prefix}.{name}" if prefix else name
                network = inside.get(prefix)
                if network is None:
                    found[path] = Owned(role_of(owner, name), path.partition(".")[0])
                else:
                    found[path] = Owned(role_of(owner, name), place_of(path[len(network) :].lstrip(".")), network)
    return found


def networks_in(module: nn.Module) -> Iterator[tuple[str, Network]]:
    """The networks inside a module with their names, a network inside another one too; itself is named ""."""
    for name, each in module.named_modules():
        if isinstance(each, Network):
            yield name, each


def place_of(path: str) -> str:
    """The part of a network that holds a parameter, by the parameter's name in that network."""
    first, _, rest = path.partition(".")
    number = rest.partition(".")[0]
    return f"{first}.{number}" if first == "stages" and number.isdecimal() else first
