"""One update, from its pictures to the new weights; used by the loop and by the time estimate."""

import functools
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paretina.data.ahead import Ahead
from paretina.data.loader import LoadedBatch
from paretina.data.sampler import Epochs, seed_of
from paretina.measure.plan import Plan
from paretina.measure.update import Update
from paretina.model.roles import roles
from paretina.train.objective import Learner
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe


@dataclass(frozen=True)
class Made:
    """The result of an update.

    Attributes:
        losses: parts of the loss by name, averaged over the update; on the device.
        schedules: values to log, by column: `lr`, `size`, drop rates.
        figures: further values to log, which are still on the device: the gradient norm.
        seen: number of pictures of this process.
        faults: pictures that became unreadable.
        changed: files of pictures that are not as they were.
        waited: seconds until its pictures were loaded.
        moved: whether the weights were updated, which they are not if float16 overflowed: a truth value on the device; None
            where they always are.
    """

    losses: dict[str, Tensor]
    schedules: dict[str, float]
    figures: dict[str, Tensor]
    seen: int
    faults: tuple[str, ...]
    changed: tuple[str, ...]
    moved: Tensor | None
    waited: float = 0.0


class Step:
    """Performs the updates of a learner, without a wait for the device.

    Attributes:
        optimizer: its state, and that of `scaler`, belong in a checkpoint.
    """

    def __init__(self, learner: Learner, recipe: Recipe, plan: Plan, ranks: Ranks, epochs: Epochs) -> None:
        owned = roles(learner)
        self.learner, self.recipe, self.plan, self.ranks, self.epochs = learner, recipe, plan, ranks, epochs
        self.optimizer = recipe.optimizer.make(recipe.learning.groups(learner, recipe.optimizer))
        self.clipped = recipe.clip.choose(learner.named_parameters(), lambda name: owned[name].place) if recipe.clip else []
        self.update = Update(plan, self.optimizer)
        self.scaler = self.update.scaler
        self.wrapped: nn.Module = learner
        self.send = Ahead(plan.device, plan.torch_memory_format)

    def begin(self) -> None:
        """Called when the initial or restored weights are in place."""
        self.wrapped = self.ranks.wrap(self.learner)

    def __call__(self, update: int, batches: Iterator[LoadedBatch]) -> Made:
        """Performs an update.

        Args:
            update: index of the update, from 0; determines learning rate, seeds and weights of pictures.
        """
        recipe, ranks, epochs = self.recipe, self.ranks, self.epochs
        clock = epochs.clock(update)
        rate = recipe.optimizer.set_rates(self.optimizer, clock, epochs.per_update)
        schedules = recipe.set_rates(self.learner, clock)
        losses: dict[str, Tensor] = {}
        faults: list[str] = []
        changed: list[str] = []
        seen, waited = 0, 0.0
        for number in range(recipe.accumulate):
            began = time.perf_counter()
            loaded = next(batches)
            waited += time.perf_counter() - began
            batch = self.send(loaded.batch)
            generator = torch.Generator().manual_seed(seed_of(recipe.seed, update, ranks.rank, number))
            for transform in recipe.batch_transforms():
                batch = transform(batch, clock, generator)
            # every picture has the same weight, even if the parts of an update differ in length by one
            share = (len(batch) + len(loaded.faults)) * ranks.count / epochs.count(update)
            with nullcontext() if number == recipe.accumulate - 1 else ranks.apart(self.wrapped):
                parts = self.update.learn(functools.partial(self.wrapped, batch, clock), share)
            for name, part in parts.items():
                losses[name] = losses.get(name, torch.zeros_like(part)) + part.detach() / recipe.accumulate
            seen += len(batch)
            faults += loaded.faults
            changed += loaded.changed
        moved, norm = self.update.step(functools.partial(recipe.clip, self.clipped, clock) if recipe.clip else None)
        figures = {} if norm is None else {"grad_norm": norm}
        self.learner.moved = moved
        self.learner.updated(clock)
        schedules.update(lr=rate, size=batch.images.shape[-1])
        return Made(losses, schedules, figures, seen, tuple(faults), tuple(changed), moved, waited)
