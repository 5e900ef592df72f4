"""Formats numbers and settings for display."""

import re
from collections.abc import Mapping
from typing import Any

from paretina.report.records import Number, dicts

SPACE = "\u202f"  # narrow no-break space between a number and its unit
"""Narrow no-break space between a number and its unit."""


def grouped(value: Number | None) -> str:
    """2125 -> 2,125"""
    return "–" if value is None else f"{value:,.0f}"


def quantity(value: Number | None, unit: str = "") -> str:
    """Three digits and a prefix: 5288548 -> 5.29 M"""
    if value is None:
        return "–"
    for prefix in ("", "k", "M", "G", "T"):
        text = f"{value:.0f}" if not prefix else f"{value:#.3g}".rstrip(".")
        if abs(float(text)) < 1000 or prefix == "T":
            break
        value /= 1000
    return f"{text}{SPACE}{prefix}{unit}" if prefix or unit else text


def duration(seconds: Number | None) -> str:
    """Two units at most: 151 -> 2 min 31 s, 0.0337 -> 33.7 ms"""
    if seconds is None:
        return "–"
    if 0 < seconds < 0.1:
        return f"{1000 * seconds:#.3g}".rstrip(".") + f"{SPACE}ms"
    if seconds < 10:
        return f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60:02d}{SPACE}s"
    return f"{whole // 3600}{SPACE}h {whole % 3600 // 60:02d}{SPACE}min"


def percent(value: Number | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}{SPACE}%"


def measured(value: Number | None, unit: str) -> str:
    """A number with its unit, rounded to a useful precision."""
    if value is None:
        return "–"
    return percent(value) if unit == "%" else f"{value:.3f}{SPACE}{unit}".rstrip()


FIGURES = {
    "loss": "loss",
    "map": "mean average precision",
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "f1_macro_tuned": "macro F1, own thresholds",
    "f1_micro_tuned": "micro F1, own thresholds",
    "iou": "mean IoU",
    "dice": "mean Dice",
    "ap": "AP at IoU 0.5 to 0.95",
    "ap50": "AP at IoU 0.5",
    "ap75": "AP at IoU 0.75",
    "ap_small": "AP, below 32 x 32 pixels",
    "ap_medium": "AP, up to 96 x 96 pixels",
    "ap_large": "AP, above 96 x 96 pixels",
    "ar": "recall of boxes",
    "seg": "SEG",
    "det": "DET",
    "pixel_accuracy": "pixel accuracy",
}
"""Titles of the figures of tasks other than one class per picture, by their keys without `val/`."""


SHARES_ALONE = {"ar"}
"""Figures in percent that have no interval."""


def figure_unit(key: str, metrics: Mapping[str, Any]) -> str:
    """ "%" for a share; figures with an interval are shares. "" for others, such as the loss."""
    return "%" if f"{key}_low" in metrics or key.removeprefix("val/") in SHARES_ALONE else ""


def figure_title(key: str) -> str:
    """The title of a figure; its key, without `val/`, where it is not known here, as that of a judge from a plugin."""
    name = key.removeprefix("val/")
    return FIGURES.get(name, name)


def between(low: Number | None, high: Number | None, unit: str) -> str:
    """An interval in words; empty if unknown."""
    if low is None or high is None:
        return ""
    digits = 1 if unit == "%" else 3
    return f"{low:.{digits}f} to {high:.{digits}f}"


def short(value: Number) -> str:
    """A number as an axis label: 0.0004, 1e-5, 12.5, 20k"""
    if abs(value) >= 10_000:
        return re.sub(r"\.0+(?=\D)", "", quantity(value).replace(SPACE, ""))
    digits = 3 if abs(value) < 1 else 4
    return re.sub(r"e([+-])0*", lambda found: "e" + found[1].replace("+", ""), f"{value:.{digits}g}")


ITEMS = 50
"""Number of list items that are shown; a list of pictures can have thousands."""


def spelled(value: Any) -> str:
    """An encoded spec in Python notation: MixUp(alpha=0.2)"""
    if isinstance(value, dict):
        fields = {key: item for key, item in value.items() if key not in ("kind", "version")}
        if value.get("kind") == "Constant" and list(fields) == ["value"]:
            return spelled(fields["value"])
        if "kind" in value:
            return f"{value['kind']}({', '.join(f'{key}={spelled(item)}' for key, item in fields.items())})"
        return "{" + ", ".join(f"{key}: {spelled(item)}" for key, item in fields.items()) + "}"
    if isinstance(value, list):
        if not value:
            return "[]"
        more = [f"and {len(value) - ITEMS:,} more"] if len(value) > ITEMS else []
        return f"({', '.join([*map(spelled, value[:ITEMS]), *more])})"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def listed(value: Any) -> list[tuple[str, list[str]]]:
    """The fields of an encoded spec, each with the lines of its value: one per method for a tuple of methods."""
    if not isinstance(value, dict):
        return [("", [spelled(item) for item in value])] if isinstance(value, list) and value else []
    fields = []
    for key, item in value.items():
        lines = [spelled(one) for one in item] if isinstance(item, list) and dicts(item) else [spelled(item)]
        fields.append((str(key), lines or ["none"]))
    return fields
