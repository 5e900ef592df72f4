"""Lists the runs in a folder, and compares two of them; reads run directories and nothing else.

Rates are in percent, durations in seconds, times in UTC.
"""

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import filelock

from paretina.measure.statistics import Interval, as_object, paired_difference
from paretina.report.records import (
    RunRecord,
    data_name,
    epoch_of,
    main_figure,
    model_name,
    number,
    read_json,
    read_run,
    resolution,
    same_pictures,
)
from paretina.report.tracker import Plain, final, flat
from paretina.run import OF_FOLDS, OF_RUNS, folds_begun, folds_result
from paretina.spec import near
from paretina.tables import html_lines, html_table
from paretina.text import how_many

FIGURE = ("value", "low", "high")

OF_A_RUN = ("asked.json", "log.jsonl", "result.json", "model.safetensors", "state")
"""Files that only a run directory has."""


@dataclass(frozen=True)
class ListedRun:
    """A run in a folder of runs.

    Attributes:
        row: its figures by name, plain values, None where unknown; see `COLUMNS`.
        settings: its settings by path; see `paretina.report.tracker.flat`.
    """

    row: dict[str, Any]
    settings: dict[str, Plain]


@dataclass(frozen=True)
class Listing:
    """
    Attributes:
        damaged: reason by path, for directories of runs that cannot be read.
        studies: directories in which a study keeps runs of its own, which are listed too.
    """

    folder: Path
    runs: tuple[ListedRun, ...]
    damaged: dict[str, str]
    studies: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """The runs as a table, as notebooks show it."""
        shown = [name for name in COLUMNS if name not in ("params", "attempts", "error")]
        lost = html_lines(f"left out: {path}: {reason}" for path, reason in self.damaged.items()) if self.damaged else ""
        return html_table([[each.row[name] for name in shown] for each in self.runs], shown) + lost

    def to_dict(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "runs": [each.row for each in self.runs],
            "damaged": self.damaged,
            "studies": list(self.studies),
        }


COLUMNS = {
    "run": "the directory, from the folder on",
    "state": "finished, running, interrupted or failed",
    "data": "the folder or set of pictures",
    "model": "the network",
    "size": "image size of the test in pixels",
    "recipe": "the recipe",
    "seed": "the seed",
    "epochs": "epochs that were made",
    "planned": "epochs that were to be made",
    "metric": "what value is: top-1, for one class per picture",
    "unit": "the unit of value: %, or nothing",
    "value": "the main figure on the validation pictures",
    "low": "lower end of its 95 % interval",
    "high": "upper end",
    "on_train": "the main figure on some of its training pictures",
    "params": "parameters",
    "macs": "multiply-adds for one picture",
    "time_s": "seconds of training",
    "started": "when it was started",
    "attempts": "how often it was started or resumed",
    "error": "what ended a run that failed",
}
"""What a row says, by name."""

ALIASES = {"top1": "value", "top-1": "value", "name": "run", "pixels": "size", "when": "started", "took": "time_s"}
"""Other names of columns, such as those over the text."""


def list_runs(folder: Path) -> Listing:
    """The runs in a folder, at any depth, by their names; a run directory is listed alone.

    Raises:
        ValueError: there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    runs, damaged, studies = [], {}, []
    for path in run_folders(folder):
        try:
            if (path / OF_FOLDS).is_file():
                runs += folds_row(path, folder)
                continue
            asked = read_json(path / "asked.json", dict) if (path / "asked.json").is_file() else {}
            if asked.get("verb", "train") not in OF_RUNS:
                studies.append(str(path))
                continue
            record = read_run(path)
            runs.append(ListedRun(row_of(record, folder), dict(flat(asked))))
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            damaged[str(path)] = str(error) or type(error).__name__
    return Listing(folder, tuple(sorted(runs, key=lambda each: each.row["run"])), damaged, tuple(studies))


def run_folders(folder: Path) -> Iterator[Path]:
    """The directories that hold a run, study or cross-validation, or what is left of one, at any depth.

    Links are not followed.
    """
    if (folder / OF_FOLDS).is_file():
        yield folder
    elif is_run(folder):
        yield folder
        if any((folder / name).exists() for name in ("log.jsonl", "model.safetensors", "result.json")):
            return
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return
    for path in inside:
        yield from run_folders(path)


def is_run(folder: Path) -> bool:
    """Whether a directory is that of a run or study: `asked.json`, or two of the other files that a run has.

    That of a cross-validation has such files too, and its runs lie in it.
    """
    if (folder / OF_FOLDS).exists():
        return False
    there = [name for name in OF_A_RUN if (folder / name).exists()]
    return "asked.json" in there or len(there) > 1


def row_of(record: RunRecord, folder: Path) -> dict[str, Any]:
    result, recipe = record.result or {}, record.asked.get("recipe")
    figure = main_figure(record)
    done, planned = progress_of(record)
    cost = result.get("cost")
    name = record.path.relative_to(folder).as_posix()
    return {
        "run": record.path.resolve().name if name == "." else name,
        "state": state_of(record),
        "data": data_name(record),
        "model": model_name(record),
        "size": resolution(record),
        "recipe": record.asked.get("recipe_name"),
        "seed": number(recipe, "seed"),
        "epochs": done,
        "planned": planned,
        "metric": figure["title"],
        "unit": figure["unit"],
        **dict(zip(FIGURE, figure_of(record, figure["key"]), strict=True)),
        "on_train": number(result.get("on_train"), "value"),
        "params": number(cost, "params"),
        "macs": number(cost, "macs"),
        "time_s": number(result, "time_s") if record.finished else spent(record),
        "started": datetime.fromtimestamp((record.path / "asked.json").stat().st_mtime, UTC).isoformat(timespec="seconds"),
        "attempts": record.attempts,
        "error": record.failure or None,
    }


def folds_row(path: Path, folder: Path) -> list[ListedRun]:
    """The row of a cross-validation, with the figure of all folds together once it is finished; [] where none was begun.

    Network, data and settings are those of its first fold; what is of one network or its training only is not known.
    """
    result, begun = folds_result(path), folds_begun(path)
    if not begun:
        return []
    first = read_run(begun[0])
    finished, result = result is not None, result or {}
    pooled, between = result.get("pooled"), number(result.get("between_folds"), "mean")
    figure = (number(pooled, "value"), number(pooled, "low"), number(pooled, "high")) if pooled else (between, None, None)
    name = path.relative_to(folder).as_posix()
    times = [number(read_run(each).result, "time_s") or 0.0 for each in begun]
    row = {
        **row_of(first, path),
        "run": path.resolve().name if name == "." else name,
        "state": "finished" if finished else "running" if any(map(is_held, begun)) else "interrupted",
        **dict(zip(FIGURE, figure, strict=True)),
        "on_train": None,
        "time_s": sum(times),
        "attempts": None,
        "error": None,
    }
    return [ListedRun(row, dict(flat(first.asked)))]


def figure_of(record: RunRecord, key: str) -> tuple[float | None, float | None, float | None]:
    """The main figure with its interval; while there is no result, that of the last validation, without one."""
    value = record.metric(f"val/{key}")
    if value is not None:
        return value, record.metric(f"val/{key}_low"), record.metric(f"val/{key}_high")
    for line in reversed(record.val):
        for name in (f"val_ema/{key}", f"val/{key}"):
            if (found := number(line, name)) is not None:
                return found, None, None
    return None, None, None


def progress_of(record: RunRecord) -> tuple[float | None, float | None]:
    """Epochs that were made, and those that were to be made."""
    planned = number(record.asked.get("recipe"), "epochs")
    made = number(record.result, "epochs")
    if made is not None:
        return made, max(made, planned or 0.0) if not record.finished else made
    if not record.train:
        return 0.0, planned
    last = record.train[-1]
    done, step, updates = epoch_of(record)(last), last["step"], number(last, "updates")
    return done, done * updates / step if updates and step else planned  # a time limit may have changed it


def spent(record: RunRecord) -> float | None:
    """Seconds of training that are logged, of all attempts."""
    found: dict[int, float] = {}
    for line in record.train:
        found[line["attempt"]] = number(line, "time_s") or 0.0
    return sum(found.values()) if found else None


def state_of(record: RunRecord) -> str:
    """finished, running (another process holds its lock), failed (by an error) or interrupted."""
    if record.finished:
        return "finished"
    if is_held(record.path):
        return "running"
    return "failed" if record.failure else "interrupted"


def is_held(path: Path) -> bool:
    """Whether another process is working on a run."""
    if not (path / ".lock").exists():
        return False
    lock = filelock.FileLock(path / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return True
    except OSError:  # a folder that cannot be written to: nothing of this user works on it
        return False
    lock.release()
    return False


# --- sorting and choosing -----------------------------------------------------------------------------------------------------


def chosen(listing: Listing, sort: str | None, filters: Sequence[tuple[str, str]]) -> tuple[ListedRun, ...]:
    """The runs that have the given values, in the given order; those without the value that is sorted by come last.

    Args:
        sort: a column, or a setting by its path, smallest first; with "-" in front largest first. None: by name.
        filters: a column or setting each, with its value; `*` in it stands for anything.

    Raises:
        ValueError: no run has such a column or setting.
    """
    runs = listing.runs
    for name, wanted in filters:
        value = getter(listing, name)
        runs = tuple(each for each in runs if matches(value(each), wanted))
    if sort is None:
        return runs
    value = getter(listing, sort.removeprefix("-"))
    known = [each for each in runs if value(each) is not None]
    known.sort(key=lambda each: order_of(value(each)), reverse=sort.startswith("-"))
    return (*known, *(each for each in runs if value(each) is None))


def getter(listing: Listing, name: str) -> Callable[[ListedRun], Any]:
    """A function from a run to its value in a column, or to a setting: by its path, or the end of it if only one has that."""
    column = ALIASES.get(name, name)
    if column in COLUMNS:
        return lambda each: each.row[column]
    known = dict.fromkeys(path for each in listing.runs for path in each.settings)
    paths = [path for path in known if path == name] or [path for path in known if path in (f"recipe.{name}", f"plan.{name}")]
    if not paths:
        if not listing.runs:
            return lambda each: None
        hint = near(name, [*COLUMNS, *known])
        hint = hint if "did you mean" in hint else f"; name a column ({', '.join(COLUMNS)}) or a setting such as recipe.lr"
        raise ValueError(f"no run has {name!r}{hint}")
    return lambda each: each.settings.get(paths[0])


def order_of(value: Any) -> tuple[int, float, str]:
    """Numbers before text."""
    if isinstance(value, int | float):
        return 0, float(value) if math.isfinite(value) else math.inf, ""
    return 1, 0.0, str(value)


def matches(value: Any, wanted: str) -> bool:
    """Whether a value is the one that is typed: numbers by their value, text as a pattern, "none" for what is not there."""
    if value is None:
        return wanted.lower() == "none"
    if isinstance(value, bool):
        return wanted.lower() == str(value).lower()
    if isinstance(value, int | float):
        try:
            return float(wanted) == float(value)
        except ValueError:
            return False
    return fnmatchcase(str(value), wanted)


# --- comparing ----------------------------------------------------------------------------------------------------------------

NOT_COMPARED = ("command", "samples", "environment", "output")
"""Settings that differ between any two runs and say nothing about them."""


@dataclass(frozen=True)
class ComparedRuns:
    """Two runs side by side.

    Attributes:
        settings: those that differ, by path, each with both values; None where one has none of that name.
        metrics: figures of the results by their keys, likewise.
        pictures: number of validation pictures that both have answered; 0 if they were not the same ones.
        gained: top-1 of the second less that of the first, in points, with the interval over the same pictures; None if there
            are none.
    """

    names: tuple[str, str]
    settings: dict[str, tuple[Plain | None, Plain | None]]
    metrics: dict[str, tuple[float | None, float | None]]
    pictures: int
    gained: Interval | None

    def _repr_html_(self) -> str:
        """Both side by side, as notebooks show it."""
        rows = [(name, *pair) for pairs in (self.settings, self.metrics) for name, pair in pairs.items()]
        said = "not judged on the same pictures"
        if self.gained is not None:
            value, low, high = self.gained
            said = (
                f"top-1 {value:+z.2f} points [{low:+z.2f} to {high:+z.2f}] over the same {how_many(self.pictures, 'picture')}"
            )
        return html_table(rows, ("", *self.names)) + html_lines([said])

    def to_dict(self) -> dict[str, Any]:
        return {
            "runs": list(self.names),
            "settings": {name: list(pair) for name, pair in self.settings.items()},
            "metrics": {name: list(pair) for name, pair in self.metrics.items()},
            "pictures": self.pictures,
            "gained": as_object(self.gained),
        }


def compared(one: Path, other: Path) -> ComparedRuns:
    """Two runs side by side: settings that differ, figures, and the paired difference if both were judged on the same pictures.

    Raises:
        ValueError: one of them is not a run directory, or damaged.
    """
    records = [read_run(one), read_run(other)]
    settings = [
        {path: value for path, value in flat(record.asked) if path.partition(".")[0] not in NOT_COMPARED} for record in records
    ]
    paths = dict.fromkeys([*settings[0], *settings[1]])
    figures = [figures_of(record) for record in records]
    gained, pictures = None, 0
    if same_pictures(*records):
        answers = [answers_of(record.path) for record in records]
        if answers[0] and answers[0].keys() == answers[1].keys():
            pairs = [(answers[0][name], answers[1][name]) for name in answers[0]]
            pictures = len(pairs)
            won, lost = sum(b and not a for a, b in pairs), sum(a and not b for a, b in pairs)
            gained = Interval(*(100 * end for end in paired_difference(won, lost, pictures)))
    return ComparedRuns(
        names=(named(records[0], records[1]), named(records[1], records[0])),
        settings={
            path: (settings[0].get(path), settings[1].get(path))
            for path in paths
            if settings[0].get(path) != settings[1].get(path)
        },
        metrics={name: (figures[0].get(name), figures[1].get(name)) for name in dict.fromkeys([*figures[0], *figures[1]])},
        pictures=pictures,
        gained=gained,
    )


def named(record: RunRecord, other: RunRecord) -> str:
    """The name of a run, with its folder if the other has the same name."""
    return record.name if record.name != other.name else f"{record.path.resolve().parent.name}/{record.name}"


ENDS = ("_low", "_high", "_scaled", "_debiased", "_limit", "_calibrated")
"""Endings of figures that belong to another one."""


def figures_of(record: RunRecord) -> dict[str, float]:
    """The figures of a result; without one, those of the last validation."""
    if record.result is not None:
        found = {name.removeprefix("result/"): value for name, value in final(record.result)[1].items()}
    else:
        last = record.val[-1] if record.val else {}
        found = {name: value for name in last if (value := number(last, name)) is not None and "/" in name}
    return {name: value for name, value in found.items() if not name.endswith(ENDS)}


def answers_of(path: Path) -> dict[str, bool]:
    """Whether each picture of `predictions.csv` was recognised, by name; {} if there are no such answers."""
    try:
        with (path / "predictions.csv").open(newline="", encoding="utf-8") as file:
            return {row["name"]: row["correct"] == "1" for row in csv.DictReader(file) if row["correct"] in ("0", "1")}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error):
        return {}
