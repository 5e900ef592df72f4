"""Prints progress on standard error: one live line on a terminal or in a notebook, plain lines elsewhere.

With `--quiet` nothing is printed, with `--log-format json` a JSON object per line. No file ever gets terminal codes.
"""

import json
import math
import shlex
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.text import Text

from paretina.text import paragraphs, printable

WINDOW_S = 30.0
"""Seconds of training over which the throughput and the remaining time are estimated."""

PLAIN_S = 10.0
"""Approximate seconds between two plain lines."""


TOP1 = {"key": "top1", "title": "top-1", "unit": "%"}
"""The main metric of log lines that name none."""


Speech = Literal["text", "quiet", "json"]

SPEECH: ContextVar[Speech] = ContextVar("speech", default="text")
"""How progress and notes are printed: as text, not at all, or as a JSON object per line."""


def json_line(value: Mapping[str, Any]) -> str:
    """A JSON object on one line; numbers that JSON cannot hold become null."""
    return json.dumps(as_json(value), ensure_ascii=True)


def as_json(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


def note_event(text: str) -> dict[str, str]:
    """A note, or a warning, as an event."""
    kind, text = ("warning", text.removeprefix("warning: ")) if text.startswith("warning: ") else ("note", text)
    return {"event": kind, "message": text.removeprefix("note: ")}


@dataclass(frozen=True)
class Reading:
    """One point of training progress, from a line of the log.

    Attributes:
        spent: seconds of training so far, without evaluations.
        seen: pictures processed so far.
    """

    spent: float
    step: int
    seen: float


class Pace:
    """Estimates the throughput of a run and its remaining time."""

    def __init__(self) -> None:
        self.readings: deque[Reading] = deque()
        self.resumed = False
        self.evaluations: list[tuple[int, float]] = []

    def train(self, line: dict[str, Any]) -> None:
        """Processes a training line of the log."""
        spent = line["time_s"]
        if not self.readings:
            self.resumed = line["step"] > 1
        self.readings.append(Reading(spent, line["step"], spent * line["throughput/img_s"]))
        while len(self.readings) > 2 and spent - self.readings[1].spent >= WINDOW_S:
            self.readings.popleft()

    def evaluated(self, step: int, seconds: float) -> None:
        """Records the duration of an evaluation."""
        self.evaluations.append((step, seconds))

    def throughput(self) -> float | None:
        """Recent training throughput in pictures per second; None before the second line."""
        first, last = self.readings[0], self.readings[-1]
        return (last.seen - first.seen) / (last.spent - first.spent) if last.spent > first.spent else None

    def left(self, step: int, updates: int) -> float | None:
        """Seconds until the run has finished its last update and evaluation; None before the second line."""
        first, last = self.readings[0], self.readings[-1]
        if step >= updates:
            return 0.0
        if last.step <= first.step:
            return None
        training = (updates - step) * (last.spent - first.spent) / (last.step - first.step)
        every = self.evaluate_every()
        if every is None:
            return training
        mean = sum(seconds for _, seconds in self.evaluations) / len(self.evaluations)
        return training + math.ceil((updates - step) / every) * mean

    def evaluate_every(self) -> int | None:
        """Updates between evaluations; None while unknown, as right after a resume."""
        steps = [step for step, _ in self.evaluations]
        if len(steps) > 1:
            return steps[1] - steps[0]
        return steps[0] if steps and not self.resumed else None


def noted(text: str) -> str:
    """Formats a note as a line of its own, with escapes in names; a warning keeps its own prefix."""
    text = printable(text)
    return text if text.startswith("warning: ") else f"note: {text}"


class NotebookLine:
    """One line of a notebook that is written anew; what `rich.live.Live` is on a terminal, which here needs another library.

    Args:
        display: `IPython.display.display`.
    """

    def __init__(self, display: Callable[..., Any]) -> None:
        self.display = display
        self.handle: Any = None

    def start(self) -> None:
        self.handle = self.display({"text/plain": ""}, raw=True, display_id=True)

    def update(self, text: Text, refresh: bool = False) -> None:
        self.handle.update({"text/plain": text.plain}, raw=True)

    def stop(self) -> None:
        self.handle = None


def notebook_display() -> Callable[..., Any] | None:
    """What displays things in the notebook of this process; None elsewhere, also in IPython on a terminal."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    found: Callable[..., Any] = display
    return found


class Progress:
    """Prints the progress of a run, or of the runs of a study, one after the other.

    Attributes:
        run: the directory of the most recent run; None before the first.
    """

    def __init__(self, console: Console | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.speech = SPEECH.get()
        # FORCE_COLOR and the like are for terminals: a file gets plain lines whatever they say
        given = {"force_terminal": sys.stderr.isatty(), "force_jupyter": False}
        self.console = console or Console(stderr=True, highlight=False, **given)  # type: ignore[arg-type]
        on_terminal = self.console.is_terminal and not self.console.is_dumb_terminal and self.speech == "text"
        display = notebook_display() if console is None and self.speech == "text" else None
        self.live: Live | NotebookLine | None = None
        if display is not None:
            self.live = NotebookLine(display)
        elif on_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.now = now
        self.run: str | None = None
        self.shown: dict[str, str] = {}
        self.value: float | None = None
        self.pace = Pace()
        self.last_train = self.last_plain = -math.inf

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live:
            self.live.update(Text(""))
            self.live.stop()

    def say(self, text: str) -> None:
        """Prints a note above the live line."""
        if self.speech == "json":
            self.event(note_event(text))
        else:
            self.plain(noted(text))

    def doing(self, text: str) -> None:
        """Shows a status before there are updates to count; only on a terminal, or as JSON."""
        if self.speech == "json":
            self.event({"event": "status", "message": text})
        if self.live:
            self.live.update(Text(f"{printable(text)} ...", no_wrap=True, overflow="ellipsis"), refresh=True)

    def listen(self, line: dict[str, Any]) -> None:
        """Processes a line of the log."""
        if self.speech == "json":
            self.hear(line)
        elif line["event"] == "start":
            self.run = line["run"]
            self.pace, self.value, self.last_plain = Pace(), None, -math.inf  # a study starts many runs
            self.plain(f"run directory: {shlex.quote(line['run'])}")
        elif line["event"] == "part":  # one of several runs in the directory that was named
            self.pace, self.value, self.last_plain = Pace(), None, -math.inf
        elif line["event"] == "val":
            self.pace.evaluated(line["step"], max(0.0, self.now() - self.last_train))
            self.shown, key = line.get("shown", TOP1), line.get("shown", TOP1)["key"]
            self.value = line[f"val_ema/{key}"] if f"val_ema/{key}" in line else line[f"val/{key}"]
            if not self.live:
                loss = line["val_ema/loss"] if "val_ema/loss" in line else line["val/loss"]
                figure = f"{self.figure()}, " if key != "loss" else ""
                self.plain(f"epoch {line['epoch']:.1f}: validation {figure}loss {loss:.3f}")
        elif line["event"] == "train":
            self.train(line)

    def hear(self, line: dict[str, Any]) -> None:
        """Prints a line of the log as JSON, those of updates with the seconds that are left; notes are said besides."""
        if line["event"] == "start":
            self.run, self.pace = line["run"], Pace()
        elif line["event"] == "part":
            self.pace = Pace()
        elif line["event"] == "val":
            self.pace.evaluated(line["step"], max(0.0, self.now() - self.last_train))
        elif line["event"] == "train":
            self.pace.train(line)
            self.last_train = self.now()
            line = {**line, "eta_s": self.pace.left(line["step"], line["updates"])}
        if line["event"] != "note":
            self.event(line)

    def event(self, value: Mapping[str, Any]) -> None:
        self.console.print(Text(json_line(value)), soft_wrap=True)

    def train(self, line: dict[str, Any]) -> None:
        self.pace.train(line)
        self.last_train = self.now()
        step, updates = line["step"], line["updates"]
        speed = self.pace.throughput() or line["throughput/img_s"]
        figure = "" if self.value is None else f"  validation loss {self.value:.3f}"
        if self.value is not None and self.shown["key"] != "loss":
            figure = f"  {self.figure()}"
        text = (
            f"{math.floor(100 * step / updates):3} %  epoch {line['epoch']:.1f}  ETA {clock(self.pace.left(step, updates))}  "
            f"{speed:.{0 if speed >= 10 else 1}f} img/s  loss {line['train/loss']:.3f}{figure}  {line['mem/peak_mb']:,.0f} MB"
        )
        if self.live:
            self.live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
        elif self.last_train - self.last_plain >= PLAIN_S or step == updates:
            self.last_plain = self.last_train
            self.plain(text)

    def figure(self) -> str:
        """The main metric of the last validation as text, such as "top-1 63.2 %"."""
        unit = f" {self.shown['unit']}" if self.shown["unit"] else ""
        return f"{self.shown['title']} {self.value:.{1 if unit else 3}f}{unit}"

    def plain(self, text: str) -> None:
        """Prints a line of text."""
        if self.speech == "json":
            self.event(note_event(text))
        if self.speech != "text":
            return
        self.console.print(Text(paragraphs(text)), soft_wrap=True)  # Text, since file names may look like markup or emoji


def clock(seconds: float | None) -> str:
    """Formats a duration as 1:05 or 2:01:05; -:-- if unknown."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
