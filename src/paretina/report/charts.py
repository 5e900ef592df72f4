"""Line charts of a run and scatter plots of several, in plot coordinates.

Plots are SVG with HTML text, so that text keeps its size when the plot is stretched.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from paretina.report.records import Line, Number, RunRecord, epoch_of, main_figure, number
from paretina.report.words import SPACE, grouped, percent, short

CURVE_POINTS = 400  # longer curves are averaged, or the page would take megabytes
COLOURS = 8  # as many as the template names
SHAPES = "●■○□"
"""Marker shapes by number; runs of the same colour differ in marker and stroke."""


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        label: name in the legend.
        colour: number of the colour, from 1.
        path: SVG path in a square of 1000; empty if there is nothing to draw.
        last: last value, as text.
        style: CSS of the stroke, if a plain line would not be visible.
        shape: number of the stroke: plain, dashed, dotted, or dashed and dotted.
    """

    label: str
    colour: int
    path: str
    last: str
    style: str = ""
    shape: int = 0


@dataclass(frozen=True)
class Mark:
    """A point of a scatter plot, in thousandths of the plot, y downwards; `low` and `high` end the interval around it.

    Attributes:
        shape: index in `SHAPES`.
    """

    label: str
    colour: int
    title: str
    x: float
    y: float
    low: float
    high: float
    side: str
    shape: int = 0


@dataclass(frozen=True)
class Chart:
    """A plot, ready to be drawn: positions are thousandths of its width, or of its height from the top.

    Attributes:
        averaged: number of logged values per point of the longest curve; 1 if it shows each.
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


def look_of(number: int) -> tuple[int, int]:
    """Colour and shape of a run or curve, by its number from 1; the first 32 are distinct."""
    return 1 + (number - 1) % COLOURS, (number - 1) // COLOURS % len(SHAPES)


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
    """Returns means of neighbouring points, at most `most`, and how many points each stands for."""
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
        end: minimum end of the epoch axis.
        stepped: whether a value holds until the next one.
        steps: approximate number of steps of the vertical axis.
        say: formats the last value.

    Returns:
        The chart, or None if no curve has a point.
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

    places = [[place(x, y) for x, y in points] for _, _, points, _ in shown]
    return Chart(
        title=title,
        unit=unit,
        across=across,
        curves=tuple(
            Curve(
                label,
                look_of(colour)[0],
                path(places[at], stepped),
                say(series[colour - 1][1][-1][1]),
                stroke(places, at),
                look_of(colour)[1],
            )
            for at, (colour, label, _, _) in enumerate(shown)
        ),
        columns=tuple((place(tick, low)[0], short(tick)) for tick in columns),
        lines=tuple((place(0.0, tick)[1], short(tick)) for tick in lines),
        averaged=max(together for _, _, _, together in shown),
    )


def path(places: Points, stepped: bool = False) -> str:
    """The SVG path through the points; a single one becomes a dot (a line of zero length with round ends)."""
    (x0, y0), *others = places
    if stepped:
        return f"M{x0:g} {y0:g}" + "".join(f"H{x:g}V{y:g}" for x, y in others) + ("" if others else "h0")
    return f"M{x0:g} {y0:g}" + ("L" + " ".join(f"{x:g} {y:g}" for x, y in others) if others else "h0")


DOT, RING, DASH = 9, 6, 6
"""Widths of a lone dot and of the ring that shows of one below it, and length of a dash, in pixels."""

RINGS = 5
"""More would hide the plot."""


def stroke(curves: Sequence[Points], at: int) -> str:
    """CSS of the stroke with which a curve stays visible; later curves are drawn over earlier ones.

    A curve of one point is a dot, with rings if several are at the same point. A curve equal to an earlier one is dashed, with
    shorter dashes each time, so that those below show in its gaps.
    """
    own = curves[at]
    if len(set(own)) == 1:
        above = sum(set(other) == set(own) for other in curves[at + 1 :])
        return f"stroke-width:{DOT + RING * min(above, RINGS)}"
    below = sum(other == own for other in curves[:at])
    return f"stroke-dasharray:{DASH} {DASH * below}" if below else ""


def points_of(lines: Iterable[Line], name: str, epoch: Callable[[Line], float]) -> Points:
    """The finite values of a logged name, over epochs."""
    return [(epoch(line), float(value)) for line in lines if (value := number(line, name)) is not None]


def kept_figure(record: RunRecord) -> str:
    """The key of the main figure of the saved weights: those of the average if there is one."""
    key = main_figure(record)["key"]
    return f"val_ema/{key}" if any(f"val_ema/{key}" in line for line in record.val) else f"val/{key}"


def curves_of(record: RunRecord) -> list[Chart]:
    """The charts of losses and accuracy."""
    epoch, across, end = epoch_of(record), across_of(record), planned_epochs(record)

    def three(what: str) -> list[tuple[str, Points]]:
        # training comes first even if the log has none, so that both charts give a name the same colour
        trained = points_of(record.train, f"train/{what}", epoch)
        held_out, averaged_weights = (points_of(record.val, f"{prefix}/{what}", epoch) for prefix in ("val", "val_ema"))
        return [("training", trained), ("validation", held_out), ("averaged weights", averaged_weights)]

    figure = main_figure(record)
    title = "Top-1 accuracy" if figure["key"] == "top1" else figure["title"][:1].upper() + figure["title"][1:]
    figures = three(figure["key"]) if figure["key"] != "loss" else []
    parts = sorted({name for line in record.train for name in line if name.startswith("train/loss/")})
    losses = [(name.removeprefix("train/loss/"), points_of(record.train, name, epoch)) for name in parts]
    charts = [
        chart("Loss", "nats", across, three("loss"), end, say="{:.3f}".format),
        chart(title, figure["unit"], across, figures, end, say="{:.1f}".format) if figures else None,
        chart("Parts of the training loss", "nats", across, losses, end, say="{:.3f}".format) if len(parts) > 1 else None,
    ]
    return [found for found in charts if found]


def schedules_of(record: RunRecord) -> tuple[list[Chart], list[tuple[str, str]]]:
    """Returns the charts of values that varied during training, and the names and values of those that were constant."""
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
        # few values, each held for long, are drawn as steps; slanted lines between them would be wrong
        stepped = 3 * len({value for _, value in points}) <= len(points)
        charts.append(chart(title, unit, across, [("", points)], end, stepped, steps=3))
    speed = points_of(record.train, "throughput/img_s", epoch)
    charts.append(chart("Training speed", "pictures/s", across, [("", speed)], end, steps=3, say=grouped))
    return [found for found in charts if found], constant


def across_of(record: RunRecord) -> str:
    said = any(number(line, "epoch") is not None for line in (*record.train, *record.val))
    return "epoch" if said else "update"


def planned_epochs(record: RunRecord) -> float:
    """The end of the epoch axis, so that an unfinished run shows its progress."""
    epochs = number(record.asked.get("recipe"), "epochs") or 0
    return float(epochs) if across_of(record) == "epoch" else 0.0


def scatter(
    title: str, across: str, found: Sequence[dict[str, Any]], key: str, scale: Number, groups: Sequence[int] | None = None
) -> Chart | None:
    """Draws top-1 with its interval against a cost, with a line through the Pareto-optimal runs.

    Costs are divided by `scale`; the axis is logarithmic if they differ by more than a factor of ten.

    Args:
        groups: for each run a number, equal for those evaluated on the same pictures: only these are compared, and each group
            has its own line; default: one group.
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
            colour=look_of(at)[0],
            shape=look_of(at)[1],
            title=f"{at}: {run['run']}, {run['model']}, {percent(run['top1'])}, {short(cost)}",
            x=x,
            y=y,
            low=y if run["top1_low"] is None else y_of(run["top1_low"]),
            high=y if run["top1_high"] is None else y_of(run["top1_high"]),
            side=free_side(x, y, [place for place in places if place != (x, y)], marks),
        )
        marks.append(mark)
    apart: dict[int, set[tuple[float, float]]] = {}
    for at, run, cost in shown:
        apart.setdefault(groups[at - 1] if groups else 0, set()).add((cost, run["top1"]))
    fronts = [
        sorted(point for point in points if not any(beats(other, point) for other in points)) for points in apart.values()
    ]
    return Chart(
        title=title,
        unit="%",
        across=across,
        curves=(),
        columns=tuple((x_of(tick), short(tick)) for tick in columns),
        lines=tuple((y_of(tick), short(tick)) for tick in lines),
        marks=tuple(marks),
        front="".join(
            path([(x_of(cost), y_of(top1)) for cost, top1 in front], stepped=True) for front in fronts if len(front) > 1
        ),
    )


def decades(low: float, high: float) -> list[float]:
    """The numbers 1, 3, 10, 30 ... and their fractions that enclose [low, high] closely."""
    tens = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    marks = [factor * 10.0**ten for ten in tens for factor in (1, 3)]
    first, last = max(mark for mark in marks if mark <= low), min(mark for mark in marks if mark >= high)
    if first == last:  # all values are at one mark, and an axis needs two ends
        first, last = max(mark for mark in marks if mark < low), min(mark for mark in marks if mark > high)
    return [mark for mark in marks if first <= mark <= last]


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether one (cost, score) costs no more and scores no less than another, and is not equal to it."""
    return one != other and one[0] <= other[0] and one[1] >= other[1]


SIDES = {"right": (28, -45), "left": (-28, -45), "below": (28, 50), "aside": (-28, 50)}
"""Positions of the number of a point, relative to it, in thousandths of a plot twice as wide as high."""


def free_side(x: float, y: float, points: Sequence[tuple[float, float]], marks: Sequence[Mark]) -> str:
    """The side of a point on which its number overlaps no other point and no earlier number, if there is one."""
    numbers = [(mark.x + SIDES[mark.side][0], mark.y + SIDES[mark.side][1]) for mark in marks]
    for side, (dx, dy) in SIDES.items():
        if all(abs(x + dx - at) > 30 or abs(y + dy - height) > 60 for at, height in (*points, *numbers)):
            return side
    return "right"
