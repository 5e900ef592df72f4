"""Judge: what the answers of a network are worth, for one kind of task.

A judge starts tallies. A tally takes answers batch by batch and keeps of them what its figures need; those of several processes
become one. Loop, evaluation and report know no figure by name: they ask for `KEY`.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from paretina.data.pictures import Pictures
from paretina.model.task import Task
from paretina.run import Run
from paretina.shapes import Ids, Logits, Targets
from paretina.spec import kind_named
from paretina.traits import Method, Never


@dataclass(frozen=True)
class Judged:
    """What came out for all pictures.

    Attributes:
        metrics: figures by metric key, `val/NAME`; the ends of 95 % intervals under `val/NAME_low` and `val/NAME_high`. None
            where a figure does not exist.
        details: what else `result.json` says, such as `per_class` and `confusion`; plain values.
        notes: what was left out and why, a sentence each.
    """

    metrics: dict[str, float | None]
    details: dict[str, Any]
    notes: tuple[str, ...] = ()


class Tally(ABC):
    """Answers to pictures, as far as they are needed. Picklable, since it travels between processes.

    Attributes:
        KEY: the figure among `quick()` that is shown during training and by which `keep="best"` chooses.
        TITLE: what that figure is called in text.
        UNIT: its unit, "" for none.
        RISES: whether more of it is better.
    """

    KEY: ClassVar[str]
    TITLE: ClassVar[str]
    UNIT: ClassVar[str] = "%"
    RISES: ClassVar[bool] = True

    @abstractmethod
    def add(self, logits: Logits, targets: Targets, ids: Ids) -> None:
        """Takes a batch. A row of zeros in the targets is not counted.

        Args:
            logits: float32.
            ids: number of each picture in the split.
        """

    @abstractmethod
    def with_all(self, others: Sequence["Tally"]) -> "Tally":
        """This tally and others of its kind as one, as if one had taken all pictures; the order does not matter."""

    @abstractmethod
    def quick(self) -> dict[str, float]:
        """The figures of a line in the log, `loss` and `KEY` among them; without intervals."""

    @abstractmethod
    def judged(self, classes: tuple[str, ...]) -> Judged:
        """All figures.

        Raises:
            ValueError: there is nothing to judge.
        """

    @abstractmethod
    def table(self, path: Path, pictures: Pictures, classes: tuple[str, ...]) -> None:
        """Writes a line for each picture, as CSV."""

    def write(self, run: Run, pictures: Pictures) -> None:
        """Writes what belongs into a run directory besides `result.json`."""
        self.table(run.path / "predictions.csv", pictures, pictures.collection.classes)

    @classmethod
    def shown(cls) -> dict[str, str]:
        """How a line of the log or a result says what its main figure is."""
        return {"key": cls.KEY, "title": cls.TITLE, "unit": cls.UNIT}

    @classmethod
    def better(cls, value: float, than: float | None) -> bool:
        """Whether a value of `KEY` is better than another, or than none; no number is better than nothing."""
        if than is None:
            return value == value
        return value > than if cls.RISES else value < than


class PerPicture(Tally):
    """A tally that keeps a row of numbers for each picture, so that figures do not depend on the order of batches.

    Args:
        empty: what is kept of no picture: tensors whose first axis has the length 0.
    """

    def __init__(self, *empty: Tensor) -> None:
        self.parts: list[tuple[Tensor, ...]] = [(torch.empty(0, dtype=torch.int64), *empty)]

    def keep(self, ids: Ids, *columns: Tensor) -> None:
        self.parts.append(tuple(column.cpu() for column in (ids, *columns)))

    def with_all(self, others: Sequence[Tally]) -> "PerPicture":
        joined = copy.copy(self)
        joined.parts = [part for each in (self, *others) for part in cast(PerPicture, each).parts]
        return joined

    def columns(self) -> tuple[Tensor, ...]:
        """The numbers of the pictures and what was kept of them, in the order of the split."""
        columns = [torch.cat(column) for column in zip(*self.parts, strict=True)]
        order = columns[0].argsort()
        return tuple(column[order] for column in columns)


@dataclass(frozen=True, kw_only=True)
class Judge(Method):
    """Which figures there are.

    Attributes:
        TASK: the kind of task that it judges.
        LOSS: whether it judges by the loss of what learns, because nobody says what is right: its tallies then get the loss of
            the batch in the place of every logit. Only a run has that loss, a model file has not.
    """

    PLUGINS = ("paretina.measure.judges",)
    LEFT_OUT = Never("it is how a run is judged")
    LOW_PRECISION = Never("it is no part of the training")
    TASK: ClassVar[type[Task]]
    LOSS: ClassVar[bool] = False

    @abstractmethod
    def start(self, classes: int) -> Tally:
        """An empty tally.

        Args:
            classes: number of classes.
        """


def judge_of(task: Task) -> Judge:
    """The judge of a task where none is named."""
    return kind_named(Judge, task.JUDGE)()  # type: ignore[type-abstract]


# --- figures that several judges have -----------------------------------------------------------------------------------

RESAMPLES = 1000
"""Samples of the pictures, drawn with replacement, from which intervals come."""

Counts = Int[Tensor, "picture classes"]


def times_drawn(n: int, resamples: int, generator: torch.Generator) -> Float[Tensor, "resample picture"]:
    """How often each of `n` pictures is drawn in each resample."""
    drawn = torch.randint(n, (resamples, n), generator=generator)
    return torch.zeros(resamples, n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))


def resampled_sums(*counts: Counts, seed: int = 0) -> tuple[Float[Tensor, "resample classes"], ...]:
    """Sums over the pictures of each resample."""
    n, generator = len(counts[0]), torch.Generator().manual_seed(seed)
    together = max(1, min(RESAMPLES, 2**22 // max(1, n)))
    sums: list[list[Tensor]] = [[] for _ in counts]
    doubles = [count.double() for count in counts]
    for first in range(0, RESAMPLES, together):
        number = min(together, RESAMPLES - first)
        weights = times_drawn(n, number, generator)
        for found, count in zip(sums, doubles, strict=True):
            found.append(weights @ count)
    return tuple(torch.cat(found) for found in sums)
