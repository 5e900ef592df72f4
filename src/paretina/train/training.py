"""Train: from what was asked to a run directory with a model file in it."""

import functools
import hashlib
import itertools
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from paretina.clock import Clock
from paretina.data.bounds import check_run
from paretina.data.damage import allowing, is_too_much
from paretina.data.likeness import Leaks, leaks
from paretina.data.loader import training_batches
from paretina.data.named import source_named
from paretina.data.pictures import Pictures, read_pictures
from paretina.data.remarks import told
from paretina.data.sampler import Epochs
from paretina.data.source import Collection, Source
from paretina.data.sources.part import Part
from paretina.measure.cost import cost
from paretina.measure.device import Others
from paretina.measure.evaluate import Evaluation
from paretina.measure.judge import Tally
from paretina.measure.memory import peak_mb
from paretina.measure.plan import Plan, machine
from paretina.measure.process import process_settings
from paretina.model.blueprint import LARGEST, Model, Preprocessing
from paretina.model.build import Network, materialise
from paretina.model.family import network_named
from paretina.model.interop import timm_model, timm_preprocessing
from paretina.model.preprocessing import in_words
from paretina.model.roles import networks_in, roles
from paretina.model.sizes import size_fault
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About, Start, load_model, save_model, with_preprocessing
from paretina.run import Run, command_line, free_folder, model_in
from paretina.schedules import Constant
from paretina.spec import decode, encode, field_map
from paretina.text import how_many, printable
from paretina.train.asked import Asked
from paretina.train.first import first_values, start_notes
from paretina.train.journal import Journal, Listener
from paretina.train.learning import Learning
from paretina.train.loop import Job, Kept, fit
from paretina.train.objective import Teacher
from paretina.train.planning import Planning, found_plan
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.tasks import HeldOut, check_logits, check_targets, check_task, check_teacher

Say = Callable[[str], None]
"""Takes a sentence about a decision or a finding."""


NO_LEAKS = Leaks()


@dataclass(frozen=True)
class Prepared:
    """All that has to be known before the first update.

    Attributes:
        model: the network with its edits, the classes of the data, and its test size.
        start: weights to start from, or None.
        notes: what was decided on the way, a sentence each.
        leaks: validation pictures that have copies in train; counted by the first process only.
    """

    asked: Asked
    collection: Collection
    train: Pictures
    val: Pictures
    model: Model
    start: Start | None
    notes: tuple[str, ...]
    leaks: Leaks = NO_LEAKS

    @property
    def recipe(self) -> Recipe:
        return self.asked.recipe

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
    if asked.weights in ("auto", "hub") and saved.get("start") is None:
        return replace(asked, weights="none")
    if asked.weights == "auto" and not asked.starts():
        raise ValueError(f"the run started with {saved['start'].get('weights')}, which are not on this machine any more")
    return asked


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


@dataclass(frozen=True)
class Settled:
    """What a run will be, as far as it is known before a picture is read; see `Prepared`."""

    asked: Asked
    model: Model
    start: Start | None
    notes: tuple[str, ...]


def settle(asked: Asked, collection: Collection, ranks: int = 1) -> Settled:
    """Finds the weights and settles the network, without reading a picture; after `check_asked`.

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

    classes = len(collection.classes)
    model = replace(asked.assembled(), classes=classes, resolution=asked.final_size())
    usual, model = model.preprocessing, with_preprocessing(model, start, preprocessing_asked(asked, start))
    model = replace(model, preprocessing=recipe.test.preprocessing(model.preprocessing))
    if model.preprocessing != recipe.test.preprocessing(usual):
        notes.append(f"pictures are prepared as its weights want them: {in_words(model.preprocessing, model.resolution)}")
    notes += teacher_notes(recipe.teacher, model.preprocessing, asked.training_sides())
    if recipe.teacher is not None and (teacher := load_teacher(recipe.teacher, collection)):
        check_learner.__wrapped__(recipe, model, Teacher(teacher))
    check_answers(model, asked.sides(), collection.task)
    if start is not None:
        with torch.random.fork_rng(devices=[]):  # finds weights that do not fit before there is a run
            loaded = first_values(model.build(), start, collection.classes)
        assert loaded is not None
        notes += start_notes(start, model, loaded, recipe.learning)
    asked = replace(asked, recipe=recipe)
    if pictures := len(collection.split("train")):
        check_parts(asked, model, pictures, ranks)
    return Settled(asked, model, start, tuple(notes))


def prepare(asked: Asked, ranks: int = 1) -> Prepared:
    """Opens the data, finds the weights, settles the network, and reads every picture once.

    Args:
        ranks: number of processes that share an update.

    Raises:
        ValueError: the data, the weights or the network cannot be used; the message says why and what to do.
    """
    asked, collection = opened(asked)
    check_asked(asked)
    settled = settle(asked, collection, ranks)
    asked, model, notes = settled.asked, settled.model, list(settled.notes)
    train = read_pictures(collection, collection.split("train"), at_least=2 * max(asked.sides()))
    val = read_pictures(collection, collection.split("val"))
    notes += told({**train.remarks, **val.remarks})
    prepared = Prepared(asked, collection, train, val, model, settled.start, tuple(notes))
    check_damage(prepared, len(collection.split("train")) + len(collection.split("val")))
    if not len(train) or not len(val):
        raise ValueError(f"training needs pictures in both splits, got {len(train)} to train on and {len(val)} to validate on")
    for pictures in (train, val):
        check_targets(pictures, len(collection.classes))
    if train.damaged:
        check_parts(asked, model, len(train), ranks)
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
def check_answers(model: Model, sides: frozenset[int], task: Task) -> None:
    """Looks whether a network answers images of each size as the task of the data wants.

    Raises:
        ValueError: it does not.
    """
    network = model.build("meta").eval()
    for side in sorted(sides):
        logits = network(torch.empty(1, model.channels, side, side, device="meta"))
        check_logits(logits, model.classes, side, task, type(getattr(model, "head", model)).__name__)


@functools.lru_cache(maxsize=64)
def takes(model: Model, sides: frozenset[int]) -> None:
    """As `check_sizes`; most changes leave the network as it is, so each is tried once."""
    network = model.build("meta").eval()
    for side in sorted(sides):
        if fault := size_fault(network, side):
            raise ValueError(fault)


def check_damage(prepared: Prepared, count: int) -> None:
    damaged, most = prepared.damaged, prepared.recipe.max_damaged
    if is_too_much(len(damaged), count, most):
        listed = "\n".join(f"  {printable(f'{name}: {reason}')}" for name, reason in list(damaged.items())[:50])
        more = f"\n  and {len(damaged) - 50} more" if len(damaged) > 50 else ""
        raise ValueError(
            f"{len(damaged)} of {how_many(count, 'picture')} cannot be read, more than max_damaged={most:g} "
            f"allows:\n{listed}{more}\n"
            f"mend or remove them, or allow it with max_damaged={allowing(len(damaged), count):g}"
        )


def make_job(prepared: Prepared, ranks: Ranks) -> Job:
    """The network with its first weights, what learns, and how it is judged."""
    asked, recipe = prepared.asked, prepared.recipe
    plan = replace(asked.plan, device=ranks.device(asked.plan.device))
    torch.manual_seed(recipe.seed)
    network = prepared.model.build()
    first_values(network, prepared.start, prepared.collection.classes)
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


# --- how long it will take -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """What a run would take, from a few updates that were really made.

    Attributes:
        update_s: seconds an update, on average over the sizes of the run.
        evaluate_s: seconds an evaluation.
        peak_mb: memory of the process so far, in units of 2^20 bytes; on a GPU that of its tensors.
    """

    updates: int
    updates_per_epoch: int
    update_s: float
    evaluate_s: float
    evaluations: int
    total_s: float
    peak_mb: float


@process_settings()
def rehearse(prepared: Prepared, updates: int = 4) -> Estimate:
    """Makes a few updates at the largest size, on a network that is thrown away, and times them."""
    with prepared.asked.plan.threaded():
        return rehearsed(prepared, updates)


def rehearsed(prepared: Prepared, updates: int) -> Estimate:
    recipe, epochs = prepared.recipe, prepared.epochs
    sizes = prepared.asked.sizes()
    sides = [sizes(Clock(i, 100, recipe.epochs)) for i in range(100)]
    largest = Constant(value=max(sides))
    job = make_job(prepared, Ranks())
    learner, plan = job.learner.train(), job.plan
    clock = epochs.clock(epochs.updates // 2)
    optimizer = recipe.optimizer.make(recipe.learning.groups(learner, recipe.optimizer))
    recipe.set_rates(learner, clock)
    requests = itertools.cycle(itertools.islice(epochs.requests(largest, 0, recipe.accumulate, slice(None)), recipe.accumulate))
    workers = plan.worker_count(kept=prepared.train.pixels is not None)
    batches = training_batches(prepared.train, recipe.looks(), requests, prepared.model.classes, workers)
    stamps = [time.monotonic()]
    for update in range(updates + 1):
        for _ in range(recipe.accumulate):
            batch = next(batches).batch.to(plan.device, plan.torch_memory_format)
            for transform in recipe.batch_transforms():
                batch = transform(batch, clock, torch.Generator().manual_seed(update))
            with plan.arithmetic():
                parts = learner(batch, clock)
            sum(parts.values(), torch.zeros((), device=plan.device)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        float(sum(part.detach().float().item() for part in parts.values()))  # waits for the device
        stamps.append(time.monotonic())
    share = sum((side / largest.value) ** 2 for side in sides) / len(sides)
    update_s = statistics.median(b - a for a, b in itertools.pairwise(stamps[1:])) * share
    with torch.inference_mode(), plan.arithmetic():
        network = learner.result().eval()
        for _ in range(2):  # the first pass takes longer than the others will
            began = time.monotonic()
            network(batch.images).float().sum().item()
            image_s = (time.monotonic() - began) / len(batch)
    evaluate_s = image_s * len(prepared.val) * (2 if recipe.average else 1)
    evaluations = recipe.test.evaluations(recipe.epochs)
    return Estimate(
        updates=epochs.updates,
        updates_per_epoch=epochs.updates_per_epoch,
        update_s=update_s,
        evaluate_s=evaluate_s,
        evaluations=evaluations,
        total_s=epochs.updates * update_s + evaluations * evaluate_s,
        peak_mb=peak_mb(plan.device),
    )


class ShortTimeError(ValueError):
    """Not even one update fits into a time limit.

    Attributes:
        needed_s: seconds with which an epoch would fit, about.
    """

    def __init__(self, message: str, needed_s: float) -> None:
        super().__init__(message)
        self.needed_s = needed_s


def fit_to_time(prepared: Prepared, seconds: float, ranks: int = 1) -> tuple[Prepared, str]:
    """Gives the recipe as many epochs as fit into the time, evaluations included, with a tenth in reserve.

    Args:
        ranks: number of processes that share an update.

    Raises:
        ShortTimeError: not even one update fits.
    """
    began = time.monotonic()
    estimate = rehearse(prepared)
    looked = time.monotonic() - began
    left = 0.9 * (seconds - looked) - 2 * estimate.evaluate_s
    recipe = prepared.recipe
    per_epoch = estimate.update_s * estimate.updates_per_epoch + estimate.evaluate_s / recipe.test.every
    epochs = left / per_epoch
    if epochs * estimate.updates_per_epoch < 1:
        needed = float(math.ceil(looked + (per_epoch + 2 * estimate.evaluate_s) / 0.9))
        raise ShortTimeError(
            f"an update takes {estimate.update_s:.1f} s, so nothing can be learned in {seconds:.3g} s; an epoch with its "
            f"evaluations takes about {needed:.0f} s",
            needed,
        )
    epochs = round(epochs, 2)
    said = (
        f"{how_many(epochs, 'epoch fits', plural='epochs fit')} into the time limit of {seconds:.0f} s (the "
        f"recipe has {recipe.epochs:g})"
    )
    asked = replace(prepared.asked, recipe=replace(recipe, epochs=epochs))
    check_run(asked.recipe, epochs)
    if asked.sides() == prepared.asked.sides():
        return replace(prepared, asked=asked), said
    # another length can bring other image sizes, which have to be checked and read for
    return replace(prepare(asked, ranks), notes=prepared.notes), said


def planned(prepared: Prepared, planning: Planning, ranks: Ranks) -> Prepared:
    """What was prepared, under the plan that the first process has found."""
    asked = prepared.asked
    found = found_plan(asked, prepared.model, len(prepared.train), planning, ranks.count) if ranks.first else None
    plan, notes = ranks.from_first(found)
    return replace(prepared, asked=replace(asked, plan=plan), notes=(*prepared.notes, *notes))


LEAST_WATCH_S = 1.0
"""Seconds that tell how busy the machine is; what the system counts is too coarse for less."""


def shared_cores(plan: Plan, others: Others) -> tuple[str, ...]:
    """A warning where other processes keep more than half of the cores busy that the threads of this one are to have.

    Threads of one process wait for each other after each layer, so one that has lost its core stops all of them.
    Source: records/waiting-threads.
    """
    used = others.used()
    if plan.device_type != "cpu" or (plan.threads or torch.get_num_threads()) == 1 or used is None or used <= others.cores / 2:
        return ()
    return (
        f"warning: other processes keep {used:.1f} of {others.cores} cores busy; threads that share cores with them can be "
        "many times slower: wait for them, or give threads=1",
    )


# --- the run -------------------------------------------------------------------------------------------------------------


@process_settings()
def train(
    asked: Asked,
    output: Path | None = None,
    time_limit: float | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    save_every: float = 60.0,
    stop_after: int | None = None,
    planning: Planning = "default",
) -> Run:
    """Trains a classifier and leaves a run directory with `model.safetensors`, `result.json`, predictions and a report.

    Args:
        output: the run directory; the next free one under `runs/` unless told.
        time_limit: seconds that training and evaluation may take; the epochs are chosen to fit.
        listen: called with each line of the log.
        say: called with each decision that was made on the way.
        save_every: seconds between checkpoints.
        stop_after: number of updates after which to stop short, with the state saved.
        planning: whether another plan than the one asked for is looked for; see `paretina.train.planning`.

    Raises:
        ValueError: what was asked cannot be done; nothing was trained.
        FloatingPointError: the loss was not finite.
        KeyboardInterrupt: interrupted; the state is saved and `resume` goes on with it.
    """
    ranks = Ranks.start(asked.plan.device)
    began, others = time.monotonic(), Others()
    prepared = prepare(asked, ranks.count)
    if ranks.count == 1 and time.monotonic() - began > LEAST_WATCH_S:
        for warning in shared_cores(asked.plan, others):
            say(warning)
    if planning != "default":
        began = time.monotonic()
        if planning != "known" and ranks.first:
            say("looking for the fastest way to run this network here")
        prepared = planned(prepared, planning, ranks)
        time_limit = None if time_limit is None else max(0.0, time_limit - (time.monotonic() - began))
    if time_limit is not None:
        prepared, said = fit_to_time(prepared, time_limit, ranks.count)
        prepared = replace(prepared, asked=ranks.from_first(prepared.asked), notes=(*prepared.notes, ranks.from_first(said)))
    prepared = with_memory_notes(prepared)
    path = ranks.from_first(output or free_folder(Path("runs"), run_name(asked)) if ranks.first else None)
    if ranks.first:
        run = Run.create(path, description(prepared))
    ranks.wait()
    run = Run(path)
    with run.held() if ranks.first else nullcontext():
        return finish(prepared, run, ranks, listen, say, save_every, stop_after)


@process_settings()
def resume(
    path: Path,
    data: str | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    save_every: float = 60.0,
    stop_after: int | None = None,
) -> Run:
    """Goes on with an interrupted run, as it was asked for; the same as if it had never been interrupted.

    Args:
        data: where the data is now, if it was moved; the pictures must be the same.

    Raises:
        ValueError: there is no such run, its data has changed since, or another process works on it.
    """
    saved = Run.open(path).asked()
    asked = as_started(decode(Asked, saved["asked"]), saved)
    if data is not None:
        asked = replace(asked, data=moved_to(asked.data, source_named(data)))
    ranks = Ranks.start(asked.plan.device)
    with Run(path).held() if ranks.first else nullcontext():
        run = Run.open(path)  # nobody writes to it from here on
        if run.result() is not None:
            say(f"{path} is finished already")
            return run
        say(run.point())
        prepared = with_memory_notes(prepare(asked, ranks.count))
        if prepared.digest() != run.asked().get("samples"):
            raise ValueError(f"the pictures are not those that {path} was trained on; start a new run, or put them back")
        return finish(prepared, run, ranks, listen, say, save_every, stop_after)


def moved_to(old: Source, place: Source) -> Source:
    """A source whose pictures lie elsewhere now, with all else that was said of it."""
    if isinstance(old, Part):
        return replace(old, source=moved_to(old.source, place))
    if type(place) is type(old) and "path" in field_map(type(place)):
        return replace(old, path=getattr(place, "path", ""))  # type: ignore[call-arg]
    return place


def run_name(asked: Asked) -> str:
    data = Path(getattr(asked.data, "path", type(asked.data).__name__.lower())).expanduser().absolute().name
    return f"{data}-{asked.model_name or 'model'}"


def description(prepared: Prepared) -> dict[str, Any]:
    """What goes into `asked.json`."""
    asked = prepared.asked
    start = prepared.start
    return {
        "verb": asked.verb,
        "command": command_line(),
        "model": encode(prepared.model),
        "model_name": asked.model_name,
        "recipe_name": asked.recipe_name,
        "edits": [encode(edit) for edit in asked.edits],
        "data": encode(asked.data),
        "recipe": encode(asked.recipe),
        "plan": encode(asked.plan),
        "start": None if start is None else {"weights": start.said, "licence": start.licence, "origin": start.origin},
        "environment": {"paretina": version(), **machine(), "device": asked.plan.device},
        "asked": encode(asked),
        "samples": prepared.digest(),
        "notes": list(prepared.notes),
    }


def version() -> str:
    from importlib.metadata import version as installed

    return installed("paretina")


def finish(
    prepared: Prepared, run: Run, ranks: Ranks, listen: Listener, say: Say, save_every: float, stop_after: int | None
) -> Run:
    """Trains to the end, evaluates, saves."""
    if ranks.first:
        listen({"event": "start", "step": 0, "run": str(run.path)})
    plan = prepared.asked.plan
    with plan.threaded():
        job = replace(make_job(prepared, ranks), save_every=save_every, updates=stop_after)
        journal = Journal(run, ranks, job.plan.device, listen)
        damaged = [f"left out, because it cannot be read: {name}: {reason}" for name, reason in prepared.damaged.items()]
        for note in (*prepared.notes, *damaged):
            if run.attempt == 0:
                journal.tell("note", 0, message=note)
                if ranks.first:
                    say(note)
        kept = fit(job, prepared.recipe, run, journal)
    kept = replace(kept, network=as_saved(kept.network))
    # as `paretina evaluate` measures a file, so that both give the same figures whatever the plan of the training
    job.evaluation.plan = Plan(device=job.plan.device)
    job.evaluation.plan.place(kept.network)
    workers = job.plan.worker_count(ranks.locals, kept=prepared.val.pixels is not None)
    first, *others = ranks.every(job.evaluation.tally(kept.network, workers))
    tally = first.with_all(others)
    journal.left_out(prepared.epochs.updates, job.evaluation.faults)
    for faults in ranks.every([*journal.faults]):
        journal.left_out(prepared.epochs.updates, faults)
    if ranks.first:
        save_results(prepared, run, journal, kept, tally)
        run.drop_states()
    ranks.wait()
    return run


def as_saved(network: Network) -> Network:
    """The network as its file will hold it: built anew with the same weights, neither compiled nor frozen."""
    fresh = network.model.build("meta")
    materialise(fresh)
    fresh.load_state_dict(network.state_dict())
    return fresh.eval()


def save_results(prepared: Prepared, run: Run, journal: Journal, kept: Kept, tally: Tally) -> None:
    classes = prepared.collection.classes
    judged = tally.judged(classes)
    tally.write(run, prepared.val)
    start = prepared.start
    figures = judged.metrics
    data = getattr(prepared.asked.data, "path", type(prepared.asked.data).__name__.lower())
    about = About(
        classes=classes,
        metrics={name: value for name, value in figures.items() if value is not None},
        licence=start.licence if start else "",
        origin=f"trained on {Path(data).name}" + (f", starting from {start.origin}" if start else ", from scratch"),
        name=prepared.asked.model_name,
        task=prepared.collection.task,
    )
    save_model(run.path / "model.safetensors", kept.network, about)
    last = [line for line in run.lines() if line["event"] == "train"]
    counted = cost(prepared.model)
    faults = dict(prepared.damaged)
    for fault in journal.faults:
        name, _, reason = fault.partition(": ")
        faults[name] = f"became unreadable while it was used: {reason}"
    run.write(
        "result.json",
        {
            "status": "done",
            "metrics": figures,
            "classes": list(classes),
            "task": encode(prepared.collection.task),
            "shown": tally.shown(),
            **judged.details,
            "chosen": kept.chosen,
            "data": {
                "train": len(prepared.train),
                "val": len(prepared.val),
                "damaged": [{"name": name, "reason": reason} for name, reason in faults.items()],
                "copies": prepared.leaks.to_dict(),
                "notes": [*prepared.notes, *judged.notes],
            },
            "cost": asdict(counted),
            "time_s": sum(spent_by_attempt(last)),
            "throughput_img_s": last[-1]["throughput/img_s"],
            "peak_mb": max(line["mem/peak_mb"] for line in last),
        },
    )


def spent_by_attempt(lines: Sequence[dict[str, Any]]) -> list[float]:
    """Training seconds of each attempt, as far as they were logged."""
    spent: dict[int, float] = {}
    for line in lines:
        spent[line["attempt"]] = line["time_s"]
    return list(spent.values())
