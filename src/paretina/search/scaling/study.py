"""The request of a scaling study, and how it begins."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from paretina.data.source import Source
from paretina.model.blueprint import Blueprint
from paretina.run import command_line, write_aside
from paretina.search.scaling.measured import MEASURED
from paretina.search.scaling.shares import Shares
from paretina.search.scaling.solve import COUNTED, Rules
from paretina.spec import Spec, decode, encode, near
from paretina.train import training
from paretina.train.asked import Asked
from paretina.train.resolve import resolve
from paretina.train.tasks import require_top1, require_updates

COSTS = (*COUNTED, *MEASURED)

MOST_TIMES = 1000.0
"""The largest multiple of a cost that a network is made for."""

MEASURED_TOLERANCE = 0.1
"""By how much a measured cost may differ from what was asked for, as a share of it, above or below."""


@dataclass(frozen=True, kw_only=True)
class ScalingStudy(Spec):
    """
    Attributes:
        name: of the base.
        base: with the classes of the data.
        asked: the request of the trainings, whose network and seed are replaced.
        cost: what is equal: macs, params, activations, latency_ms, train_seconds or peak_mb.
        times: multiples of the base's cost; candidates are trained at the first.
        shares: the candidates.
        seeds: of the trainings.
        rules: what networks are allowed.
        time_limit_s: of all trainings together, in seconds; None for the epochs of the recipe.
        curves: whether the family and the single dimensions are trained at the other multiples too.
        timing_s: seconds of timing for each network.
        weight: exponent of the latency in the reward.
    """

    name: str
    base: Blueprint
    asked: Asked
    cost: str = "macs"
    times: tuple[float, ...] = (2.0, 4.0)
    shares: tuple[Shares, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    rules: Rules = field(default_factory=Rules)
    time_limit_s: float | None = None
    curves: bool = False
    timing_s: float = 2.0
    weight: float = -0.07

    def __post_init__(self) -> None:
        if self.cost not in COSTS:
            raise ValueError(f"there is no cost {self.cost!r} to scale by{near(self.cost, COSTS)}")
        if not self.times or min(self.times) <= 1 or not all(map(math.isfinite, self.times)):
            raise ValueError(f"times are multiples of the base's cost, above 1, got {', '.join(f'{t:g}' for t in self.times)}")
        if max(self.times) > MOST_TIMES:
            raise ValueError(f"times are at most {MOST_TIMES:g} times the base's cost, got {max(self.times):g}")
        if len(set(self.times)) < len(self.times):
            raise ValueError(f"a multiple is given twice: {', '.join(f'{t:g}' for t in self.times)}")
        if not self.seeds or not self.shares:
            raise ValueError("a scaling needs at least one seed and one choice of shares")
        names = [each.name for each in self.shares]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the shares {twice[0]} are given twice; leave one out")

    @property
    def tolerance(self) -> float:
        return max(self.rules.tolerance, MEASURED_TOLERANCE) if self.cost in MEASURED else self.rules.tolerance

    def request(self, name: str, blueprint: Blueprint, seed: int, epochs: float | None) -> Asked:
        """The request of the training of a network."""
        recipe = replace(self.asked.recipe, seed=seed, epochs=epochs or self.asked.recipe.epochs)
        return replace(self.asked, model=blueprint, model_name="", edits=(), recipe=recipe)


def settled(asked: Asked) -> Blueprint:
    """The base as it is trained: with its edits, and the classes of the data.

    Raises:
        ValueError: the data has no classes, or the size or the network of the request cannot be scaled.
    """
    if asked.recipe.size is not None or asked.recipe.test.size is not None:
        raise ValueError(
            "a scaled network has its own image size, so size, test_size and recipes that set it do not fit here; give the "
            "side of the base in pixels: model.resolution=SIZE"
        )
    if asked.assembly is not None or not isinstance(asked.model, Blueprint):
        raise ValueError("only a single network can be scaled, not a model of several")
    if asked.weights not in ("none", "auto"):
        raise ValueError(
            f"scaled networks are trained from scratch, so --weights {asked.weights} would be used by none of them"
        )
    collection = asked.data.open()
    require_top1(collection.task, "a scaling compares networks")
    require_updates(asked.recipe, "a scaling compares networks")
    model = resolve(asked, collection).model
    assert isinstance(model, Blueprint)
    return model


def begin(folder: Path, study: ScalingStudy) -> None:
    """Writes the request of a study; nothing is trained.

    Raises:
        ValueError: the directory is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; choose another --output, or resume the study there: --resume {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        "verb": "scale",
        "command": command_line(),
        "study": encode(study),
        "environment": {"paretina": training.version()},
    }
    write_aside(folder / "asked.json", json.dumps(asked, indent=1).encode())


def asked_in(folder: Path) -> Mapping[str, Any]:
    """What was asked of a study.

    Raises:
        ValueError: the directory holds no scaling study.
    """
    try:
        asked = json.loads((folder / "asked.json").read_text())
    except (OSError, ValueError):
        asked = {}
    if not isinstance(asked, dict) or asked.get("verb") != "scale":
        raise ValueError(f"{folder} holds no scaling study; start one with `paretina scale BASE DATA --output DIR`")
    return asked


def read_study(folder: Path, source: Source | None = None) -> ScalingStudy:
    """The study in a directory.

    Args:
        source: where the data is now, if it was moved.

    Raises:
        ValueError: the directory holds no scaling study.
    """
    study = decode(ScalingStudy, asked_in(folder)["study"])
    if source is None:
        return study
    return replace(study, asked=replace(study.asked, data=training.moved_to(study.asked.data, source)))
