"""The command `paretina report`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from paretina.cli.program import command, main, note, print_json, print_lines
from paretina.cli.tracking import tracking_option
from paretina.tables import in_columns
from paretina.text import printable


@command(
    main,
    "paretina report runs/*\nparetina report runs/photos-efficientnet_b0-1 --log-to tensorboard",
    short_help="Write reports of runs, and a comparison of several.",
)
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=None,
    help="File for the comparison of several runs.  [comparison.html]",
)
@tracking_option("Trackers of experiments that the runs are sent to as well, those that are not there yet")
def report(runs: tuple[Path, ...], output: Path | None, log_to: str | None, as_json: bool) -> None:
    """Write the report of each run, and a comparison if there are several; only the run directories are read.

    Paths that are not runs are listed and skipped; a comparison needs at least two runs. The directory of a cross-validation
    stands for the runs of its folds.
    """
    from paretina import verbs

    found = verbs.report(runs, output, log_to or ())
    for reason in found.left_out.values():
        note(f"left out: {reason}")
    if as_json:
        print_json(found.to_dict())
        return
    for path in found.written:
        print_lines([str(path)])
    for run, places in found.sent.items():
        print_lines(f"{run} in {word}: {where}" for word, where in places.items())
    print_lines(["", *table(found.runs)])
    for folder, said in found.folds.items():
        note(f"{folder} is a cross-validation: {said or 'not finished, so there is no figure of all folds yet'}")
    if len(found.groups) > 1:
        apart = "; ".join(", ".join(group) for group in found.groups)
        note(f"evaluated on different data, so accuracies are comparable only within each group: {apart}")


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The results of each run, one per line, with 95 % intervals in brackets. Copies are validation pictures also in train.

    Below the runs: the operators that are not counted in their MACs.
    """
    others = any(row["figure"]["key"] != "top1" for row in rows)
    figures = ("main figure",) if others else ("top-1, %", "balanced, %")
    lines = [("run", "pixels", "epochs", "params", "MMACs", *figures, "copies", "seconds")]
    for row in rows:
        counts = (figure(row["size"]), figure(row["epochs"], ".3g"), figure(row["params"], ","), macs(row))
        ended = figure(row["time_s"], ".1f") if row["status"] == "done" else row["status"]
        shown = (main_cell(row["figure"]),) if others else (share(row, "top1"), share(row, "balanced"))
        lines.append((printable(row["run"]), *counts, *shown, figure(row["copies"]), ended))
    yield from in_columns(lines, "<>")
    missing = sorted({name for row in rows for name in row["uncounted"]})
    if missing:
        yield f"> MACs without {', '.join(missing)}: there is no formula for what is multiplied there"


def figure(value: int | float | None, form: str = "") -> str:
    return "-" if value is None else format(value, form)


def macs(row: dict[str, Any]) -> str:
    """Millions of MACs; "> " where operators without a formula are left out."""
    return ("> " if row["uncounted"] else "") + millions(row["macs"])


def millions(value: int | float | None) -> str:
    return "-" if value is None else f"{value / 1e6:,.1f}" if value >= 1e7 else f"{value / 1e6:.3g}"


def main_cell(found: dict[str, Any]) -> str:
    """The main figure of a run with its title and interval: "mean IoU 46.7 % [41.6 to 50.5]"."""
    value, low, high = found["value"], found["low"], found["high"]
    if value is None:
        return "-"
    digits = 1 if found["unit"] == "%" else 3
    between = "" if low is None or high is None else f" [{low:.{digits}f} to {high:.{digits}f}]"
    return f"{found['title']} {value:.{digits}f}{' ' + found['unit'] if found['unit'] else ''}{between}"


def share(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return figure(row[name], ".1f") + ("" if low is None or high is None else f" [{low:.1f} to {high:.1f}]")
