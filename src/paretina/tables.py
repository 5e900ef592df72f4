"""Tables: rows as CSV, and as text in columns.

rich, which draws the progress of a run, is not used for them: its tables are fitted to the terminal, so that what is piped into
a file or into grep would be folded at 80 columns.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write_csv(path: Path | str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Writes rows to a file, one at a time, in UTF-8 with a line of names first; None becomes an empty cell.

    What is no valid UTF-8, such as some names of files, is written by its numbers.

    Args:
        columns: names and order of the columns; those of the first row if not given.
    """
    with Path(path).open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        write_rows(file, rows, columns)


def write_lines(path: Path | str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """As `write_csv`, for rows by position: names of columns that come from data, such as those of classes, may be equal."""
    with Path(path).open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """The text that `write_csv` writes."""
    file = io.StringIO(newline="")
    write_rows(file, rows, columns)
    return file.getvalue()


def write_rows(file: io.TextIOBase, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None) -> None:
    rows = iter(rows)
    if columns is None:
        first = next(rows)
        columns, rows = list(first), (row for part in ([first], rows) for row in part)
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def in_columns(rows: Iterable[Sequence[str]], sides: str) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell, with two spaces between columns.

    Args:
        rows: equally long; the first may hold the titles.
        sides: of each column the side that its cells are aligned to, "<" or ">"; the last one stands for all further columns.
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = list(zip(sides.ljust(len(widths), sides[-1]), widths, strict=False))
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, (side, width) in zip(row, columns, strict=True)).rstrip() for row in rows
    ]
