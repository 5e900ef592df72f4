"""The page and the table of a sweep over test resolutions: accuracy and cost against image size.

See `paretina.report.run_page` for what all pages have in common.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paretina.measure.statistics import Interval
from paretina.measure.sweep import AtSize, Sweep
from paretina.report.charts import Chart, Curve, Mark, path, scatter, ticks
from paretina.report.run_page import environment, render, write_page
from paretina.report.words import SPACE, percent, quantity, short
from paretina.tables import write_csv

PLAIN, BEST, CHEAPEST = 1, 2, 3
"""Numbers of colours."""

LABELLED_SIZES = 10
"""If there are more sizes, the axis has round numbers instead."""


@dataclass(frozen=True)
class Banded(Chart):
    """A chart with an interval around its curve.

    Attributes:
        band: the SVG path of the area.
    """

    band: str = ""


def write_sweep(sweep: Sweep, out: Path | str, model: str) -> Path:
    """Writes a page with accuracy and cost against the size, and returns its path.

    Args:
        model: name of the network.
    """
    count = len(sweep.rows)
    title = f"{model} at {count} {'resolution' if count == 1 else 'resolutions'}"
    shell, opening, rest = render(title=title).partition("<body>\n")
    return write_page(Path(out), shell + opening + body(sweep, title, model) + rest)


def write_sweep_csv(sweep: Sweep, out: Path | str) -> Path:
    """Writes one row per size, and returns the path; sizes that the network rejects have a reason instead of figures."""
    rows = [{**record, "refused": ""} for record in sweep.records()]
    rows += [{"size": size, "refused": reason} for size, reason in sweep.refused.items()]
    write_csv(out, rows)
    return Path(out)


def body(sweep: Sweep, title: str, model: str) -> str:
    """The content of the page."""
    text: str = (
        environment()
        .get_template("sweep.html.jinja")
        .render(
            title=title,
            rows=sweep.rows,
            best=sweep.at(sweep.best),
            cheapest=sweep.at(sweep.cheapest),
            n=sweep.n,
            where=sweep.where,
            batch=sweep.batch,
            device=sweep.device,
            disturbed=sweep.disturbed,
            refused=list(sweep.refused.items()),
            faults=sweep.faults,
            charts=charts_of(sweep, model),
        )
    )
    return text


# --- charts -------------------------------------------------------------------------------------------------------------


def charts_of(sweep: Sweep, model: str) -> list[Chart]:
    """Accuracy, MACs and time against the size, and accuracy against the cost."""
    rows = sweep.rows
    found: list[Chart] = [
        by_size(sweep, "Top-1 accuracy", "%", [row.top1 for row in rows], percent),
        by_size(
            sweep,
            "Multiply-adds per image",
            "",
            [exactly(float(row.macs)) for row in rows],
            lambda value: quantity(value, "MACs"),
        ),
    ]
    times = [row.image_ms for row in rows if row.image_ms is not None]
    if len(times) == len(rows):
        found.insert(1, by_size(sweep, "Time per image", "ms", times, lambda value: f"{value:.3g}{SPACE}ms"))
    key, across, scale = ("image_ms", "ms an image", 1) if times else ("macs", "millions of MACs for one image", 1e6)
    facts = [{**record, "run": f"{record['size']} pixels", "model": model} for record in sweep.records()]
    against = scatter("Top-1 accuracy against cost", across, facts, key, scale)
    if against is not None:
        marks = zip(rows, against.marks, strict=True)
        found.append(
            replace(
                against,
                marks=tuple(
                    replace(mark, label=str(row.size), colour=colour(sweep, row), title=said(row)) for row, mark in marks
                ),
            )
        )
    return [drawn if isinstance(drawn, Banded) else Banded(**vars(drawn)) for drawn in found]


def exactly(value: float) -> Interval:
    return Interval(value, value, value)


def said(row: AtSize) -> str:
    time = f", {row.image_ms.value:.3g}{SPACE}ms" if row.image_ms else ""
    return f"{row.size} pixels: {percent(row.top1.value)}, {quantity(row.macs, 'MACs')}{time}"


def colour(sweep: Sweep, row: AtSize) -> int:
    return BEST if row.size == sweep.best else CHEAPEST if row.size == sweep.cheapest else PLAIN


def by_size(sweep: Sweep, title: str, unit: str, values: Sequence[Interval], say: Callable[[float], str]) -> Banded:
    """Draws values with their intervals against image size.

    Args:
        say: formats a value.
    """
    sizes = [float(row.size) for row in sweep.rows]
    least, most = min(value.low for value in values), max(value.high for value in values)
    lines = ticks(least, most)
    low, high = lines[0], lines[-1]
    room = 0.04 * (sizes[-1] - sizes[0]) or 1.0
    left, right = sizes[0] - room, sizes[-1] + room
    marked = sizes if len(sizes) <= LABELLED_SIZES else [tick for tick in ticks(left, right, 6) if left <= tick <= right]

    def x_of(size: float) -> float:
        return round(1000 * (size - left) / (right - left), 1)

    def y_of(value: float) -> float:
        return round(1000 * (high - value) / (high - low), 1)

    places = [(x_of(size), y_of(value.value)) for size, value in zip(sizes, values, strict=True)]
    over = [(x_of(size), y_of(value.high)) for size, value in zip(sizes, values, strict=True)]
    under = [(x_of(size), y_of(value.low)) for size, value in zip(sizes, values, strict=True)]
    drawn = len(sizes) > 1 and over != under
    return Banded(
        title=title,
        unit=unit,
        across="image size in pixels",
        curves=(Curve("", PLAIN, path(places), say(values[-1].value)),),
        columns=tuple((x_of(size), short(size)) for size in marked),
        lines=tuple((y_of(tick), short(tick)) for tick in lines),
        marks=tuple(
            Mark("", colour(sweep, row), f"{row.size} pixels: {say(value.value)}", x, y, top, bottom, "right")
            for row, value, (x, y), (_, top), (_, bottom) in zip(sweep.rows, values, places, under, over, strict=True)
        ),
        band=path(over + under[::-1]) + "Z" if drawn else "",
    )
