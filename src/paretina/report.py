"""Reports: one self-contained HTML page made from a run directory, one from several, and from nothing else.

The page opens offline, asks for nothing from outside (a content security policy forbids it), follows the light or dark
setting of the reader and fits a phone. Everything in it that comes from a file is escaped. The same run gives the same page,
byte for byte. Plots are SVG whose text is HTML, so that it keeps its size when the plot is stretched.

A run directory holds `asked.json` (always), `log.jsonl`, `result.json` (once the run is done) and `mistakes.json`. Rates are
in percent, except the calibration error and the confidences of mistakes, which are shares in [0, 1]; likelihoods are in nats.
"""

import bisect
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretina.run import write_aside

Line = dict[str, Any]
Number = int | float

SPACE = "\u202f"
"""Narrow and never broken: stands between a number and its unit."""

MEASURES = (
    ("val/top5", "Top-5", "%"),
    ("val/balanced", "Balanced accuracy", "%"),
    ("val/f1_macro", "Macro F1", "%"),
)
CALIBRATION = (  # the factor brings what is stored as a share into percent
    ("Negative log-likelihood", "nats", 1, "val/nll", "val/nll_scaled"),
    ("Expected calibration error", "%", 100, "val/ece", "val/ece_scaled"),
)
PER_CLASS = ("n", "recall", "precision", "f1", "recall_low", "recall_high")
LABELLED_CLASSES = 40  # above that, the names no longer fit beside the heat map
HEAT_PIXELS = 250  # side of the largest heat map; more classes are pooled
CURVE_POINTS = 400  # longer curves are averaged, or the page would take megabytes
MISTAKES = 24
COLOURS = 8  # as many as the template names
PICTURE = re.compile(r"data:image/(?:jpeg|png|webp|gif);base64,[A-Za-z0-9+/]+={0,2}")


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunRecord:
    """What a run directory says.

    Attributes:
        path: the directory.
        asked: `asked.json`: what was asked, and where.
        train: the lines of the log about training, by step; of a step that was done twice, the last attempt.
        val: the lines about validation, likewise.
        notes: the messages, likewise.
        result: `result.json`, or None while the run is not finished.
        mistakes: `mistakes.json`, the most confident first; empty if there is none.
        attempts: how often the run was started or resumed, as far as the log says; at least 1.
        unreadable: number of lines of the log that are no JSON object; the last line, if cut off, does not count.
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

    @property
    def name(self) -> str:
        """The name of the directory."""
        return self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether the run has a result and came to its end."""
        return self.result is not None and self.result.get("status") == "done"

    def metric(self, name: str) -> Number | None:
        """A number among the metrics of the result; None where it is missing or not finite."""
        return number((self.result or {}).get("metrics"), name)


def read_run(path: Path) -> RunRecord:
    """Reads a run directory, also that of a run that is still going or was killed.

    Raises:
        ValueError: the directory is not there or holds no run, or one of its files is damaged; the message says which.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"{path} is no directory; name a run directory, such as the one that `paretina train` prints")
    if not (path / "asked.json").is_file():
        raise ValueError(f"{path} is no run directory: asked.json is missing; name one that `paretina train` has written")
    asked = read_json(path / "asked.json", dict)
    result = read_json(path / "result.json", dict) if (path / "result.json").is_file() else None
    mistakes = read_json(path / "mistakes.json", list) if (path / "mistakes.json").is_file() else []
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
        attempts=1 + max((line["attempt"] for line in lines), default=0),
        unreadable=unreadable,
    )


def read_json(path: Path, kind: type) -> Any:
    try:
        data = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged, it is no JSON: {error}; restore the file or leave this run out") from None
    if not isinstance(data, kind):
        wanted = "object" if kind is dict else "list"
        raise ValueError(f"{path} must hold a JSON {wanted}, got {type(data).__name__}; restore the file or leave this run out")
    return data


def log_lines(text: str) -> tuple[list[Line], int]:
    """Returns the lines of a log that can be read, and the number of those that cannot; a last line cut off is ignored."""
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
    """Returns the lines that count, by step.

    A resumed run does the steps after its checkpoint again: what an earlier attempt says about steps that a later one has
    begun is dropped. Where a later attempt begins is told by its training and validation, for its first note can stand at
    the step of the checkpoint, which the earlier attempt has done.
    """
    lines = list(lines)
    begun: dict[int, int] = {}
    for line in lines:
        if line["event"] != "note":
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


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a JSON list; none where there is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def only(record: Any, keys: Sequence[str]) -> dict[str, Any]:
    """The named entries of a JSON object; None for those that it lacks."""
    return {key: record.get(key) if isinstance(record, dict) else None for key in keys}


# --- facts ------------------------------------------------------------------------------------------------------------


def table(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Returns one row a run for a table or for JSON; what a run does not say (yet) is None.

    Rates are in percent, `time_s` in seconds, `peak_mb` in megabytes; `size` is the side in pixels at which was tested.

    Raises:
        ValueError: one of them is no run directory.
    """
    return rows([read_run(run) for run in runs])


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
        "epochs": number(record.asked.get("recipe"), "epochs"),
        "params": number(cost, "params"),
        "macs": number(cost, "macs"),
        "train": number(sizes, "train"),
        "val": number(sizes, "val"),
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
    """The name that the data goes by: the last part of its path, its name, or its kind."""
    data = record.asked.get("data")
    if not isinstance(data, dict):
        return str(data or "unnamed data")
    for key in ("name", "path", "root", "folder", "directory"):
        if isinstance(data.get(key), str) and data[key].strip("/\\"):
            return re.split(r"[/\\]", data[key].rstrip("/\\"))[-1]
    return str(data.get("kind", "unnamed data")).lower()


def resolution(record: RunRecord) -> Number | None:
    """Side in pixels of the pictures in the test."""
    found = number((record.result or {}).get("cost"), "resolution")
    return found if found is not None else number(record.asked.get("model"), "resolution")


def commonest_share(confusion: Any) -> float | None:
    """The top-1 accuracy, in percent, of naming the most common class whatever the picture."""
    sizes = [sum(counts) for counts in confusion or ()]
    return 100 * max(sizes) / sum(sizes) if sum(sizes) else None


def update_of(line: Line) -> float:
    return float(line["step"])


def epoch_of(record: RunRecord) -> Callable[[Line], float]:
    """Returns the function from a line to its epoch; validation lines need not say it, it is then found by their step."""
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


# --- words ------------------------------------------------------------------------------------------------------------


def grouped(value: Number | None) -> str:
    """2125 -> 2,125"""
    return "–" if value is None else f"{value:,.0f}"


def quantity(value: Number | None, unit: str = "") -> str:
    """Three digits and a prefix: 5288548 -> 5.29 M"""
    if value is None:
        return "–"
    for prefix in ("", "k", "M", "G", "T"):
        text = f"{value:.0f}" if not prefix else f"{value:#.3g}".rstrip(".")
        if abs(float(text)) < 1000 or prefix == "T":
            break
        value /= 1000
    return f"{text}{SPACE}{prefix}{unit}" if prefix or unit else text


def duration(seconds: Number | None) -> str:
    """Two units at most: 151 -> 2 min 31 s"""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60:02d}{SPACE}s"
    return f"{whole // 3600}{SPACE}h {whole % 3600 // 60:02d}{SPACE}min"


def percent(value: Number | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}{SPACE}%"


def measured(value: Number | None, unit: str) -> str:
    """A number with its unit, as precise as it is worth reading."""
    if value is None:
        return "–"
    return percent(value) if unit == "%" else f"{value:.3f}{SPACE}{unit}".rstrip()


def between(low: Number | None, high: Number | None, unit: str) -> str:
    """An interval in words; empty where it is not known."""
    if low is None or high is None:
        return ""
    digits = 1 if unit == "%" else 3
    return f"{low:.{digits}f} to {high:.{digits}f}"


def short(value: Number) -> str:
    """A number as it stands beside an axis: 0.0004, 1e-5, 12.5, 20k"""
    if abs(value) >= 10_000:
        return re.sub(r"\.0+(?=\D)", "", quantity(value).replace(SPACE, ""))
    digits = 3 if abs(value) < 1 else 4
    return re.sub(r"e([+-])0*", lambda found: "e" + found[1].replace("+", ""), f"{value:.{digits}g}")


def spelled(value: Any) -> str:
    """An encoded spec the way it is written in Python: MixUp(alpha=0.2)"""
    if isinstance(value, dict):
        fields = {key: item for key, item in value.items() if key not in ("kind", "version")}
        if value.get("kind") == "Constant" and list(fields) == ["value"]:
            return spelled(fields["value"])
        if "kind" in value:
            return f"{value['kind']}({', '.join(f'{key}={spelled(item)}' for key, item in fields.items())})"
        return "{" + ", ".join(f"{key}: {spelled(item)}" for key, item in fields.items()) + "}"
    if isinstance(value, list):
        return f"({', '.join(map(spelled, value))})"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def listed(value: Any) -> list[tuple[str, list[str]]]:
    """The fields of an encoded spec, each with its value in lines: one a method where it is a tuple of methods."""
    if not isinstance(value, dict):
        return [("", [spelled(item) for item in value])] if isinstance(value, list) and value else []
    fields = []
    for key, item in value.items():
        lines = [spelled(one) for one in item] if isinstance(item, list) and dicts(item) else [spelled(item)]
        fields.append((str(key), lines or ["none"]))
    return fields


# --- curves -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        label: its name in the legend.
        colour: number of the colour, from 1.
        path: the SVG path in a square of 1000, empty where there is nothing to draw.
        last: the value it ends with, in words.
    """

    label: str
    colour: int
    path: str
    last: str


@dataclass(frozen=True)
class Mark:
    """A point of a scatter plot, in thousandths of the plot, y downwards; `low` and `high` end the interval around it."""

    label: str
    colour: int
    title: str
    x: float
    y: float
    low: float
    high: float
    side: str


@dataclass(frozen=True)
class Chart:
    """A plot, ready to be drawn: places are thousandths of its width, or of its height from the top.

    Attributes:
        averaged: how many logged values the longest curve shows as one point; 1 if it shows each.
    """

    title: str
    unit: str
    across: str
    curves: tuple[Curve, ...]
    columns: tuple[tuple[float, str], ...]
    lines: tuple[tuple[float, str], ...]
    averaged: int = 1
    marks: tuple[Mark, ...] = ()
    front: str = ""


Points = list[tuple[float, float]]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that enclose [low, high], about `count` steps of 1, 2 or 5 times a power of ten."""
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        room = abs(low) * 0.1 or 1.0
        low, high = low - room if low - room >= 0 or low < 0 else 0.0, high + room
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.8)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def averaged(points: Points, most: int = CURVE_POINTS) -> tuple[Points, int]:
    """Returns means of neighbouring points, so few that they can be drawn, and how many points each stands for."""
    together = math.ceil(len(points) / most) or 1
    if together == 1:
        return points, 1
    groups = [points[i : i + together] for i in range(0, len(points), together)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups], together


def chart(
    title: str,
    unit: str,
    across: str,
    series: Sequence[tuple[str, Points]],
    end: float = 0.0,
    stepped: bool = False,
    steps: int = 4,
    say: Callable[[float], str] = short,
) -> Chart | None:
    """Draws curves over epochs.

    Args:
        end: the epoch to which the plot reaches at least.
        stepped: whether a value holds until the next one.
        steps: about how many steps the vertical axis has.
        say: turns the last value into words.

    Returns:
        The chart, or None where no curve has a point.
    """
    shown = [(colour, label, *averaged(points)) for colour, (label, points) in enumerate(series, 1) if points]
    if not shown:
        return None
    heights = [y for _, _, points, _ in shown for _, y in points]
    right = max(end, *(x for _, _, points, _ in shown for x, _ in points)) or 1.0
    lines = ticks(min(heights), max(heights), steps)
    columns = [tick for tick in ticks(0.0, right, 6) if tick <= right]
    low, high = lines[0], lines[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        return round(1000 * x / right, 1), round(1000 * (high - y) / (high - low), 1)

    return Chart(
        title=title,
        unit=unit,
        across=across,
        curves=tuple(
            Curve(
                label,
                1 + (colour - 1) % COLOURS,
                path([place(x, y) for x, y in points], stepped),
                say(series[colour - 1][1][-1][1]),
            )
            for colour, label, points, _ in shown
        ),
        columns=tuple((place(tick, low)[0], short(tick)) for tick in columns),
        lines=tuple((place(0.0, tick)[1], short(tick)) for tick in lines),
        averaged=max(together for _, _, _, together in shown),
    )


def path(places: Points, stepped: bool = False) -> str:
    """The SVG path through the places; a lone one becomes a dot (a line of no length with round ends)."""
    (x0, y0), *others = places
    if stepped:
        return f"M{x0:g} {y0:g}" + "".join(f"H{x:g}V{y:g}" for x, y in others) + ("" if others else "h0")
    return f"M{x0:g} {y0:g}" + ("L" + " ".join(f"{x:g} {y:g}" for x, y in others) if others else "h0")


def points_of(lines: Iterable[Line], name: str, epoch: Callable[[Line], float]) -> Points:
    """The finite values that a name takes, over epochs."""
    return [(epoch(line), float(value)) for line in lines if (value := number(line, name)) is not None]


def kept_top1(record: RunRecord) -> str:
    """The key of the top-1 of the weights that are kept: those of the average where there is one."""
    return "val_ema/top1" if any("val_ema/top1" in line for line in record.val) else "val/top1"


def curves_of(record: RunRecord) -> list[Chart]:
    """How the run went: losses and accuracy."""
    epoch, across, end = epoch_of(record), across_of(record), planned_epochs(record)

    def three(what: str) -> list[tuple[str, Points]]:
        # training comes first even where the log has none of it, so that both charts give a name the same colour
        trained = points_of(record.train, f"train/{what}", epoch)
        held_out, averaged_weights = (points_of(record.val, f"{prefix}/{what}", epoch) for prefix in ("val", "val_ema"))
        return [("training", trained), ("validation", held_out), ("averaged weights", averaged_weights)]

    parts = sorted({name for line in record.train for name in line if name.startswith("train/loss/")})
    losses = [(name.removeprefix("train/loss/"), points_of(record.train, name, epoch)) for name in parts]
    charts = [
        chart("Loss", "nats", across, three("loss"), end, say="{:.3f}".format),
        chart("Top-1 accuracy", "%", across, three("top1"), end, say="{:.1f}".format),
        chart("Parts of the training loss", "nats", across, losses, end, say="{:.3f}".format) if len(parts) > 1 else None,
    ]
    return [found for found in charts if found]


def schedules_of(record: RunRecord) -> tuple[list[Chart], list[tuple[str, str]]]:
    """Returns the charts of what varied during training, and the name and value of what the log shows to have stayed."""
    epoch, across, end = epoch_of(record), across_of(record), planned_epochs(record)
    names = [("lr", "Learning rate", ""), ("size", "Picture size", "pixels")]
    others = sorted({name for line in record.train for name in line if name.startswith("schedule/")})
    names += [(name, name.removeprefix("schedule/"), "") for name in others]
    charts, constant = [], []
    for name, title, unit in names:
        points = points_of(record.train, name, epoch)
        if not points:
            continue
        if len({value for _, value in points}) == 1 and name != "lr":
            constant.append((title, f"{short(points[0][1])}{SPACE}{unit}".strip()))
            continue
        # few values, each held for long, are a staircase; slanted lines between its steps would be made up
        stepped = 3 * len({value for _, value in points}) <= len(points)
        charts.append(chart(title, unit, across, [("", points)], end, stepped, steps=3))
    speed = points_of(record.train, "throughput/img_s", epoch)
    charts.append(chart("Training speed", "pictures/s", across, [("", speed)], end, steps=3, say=grouped))
    return [found for found in charts if found], constant


def across_of(record: RunRecord) -> str:
    said = any(number(line, "epoch") is not None for line in (*record.train, *record.val))
    return "epoch" if said else "update"


def planned_epochs(record: RunRecord) -> float:
    """Where the epoch axis ends: an unfinished run shows how far it has come."""
    epochs = number(record.asked.get("recipe"), "epochs") or 0
    return float(epochs) if across_of(record) == "epoch" else 0.0


def scatter(title: str, across: str, found: Sequence[dict[str, Any]], key: str, scale: Number) -> Chart | None:
    """Draws top-1 with its interval against a cost, and the runs that no other beats in both joined by a line.

    Costs are divided by `scale`; those that differ by more than ten times stand on a logarithmic axis.
    """
    shown = [(at, run, run[key] / scale) for at, run in enumerate(found, 1) if run[key] is not None and run["top1"] is not None]
    if not shown:
        return None
    costs = [cost for _, _, cost in shown]
    logarithmic = min(costs) > 0 and max(costs) > 10 * min(costs)
    room = 0.05 * (max(costs) - min(costs))
    columns = decades(min(costs), max(costs)) if logarithmic else ticks(max(0.0, min(costs) - room), max(costs) + room)
    left, right = columns[0], columns[-1]
    ends = [value for _, run, _ in shown for value in (run["top1"], run["top1_low"], run["top1_high"]) if value is not None]
    lines = ticks(min(ends), max(ends))
    low, high = lines[0], lines[-1]

    def x_of(cost: float) -> float:
        share = math.log(cost / left) / math.log(right / left) if logarithmic else (cost - left) / (right - left)
        return round(1000 * share, 1)

    def y_of(value: float) -> float:
        return round(1000 * (high - value) / (high - low), 1)

    places = [(x_of(cost), y_of(run["top1"])) for _, run, cost in shown]
    marks: list[Mark] = []
    for (at, run, cost), (x, y) in zip(shown, places, strict=True):
        mark = Mark(
            label=str(at),
            colour=1 + (at - 1) % COLOURS,
            title=f"{at}: {run['run']}, {run['model']}, {percent(run['top1'])}, {short(cost)}",
            x=x,
            y=y,
            low=y if run["top1_low"] is None else y_of(run["top1_low"]),
            high=y if run["top1_high"] is None else y_of(run["top1_high"]),
            side=free_side(x, y, [place for place in places if place != (x, y)], marks),
        )
        marks.append(mark)
    points = {(cost, run["top1"]) for _, run, cost in shown}
    front = sorted(point for point in points if not any(beats(other, point) for other in points))
    return Chart(
        title=title,
        unit="%",
        across=across,
        curves=(),
        columns=tuple((x_of(tick), short(tick)) for tick in columns),
        lines=tuple((y_of(tick), short(tick)) for tick in lines),
        marks=tuple(marks),
        front=path([(x_of(cost), y_of(top1)) for cost, top1 in front], stepped=True) if len(front) > 1 else "",
    )


def decades(low: float, high: float) -> list[float]:
    """The numbers 1, 3, 10, 30 ... and their fractions that enclose [low, high] closely."""
    tens = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    marks = [factor * 10.0**ten for ten in tens for factor in (1, 3)]
    first, last = max(mark for mark in marks if mark <= low), min(mark for mark in marks if mark >= high)
    return [mark for mark in marks if first <= mark <= last]


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether one (cost, score) costs no more and scores no less than another, and is not equal to it."""
    return one != other and one[0] <= other[0] and one[1] >= other[1]


SIDES = {"right": (28, -45), "left": (-28, -45), "below": (28, 50), "aside": (-28, 50)}
"""Where the number of a point stands, from the point, in thousandths of a plot twice as wide as high."""


def free_side(x: float, y: float, points: Sequence[tuple[float, float]], marks: Sequence[Mark]) -> str:
    """The side of a point on which its number meets no other point and no earlier number, where there is one."""
    numbers = [(mark.x + SIDES[mark.side][0], mark.y + SIDES[mark.side][1]) for mark in marks]
    for side, (dx, dy) in SIDES.items():
        if all(abs(x + dx - at) > 30 or abs(y + dy - height) > 60 for at, height in (*points, *numbers)):
            return side
    return "right"


# --- classes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One cell of the heat map: a true class (row), an answer (column), and what is to be seen there."""

    row: int
    column: int
    count: int
    strength: float
    title: str


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix, ready to be drawn.

    Attributes:
        classes: their names, in the order of rows and columns.
        cells: those that are not zero; empty where there is a picture instead.
        picture: data URI of the heat map of many classes, a pixel a cell; empty where there are cells.
        pooled: how many neighbouring classes one pixel stands for.
        pairs: the most frequent confusions: true class, answer, count, share of the true class in percent.
    """

    classes: tuple[str, ...]
    cells: tuple[Cell, ...]
    picture: str
    pooled: int
    pairs: tuple[tuple[str, str, int, float], ...]


def confusion_of(record: RunRecord) -> Confusion | None:
    """Reads the confusion matrix of a result; None where it has none.

    Raises:
        ValueError: it is not square, or there are more or fewer class names than rows.
    """
    result = record.result or {}
    counts, classes = result.get("confusion"), result.get("classes")
    if not counts:
        return None
    classes = tuple(map(str, classes or range(len(counts))))
    if {len(counts), *map(len, counts)} != {len(classes)}:
        raise ValueError(
            f"{record.path / 'result.json'}: the confusion matrix must have a row and a column for each of the "
            f"{len(classes)} classes, got {len(counts)} rows of {sorted(set(map(len, counts)))} numbers"
        )
    totals = [sum(counted) for counted in counts]
    wrong = [(n, i, j) for i, counted in enumerate(counts) for j, n in enumerate(counted) if n and i != j]
    wrong.sort(key=lambda found: (-found[0], found[1], found[2]))
    most = 10 if len(classes) <= 20 else 20
    pairs = tuple((classes[i], classes[j], n, 100 * n / totals[i]) for n, i, j in wrong[:most])
    if len(classes) > LABELLED_CLASSES:
        picture, pooled = heat_picture(counts)
        return Confusion(classes, (), picture, pooled, pairs)
    cells = [
        Cell(
            i, j, n, strength(n / totals[i]), f"{classes[i]} → {classes[j]}: {n} of {totals[i]}, {percent(100 * n / totals[i])}"
        )
        for i, counted in enumerate(counts)
        for j, n in enumerate(counted)
        if n
    ]
    return Confusion(classes, tuple(cells), "", 1, pairs)


def strength(share: float) -> float:
    """How strongly a share of a row is painted: rare confusions must stay visible."""
    return round(max(0.15, share**0.5), 3)


def heat_picture(counts: list[list[int]]) -> tuple[str, int]:
    """Paints a large matrix; transparent where it is zero, so that it suits light and dark pages.

    Returns:
        A PNG as a data URI, and how many neighbouring classes share a pixel.
    """
    import base64
    import io

    import numpy as np
    from PIL import Image

    pooled = math.ceil(len(counts) / HEAT_PIXELS)
    side = math.ceil(len(counts) / pooled)
    whole = np.zeros((side * pooled, side * pooled))
    whole[: len(counts), : len(counts)] = counts
    right = np.diag(np.diag(whole))
    blocks = [part.reshape(side, pooled, side, pooled).sum((1, 3)) for part in (whole - right, right)]
    shares = [part / np.maximum(sum(blocks).sum(1, keepdims=True), 1) for part in blocks]
    pixels = np.zeros((side, side, 4), np.uint8)
    for share, colour in zip(shares, ((201, 92, 26), (47, 111, 179)), strict=True):
        # a pooled pixel on the diagonal shows what is right
        pixels[share > 0] = [(*colour, round(255 * max(0.35, value**0.5))) for value in share[share > 0]]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii"), pooled


def mistakes_of(record: RunRecord) -> list[dict[str, Any]]:
    """The most confident mistakes, in words; a picture is shown only if it lies in the file itself."""
    classes = (record.result or {}).get("classes") or []

    def named(value: Any) -> str:
        known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(classes)
        return str(classes[value]) if known else str(value)

    def second(value: Any) -> str:
        if isinstance(value, dict):
            value = [value.get("class", value.get("predicted", value.get("name"))), value.get("confidence")]
        if isinstance(value, list) and value and value[0] is not None:
            share = number({"": value[1]}, "") if len(value) > 1 else None
            return named(value[0]) + (f", {percent(100 * share, 0)}" if share is not None else "")
        return "" if value is None or isinstance(value, list) else named(value)

    shown = []
    for mistake in record.mistakes[:MISTAKES]:
        share = number(mistake, "confidence")
        picture = mistake.get("picture")
        shown.append(
            {
                "name": str(mistake.get("name", "")),
                "label": named(mistake.get("label")),
                "predicted": named(mistake.get("predicted")),
                "confidence": percent(100 * share, 0) if share is not None else "",
                "second": second(mistake.get("second")),
                "picture": picture if isinstance(picture, str) and PICTURE.fullmatch(picture) else "",
            }
        )
    return shown


# --- pages ------------------------------------------------------------------------------------------------------------


def write_report(run: Path) -> Path:
    """Writes `report.html` into a run directory and returns its path; an older report is replaced at once, never half.

    Raises:
        ValueError: the directory holds no run, or a file in it is damaged.
    """
    record = read_run(run)
    return write_page(Path(run) / "report.html", render(title=f"{model_name(record)} on {data_name(record)}", run=page(record)))


def write_comparison(runs: Sequence[Path], out: Path) -> Path:
    """Writes one page that compares runs, and returns its path.

    Raises:
        ValueError: no run was given, or one of them is no run directory.
    """
    if not runs:
        raise ValueError("a comparison needs at least one run directory, got none")
    records = [read_run(run) for run in runs]
    found = rows(records)
    by_epoch = all(across_of(record) == "epoch" for record in records if record.val)
    series = []
    for at, (record, facts) in enumerate(zip(records, found, strict=True), 1):
        epoch = epoch_of(record) if by_epoch else update_of
        series.append((f"{at} {facts['run']}", points_of(record.val, kept_top1(record), epoch)))
    longest = max((facts["time_s"] or 0 for facts in found), default=0)
    unit, scale = ("hours", 3600) if longest >= 7200 else ("minutes", 60) if longest >= 120 else ("seconds", 1)
    charts = [
        scatter("Top-1 against multiply-adds", "millions of MACs for one picture", found, "macs", 1e6),
        scatter("Top-1 against training time", f"time in {unit}", found, "time_s", scale),
        chart("Top-1 on the validation set during training", "%", "epoch" if by_epoch else "update", series, say=percent),
    ]
    view = {
        "rows": found,
        "charts": [drawn for drawn in charts if drawn],
        "data_differ": len({spelled(record.asked.get("data")) for record in records}) > 1,
        "unfinished": [facts["run"] for record, facts in zip(records, found, strict=True) if not record.finished],
    }
    return write_page(Path(out), render(title=f"{len(found)} runs compared", comparison=view))


def page(record: RunRecord) -> dict[str, Any]:
    """Everything that the page of one run shows, in the order in which it is shown."""
    result, asked = record.result or {}, record.asked
    schedules, constant = schedules_of(record)
    data = result["data"] if isinstance(result.get("data"), dict) else {}
    return {
        "facts": row(record, alone=True),
        "status": status(record),
        "headline": headline(record),
        "commonest": commonest_share(result.get("confusion")),
        "measures": [
            {
                "label": label,
                "value": measured(record.metric(name), unit),
                "interval": between(record.metric(f"{name}_low"), record.metric(f"{name}_high"), unit),
            }
            for name, label, unit in MEASURES
            if record.metric(name) is not None
        ],
        "chosen": result.get("chosen"),
        "classes": result.get("classes") or [],
        "start": only(asked["start"], ("weights", "licence", "origin")) if isinstance(asked.get("start"), dict) else None,
        "environment": only(asked.get("environment"), ("paretina", "torch", "machine", "device", "threads")),
        "batch_size": number(asked.get("recipe"), "batch_size"),
        "command": asked.get("command"),
        "cost": cost_of(result.get("cost")),
        "curves": curves_of(record),
        "schedules": schedules,
        "constant": constant,
        "confusion": confusion_of(record),
        "per_class": [
            {"class": one.get("class"), **{key: number(one, key) for key in PER_CLASS}}
            for one in dicts(result.get("per_class"))
        ],
        "mistakes": mistakes_of(record),
        "mistakes_left_out": max(0, len(record.mistakes) - MISTAKES),
        "calibration": calibration_of(record),
        "temperature": record.metric("temperature"),
        "damaged": [only(one, ("name", "reason")) for one in dicts(data.get("damaged"))],
        "data_notes": [str(note) for note in data.get("notes") or ()],
        "log_notes": [(line["step"], str(line.get("message", ""))) for line in record.notes],
        "attempts": record.attempts,
        "unreadable": record.unreadable,
        "asked": [
            (title, listed(asked.get(key)))
            for key, title in (
                ("recipe", "Recipe"),
                ("model", "Model"),
                ("edits", "Edits of the model"),
                ("data", "Data"),
                ("plan", "Plan of execution"),
                ("start", "Initial weights"),
                ("environment", "Machine and versions"),
            )
            if listed(asked.get(key))
        ],
    }


def status(record: RunRecord) -> str:
    """How far the run is; empty when it is done."""
    if record.finished:
        return ""
    if record.result is not None:
        return f"ended as {record.result.get('status', 'unknown')}"
    if not record.train:
        return "unfinished, nothing is logged yet"
    last, epochs = record.train[-1], number(record.asked.get("recipe"), "epochs")
    epoch = number(last, "epoch")
    if epoch is None:
        return f"unfinished, logged up to update {grouped(last['step'])}"
    return f"unfinished, logged up to epoch {epoch:.1f}" + (f" of {epochs:g}" if epochs else "")


def headline(record: RunRecord) -> dict[str, str] | None:
    """The number on top: the result's top-1, or the last that the log has."""
    top1 = record.metric("val/top1")
    if top1 is not None:
        interval = between(record.metric("val/top1_low"), record.metric("val/top1_high"), "%")
        return {"value": f"{top1:.1f}", "label": "top-1 accuracy on the validation set", "interval": interval}
    logged = points_of(record.val, kept_top1(record), epoch_of(record))
    if logged:
        at, value = logged[-1]
        place = f"at epoch {at:.1f}" if across_of(record) == "epoch" else f"at update {grouped(at)}"
        return {"value": f"{value:.1f}", "label": f"top-1 accuracy {place}, so far", "interval": ""}
    return None


def calibration_of(record: RunRecord) -> list[dict[str, str]]:
    """Rows of the calibration table: each measure before and after temperature scaling."""

    def scaled(name: str, factor: int) -> Number | None:
        value = record.metric(name)
        return None if value is None else factor * value

    found = []
    for label, unit, factor, before, after in CALIBRATION:
        if record.metric(before) is None and record.metric(after) is None:
            continue
        cells = {"label": label}
        for place, name in (("before", before), ("after", after)):
            cells[place] = measured(scaled(name, factor), unit)
            cells[f"{place}_interval"] = between(scaled(f"{name}_low", factor), scaled(f"{name}_high", factor), unit)
        found.append(cells)
    return found


def cost_of(cost: Any) -> dict[str, Any] | None:
    """The cost of the network, each stage with its share of the parameters and multiply-adds."""
    if not isinstance(cost, dict):
        return None
    stages = dicts(cost.get("stages"))
    sums = {key: sum(number(stage, key) or 0 for stage in stages) or 1 for key in ("params", "macs", "activations")}
    return {
        **{key: number(cost, key) for key in ("params", "macs", "activations", "weight_bytes", "resolution")},
        "stages": [
            {
                "name": str(stage.get("name", "")),
                "spec": stage["spec"] if isinstance(stage.get("spec"), str) else spelled(stage.get("spec") or ""),
                "output": " × ".join(map(str, stage.get("output") or ())),
                **{key: number(stage, key) for key in sums},
                **{f"{key}_share": 100 * (number(stage, key) or 0) / total for key, total in sums.items()},
            }
            for stage in stages
        ],
    }


def render(**view: Any) -> str:
    """Fills the template beside this file."""
    import base64
    import hashlib

    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def sha256(text: str) -> str:
        return base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode("ascii")

    environment.filters |= {
        "between": between,
        "duration": duration,
        "grouped": grouped,
        "percent": percent,
        "quantity": quantity,
        "sha256": sha256,
    }
    return environment.get_template("report.html.jinja").render({"run": None, "comparison": None, **view})


def write_page(target: Path, text: str) -> Path:
    """Writes a page; names of files need not be valid text, so what is not stands there by its number."""
    write_aside(target, text.encode("utf-8", "backslashreplace"))
    return target
