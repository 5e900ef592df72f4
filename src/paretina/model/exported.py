"""Reads and writes the header of weight files for other libraries, so that nothing is lost on export and re-import."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors

from paretina.model.blueprint import Blueprint, Preprocessing
from paretina.model.preprocessing import timm_config
from paretina.model.weights import About, shortened
from paretina.spec import decode, encode

EXPORT = "paretina-export"
"""The header key of the description in an exported file."""


@dataclass(frozen=True)
class Exported:
    """The header of a file that was exported by Paretina.

    Attributes:
        network: as "timm:NAME"; "" in files of earlier releases.
        classes: names in the order of the logits.
        preprocessing: None in files of earlier releases.
        resolution: side of the image at test time, in pixels; only with a preprocessing.
    """

    network: str
    classes: tuple[str, ...]
    licence: str
    origin: str
    preprocessing: Preprocessing | None = None
    resolution: int = 0


def exported_header(library: str, name: str, blueprint: Blueprint, about: About) -> dict[str, str]:
    """The header of an exported file: timm's configuration under timm's keys, and the preprocessing itself."""
    description = {
        "library": library,
        "architecture": name,
        "num_classes": blueprint.classes,
        "label_names": list(about.classes),
        **timm_config(blueprint.preprocessing, blueprint.resolution),
        "preprocessing": encode(blueprint.preprocessing),
        "resolution": blueprint.resolution,
        "licence": about.licence,
        "origin": about.origin,
    }
    return {"format": "pt", EXPORT: json.dumps(description)}


def read_exported(path: Path) -> Exported | None:
    """Reads the header of a file that was exported by Paretina; None for other files.

    Raises:
        ValueError: its description is damaged.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(EXPORT)
    except (safetensors.SafetensorError, OSError):
        return None  # reported when the tensors are read
    if text is None:
        return None
    try:
        header = json.loads(text)
        named = header["label_names"] if "label_names" in header else header["classes"]
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named) or len(set(named)) < len(named):
            raise ValueError("the names of its classes must be different strings")
        "".join(named).encode()  # half of a surrogate pair cannot be written anywhere
        for name, kind in {"licence": str, "origin": str, "resolution": int}.items():
            if not isinstance(header.get(name, kind()), kind) or isinstance(header.get(name), bool):
                raise ValueError(f"{name} must be {'a text' if kind is str else 'a whole number'}, got {header[name]!r}")
        found = Exported(
            network=f"{header['library']}:{header['architecture']}" if "library" in header else "",
            classes=tuple(named),
            licence=header["licence"],
            origin=header["origin"],
        )
        if "preprocessing" not in header:
            return found
        return replace(found, preprocessing=decode(Preprocessing, header["preprocessing"]), resolution=header["resolution"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: its description is damaged: {shortened(error)}") from None
