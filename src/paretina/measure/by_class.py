"""The figure of each class, whatever the task: what a judge says of classes in `result.json`, lowest first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FIGURES = (
    ("per_class", "class", "average_precision", "AP", "n", "picture"),
    ("per_class", "class", "iou", "IoU", "n", "pixel"),
    ("boxes_per_class", "name", "ap", "AP", "objects", "object"),
)
"""Of each judge but that of one class a picture: where its classes and their names are, their figure, its title, and what is
counted."""


@dataclass(frozen=True)
class ByClass:
    """
    Attributes:
        title: of the figure, in percent: "AP", "IoU".
        noun: of what is counted, in the singular.
        rows: name, figure and count of each class that has any, those with the lowest figure first.
    """

    title: str
    noun: str
    rows: tuple[tuple[str, float, int], ...]


def by_class(details: Mapping[str, Any]) -> ByClass | None:
    """The figures of classes in the details of a judge, or in a `result.json`; None where there are none, or of one class."""
    for key, name, value, title, count, noun in FIGURES:
        given = details.get(key)
        rows = [row for row in given if isinstance(row, Mapping)] if isinstance(given, list | tuple) else []
        known = [
            (str(row.get(name, "")), float(row[value]), int(row[count]))
            for row in rows
            if isinstance(row.get(value), int | float) and isinstance(row.get(count), int | float) and row[count]
        ]
        if len(known) > 1:
            return ByClass(title, noun, tuple(sorted(known, key=lambda row: row[1])))
    return None
