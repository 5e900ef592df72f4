"""The table and the page of a transfer study, made from its `result.json` alone.

See `paretina.report.run_page` for what all pages have in common.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paretina.report.charts import Chart, Curve, Mark, look_of, ticks
from paretina.report.run_page import environment, render, write_page
from paretina.report.scale_page import spelled
from paretina.report.words import quantity, short
from paretina.run import write_aside
from paretina.tables import csv_text, in_columns
from paretina.text import how_many


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a study.

    Raises:
        ValueError: there is none.
    """
    try:
        found = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or "backbones" not in found:
        raise ValueError(f"{folder} has no result of a transfer study; finish it with: paretina transfer --resume {folder}")
    return found


def write_transfer(folder: Path, out: Path | None = None) -> Path:
    """Writes the page of a study, and `transfer.csv` into its directory; returns the path of the page."""
    result = read_result(folder)
    rows = [{key: spelled(value) for key, value in row.items()} for row in in_order(result["backbones"])]
    write_aside(folder / "transfer.csv", csv_text(rows).encode())
    title = heading(result)
    shell, opening, rest = render(title=title).partition("<body>\n")
    return write_page(out or folder / "report.html", shell + opening + body(result, title) + rest)


def heading(result: Mapping[str, Any]) -> str:
    return f"{how_many(len(result['backbones']), 'backbone')} on {result['data']}"


def header(result: Mapping[str, Any]) -> tuple[str, ...]:
    figure = result["figure"]
    title = f"{figure['title']} {figure['unit']}".strip()
    return "backbone", "top-1 %", "95 %", title, "95 %", "against", "95 %", "on train", "MACs", "params", ""


def in_order(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The best classifier first."""
    return sorted(rows, key=lambda row: -row["top1"])


def cells(row: Mapping[str, Any], gain: Mapping[str, Any] | None) -> tuple[str, ...]:
    """A row of the table; unknown values are dashes."""

    def between(low: float | None, high: float | None) -> str:
        return "" if low is None or high is None else f"{low:.2f} to {high:.2f}"

    interval = row["interval"] or {"low": None, "high": None}
    return (
        row["name"],
        f"{row['top1']:.2f}",
        between(row["top1_low"], row["top1_high"]),
        "–" if row["mean"] is None else f"{row['mean']:.2f}",
        between(interval["low"], interval["high"]),
        f"{gain['value']:+z.2f}" if gain else "",
        f"{gain['low']:+z.2f} to {gain['high']:+z.2f}" if gain else "",
        "–" if row["on_train"] is None else f"{row['on_train']:.1f}",
        *("–" if row[key] is None else quantity(row[key]) for key in ("macs", "params")),
        "" if not row["error"] else "failed" if row["mean"] is None else "one failed",
    )


def table(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    over = result["verdict"]["best_classifier_over"]
    return [cells(row, over.get(row["name"])) for row in in_order(result["backbones"])]


def text_tables(result: Mapping[str, Any]) -> list[str]:
    """The study as lines of text."""
    count = how_many(len(result["seeds"]), "seed")
    lines = [f"{heading(result)}, {how_many(float(result['epochs']), 'epoch')}, {count}", ""]
    lines += in_columns([header(result), *table(result)], "<>>>>>>>>><")
    return [*lines, "", "against: the best classifier less this one, paired by seed"]


def body(result: Mapping[str, Any], title: str) -> str:
    verdict = result["verdict"]
    text: str = (
        environment()
        .get_template("transfer.html.jinja")
        .render(
            title=title,
            result=result,
            verdict=verdict,
            figure=result["figure"],
            leader=next(row for row in result["backbones"] if row["name"] == verdict["leader"]),
            header=header(result),
            rows=table(result),
            chart=chart_of(result),
        )
    )
    return text


def chart_of(result: Mapping[str, Any]) -> Chart:
    """The figure of each backbone against its accuracy as a classifier."""
    figure = result["figure"]
    rows = [row for row in in_order(result["backbones"]) if row["mean"] is not None]
    ends = {row["name"]: row["interval"] or {"low": row["mean"], "high": row["mean"]} for row in rows}
    columns = ticks(min(row["top1"] for row in rows), max(row["top1"] for row in rows))
    lines = ticks(min(each["low"] for each in ends.values()), max(each["high"] for each in ends.values()))

    def x_of(value: float) -> float:
        return round(1000 * (value - columns[0]) / (columns[-1] - columns[0]), 1)

    def y_of(value: float) -> float:
        return round(1000 * (lines[-1] - value) / (lines[-1] - lines[0]), 1)

    curves, marks = [], []
    for number, row in enumerate(rows, 1):
        colour, shape = look_of(number)
        name, mean = row["name"], row["mean"]
        curves.append(Curve(name, colour, "", f"{mean:.2f}", shape=shape))
        low, high = y_of(ends[name]["low"]), y_of(ends[name]["high"])
        said = f"{name}: top-1 {row['top1']:.2f}, {figure['title']} {mean:.2f}"
        marks.append(Mark("", colour, said, x_of(row["top1"]), y_of(mean), low, high, "right", shape))
    return Chart(
        title=f"{figure['title'][:1].upper()}{figure['title'][1:]} against accuracy",
        unit=figure["unit"],
        across="top-1 as a classifier, %",
        curves=tuple(curves),
        columns=tuple((x_of(tick), short(tick)) for tick in columns),
        lines=tuple((y_of(tick), short(tick)) for tick in lines),
        marks=tuple(marks),
    )


__all__ = ["read_result", "text_tables", "write_transfer"]
