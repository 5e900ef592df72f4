"""First: the values that a network starts with, and how long its norms remember them."""

import math
import zlib
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from paretina.model.blueprint import Blueprint
from paretina.model.build import Network
from paretina.model.rows import class_tensors, start_small
from paretina.model.weights import Start, load_start
from paretina.train.recipe import Recipe
from paretina.words import how_many

FORGOTTEN = 10.0
"""A share of exp(-10) is left after a run of the statistics that its norms start with: less than 1 % of 1 where the variance
is 0.01. Those of trained weights are forgotten like others: with exp(-3) of them left, a network that was fine-tuned on darker
pictures stayed at chance in evaluation."""


def first_values(network: Network, start: Start | None, classes: Sequence[str]) -> None:
    """Gives a new network the values that its training begins with, in place.

    Args:
        classes: names of the network's classes; those that the weights know keep their rows of the last layer.

    Raises:
        ValueError: the weights do not fit.
    """
    if start is None:
        start_small(network)
        return
    # with the seed of the run that made the weights, new rows would be those that its own classes started from
    last = [start.state[name] for name in class_tensors(network.blueprint) if name in start.state]
    drawn = zlib.crc32(b"".join(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes() for tensor in last))
    start_small(network, torch.Generator().manual_seed(torch.initial_seed() + drawn))
    load_start(network, start, classes)


def start_notes(start: Start | None, blueprint: Blueprint, classes: Sequence[str], recipe: Recipe) -> tuple[str, ...]:
    """What the user should know of weights to start from, a sentence each.

    Args:
        blueprint: of the network that starts from them.

    Raises:
        ValueError: new rows of the last layer are not to learn.
    """
    if start is None:
        return ()
    rows = start.rows(classes)
    if rows.new and "head" in recipe.frozen_parts(blueprint):
        raise ValueError(f"the head is frozen, but {rows.said()}; leave 'head' out of frozen")
    fields = [name for name in ("padding", "norm", "activation") if getattr(blueprint, name) != getattr(start.blueprint, name)]
    wrong = ", ".join(f"{name} {getattr(start.blueprint, name)} instead of {getattr(blueprint, name)}" for name in fields)
    differs = (f"warning: the weights were trained in a network with {wrong}",) if wrong else ()
    return (rows.said(), *differs)


# --- running statistics -------------------------------------------------------------------------------------------------


def statistical(module: nn.Module) -> Iterator[nn.Module]:
    """The norms in a module that keep running statistics, of whatever kind: in buffers named running_*."""
    for each in module.modules():
        if hasattr(each, "momentum") and any(name.startswith("running_") for name, _ in each.named_buffers(recurse=False)):
            yield each


def least_momentum(passes: int) -> float:
    """The smallest share of a batch with which running statistics forget what they start with, in a run of so many batches.

    After n batches with a share m of each, (1 - m)^n of the start is left.
    """
    return -math.expm1(-FORGOTTEN / passes)


def set_memory(learner: nn.Module, recipe: Recipe, updates: int) -> None:
    """Sets how long every norm of everything that learns remembers: as the recipe says, but no longer than the run allows."""
    least = least_momentum(updates * recipe.accumulate) if recipe.bound_norm_memory else 0.0
    for norm in statistical(learner):
        norm.momentum = max(recipe.norm_momentum, least)  # type: ignore[assignment]


def memory_notes(blueprint: Blueprint, recipe: Recipe, updates: int) -> tuple[str, ...]:
    """Says it where `set_memory` does not leave the recipe's momentum as it is; nothing where no norm of the network moves."""
    least = least_momentum(updates * recipe.accumulate)
    network = blueprint.build("meta")
    network.freeze(recipe.frozen_parts(blueprint))
    network.steady = recipe.steady
    if (
        not recipe.bound_norm_memory
        or least <= recipe.norm_momentum
        or not any(norm.training for norm in statistical(network.train()))
    ):
        return ()
    return (
        f"norm_momentum={recipe.norm_momentum:g} remembers too long for a run of {how_many(updates, 'update')}, "
        "so running statistics of "
        f"norms take {least:.2g} of each batch instead",
    )
