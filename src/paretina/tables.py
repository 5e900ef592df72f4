"""Writes tables as CSV, and as text in aligned columns.

rich, which draws the progress of a run, is not used for them: its tables are fitted to the terminal, so output piped into a
file or into grep would be wrapped at 80 columns.
"""

import csv
import html
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paretina.text import printable


def write_csv(path: Path | str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Writes rows to a UTF-8 file, one at a time, with a header line; None becomes an empty cell.

    Text that is not valid UTF-8, as in some file names, is written as escapes.

    Args:
        columns: names and order of the columns; default: those of the first row.
    """
    with naming(path), Path(path).open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        write_rows(file, rows, columns)


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Names the file in an error of the system that does not, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise type(error)(error.errno, error.strerror, str(path)) from None
        raise


def write_lines(path: Path | str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Like `write_csv`, for rows by position: column names that come from data, such as class names, may repeat."""
    with naming(path), Path(path).open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Returns the CSV text that `write_csv` writes."""
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
    """Formats rows of cells as lines, each column as wide as its widest cell, with two spaces between columns.

    Args:
        rows: of equal length; the first may be the header.
        sides: the alignment of each column, "<" or ">"; the last one applies to all further columns.
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = list(zip(sides.ljust(len(widths), sides[-1]), widths, strict=False))
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, (side, width) in zip(row, columns, strict=True)).rstrip() for row in rows
    ]


def html_table(rows: Iterable[Sequence[Any]], header: Sequence[str] = ()) -> str:
    """An HTML table for notebooks; all cells are escaped, numbers stand on the right, and None is a dash."""

    def cell(value: Any, tag: str = "td") -> str:
        right = isinstance(value, int | float) and not isinstance(value, bool)
        text = "–" if value is None else f"{value:,.4g}" if isinstance(value, float) else str(value)
        return f"<{tag} style='text-align:{'right' if right else 'left'}'>{html.escape(printable(text))}</{tag}>"

    lines = ["<tr>" + "".join(cell(name, "th") for name in header) + "</tr>"] if header else []
    lines += ["<tr>" + "".join(map(cell, row)) + "</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def html_lines(lines: Iterable[str]) -> str:
    """Lines of text as HTML for notebooks, escaped, in letters of one width."""
    return "<pre>" + "\n".join(html.escape(printable(line)) for line in lines) + "</pre>"
