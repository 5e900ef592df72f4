"""The interface of trackers: programs such as TensorBoard that show runs while they are made, beside each other.

A tracker is told what the log of a run (`log.jsonl`) says, line by line, under the same keys. It never decides anything: a run
without it, or with one that fails, is the same bit for bit; see `paretina.report.following`.
"""

import importlib.util
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from paretina.run import Run
from paretina.spec import kinds, near
from paretina.text import how_many
from paretina.traits import Method, Never

Plain = str | int | float | bool
"""What a field of a configuration is to a tracker."""


@dataclass(frozen=True)
class RecordStart:
    """What a tracker is told of a run when it is opened.

    Attributes:
        run: the directory of the run.
        name: the name of the directory.
        config: the settings of the run by path, such as `recipe.epochs`.
        tags: what tells runs apart at a glance: data, model, recipe, seed.
        after: the update that the run continues after; 0 for one that begins.
        known: `Record.known` of the tracker when the run was interrupted, to continue the same record; {} for a new one.
    """

    run: Path
    name: str
    config: Mapping[str, Plain]
    tags: Mapping[str, str]
    after: int = 0
    known: Mapping[str, Any] = field(default_factory=dict)


class Record(ABC):
    """The record of one run at a tracker, open for writing.

    Attributes:
        known: what finds it again later, plain values.
        where: where to look at it, as the end of "logs to ...".
    """

    known: dict[str, Any]
    where: str

    @abstractmethod
    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Adds finite numbers, by their keys in the log.

        Args:
            step: number of updates made.
        """

    @abstractmethod
    def note(self, step: int, text: str) -> None:
        """Adds a note of the run, a sentence."""

    @abstractmethod
    def result(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the final figures of a finished run, by their keys: `result/val/top1`, `result/macs`."""

    @abstractmethod
    def close(self, state: str) -> None:
        """Ends it.

        Args:
            state: "finished", "interrupted" or "failed".
        """


@dataclass(frozen=True, kw_only=True)
class Tracker(Method, ABC):
    """A tracker, as `--log-to` names it.

    Attributes:
        WORD: its name, and that of the extra which installs it.
        MODULES: which must be importable.
    """

    PLUGINS = ("paretina.report.trackers",)
    LEFT_OUT = Never("it changes nothing about a run")
    LOW_PRECISION = Never("it computes nothing")
    WORD: ClassVar[str]
    MODULES: ClassVar[tuple[str, ...]]

    @abstractmethod
    def open(self, beginning: RecordStart) -> Record:
        """Opens the record of a run, or continues it.

        Raises:
            Exception: whatever the library raises where it fails.
        """

    def require(self) -> None:
        """Checks that it can be used, before anything is done; never asks for input.

        Raises:
            ValueError: something is missing; the message says what to do.
        """
        missing = [name for name in self.MODULES if importlib.util.find_spec(name) is None]
        if missing:
            raise ValueError(
                f"{self.WORD} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
                f"pip install 'paretina[{self.WORD}]'"
            )


def trackers() -> dict[str, type[Tracker]]:
    """The kinds of tracker by word."""
    return {kind.WORD: kind for kind in kinds(Tracker).values()}  # type: ignore[type-abstract]


def trackers_named(words: str | Sequence[str | Tracker]) -> tuple[Tracker, ...]:
    """The trackers that are named, ready to be used.

    Args:
        words: separated by commas, "tensorboard,mlflow", or one by one.

    Raises:
        ValueError: there is no tracker of that name, one is named twice, or it cannot be used here.
    """
    known = trackers()
    found: list[Tracker] = []
    for each in [word.strip() for word in words.split(",")] if isinstance(words, str) else words:
        if isinstance(each, str) and each not in known:
            raise ValueError(f"there is no tracker {each!r}{near(each, known)}")
        tracker = known[each]() if isinstance(each, str) else each
        if tracker.WORD in {other.WORD for other in found}:
            raise ValueError(f"the tracker {tracker.WORD} is named twice; leave one out")
        found.append(tracker)
    for tracker in found:
        tracker.require()
    return tuple(found)


# --- what they are told -------------------------------------------------------------------------------------------------------


def beginning_of(run: Path, known: Mapping[str, Any]) -> RecordStart:
    """What a tracker is told of a run, from its directory.

    Raises:
        ValueError: it is not a run directory.
    """
    opened = Run(run)
    asked, state = opened.asked(), opened.last_state()
    return RecordStart(
        run=run.absolute(),
        name=run.resolve().name,
        config=dict(flat(asked)),
        tags=tags_of(asked),
        after=int(state.name) if state else 0,
        known=known,
    )


def tags_of(asked: Mapping[str, Any]) -> dict[str, str]:
    """Data, model, recipe, seed and kind of a run, those that are known."""
    data, recipe = asked.get("data"), asked.get("recipe")
    data = data if isinstance(data, dict) else {}
    found = {
        "data": Path(str(data["path"])).name if data.get("path") else data.get("kind"),
        "model": asked.get("model_name"),
        "recipe": asked.get("recipe_name"),
        "seed": recipe.get("seed") if isinstance(recipe, dict) else None,
        "verb": asked.get("verb", "train"),
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


LEFT = ("asked", "notes", "version")
"""Entries of `asked.json` that are no settings, or stand there for a second time."""


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Plain]]:
    """The settings of a run by path, as fields are named on the command line: `recipe.transforms.MixUp.alpha`.

    A method counts by its kind; a plain list is JSON text; nothing is "none".
    """
    for name, item in value.items():
        path = f"{prefix}{name}"
        if name in LEFT:
            continue
        if isinstance(item, dict) and set(item) == {"kind", "value"} and item["kind"] == "Constant":
            item = item["value"]
        if isinstance(item, dict):
            if "kind" in item:
                yield path, str(item["kind"])
            yield from flat({key: inner for key, inner in item.items() if key != "kind"}, f"{path}.")
        elif isinstance(item, list) and item and all(isinstance(each, dict) and "kind" in each for each in item):
            names = [str(each["kind"]) for each in item]
            yield path, ", ".join(names)
            steps = [name if names.count(name) == 1 else str(at) for at, name in enumerate(names)]
            for step, each in zip(steps, item, strict=True):
                yield from flat({key: inner for key, inner in each.items() if key != "kind"}, f"{path}.{step}.")
        elif isinstance(item, list):
            yield path, json.dumps(item)
        else:
            yield path, "none" if item is None else item


def finite(values: Iterable[tuple[str, Any]]) -> dict[str, float]:
    """The entries that are finite numbers."""
    return {
        name: float(value)
        for name, value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


NO_FIGURES = ("step", "attempt", "updates")


def told(record: Record, line: Mapping[str, Any]) -> None:
    """Tells a tracker a line of the log."""
    step, event = int(line["step"]), line["event"]
    if event in ("train", "val"):
        record.metrics(step, finite((name, value) for name, value in line.items() if name not in NO_FIGURES))
    elif event == "probe":
        record.metrics(step, finite((f"probe/{name}", value) for name, value in line["probe"].items()))
    elif event == "fitted":
        now = how_many(line["epochs"], "epoch now fits", "g", "epochs now fit")
        record.note(step, f"{now} into the time limit, before {line['planned']:g}")
    elif event == "note":
        record.note(step, str(line["message"]))


COUNTS = ("params", "macs", "activations", "weight_bytes")


def final(result: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """The number of updates of a finished run, and its final figures."""
    metrics, cost = result.get("metrics") or {}, result.get("cost") or {}
    figures = [*metrics.items(), *((name, cost.get(name)) for name in COUNTS)]
    figures += [(name, result.get(name)) for name in ("epochs", "time_s", "throughput_img_s", "peak_mb")]
    return int(result.get("updates") or 0), finite((f"result/{name}", value) for name, value in figures)
