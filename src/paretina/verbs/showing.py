"""Describes a network stage by stage."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from paretina.measure.cost import Cost, cost
from paretina.model.blueprint import Blueprint, Model
from paretina.model.family import Published, network_named
from paretina.model.network_file import is_network_file, read_network
from paretina.model.sizes import check_side
from paretina.model.weights import About, load_model
from paretina.spec import encode
from paretina.verbs.checks import misuse, model_file
from paretina.verbs.listing import models


@dataclass(frozen=True)
class Shown:
    """A network as `show` describes it.

    Attributes:
        about: the metadata of its file, or None for a named network.
    """

    name: str
    model: Model
    cost: Cost
    published: Published | None
    about: About | None

    @property
    def source(self) -> str:
        """Paper and table; for several networks, how they are combined and the source of each."""
        tables = ", ".join(dict.fromkeys(table.source for table in self.model.blueprints()))
        kind = type(self.model).__name__
        return tables if isinstance(self.model, Blueprint) else f"{kind} of {len(self.model.blueprints())} networks: {tables}"

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides at which there are feature maps; empty for several networks, which each have their own."""
        return self.model.strides if isinstance(self.model, Blueprint) else ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "source": self.source,
            "classes": self.model.classes,
            "resolution": self.cost.resolution,
            "preprocessing": encode(self.model.preprocessing),
            "strides": list(self.strides),
            "cost": asdict(self.cost),
            "published": models(self.published.name)[0] if self.published else None,
            "about": self.about.to_dict() if self.about else None,
        }


def show(model: str, resolution: int | None = None) -> Shown:
    """The stages of a network, by name or from a model file, with the cost of each.

    Args:
        model: a name, a file with a blueprint, a model file, or the directory of a finished run.

    Raises:
        MisuseError: there is neither a network nor a model file of that name.
        ValueError: the model file cannot be used, or the network cannot be run at that resolution.
    """
    if is_network_file(model):
        with misuse():
            found = read_network(model)
        given = replace(found.blueprint, resolution=resolution or found.blueprint.resolution)
        if resolution is not None:
            check_side(given, resolution)
        return Shown(found.name, found.blueprint, cost(given), None, None)
    if Path(model).exists() or model.endswith(".safetensors") or "/" in model:
        path = model_file(model)
        network, about = load_model(path)
        if resolution is not None:
            check_side(network.model, resolution)
        return Shown(about.called(path), network.model, cost(network, resolution), None, about)
    with misuse():
        published = network_named(model)
    blueprint = published.blueprint
    built = replace(blueprint, resolution=resolution or blueprint.resolution)  # position tables depend on the size
    if resolution is not None:
        check_side(built, resolution)
    return Shown(model, blueprint, cost(built), published, None)
