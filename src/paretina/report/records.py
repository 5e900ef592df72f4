"""Reads run directories, and makes tables with one row per run.

A run directory holds `asked.json` (always), `log.jsonl`, `result.json` (once the run is done) and `mistakes.json`. Rates are
in percent, except calibration error and confidences of mistakes, which are fractions in [0, 1]; likelihoods are in nats.
"""

import bisect
import csv
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretina.run import OF_FOLDS, check_run, folds_begun, folds_figure

Line = dict[str, Any]
Number = int | float


@dataclass(frozen=True)
class RunRecord:
    """The content of a run directory.

    Attributes:
        path: the directory.
        asked: content of `asked.json`: the request, and the environment.
        train: training lines of the log, by step; for repeated steps those of the last attempt.
        val: validation lines, likewise.
        notes: notes, likewise.
        result: content of `result.json`, or None while the run is not finished.
        mistakes: content of `mistakes.json`, most confident first; empty if there is none.
        attempts: how often the run was started or resumed, according to the log; at least 1.
        unreadable: number of log lines that are not JSON objects; a truncated last line does not count.
        validated: digest of names and classes of the validation pictures; "" if unknown.
        failure: the error that ended the last attempt; "" if none did.
        overlays: content of `overlays.json`, pictures with masks drawn over them; empty if there is none.
    """

    path: Path
    asked: dict[str, Any]
    train: tuple[Line, ...]
    val: tuple[Line, ...]
    notes: tuple[Line, ...]
    result: dict[str, Any] | None
    mistakes: tuple[dict[str, Any], ...]
    attempts: int
    unreadable: int
    validated: str = ""
    failure: str = ""
    overlays: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The name of the directory."""
        return self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether the run is finished and has a result."""
        return self.result is not None and self.result.get("status") == "done"

    def metric(self, name: str) -> Number | None:
        """A metric of the result; None if it is missing or not finite."""
        return number((self.result or {}).get("metrics"), name)


def probe_said(asked: dict[str, Any], result: dict[str, Any]) -> str:
    """How a run did beside the linear probe that it began with, on the same validation pictures; "" where it had none."""
    probe = number(result.get("probe"), "top1")
    if probe is None:
        return ""
    trained = number(result.get("metrics"), "val/top1")
    if not number(asked.get("recipe"), "epochs"):
        return f"linear probe {probe:.1f} %, not trained any further"
    return f"linear probe {probe:.1f} %" + ("" if trained is None else f", trained {trained:.1f} %")


def read_run(path: Path) -> RunRecord:
    """Reads a run directory; the run may be in progress or killed.

    Raises:
        ValueError: the directory is missing or not a run, or one of its files is damaged; the message says which.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"{path} is not a directory; name a run directory, such as the one that `paretina train` prints")
    if not (path / "asked.json").is_file() and (path / OF_FOLDS).is_file():
        raise ValueError(folds_said(path))
    if not (path / "asked.json").is_file():
        raise ValueError(f"{path} is not a run directory: asked.json is missing; name one that `paretina train` has written")
    asked = read_json(path / "asked.json", dict)
    check_run(path, asked)
    result = read_json(path / "result.json", dict) if (path / "result.json").is_file() else None
    mistakes = read_json(path / "mistakes.json", list) if (path / "mistakes.json").is_file() else []
    overlays = read_json(path / "overlays.json", list) if (path / "overlays.json").is_file() else []
    text = (path / "log.jsonl").read_text("utf-8", "replace") if (path / "log.jsonl").is_file() else ""
    lines, unreadable = log_lines(text)
    kept = last_attempts(lines)
    return RunRecord(
        path=path,
        asked=asked,
        train=tuple(line for line in kept if line["event"] == "train"),
        val=tuple(line for line in kept if line["event"] == "val"),
        notes=tuple(line for line in kept if line["event"] == "note"),
        result=result,
        mistakes=tuple(mistake for mistake in mistakes if isinstance(mistake, dict)),
        overlays=tuple(overlay for overlay in overlays if isinstance(overlay, dict)),
        attempts=1 + max((line["attempt"] for line in lines), default=0),
        unreadable=unreadable,
        validated=validation_digest(path),
        failure=str(lines[-1].get("message", "")) if lines and lines[-1]["event"] == "failed" else "",
    )


def folds_said(path: Path) -> str:
    """That a directory is a cross-validation and not a run, with its figure and the runs to name instead."""
    figure, begun = folds_figure(path), folds_begun(path)
    runs = f"name one of the runs of its folds: {', '.join(map(str, begun))}" if begun else "none of its folds was begun"
    said = f"{path} is a cross-validation ({figure})" if figure else f"{path} is a cross-validation that is not finished"
    return f"{said} and not one run; {runs}"


def validation_digest(path: Path) -> str:
    """A digest of names and classes of the pictures in `predictions.csv`, in any order; "" if it is missing."""
    try:
        with (path / "predictions.csv").open(newline="", encoding="utf-8") as file:
            pairs = sorted((row["name"], row["label"]) for row in csv.DictReader(file))
    except (OSError, KeyError, UnicodeDecodeError, csv.Error):
        return ""
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16] if pairs else ""


def same_pictures(one: RunRecord, other: RunRecord) -> bool:
    """Whether two runs were evaluated on the same pictures, so that their accuracies are comparable.

    They were if names and classes of the pictures are equal, and the name of the data too: that of its folder or file, which
    may have been moved, or else its full description. If the pictures of a run are unknown, its data settings must be equal.
    """
    if one.validated and other.validated:
        return one.validated == other.validated and origin_of(one) == origin_of(other)
    samples = [record.asked.get("samples") for record in (one, other)]
    return one.asked.get("data") == other.asked.get("data") and (None in samples or samples[0] == samples[1])


def origin_of(record: RunRecord) -> Any:
    """What identifies the data of a run among data with the same picture names, whatever part was trained on."""
    data = record.asked.get("data")
    while isinstance(data, dict) and isinstance(data.get("source"), dict):
        data = data["source"]
    if isinstance(data, dict) and isinstance(data.get("path"), str):
        return data.get("kind"), last_part(data["path"])
    return data


def groups_of(records: Sequence[RunRecord]) -> list[int]:
    """For each run the number, from 0, of its group of runs with the same validation pictures; see `same_pictures`."""
    firsts: list[RunRecord] = []
    found = []
    for record in records:
        at = next((at for at, first in enumerate(firsts) if same_pictures(first, record)), len(firsts))
        if at == len(firsts):
            firsts.append(record)
        found.append(at)
    return found


def read_json(path: Path, kind: type) -> Any:
    try:
        data = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged, it is not JSON: {error}; restore the file or leave this run out") from None
    if not isinstance(data, kind):
        wanted = "object" if kind is dict else "list"
        raise ValueError(f"{path} must hold a JSON {wanted}, got {type(data).__name__}; restore the file or leave this run out")
    return data


def log_lines(text: str) -> tuple[list[Line], int]:
    """Returns the readable lines of a log, and the number of unreadable ones; a truncated last line is ignored."""
    lines, unreadable = [], 0
    raws = text.split("\n")
    for at, raw in enumerate(raws, 1):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
            lines.append({**line, "step": int(line["step"]), "attempt": int(line.get("attempt", 0)), "event": line["event"]})
        except (ValueError, TypeError, KeyError):
            unreadable += at < len(raws)
    return lines, unreadable


def last_attempts(lines: Iterable[Line]) -> list[Line]:
    """Returns the valid lines, by step.

    A resumed run repeats the steps after its checkpoint: lines of an earlier attempt about steps that a later one has begun are
    dropped. The start of a later attempt is taken from its training and validation lines, since its first note can be at the
    step of the checkpoint, which the earlier attempt has done.
    """
    lines = list(lines)
    begun: dict[int, int] = {}
    for line in lines:
        if line["event"] not in ("note", "failed"):
            begun[line["attempt"]] = min(line["step"], begun.get(line["attempt"], line["step"]))
    kept = [line for line in lines if all(line["step"] < step for later, step in begun.items() if later > line["attempt"])]
    latest: dict[tuple[int, str], int] = {}
    for line in kept:
        place = (line["step"], line["event"])
        latest[place] = max(line["attempt"], latest.get(place, 0))
    kept = [line for line in kept if line["attempt"] == latest[line["step"], line["event"]]]
    return sorted(kept, key=lambda line: line["step"])


def number(record: Any, name: str) -> Number | None:
    """A finite number of a JSON object, or None."""
    value = record.get(name) if isinstance(record, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def uncounted(cost: Any) -> list[str]:
    """Operators not counted in the MACs of a run, by name; empty for runs from before they were recorded."""
    names = cost.get("uncounted") if isinstance(cost, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a JSON list; empty if it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def only(record: Any, keys: Sequence[str]) -> dict[str, Any]:
    """The named entries of a JSON object; None for missing ones."""
    return {key: record.get(key) if isinstance(record, dict) else None for key in keys}


def table(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Returns one row per run for a table or for JSON; unknown values are None.

    Rates are in percent, `time_s` in seconds, `peak_mb` in megabytes; `size` is the test image size in pixels.

    Raises:
        ValueError: one of them is not a run directory.
    """
    return rows([read_run(run) for run in runs])


def measured_alike(runs: Sequence[Path]) -> list[int]:
    """For each run the number, from 0, of its group of runs with the same validation pictures.

    Raises:
        ValueError: one of them is not a run directory.
    """
    return groups_of([read_run(run) for run in runs])


def rows(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    names = [record.name for record in records]
    return [row(record, alone=names.count(record.name) == 1) for record in records]


def row(record: RunRecord, alone: bool) -> dict[str, Any]:
    result = record.result or {}
    cost, sizes = result.get("cost"), result.get("data")
    last = record.train[-1] if record.train else {}
    return {
        "run": record.name if alone else f"{record.path.resolve().parent.name}/{record.name}",
        "status": result.get("status", "unfinished"),
        "verb": record.asked.get("verb"),
        "model": model_name(record),
        "data": data_name(record),
        "start": only(record.asked.get("start"), ("weights",))["weights"],
        "size": resolution(record),
        "epochs": number(result, "epochs") or number(record.asked.get("recipe"), "epochs"),
        "params": number(cost, "params"),
        "macs": number(cost, "macs"),
        "uncounted": uncounted(cost),
        "train": number(sizes, "train"),
        "val": number(sizes, "val"),
        "copies": copied(record),
        "figure": {
            **main_figure(record),
            "value": record.metric(f"val/{main_figure(record)['key']}"),
            **{end: record.metric(f"val/{main_figure(record)['key']}_{end}") for end in ("low", "high")},
        },
        "top1": record.metric("val/top1"),
        "top1_low": record.metric("val/top1_low"),
        "top1_high": record.metric("val/top1_high"),
        "top5": record.metric("val/top5"),
        "balanced": record.metric("val/balanced"),
        "balanced_low": record.metric("val/balanced_low"),
        "balanced_high": record.metric("val/balanced_high"),
        "time_s": number(result, "time_s"),
        "throughput_img_s": number(result, "throughput_img_s"),
        "peak_mb": number(result, "peak_mb"),
        "steps": last.get("step"),
    }


def model_name(record: RunRecord) -> str:
    kind = only(record.asked.get("model"), ("kind",))["kind"]
    return str(record.asked.get("model_name") or kind or "unnamed model")


def data_name(record: RunRecord) -> str:
    """The display name of the data: the last part of its path, its name, or its kind; of joined sets, their names."""
    data = record.asked.get("data")
    return source_name(data) if isinstance(data, dict) else str(data or "unnamed data")


def source_name(data: dict[str, Any]) -> str:
    while isinstance(data.get("source"), dict):  # a part of other data, or a fold, is called what that is called
        data = data["source"]
    sets = data.get("sets")
    if isinstance(sets, list) and data.get("judged") == "all" and all(isinstance(each, dict) for each in sets):
        return "+".join([*(source_name(each) for each in sets[:3]), *(["more"] if len(sets) > 3 else [])])
    for key in ("name", "path", "root", "folder", "directory"):
        if isinstance(data.get(key), str) and data[key].strip("/\\"):
            return last_part(data[key])
    return str(data.get("kind", "unnamed data")).lower()


def last_part(path: str) -> str:
    """The last part of a path of any operating system."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def resolution(record: RunRecord) -> Number | None:
    """Test image size in pixels."""
    found = number((record.result or {}).get("cost"), "resolution")
    return found if found is not None else number(record.asked.get("model"), "resolution")


def commonest_share(confusion: Any) -> float | None:
    """The top-1 accuracy, in percent, of always predicting the most common class."""
    sizes = [sum(counts) for counts in confusion or ()]
    return 100 * max(sizes) / sum(sizes) if sum(sizes) else None


def copies_of(record: RunRecord) -> dict[str, Any]:
    """The result's entry on validation pictures that have copies in train; empty if there is none."""
    data = (record.result or {}).get("data")
    found = data.get("copies") if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def copied(record: RunRecord) -> Number | None:
    """Number of validation pictures with a copy or near-copy in train; None if unknown."""
    counts = [number(copies_of(record), name) for name in ("equal", "near")]
    return None if None in counts else sum(count or 0 for count in counts)


def copies_warning(record: RunRecord) -> str:
    """The warning that belongs to the accuracy; "" if there is none."""
    return str(copies_of(record).get("warning") or "")


TOP1 = {"key": "top1", "title": "top-1", "unit": "%"}
"""The default main figure of runs."""


def main_figure(record: RunRecord) -> dict[str, str]:
    """The main figure of a run: its key after `val/`, its title, and its unit."""
    for said in (record.result, *reversed(record.val)):
        shown = (said or {}).get("shown")
        if isinstance(shown, dict) and all(isinstance(shown.get(key), str) for key in TOP1):
            return {key: shown[key] for key in TOP1}
    return TOP1


def update_of(line: Line) -> float:
    return float(line["step"])


def epoch_of(record: RunRecord) -> Callable[[Line], float]:
    """Returns a function from a line to its epoch; for validation lines without one it is found by their step."""
    known = [(line["step"], number(line, "epoch")) for line in (*record.train, *record.val)]
    pairs = sorted({(step, float(epoch)) for step, epoch in known if epoch is not None})
    if not pairs:
        return update_of
    steps = [step for step, _ in pairs]

    def epoch(line: Line) -> float:
        own = number(line, "epoch")
        if own is not None:
            return float(own)
        at = min(max(bisect.bisect_left(steps, line["step"]), 1), len(pairs) - 1)
        (step0, epoch0), (step1, epoch1) = pairs[at - 1 if at else 0], pairs[at]
        if step1 == step0:
            return epoch1 * line["step"] / step1 if step1 else epoch1
        return max(0.0, epoch0 + (epoch1 - epoch0) * (line["step"] - step0) / (step1 - step0))

    return epoch
