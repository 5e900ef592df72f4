"""Joins trained models into one that averages their answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from paretina.model.assemblies.committee import Committee, Member
from paretina.model.assemblies.divide import Ensembled
from paretina.model.weights import About, load_model, save_model
from paretina.text import how_many
from paretina.verbs.checks import MisuseError, check_new, model_file
from paretina.verbs.seen import FOLDS
from paretina.verbs.shipping import check_unshipped


@dataclass(frozen=True)
class Joined:
    """
    Attributes:
        path: the file that was written.
        members: names of the networks in it.
        parameters: of all of them together.
    """

    path: Path
    members: tuple[str, ...]
    parameters: int

    def to_dict(self) -> dict[str, Any]:
        return {"path": str(self.path), "members": list(self.members), "parameters": self.parameters}

    def lines(self) -> list[str]:
        return [
            f"model: {self.path}: {how_many(len(self.members), 'network')}, {self.parameters / 1e6:.3g} M parameters",
            f"judge it before it is used: paretina evaluate {self.path} DATA",
        ]


def data_of(origins: Sequence[str], folds: bool) -> str:
    """What the networks of an ensemble were trained on, for its origin; "" where one does not say so."""
    found = [re.match(r"trained on ([^,]+),", origin) for origin in origins]
    names = dict.fromkeys(each[1] for each in found if each)
    return f"; {FOLDS if folds else 'trained on '}{'+'.join(names)}, each" if names and all(found) else ""


def ensemble(models: Sequence[Path | str], out: Path | str, folds: bool = False) -> Joined:
    """Writes one model file whose logits are the mean of those of several models.

    Args:
        models: two or more model files, or directories of finished runs, of single networks.
        out: the model file to write; must not be there.
        folds: whether they are those of a cross-validation, so that none of its pictures is new to all of them.

    Raises:
        MisuseError: there is no such model, fewer than two are given, or the file cannot be written there.
        ValueError: the models do not fit together; the message says in what they differ.
    """
    if len(models) < 2:
        raise MisuseError(f"an ensemble needs two models or more, got {len(models)}")
    if Path(out).suffix != ".safetensors":
        raise MisuseError(f"a model file ends with .safetensors, got {Path(out).name}")
    check_new(out)
    for each in models:
        check_unshipped(each, "join")
    paths = [model_file(each) for each in models]
    loaded = [load_model(path) for path in paths]
    first, about = loaded[0]
    for path, (network, own) in zip(paths, loaded, strict=True):
        if len(network.networks()) != 1:
            raise ValueError(f"{path} consists of {len(network.networks())} networks already; join the files of single ones")
        for what, ours, theirs in (
            ("classes", about.classes, own.classes),
            ("another task", about.task, own.task),
            ("resolution", first.model.resolution, network.model.resolution),
            ("preprocessing", shown(first), shown(network)),
            ("channels", first.model.channels, network.model.channels),
        ):
            if ours != theirs:
                raise ValueError(
                    f"{path} and {paths[0]} differ in {what}: {spelled(theirs)} and {spelled(ours)}; the members of an "
                    "ensemble must not"
                )
    model = first.model
    committee = Committee(
        members=tuple(Member(blueprint=network.blueprint) for network, _ in loaded),
        resolution=model.resolution,
        classes=model.classes,
        preprocessing=model.preprocessing,
        channels=model.channels,
    )
    made = cast(Ensembled, committee.build("meta"))
    made.members = nn.ModuleList(network for network, _ in loaded)
    names = tuple(own.name or str(path) for path, (_, own) in zip(paths, loaded, strict=True))
    licences = sorted({own.licence for _, own in loaded if own.licence})
    origin = f"the mean of the logits of {', '.join(names)}{data_of([own.origin for _, own in loaded], folds)}"
    # thresholds are those of the probabilities of one network
    shared = {name: getattr(about, name) for name in ("counts", "balanced", "hierarchy")}
    shared = {name: value for name, value in shared.items() if all(getattr(own, name) == value for _, own in loaded)}
    said = About(about.classes, task=about.task, licence="; ".join(licences), origin=origin, **shared)
    save_model(Path(out), made.eval(), said)
    return Joined(Path(out), names, sum(each.numel() for each in made.parameters()))


def shown(network: Any) -> tuple[Any, ...]:
    """What is done to a picture before the network normalises it."""
    own = network.model.preprocessing
    return own.fit, own.crop, own.interpolation


def spelled(value: object) -> str:
    """A value in words: names with commas between them."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
