"""First: the values that a network starts with, and how long its norms remember them."""

import math
import zlib
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from paretina.model.blueprint import Model
from paretina.model.build import Network
from paretina.model.rows import class_tensors, start_small
from paretina.model.weights import Loaded, Start, load_start
from paretina.text import how_many
from paretina.train.recipe import Recipe

FORGOTTEN = 10.0
"""A share of exp(-10) is left after a run of the statistics that its norms start with: less than 1 % of 1 where the variance
is 0.01. Those of trained weights are forgotten like others: with exp(-3) of them left, a network that was fine-tuned on darker
pictures stayed at chance in evaluation."""


def first_values(network: Network, start: Start | None, classes: Sequence[str]) -> Loaded | None:
    """Gives a new network the values that its training begins with, in place; returns what became of the weights, if any.

    Args:
        classes: names of the network's classes; those that the weights know keep their rows of the last layer.

    Raises:
        ValueError: the weights do not fit.
    """
    if start is None:
        start_small(network)
        return None
    # with the seed of the run that made the weights, new rows would be those that its own classes started from
    last = [start.state[name] for name in class_tensors(network.model) if name in start.state]
    drawn = zlib.crc32(b"".join(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes() for tensor in last))
    start_small(network, torch.Generator().manual_seed(torch.initial_seed() + drawn))
    return load_start(network, start, classes)


def start_notes(start: Start, model: Model, loaded: Loaded, recipe: Recipe) -> tuple[str, ...]:
    """What the user should know of weights to start from, a sentence each.

    Args:
        model: of the network that starts from them.
        loaded: what became of them there.

    Raises:
        ValueError: something that starts anew is not to learn.
    """
    frozen = recipe.frozen_parts(model)
    if loaded.rows.new and "head" in frozen:
        raise ValueError(f"the head is frozen, but {loaded.rows.said()}; leave 'head' out of frozen")
    if idle := [part for part in loaded.new if part.endswith(tuple(frozen))]:
        raise ValueError(f"{', '.join(idle)} is frozen, but the weights do not have it; leave it out of frozen")
    return (*loaded.notes(), *different_notes(start, model))


def different_notes(start: Start, model: Model) -> tuple[str, ...]:
    """A warning where weights come from a network that computes something else with them."""
    for own, given in zip(model.blueprints(), start.model.blueprints(), strict=False):
        fields = [name for name in ("padding", "norm", "activation") if getattr(own, name) != getattr(given, name)]
        if fields:
            wrong = ", ".join(f"{name} {getattr(given, name)} instead of {getattr(own, name)}" for name in fields)
            return (f"warning: the weights were trained in a network with {wrong}",)
    return ()


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


def memory_notes(model: Model, recipe: Recipe, updates: int) -> tuple[str, ...]:
    """Says it where `set_memory` does not leave the recipe's momentum as it is; nothing where no norm of the network moves."""
    least = least_momentum(updates * recipe.accumulate)
    network = model.build("meta")
    network.freeze(recipe.frozen_parts(model))
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
