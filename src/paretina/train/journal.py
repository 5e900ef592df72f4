"""Logging of training metrics and progress, and the check for non-finite losses."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from paretina.data.damage import is_too_much
from paretina.measure.judge import Tally
from paretina.measure.memory import peak_mb
from paretina.run import Run
from paretina.text import how_many, printable
from paretina.train.accidents import AccidentError
from paretina.train.ranks import Ranks

Listener = Callable[[dict[str, Any]], None]
"""Called on rank 0 with every line of the log."""


LOST = 0.1
"""Fraction of the pictures that may become unreadable during a run, unless `max_damaged` allows more; a few are left out."""

AS_IT_IS = "the picture is used as it is now, so the run is no longer the one that its settings and its pictures make"

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
        self.pictures = pictures
        self.most = max(most, LOST)
        self.faults: dict[str, None] = {}
        self.changed: dict[str, str] = {}
        self.unchecked: list[tuple[int, dict[str, Tensor]]] = []

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

    def check(self, step: int, losses: dict[str, Tensor], force: bool = False) -> None:
        """Raises if a loss is not finite.

        On a GPU the losses of several updates are checked together, since each check synchronises with the device.

        Raises:
            FloatingPointError: has the step and the parts of the loss.
        """
        self.unchecked.append((step, losses))
        if not force and self.device != "cpu" and len(self.unchecked) < 16:
            return
        for step, parts in self.unchecked:
            shown = {name: value.item() for name, value in parts.items()}
            total = self.ranks.mean(torch.tensor(sum(shown.values()))).item()
            if not torch.isfinite(torch.tensor(total)):
                raise FloatingPointError(f"loss is {total} at step {step}; parts: {shown}; lower the learning rate")
        self.unchecked.clear()

    def due(self) -> bool:
        return time.monotonic() - self.last >= self.every

    def train(self, step: int, losses: dict[str, Tensor], **values: Any) -> None:
        """Logs an update."""
        self.last = time.monotonic()
        spent = self.last - self.began - self.paused
        parts = {name: value.item() for name, value in losses.items()}
        self.tell(
            "train",
            step,
            **values,
            **{"train/loss": sum(parts.values())},
            **{f"train/loss/{name}": value for name, value in parts.items()},
            **{"throughput/img_s": self.seen / max(spent, 1e-9), "mem/peak_mb": peak_mb(self.device), "time_s": spent},
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


class Pause:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def __enter__(self) -> None:
        self.started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.journal.paused += time.monotonic() - self.started
