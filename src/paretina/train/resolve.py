"""Resolves a request to a full run: data, network, weights and notes, before the first update."""

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
from paretina.data.sampler import Epochs, order_of
from paretina.data.source import Collection, Source, innermost
from paretina.measure.evaluate import Evaluation
from paretina.model.assemblies.route import Routed
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
from paretina.torch_internals import allow_shapes
from paretina.train.asked import Asked
from paretina.train.class_counts import with_counts
from paretina.train.feasible import check_answers, check_asked, check_damage, check_learner, check_parts
from paretina.train.loop import Job
from paretina.train.objective import Teacher
from paretina.train.objectives.routing import Routing
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.remembered import Remembered, check_room, entry, remember, room
from paretina.train.starting import check_probe, first_values, start_notes
from paretina.train.tasks import HeldOut, check_targets, check_task, check_teacher, check_weights, for_task

NO_LEAKS = Leaks()


@dataclass(frozen=True)
class Resolved:
    """A run as far as it is known without reading a picture; made by `resolve`.

    Attributes:
        asked: the request, without parts that do not fit the data or the weights.
        model: the network with its edits, the classes of the data, and its test size.
        start: weights to start from, or None.
        notes: decisions for the user to know, one sentence each.
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
        """Side in pixels at which the probe that the head starts as sees pictures; None without one."""
        return None if self.start is None else self.recipe.start.probe_size_from(self.start)


@dataclass(frozen=True)
class Prepared(Resolved):
    """A run whose pictures were read: everything that is needed before the first update.

    Attributes:
        leaks: validation pictures that have copies in train; counted on rank 0 only.
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
        """A digest of the samples; a resumed run must have the same."""
        text = "\n".join(f"{s.name}\t{s.label}" for s in (*self.train.samples, *self.val.samples))
        task = self.collection.task
        if task != OneOf():  # class labels say little then, and reading all masks for this would take too long
            said = [] if task.DENSE else [p.target(i).tolist() for p in (self.train, self.val) for i in range(len(p))]
            text += f"\n{encode(task)}\n{said}"
        elif self.collection.is_soft():
            text += f"\n{[p.target(i).tolist() for p in (self.train, self.val) for i in range(len(p))]}"
        if (weights := self.train.weights()) is not None:
            text += f"\n{weights.tolist()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


LOOKING = 0.05
"""Share of a time limit that looking for near copies of validation pictures may take."""


def prepare(asked: Asked, ranks: int = 1, look_s: float | None = None) -> Prepared:
    """Opens the data, resolves the request, and reads every picture once.

    Args:
        ranks: number of processes (world size).
        look_s: seconds that looking for near copies of validation pictures may take; None for any.

    Raises:
        ValueError: the data, the weights or the network cannot be used; the message says why and what to do.
    """
    asked, collection = opened(asked)
    check_asked(asked)
    resolved = resolve(asked, collection, ranks)
    asked, notes = resolved.asked, list(resolved.notes)
    train = training_pictures(resolved)
    val = read_pictures(collection, collection.split("val"))
    notes += [*told({**train.remarks, **val.remarks}), *train.notes]
    prepared = Prepared(asked, collection, resolved.model, resolved.start, tuple(notes), train, val)
    check_damage(prepared.damaged, len(collection.split("train")) + len(collection.split("val")), asked.recipe.max_damaged)
    if not len(train) or not len(val):
        share = getattr(innermost(asked.data), "val_share", None)
        instead = f"; data.val_share={share:g} leaves none, so give another share" if share in (0, 1) else ""
        raise ValueError(
            f"training needs pictures in both splits, got {len(train)} to train on and {len(val)} to validate on{instead}"
        )
    for pictures in (train, val):
        check_targets(pictures, len(collection.classes))
    if train.damaged:
        check_parts(asked, resolved.model, collection.task, len(train), ranks, teacher_of(asked.recipe, collection))
    copied = leaks(collection, seconds=look_s) if Ranks.is_first() else NO_LEAKS
    warned = [f"{copied.warning()}; `paretina data check` names them"] if copied.warning() else []
    more = [note for note in (*copied.notes, copied.note()) if note and note not in notes]
    return replace(prepared, notes=(*prepared.notes, *more, *warned), leaks=copied)


def training_pictures(resolved: Resolved) -> Pictures:
    """Reads the training pictures, in the size and form that the recipe trains on."""
    asked, recipe, collection = resolved.asked, resolved.recipe, resolved.collection
    largest = max(*asked.sides(), resolved.probe_size or 0)
    sides = {look.side(side) for look in recipe.looks() for side in asked.training_sides()}
    found = read_pictures(
        collection,
        collection.split("train"),
        at_least=2 * largest,
        smallest=None if recipe.decoding == "whole" else min(sides),
        packed=2 * largest if recipe.decoding == "packed" else None,
        cache_bytes=round(1e9 * asked.plan.cache_gb),
    )
    if found.kept or asked.plan.cache_gb or not collection.origin().COSTLY:
        return found
    return replace(found, notes=(*found.notes, f"the training pictures do not fit into memory, so they are {READ_AGAIN}"))


READ_AGAIN = "decoded again in each epoch; with a cache on the disk, such as --cache-gb 20, they are decoded once"


def decoded_as(asked: Asked) -> Asked:
    """The request with the kind of decoding that "auto" stands for.

    Raises:
        ValueError: there is to be a cache, and pictures are not to be decoded as it keeps them.
    """
    recipe, cached = asked.recipe, asked.plan.cache_gb > 0
    if cached and recipe.decoding not in ("auto", "packed"):
        raise ValueError(
            f"cache_gb={asked.plan.cache_gb:g} keeps pictures as decoding=packed makes them, and decoding={recipe.decoding} "
            "was given; leave one out"
        )
    if recipe.decoding != "auto":
        return asked
    return replace(asked, recipe=replace(recipe, decoding="packed" if cached else "crop"))


def opened(asked: Asked) -> tuple[Asked, Collection]:
    """Opens the data, and records its split in the request, so that the split stays fixed.

    Rank 0 searches for copies and sends the result to the others, so that all have the same split.
    """
    ranks = Ranks.start(asked.plan.device)
    collection: Collection | None = None
    found: Source | ValueError | None = None
    if ranks.first:
        try:
            collection = asked.data.open()
            found = asked.data.pinned(collection)
        except ValueError as error:  # the other ranks must not wait for a result
            found = error
    found = ranks.from_first(found)
    if isinstance(found, ValueError):
        raise found
    data = cast(Source, found)
    return replace(asked, data=data), collection or data.open()


def resolve(asked: Asked, collection: Collection, ranks: int = 1) -> Resolved:
    """Finds the weights and the network, without reading a picture; call `check_asked` first.

    Args:
        ranks: number of processes (world size).

    Raises:
        ValueError: the weights, the teacher or the network cannot be used; the message says why and what to do.
    """
    notes = list(collection.notes)
    asked = decoded_as(asked)
    recipe = asked.recipe
    if not collection.mirrors and any(transform.MIRRORS for transform in recipe.transforms):
        names = ", ".join(type(transform).__name__ for transform in recipe.transforms if transform.MIRRORS)
        notes.append(f"left out {names}: in this data a mirrored picture can belong to another class")
        recipe = replace(recipe, transforms=tuple(t for t in recipe.transforms if not t.MIRRORS))
    recipe, changed = for_task(recipe, collection.task)
    notes += changed
    check_task(recipe, collection.task)
    check_weights(recipe, collection)
    recipe = with_counts(recipe, collection)
    if recipe.test.judge is not None:
        recipe.test.judge.check(collection.classes)
    start, said = asked.start()
    notes.append(f"starts {said}" if said.startswith("from") else f"starts with {said}")
    if start is not None and recipe.start.zero_gamma:
        notes.append("left out zero_gamma, which is for training from scratch")
        recipe = replace(recipe, start=replace(recipe.start, zero_gamma=False))

    if start is not None and not recipe.epochs and recipe.test.size is None:
        recipe = replace(recipe, test=replace(recipe.test, size=untrained_size(asked, start)))
    asked = replace(asked, recipe=recipe)
    classes = len(collection.classes)
    model = replace(asked.assembled(), classes=classes, resolution=asked.final_size())
    usual, model = model.preprocessing, with_preprocessing(model, start, preprocessing_asked(asked, start))
    model = replace(model, preprocessing=recipe.test.preprocessing(model.preprocessing))
    if model.preprocessing != recipe.test.preprocessing(usual):
        notes.append(f"preprocessing is that of its weights: {in_words(model.preprocessing, model.resolution)}")
    notes += size_notes(model, asked.training_sides())
    if isinstance(model, Routed) and not isinstance(recipe.objective, Routing):
        notes.append(
            "nothing in this recipe holds down what the sizes cost that the network chooses; objective=Routing does, with a "
            "target such as objective.share=0.6"
        )
    notes += unlearned_notes(recipe, model)
    notes += teacher_notes(recipe.teacher, model.preprocessing, asked.training_sides())
    teacher = teacher_of(recipe, collection)
    if teacher is not None:
        check_learner(recipe, model, teacher)
    check_answers(model, asked.sides(), collection.task)
    if start is not None:
        with torch.random.fork_rng(devices=[]):  # finds weights that do not fit before a run directory is created
            loaded = first_values(model.build(), start, collection.classes)
        assert loaded is not None
        size = recipe.start.probe_size_from(start)
        if size is not None:
            check_probe(model, start, loaded, collection.task, size)
        notes += start_notes(start, model, loaded, recipe.learning, size)
    if pictures := len(collection.split("train")):
        if views := recipe.learning.remembered_views:
            check_room(views * pictures * room(model, recipe.learning.frozen_parts(model), asked.final_size()))
        check_parts(asked, model, collection.task, pictures, ranks, teacher)
        samples = collection.split("train")
        groups = [collection.group(each) for each in samples]
        order_of(recipe.sampling, [each.label for each in samples], groups, recipe.accumulate)
    return Resolved(asked, collection, model, start, tuple(notes))


def untrained_size(asked: Asked, start: Start) -> int:
    """Side in pixels at which a run without updates is tested: that of its probe, unless the network was given another."""
    named = asked.verb == "train" and asked.model_name
    usual = network_named(asked.model_name).blueprint.resolution if named else start.model.resolution
    given = asked.assembled().resolution
    probe = asked.recipe.start.probe_size_from(start) or start.model.resolution
    return probe if given == usual else given


def preprocessing_asked(asked: Asked, start: Start | None) -> set[str]:
    """The preprocessing fields that override those of the weights: those that differ from the defaults of the network."""
    if asked.verb == "finetune" and start is not None:
        usual = start.model.preprocessing
    elif asked.model_name:
        usual = network_named(asked.model_name).blueprint.preprocessing
    else:  # for a blueprint given as a value it is unknown which fields were chosen; wrong statistics would not be a choice
        return {"crop", "fit", "interpolation"}
    return {name for name, value in vars(asked.model.preprocessing).items() if value != getattr(usual, name)}


def size_notes(model: Model, sides: frozenset[int]) -> list[str]:
    """A warning where the smallest training size leaves less than one pixel on the last maps of a network."""
    stride = max((blueprint.border_strides[-1] for blueprint in model.blueprints()), default=1)
    if min(sides) >= stride:
        return []
    return [
        f"warning: at {min(sides)} pixels the last maps of this network, whose stride is {stride}, have a single place, so it "
        "sees next to nothing; take more pixels, or a network with a smaller stride"
    ]


def unlearned_notes(recipe: Recipe, model: Model) -> list[str]:
    """A note where parts of a network stay as they start, because another objective trains them."""
    parts = {stage.wiring.LEARNS_BY for blueprint in model.blueprints() for stage in blueprint.stages}
    return [
        f"{part} learn with objective={objective} alone, and stay here as they start"
        for part, objective in sorted(part for part in parts if part)
        if recipe.epochs and type(recipe.objective).__name__ != objective
    ]


def teacher_notes(path: str | None, preprocessing: Preprocessing, sides: frozenset[int]) -> list[str]:
    """A note if a teacher's preprocessing differs from what it gets: the images of the run, with its own normalisation.

    Args:
        sides: training image sizes in pixels.
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
    return [f"the teacher {path} gets the images of this run; its own preprocessing is: {in_words(own, resolution)}"]


def load_teacher(path: str | None, collection: Collection) -> nn.Module | None:
    """Loads a model file, the model of a finished run, or a pretrained network of timm, "timm:NAME".

    Args:
        collection: the data; the teacher must have its classes and, if there are labels, its task.
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
    """The teacher of a recipe, on the CPU; None if it has none."""
    module = load_teacher(recipe.teacher, collection)
    return None if module is None else Teacher(module)


def with_memory_notes(prepared: Prepared) -> Prepared:
    """Adds a note if the run is too short for the momentum of its norms; call when its length is final."""
    recipe, updates = prepared.recipe, prepared.epochs.updates
    network = prepared.model.build("meta")
    recipe.learning.apply(network)
    said = recipe.start.notes(network, updates, updates * recipe.accumulate)
    return replace(prepared, notes=(*prepared.notes, *said))


def as_started(asked: Asked, saved: Mapping[str, Any]) -> Asked:
    """The request of a run to resume, with its original weights, even if others have become available since.

    Args:
        saved: content of `asked.json`.

    Raises:
        ValueError: its original weights are not available any more.
    """
    if not asked.recipe.start.bound_norm_memory and asked.recipe.size is None:
        # a run of an earlier release, which trained at the resolution of the network before its edits
        recipe, side = asked.recipe, asked.recipe.sizes(asked.model.resolution)
        asked = replace(asked, recipe=replace(recipe, size=side, test=replace(recipe.test, size=asked.final_size())))
    if not asked.recipe.taught():  # a teacher that nothing learns from was no error in earlier releases
        asked = replace(asked, recipe=replace(asked.recipe, teacher=None))
    if asked.weights in ("auto", "hub") and saved.get("start") is None:
        return replace(asked, weights="none")
    if asked.weights == "auto" and not asked.starts():
        raise ValueError(f"the run started with {saved['start'].get('weights')}, which are not on this machine any more")
    return asked


LEAST_SHAPES = 8
"""Compilations of one network besides those for its image sizes, of which each may come in batches of two lengths."""


def make_job(prepared: Prepared, ranks: Ranks, give_head: Callable[[Network], None] = lambda network: None) -> Job:
    """The job of a run: the network with its initial weights, the learner, and the evaluation.

    Args:
        give_head: sets the last layer of a network that starts from weights, if that is not loaded with them.
    """
    asked, recipe = prepared.asked, prepared.recipe
    plan = replace(asked.plan, device=ranks.device(asked.plan.device))
    torch.manual_seed(recipe.seed)
    network = prepared.model.build()
    first_values(network, prepared.start, prepared.collection.classes)
    give_head(network)
    recipe.start.close_branches(network)  # before the objective copies the network
    recipe.learning.apply(network)
    if recipe.learning.remembered_views:
        network.entry = entry(prepared.model, network.frozen)
    teacher = load_teacher(recipe.teacher, prepared.collection)
    learner = recipe.objective.make(plan.place(network), Teacher(plan.place(teacher)) if teacher else None)
    recipe.start.set_memory(learner, prepared.epochs.updates * recipe.accumulate)
    learner = plan.place(learner)
    recipe.start.close_branches(learner)
    if plan.compile:
        allow_shapes(2 * len(asked.sides()) + LEAST_SHAPES)
        for name, each in networks_in(learner):
            if not any(name.startswith(f"{outer}." if outer else "") for outer, _ in networks_in(learner) if outer != name):
                each.compile(**plan.compiling())
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


def remembered_of(prepared: Prepared, ranks: Ranks) -> Remembered | None:
    """What the frozen parts make of the training pictures; None where a run does not learn from that."""
    recipe = prepared.recipe
    if not recipe.learning.remembered_views:
        return None
    plan = replace(prepared.asked.plan, device=ranks.device(prepared.asked.plan.device))
    with torch.random.fork_rng(devices=[]):
        network = prepared.model.build()
        first_values(network, prepared.start, prepared.collection.classes)
    recipe.learning.apply(network)
    network.entry = entry(prepared.model, network.frozen)
    workers = plan.worker_count(ranks.locals, kept=prepared.train.kept)
    side, views = prepared.model.resolution, recipe.learning.remembered_views
    return remember(plan.place(network), prepared.train, recipe.looks(), recipe.seed, side, views, plan, workers)
