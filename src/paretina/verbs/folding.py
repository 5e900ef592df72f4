"""Cross-validation: one training for each fold, and one figure over all pictures."""

import csv
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from paretina.data.source import innermost
from paretina.data.sources.fold import Fold
from paretina.measure.statistics import Interval, clustered_share, wilson
from paretina.model.pretrained import AS_REQUESTED
from paretina.run import OF_FOLDS, Run, free_folder, not_left_empty, write_aside
from paretina.spec import decode
from paretina.tables import write_csv
from paretina.text import how_many
from paretina.train.asked import Asked, Choice
from paretina.train.journal import Listener
from paretina.train.planning import Planning
from paretina.train.ranks import Ranks
from paretina.train.resolve import as_started
from paretina.train.training import Say, run_name
from paretina.verbs.checks import MisuseError, check_place, misuse
from paretina.verbs.joining import ensemble
from paretina.verbs.training import resume, start

Answers = list[dict[str, str]]
"""Rows of the `predictions.csv` of runs."""


@dataclass(frozen=True)
class Folds:
    """
    Attributes:
        path: the folder of the runs.
        folds: for each its run, the number of pictures that it was validated on, and the figure there.
        key, title, unit: of the figure.
        pooled: top-1 in percent over all pictures, each answered by the network that was not trained on it, with its 95 %
            interval over pictures, or over groups of pictures where there are some; None for other figures.
        between: mean of the folds' figures, and the lowest and the highest of them.
        pictures: that were validated on.
        groups: of pictures, that stayed in one fold each.
        alone: pictures that are in no group.
        model: the file whose logits are the mean of those of all folds' networks; None if they cannot be joined.
        notes: sentences for the user.
    """

    path: Path
    folds: tuple[tuple[Path, int, float], ...]
    key: str
    title: str
    unit: str
    pooled: Interval | None
    between: tuple[float, float, float]
    pictures: int
    groups: int
    alone: int
    model: Path | None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        def ends(each: Interval | None) -> dict[str, float] | None:
            return None if each is None else {"value": each.value, "low": each.low, "high": each.high}

        return {
            "run": str(self.path),
            "folds": [{"run": str(run), "pictures": count, self.key: value} for run, count, value in self.folds],
            "figure": self.key,
            "title": self.title,
            "unit": self.unit,
            "pooled": ends(self.pooled),
            "between_folds": dict(zip(("mean", "lowest", "highest"), self.between, strict=True)),
            "pictures": self.pictures,
            "groups": self.groups,
            "model": None if self.model is None else str(self.model),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        digits, unit = (1, f" {self.unit}") if self.unit else (3, "")

        def said(each: Interval) -> str:
            return f"{each.value:.{digits}f}{unit} ({each.low:.{digits}f} to {each.high:.{digits}f})"

        rows = [
            f"fold {number}: {self.title} {value:.{digits}f}{unit} on {how_many(count, 'picture', ',')}"
            for number, (_, count, value) in enumerate(self.folds, 1)
        ]
        if self.pooled is not None:
            over = f"{how_many(self.groups, 'group', ',')}{' and single pictures' if self.alone else ''}"
            over = over if self.groups else "pictures"
            rows.append(f"{self.title} {said(self.pooled)} on all {self.pictures:,} pictures; 95 % interval over {over}")
        mean, low, high = (f"{each:.{digits}f}" for each in self.between)
        rows.append(f"mean of {len(self.folds)} folds {mean}{unit}, from {low} to {high}")
        rows += self.notes
        if self.model is not None:
            rows.append(f"model: {self.model} (the mean of the logits of all folds' networks)")
        return rows


def cross_validate(
    choice: Choice,
    count: int,
    output: Path | str | None = None,
    time_limit: float | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    planning: Planning = "known",
) -> Folds:
    """Trains once for each of several parts of the pictures, on all the others, and validates on that part.

    What is left to be chosen (network, size, learning rate, length) is chosen for the first fold, on its training pictures; the
    others get the same recipe and length.

    Args:
        choice: the request, see `paretina.verbs.asking.ask`; of the data, train and val are put together and divided anew.
        count: number of folds, at least 2.
        output: the folder of the runs; default: the next free one in runs/.
        time_limit: seconds for all folds together.

    Raises:
        MisuseError: there is something else at `output`, or fewer than two folds are asked for.
        ValueError: the pictures cannot be divided into so many folds.
        KeyboardInterrupt: interrupted; `continue_folds` continues.
    """
    began = time.monotonic()
    data = choice.asked.data
    if isinstance(data, Fold):
        raise MisuseError("the data is a fold already; name the data that it is a part of")
    if count < 2:
        raise MisuseError(f"cross-validation needs 2 folds or more, got {count}")
    ranks = Ranks.start(choice.asked.plan.device)
    place = None if output is None else Path(output)
    if ranks.first:
        check_place(place, getattr(innermost(data), "path", None))
    own = replace(choice, asked=fold_of(choice.asked, count))
    replace(Fold(source=data, count=count), alike=()).open()  # what cannot be divided is refused before anything is written
    if ranks.first:
        path = place or free_folder(Path("runs"), f"{run_name(choice.asked, choice.title)}-folds")
        path.mkdir(parents=True, exist_ok=True)
        write_aside(path / OF_FOLDS, json.dumps({"count": count}).encode())
    path = ranks.from_first(path if ranks.first else None)
    listen({"event": "start", "step": 0, "run": str(path)})
    limit = choice.seconds if time_limit is None else time_limit
    share = None if limit is None else max(0.0, limit - (time.monotonic() - began)) / count
    try:
        start(own, path / "fold-1", share, aside(listen), say, planning)
    except Exception:
        if ranks.first and not (path / "fold-1").exists():
            (path / OF_FOLDS).unlink(missing_ok=True)
            with not_left_empty(path):
                raise
        raise
    return continued(path, count, aside(listen), say)


def fold_of(asked: Asked, count: int, number: int = 1) -> Asked:
    """The request with one fold of its data."""
    return replace(asked, data=Fold(source=asked.data, count=count, number=number))


def aside(listen: Listener) -> Listener:
    """Leaves the folder of the folds as what was begun; the run of one of them is the beginning of a part of it."""
    return lambda line: listen({**line, "event": "part"} if line["event"] == "start" else line)


def continue_folds(path: Path | str, listen: Listener = lambda line: None, say: Say = lambda text: None) -> Folds:
    """Continues a cross-validation that was interrupted, or reads the result of one that is finished.

    Raises:
        MisuseError: there is none, or it was interrupted before its first fold began.
    """
    path = Path(path)
    try:
        count = int(json.loads((path / OF_FOLDS).read_text())["count"])
    except (OSError, ValueError, KeyError, TypeError):
        raise MisuseError(f"{path / OF_FOLDS} cannot be read, so there are no folds to continue") from None
    first = path / "fold-1"
    if not (first / "asked.json").exists():
        raise MisuseError(f"{path} was interrupted before its first fold began; remove it and start anew")
    listen({"event": "start", "step": 0, "run": str(path)})
    return continued(path, count, aside(listen), say)


def continued(path: Path, count: int, listen: Listener, say: Say) -> Folds:
    told: set[str] = set()

    def once(text: str) -> None:
        """The same is said of each fold; it is printed for the first one.

        The others do without weights, whatever the reason was, if the first one found none.
        """
        if text not in told and text != f"starts {AS_REQUESTED}":
            told.add(text)
            say(text)

    first = path / "fold-1"
    if (first / "result.json").exists():
        told.update(Run(first).asked().get("notes", ()))
    for number in range(1, count + 1):
        own = path / f"fold-{number}"
        if (own / "result.json").exists():
            continue
        if (own / "asked.json").exists():
            say(f"fold {number} of {count}")  # of a new one its data says so
            resume(own, None, listen, once)
        else:
            start(Choice(as_first(first, number)), own, None, listen, once, "default")
    with misuse():
        return joined(path, count, say) if Ranks.is_first() else read_folds(path, count, None)


def as_first(first: Path, number: int) -> Asked:
    """The request of a fold: that of the first one, with its pictures exchanged and with the length that it came to."""
    run = Run.open(first)
    saved, result = run.asked(), run.result()
    asked = as_started(decode(Asked, saved["asked"]), saved)
    assert result is not None
    assert isinstance(asked.data, Fold)
    epochs = asked.recipe.epochs and result["epochs"]
    return replace(asked, data=replace(asked.data, number=number), recipe=replace(asked.recipe, epochs=epochs))


def joined(path: Path, count: int, say: Say) -> Folds:
    """Writes what all folds say together: `predictions.csv`, `model.safetensors`, `result.json`."""
    model, notes = path / "model.safetensors", []
    runs = [path / f"fold-{number}" for number in range(1, count + 1)]
    if not model.exists():
        aside = path / "joined.safetensors"
        aside.unlink(missing_ok=True)
        try:
            ensemble(runs, aside, folds=True)
            aside.replace(model)
        except ValueError as error:
            notes.append(f"the folds' networks are not averaged: {error}")
    found = read_folds(path, count, model if model.exists() else None, tuple(notes))
    write_aside(path / "result.json", json.dumps(found.to_dict(), indent=1).encode())
    return found


def read_folds(path: Path, count: int, model: Path | None, notes: tuple[str, ...] = ()) -> Folds:
    folds, rows = [], []
    shown: dict[str, str] = {}
    for number in range(1, count + 1):
        run = Run(path / f"fold-{number}")
        result = run.result()
        assert result is not None
        shown = result.get("shown") or {"key": "top1", "title": "top-1", "unit": "%"}
        folds.append((run.path, result["data"]["val"], float(result["metrics"][f"val/{shown['key']}"])))
        rows += [{**row, "fold": str(number)} for row in answers_of(run.path / "predictions.csv")]
    if rows and Ranks.is_first():
        columns = list(dict.fromkeys(name for row in rows for name in row))
        write_csv(path / "predictions.csv", iter(rows), columns)
    units = units_of(path / "fold-1")
    judged = [row for row in rows if row.get("correct") in ("0", "1")]
    grouped = defaultdict(list)
    groups = len({unit for name, unit in units.items() if unit != name})
    alone = sum(unit == name for name, unit in units.items())
    for row in judged:
        grouped[units.get(row["name"], row["name"])].append(row["correct"] == "1")
    pooled = None
    if judged and shown["key"] == "top1":
        pooled = over_units([*grouped.values()])
    values = [value for _, _, value in folds]
    between = (fmean(values), min(values), max(values))
    pictures = sum(size for _, size, _ in folds)
    named = (shown["key"], shown["title"], shown["unit"])
    return Folds(path, tuple(folds), *named, pooled, between, pictures, groups, alone, model, notes)


def answers_of(path: Path) -> Answers:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [dict(row) for row in csv.DictReader(file)]


def units_of(first: Path) -> dict[str, str]:
    """The group of each picture."""
    asked = decode(Asked, Run.open(first).asked()["asked"])
    found = asked.data.open()
    return {sample.name: found.unit(sample) for split in ("train", "val") for sample in found.split(split)}


def over_units(correct: Sequence[Sequence[bool]]) -> Interval:
    """The share of correct answers in percent, with an interval over units; see `clustered_share`."""
    if all(len(each) == 1 for each in correct):
        found = wilson(sum(map(sum, correct)), len(correct))
    else:
        found = clustered_share([(sum(each), len(each)) for each in correct])
    return Interval(*(100 * each for each in found))
