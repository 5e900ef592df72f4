"""What channels are worth: the interface of the ways to tell, and how numbers of single weights become those of channels."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from paretina.data.batch import Batch
from paretina.model.build import Network
from paretina.model.roles import roles
from paretina.search.pruning.channels import ChannelGroups
from paretina.spec import modules_in, near

COUNTED = ("kernel", "norm", "scale", "proxy")
"""Roles of the parameters that count; biases do not, as in the usual tools."""


class Importance(ABC):
    """A way to tell what single weights are worth.

    Attributes:
        NAME: on the command line.
        SOURCE: paper and section.
        BATCHES: whether it looks at training pictures.
        SHARED: whether numbers of different groups have the same unit; others are divided by the mean of their group.
    """

    NAME: ClassVar[str]
    SOURCE: ClassVar[str]
    BATCHES: ClassVar[bool]
    SHARED: ClassVar[bool]

    @abstractmethod
    def weights(self, network: Network, batches: Iterable[Batch]) -> Mapping[str, Tensor]:
        """A number, at least 0, for each element of each parameter, by name.

        Args:
            network: a copy of its own, on the CPU and in evaluation mode.
            batches: of training pictures, preprocessed as in evaluation.
        """


def channel_scores(
    importance: Importance, network: Network, channels: ChannelGroups, batches: Iterable[Batch] = ()
) -> dict[str, tuple[Tensor, ...]]:
    """What each channel of each part of a group is worth, by the group's name.

    That of a channel in a tensor is the sum over all that belongs to it; a part has the mean over its tensors (Fang et al.
    2023, arXiv:2301.12900, equation 5 without the learned weights).
    """
    worth = importance.weights(network, batches)
    counted = {name for name, owned in roles(network).items() if owned.role in COUNTED}
    found = {}
    for group in channels.groups:
        totals = [part_scores(worth, counted, part) for part in group.parts]
        found[group.name] = tuple(total if importance.SHARED else total / total.mean().clamp(min=1e-30) for total in totals)
    return found


def part_scores(worth: Mapping[str, Tensor], counted: set[str], part: tuple[tuple[str, int], ...]) -> Tensor:
    """The mean over the tensors of a part; (channel)."""
    sums = [
        worth[name].transpose(0, axis).flatten(1).sum(1) if worth[name].ndim > 1 else worth[name]
        for name, axis in part
        if name in counted and not name.endswith("bias")
    ]
    return torch.stack(sums).double().mean(0)


@cache
def importances() -> dict[str, Importance]:
    """The ways by name."""
    found: dict[str, Importance] = {
        module.METHOD.NAME: module.METHOD
        for module in modules_in("paretina.search.pruning.importances")
        if hasattr(module, "METHOD")
    }
    return dict(sorted(found.items()))


def importance_named(name: str) -> Importance:
    """The way of that name.

    Raises:
        ValueError: there is none.
    """
    known = importances()
    if name not in known:
        raise ValueError(f"there is no importance {name!r}{near(name, known)}")
    return known[name]
