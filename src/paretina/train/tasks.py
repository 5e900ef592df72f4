"""Checks that a recipe and a network fit the task of the data, before a run directory is created."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from paretina.clock import END, START, Clock
from paretina.data.batch import Batch
from paretina.data.decode import DecodeError
from paretina.data.pictures import Pictures
from paretina.data.source import Collection
from paretina.measure.judge import Judge
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.instances import Instances
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About
from paretina.shapes import Loss
from paretina.spec import kinds, specs_within
from paretina.text import printable
from paretina.train.objective import Learner, Objective, Term
from paretina.train.recipe import Recipe
from paretina.train.terms.adjusted_cross_entropy import AdjustedCrossEntropy
from paretina.train.terms.binary_cross_entropy import BinaryCrossEntropy
from paretina.train.terms.cross_entropy import CrossEntropy


def for_task(recipe: Recipe, task: Task) -> tuple[Recipe, tuple[str, ...]]:
    """A recipe for the task of the data: for several labels a picture, cross entropy gives way to the loss that is for these.

    Returns:
        The recipe, and notes on what was changed, one sentence each.
    """
    terms: tuple[Term, ...] = getattr(recipe.objective, "terms", ())
    plain = next((term for term in terms if isinstance(term, CrossEntropy)), None)
    if not isinstance(task, AnyOf) or plain is None:
        return recipe, ()
    smoothed = ", without its label smoothing" if any(plain.smoothing(clock) for clock in (START, END)) else ""
    own = None if any(isinstance(term, BinaryCrossEntropy) for term in terms) else BinaryCrossEntropy(weight=plain.weight)
    found = tuple(own if term is plain else term for term in terms if term is not plain or own is not None)
    note = f"a picture can have several labels, so the loss is BinaryCrossEntropy in place of CrossEntropy{smoothed}"
    return replace(recipe, objective=replace(recipe.objective, terms=found)), (note,)  # type: ignore[call-arg]


def check_task(recipe: Recipe, task: Task) -> None:
    """Checks that transforms, objective, terms and judge of a recipe fit the task of the data.

    Raises:
        ValueError: one does not; the message says which tasks it is for, and what to use instead.
    """
    name = task.WORDS
    for spec in specs_within(recipe):
        fits = (spec.TASK,) if isinstance(spec, Judge) else getattr(spec, "TASKS", (Task,))
        title = type(spec).__name__
        if isinstance(spec, Term) and spec.pixels() is not None and not isinstance(task, Instances):
            raise ValueError(
                f"{title}.w0 weighs the pixels between objects, and the task of this data is {name}; leave it at 0, or give "
                "masks that number the objects (data.labels=instances)"
            )
        if isinstance(task, fits):
            continue
        others = ", ".join(each.WORDS for each in fits)
        instead = "leave it out"
        if isinstance(spec, Term):
            terms = kinds(Term)  # type: ignore[type-abstract]
            known = [found for found, kind in terms.items() if isinstance(task, kind.TASKS)]
            instead = f"terms that are: {', '.join(known) or 'none'}"
            if known and spec in getattr(recipe.objective, "terms", ()):
                instead += f"; such as objective.terms.{known[0]}=on objective.terms.{title}=off"
            if isinstance(spec, AdjustedCrossEntropy):
                instead = "leave it out (--imbalance logits asks for it), or weigh the classes (--imbalance weights)"
        raise ValueError(f"{title} is not for the task of this data, {name}, but for {others}; {instead}")


def check_weights(recipe: Recipe, collection: Collection) -> None:
    """Checks that every loss of a recipe counts a picture by its weight, if the pictures have weights.

    Raises:
        ValueError: one does not.
    """
    if not collection.weighted:
        return
    for spec in specs_within(recipe):
        if isinstance(spec, Objective | Term) and not spec.WEIGHTS:
            bases: tuple[Any, ...] = (Term, Objective)
            able = sorted(name for base in bases for name, kind in kinds(base).items() if kind.WEIGHTS)
            raise ValueError(
                f"the pictures of this data have weights, and {type(spec).__name__} cannot count a picture by its weight; "
                f"{', '.join(able)} can; or leave the column of weights out of the table"
            )


def require_top1(task: Task, what: str) -> None:
    """Raises for a task without top-1.

    Args:
        what: the beginning of the message.

    Raises:
        ValueError: the task is not one class per picture.
    """
    if task != OneOf():
        raise ValueError(f"{what} by top-1, which needs one class per picture; the task of this data is {task.WORDS}")


def require_updates(recipe: Recipe, what: str) -> None:
    """Refuses what compares trained networks where nothing is trained.

    Args:
        what: compares networks, as the beginning of a sentence that goes on with what it needs.

    Raises:
        ValueError: the recipe has no epochs.
    """
    if not recipe.epochs:
        raise ValueError(f"{what}, for which they have to be trained, and epochs=0 makes no update; give more epochs")


def check_targets(pictures: Pictures, classes: int) -> None:
    """Checks the first readable target.

    Raises:
        ValueError: it does not have the shape or the values of the task.
    """
    for index in range(len(pictures)):
        try:
            target = pictures.target(index)
        except DecodeError:
            continue
        pictures.collection.task.targets([target], classes)
        return


def check_teacher(path: str, about: About, collection: Collection) -> None:
    """Checks that a teacher has the classes of the data and, if there are labels, its task.

    Raises:
        ValueError: it does not.
    """
    task = collection.task
    if about.task != task and not isinstance(task, Nothing):
        names = (about.task.WORDS, task.WORDS)
        raise ValueError(f"the teacher {path} was trained for another task than that of the data: {names[0]}, not {names[1]}")
    if about.classes != collection.classes:
        theirs, ours = (
            f"{', '.join(map(printable, names[:5]))}{' ...' if len(names) > 5 else ''}"
            for names in (about.classes, collection.classes)
        )
        raise ValueError(f"the classes of the teacher {path} are not those of the data: {theirs}; the data has {ours}")


def check_logits(logits: Tensor, classes: int, side: int, task: Task, head: str) -> None:
    """Checks that logits have the shape that the task needs: per picture of `side` x `side` pixels, per pixel, or per box.

    Raises:
        ValueError: they do not; the message names the head.
    """
    wanted = (classes, *task.places(side))
    if task.BOXES and logits.shape[1:2] == (classes,) and logits.shape[3:] == (5,):
        return  # a network may find fewer or more objects than a label has room for
    if tuple(logits.shape[1:]) != wanted:
        asks = f"{classes} logits for each of {side} x {side} pixels" if task.DENSE else f"{classes} logits for each picture"
        asks = "a head that finds boxes, such as FcosHead" if task.BOXES else asks
        raise ValueError(
            f"the task of this data, {task.WORDS}, needs {asks}, but this network, with the head {head}, gives "
            f"{' x '.join(map(str, logits.shape[1:]))}; choose another {'size' if task.DENSE and logits.ndim == 4 else 'head'}"
        )


class HeldOut:
    """The loss of a learner on a batch of validation pictures, in eval mode.

    Args:
        views: number of views that the learner takes; all are the picture with evaluation preprocessing.
        clock: time at which schedules are evaluated; always the same, so that losses during a run are comparable.
    """

    def __init__(self, learner: Learner, views: int, clock: Clock) -> None:
        self.learner = learner
        self.views = views
        self.clock = clock

    def __call__(self, batch: Batch) -> Loss:
        training = self.learner.training
        self.learner.eval()
        try:
            parts = self.learner(replace(batch, views=batch.views * self.views), self.clock)
        finally:
            self.learner.train(training)
        return sum((part.float() for part in parts.values()), torch.zeros((), device=batch.targets.device))
