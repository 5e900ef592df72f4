"""The request of a transfer study, and how it begins."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paretina.data.source import Source
from paretina.run import command_line, held_in, write_aside
from paretina.spec import Spec, decode, encode
from paretina.train import training
from paretina.train.asked import Asked


@dataclass(frozen=True, kw_only=True)
class Backbone(Spec):
    """A classifier whose layers are trained further, with another head.

    Attributes:
        name: unique in the study.
        file: its model file.
        top1: its classification accuracy, in percent.
        low: lower end of the 95 % interval of `top1`; None if unknown.
        high: upper end.
        measured_on: what `top1` is of, in words.
        asked: the request of the trainings, whose seed is replaced.
    """

    name: str
    file: str
    top1: float
    low: float | None = None
    high: float | None = None
    measured_on: str
    asked: Asked

    def __post_init__(self) -> None:
        if not 0 <= self.top1 <= 100:
            raise ValueError(f"the accuracy of {self.name} is in percent, from 0 to 100, got {self.top1:g}")

    def request(self, seed: int, epochs: float | None) -> Asked:
        recipe = replace(self.asked.recipe, seed=seed, epochs=epochs or self.asked.recipe.epochs)
        return replace(self.asked, recipe=recipe)


@dataclass(frozen=True, kw_only=True)
class TransferStudy(Spec):
    """
    Attributes:
        data: a word for the pictures that are trained on.
        backbones: two or more.
        seeds: of the trainings; each backbone is trained with all of them.
        time_limit_s: of all trainings together, in seconds; None for the epochs of the recipe.
    """

    data: str
    backbones: tuple[Backbone, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        if len(self.backbones) < 2:
            raise ValueError(f"a transfer compares two or more backbones, got {len(self.backbones)}")
        if not self.seeds:
            raise ValueError("a transfer needs at least one seed")
        names = [each.name for each in self.backbones]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the backbone {twice[0]} is given twice; leave one out")

    @property
    def asked(self) -> Asked:
        """The request of the first backbone, for what all have in common: data, recipe and plan."""
        return self.backbones[0].asked


def begin(folder: Path, study: TransferStudy) -> None:
    """Writes the request of a study; nothing is trained.

    Raises:
        ValueError: the directory is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        held = held_in(folder) if folder.is_dir() else ""
        raise ValueError(f"{folder} holds {held}" if held else f"{folder} is not empty; choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        "verb": "transfer",
        "command": command_line(),
        "study": encode(study),
        "environment": {"paretina": training.version()},
    }
    write_aside(folder / "asked.json", json.dumps(asked, indent=1).encode())


def asked_in(folder: Path) -> Mapping[str, Any]:
    """What was asked of a study.

    Raises:
        ValueError: the directory holds no transfer study.
    """
    try:
        asked = json.loads((folder / "asked.json").read_text())
    except (OSError, ValueError):
        asked = {}
    if not isinstance(asked, dict) or asked.get("verb") != "transfer":
        raise ValueError(f"{folder} holds no transfer study; start one with `paretina transfer DATA BACKBONE BACKBONE`")
    return asked


def read_study(folder: Path, source: Source | None = None) -> TransferStudy:
    """The study in a directory.

    Args:
        source: where the data is now, if it was moved.

    Raises:
        ValueError: the directory holds no transfer study.
    """
    study = decode(TransferStudy, asked_in(folder)["study"])
    if source is None:
        return study
    moved = [
        replace(each, asked=replace(each.asked, data=training.moved_to(each.asked.data, source))) for each in study.backbones
    ]
    return replace(study, backbones=tuple(moved))
