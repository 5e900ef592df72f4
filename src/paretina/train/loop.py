"""The training loop, to be read top to bottom.

One update: learning rate, batch, transforms, forward, loss, backward, clip, step, average, log. Time is given by the clock,
randomness by generators seeded from the seed; the loop knows no particular method. Losses stay on the device until they are
logged. An interrupted and resumed run gives the same result as an uninterrupted one, bit for bit.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from paretina.data.loader import LoadedBatch, training_batches
from paretina.data.pictures import Pictures
from paretina.data.sampler import Epochs, order_of, seed_of
from paretina.measure.evaluate import Evaluation
from paretina.measure.judge import Tally
from paretina.measure.plan import Plan
from paretina.model.build import Network
from paretina.run import Run
from paretina.schedules import Schedule
from paretina.text import how_many
from paretina.train.checkpoint import gather, load_state, other_count, put_back, random_state, save_state, set_random_state
from paretina.train.deadline import Deadline
from paretina.train.interrupt import asked_to_stop
from paretina.train.journal import Journal
from paretina.train.objective import Learner
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.remembered import Remembered
from paretina.train.step import Step


@dataclass(frozen=True)
class Job:
    """Input of the loop besides the recipe.

    Attributes:
        learner: owns all trainable modules; on the device.
        evaluation: of the validation pictures.
        size: image size in pixels at each update.
        save_every: seconds between checkpoints; one is also saved after each evaluation.
        remembered: feature maps of the frozen parts to train on in place of images; None to train on images.
        updates: number of updates after which the loop stops as if interrupted; None to finish. A resumed run makes at least
            one more.
        deadline: fits the length of the run to a time limit; None for a run of fixed length.
    """

    learner: Learner
    pictures: Pictures
    evaluation: Evaluation
    size: Schedule
    plan: Plan
    ranks: Ranks
    save_every: float = 60.0
    updates: int | None = None
    remembered: Remembered | None = None
    deadline: Deadline | None = None


@dataclass(frozen=True)
class FinalNetwork:
    """The result of a finished run.

    Attributes:
        network: the network to save.
        chosen: a sentence that says which weights these are, and how they were selected.
        epochs: that were made.
        judged: the name in the log of weights that were not evaluated since the last update, "val" or "val_ema"; None for the
            others.
    """

    network: Network
    chosen: str
    epochs: Epochs
    judged: str | None = None


def run_updates(job: Job, recipe: Recipe, run: Run, journal: Journal) -> FinalNetwork:
    """Trains, from the last checkpoint of the run if there is one.

    Raises:
        FloatingPointError: the loss is not finite; has the step and the parts of the loss.
        KeyboardInterrupt: the run was interrupted, or `job.updates` are done; a checkpoint is saved.
    """
    learner, plan, ranks = job.learner, job.plan, job.ranks
    network = learner.result()
    epochs = recipe.updates(len(job.pictures))
    step = Step(learner, recipe, plan, ranks, epochs)
    averager = recipe.average.make(network) if recipe.average else None
    kept = cast(Network, averager.module) if averager else network
    judged = "val_ema" if averager else "val"
    best: dict[str, Any] = {}
    start = 0

    if folder := run.last_state():
        state = load_state(folder)
        put_back(state, learner, step.optimizer, step.scaler, averager)
        before = len(state["random"])
        if before == ranks.count:
            set_random_state(state["random"][ranks.rank], plan.device)
        else:
            torch.manual_seed(seed_of(recipe.seed, state["update"], ranks.rank))
            journal.note(state["update"], other_count(before, ranks.count))
        best, start = state["best"], state["update"]
        epochs = step.epochs = replace(epochs, epochs=state.get("epochs", epochs.epochs))

    step.begin()
    workers = plan.worker_count(ranks.locals, kept=job.pictures.kept)
    batches = batches_from(job, recipe, epochs, start, workers)
    if job.deadline:
        job.deadline.begin(epochs)
    evaluate_every = max(1, round(recipe.test.every * epochs.updates_per_epoch))
    update, saved = start, time.monotonic()
    learner.train()

    with asked_to_stop() as stop:
        while update < epochs.updates:
            made = step(update, batches)
            journal.take(update, made)
            if averager:
                averager.update(network, epochs.clock(update), made.moved)

            done = update + 1
            if job.deadline and done < epochs.updates and job.deadline.looks(done):
                journal.check()  # what is timed must be done
                if fitted := ranks.from_first(job.deadline.refit(done, epochs)):
                    journal.tell("fitted", done, epochs=fitted.epochs, planned=epochs.epochs)
                    epochs = step.epochs = fitted
                    batches = batches_from(job, recipe, epochs, done, workers)
            now, last = epochs.clock(done), done == epochs.updates
            # the last weights are evaluated once, after the loop, unless the best ones are looked for
            evaluating = recipe.test.keep == "best" if last else done % evaluate_every == 0
            halt, save, due = done >= (job.updates or epochs.updates), False, evaluating or last or done == start + 1
            if halt or due or ranks.meet(done):
                asked = (halt or stop.asked, time.monotonic() - saved >= job.save_every, halt or due or journal.due())
                halt, save, due = ranks.from_first(asked)
            if due or halt or save:
                journal.check()
            if due or halt:
                if job.remembered:  # maps have fewer pixels than the pictures that they stand for
                    made.schedules["size"] = round(job.size(epochs.clock(update)))
                journal.train(done, made.losses, made.figures, **made.schedules, epoch=now.epoch, updates=epochs.updates)
            if evaluating:
                with journal.pause():
                    tally = tallied(job, kept, workers)
                journal.left_out(done, job.evaluation.faults, job.evaluation.changed)
                journal.val(done, now.epoch, judged, tally)
                value = tally.quick()[tally.KEY]
                if recipe.test.keep == "best" and tally.better(value, best.get("value")):
                    weights = {name: tensor.clone() for name, tensor in kept.state_dict().items()}
                    best = {"value": value, "title": tally.TITLE, "update": done, "weights": weights}
            if last:
                for module in (network, kept):  # which differ between ranks in the statistics of their norms
                    ranks.agree(module)
            if evaluating or last or halt or save:
                random = ranks.every(random_state(plan.device))
                state = gather(learner, step.optimizer, step.scaler, averager, best, done, epochs.epochs, random)
                if ranks.first:
                    with run.new_state(done) as folder:
                        save_state(folder, state)
                ranks.wait()
                saved = time.monotonic()
            if halt and done < epochs.updates:
                raise stop.error(f"stopped after {done} of {how_many(epochs.updates, 'update')}")
            update = done

    if not epochs.updates:
        return FinalNetwork(kept, "the weights that the run began with; it made no update", epochs)
    average = "the average of the weights" if averager else "the weights"
    if recipe.test.keep == "best":
        kept.load_state_dict(best["weights"])
        at = f"after update {best['update']} of {epochs.updates}"
        chosen = f"{average} {at}, chosen for the best {best['title']} on the validation data, so the figures are optimistic"
        return FinalNetwork(kept, chosen, epochs)
    chosen = f"{average} after the last update, {epochs.updates}; nothing was chosen on the validation data"
    return FinalNetwork(kept, chosen, epochs, judged)


def batches_from(job: Job, recipe: Recipe, epochs: Epochs, start: int, workers: int) -> Iterator[LoadedBatch]:
    """The batches of this rank, from an update on."""
    ranks = job.ranks
    mine = slice(ranks.rank * recipe.accumulate, (ranks.rank + 1) * recipe.accumulate)
    order = order_of(recipe.sampling, job.pictures.labels(), job.pictures.groups(), recipe.accumulate)
    requests = epochs.requests(job.size, start, ranks.count * recipe.accumulate, mine, order)
    if job.remembered:
        return job.remembered.batches(requests, epochs.updates_per_epoch)
    classes, pinned = job.learner.result().model.classes, job.plan.device_type == "cuda"
    return training_batches(job.pictures, recipe.looks(), requests, classes, workers, pinned, recipe.pixels())


def tallied(job: Job, network: nn.Module, workers: int) -> Tally:
    """The outputs of a network for the validation pictures, gathered from all ranks."""
    job.ranks.agree(network)
    first, *others = job.ranks.every(job.evaluation.tally(network, workers))
    return first.with_all(others)
