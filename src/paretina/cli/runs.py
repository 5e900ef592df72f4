"""The command `paretina runs`."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from paretina.cli.program import command, main, misuse, note, print_json, print_lines
from paretina.cli.report import figure, millions
from paretina.tables import in_columns, write_csv
from paretina.text import how_many, printable


@command(
    main,
    "paretina runs\n"
    "paretina runs runs/ --sort -value --filter state=finished\n"
    "paretina runs --compare runs/photos-efficientnet_b0-1 runs/photos-resnet18-1",
    short_help="List the runs in a folder, or compare two.",
)
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
@click.option(
    "--sort",
    metavar="FIELD",
    default=None,
    help="A column of --json or a setting, smallest first; -FIELD for largest first: -value.  [run]",
)
@click.option(
    "--filter",
    "filters",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Only runs with this value in a column or setting: model='resnet*', recipe.epochs=10; may be repeated.",
)
@click.option(
    "--compare",
    nargs=2,
    default=None,
    metavar="RUN RUN",
    help="Print what two runs differ in, by name or path, and their figures side by side.",
)
@click.option("--csv", "table", type=click.Path(path_type=Path), default=None, help="Write all columns to this file.")
def runs(
    folder: Path,
    sort: str | None,
    filters: tuple[str, ...],
    compare: tuple[str, str] | None,
    table: Path | None,
    as_json: bool,
) -> None:
    """List the runs in FOLDER [runs], at any depth: state, epochs, accuracy with its 95 % interval, and more.

    Directories of runs that cannot be read are named and left out. What does not fit the width of a terminal is left out too,
    the least important first; --json and --csv have all columns.
    """
    from paretina import verbs
    from paretina.report.runs import COLUMNS

    if compare is not None:
        given = {"--sort": sort, "--filter": filters, "--csv": table}
        if wrong := [name for name, value in given.items() if value]:
            misuse(f"--compare prints two runs; leave out {', '.join(wrong)}")
        found = verbs.compare_runs(*compare, folder)
        if as_json:
            print_json(found.to_dict())
        else:
            print_lines(comparison(found, width()))
        return
    verbs.check_csv(table)
    listing = verbs.runs(folder, sort, filters)
    if table is not None:
        write_csv(table, [each.row for each in listing.runs], list(COLUMNS))
    if as_json:
        print_json(listing.to_dict())
        return
    for path, reason in listing.damaged.items():
        note(f"left out: {reason if path in reason else f'{path}: {reason}'}")
    if not listing.runs:
        chosen = " that match" if filters else ""
        print_lines([f"there are no runs{chosen} in {folder}"])
        return
    lines, dropped = overview([each.row for each in listing.runs], width())
    print_lines(lines)
    if dropped:
        note(f"left out, since the terminal is {width()} columns wide: {', '.join(dropped)}; --csv FILE has all columns")


def width() -> int:
    """Columns of the terminal, or those of the environment; no limit where the text goes elsewhere."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size((120, 24)).columns
    return sys.maxsize


DROPPED = ("took", "when", "seed", "MMACs", "pixels", "recipe", "data", "epochs", "model")
"""Columns that are left out where there is no room, the first of these first."""

LEFT = ("run", "state", "model", "recipe", "data", "when")
"""Columns of text; those of numbers stand on the right."""

LEAST = 12
"""Characters of a name that are shown at least."""


def overview(rows: Sequence[dict[str, Any]], room: int) -> tuple[list[str], list[str]]:
    """A line per run, none of them wider than the room, and the columns that are left out for it."""
    titles = dict.fromkeys(row["metric"] for row in rows)
    main_title = f"{next(iter(titles))} %" if set(titles) == {"top-1"} else "result"
    columns = {
        "run": [printable(row["run"]) for row in rows],
        "state": [row["state"] for row in rows],
        main_title: [result(row, len(titles) > 1 or main_title == "result") for row in rows],
        "epochs": [epochs(row) for row in rows],
        "model": [printable(row["model"]) for row in rows],
        "pixels": [figure(row["size"]) for row in rows],
        "recipe": [printable(row["recipe"] or "-") for row in rows],
        "data": [printable(row["data"]) for row in rows],
        "seed": [figure(row["seed"]) for row in rows],
        "MMACs": [millions(row["macs"]) for row in rows],
        "when": [when(row["started"]) for row in rows],
        "took": [took(row["time_s"]) for row in rows],
    }
    dropped = []
    names = {"run": ["x" * min(2 * LEAST, max(map(len, columns["run"])))]}  # before names are cut too much
    for name in DROPPED:
        if wide({**columns, **names}) > room:
            del columns[name]
            dropped.append(name)
    left = room - (wide(columns) - max(map(len, [*columns["run"], "run"])))
    columns["run"] = [shortened(name, max(LEAST, left)) for name in columns["run"]]
    sides = "".join("<" if name in LEFT else ">" for name in columns)
    return in_columns([list(columns), *zip(*columns.values(), strict=True)], sides), dropped[::-1]


def wide(columns: dict[str, list[str]]) -> int:
    """The width of a table with these columns."""
    return sum(max(map(len, [name, *cells])) + 2 for name, cells in columns.items()) - 2


def shortened(text: str, most: int) -> str:
    """The text, its middle left out where it is longer than that."""
    if len(text) <= most:
        return text
    end = (most - 3) // 2
    return f"{text[: most - 3 - end]}...{text[len(text) - end :]}" if end else f"{text[: most - 3]}..."


def result(row: dict[str, Any], named: bool) -> str:
    if row["value"] is None:
        return "-"
    digits = 1 if row["unit"] == "%" else 3
    between = "" if row["low"] is None else f" [{row['low']:.{digits}f} to {row['high']:.{digits}f}]"
    unit = f" {row['unit']}" if named and row["unit"] else ""
    return f"{row['metric'] + ' ' if named else ''}{row['value']:.{digits}f}{unit}{between}"


def epochs(row: dict[str, Any]) -> str:
    """Epochs made, of those planned where they differ."""
    done, planned = (f"{row[name]:.3g}" if row[name] is not None else "-" for name in ("epochs", "planned"))
    return done if done == planned or row["state"] == "finished" else f"{done}/{planned}"


def when(started: str) -> str:
    return datetime.fromisoformat(started).astimezone().strftime("%Y-%m-%d %H:%M")


def took(seconds: float | None) -> str:
    from paretina.progress import clock

    return "-" if seconds is None else clock(seconds)


def comparison(found: Any, room: int) -> list[str]:
    """Two runs as lines of text, none of them wider than the room."""
    lines = []
    if found.settings:
        pairs = [(path, *map(spelled, pair)) for path, pair in found.settings.items()]
        lines += fitted([("differs", *found.names), *pairs], room, "<<<")
    else:
        lines.append("all settings are equal")
    rows = [(name, *map(number, pair)) for name, pair in found.metrics.items()]
    lines += ["", *fitted([("figure", *found.names), *rows], room, "<>>")]
    if found.gained is not None:
        value, low, high = found.gained
        first, second = found.names
        said = "no difference is shown" if low <= 0 <= high else f"{second if value > 0 else first} is better"
        lines += [
            "",
            f"top-1 {value:+z.2f} points [{low:+z.2f} to {high:+z.2f}] over the same {how_many(found.pictures, 'picture')}",
            said,
        ]
    else:
        lines += ["", "not judged on the same pictures, so their accuracies cannot be compared"]
    return lines


def spelled(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "-", True: "on", False: "off"}[value]
    return f"{value:g}" if isinstance(value, float) else printable(str(value))


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def fitted(rows: Iterable[Sequence[str]], room: int, sides: str) -> list[str]:
    """A table whose cells are shortened to fit."""
    rows = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > room and max(widths) > LEAST:
        widths[widths.index(max(widths))] -= 1
    cells = [[shortened(cell, most) for cell, most in zip(row, widths, strict=True)] for row in rows]
    return in_columns(cells, sides)
