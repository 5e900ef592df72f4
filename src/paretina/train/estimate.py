"""Estimates the time and memory of a run from a few real updates."""

import itertools
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from paretina.clock import Clock
from paretina.data.bounds import check_run
from paretina.data.loader import LoadedBatch, training_batches
from paretina.data.sampler import order_of
from paretina.measure.memory import peak_mb
from paretina.measure.process import process_settings
from paretina.model.fold import fastest_form
from paretina.schedules import Constant
from paretina.text import how_many
from paretina.train.loop import Job
from paretina.train.own_pictures import looked_at
from paretina.train.ranks import Ranks
from paretina.train.remembered import views_kept
from paretina.train.resolve import Prepared, make_job, prepare
from paretina.train.step import Step


@dataclass(frozen=True)
class Estimate:
    """Estimated time and memory of a run, measured on a few real updates.

    Attributes:
        update_s: seconds per update, averaged over the image sizes of the run.
        evaluate_s: seconds per evaluation.
        begin_s: seconds before the first update, for what is computed once for all pictures.
        own_s: seconds behind the last update for the main figure on training pictures.
        peak_mb: peak memory of the process so far, in MiB; on a GPU that of its tensors.
        probe_s: seconds of forward passes for the linear probe that initialises the head, if it does.
    """

    updates: int
    updates_per_epoch: int
    update_s: float
    evaluate_s: float
    evaluations: int
    total_s: float
    peak_mb: float
    probe_s: float = 0.0
    begin_s: float = 0.0
    own_s: float = 0.0


@process_settings()
def rehearse(prepared: Prepared, updates: int = 4, seconds: float = 0.0) -> Estimate:
    """Times a few updates at the largest image size, on a network that is thrown away.

    Args:
        updates: at least.
        seconds: that the updates take at least, or `MOST_REHEARSED` of them: a few can fall into a moment that is not typical.
    """
    with prepared.asked.plan.threaded():
        if prepared.recipe.epochs:
            return rehearsed(prepared, updates, seconds)
        recipe = replace(prepared.recipe, epochs=1.0)  # of which there is something to time
        found = rehearsed(replace(prepared, asked=replace(prepared.asked, recipe=recipe)), updates, seconds)
        return replace(found, updates=0, evaluations=1, total_s=found.begin_s + found.evaluate_s + found.own_s + found.probe_s)


MOST_REHEARSED = 50

REHEARSAL = 0.025
"""Share of a time limit that updates are timed for."""


def rehearsed(prepared: Prepared, updates: int, seconds: float) -> Estimate:
    recipe, epochs = prepared.recipe, prepared.epochs
    sizes = prepared.asked.sizes()
    sides = [sizes(Clock(i, 100, recipe.epochs)) for i in range(100)]
    largest = Constant(value=max(sides))
    job = make_job(prepared, Ranks())
    learner, plan = job.learner.train(), job.plan
    step = Step(learner, recipe, plan, Ranks(), epochs)
    step.begin()
    order = order_of(recipe.sampling, job.pictures.labels(), job.pictures.groups(), recipe.accumulate)
    first = epochs.requests(largest, 0, recipe.accumulate, slice(None), order)
    requests = itertools.cycle(itertools.islice(first, recipe.accumulate))
    workers = plan.worker_count(kept=prepared.train.kept)
    classes = prepared.model.classes
    batches = training_batches(prepared.train, recipe.looks(), requests, classes, workers, pixels=recipe.pixels())
    begin_s = lead_s = 0.0
    if views := recipe.learning.remembered_views:
        batches, lead_s = with_maps(batches, job)
        begin_s = max(0, views - views_kept()) * len(prepared.train) * lead_s
    stamps = [time.monotonic()]
    while len(stamps) < updates + 2 or (stamps[-1] - stamps[0] < seconds and len(stamps) < MOST_REHEARSED):
        made = step(epochs.updates // 2, batches)
        sum(part.float().item() for part in made.losses.values())  # waits for the device
        stamps.append(time.monotonic())
    share = sum((side / largest.value) ** 2 for side in sides) / len(sides)
    update_s = statistics.median(b - a for a, b in itertools.pairwise(stamps[1:])) * share
    side = prepared.model.resolution if recipe.learning.remembered_views else round(largest.value)
    images = torch.randint(256, (recipe.batch_size, prepared.model.channels, side, side), dtype=torch.uint8)
    images = images.to(plan.device, memory_format=plan.torch_memory_format)
    with torch.inference_mode(), plan.arithmetic():
        network = fastest_form(learner.result().eval())
        for _ in range(2):  # the first pass is a warm-up
            began = time.monotonic()
            network(images).float().sum().item()
            image_s = (time.monotonic() - began) / len(images)
    evaluate_s, own_s = image_s * len(prepared.val), image_s * len(looked_at(prepared))
    evaluations = recipe.test.evaluations(recipe.epochs)
    probe_s = 0.0
    if prepared.probe_size is not None:
        share = (prepared.probe_size / images.shape[-1]) ** 2
        # remembered maps of that size are where the features of the training pictures come from
        train_s = max(0.0, image_s - lead_s) if lead_s and share == 1 else image_s * share
        probe_s = train_s * len(prepared.train) + image_s * share * len(prepared.val)
    return Estimate(
        updates=epochs.updates,
        updates_per_epoch=epochs.updates_per_epoch,
        update_s=update_s,
        evaluate_s=evaluate_s,
        evaluations=evaluations,
        begin_s=begin_s,
        own_s=own_s,
        total_s=begin_s + epochs.updates * update_s + evaluations * evaluate_s + own_s + probe_s,
        peak_mb=peak_mb(plan.device),
        probe_s=probe_s,
    )


def with_maps(batches: Iterator[LoadedBatch], job: Job) -> tuple[Iterator[LoadedBatch], float]:
    """The first batch, repeated, with the feature maps of frozen parts in place of images; and seconds per picture for them."""
    plan, network = job.plan, job.learner.result()
    for _ in range(2):  # the first pass is a warm-up
        began = time.monotonic()
        loaded = next(batches)
        batch = loaded.batch.to(plan.device, plan.torch_memory_format)
        with torch.inference_mode(), plan.arithmetic():
            maps = network.lead(batch.images).float().cpu()
        lead_s = (time.monotonic() - began) / len(batch)
    return itertools.repeat(replace(loaded, batch=replace(loaded.batch, views=(maps.clone(),)))), lead_s


class ShortTimeError(ValueError):
    """Raised if not even one update fits into a time limit.

    Attributes:
        needed_s: approximate time limit in seconds in which one epoch would fit.
    """

    def __init__(self, message: str, needed_s: float) -> None:
        super().__init__(message)
        self.needed_s = needed_s


END_S = 2.0
"""Seconds for metrics, the model file and the report at the end of a run."""


@dataclass(frozen=True)
class FittedRun:
    """A run whose length fits into a time.

    Attributes:
        said: a sentence that says so.
        end_s: seconds for the end of the run, behind the last update.
    """

    prepared: Prepared
    said: str
    end_s: float = END_S


def fit_to_time(prepared: Prepared, seconds: float, ranks: int = 1, capped: bool = False) -> tuple[Prepared, str]:
    """As `fit`, without what it knows of the end of the run."""
    found = fit(prepared, seconds, ranks, capped)
    return found.prepared, found.said


def fit(prepared: Prepared, seconds: float, ranks: int = 1, capped: bool = False) -> FittedRun:
    """Sets the epochs of the recipe to what fits into the time, evaluations and probe included, with 15 % in reserve.

    A recipe with 0 epochs is left as it is. A run fits its length again while it goes on, see `paretina.train.deadline`.

    Args:
        ranks: number of processes (world size).
        capped: whether the epochs of the recipe are the most that are made.

    Raises:
        ShortTimeError: not even one update fits.
    """
    if not prepared.recipe.epochs:
        return FittedRun(prepared, f"no update is made, since epochs=0, whatever fits into the {seconds:.0f} s that are left")
    began = time.monotonic()
    estimate = rehearse(prepared, seconds=REHEARSAL * seconds)
    looked = time.monotonic() - began
    last_s = estimate.evaluate_s + estimate.own_s
    left = 0.85 * (seconds - looked - END_S) - last_s - estimate.begin_s - estimate.probe_s
    recipe, end_s = prepared.recipe, END_S + last_s
    per_epoch = estimate.update_s * estimate.updates_per_epoch + estimate.evaluate_s / recipe.test.every
    epochs = left / per_epoch
    if epochs * estimate.updates_per_epoch < 1:
        spent = per_epoch + last_s + estimate.begin_s + estimate.probe_s
        needed = float(math.ceil(looked + END_S + spent / 0.85))
        raise ShortTimeError(
            f"an update takes {estimate.update_s:.1f} s, so nothing can be trained in {seconds:.3g} s; an epoch with its "
            f"evaluations takes about {needed:.0f} s",
            needed,
        )
    fits, epochs = epochs, round(min(epochs, recipe.epochs) if capped else epochs, 2)
    if epochs < fits - 0.01:
        said = (
            f"{how_many(epochs, 'epoch')}, fewer than fit into the {seconds:.0f} s that are left of the time limit: more would "
            "gain nothing"
        )
        return FittedRun(replace(prepared, asked=replace(prepared.asked, recipe=replace(recipe, epochs=epochs))), said, end_s)
    fitting = how_many(epochs, "epoch fits", plural="epochs fit")
    said = f"{fitting} into the {seconds:.0f} s that are left of the time limit (asked for: {recipe.epochs:.3g})"
    asked = replace(prepared.asked, recipe=replace(recipe, epochs=epochs))
    check_run(asked.recipe, epochs)
    if asked.sides() == prepared.asked.sides():
        return FittedRun(replace(prepared, asked=asked), said, end_s)
    # another length may have other image sizes, which must be checked and decoded for
    return FittedRun(replace(prepare(asked, ranks), notes=prepared.notes), said, end_s)
