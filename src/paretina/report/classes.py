"""The confusion matrix and the most confident mistakes."""

import math
import re
from dataclasses import dataclass
from typing import Any

from paretina.colours import COLOURS
from paretina.report.records import RunRecord, number
from paretina.report.words import percent

LABELLED_CLASSES = 40  # above that, the names no longer fit next to the heat map
HEAT_PIXELS = 250  # side of the largest heat map; more classes are pooled
MISTAKES = 24
PICTURE = re.compile(r"data:image/(?:jpeg|png|webp|gif);base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True)
class Cell:
    """One cell of the heat map: true class (row), prediction (column), and its content."""

    row: int
    column: int
    count: int
    strength: float
    title: str


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix, ready to be drawn.

    Attributes:
        classes: class names, in the order of rows and columns.
        cells: non-zero cells; empty if there is a picture instead.
        picture: data URI of the heat map for many classes, one pixel per cell; empty if there are cells.
        pooled: number of neighbouring classes per pixel.
        pairs: the most frequent confusions: true class, prediction, count, percentage of the true class.
    """

    classes: tuple[str, ...]
    cells: tuple[Cell, ...]
    picture: str
    pooled: int
    pairs: tuple[tuple[str, str, int, float], ...]


def confusion_of(record: RunRecord) -> Confusion | None:
    """Reads the confusion matrix of a result; None if it has none.

    Raises:
        ValueError: it is not square, or there are more or fewer class names than rows.
    """
    result = record.result or {}
    counts, classes = result.get("confusion"), result.get("classes")
    if not counts:
        return None
    classes = tuple(map(str, classes or range(len(counts))))
    if {len(counts), *map(len, counts)} != {len(classes)}:
        raise ValueError(
            f"{record.path / 'result.json'}: the confusion matrix must have a row and a column for each of the "
            f"{len(classes)} classes, got {len(counts)} rows of {sorted(set(map(len, counts)))} numbers"
        )
    totals = [sum(counted) for counted in counts]
    wrong = [(n, i, j) for i, counted in enumerate(counts) for j, n in enumerate(counted) if n and i != j]
    wrong.sort(key=lambda found: (-found[0], found[1], found[2]))
    most = 10 if len(classes) <= 20 else 20
    pairs = tuple((classes[i], classes[j], n, 100 * n / totals[i]) for n, i, j in wrong[:most])
    if len(classes) > LABELLED_CLASSES:
        picture, pooled = heat_picture(counts)
        return Confusion(classes, (), picture, pooled, pairs)
    cells = [
        Cell(
            i, j, n, strength(n / totals[i]), f"{classes[i]} → {classes[j]}: {n} of {totals[i]}, {percent(100 * n / totals[i])}"
        )
        for i, counted in enumerate(counts)
        for j, n in enumerate(counted)
        if n
    ]
    return Confusion(classes, tuple(cells), "", 1, pairs)


def strength(share: float) -> float:
    """The opacity for a fraction of a row: rare confusions must stay visible."""
    return round(max(0.15, share**0.5), 3)


def heat_picture(counts: list[list[int]]) -> tuple[str, int]:
    """Draws a large matrix; zero is transparent, for light and dark mode.

    Returns:
        A PNG as a data URI, and the number of neighbouring classes per pixel.
    """
    import base64
    import io

    import numpy as np
    from PIL import Image

    pooled = math.ceil(len(counts) / HEAT_PIXELS)
    side = math.ceil(len(counts) / pooled)
    whole = np.zeros((side * pooled, side * pooled))
    whole[: len(counts), : len(counts)] = counts
    right = np.diag(np.diag(whole))
    blocks = [part.reshape(side, pooled, side, pooled).sum((1, 3)) for part in (whole - right, right)]
    shares = [part / np.maximum(sum(blocks).sum(1, keepdims=True), 1) for part in blocks]
    pixels = np.zeros((side, side, 4), np.uint8)
    for share, colour in zip(shares, ((201, 92, 26), (47, 111, 179)), strict=True):
        # a pooled pixel on the diagonal shows the correct ones
        pixels[share > 0] = [(*colour, round(255 * max(0.35, value**0.5))) for value in share[share > 0]]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii"), pooled


def overlays_of(record: RunRecord) -> list[dict[str, str]]:
    """Pictures with masks drawn over them, as far as they are embedded in the file."""
    found = [(str(each.get("name", "")), each.get("picture")) for each in record.overlays]
    return [
        {"name": name, "picture": picture} for name, picture in found if isinstance(picture, str) and PICTURE.fullmatch(picture)
    ]


def answers_of(record: RunRecord) -> dict[str, Any]:
    """What is drawn over the pictures, and the colour of each class: of boxes all have one, of pixels the first has none."""
    result = record.result or {}
    task = result.get("task")
    boxes = isinstance(task, dict) and task.get("kind") == "Boxes"
    names = [str(name) for name in result.get("classes") or []]
    coloured = names if boxes else names[1:]
    legend = [
        {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
        for name, colour in zip(coloured, COLOURS[1:], strict=False)
    ]
    score = next((number(each, "score") for each in record.overlays), None) if boxes else None
    return {"boxes": boxes, "score": score, "legend": legend, "more": len(coloured) - len(legend)}


def mistakes_of(record: RunRecord) -> list[dict[str, Any]]:
    """The most confident mistakes, formatted; a picture is shown only if it is embedded in the file."""
    classes = (record.result or {}).get("classes") or []

    def named(value: Any) -> str:
        known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(classes)
        return str(classes[value]) if known else str(value)

    def second(value: Any) -> str:
        if isinstance(value, dict):
            value = [value.get("class", value.get("predicted", value.get("name"))), value.get("confidence")]
        if isinstance(value, list) and value and value[0] is not None:
            share = number({"": value[1]}, "") if len(value) > 1 else None
            return named(value[0]) + (f", {percent(100 * share, 0)}" if share is not None else "")
        return "" if value is None or isinstance(value, list) else named(value)

    shown = []
    for mistake in record.mistakes[:MISTAKES]:
        share = number(mistake, "confidence")
        picture = mistake.get("picture")
        shown.append(
            {
                "name": str(mistake.get("name", "")),
                "label": named(mistake.get("label")),
                "predicted": named(mistake.get("predicted")),
                "confidence": percent(100 * share, 0) if share is not None else "",
                "second": second(mistake.get("second")),
                "picture": picture if isinstance(picture, str) and PICTURE.fullmatch(picture) else "",
            }
        )
    return shown
