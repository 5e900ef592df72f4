"""Logging of training metrics and progress, and the check for non-finite losses."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from paretina.data.damage import is_too_much
from paretina.measure.judge import Tally
from paretina.measure.memory import peak_mb
from paretina.measure.plan import Plan
from paretina.run import Run
from paretina.system import cores
from paretina.text import how_many, printable
from paretina.train.accidents import AccidentError
from paretina.train.ranks import Ranks
from paretina.train.step import Made

Listener = Callable[[dict[str, Any]], None]
"""Called on rank 0 with every line of the log."""


LOST = 0.1
"""Fraction of the pictures that may become unreadable during a run, unless `max_damaged` allows more; a few are left out."""

AS_IT_IS = "the picture is used as it is now, so the run is no longer the one that its settings and its pictures make"

MOST_WAITED = 0.3
"""Share of the training time that loading may take before it is said."""

LEAST_SPENT_S = 20.0
"""Seconds of training below which nothing is said of it: the first pictures always have to be waited for."""

SAID = 5
"""Pictures that became unreadable which are named at once; the log names all."""


class Journal:
    """
    Attributes:
        every: approximate seconds between training lines of the log.
        say: called on rank 0 with each note for the user.
        pictures: number of those of the run, and the fraction of them that may be unreadable; 0 for any.
        most: see `pictures`.
        faults: pictures that became unreadable, as `name: reason`, each once.
        changed: files of pictures that have changed, as `path: what`, each file once.
        waited: seconds of training in which pictures were loaded and nothing else was done.
    """

    def __init__(
        self,
        run: Run,
        ranks: Ranks,
        device: str,
        listen: Listener,
        every: float = 1.0,
        say: Callable[[str], None] = lambda text: None,
        pictures: int = 0,
        most: float = 1.0,
    ) -> None:
        self.run = run
        self.ranks = ranks
        self.device = device
        self.listen = listen
        self.every = every
        self.say = say
        self.began = self.last = time.monotonic()
        self.paused = 0.0
        self.seen = 0
        self.waited = self.logged_waited = self.logged = 0.0
        self.pictures = pictures
        self.most = max(most, LOST)
        self.faults: dict[str, None] = {}
        self.changed: dict[str, str] = {}
        self.unseen: list[tuple[int, dict[str, Tensor]]] = []

    def tell(self, event: str, step: int, **values: Any) -> None:
        """Writes a line on rank 0."""
        if self.ranks.first:
            self.run.log(event, step, **values)
            self.listen({"event": event, "step": step, **values})

    def note(self, step: int, message: str, said: bool = True) -> None:
        """Writes a note on rank 0, and says it."""
        self.tell("note", step, message=message)
        if said and self.ranks.first:
            self.say(message)

    def left_out(self, step: int, faults: Iterable[str], changed: Iterable[str] = ()) -> None:
        """Logs pictures that became unreadable, and files that have changed, each once; the first few are said.

        Raises:
            AccidentError: so many have become unreadable that the run would be one on other pictures.
        """
        self.differ(step, changed)
        for fault in faults:
            if fault not in self.faults:
                self.faults[fault] = None
                count = len(self.faults)
                self.note(step, f"left out, because it can no longer be read: {fault}", count <= SAID)
                if count == SAID + 1 and self.ranks.first:
                    self.say("more pictures can no longer be read; the log and the report name all of them")
        if self.pictures and is_too_much(len(self.faults), self.pictures, self.most):
            raise AccidentError(
                f"{len(self.faults)} of {how_many(self.pictures, 'picture')} of the run can no longer be read, such as "
                f"{printable(next(reversed(self.faults)))}"
            )

    def differ(self, step: int, changed: Iterable[str]) -> None:
        """Logs files that have changed, each once; the first few are said. Their pictures are used as they are now."""
        for change in changed:
            path, _, what = change.rpartition(": ")
            if path not in self.changed:
                self.changed[path] = what
                self.note(step, f"{path} changed during the run ({what}); {AS_IT_IS}", len(self.changed) <= SAID)
                if len(self.changed) == SAID + 1 and self.ranks.first:
                    self.say("more files have changed; the log names all of them")

    def take(self, step: int, made: Made) -> None:
        """Counts an update of this rank, and keeps its losses, on the device, for the next `check`."""
        self.unseen.append((step, made.losses))
        self.left_out(step, made.faults, made.changed)
        self.seen += made.seen * self.ranks.count
        self.waited += made.waited

    def check(self) -> None:
        """Raises if a loss since the last check is not finite; all ranks must call it after the same updates.

        Waits for the device until the last of these updates is done, so it belongs before whatever is logged, saved or timed.

        Raises:
            FloatingPointError: has the step and the parts of the loss.
        """
        if not self.unseen:
            return
        values = iter(read([value for _, parts in self.unseen for value in parts.values()]))
        shown = [(step, {name: next(values) for name in parts}) for step, parts in self.unseen]
        self.unseen.clear()
        totals = self.ranks.mean(torch.tensor([sum(parts.values()) for _, parts in shown])).tolist()
        for (step, parts), total in zip(shown, totals, strict=True):
            if not math.isfinite(total):
                raise FloatingPointError(f"loss is {total} at step {step}; parts: {parts}; lower the learning rate")

    def due(self) -> bool:
        return time.monotonic() - self.last >= self.every

    def train(self, step: int, losses: dict[str, Tensor], figures: dict[str, Tensor] | None = None, **values: Any) -> None:
        """Logs an update.

        Args:
            figures: further values to log, on the device as the losses are.
        """
        self.last = time.monotonic()
        spent = self.spent()
        waited = (self.waited - self.logged_waited) / max(spent - self.logged, 1e-9)
        self.logged, self.logged_waited = spent, self.waited
        seen = {**losses, **(figures or {})}
        found = dict(zip(seen, read(list(seen.values())), strict=True))
        parts = {name: found[name] for name in losses}
        self.tell(
            "train",
            step,
            **{name: found[name] for name in figures or ()},
            **values,
            **{"train/loss": sum(parts.values())},
            **{f"train/loss/{name}": value for name, value in parts.items()},
            **{"throughput/img_s": self.seen / max(spent, 1e-9), "mem/peak_mb": peak_mb(self.device)},
            **{"time/data": min(1.0, waited), "time_s": spent},
        )

    def spent(self) -> float:
        """Seconds of training until the last logged update."""
        return self.last - self.began - self.paused

    def loading(self, plan: Plan, kept: bool, local_ranks: int = 1) -> str:
        """What is said of a run that waited for its pictures more than `MOST_WAITED` of its time; "" for others and short ones.

        Args:
            kept: whether the decoded pictures were in memory.
            local_ranks: processes on this machine.
        """
        spent = self.spent()
        share = self.waited / max(spent, 1e-9)
        if spent < LEAST_SPENT_S or share <= MOST_WAITED:
            return ""
        workers, spare = plan.worker_count(local_ranks, kept=kept), cores() // local_ranks
        helps = [f"more processes that load them (workers={spare}, was {workers})"] if workers < spare and spare > 1 else []
        if not kept:
            helps += ["memory enough for the decoded pictures"]
            helps += [] if plan.cache_gb else ["a cache of them on the disk (--cache-gb)"]
        helps += ["a smaller size, or fewer transforms"]
        return (
            f"{100 * share:.0f} % of the training time was spent waiting for pictures, more than {100 * MOST_WAITED:.0f} %; "
            f"what helps: {'; '.join(helps)}"
        )

    def val(self, step: int, epoch: float, name: str, tally: Tally) -> None:
        """Logs an evaluation.

        Args:
            name: of the weights: "val", or "val_ema" for their average.
        """
        figures = {f"{name}/{key}": value for key, value in tally.quick().items()}
        self.tell("val", step, epoch=epoch, shown=tally.shown(), **figures)

    def pause(self) -> "Pause":
        """Time spent inside is not counted as training time."""
        return Pause(self)


def read(values: Sequence[Tensor]) -> list[float]:
    """The values of scalars on one device, in one wait for it."""
    return torch.stack([value.detach() for value in values]).tolist() if values else []


class Pause:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def __enter__(self) -> None:
        self.started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.journal.paused += time.monotonic() - self.started
