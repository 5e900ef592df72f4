"""Checks on the meta device that a run can be trained, before anything is read or written."""

import copy
import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

from paretina.clock import START
from paretina.data.batch import Batch
from paretina.data.bounds import check_run
from paretina.data.damage import allowing, is_too_much
from paretina.model.blueprint import LARGEST, Model
from paretina.model.roles import roles
from paretina.model.sizes import size_fault
from paretina.model.task import Task
from paretina.run import model_in
from paretina.schedules import Constant
from paretina.spec import kinds
from paretina.text import how_many, printable
from paretina.train.asked import Asked
from paretina.train.learning import Learning
from paretina.train.objective import Learner, Objective, Teacher, Term
from paretina.train.recipe import Recipe
from paretina.train.remembered import check_remembered
from paretina.train.starting import check_linear
from paretina.train.tasks import check_logits


def check_asked(asked: Asked) -> None:
    """Checks that a run can be trained, as far as that is known without its data.

    Raises:
        ValueError: an edit does not fit, the size is no whole number, the network does not take images of a size that the run
            has, a schedule leaves its range, what learns cannot be set up, nothing learns from the teacher that is given, parts
            are not to learn or the head is to start as a probe and there are no weights to start from, or there are no epochs
            and no probe.
    """
    recipe, model = asked.recipe, asked.assembled()
    if isinstance(recipe.size, Constant) and recipe.size.value != round(recipe.size.value):
        raise ValueError(f"the size is a whole number of pixels, got size={recipe.size.value:g}")
    check_sizes(model, asked.sides())
    recipe.learning.frozen_parts(model)
    recipe.objective.check(recipe, model)
    check_taught(recipe)
    if recipe.teacher is not None and not recipe.teacher.startswith("timm:"):
        model_in(Path(recipe.teacher))  # there is one
    check_remembered(recipe, model, asked.sides())
    check_run(recipe, recipe.epochs)
    if recipe.learning.needs_weights and not asked.starts():
        raise ValueError(
            f"this recipe freezes parts of the network, but there are no weights to start from: it starts "
            f"{asked.start()[1]}. Give a model file with --weights, choose the recipe scratch, or train all parts: "
            "frozen_stride=0 frozen=[] trainable_stages=none"
        )
    if recipe.start.head == "probe":
        if not asked.starts():
            raise ValueError(
                "start.head=probe fits the last layer to the features of trained weights, and there are no weights to start "
                f"from: it starts {asked.start()[1]}. Give a model file with --weights, or leave it out: start.head=small"
            )
        check_linear(model)
    elif not recipe.epochs and not (asked.edits and asked.starts()):
        raise ValueError(
            "epochs=0 trains nothing; that is possible only where the head is fitted, start.head=probe, or where a network "
            "with weights is edited, as by edits.MergeTokens"
        )
    if recipe.teacher is None:
        check_learner_once(recipe, model)


def check_taught(recipe: Recipe) -> None:
    """Checks that something learns from the teacher of a recipe.

    Raises:
        ValueError: nothing does, so that the teacher would be loaded for nothing; the message says which terms would.
    """
    if recipe.teacher is None or recipe.taught():
        return
    objective, switch = type(recipe.objective).__name__, ""
    if hasattr(recipe.objective, "terms"):
        terms = kinds(Term).items()  # type: ignore[type-abstract]
        switch = next(
            (f"switch on a term that does (objective.terms.{name}=on), or " for name, kind in terms if kind.TEACHER), ""
        )
    raise ValueError(
        f"the recipe names a teacher, {recipe.teacher}, but nothing in its objective {objective} learns from one; {switch}"
        "leave the teacher out: teacher=none"
    )


def without_values(look: Callable[[str], None]) -> None:
    """Runs a check on the meta device, or on the CPU where values are needed; leaves the random state unchanged.

    Args:
        look: takes the name of the device.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings are shown when the run begins
        try:
            look("meta")
        except (
            RuntimeError,
            TypeError,
        ):  # torch has no narrower class for missing values; real errors are raised again on the CPU
            look("cpu")


def learner_on(device: str, objective: Objective, learning: Learning, model: Model, teacher: Teacher | None) -> Learner:
    """The learner of a run, with fresh weights, on a device.

    Args:
        teacher: not changed; on "meta" it is replaced by a copy without values.
    """
    network = model.build(device)
    learning.apply(network)
    if teacher is not None and device == "meta":
        teacher = Teacher(emptied(teacher.module))
    return objective.make(network, teacher).to(device).train()


def emptied(module: nn.Module) -> nn.Module:
    """A copy on the meta device, which needs no memory."""
    empty = {id(each): nn.Parameter(each.to("meta"), each.requires_grad) for each in module.parameters()}
    return copy.deepcopy(module, {**empty, **{id(each): each.to("meta") for each in module.buffers()}})


def check_learner(recipe: Recipe, model: Model, teacher: Teacher | None = None) -> None:
    """Sets up on the meta device what a run sets up before its first update: frozen parts, objective, groups, clipping.

    Raises:
        ValueError: a part is not there, nothing learns, or a number does not fit.
    """

    def look(device: str) -> None:
        learner = learner_on(device, recipe.objective, recipe.learning, model, teacher)
        recipe.optimizer.make(recipe.learning.groups(learner, recipe.optimizer))
        owned = roles(learner)
        if recipe.clip:
            recipe.clip.choose(learner.named_parameters(), lambda name: owned[name].place)

    without_values(look)


check_learner_once = functools.lru_cache(maxsize=64)(check_learner)
"""The same for what has no teacher, which would stay in memory; what was fine is not looked at again."""


def check_parts(asked: Asked, model: Model, task: Task, pictures: int, ranks: int, teacher: Teacher | None = None) -> None:
    """Checks that the learner can train on the smallest part of an update.

    Args:
        pictures: number of training pictures.
        teacher: that of the recipe, if it names one.

    Raises:
        ValueError: there are more parts than pictures, a view has no pixel, or a norm sees a single value per channel, which
            has no variance.
    """
    recipe = asked.recipe
    part = recipe.updates(pictures).smallest_part(ranks * recipe.accumulate)
    side = min(asked.training_sides())
    sides = tuple(look.side(side) for look in recipe.looks())
    given = (recipe.objective, recipe.learning, model, task, part, sides)
    try:
        if teacher is None:
            learn_from_once(*given)
        else:
            learn_from(*given, teacher)
    except (ValueError, RuntimeError) as error:  # torch has no narrower class for shapes that do not fit
        cut = f", cut into {ranks * recipe.accumulate} parts (processes times accumulate)" * (ranks * recipe.accumulate > 1)
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"this network cannot learn from {how_many(part, 'picture')} of {side} x {side} pixels at a time with "
            f"the objective {type(recipe.objective).__name__} (batch_size={recipe.batch_size}, "
            f"{how_many(pictures, 'picture')}{cut}): {reason}. "
            f"Raise {'batch_size, lower accumulate' if cut else 'batch_size'}, or take larger images"
        ) from None


FEW = 4
"""Number of pictures tried first where values are needed: if these work, more will, and would take longer."""


def learn_from(
    objective: Objective,
    learning: Learning,
    model: Model,
    task: Task,
    pictures: int,
    sides: tuple[int, ...],
    teacher: Teacher | None = None,
) -> None:
    """Runs the learner on `pictures` pictures in training mode, on the meta device if the objective needs no values.

    Args:
        sides: of each view, in pixels.

    Raises:
        ValueError: too few values for the variance of a norm, or the objective rejects them.
        RuntimeError: the shapes do not fit otherwise.
    """

    def look(device: str) -> None:
        learner = learner_on(device, objective, learning, model, teacher)
        for count in (pictures,) if device == "meta" else sorted({min(FEW, pictures), pictures}):
            try:
                learner(any_batch(model, task, count, sides, device), START)
                return
            except (ValueError, RuntimeError):
                if count == pictures:
                    raise

    without_values(look)


learn_from_once = functools.lru_cache(maxsize=64)(learn_from)
"""The same for what has no teacher, as `check_learner_once`."""


def any_batch(model: Model, task: Task, count: int, sides: tuple[int, ...], device: str) -> Batch:
    """A batch as from the loader: noise, labelled as the first class; without values on "meta".

    Args:
        sides: of each view, in pixels.
    """
    shapes = [(count, model.channels, side, side) for side in sides]
    targets = torch.zeros(count, model.classes, *task.places(sides[0]), device=device)
    targets[:, 0] = 1.0
    views = tuple(torch.randint(256, shape, dtype=torch.uint8, device=device) for shape in shapes)
    return Batch(views, targets, torch.arange(count, device=device))


def check_sizes(model: Model, sides: Iterable[int]) -> None:
    """Runs images of each size through the network on the meta device.

    Raises:
        ValueError: the network rejects one of them.
    """
    if min(sides) < 1:
        raise ValueError(f"images must have a side of 1 pixel or more at every update, got size={min(sides)}")
    if max(sides) > LARGEST:
        raise ValueError(f"images must have a side of at most {LARGEST} pixels at every update, got size={max(sides)}")
    takes(model, frozenset(sides))


@functools.lru_cache(maxsize=64)
def takes(model: Model, sides: frozenset[int]) -> None:
    """As `check_sizes`; cached, since most changes of a recipe do not change the network."""
    network = model.build("meta").eval()
    for side in sorted(sides):
        if fault := size_fault(network, side):
            raise ValueError(fault)


@functools.lru_cache(maxsize=64)
def check_answers(model: Model, sides: frozenset[int], task: Task) -> None:
    """Checks that the output of a network has the shape that the task needs, at each image size.

    Raises:
        ValueError: it does not.
    """
    network = model.build("meta").eval()
    for side in sorted(sides):
        logits = network(torch.empty(1, model.channels, side, side, device="meta"))
        check_logits(logits, model.classes, side, task, type(getattr(model, "head", model)).__name__)


def check_damage(damaged: Mapping[str, str], count: int, most: float) -> None:
    """Checks that enough pictures can be read.

    Args:
        damaged: reason by name, for pictures that cannot be read.
        count: number of all pictures.
        most: fraction of them that may be unreadable.

    Raises:
        ValueError: more are; the message names them.
    """
    if is_too_much(len(damaged), count, most):
        listed = "\n".join(f"  {printable(f'{name}: {reason}')}" for name, reason in list(damaged.items())[:50])
        more = f"\n  and {len(damaged) - 50} more" if len(damaged) > 50 else ""
        raise ValueError(
            f"{len(damaged)} of {how_many(count, 'picture')} cannot be read, more than max_damaged={most:g} "
            f"allows:\n{listed}{more}\n"
            f"repair or remove them, or allow it with max_damaged={allowing(len(damaged), count):g}"
        )
