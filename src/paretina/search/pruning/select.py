"""Which channels stay: those that are worth the most for what they cost, until a share of the cost is left.

ChannelGroups are taken out in chunks, since kernels are fast at multiples of 8 or so. At each step that chunk goes whose
channels are worth the least for each unit of cost that they save, over all groups (a greedy knapsack, as in Shen et al.
2022, HALP, arXiv:2110.10811, section 3, without its look-up table). Where worth has no unit that all groups share, what a
chunk saves cannot be weighed against it, and that chunk goes whose channels are worth the least on average (the usual
global ranking).

What a chunk saves is predicted from what each convolution and linear layer costs today: its cost is taken to be
proportional to the channels that it reads and to those that it makes. That is exact for MACs and parameters of these layers
and a guess for time; so the cost of the result is counted or measured, and the choice is made again with another share
where it missed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from paretina.measure.parts import NetworkPart
from paretina.measure.roofline import time_parts
from paretina.model.build import Network
from paretina.model.fold import fastest_form
from paretina.search.pruning.channels import ChannelGroup, ChannelGroups, Kept, WidthPlace, channels_in

LEAST = 8
"""Share of a group's channels that stays in any case: one in so many."""


@dataclass(frozen=True)
class LayerCost:
    """What a layer costs, and which groups its two sides are of.

    Attributes:
        sides: names of groups, at most two; one of them twice where both sides are of it.
    """

    cost: float
    sides: tuple[str, ...]


@dataclass
class Selection:
    """ChannelGroups that are left, while others are taken out one chunk after the other.

    Attributes:
        multiple: channels of a chunk.
        order: of each part of a group the units (neighbours that go together), the least worth first.
        worth: of each group what the first n units of all its parts are worth together.
        shared: whether the worth of all groups has one unit.
        left: widths now.
    """

    channels: ChannelGroups
    layers: tuple[LayerCost, ...]
    multiple: int
    order: dict[str, tuple[Tensor, ...]]
    worth: dict[str, Tensor]
    shared: bool
    left: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        channels: ChannelGroups,
        layers: tuple[LayerCost, ...],
        scores: Mapping[str, tuple[Tensor, ...]],
        multiple: int,
        shared: bool = True,
    ) -> "Selection":
        order, worth = {}, {}
        for group in channels.groups:
            units = [part.view(-1, group.step).sum(1).sort() for part in scores[group.name]]
            order[group.name] = tuple(unit.indices for unit in units)
            summed = torch.stack([unit.values for unit in units]).mean(0).cumsum(0)
            worth[group.name] = torch.cat((summed.new_zeros(1), summed))
        left = {group.name: group.width for group in channels.groups}
        return cls(channels, layers, multiple, order, worth, shared, left)

    def predicted(self, changed: Mapping[str, int] | None = None) -> float:
        """The cost of the layers with the widths that are left, or with others of some groups."""
        width = {group.name: group.width for group in self.channels.groups}
        left = {**self.left, **(changed or {})}
        total = 0.0
        for layer in self.layers:
            cost = layer.cost
            for name in layer.sides:
                cost *= left[name] / width[name]
            total += cost
        return total

    def next_width(self, group: ChannelGroup) -> int | None:
        """The width that a group would have after the next chunk; None where nothing more may go."""
        chunk = max(group.step, self.multiple - self.multiple % group.step)
        least = max(chunk, -(-group.width // LEAST))
        width = (self.left[group.name] - 1) // chunk * chunk
        while width >= least and self.clashes(group, width):
            width -= chunk
        return width if width >= least else None

    def clashes(self, group: ChannelGroup, width: int) -> bool:
        """Whether two neighbouring maps would become as wide as each other, which would add a shortcut where there was none."""
        if group.hidden:
            return False
        now = {place: self.left[each.name] for each in self.channels.groups for place in each.places}
        now.update(dict.fromkeys(group.places, width))
        blueprint = self.channels.blueprint
        before, after = blueprint.stem.width, now.get(WidthPlace("stem"), blueprint.stem.width)
        for number, row in enumerate(blueprint.stages):
            wide = now.get(WidthPlace("stage", number), row.width)
            if row.stride == 1 and (before == row.width) != (after == wide):
                return True
            before, after = row.width, wide
        return False

    def lower(self, target: float) -> None:
        """Takes chunks out until the predicted cost is at most `target`, or nothing more may go."""
        while (now := self.predicted()) > target:
            best, found = float("inf"), None
            for group in self.channels.groups:
                width = self.next_width(group)
                if width is None:
                    continue
                gone = [(group.width - each) // group.step for each in (self.left[group.name], width)]
                worth = float(self.worth[group.name][gone[1]] - self.worth[group.name][gone[0]])
                saved = now - self.predicted({group.name: width})
                price = worth / saved if self.shared and saved > 0 else worth / (self.left[group.name] - width)
                if saved > 0 and price < best:
                    best, found = price, (group.name, width)
            if found is None:
                return
            self.left[found[0]] = found[1]

    def kept(self) -> Kept:
        """The numbers of the channels that are left, of the groups that lost some."""
        found = {}
        for group in self.channels.groups:
            gone = (group.width - self.left[group.name]) // group.step
            if gone:
                parts = (units[gone:].sort().values for units in self.order[group.name])
                found[group.name] = tuple(channels_in(units, group.step) for units in parts)
        return found


# --- what layers cost -------------------------------------------------------------------------------------------------------


def layer_costs(network: Network, channels: ChannelGroups, cost: str, images: Tensor) -> tuple[LayerCost, ...]:
    """What each convolution and linear layer costs.

    Args:
        network: in evaluation mode, unfolded.
        cost: "latency_ms", "macs" or "params".
        images: of the batch size that counts, as the network takes them.
    """
    own: dict[tuple[str, int], str] = {
        member: group.name for group in channels.groups for part in group.parts for member in part
    }
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    costs = COSTS[cost](network, names, images)
    found = []
    for name in names:
        sides = (own.get((f"{name}.weight", axis)) for axis in (0, 1))
        found.append(LayerCost(costs[name], tuple(side for side in sides if side is not None)))
    return tuple(found)


def times(network: Network, names: list[str], images: Tensor) -> dict[str, float]:
    """Milliseconds of each layer in inference form, with what runs between it and the layer before."""
    form = fastest_form(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=torch.channels_last)
    parts = [NetworkPart(name, "", form.get_submodule(name)) for name in names]
    with torch.inference_mode():
        return time_parts(parts, lambda: form(images), rounds=30, seconds=4.0)


def macs(network: Network, names: list[str], images: Tensor) -> dict[str, float]:
    found: dict[str, float] = {}
    hooks = []
    for name in names:

        def count(module: nn.Module, given: object, out: Tensor, name: str = name) -> None:
            weight = cast(Tensor, module.weight)
            found[name] = weight.numel() * out.numel() / weight.shape[0]

        hooks.append(network.get_submodule(name).register_forward_hook(count))
    try:
        with torch.inference_mode():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def params(network: Network, names: list[str], images: Tensor) -> dict[str, float]:
    return {name: float(network.get_submodule(name).weight.numel()) for name in names}  # type: ignore[operator, union-attr]


COSTS: dict[str, Callable[[Network, list[str], Tensor], dict[str, float]]] = {
    "latency_ms": times,
    "macs": macs,
    "params": params,
}
"""What can be lowered, by name."""
