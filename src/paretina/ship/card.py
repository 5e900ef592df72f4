"""Model cards: Markdown with the front matter that Hugging Face's hub reads, made from a file and its run, with nothing added.

What is not known is left out, or said to be unknown. Source of the keys: the hub's model card metadata.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from paretina.measure.by_class import by_class
from paretina.model.blueprint import Preprocessing
from paretina.model.preprocessing import in_words
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.model.weights import About
from paretina.text import how_many

WEAKEST = 10
"""Classes that are listed by their recall, the lowest first."""

TITLES = {
    "top1": ("top-1 accuracy", "%"),
    "top5": ("top-5 accuracy", "%"),
    "balanced": ("balanced accuracy", "%"),
    "map": ("mean average precision", "%"),
    "f1_macro": ("macro F1", "%"),
    "f1_macro_tuned": ("macro F1 at a threshold for each class", "%"),
    "f1_micro_tuned": ("micro F1 at a threshold for each class", "%"),
    "iou": ("mean IoU", "%"),
    "dice": ("mean Dice", "%"),
    "ap": ("average precision at IoU 0.5 to 0.95", "%"),
    "ap50": ("average precision at IoU 0.5", "%"),
    "ap75": ("average precision at IoU 0.75", "%"),
    "ap_small": ("average precision, objects below 32 x 32 pixels", "%"),
    "ap_medium": ("average precision, objects up to 96 x 96 pixels", "%"),
    "ap_large": ("average precision, objects above 96 x 96 pixels", "%"),
    "ar": ("recall of at most 100 boxes", "%"),
    "seg": ("SEG", "%"),
    "det": ("DET", "%"),
    "pixel_accuracy": ("pixel accuracy", "%"),
    "mistake_severity": ("severity of mistakes", ""),
    "nll": ("negative log-likelihood", "nats"),
    "ece": ("expected calibration error", ""),
}
"""Metrics by their name behind `val/`, with a title and a unit."""


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    Attributes:
        file: name of the model or shipped file.
        params, macs: counted; None where they are not known.
        result: `result.json` of the run; empty where it is not known.
        asked: `asked.json` of the run; empty likewise.
        gate: figures of the comparison of a shipped file with its model; empty for a model file.
        format: name of the format of a shipped file; "" for a model file.
        steps: what was done to a shipped file.
    """

    file: str
    about: About
    preprocessing: Preprocessing
    resolution: int
    network: str = ""
    params: int | None = None
    macs: int | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    format: str = ""
    steps: Sequence[str] = ()


def card(facts: CardFacts) -> str:
    """The card as Markdown."""
    parts = [
        front_matter(facts),
        f"# {title(facts)}",
        what_it_is(facts),
        section("How to run it", how_to_run(facts)),
        section("Figures", figures(facts)),
        section("Where it is weak", weaknesses(facts)),
        section("Calibration", calibration(facts)),
        section("Cost", costs(facts)),
        section("Data", data(facts)),
        section("Weights", weights(facts)),
        section("Classes", ", ".join(map(escaped, facts.about.classes))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def section(name: str, text: str) -> str:
    return f"## {name}\n\n{text}" if text else ""


def title(facts: CardFacts) -> str:
    name = facts.about.name or facts.network or "image classifier"
    return f"{escaped(name)}, {how_many(len(facts.about.classes), 'class')}"


def escaped(text: str) -> str:
    """A name as Markdown shows it: what would be markup, or a line of its own, is escaped."""
    marks = "\\`*_{}[]()<>#+!|~&"
    return "".join(f"\\{each}" if each in marks else " " if each in "\r\n\t" else each for each in text)


def front_matter(facts: CardFacts) -> str:
    """The metadata, as YAML between two lines."""
    about = facts.about
    found: dict[str, Any] = {
        "library_name": "paretina",
        "pipeline_tag": kind_of(about.task),
        "tags": [
            kind_of(about.task),
            "paretina",
            *([facts.format] if facts.format else []),
        ],
    }
    if about.licence:
        found["license"] = about.licence.lower()
    metrics = [
        {"type": kind, "value": round(about.metrics[f"val/{name}"], 4), "name": TITLES[name][0]}
        for name, kind in (("top1", "accuracy"), ("f1_macro", "f1"), ("iou", "mean_iou"), ("ap", "mean_average_precision"))
        if f"val/{name}" in about.metrics
    ]
    if metrics:
        found["model-index"] = [
            {
                "name": about.name or facts.network or facts.file,
                "results": [
                    {
                        "task": {"type": kind_of(about.task)},
                        "dataset": {"name": data_name(facts), "type": "image-folder", "split": "validation"},
                        "metrics": metrics,
                    }
                ],
            }
        ]
    return f"---\n{yaml.safe_dump(found, sort_keys=False, allow_unicode=True)}---"


def kind_of(task: Task) -> str:
    """What a model is for, by the word that hubs have for it."""
    return "image-segmentation" if task.DENSE else "object-detection" if task.BOXES else "image-classification"


def data_name(facts: CardFacts) -> str:
    origin = facts.about.origin
    return origin.removeprefix("trained on ").partition(",")[0] if origin.startswith("trained on ") else "unknown"


def what_it_is(facts: CardFacts) -> str:
    kind = "a class for each pixel" if facts.about.task.DENSE else "one class a picture"
    if isinstance(facts.about.task, AnyOf):
        kind = "any number of classes a picture"
    if facts.about.task.BOXES:
        kind = "objects, each with a box"
    named = "An image classifier"
    if facts.about.task.BOXES:
        named = "A network that finds objects"
    elif facts.about.task.DENSE:
        named = "A network that segments pictures"
    said = [f"{named} ({kind}), {facts.network or 'of an unnamed network'}, made with Paretina."]
    said.append(f"Preprocessing: {in_words(facts.preprocessing, facts.resolution)}.")
    if facts.format:
        said.append(f"This file is {facts.format}; preprocessing and the last operation are inside it.")
        said += [f"{step[:1].upper()}{step[1:]}." for step in facts.steps]
    return "\n".join(said)


def how_to_run(facts: CardFacts) -> str:
    package = f"paretina{extra(facts.format) if facts.format else ''}"
    command = f"```sh\npip install '{package}'\n"
    return f"{command}paretina predict {facts.file} picture.jpg\n```"


def extra(format: str) -> str:
    return "" if format == "torch-export" else f"[{format}]"


def figures(facts: CardFacts) -> str:
    metrics = facts.about.metrics
    rows = ["| figure | value | 95 % interval |", "|---|---|---|"]
    for name, (shown, unit) in TITLES.items():
        value = metrics.get(f"val/{name}")
        if value is None:
            continue
        low, high = metrics.get(f"val/{name}_low"), metrics.get(f"val/{name}_high")
        between = "" if low is None or high is None else f"{low:.3g} to {high:.3g}"
        rows.append(f"| {shown} | {value:.4g} {unit} | {between} |".replace("  |", " |"))
    count = (facts.result.get("data") or {}).get("val")
    where = "On the validation pictures of its training data" + (f", {count:,}" if isinstance(count, int) else "")
    lines = [f"{where}.", "", *rows] if len(rows) > 2 else []
    gate = facts.gate
    if gate.get("n"):
        gained = gate.get("gained") or {}
        text = (
            f"This file against the network it was made of, on {how_many(gate['n'], 'validation picture', ',')} in its own "
            f"runtime ({gate.get('runtime', 'unknown')}): the same answer for {100 * gate['agreement']:.2f} %, "
            f"{'scores and boxes' if facts.about.task.BOXES else 'probabilities'} differ by {gate['largest']:.2g} at most"
        )
        if gate.get("ap_before") is not None and gate.get("ap_after") is not None:
            text += f", average precision {gate['ap_after']:.2f} % (before {gate['ap_before']:.2f} %)"
        if gained:
            text += f", top-1 changed by {gained['value']:+z.2f} points [{gained['low']:+z.2f} to {gained['high']:+z.2f}]"
        lines += ["", f"{text}. Verdict: {gate.get('verdict', 'unknown')}."]
    return "\n".join(lines).strip() or "Not measured."


def weaknesses(facts: CardFacts) -> str:
    """The classes with the lowest figures, as the run measured them."""
    if (found := by_class(facts.result)) is not None:
        lines = [f"| class | {found.title} % | {found.noun}s |", "|---|---|---|"]
        lines += [f"| {escaped(name)} | {value:.1f} | {count:,} |" for name, value, count in found.rows[:WEAKEST]]
        return "\n".join(lines)
    if facts.result and len(facts.about.classes) == 1:
        return "It has one class, so none is weaker than another."
    rows = facts.result.get("per_class") or []
    known = [row for row in rows if isinstance(row, Mapping) and row.get("n") and row.get("recall") is not None]
    if not known:
        return "Not known: the run that it was trained in is not beside the file."
    worst = sorted((row for row in known if row["recall"] < 100), key=lambda row: row["recall"])[:WEAKEST]
    if not worst:
        return "No validation picture of any class was missed; how it does on others is not known."
    lines = ["| class | recall % | 95 % interval | pictures |", "|---|---|---|---|"]
    for row in worst:
        low, high = row.get("recall_low"), row.get("recall_high")
        between = "" if low is None or high is None else f"{low:.0f} to {high:.0f}"
        lines.append(f"| {escaped(str(row.get('class', '')))} | {row['recall']:.1f} | {between} | {row['n']:,} |")
    few = sum(1 for row in known if row["n"] < 30)
    note = (
        f"\n\n{how_many(few, 'class')} of {len(known)} {'has' if few == 1 else 'have'} fewer than 30 validation pictures."
        if few
        else ""
    )
    return "\n".join(lines) + note


def calibration(facts: CardFacts) -> str:
    metrics = facts.about.metrics
    error, scaled = metrics.get("val/ece"), metrics.get("val/ece_scaled")
    if error is None:
        return ""
    text = f"Expected calibration error {error:.3f}"
    if (limit := metrics.get("val/ece_limit")) is not None:
        text += f" (a network with right probabilities seldom exceeds {limit:.3f} on so many pictures)"
    return f"{text}, {scaled:.3f} with temperature scaling." if scaled is not None else f"{text}."


def costs(facts: CardFacts) -> str:
    lines = []
    if facts.params is not None:
        lines.append(f"- {facts.params:,} parameters")
    if facts.macs is not None:
        lines.append(f"- {facts.macs / 1e9:.3g} GMACs for a picture of {facts.resolution} x {facts.resolution} pixels")
    timing, boxed = facts.gate.get("timing") or {}, facts.about.task.BOXES
    if timing.get("after_p50_ms") is not None:
        tail = timing.get("after_p95_ms")
        late = f" (p95 {tail:.2f})" if tail is not None else ""
        lines.append(
            f"- {timing['after_p50_ms']:.2f} ms{late} for one picture from pixels to {'boxes' if boxed else 'probabilities'}, "
            f"{facts.gate.get('runtime', 'unknown runtime')} on {facts.gate.get('machine', 'an unknown processor')}"
        )
    return "\n".join(lines) or "Not measured."


def data(facts: CardFacts) -> str:
    found = facts.result.get("data") or {}
    said = [f"Trained on {escaped(data_name(facts))}."] if data_name(facts) != "unknown" else ["The training data is unknown."]
    if isinstance(found.get("train"), int):
        said.append(f"{found['train']:,} training and {how_many(found.get('val', 0), 'validation picture', ',')}.")
    copies = (found.get("copies") or {}).get("warning")
    return " ".join([*said, *([f"{copies}."] if copies else [])])


def weights(facts: CardFacts) -> str:
    origin = f"Origin: {escaped(facts.about.origin)}." if facts.about.origin else "Their origin is unknown."
    licence = f" Licence: {escaped(facts.about.licence)}." if facts.about.licence else " No licence is recorded in the file."
    return origin + licence
