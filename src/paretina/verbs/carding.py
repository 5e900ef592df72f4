"""Writes the model card of a model or shipped file."""

import hashlib
import json
from pathlib import Path
from typing import Any

from paretina.measure.cost import cost
from paretina.model.weights import load_model
from paretina.run import write_aside
from paretina.ship.card import CardFacts
from paretina.ship.card import card as card_text
from paretina.ship.format import Format, format_of
from paretina.verbs.checks import check_new, misuse, model_file


def card(model: Path | str, out: Path | str | None = None) -> str:
    """The model card of a file, as Markdown with the front matter that Hugging Face's hub reads.

    Facts come from the file, and from the run directory that it lies in, if it was made of the model there.

    Args:
        model: a model file, the directory of a finished run, or a shipped file.
        out: a new file to write the card to.

    Raises:
        MisuseError: there is no such file, or `out` exists already.
        ValueError: the file cannot be used.
    """
    check_new(out)
    path = Path(model)
    format = format_of(path)
    facts = of_model(model_file(path)) if format is None else of_shipped(path, format)
    text = card_text(facts)
    if out is not None:
        write_aside(Path(out), text.encode())
    return text


def of_model(path: Path) -> CardFacts:
    network, about = load_model(path)
    counted = cost(network.model)
    result, asked = run_of(path.parent, path)
    return CardFacts(
        file=path.name,
        about=about,
        preprocessing=network.model.preprocessing,
        resolution=network.model.resolution,
        network=about.called(path),
        params=counted.params,
        macs=counted.macs,
        result=result,
        asked=asked,
    )


def of_shipped(path: Path, format: Format) -> CardFacts:
    with misuse():
        if not path.is_file():
            raise ValueError(f"there is no model file {path}")
    header = format.header(path)
    beside = path.parent / "model.safetensors"
    same = beside.is_file() and hashlib.sha256(beside.read_bytes()).hexdigest() == header.sha256
    model = of_model(beside) if same else None
    return CardFacts(
        file=path.name,
        about=header.about,
        preprocessing=header.preprocessing,
        resolution=header.resolution,
        network=header.network,
        params=model.params if model else None,
        macs=model.macs if model else None,
        result=model.result if model else {},
        asked=model.asked if model else {},
        gate=header.gate,
        format=format.NAME,
        steps=header.steps,
    )


def run_of(folder: Path, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`result.json` and `asked.json` of the run that a model file is the result of; empty where there is none."""
    if path.name != "model.safetensors":
        return {}, {}
    found = []
    for name in ("result.json", "asked.json"):
        try:
            value = json.loads((folder / name).read_text("utf-8"))
        except (OSError, ValueError):
            value = {}
        found.append(value if isinstance(value, dict) else {})
    return found[0], found[1]
