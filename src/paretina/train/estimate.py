"""Estimate: how long a run will take, from a few updates that are really made."""

import itertools
import math
import statistics
import time
from dataclasses import dataclass, replace

import torch

from paretina.clock import Clock
from paretina.data.bounds import check_run
from paretina.data.loader import training_batches
from paretina.measure.memory import peak_mb
from paretina.measure.process import process_settings
from paretina.schedules import Constant
from paretina.text import how_many
from paretina.train.ranks import Ranks
from paretina.train.resolve import Prepared, make_job, prepare
from paretina.train.step import Step


@dataclass(frozen=True)
class Estimate:
    """What a run would take, from a few updates that were really made.

    Attributes:
        update_s: seconds an update, on average over the sizes of the run.
        evaluate_s: seconds an evaluation.
        peak_mb: memory of the process so far, in units of 2^20 bytes; on a GPU that of its tensors.
        probe_s: seconds in which the network sees the pictures for the linear probe that its head starts as, if it does.
    """

    updates: int
    updates_per_epoch: int
    update_s: float
    evaluate_s: float
    evaluations: int
    total_s: float
    peak_mb: float
    probe_s: float = 0.0


@process_settings()
def rehearse(prepared: Prepared, updates: int = 4) -> Estimate:
    """Makes a few updates at the largest size, on a network that is thrown away, and times them."""
    with prepared.asked.plan.threaded():
        if prepared.recipe.epochs:
            return rehearsed(prepared, updates)
        recipe = replace(prepared.recipe, epochs=1.0)  # of which there is something to time
        found = rehearsed(replace(prepared, asked=replace(prepared.asked, recipe=recipe)), updates)
        return replace(found, updates=0, evaluations=1, total_s=found.evaluate_s + found.probe_s)


def rehearsed(prepared: Prepared, updates: int) -> Estimate:
    recipe, epochs = prepared.recipe, prepared.epochs
    sizes = prepared.asked.sizes()
    sides = [sizes(Clock(i, 100, recipe.epochs)) for i in range(100)]
    largest = Constant(value=max(sides))
    job = make_job(prepared, Ranks())
    learner, plan = job.learner.train(), job.plan
    step = Step(learner, recipe, plan, Ranks(), epochs)
    step.begin()
    requests = itertools.cycle(itertools.islice(epochs.requests(largest, 0, recipe.accumulate, slice(None)), recipe.accumulate))
    workers = plan.worker_count(kept=prepared.train.pixels is not None)
    batches = training_batches(prepared.train, recipe.looks(), requests, prepared.model.classes, workers)
    stamps = [time.monotonic()]
    for _ in range(updates + 1):
        made = step(epochs.updates // 2, batches, lambda losses: None)
        sum(part.float().item() for part in made.losses.values())  # waits for the device
        stamps.append(time.monotonic())
    share = sum((side / largest.value) ** 2 for side in sides) / len(sides)
    update_s = statistics.median(b - a for a, b in itertools.pairwise(stamps[1:])) * share
    images = next(batches).batch.to(plan.device, plan.torch_memory_format).images
    with torch.inference_mode(), plan.arithmetic():
        network = learner.result().eval()
        for _ in range(2):  # the first pass takes longer than the others will
            began = time.monotonic()
            network(images).float().sum().item()
            image_s = (time.monotonic() - began) / len(images)
    evaluate_s = image_s * len(prepared.val) * (2 if recipe.average else 1)
    evaluations = recipe.test.evaluations(recipe.epochs)
    probe_s = 0.0
    if prepared.probe_size is not None:
        share = (prepared.probe_size / images.shape[-1]) ** 2
        probe_s = image_s * share * (len(prepared.train) + len(prepared.val))
    return Estimate(
        updates=epochs.updates,
        updates_per_epoch=epochs.updates_per_epoch,
        update_s=update_s,
        evaluate_s=evaluate_s,
        evaluations=evaluations,
        total_s=epochs.updates * update_s + evaluations * evaluate_s + probe_s,
        peak_mb=peak_mb(plan.device),
        probe_s=probe_s,
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
    """Gives the recipe as many epochs as fit into the time, evaluations and probe included, with a tenth in reserve.

    A recipe without any epochs stays as it is.

    Args:
        ranks: number of processes that share an update.

    Raises:
        ShortTimeError: not even one update fits.
    """
    if not prepared.recipe.epochs:
        return prepared, f"no update is made, since epochs=0, whatever fits into the time limit of {seconds:.0f} s"
    began = time.monotonic()
    estimate = rehearse(prepared)
    looked = time.monotonic() - began
    left = 0.9 * (seconds - looked) - 2 * estimate.evaluate_s - estimate.probe_s
    recipe = prepared.recipe
    per_epoch = estimate.update_s * estimate.updates_per_epoch + estimate.evaluate_s / recipe.test.every
    epochs = left / per_epoch
    if epochs * estimate.updates_per_epoch < 1:
        needed = float(math.ceil(looked + (per_epoch + 2 * estimate.evaluate_s + estimate.probe_s) / 0.9))
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
