"""Probing: the linear probe of a run, which its head begins with and its result is compared with."""

import time
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor

from paretina.data.pictures import Pictures
from paretina.measure.judge import Tally
from paretina.measure.judges.top_one import Answers
from paretina.measure.plan import Plan
from paretina.measure.statistics import Interval, as_columns, wilson
from paretina.train.probe import Probe, features, fit_probe
from paretina.train.ranks import Ranks
from paretina.train.remembered import Remembered, entry
from paretina.train.resolve import Prepared
from paretina.train.starting import first_values


@dataclass(frozen=True)
class Probed:
    """What a run has of its probe.

    Attributes:
        figures: what `result.json` says: accuracy on the validation pictures and by cross-validation, in percent, `penalty`,
            `size` in pixels, `time_s`.
        faults: pictures that could no longer be read, as `name: reason`.
        open: whether the accuracy on the validation pictures is still to come: from the evaluation of the run, which
            evaluates the probe itself.
    """

    probe: Probe
    figures: dict[str, Any]
    faults: tuple[str, ...]
    open: bool = False

    def completed(self, tally: Tally) -> "Probed":
        """With the accuracy of the run's own evaluation where it is still open."""
        if not self.open or not isinstance(tally, Answers):
            return self
        _, logits, labels = tally.answers()
        right = int((logits.argmax(1) == labels).sum())
        return replace(self, figures={**self.figures, **accuracy(right, len(labels))}, open=False)


def accuracy(right: int, n: int) -> dict[str, float | None]:
    """Top-1 accuracy in percent, with its interval; None without pictures."""
    return as_columns("top1", Interval(*(100 * share for share in wilson(right, n))) if n else None)


def probed(prepared: Prepared, ranks: Ranks, remembered: Remembered | None = None) -> Probed:
    """Fits the probe of a run, in the first process; the others wait for it.

    The network has its first weights and sees pictures as in evaluation, at the size of these weights, whatever the plan of the
    training: as `paretina evaluate` measures a file.

    Args:
        remembered: maps of the training pictures, which the features are computed from where the size is the same.

    Raises:
        ValueError: the features of a picture are not finite, or no training picture can be read any more.
    """
    return cast(Probed, ranks.from_first(own_probe(prepared, ranks, remembered) if ranks.first else None))


def own_probe(prepared: Prepared, ranks: Ranks, remembered: Remembered | None) -> Probed:
    began = time.monotonic()
    classes, size = prepared.model.classes, prepared.probe_size
    assert size is not None
    plan = Plan(device=ranks.device(prepared.asked.plan.device))
    with torch.random.fork_rng(devices=[]):
        network = prepared.model.build()
        first_values(network, prepared.start, prepared.collection.classes)
    plan.place(network.eval())
    found, faults = [], []
    shipped = not prepared.recipe.epochs and size == prepared.model.resolution
    for pictures in (prepared.train,) if shipped else (prepared.train, prepared.val):
        workers = prepared.asked.plan.worker_count(ranks.locals, kept=pictures.kept)
        labels = labels_of(pictures, classes)
        if remembered is not None and pictures is prepared.train and size == prepared.model.resolution:
            rows = remembered.features(network, entry(prepared.model, prepared.recipe.learning.frozen_parts(prepared.model)))
        else:
            rows = features(network, pictures, plan, size, workers)
        gone = rows.isnan().all(1)
        faults += [f"{pictures.samples[i].name}: not there for the linear probe" for i in gone.nonzero().flatten().tolist()]
        kept = ~gone & (labels >= 0)
        found.append((rows[kept], labels[kept]))
    (train, truth), *judged = found
    if not len(train):
        raise ValueError("there is no training picture with a label and features that the linear probe could be fitted to")
    probe = fit_probe(train, truth, classes)
    own = probe.cross_validated
    figures: dict[str, Any] = accuracy(0, 0)
    for val, labels in judged:
        figures = accuracy(int((probe(val).argmax(1) == labels).sum()), len(val))
    figures |= {
        "cross_validated": None if own is None else {**as_columns("top1", own.top1), "n": len(own.samples)},
        "penalty": probe.penalty,
        "size": size,
        "time_s": time.monotonic() - began,
    }
    return Probed(probe, figures, tuple(faults), shipped)


def labels_of(pictures: Pictures, classes: int) -> Int[Tensor, " sample"]:
    """The class of each picture, the likeliest where the data has probabilities; -1 where nothing is said of it."""
    task = pictures.collection.task
    targets = task.targets([pictures.target(number) for number in range(len(pictures))], classes)
    return torch.where(targets.sum(1) > 0, targets.argmax(1), -1)
