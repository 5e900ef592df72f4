"""The interface of judges, which compute the metrics of one kind of task.

A judge starts tallies. A tally takes logits batch by batch and keeps what its metrics need; those of several processes are
merged. Training loop, evaluation and report know no metric by name: they use `KEY`.
"""

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, Num
from torch import Tensor

from paretina.data.pictures import Pictures
from paretina.model.task import Task
from paretina.run import Run
from paretina.shapes import Ids, Image, Logits, Targets
from paretina.spec import kind_named
from paretina.traits import Method, Never

Seen = Callable[[int], tuple[Image, Tensor] | None]


@dataclass(frozen=True)
class Judged:
    """The metrics over all pictures.

    Attributes:
        metrics: values by metric key, `val/NAME`; the ends of 95 % intervals under `val/NAME_low` and `val/NAME_high`. None if
            undefined.
        details: further entries of `result.json`, such as `per_class` and `confusion`; plain values.
        notes: omissions and their reasons, a sentence each.
        thresholds: the probability above which a picture has each class, chosen on these pictures, for the model file; empty
            where a task needs none.
        hierarchy: the groups of the classes, for the model file; see `paretina.measure.hierarchy`.
    """

    metrics: dict[str, float | None]
    details: dict[str, Any]
    notes: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    hierarchy: tuple[tuple[str, str], ...] = ()


class Tally(ABC):
    """Accumulates what is needed of the logits. Picklable, since it is sent between processes.

    Attributes:
        KEY: the main metric in `quick()`, shown during training and used by `keep="best"`.
        TITLE: its name in text.
        UNIT: its unit, "" for none.
        RISES: whether higher is better.
    """

    KEY: ClassVar[str]
    TITLE: ClassVar[str]
    UNIT: ClassVar[str] = "%"
    RISES: ClassVar[bool] = True

    def prepare(self, count: int, seen: Seen) -> None:  # noqa: B027
        """Called before the first batch of a task of pixels or boxes; does nothing unless it is overridden.

        Args:
            count: number of pictures.
            seen: gives a picture as the network sees it and the label of its pixels, [row, column], likewise, by its number in
                the split; for what needs more than targets and logits. Beside boxes the second is of no use. None of a picture
                that cannot be read any more.
        """

    def sized(self, side: int) -> None:  # noqa: B027
        """Called before the first batch with the side of the pictures as the network sees them, in pixels; does nothing unless
        it is overridden."""

    @abstractmethod
    def add(self, logits: Logits, targets: Targets, ids: Ids) -> None:
        """Adds a batch. A row of zeros in the targets is not counted.

        Args:
            logits: float32.
            ids: number of each picture in the split.
        """

    @abstractmethod
    def with_all(self, others: Sequence["Tally"]) -> "Tally":
        """Merges this tally with others of its kind, as if one had taken all pictures; the order does not matter."""

    def only(self, numbers: Collection[int]) -> "Tally | None":
        """A tally of some of the pictures, by their numbers in the split; None where it cannot be told."""
        return None

    def counted(self) -> int:
        """How many pictures are counted, for tallies with `only`."""
        return 0

    @abstractmethod
    def quick(self) -> dict[str, float]:
        """The metrics for a line of the log, including `loss` and `KEY`; without intervals."""

    @abstractmethod
    def judged(self, classes: tuple[str, ...]) -> Judged:
        """Computes all metrics.

        Raises:
            ValueError: there is nothing to judge.
        """

    @abstractmethod
    def table(self, path: Path, pictures: Pictures, classes: tuple[str, ...]) -> None:
        """Writes a line for each picture, as CSV."""

    def write(self, run: Run, pictures: Pictures) -> None:
        """Writes the files of a run directory other than `result.json`."""
        self.table(run.path / "predictions.csv", pictures, pictures.collection.classes)

    @classmethod
    def shown(cls) -> dict[str, str]:
        """The entries of a log line or a result that name its main metric."""
        return {"key": cls.KEY, "title": cls.TITLE, "unit": cls.UNIT}

    @classmethod
    def better(cls, value: float, than: float | None) -> bool:
        """Whether a value of `KEY` is better than another, or than None; nan is never better."""
        if than is None:
            return value == value
        return value > than if cls.RISES else value < than


class Showing(Tally):
    """A tally that keeps some pictures as the network sees them, for the report.

    Attributes:
        wanted: their numbers, spread evenly over the split.
        seen: gives a picture; None where none is kept, and in another process.
    """

    SHOWN: ClassVar[int] = 8

    wanted: frozenset[int] = frozenset()
    seen: Seen | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "seen": None}

    def prepare(self, count: int, seen: Seen) -> None:
        most = min(self.SHOWN, count)
        self.wanted = frozenset(torch.linspace(0, max(0, count - 1), most, dtype=torch.float64).round().int().tolist())
        self.seen = seen


class PerPicture(Tally):
    """A tally that keeps a row for each picture, so that metrics do not depend on the order of batches.

    Args:
        empty: the tensors for zero pictures: their first axis has length 0.
    """

    def __init__(self, *empty: Tensor) -> None:
        self.parts: list[tuple[Tensor, ...]] = [(torch.empty(0, dtype=torch.int64), *empty)]

    def keep(self, ids: Ids, *columns: Tensor) -> None:
        self.parts.append(tuple(column.cpu() for column in (ids, *columns)))

    def with_all(self, others: Sequence[Tally]) -> "PerPicture":
        joined = copy.copy(self)
        joined.parts = [part for each in (self, *others) for part in cast(PerPicture, each).parts]
        return joined

    def only(self, numbers: Collection[int]) -> "PerPicture":
        part = copy.copy(self)
        wanted = torch.tensor(sorted(numbers), dtype=torch.int64)
        part.parts = [tuple(column[torch.isin(columns[0], wanted)] for column in columns) for columns in self.parts]
        return part

    def counted(self) -> int:
        return sum(len(columns[0]) for columns in self.parts)

    def columns(self) -> tuple[Tensor, ...]:
        """The indices of the pictures and what was kept of them, in the order of the split."""
        columns = [torch.cat(column) for column in zip(*self.parts, strict=True)]
        order = columns[0].argsort()
        return tuple(column[order] for column in columns)


@dataclass(frozen=True, kw_only=True)
class Judge(Method):
    """Chooses the metrics of a run.

    Attributes:
        TASK: the kind of task that it is for.
        LOSS: whether it uses the training loss, because there are no labels: its tallies then get the loss of the batch in
            place of every logit. Only a run has that loss, a model file has not.
    """

    PLUGINS = ("paretina.measure.judges",)
    LEFT_OUT = Never("it is how a run is judged")
    LOW_PRECISION = Never("it is not part of the training")
    TASK: ClassVar[type[Task]]
    LOSS: ClassVar[bool] = False

    def check(self, classes: tuple[str, ...]) -> None:
        """Checks that it fits the classes of the data.

        Raises:
            ValueError: it does not.
        """

    @abstractmethod
    def start(self, classes: int) -> Tally:
        """An empty tally.

        Args:
            classes: number of classes.
        """


def picture_digest(names: Iterable[str]) -> str:
    """A digest of the names of pictures, in any order."""
    text = "\n".join(sorted(names))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def judge_of(task: Task) -> Judge:
    """The default judge of a task."""
    return kind_named(Judge, task.JUDGE)()  # type: ignore[type-abstract]


# --- figures that several judges have -----------------------------------------------------------------------------------

RESAMPLES = 1000
"""Number of bootstrap resamples for intervals."""

Counts = Num[Tensor, "picture classes"]


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
