"""Resolve: what a run will be, all of it, before its first update: one value that everything else reads."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from paretina.clock import Clock
from paretina.data.likeness import Leaks, leaks
from paretina.data.pictures import Pictures, read_pictures
from paretina.data.remarks import told
from paretina.data.sampler import Epochs
from paretina.data.source import Collection, Source
from paretina.measure.evaluate import Evaluation
from paretina.model.blueprint import Model, Preprocessing
from paretina.model.build import Network
from paretina.model.family import network_named
from paretina.model.interop import timm_model, timm_preprocessing
from paretina.model.preprocessing import in_words
from paretina.model.roles import networks_in
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About, Start, load_model, with_preprocessing
from paretina.run import model_in
from paretina.spec import encode
from paretina.train.asked import Asked
from paretina.train.feasible import check_answers, check_asked, check_damage, check_learner, check_parts
from paretina.train.loop import Job
from paretina.train.objective import Teacher
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.starting import check_probe, first_values, start_notes
from paretina.train.tasks import HeldOut, check_targets, check_task, check_teacher

NO_LEAKS = Leaks()


@dataclass(frozen=True)
class Resolved:
    """What a run will be, as far as it is known before a picture is read; made by `resolve` alone.

    Attributes:
        asked: what was asked, without what does not fit the data or the weights.
        model: the network with its edits, the classes of the data, and its test size.
        start: weights to start from, or None.
        notes: what was decided on the way, a sentence each.
    """

    asked: Asked
    collection: Collection
    model: Model
    start: Start | None
    notes: tuple[str, ...]

    @property
    def recipe(self) -> Recipe:
        return self.asked.recipe

    @property
    def probe_size(self) -> int | None:
        """Side in pixels at which the probe that the head starts as sees pictures, that of the weights; None without one."""
        return self.start.model.resolution if self.start and self.recipe.start.head == "probe" else None


@dataclass(frozen=True)
class Prepared(Resolved):
    """A run whose pictures were read: all that has to be known before the first update.

    Attributes:
        leaks: validation pictures that have copies in train; counted by the first process only.
    """

    train: Pictures
    val: Pictures
    leaks: Leaks = NO_LEAKS

    @property
    def epochs(self) -> Epochs:
        return self.recipe.updates(len(self.train))

    @property
    def damaged(self) -> dict[str, str]:
        return {**self.train.damaged, **self.val.damaged}

    def digest(self) -> str:
        """What the samples are, in a few letters: a resumed run must have the same."""
        text = "\n".join(f"{s.name}\t{s.label}" for s in (*self.train.samples, *self.val.samples))
        task = self.collection.task
        if task != OneOf():  # the labels say little then; masks are too many to be read for this
            said = [] if task.DENSE else [p.target(i).tolist() for p in (self.train, self.val) for i in range(len(p))]
            text += f"\n{encode(task)}\n{said}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def prepare(asked: Asked, ranks: int = 1) -> Prepared:
    """Opens the data, resolves what is asked, and reads every picture once.

    Args:
        ranks: number of processes that share an update.

    Raises:
        ValueError: the data, the weights or the network cannot be used; the message says why and what to do.
    """
    asked, collection = opened(asked)
    check_asked(asked)
    resolved = resolve(asked, collection, ranks)
    asked, notes = resolved.asked, list(resolved.notes)
    largest = max(*asked.sides(), resolved.probe_size or 0)
    train = read_pictures(collection, collection.split("train"), at_least=2 * largest)
    val = read_pictures(collection, collection.split("val"))
    notes += told({**train.remarks, **val.remarks})
    prepared = Prepared(asked, collection, resolved.model, resolved.start, tuple(notes), train, val)
    check_damage(prepared.damaged, len(collection.split("train")) + len(collection.split("val")), asked.recipe.max_damaged)
    if not len(train) or not len(val):
        raise ValueError(f"training needs pictures in both splits, got {len(train)} to train on and {len(val)} to validate on")
    for pictures in (train, val):
        check_targets(pictures, len(collection.classes))
    if train.damaged:
        check_parts(asked, resolved.model, collection.task, len(train), ranks, teacher_of(asked.recipe, collection))
    copied = leaks(collection) if Ranks.is_first() else NO_LEAKS
    warned = [f"{copied.warning()}; `paretina data check` names them"] if copied.warning() else []
    more = [note for note in (*copied.notes, copied.note()) if note and note not in notes]
    return replace(prepared, notes=(*prepared.notes, *more, *warned), leaks=copied)


def opened(asked: Asked) -> tuple[Asked, Collection]:
    """The data, and what is asked with the split that was found written down, so that it never moves again.

    The first process looks for copies, the others take its answer, so that all have the same split.
    """
    ranks = Ranks.start(asked.plan.device)
    collection: Collection | None = None
    found: Source | ValueError | None = None
    if ranks.first:
        try:
            collection = asked.data.open()
            found = asked.data.pinned(collection)
        except ValueError as error:  # the others must not wait for an answer
            found = error
    found = ranks.from_first(found)
    if isinstance(found, ValueError):
        raise found
    data = cast(Source, found)
    return replace(asked, data=data), collection or data.open()


def resolve(asked: Asked, collection: Collection, ranks: int = 1) -> Resolved:
    """Finds the weights and the network, without reading a picture; after `check_asked`.

    Args:
        ranks: number of processes that share an update.

    Raises:
        ValueError: the weights, the teacher or the network cannot be used; the message says why and what to do.
    """
    notes = list(collection.notes)
    recipe = asked.recipe
    if not collection.mirrors and any(transform.MIRRORS for transform in recipe.transforms):
        names = ", ".join(type(transform).__name__ for transform in recipe.transforms if transform.MIRRORS)
        notes.append(f"left out {names}: in this data a mirror image can belong to another class")
        recipe = replace(recipe, transforms=tuple(t for t in recipe.transforms if not t.MIRRORS))
    check_task(recipe, collection.task)
    start, said = asked.start()
    notes.append(f"starts {said}" if said.startswith("from") else f"starts with {said}")
    if start is not None and recipe.start.zero_gamma:
        notes.append("zero_gamma is for training from scratch and was left out")
        recipe = replace(recipe, start=replace(recipe.start, zero_gamma=False))

    if start is not None and not recipe.epochs and recipe.test.size is None:
        recipe = replace(recipe, test=replace(recipe.test, size=untrained_size(asked, start)))
    asked = replace(asked, recipe=recipe)
    classes = len(collection.classes)
    model = replace(asked.assembled(), classes=classes, resolution=asked.final_size())
    usual, model = model.preprocessing, with_preprocessing(model, start, preprocessing_asked(asked, start))
    model = replace(model, preprocessing=recipe.test.preprocessing(model.preprocessing))
    if model.preprocessing != recipe.test.preprocessing(usual):
        notes.append(f"pictures are prepared as its weights want them: {in_words(model.preprocessing, model.resolution)}")
    notes += teacher_notes(recipe.teacher, model.preprocessing, asked.training_sides())
    teacher = teacher_of(recipe, collection)
    if teacher is not None:
        check_learner.__wrapped__(recipe, model, teacher)
    check_answers(model, asked.sides(), collection.task)
    if start is not None:
        with torch.random.fork_rng(devices=[]):  # finds weights that do not fit before there is a run
            loaded = first_values(model.build(), start, collection.classes)
        assert loaded is not None
        if recipe.start.head == "probe":
            check_probe(model, start, loaded, collection.task)
        notes += start_notes(start, model, loaded, recipe.learning, recipe.start.head)
    if pictures := len(collection.split("train")):
        check_parts(asked, model, collection.task, pictures, ranks, teacher)
    return Resolved(asked, collection, model, start, tuple(notes))


def untrained_size(asked: Asked, start: Start) -> int:
    """Side in pixels at which a run without updates is tested: that of its weights, unless the network was given another."""
    named = asked.verb == "train" and asked.model_name
    usual = network_named(asked.model_name).blueprint.resolution if named else start.model.resolution
    given = asked.assembled().resolution
    return start.model.resolution if given == usual else given


def preprocessing_asked(asked: Asked, start: Start | None) -> set[str]:
    """The fields of the preprocessing that stay whatever the weights want: those that are not the defaults of the network."""
    if asked.verb == "finetune" and start is not None:
        usual = start.model.preprocessing
    elif asked.model_name:
        usual = network_named(asked.model_name).blueprint.preprocessing
    else:  # a blueprint that was handed in, so nobody knows which fields were chosen; wrong statistics would be no choice
        return {"crop", "fit", "interpolation"}
    return {name for name, value in vars(asked.model.preprocessing).items() if value != getattr(usual, name)}


def teacher_notes(path: str | None, preprocessing: Preprocessing, sides: frozenset[int]) -> list[str]:
    """What a teacher is given by itself, where that is not what it gets: the images of the run, behind its own statistics.

    Args:
        sides: in pixels, on which the run trains.
    """
    if path is None:
        return []
    if path.startswith("timm:"):
        own, resolution, _, _ = timm_preprocessing(path.removeprefix("timm:"))
    else:
        model = load_model(model_in(Path(path)))[0].model
        own, resolution = model.preprocessing, model.resolution
    if sides == {resolution} and (own.fit, own.interpolation) == (preprocessing.fit, preprocessing.interpolation):
        return []
    return [f"the teacher {path} sees the images of this run; its own preprocessing is: {in_words(own, resolution)}"]


def load_teacher(path: str | None, collection: Collection) -> nn.Module | None:
    """A model file or the directory of a finished run, or a trained network of timm by its name, "timm:NAME".

    Args:
        collection: the data; the teacher must know its classes, and where there are labels have its task.
    """
    if path is None:
        return None
    if path.startswith("timm:"):
        foreign = timm_model(path.removeprefix("timm:"))
        teacher, about = cast(nn.Module, foreign), About(classes=foreign.classes)
    else:
        teacher, about = load_model(model_in(Path(path)))
    check_teacher(path, about, collection)
    return teacher


def teacher_of(recipe: Recipe, collection: Collection) -> Teacher | None:
    """The teacher of a recipe, on the CPU; None where it names none."""
    module = load_teacher(recipe.teacher, collection)
    return None if module is None else Teacher(module)


def with_memory_notes(prepared: Prepared) -> Prepared:
    """What was prepared, with a note where the run is too short for the memory of its norms; its length must be settled."""
    recipe, updates = prepared.recipe, prepared.epochs.updates
    network = prepared.model.build("meta")
    recipe.learning.apply(network)
    said = recipe.start.notes(network, updates, updates * recipe.accumulate)
    return replace(prepared, notes=(*prepared.notes, *said))


def as_started(asked: Asked, saved: Mapping[str, Any]) -> Asked:
    """What was asked of a run that is resumed, with the weights that it started from, though others may have come since.

    Args:
        saved: the description of the run.

    Raises:
        ValueError: the weights that it started from cannot be had any more.
    """
    if not asked.recipe.start.bound_norm_memory and asked.recipe.size is None:
        # a run of an earlier release, which trained at the size that the network had before its edits
        recipe, side = asked.recipe, asked.recipe.sizes(asked.model.resolution)
        asked = replace(asked, recipe=replace(recipe, size=side, test=replace(recipe.test, size=asked.final_size())))
    if not asked.recipe.taught():  # a teacher that nothing learns from was no error in earlier releases
        asked = replace(asked, recipe=replace(asked.recipe, teacher=None))
    if asked.weights in ("auto", "hub") and saved.get("start") is None:
        return replace(asked, weights="none")
    if asked.weights == "auto" and not asked.starts():
        raise ValueError(f"the run started with {saved['start'].get('weights')}, which are not on this machine any more")
    return asked


def make_job(prepared: Prepared, ranks: Ranks, give_head: Callable[[Network], None] = lambda network: None) -> Job:
    """The network with its first weights, what learns, and how it is judged.

    Args:
        give_head: sets the last layer of the network that begins, where that is not found with its other weights.
    """
    asked, recipe = prepared.asked, prepared.recipe
    plan = replace(asked.plan, device=ranks.device(asked.plan.device))
    torch.manual_seed(recipe.seed)
    network = prepared.model.build()
    first_values(network, prepared.start, prepared.collection.classes)
    give_head(network)
    recipe.start.close_branches(network)  # before an objective makes copies of it
    recipe.learning.apply(network)
    teacher = load_teacher(recipe.teacher, prepared.collection)
    learner = recipe.objective.make(plan.place(network), Teacher(plan.place(teacher)) if teacher else None)
    recipe.start.set_memory(learner, prepared.epochs.updates * recipe.accumulate)
    learner = plan.place(learner)
    recipe.start.close_branches(learner)
    if plan.compile:
        for name, each in networks_in(learner):
            if not any(name.startswith(f"{outer}." if outer else "") for outer, _ in networks_in(learner) if outer != name):
                each.compile()
    torch.manual_seed(recipe.seed + ranks.rank)  # from here on ranks drop different branches
    evaluation = Evaluation(
        prepared.val,
        prepared.model.preprocessing,
        prepared.model.resolution,
        prepared.model.classes,
        plan,
        ranks.rank,
        ranks.count,
        judge=recipe.test.judge,
    )
    evaluation.loss = HeldOut(learner, len(recipe.looks()), Clock(1, 1, recipe.epochs))
    return Job(learner, prepared.train, evaluation, asked.sizes(), plan, ranks)
