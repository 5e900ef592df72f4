"""The pages of a run and of a comparison of several, generated only from run directories.

A page is one file that opens offline, loads nothing (a content security policy forbids it), follows the light or dark mode of
the reader and is responsive. All content from files is escaped. The same run gives the same page, byte for byte.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paretina.report.charts import (
    SHAPES,
    across_of,
    chart,
    curves_of,
    kept_figure,
    look_of,
    points_of,
    scatter,
    schedules_of,
)
from paretina.report.classes import MISTAKES, answers_of, confusion_of, mistakes_of, overlays_of
from paretina.report.records import (
    Number,
    RunRecord,
    commonest_share,
    copies_warning,
    data_name,
    dicts,
    epoch_of,
    groups_of,
    main_figure,
    model_name,
    number,
    only,
    probe_said,
    read_run,
    row,
    rows,
    uncounted,
    update_of,
)
from paretina.report.words import (
    between,
    duration,
    figure_title,
    figure_unit,
    grouped,
    listed,
    measured,
    percent,
    quantity,
    spelled,
)
from paretina.run import write_aside
from paretina.text import how_many

MEASURES = (
    ("val/top5", "Top-5", "%"),
    ("val/balanced", "Balanced accuracy", "%"),
    ("val/f1_macro", "Macro F1", "%"),
)
CALIBRATION = (  # the factor converts fractions to percent
    ("Negative log-likelihood", "nats", 1, "val/nll", "val/nll_scaled"),
    ("Expected calibration error", "%", 100, "val/ece", "val/ece_scaled"),
    ("... without what chance gives", "%", 100, "val/ece_debiased", "val/ece_scaled_debiased"),
)
PER_CLASS = ("n", "recall", "precision", "f1", "recall_low", "recall_high")


def write_report(run: Path) -> Path:
    """Writes `report.html` into a run directory and returns its path; an older report is replaced atomically.

    Raises:
        ValueError: the directory holds no run, or a file in it is damaged.
    """
    record = read_run(run)
    return write_page(Path(run) / "report.html", render(title=f"{model_name(record)} on {data_name(record)}", run=page(record)))


def write_comparison(runs: Sequence[Path], out: Path) -> Path:
    """Writes one page that compares runs, and returns its path.

    Raises:
        ValueError: no run was given, or one of them is not a run directory.
    """
    if not runs:
        raise ValueError("a comparison needs at least one run directory, got none")
    records = [read_run(run) for run in runs]
    found = rows(records)
    by_epoch = all(across_of(record) == "epoch" for record in records if record.val)
    groups = groups_of(records)
    letters = [letters_of(group) if max(groups) else "" for group in groups]
    series = []
    for at, (record, facts) in enumerate(zip(records, found, strict=True), 1):
        if main_figure(record)["key"] != "top1":
            continue
        epoch = epoch_of(record) if by_epoch else update_of
        series.append((f"{at} {facts['run']}", points_of(record.val, kept_figure(record), epoch)))
    longest = max((facts["time_s"] or 0 for facts in found), default=0)
    unit, scale = ("hours", 3600) if longest >= 7200 else ("minutes", 60) if longest >= 120 else ("seconds", 1)
    charts = [
        scatter("Top-1 against multiply-adds", "millions of MACs for one picture", found, "macs", 1e6, groups),
        scatter("Top-1 against training time", f"time in {unit}", found, "time_s", scale, groups),
        chart("Top-1 on the validation set during training", "%", "epoch" if by_epoch else "update", series, say=percent),
    ]
    view = {
        "rows": [
            {**facts, "colour": look_of(at)[0], "mark": SHAPES[look_of(at)[1]], "letter": letter}
            for at, (facts, letter) in enumerate(zip(found, letters, strict=True), 1)
        ],
        "charts": [drawn for drawn in charts if drawn],
        "groups": [
            (letter, ", ".join(str(at) for at, own in enumerate(letters, 1) if own == letter))
            for letter in dict.fromkeys(letters)
            if letter
        ],
        "trained_apart": not max(groups) and len({spelled(record.asked.get("data")) for record in records}) > 1,
        "unfinished": [facts["run"] for record, facts in zip(records, found, strict=True) if not record.finished],
    }
    return write_page(Path(out), render(title=f"{how_many(len(found), 'run')} compared", comparison=view))


def letters_of(number: int) -> str:
    """A, B, ..., Z, AA, AB, ... from 0 on."""
    return (letters_of(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def page(record: RunRecord) -> dict[str, Any]:
    """The content of the page of one run, in order."""
    result, asked = record.result or {}, record.asked
    schedules, constant = schedules_of(record)
    one_class = main_figure(record)["key"] == "top1"  # the class tables need one class per picture
    data = result["data"] if isinstance(result.get("data"), dict) else {}
    return {
        "facts": row(record, alone=True),
        "status": status(record),
        "headline": headline(record),
        "copies": copies_warning(record),
        "commonest": commonest_share(result.get("confusion")) if one_class else None,
        "measures": [
            {
                "label": label,
                "value": measured(record.metric(name), unit),
                "interval": between(record.metric(f"{name}_low"), record.metric(f"{name}_high"), unit),
            }
            for name, label, unit in ((*MEASURES, *hierarchy_measures(record)) if one_class else other_measures(record))
            if record.metric(name) is not None
        ],
        "sets": sets_of(record),
        "chosen": result.get("chosen"),
        "probe": probe_said(asked, result),
        "classes": result.get("classes") or [],
        "start": only(asked["start"], ("weights", "licence", "origin")) if isinstance(asked.get("start"), dict) else None,
        "environment": only(asked.get("environment"), ("paretina", "torch", "machine", "device", "threads")),
        "batch_size": number(asked.get("recipe"), "batch_size"),
        "command": asked.get("command"),
        "cost": cost_of(result.get("cost"), result.get("low_bits")),
        "routes": routes_of(result.get("routes")),
        "curves": curves_of(record),
        "schedules": schedules,
        "constant": constant,
        "confusion": confusion_of(record) if one_class else None,
        "per_class": [
            {"class": one.get("class"), **{key: number(one, key) for key in PER_CLASS}}
            for one in dicts(result.get("per_class"))
            if one_class
        ],
        "mistakes": mistakes_of(record),
        "overlays": overlays_of(record),
        "answers": answers_of(record),
        "pixel_classes": pixel_classes_of(record),
        "label_classes": label_classes_of(record),
        "box_classes": [
            {"class": str(one.get("name", "")), **{key: number(one, key) for key in ("objects", "ap", "ap50")}}
            for one in dicts(result.get("boxes_per_class"))
        ],
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


def other_measures(record: RunRecord) -> list[tuple[str, str, str]]:
    """Key, label and unit of the figures of a task other than one class per picture, from its result."""
    metrics = (record.result or {}).get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    names = [name for name in metrics if not name.endswith(("_low", "_high"))]
    return [(name, (title := figure_title(name))[:1].upper() + title[1:], figure_unit(name, metrics)) for name in names]


def sets_of(record: RunRecord) -> dict[str, Any] | None:
    """The main figure of each of several joined sets of pictures; None where there is one set."""
    found = (record.result or {}).get("sets")
    if not isinstance(found, dict) or not found:
        return None
    shown = main_figure(record)
    rows = []
    for name, each in found.items():
        n, value, low, high = (number(each, key) for key in ("n", "value", "low", "high"))
        rows.append(
            {"name": name, "n": n, "value": measured(value, shown["unit"]), "interval": between(low, high, shown["unit"])}
        )
    return {"title": shown["title"], "rows": rows}


def pixel_classes_of(record: RunRecord) -> list[dict[str, Any]]:
    """Rows of the table of classes where each pixel has one; empty for other tasks."""
    found = dicts((record.result or {}).get("per_class"))
    return [
        {"class": str(one.get("class", "")), **{key: number(one, key) for key in ("n", "iou", "dice")}}
        for one in found
        if "iou" in one
    ]


def label_classes_of(record: RunRecord) -> list[dict[str, Any]]:
    """Rows of the table of classes where a picture can have several; empty for other tasks."""
    keys = ("n", "average_precision", "f1", "threshold", "f1_tuned")
    return [
        {"class": str(one.get("class", "")), **{key: number(one, key) for key in keys}}
        for one in dicts((record.result or {}).get("per_class"))
        if "average_precision" in one
    ]


def hierarchy_measures(record: RunRecord) -> list[tuple[str, str, str]]:
    """Key, label and unit of the figures by groups of classes; empty where a run knows of none."""
    found = (record.result or {}).get("hierarchy")
    if not isinstance(found, dict):
        return []
    levels = [
        (f"val/level{one['level']}", f"Level {one['level']}, {how_many(len(one.get('groups') or ()), 'group')}", "%")
        for one in dicts(found.get("levels"))
        if number(one, "level") is not None
    ]
    more = (("val/mistake_severity", "Severity of mistakes", ""), ("val/hierarchical_distance", "Hierarchical distance", ""))
    return [*levels, *more]


def status(record: RunRecord) -> str:
    """The progress of a run; empty if it is finished."""
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
    """The headline figure: the main figure of the result, or its last value in the log."""
    figure = main_figure(record)
    key, unit, digits = figure["key"], figure["unit"], 1 if figure["unit"] else 3
    name = "top-1 accuracy" if key == "top1" else figure["title"]
    value = record.metric(f"val/{key}")
    if value is not None:
        interval = between(record.metric(f"val/{key}_low"), record.metric(f"val/{key}_high"), unit)
        own = only((record.result or {}).get("on_train"), ("value", "pictures"))
        fits = number(own, "value")
        said = (
            "" if fits is None else f"{fits:.{digits}f}{' ' * bool(unit)}{unit} on {own['pictures']} of its training pictures"
        )
        label = f"{name} on the validation set"
        return {"value": f"{value:.{digits}f}", "unit": unit, "label": label, "interval": interval, "on_train": said}
    logged = points_of(record.val, kept_figure(record), epoch_of(record))
    if logged:
        at, value = logged[-1]
        place = f"at epoch {at:.1f}" if across_of(record) == "epoch" else f"at update {grouped(at)}"
        return {
            "value": f"{value:.{digits}f}",
            "unit": unit,
            "label": f"{name} {place}, so far",
            "interval": "",
            "on_train": "",
        }
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


def cost_of(cost: Any, low_bits: Any = None) -> dict[str, Any] | None:
    """The cost of the network, with each stage's share of the parameters and MACs.

    Args:
        low_bits: what the weights and inputs of its layers are rounded to, in words; anything else for a network of floats.
    """
    if not isinstance(cost, dict):
        return None
    stages = dicts(cost.get("stages"))
    sums = {key: sum(number(stage, key) or 0 for stage in stages) or 1 for key in ("params", "macs", "activations")}
    return {
        **{key: number(cost, key) for key in ("params", "macs", "activations", "weight_bytes", "resolution")},
        "uncounted": uncounted(cost),
        "low_bits": low_bits if isinstance(low_bits, str) else "",
        "stages": [
            {
                "name": str(stage.get("name", "")),
                "spec": stage["spec"] if isinstance(stage.get("spec"), str) else spelled(stage.get("spec") or ""),
                "bits": stage["bits"] if isinstance(stage.get("bits"), str) else "",
                "output": " × ".join(map(str, stage.get("output") or ())),
                **{key: number(stage, key) for key in sums},
                **{f"{key}_share": 100 * (number(stage, key) or 0) / total for key, total in sums.items()},
            }
            for stage in stages
        ],
    }


def routes_of(routes: Any) -> dict[str, Any] | None:
    """The sizes that pictures took, with the share of each, of a network that chooses its image size."""
    if not isinstance(routes, dict) or not all(isinstance(routes.get(key), list) for key in ("sizes", "pictures", "shares")):
        return None
    macs, largest = number(routes, "macs"), number(routes, "largest")
    rows = zip(routes["sizes"], routes["pictures"], routes["shares"], strict=False)
    return {
        "rows": [
            {"size": size, "pictures": count, "share": 100 * share}
            for size, count, share in rows
            if all(isinstance(each, int | float) for each in (size, count, share))
        ],
        "macs": macs,
        "times": None if not macs or not largest else macs / largest,
    }


def environment(**filters: Callable[..., Any]) -> Any:
    """The Jinja environment of all pages: templates next to this file, autoescaped, with strict undefined.

    Args:
        filters: filters of a page in addition to the shared ones.
    """
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shared = {
        "between": between,
        "duration": duration,
        "grouped": grouped,
        "how_many": how_many,
        "percent": percent,
        "quantity": quantity,
        "sha256": sha256,
    }
    found.filters |= {**shared, **filters}
    return found


def sha256(text: str) -> str:
    """The checksum of a script or style, in the form of a content security policy."""
    import base64
    import hashlib

    return base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode("ascii")


def render(**view: Any) -> str:
    """Renders the template of a run or a comparison."""
    text: str = environment().get_template("page.html.jinja").render({"run": None, "comparison": None, **view})
    return text


def write_page(target: Path, text: str) -> Path:
    """Writes a page; undecodable bytes in file names are escaped."""
    write_aside(target, text.encode("utf-8", "backslashreplace"))
    return target
