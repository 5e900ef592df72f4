"""The page and the tables of an ablation, generated only from the directory of a study.

Like all pages (see `paretina.report.run_page`) it is one file that opens offline, with everything escaped, in light or dark
mode, responsive.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretina.measure.statistics import Interval, as_columns
from paretina.report.charts import COLOURS, Chart, Curve, Mark, Points, decades, path, ticks
from paretina.report.run_page import environment
from paretina.report.words import grouped, percent, short
from paretina.run import write_aside
from paretina.search.ablation.findings import Finding, Findings, Scaling, read_findings
from paretina.search.ablation.laws import Law, LawFit, Noise
from paretina.search.ablation.verdicts import MOST_SEEDS
from paretina.tables import csv_text, in_columns
from paretina.text import how_many, markdown_cells, printable

STEPS = 60
"""Points of a drawn law."""

VERDICTS = {"worth it": 3, "not worth it": 2, "cannot tell yet": 8, "not finished": 5}
"""Verdicts, with the number of their colour in the charts."""

COLUMNS = (
    ("switch", "switch"),
    ("gain", "gain, points"),
    ("train_time", "training time, %"),
    ("inference_time", "inference time, %"),
    ("memory", "memory, %"),
    ("verdict", "verdict"),
)


def verdict_word(finding: Finding) -> str:
    return "not finished" if finding.verdict is None else finding.verdict.verdict


def advice(finding: Finding) -> str:
    """The reason for a verdict, and what is needed if there is none."""
    verdict = finding.verdict
    if verdict is None:
        return "verdicts are given when all runs are done"
    if verdict.verdict != "cannot tell yet" or finding.pairs.failed:
        return verdict.why
    if verdict.worth is None:  # the reason has the number of pairs needed
        return verdict.why
    if verdict.more is None:
        return f"{verdict.why}; more than {how_many(MOST_SEEDS, 'seed')} would be needed"
    return f"{verdict.why}; about {how_many(verdict.more, 'more seed')} would be needed"


def change(ratio: Interval | None) -> Interval | None:
    """A ratio as a change in percent."""
    return None if ratio is None else Interval(*(100 * (value - 1) for value in ratio))


def signed(interval: Interval | None, digits: int = 1) -> str:
    """Formats as +1.2 (0.3 to 2.1), or without an interval if there is none."""
    if interval is None:
        return "–"
    value, low, high = (plus(each, digits) for each in interval)
    if interval.low == interval.high:
        return "same" if interval.value == 0 else value
    return f"{value} ({low} to {high})"


def plus(value: float, digits: int = 1) -> str:
    """A number with its sign; zero has none."""
    text = f"{value:+z.{digits}f}"
    return text if float(text) else text[1:]


def mean_gain(finding: Finding) -> float | None:
    gains = finding.pairs.gain
    return sum(gains) / len(gains) if gains else None


# --- tables -------------------------------------------------------------------------------------------------------------------


def rows(findings: Findings) -> list[dict[str, Any]]:
    """One row per switch, for CSV: points and percent; unknown values are None."""
    found = []
    for finding in findings.findings:
        verdict = finding.verdict
        row: dict[str, Any] = {
            "switch": finding.switch.title,
            "fields": " ".join(finding.switch.fields),
            "judged": "the change" if finding.switch.adds else "what the base has",
            "pairs": len(finding.pairs.gain),
            **as_columns("gain", finding.gain),
            **as_columns("gain_corrected", verdict.corrected if verdict else None),
            **as_columns("train_time_percent", change(finding.time)),
            **as_columns("inference_time_percent", change(finding.inference)),
            **as_columns("memory_percent", change(finding.memory)),
            **as_columns("memory_mb", finding.memory_mb),
            "macs_percent": None if finding.macs is None else 100 * (finding.macs - 1),
            "params_percent": None if finding.params is None else 100 * (finding.params - 1),
            "p": verdict.p if verdict else None,
            "p_corrected": verdict.p_corrected if verdict else None,
            "verdict": verdict_word(finding),
            "more_seeds": verdict.more if verdict else None,
            "why": advice(finding),
        }
        row["gain"] = mean_gain(finding)  # known with a single pair too
        found.append(row)
    return found


def csv_table(findings: Findings) -> str:
    """The switches as CSV, one row each; only the header if there are none."""
    found = rows(findings)
    return csv_text(found, None if found else ["switch"])


def cells(finding: Finding) -> list[str]:
    """The cells of a switch in a text table."""
    gain = finding.gain
    mean = mean_gain(finding)
    shown = signed(gain, 2) if gain else "–" if mean is None else plus(mean, 2)
    costs = [signed(change(ratio)) for ratio in (finding.time, finding.inference, finding.memory)]
    return [finding.switch.judged, shown, *costs, f"{verdict_word(finding)}: {advice(finding)}"]


@dataclass(frozen=True)
class Section:
    """A section of the results of a study, for a terminal or Markdown.

    Attributes:
        title: "" for the first section.
        tables: each a header and its rows.
        words: sentences below the tables.
    """

    title: str
    tables: tuple[tuple[Sequence[str], list[list[str]]], ...]
    words: tuple[str, ...] = ()


def sections(findings: Findings) -> list[Section]:
    """All results: switches, scaling laws, gains of other networks, effect of wrong labels."""
    found = []
    if findings.findings:
        found.append(Section("", (([title for _, title in COLUMNS], [cells(finding) for finding in findings.findings]),)))
    for scaling in findings.scalings:
        points = [[grouped(x), around(*point, "%")] for x, point in scaling.points.items()]
        tables = ((("training pictures", "top-1, %"), points), (LAW_COLUMNS, [law_cells(law) for law in scaling.laws]))
        found.append(Section(scaling_title(scaling), tables))
    for budget, other in findings.exchanges:
        gains = [[grouped(x), around(*gain)] for x, gain in other.gains.items()]
        title = f"{other.name} against the baseline at equal training time ({budget})"
        words = tuple(exchange_words(other.slopes, other.worth))
        found.append(Section(title, ((("training pictures", "gain, points"), gains),), words))
    if findings.noise is not None:
        falls = [[percent(100 * fall.noise, 0), f"{fall.top1:.1f}", around(*fall.points)] for fall in findings.noise.falls]
        table = (("wrong labels", "top-1, %", "points lost"), falls)
        found.append(Section("Wrong labels", (table,), (noise_words(findings.noise),)))
    return found


def noise_words(noise: Noise) -> str:
    slope, ended = noise.slope
    interval = "" if ended is None else f" ({plus(ended.low, 2)} to {plus(ended.high, 2)})"
    return f"Each percent of wrong labels changes top-1 by {plus(slope, 2)} points{interval}, by a line through all levels."


def text_tables(findings: Findings) -> list[str]:
    """Lines for a terminal, in columns: the same as Markdown, without the notes."""
    lines = [about(findings)]
    for section in sections(findings):
        lines += ["", *([section.title] if section.title else [])]
        for header, body in section.tables:
            lines += in_columns([header, *body], "<") if body else []
        lines += section.words
    return lines


def markdown(findings: Findings) -> str:
    """The whole study as Markdown: the switches, the laws, the notes."""
    lines = [f"# {title(findings)}", "", about(findings), ""]
    for section in sections(findings):
        lines += [f"## {section.title}", ""] if section.title else []
        for header, body in section.tables:
            lines += marked(header, body)
        lines += [*section.words, ""] if section.words else []
    lines += [f"- {printable(note)}" for note in findings.notes]
    return "\n".join(lines) + "\n"


def marked(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table and an empty line; empty if there are no rows."""
    if not body:
        return []
    lines = [markdown_cells(line) for line in (header, *body)]
    return [lines[0], f"|{'---|' * len(header)}", *lines[1:], ""]


# --- words --------------------------------------------------------------------------------------------------------------------


def title(findings: Findings) -> str:
    base = findings.study.base
    return f"What is worth its cost in {base.recipe_name or 'the recipe'} with {base.model_name or 'the network'}"


def about(findings: Findings) -> str:
    """What was done and the criterion of the verdicts, in a few sentences."""
    seeds, base = findings.study.seeds, findings.base
    top1 = "" if not base else f"The baseline has {sum(base.values()) / len(base):.1f} % top-1"
    if findings.top1 is not None:
        top1 += f" (95 % interval over seeds: {findings.top1.low:.1f} to {findings.top1.high:.1f})"
    if top1 and findings.on_train is not None:
        top1 += f", and {findings.on_train:.1f} % on its training pictures"
    sentences = [
        f"{top1}." if top1 else "",
        f"{findings.done} of {how_many(findings.runs, 'run')} are done, with {how_many(len(seeds), 'seed')}.",
    ]
    look = findings.look
    if look is not None:
        sentences += [
            f"Worth it means, significantly, {look.price.said()}.",
            f"Verdicts are corrected for {how_many(len(findings.findings), 'switch', plural='switches')} (Holm): at this "
            f"look, number {look.number}, the probability that any is wrong is at most {100 * look.level:.3g} %, and at "
            f"all looks so far at most {100 * look.spent:.3g} %.",
        ]
    return " ".join(sentence for sentence in sentences if sentence)


def around(value: float, interval: Interval | None, unit: str = "") -> str:
    """A mean with its interval, where there is one."""
    ended = "" if interval is None else f" ({interval.low:.1f} to {interval.high:.1f})"
    return f"{value:.1f}{ended}"


def scaling_title(scaling: Scaling) -> str:
    equal = "equal number of updates" if scaling.budget == "updates" else "equal number of epochs"
    return f"Accuracy by training pictures, {scaling.network or 'baseline'}: {equal}"


LAW_COLUMNS = ("law", "formula", "slope", "at twice the pictures, %", "R²", "error at the largest, points")


def law_cells(law: Law) -> list[str]:
    slope, ended = law.slope
    digits = 2 if law.fit.form == "log-linear" else 3
    interval = "" if ended is None else f" ({ended.low:.{digits}f} to {ended.high:.{digits}f})"
    return [
        law.fit.form,
        formula(law.fit),
        f"{slope:.{digits}f}{interval}",
        around(*law.at_twice),
        "–" if law.r2 is None else f"{law.r2:.3f}",
        "–" if law.foretold is None else plus(law.foretold),
    ]


def formula(fit: LawFit) -> str:
    if fit.form == "log-linear":
        return f"top-1 = {fit.offset:.1f} {'+' if fit.slope >= 0 else '-'} {abs(fit.slope):.2f} log10(n)"
    floor = f" + {fit.floor:.1f}" if fit.floor else ""
    return f"error = {fit.offset:.4g} n^{fit.slope:.3f}{floor}"


def exchange_words(slopes: tuple[float, Interval | None] | None, worth: float | None) -> list[str]:
    lines = []
    if slopes is not None:
        lines.append(f"Ten times the pictures gain it {around(*slopes)} points more than the baseline.")
    if worth is not None:
        times = f"{worth:,.0f}" if worth >= 10 else f"{worth:.2g}"
        lines.append(f"With all pictures it matches the baseline with {times} times as many.")
    return lines


# --- drawings -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A switch in the forest plot; positions are in percent of its width.

    Attributes:
        seeds: position and gain of each seed.
        low: lower end of the 95 % interval, like `high`; None if there is no interval.
        wide_low: lower end of the simultaneous interval for all switches, cut at the edges of the plot.
    """

    finding: Finding
    word: str
    advice: str
    place: float | None
    low: float | None
    high: float | None
    wide_low: float | None
    wide_high: float | None
    seeds: tuple[tuple[float, float], ...]

    @property
    def kind(self) -> str:
        """The verdict as a class of the page."""
        return f"v{VERDICTS[self.word]}"

    @property
    def mean(self) -> float | None:
        return mean_gain(self.finding)


@dataclass(frozen=True)
class Forest:
    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float


def forest(findings: Findings) -> Forest | None:
    """The gains of all switches on one scale; None if no pair is done."""
    values = [0.0]
    for finding in findings.findings:
        values += finding.pairs.gain
        values += finding.gain[1:] if finding.gain else ()
    if len(values) == 1:
        return None
    marks = ticks(min(values), max(values), 6)
    left, right = marks[0], marks[-1]

    def at(value: float | None) -> float | None:
        return None if value is None else round(100 * (min(max(value, left), right) - left) / (right - left), 2)

    found = []
    for finding in findings.findings:
        corrected = finding.verdict.corrected if finding.verdict else None
        _, low, high = finding.gain or (None, None, None)
        _, wide_low, wide_high = corrected or (None, None, None)
        found.append(
            Row(
                finding=finding,
                word=verdict_word(finding),
                advice=advice(finding),
                place=at(mean_gain(finding)),
                low=at(low),
                high=at(high),
                wide_low=at(wide_low),
                wide_high=at(wide_high),
                seeds=tuple((at(gain) or 0.0, gain) for gain in finding.pairs.gain),
            )
        )
    return Forest(tuple(found), tuple((at(mark) or 0.0, short(mark)) for mark in marks), at(0.0) or 0.0)


@dataclass(frozen=True)
class Dots:
    """A series of one colour: points with intervals, and a line.

    Attributes:
        points: x, y, the interval of y, and the text of the point.
        colour: number of the colour; None for the next one.
    """

    label: str
    points: tuple[tuple[float, float, Interval | None, str], ...]
    line: tuple[tuple[float, float], ...] = ()
    last: str = ""
    colour: int | None = None


def drawn(
    title: str,
    unit: str,
    across: str,
    series: Sequence[Dots],
    logarithmic: bool = False,
    most: float = math.inf,
    origin: bool = False,
) -> Chart | None:
    """A chart of points with intervals and lines; None if there are no points.

    Args:
        most: value at which intervals may be cut.
        origin: whether zero is shown on both axes.
    """
    xs = [x for dots in series for x, *_ in dots.points] + [x for dots in series for x, _ in dots.line]
    ys = [y for dots in series for _, y, *_ in dots.points]
    if not ys:
        return None
    ys += [min(end, most) for dots in series for *_, interval, _ in dots.points if interval is not None for end in interval[1:]]
    if origin:
        xs, ys = [*xs, 0.0], [*ys, 0.0]
    columns = decades(min(xs), max(xs)) if logarithmic else ticks(min(xs), max(xs), 6)
    lines = ticks(min(ys), max(ys))
    left, right, low, high = columns[0], columns[-1], lines[0], lines[-1]

    def x_of(x: float) -> float:
        share = math.log(x / left) / math.log(right / left) if logarithmic else (x - left) / (right - left)
        return round(1000 * share, 1)

    def y_of(y: float) -> float:
        return round(1000 * (high - min(max(y, low), high)) / (high - low), 1)

    curves, marks = [], []
    for number, dots in enumerate(series):
        colour = dots.colour or 1 + number % COLOURS
        line: Points = [(x_of(x), y_of(y)) for x, y in dots.line]
        curves.append(Curve(dots.label, colour, path(line) if line else "", dots.last))
        for x, y, interval, said in dots.points:
            _, down, up = interval or (y, y, y)
            marks.append(Mark("", colour, said, x_of(x), y_of(y), y_of(down), y_of(up), "right"))
    return Chart(
        title=title,
        unit=unit,
        across=across,
        curves=tuple(curves),
        columns=tuple((x_of(tick), short(tick)) for tick in columns),
        lines=tuple((y_of(tick), short(tick)) for tick in lines),
        marks=tuple(marks),
    )


def cost_chart(findings: Findings) -> Chart | None:
    """Gain against the change in training time."""
    by_word: dict[str, list[tuple[float, float, Interval | None, str]]] = {word: [] for word in VERDICTS}
    for finding in findings.findings:
        mean, time = mean_gain(finding), change(finding.time)
        if mean is not None and time is not None:
            said = f"{finding.switch.judged}: {plus(mean, 2)} points, {plus(time.value)} % training time"
            by_word[verdict_word(finding)].append((time.value, mean, finding.gain, said))
    series = [Dots(word, tuple(points), colour=VERDICTS[word]) for word, points in by_word.items() if points]
    return drawn("Gain against training time", "points", "change in training time, %", series, origin=True)


def data_chart(findings: Findings, budget: str) -> Chart | None:
    """Top-1 against the number of pictures, with the log-linear law of each network, up to twice the pictures."""
    series = []
    for scaling in findings.scalings:
        if scaling.budget != budget:
            continue
        name = scaling.network or "base"
        points = tuple(
            (x, top1, ended, f"{name}, {grouped(x)} pictures: {around(top1, ended)} % top-1")
            for x, (top1, ended) in scaling.points.items()
        )
        first = scaling.laws[0] if scaling.laws else None
        line: tuple[tuple[float, float], ...] = ()
        if first is not None:
            low, high = min(scaling.points), 2 * max(scaling.points)
            line = tuple((x, first.fit(x)) for x in (low, high))
            if first.fit.form != "log-linear":
                steps = [low * (high / low) ** (i / STEPS) for i in range(STEPS + 1)]
                line = tuple((x, first.fit(x)) for x in steps)
        last = "" if first is None else f"{first.slope[0]:+z.1f} points per factor of ten"
        series.append(Dots(name, points, line, last))
    equal = "equal number of updates" if budget == "updates" else "equal number of epochs"
    return drawn(f"Top-1 against training pictures, {equal}", "%", "training pictures", series, logarithmic=True, most=100.0)


def noise_chart(findings: Findings) -> Chart | None:
    if findings.noise is None:
        return None
    points, clean = [], next(fall for fall in findings.noise.falls if fall.noise == 0)
    for fall in findings.noise.falls:
        lost, ended = fall.points
        around_it = None if ended is None else Interval(fall.top1, clean.top1 - ended.high, clean.top1 - ended.low)
        said = f"{100 * fall.noise:.0f} % wrong labels: {fall.top1:.1f} % top-1, {lost:.1f} points lost"
        points.append((100 * fall.noise, fall.top1, around_it, said))
    line = tuple((x, y) for x, y, *_ in points)
    last = f"{plus(findings.noise.slope[0], 2)} points per percent"
    return drawn(
        "Top-1 against wrong labels", "%", "wrong training labels, %", [Dots("mean", tuple(points), line, last)], most=100.0
    )


# --- the page -----------------------------------------------------------------------------------------------------------------


def write_ablation(study: Path, out: Path | None = None) -> Path:
    """Writes the page of a study, finished or not, and returns its path; default: `report.html` in its directory.

    Raises:
        ValueError: the directory holds no study, or a file in it is damaged.
    """
    findings = read_findings(study)
    target = out or study / "report.html"
    write_aside(target, render(findings).encode("utf-8", "backslashreplace"))
    return target


def write_tables(findings: Findings) -> tuple[Path, Path, Path]:
    """Writes `ablation.csv`, `ablation.md` and `ablation.json` into the study's directory, and returns their paths."""
    import json

    written = (findings.path / "ablation.csv", findings.path / "ablation.md", findings.path / "ablation.json")
    texts = (csv_table(findings), markdown(findings), json.dumps(findings.to_dict(), indent=2))
    for file, text in zip(written, texts, strict=True):
        write_aside(file, text.encode("utf-8", "backslashreplace"))
    return written


def view(findings: Findings) -> dict[str, Any]:
    """The content of the page."""
    plots = [cost_chart(findings)]
    data = [data_chart(findings, budget) for budget in findings.study.budgets]
    drawings = forest(findings)
    words = [verdict_word(finding) for finding in findings.findings]
    return {
        "title": title(findings),
        "name": findings.path.resolve().name,
        "about": about(findings),
        "unfinished": findings.runs - findings.done,
        "forest": drawings,
        "verdicts": [(colour, word, words.count(word)) for word, colour in VERDICTS.items() if word in words],
        "plots": [plot for plot in plots if plot],
        "data_plots": [plot for plot in data if plot],
        "scalings": [(scaling_title(scaling), [law_cells(law) for law in scaling.laws]) for scaling in findings.scalings],
        "law_columns": LAW_COLUMNS,
        "exchanges": [
            (f"{found.name} against the baseline ({budget})", found.gains, exchange_words(found.slopes, found.worth))
            for budget, found in findings.exchanges
        ],
        "noise_plot": noise_chart(findings),
        "noise": findings.noise,
        "notes": findings.notes,
        "seeds": findings.study.seeds,
    }


def render(findings: Findings) -> str:
    """Renders the template next to this file."""
    templates = environment(around=lambda pair: around(*pair), change=change, plus=plus, signed=signed)
    # macros of the other pages come from their template, which renders nothing without a run
    return templates.get_template("ablation.html.jinja").render(run=None, comparison=None, **view(findings))
