"""Which channels of a network can be taken out together, and how that is done.

A width of a blueprint (of the stem, of a stage, inside a block, of the head) is read by many tensors: the convolution that
makes the channels, its norm, everything that adds to the same map, and everything that reads it. Which tensors those are is
not listed anywhere: the blueprint is built once more, without values, with the width made smaller, and the axes that became
shorter are the members of the group. An axis belongs to a group only if it had exactly that width and shrank by exactly as
much, so that its numbers are the channels themselves. A width that changes an axis in any other way (part of a
concatenation, the heads of an attention) cannot be pruned, and is named with the reason.

One kind of axis may follow: the inner width of a squeeze-and-excitation, which is a fraction of the block's input width.
Which of its rows stay is decided by their own magnitude.

Source: the grouping of Fang et al. 2023 (DepGraph, arXiv:2301.12900), read off blueprints in place of a traced graph.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from paretina.model.blueprint import Blueprint
from paretina.model.build import Network, materialise
from paretina.model.edits.narrow import Narrow, tensor_shapes
from paretina.model.layers import SqueezeExcite

STEPS = (1, 2, 4, 8, 16, 32, 64)
"""By how many channels a width is tried to be made smaller: grouped convolutions lose whole groups only."""

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class WidthPlace:
    """A width of a blueprint.

    Attributes:
        kind: "stem", "stage", "hidden" or "head".
        stage: number of the stage, from 0, where it is of one.
        block: number of the block in the stage, from 0, of a hidden width.
    """

    kind: str
    stage: int = 0
    block: int = 0

    def __str__(self) -> str:
        if self.kind == "stage":
            return f"stage {self.stage + 1}"
        return f"stage {self.stage + 1}, block {self.block + 1}" if self.kind == "hidden" else self.kind


@dataclass(frozen=True)
class ChannelGroup:
    """ChannelGroups that are taken out together.

    Attributes:
        places: the widths that are theirs; several where a plain shortcut adds one map to another.
        width: number of channels.
        step: how many neighbouring channels go together: those of one group of a grouped convolution.
        parts: names of tensors, with the axis whose numbers are the channels. Inside a block the two sides of a dense
            convolution can have the same width without being the same channels; each is a part of its own, and as many channels
            stay in each.
    """

    places: tuple[WidthPlace, ...]
    width: int
    step: int
    parts: tuple[tuple[tuple[str, int], ...], ...]

    @property
    def name(self) -> str:
        return " and ".join(map(str, self.places))

    @property
    def hidden(self) -> bool:
        """Whether nothing outside one block reads the channels."""
        return self.places[0].kind == "hidden"


@dataclass(frozen=True)
class ChannelGroups:
    """All that can be taken out of a network.

    Attributes:
        blueprint: with every hidden width written out, so that one width can change without the others.
        refused: why other widths cannot change, by their name.
    """

    blueprint: Blueprint
    groups: tuple[ChannelGroup, ...]
    refused: dict[str, str]

    def narrowed(self, widths: Mapping[str, int]) -> Blueprint:
        """The blueprint with other widths, by the names of groups.

        Raises:
            ValueError: the widths would add or remove a layer; see `Narrow`.
        """
        places = {place: widths[group.name] for group in self.groups for place in group.places if group.name in widths}
        return with_widths(self.blueprint, places)


def places_of(blueprint: Blueprint) -> dict[WidthPlace, int]:
    """Every width of a blueprint that can be set, with its channels."""
    found = {WidthPlace("stem"): blueprint.stem.width}
    width_in = blueprint.stem.width
    for number, row in enumerate(blueprint.stages):
        kept = getattr(row.wiring, "hidden", None)
        for block in range(row.depth if kept is not None else 0):
            enters = width_in if block == 0 else row.width
            width = (kept[block] if kept else 0) or row.block.hidden_width(enters, row.width)
            if width:
                found[WidthPlace("hidden", number, block)] = width
        found[WidthPlace("stage", number)] = row.width
        width_in = row.width
    if getattr(blueprint.head, "width", 0):
        found[WidthPlace("head")] = blueprint.head.width  # type: ignore[attr-defined]
    return found


def with_widths(blueprint: Blueprint, widths: Mapping[WidthPlace, int]) -> Blueprint:
    """The blueprint with other widths; see `Narrow`, which may refuse them."""
    rows = blueprint.stages
    hidden = tuple(
        tuple(widths.get(WidthPlace("hidden", number, block), 0) for block in range(row.depth))
        for number, row in enumerate(rows)
    )
    return Narrow(
        stem=widths.get(WidthPlace("stem"), 0),
        widths=tuple(widths.get(WidthPlace("stage", number), 0) for number in range(len(rows))),
        hidden=tuple(row if any(row) else () for row in hidden),
        head=widths.get(WidthPlace("head"), 0),
    ).edit(blueprint)


def channels_of(blueprint: Blueprint) -> ChannelGroups:
    """Finds what can be taken out of a network.

    Raises:
        ValueError: nothing can.
    """
    widths = places_of(blueprint)
    written = with_widths(blueprint, {place: width for place, width in widths.items() if place.kind == "hidden"})
    before = tensor_shapes(written)
    if before != tensor_shapes(blueprint):
        raise RuntimeError("a network changed when its hidden widths were written out")
    found, refused = [], {}
    borders = [place for place in widths if place.kind in ("stem", "stage")]
    tied: list[WidthPlace] = []
    for place in [each for each in widths if each not in borders] + borders:
        if place in tied:
            continue
        group, reason = grouped(written, before, (place,), widths[place])
        if group is None and place in borders:
            # a plain shortcut ties it to the borders that follow with the same width
            run = [place]
            for following in borders[borders.index(place) + 1 :]:
                if widths[following] != widths[place]:
                    break
                run.append(following)
                group, _ = grouped(written, before, tuple(run), widths[place])
                if group is not None:
                    tied += run
                    break
        if group is None:
            refused[str(place)] = reason
        else:
            found.append(group)
    channels = proven(ChannelGroups(written, tuple(found), refused))
    if not channels.groups:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in channels.refused.items())
        raise ValueError(f"no channels can be taken out of this network ({blueprint.source}): {reasons}")
    return channels


def grouped(
    blueprint: Blueprint, before: Shapes, places: tuple[WidthPlace, ...], width: int
) -> tuple[ChannelGroup | None, str]:
    """The group of some widths, or why they cannot change."""
    reason = "too few channels"
    for step in STEPS:
        if step >= width:
            break
        try:
            after = tensor_shapes(with_widths(blueprint, dict.fromkeys(places, width - step)))
        except ValueError as error:
            reason = str(error).partition(":")[0] if "would" in str(error) else str(error)
            continue
        members, reason = members_of(blueprint, before, after, width, step)
        if members:
            parts = parted(members) if places[0].kind == "hidden" else (members,)
            return ChannelGroup(places, width, step, parts), ""
    return None, reason


def members_of(
    blueprint: Blueprint, before: Shapes, after: Shapes, width: int, step: int
) -> tuple[tuple[tuple[str, int], ...], str]:
    """The axes that are the channels, or none and the first axis that changed otherwise."""
    squeezes = {axis for axes in squeezed(blueprint).values() for axis in axes}
    found = []
    for name, axis in changed(before, after):
        if before[name][axis] == width and after[name][axis] == width - step:
            found.append((name, axis))
        elif (name, axis) not in squeezes:
            sizes = f"{before[name][axis]} to {after[name][axis]}"
            return (), f"{name} would change from {sizes} where the width changes from {width} to {width - step}"
    return tuple(found), ""


def parted(members: tuple[tuple[str, int], ...]) -> tuple[tuple[tuple[str, int], ...], ...]:
    """The members of a hidden width, in order of the layers, split where a dense convolution leads to new channels."""
    parts: list[list[tuple[str, int]]] = [[]]
    both = {name for name, axis in members if axis == 1} & {name for name, axis in members if axis == 0}
    for name, axis in members:
        if name in both and axis == 0 and parts[-1]:
            parts[-1].append((name, 1))
            parts.append([(name, 0)])
        elif name not in both or axis == 0:
            parts[-1].append((name, axis))
    return tuple(map(tuple, parts))


def changed(before: Shapes, after: Shapes) -> Iterable[tuple[str, int]]:
    """The axes that differ."""
    for name, shape in before.items():
        for axis, size in enumerate(shape):
            if after[name][axis] != size:
                yield name, axis


@lru_cache(maxsize=8)
def squeezed(blueprint: Blueprint) -> dict[str, tuple[tuple[str, int], ...]]:
    """The axes of the inner width of each squeeze-and-excitation, by the name of that module."""
    axes = (("reduce.weight", 0), ("reduce.bias", 0), ("restore.weight", 1))
    return {
        name: tuple((f"{name}.{tensor}", axis) for tensor, axis in axes)
        for name, module in blueprint.build("meta").named_modules()
        if isinstance(module, SqueezeExcite)
    }


# --- taking out -------------------------------------------------------------------------------------------------------------


Kept = Mapping[str, tuple[Tensor, ...]]


def widths_of(kept: Kept) -> dict[str, int]:
    return {name: len(numbers[0]) for name, numbers in kept.items()}


def cut(network: Network, channels: ChannelGroups, kept: Kept) -> Network:
    """A copy of a network without some channels, in evaluation mode.

    Args:
        channels: of its blueprint.
        kept: numbers of the channels that stay, rising, for each part of a group, by the group's name; groups that are not
            named stay whole.

    Raises:
        ValueError: the widths would add or remove a layer.
    """
    found = channels.narrowed(widths_of(kept)).build("meta")
    wanted = {name: tuple(tensor.shape) for name, tensor in found.state_dict().items()}
    state = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    for group in channels.groups:
        for part, numbers in zip(group.parts, kept.get(group.name, ()), strict=False):
            for name, axis in part:
                state[name] = state[name].index_select(axis, numbers.to(state[name].device))
    for module, axes in squeezed(channels.blueprint).items():
        size = wanted[f"{module}.reduce.weight"][0]
        if size != len(state[f"{module}.reduce.weight"]):
            numbers = strongest(state, module, size)
            for name, axis in axes:
                state[name] = state[name].index_select(axis, numbers)
    materialise(found)
    found.load_state_dict({name: tensor.clone() for name, tensor in state.items()})
    return found.eval()


def strongest(state: Mapping[str, Tensor], module: str, size: int) -> Tensor:
    """The numbers of the inner channels of a squeeze-and-excitation with the largest weights, rising."""
    rows, columns = state[f"{module}.reduce.weight"].flatten(1), state[f"{module}.restore.weight"].flatten(1)
    return (rows.norm(dim=1) * columns.norm(dim=0)).topk(size).indices.sort().values


# --- the proof --------------------------------------------------------------------------------------------------------------


def proven(channels: ChannelGroups) -> ChannelGroups:
    """The channels without the groups whose numbers mean something else than channels, which are refused.

    An axis can have the right size by chance: half of a ghost module's output is derived from the other half. So a network with
    random values, in which everything that belongs to some channels is zero, must answer as the one without them. Norms that
    mix channels would change the answer in any case; they only scale and shift while this is tried.
    """
    networks = tuple(any_values(channels.blueprint, signed) for signed in (True, False))
    if agree(networks, channels):
        return channels
    refused, groups = dict(channels.refused), []
    for group in channels.groups:
        whole = replace(group, parts=(tuple(member for part in group.parts for member in part),))
        for each in dict.fromkeys((group, whole)):
            if agree(networks, replace(channels, groups=(each,))):
                groups.append(each)
                break
        else:
            refused[group.name] = "its numbers are not channels everywhere: the network answers otherwise without them"
    return replace(channels, groups=tuple(groups), refused=refused)


@torch.no_grad()
def any_values(blueprint: Blueprint, signed: bool) -> Network:
    """A network with random values in all tensors, in float64 and evaluation mode.

    Args:
        signed: values of both signs; few channels can all be cut off by a rectifier then. Otherwise all are positive, means
            that are subtracted are zero, and each layer takes averages.
    """
    network = blueprint.build("meta")
    materialise(network)
    random = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=random)
            fan = max(1, tensor[0].numel()) if tensor.ndim > 1 else 1
            if name.endswith("running_var"):
                values = values.abs() + 0.5
            elif signed:
                values /= fan**0.5
            else:
                values = torch.zeros_like(values) if name.endswith("running_mean") else values.abs() / fan
            tensor.copy_(values)
        else:
            tensor.zero_()
    return network.double().eval()


def agree(networks: Iterable[Network], channels: ChannelGroups) -> bool:
    """Whether networks without some channels answer as the whole ones do with zeros there, and one of them answers otherwise.

    Where the channels do not matter to the answer at all, equal answers prove nothing.
    """
    for network in networks:
        equal, matter = compared(network, channels)
        if not equal or matter:
            return equal
    return False


@torch.no_grad()
def compared(network: Network, channels: ChannelGroups) -> tuple[bool, bool]:
    """Whether a network without some channels answers as with zeros there, and whether that is another answer."""
    random = torch.Generator().manual_seed(1)
    kept = {}
    for group in channels.groups:
        count = group.width // group.step
        most = max(1, count - max(1, count // 4))
        units = [torch.randperm(count, generator=random)[:most].sort().values for _ in group.parts]
        kept[group.name] = tuple(channels_in(each, group.step) for each in units)
    try:
        small = cut(network, channels, kept).double()
    except (ValueError, RuntimeError):  # two widths became equal by chance, or a tensor does not fit
        return False, False
    side = channels.blueprint.resolution
    images = torch.rand(1, channels.blueprint.channels, side, side, generator=random, dtype=torch.float64)
    with UnmixedNorms():
        one, two, whole = small(images), silenced(network, channels, kept)(images), network(images)
    near = 1e-9 * float(two.abs().max())
    equal, unmoved = (torch.allclose(each, two, rtol=1e-6, atol=near) for each in (one, whole))
    return equal, not unmoved


def channels_in(units: Tensor, step: int) -> Tensor:
    """The numbers of the channels in some units of neighbours."""
    return (units[:, None] * step + torch.arange(step)).flatten()


class UnmixedNorms(TorchFunctionMode):
    """Lets norms over several channels only scale and shift."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.nn.functional.layer_norm, torch.nn.functional.group_norm):
            x, weight, bias = args[0], *(kwargs.get(name) for name in ("weight", "bias"))
            weight = args[2] if weight is None and len(args) > 2 else weight
            bias = args[3] if bias is None and len(args) > 3 else bias
            if weight is None or bias is None:
                return x
            shape = (1, -1, *[1] * (x.ndim - 2)) if func is torch.nn.functional.group_norm else (-1,)
            return x * weight.view(shape) + bias.view(shape)
        return func(*args, **kwargs)


@torch.no_grad()
def silenced(network: Network, channels: ChannelGroups, kept: Kept) -> Network:
    """A copy of a network of the same size, in which all that belongs to the channels that `cut` takes out is zero."""
    found = copy.deepcopy(network).eval()
    state = found.state_dict()
    for group in channels.groups:
        for part, numbers in zip(group.parts, kept.get(group.name, ()), strict=False):
            gone = torch.ones(group.width, dtype=torch.bool)
            gone[numbers] = False
            for name, axis in part:
                if not name.endswith("running_var"):
                    state[name].index_fill_(axis, gone.nonzero().flatten(), 0)
    wanted = tensor_shapes(channels.narrowed(widths_of(kept)))
    for module, axes in squeezed(channels.blueprint).items():
        size, whole = wanted[f"{module}.reduce.weight"][0], len(state[f"{module}.reduce.weight"])
        if size != whole:
            gone = torch.ones(whole, dtype=torch.bool)
            gone[strongest(state, module, size)] = False
            for name, axis in axes:
                state[name].index_fill_(axis, gone.nonzero().flatten(), 0)
    return found
