"""The tables and the page of a scaling study, made from its `result.json` alone.

See `paretina.report.run_page` for what all pages have in common.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paretina.report.charts import Chart, Curve, Mark, decades, look_of, path, ticks
from paretina.report.run_page import environment, render, write_page
from paretina.report.words import SPACE, percent, quantity, short
from paretina.run import write_aside
from paretina.tables import csv_text, in_columns
from paretina.text import how_many

TITLES = {
    "macs": "multiply-adds",
    "params": "parameters",
    "activations": "activations",
    "latency_ms": "latency of one picture",
    "train_seconds": "time of an update",
    "peak_mb": "peak memory of an update",
}

HEADER = (
    *("shares", "cost", "depth", "width", "pixels", "divisor", "MACs", "params", "activations", "ms", "top-1 %", "95 %"),
    *("on train %", ""),
)

Places = Sequence[tuple[float, float, float, float, str]]
"""Points of a curve: cost, accuracy, the ends of its interval, and what is said of it."""


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a study.

    Raises:
        ValueError: there is none.
    """
    try:
        found = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or "candidates" not in found:
        raise ValueError(f"{folder} has no result of a scaling study; finish it with: paretina scale --resume {folder}")
    return found


def write_scale(folder: Path, out: Path | None = None) -> Path:
    """Writes the page of a study, and `scale.csv` into its directory; returns the path of the page."""
    result = read_result(folder)
    write_aside(folder / "scale.csv", csv_text(csv_rows(result)).encode())
    title = heading(result)
    shell, opening, rest = render(title=title).partition("<body>\n")
    return write_page(out or folder / "report.html", shell + opening + body(result, title) + rest)


def csv_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All networks with equal columns: the base, the candidates, and the family at the other multiples."""
    known = {row["label"] for row in result["candidates"]}
    rows = [*result["candidates"], *(row for row in result["family"] if row["label"] not in known)]
    keys = [key for key in result["base"]["row"] if key != "file"]
    return [{key: spelled(row.get(key)) for key in keys} for row in (result["base"]["row"], *rows)]


def spelled(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


# --- text ---------------------------------------------------------------------------------------------------------------


def heading(result: Mapping[str, Any]) -> str:
    first = result["times"][0]
    return f"{result['base']['name']} at {first:g} times its {TITLES[result['cost']]}"


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table; unknown values are dashes."""

    def said(key: str, form: str) -> str:
        return "–" if row[key] is None else format(row[key], form)

    interval, ms = row["interval"], row["latency_ms"]
    measured = row["ratio_ends"]
    ends = f" [{measured[0]:.2f}, {measured[1]:.2f}]" if measured else ""
    return (
        row["name"],
        "–" if row["ratio"] is None else f"{row['ratio']:.2f}x{ends}{'' if row['within'] else ' !'}",
        said("depth", ".2f"),
        said("width", ".2f"),
        said("resolution", "d"),
        said("divisor", "d"),
        *("–" if row[key] is None else quantity(row[key]) for key in ("macs", "params", "activations")),
        "–" if ms is None else f"{ms[0]:.3g}",
        said("mean", ".2f"),
        f"{interval['low']:.2f} to {interval['high']:.2f}" if interval else "",
        "–" if row["same_as"] else said("train_top1", ".1f"),
        "failed" if row["error"] else f"= {row['same_as']}" if row["same_as"] else "",
    )


def in_order(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The most accurate first, then those that are the same as others, and those that failed."""
    return sorted(rows, key=lambda row: (row["error"] is not None, row["same_as"] is not None, -(row["mean"] or 0.0)))


def text_tables(result: Mapping[str, Any]) -> list[str]:
    """The study as lines of text."""
    decision, count = result["decision"], len(result["seeds"])
    lines = [
        f"{heading(result)}, {how_many(float(result['epochs']), 'epoch')}, {how_many(count, 'seed')}; ! marks another cost",
        "",
        *in_columns([HEADER, *map(cells, (result["base"]["row"], *in_order(result["candidates"])))], "<>>>>>>>>>><><"),
        "",
        f"winner: {decision['winner']}"
        if decision["winner"]
        else f"no clear winner; the most accurate: {decision['leader']}"
        if decision["leader"]
        else "no winner: no network of the asked cost was trained, so nothing is compared",
        *([f"by accuracy and latency: {decision['by_reward']}"] if decision["by_reward"] else []),
    ]
    if result["family"]:
        place = Path(result["report"]).parent if result.get("report") else Path()
        rows = [
            (f"{row['times']:g}x", *cells(row)[:10], str(place / row["file"]) if row["file"] else row["error"])
            for row in result["family"]
        ]
        whose = f"the family of {decision['leader']} and " if decision["leader"] else ""
        lines += ["", f"{whose}the single dimensions, as files for --model:", ""]
        lines += in_columns([("times", *HEADER[:10], "file"), *rows], ">" + "<>>>>>>>>>" + "<")
    return lines


# --- the page -----------------------------------------------------------------------------------------------------------


def body(result: Mapping[str, Any], title: str) -> str:
    decision = result["decision"]
    best = next((row for row in result["candidates"] if row["name"] == decision["leader"]), None)
    text: str = (
        environment()
        .get_template("scale.html.jinja")
        .render(
            title=title,
            result=result,
            decision=decision,
            best=best,
            header=HEADER,
            rows=[cells(row) for row in (result["base"]["row"], *in_order(result["candidates"]))],
            family=[(f"{row['times']:g}", *cells(row)[:12], row["file"] or row["error"] or "") for row in result["family"]],
            charts=charts_of(result),
            cost=TITLES[result["cost"]],
        )
    )
    return text


def point(row: Mapping[str, Any], x: float) -> tuple[float, float, float, float, str]:
    mean, ends = row["mean"], row["interval"] or {"low": row["mean"], "high": row["mean"]}
    return x, mean, ends["low"], ends["high"], f"{row['name']}: {percent(mean, 2)}, {short(x)}"


def charts_of(result: Mapping[str, Any]) -> list[Chart]:
    """Accuracy against the cost for each way to grow, as in figures 3, 4 and 8 of the paper, and for the candidates."""
    base = result["base"]["row"]
    names = list(dict.fromkeys(row["name"] for row in result["family"]))
    start = [point(base, 1.0)] if base["mean"] is not None else []
    curves = {}
    for name in names:
        rows = [row for row in result["family"] if row["name"] == name and row["mean"] is not None and row["ratio"]]
        if rows:
            curves[name] = [*start, *sorted(point(row, row["ratio"]) for row in rows)]
    scored = [row for row in result["candidates"] if row["mean"] is not None and not row["same_as"]]
    single = {row["name"]: [point(row, row["ratio"])] for row in scored if row["ratio"]}
    timed = {row["name"]: [point(row, row["latency_ms"][0])] for row in scored if row["latency_ms"]}
    costs = f"{TITLES[result['cost']]}, as a multiple of the base's"
    found = [
        drawn("Accuracy of each way to grow", costs, curves),
        drawn("Accuracy of the candidates", costs, single),
        drawn("Accuracy against latency", f"ms{SPACE}a picture", timed),
    ]
    return [chart for chart in found if chart is not None]


def drawn(title: str, across: str, series: Mapping[str, Places]) -> Chart | None:
    """Curves with their intervals against a cost on a logarithmic axis; None without any point."""
    every = [each for places in series.values() for each in places]
    if not every:
        return None
    costs = [each[0] for each in every]
    if max(costs) > 10 * min(costs):
        columns = decades(min(costs), max(costs))
        left, right = columns[0], columns[-1]
    else:
        left, right = min(costs) / 1.05, max(costs) * 1.05
        columns = [tick for tick in ticks(left, right, 6) if left <= tick <= right]
    lines = ticks(min(each[2] for each in every), max(each[3] for each in every))
    low, high = lines[0], lines[-1]

    def x_of(cost: float) -> float:
        return round(1000 * math.log(cost / left) / math.log(right / left), 1)

    def y_of(value: float) -> float:
        return round(1000 * (high - value) / (high - low), 1)

    curves, marks = [], []
    for number, (name, places) in enumerate(series.items(), 1):
        colour, shape = look_of(number)
        curves.append(
            Curve(name, colour, path([(x_of(x), y_of(y)) for x, y, *_ in places]), percent(places[-1][1], 2), shape=shape)
        )
        for x, y, under, over, said in places:
            marks.append(Mark("", colour, said, x_of(x), y_of(y), y_of(under), y_of(over), "right", shape))
    return Chart(
        title=title,
        unit="% top-1",
        across=across,
        curves=tuple(curves),
        columns=tuple((x_of(tick), short(tick)) for tick in columns),
        lines=tuple((y_of(tick), short(tick)) for tick in lines),
        marks=tuple(marks),
    )
