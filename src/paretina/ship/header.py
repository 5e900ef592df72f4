"""What a shipped file says of itself, as JSON in its metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from paretina.model.blueprint import Preprocessing
from paretina.model.preprocessing import in_words
from paretina.model.task import Task
from paretina.model.weights import About, labels_read, shortened
from paretina.ship.boxes import BoxRule
from paretina.spec import decode, encode

KEY = "paretina"
"""Name of the metadata entry, in every format."""

VERSION = 1

Precision = Literal["float32", "bfloat16", "int8"]

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")

INPUT = "images"
OUTPUT = "probabilities"
FEATURES = "features"
BOXES = "boxes"
"""In place of `OUTPUT` where objects are found."""


@dataclass(frozen=True)
class Header:
    """
    Attributes:
        about: of the model that was shipped.
        preprocessing: which is inside the file; here for readers and cards.
        resolution: side of the image behind the preprocessing, in pixels.
        channels: of the pictures.
        precision: of the arithmetic.
        steps: what was done to the network before it was written, with its exactness, a sentence each.
        gate: figures of the comparison with the trained network; empty if it was not made.
        network: name or kind of the network.
        sha256: of the model file that it was made of.
        cost: counts of the network for one image, by the names of `paretina.measure.cost.Cost`, stages left out.
        boxes: how boxes are chosen among the places that the file gives; None where it finds none.
    """

    about: About
    preprocessing: Preprocessing
    resolution: int
    channels: int
    precision: Precision
    steps: tuple[str, ...] = ()
    gate: Mapping[str, Any] = field(default_factory=dict)
    network: str = ""
    sha256: str = ""
    cost: Mapping[str, int] = field(default_factory=dict)
    boxes: BoxRule | None = None

    @property
    def output(self) -> str:
        """What the file calls its answer."""
        return output_of(self.about.task)

    def to_dict(self) -> dict[str, Any]:
        answer = f"{len(self.about.classes)}{', row, column' * self.about.task.DENSE}"
        if self.boxes is not None:
            answer = f"{sum(self.boxes.levels)}, {4 + len(self.about.classes)}"
        return {
            "format": KEY,
            "version": VERSION,
            "input": f"{INPUT}: uint8, (batch, {self.channels}, height, width), RGB, any height and width",
            "output": f"{self.output}: float32, (batch, {answer}){SAID if self.boxes is not None else ''}",
            "preprocessing": encode(self.preprocessing),
            "preprocessing_in_words": in_words(self.preprocessing, self.resolution),
            "resolution": self.resolution,
            "channels": self.channels,
            "precision": self.precision,
            "steps": list(self.steps),
            "gate": dict(self.gate),
            "network": self.network,
            "sha256": self.sha256,
            "cost": dict(self.cost),
            **({} if self.boxes is None else {"boxes": self.boxes.to_dict()}),
            **self.about.to_dict(),
        }

    def text(self) -> str:
        return json.dumps(self.to_dict())

    def with_gate(self, gate: Mapping[str, Any]) -> "Header":
        return replace(self, gate=gate)


SAID = ": left, top, right and bottom of the box of each place as shares of the picture's sides, then the score of each class"
"""What is said of the numbers of an answer with boxes."""


def output_of(task: Any) -> str:
    """What a file calls the answers of a task, which has `BOXES`."""
    return BOXES if task.BOXES else OUTPUT


def read(path: Path, text: str | None) -> Header:
    """Reads the metadata of a shipped file.

    Raises:
        ValueError: it is missing or damaged, or of a later version.
    """
    if not text:
        raise ValueError(f"{path} was not written by paretina ship: it has no description of its classes and preprocessing")
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or found.get("format") != KEY:
            raise ValueError("it is not that of a shipped model")
        if found.get("version") != VERSION:
            raise ValueError(f"its version is {found.get('version')!r}; this release reads {VERSION}")
        classes = found["classes"]
        if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
            raise ValueError("classes must be a list of names")
        if found["precision"] not in PRECISIONS:
            raise ValueError(f"its precision is {found['precision']!r}")
        if not isinstance(found["gate"], dict):
            raise ValueError("gate must hold figures by name")
        about = About(
            classes=tuple(classes),
            metrics={str(key): float(value) for key, value in found["metrics"].items()},
            licence=str(found["licence"]),
            origin=str(found["origin"]),
            name=str(found["name"]),
            task=decode(Task, found["task"]),  # type: ignore[type-abstract]
            **labels_read(found, len(classes)),
        )
        return Header(
            about=about,
            preprocessing=decode(Preprocessing, found["preprocessing"]),
            resolution=int(found["resolution"]),
            channels=int(found["channels"]),
            precision=found["precision"],
            steps=tuple(map(str, found["steps"])),
            gate=found["gate"],
            network=str(found["network"]),
            sha256=str(found["sha256"]),
            cost={str(name): int(value) for name, value in found["cost"].items()},
            boxes=BoxRule.read(found["boxes"]) if about.task.BOXES else None,
        )
    except KeyError as error:
        raise ValueError(f"{path}: its description is damaged: it has no {error}") from None
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{path}: its description is damaged: {shortened(error)}") from None
