"""Feasible: whether a run can be begun at all; looked at without values, before anything is read or written."""

import functools
import warnings
from collections.abc import Iterable, Mapping

import torch

from paretina.data.bounds import check_run
from paretina.data.damage import allowing, is_too_much
from paretina.model.blueprint import LARGEST, Model
from paretina.model.roles import roles
from paretina.model.sizes import size_fault
from paretina.model.task import Task
from paretina.text import how_many, printable
from paretina.train.asked import Asked
from paretina.train.learning import Learning
from paretina.train.objective import Teacher
from paretina.train.recipe import Recipe
from paretina.train.tasks import check_logits


def check_asked(asked: Asked) -> None:
    """Looks whether a run can be begun, as far as that can be told without its data.

    Raises:
        ValueError: an edit does not fit, the network does not take images of a size that the run has, a schedule leaves its
            range, what learns cannot be set up, or parts are not to learn and there are no weights to start from.
    """
    recipe, model = asked.recipe, asked.assembled()
    check_sizes(model, asked.sides())
    recipe.learning.frozen_parts(model)
    recipe.objective.check(recipe, model)
    check_run(recipe, recipe.epochs)
    if recipe.learning.needs_weights and not asked.starts():
        raise ValueError(
            f"this recipe leaves parts of the network as they are, and there are no weights to start from: it starts "
            f"{asked.start()[1]}. Give a model file with --weights, choose the recipe scratch, or let all parts learn: "
            "frozen_stride=0 frozen=[] trainable_stages=none"
        )
    if recipe.teacher is None:
        check_learner(recipe, model)


@functools.lru_cache(maxsize=64)
def check_learner(recipe: Recipe, model: Model, teacher: Teacher | None = None) -> None:
    """Sets up without values what a run sets up before its first update: parts that do not learn, objective, groups, clipping.

    Raises:
        ValueError: a part is not there, nothing learns, or a number does not fit.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is to be said is said when the run begins
        network = model.build("meta")
        recipe.learning.apply(network)
        learner = recipe.objective.make(network, teacher)
        recipe.optimizer.make(recipe.learning.groups(learner, recipe.optimizer))
        owned = roles(learner)
        if recipe.clip:
            recipe.clip.choose(learner.named_parameters(), lambda name: owned[name].place)


def check_parts(asked: Asked, model: Model, pictures: int, ranks: int) -> None:
    """Looks whether the network can learn from the smallest part of an update that there will be.

    Args:
        pictures: number of those that are trained on.

    Raises:
        ValueError: there are more parts than pictures, or a norm in it sees a single value of each channel, which is nothing
            to take a variance of.
    """
    recipe = asked.recipe
    part = recipe.updates(pictures).smallest_part(ranks * recipe.accumulate)
    side = min(asked.sides())
    try:
        learn_from(model, recipe.learning, part, side)
    except ValueError as error:
        cut = f", cut into {ranks * recipe.accumulate} parts (processes times accumulate)" * (ranks * recipe.accumulate > 1)
        raise ValueError(
            f"this network cannot learn from {how_many(part, 'picture')} of {side} x {side} pixels at a time "
            f"(batch_size={recipe.batch_size}, {how_many(pictures, 'picture')}{cut}): {error}. "
            f"Raise {'batch_size, lower accumulate' if cut else 'batch_size'}, or take larger images"
        ) from None


@functools.lru_cache(maxsize=64)
def learn_from(model: Model, learning: Learning, pictures: int, side: int) -> None:
    """Sends so many pictures through a network in training, without values.

    Raises:
        ValueError: a norm takes no variance of so few.
    """
    network = model.build("meta")
    learning.apply(network)
    network.train()(torch.empty(pictures, model.channels, side, side, device="meta"))


def check_sizes(model: Model, sides: Iterable[int]) -> None:
    """Sends images of each size through the network, without values, before anything is read or trained.

    Raises:
        ValueError: the network refuses one of them.
    """
    if min(sides) < 1:
        raise ValueError(f"images must have a side of 1 pixel or more at every update, got {min(sides)}")
    if max(sides) > LARGEST:
        raise ValueError(f"images must have a side of at most {LARGEST} pixels at every update, got {max(sides)}")
    takes(model, frozenset(sides))


@functools.lru_cache(maxsize=64)
def takes(model: Model, sides: frozenset[int]) -> None:
    """As `check_sizes`; most changes leave the network as it is, so each is tried once."""
    network = model.build("meta").eval()
    for side in sorted(sides):
        if fault := size_fault(network, side):
            raise ValueError(fault)


@functools.lru_cache(maxsize=64)
def check_answers(model: Model, sides: frozenset[int], task: Task) -> None:
    """Looks whether a network answers images of each size as the task of the data wants.

    Raises:
        ValueError: it does not.
    """
    network = model.build("meta").eval()
    for side in sorted(sides):
        logits = network(torch.empty(1, model.channels, side, side, device="meta"))
        check_logits(logits, model.classes, side, task, type(getattr(model, "head", model)).__name__)


def check_damage(damaged: Mapping[str, str], count: int, most: float) -> None:
    """Looks whether enough pictures can be read.

    Args:
        damaged: why each of them cannot, by name.
        count: number of all pictures.
        most: share of them that may be damaged.

    Raises:
        ValueError: more are; the message names them.
    """
    if is_too_much(len(damaged), count, most):
        listed = "\n".join(f"  {printable(f'{name}: {reason}')}" for name, reason in list(damaged.items())[:50])
        more = f"\n  and {len(damaged) - 50} more" if len(damaged) > 50 else ""
        raise ValueError(
            f"{len(damaged)} of {how_many(count, 'picture')} cannot be read, more than max_damaged={most:g} "
            f"allows:\n{listed}{more}\n"
            f"mend or remove them, or allow it with max_damaged={allowing(len(damaged), count):g}"
        )
