"""Show: the table of a network."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paretina.measure.cost import Cost, cost
from paretina.model.blueprint import Blueprint
from paretina.model.family import Published, network_named
from paretina.model.weights import About, load_model
from paretina.spec import encode
from paretina.verbs.checks import misuse, model_file
from paretina.verbs.listing import models


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
            "published": models(self.published.name)[0] if self.published else None,
            "about": self.about.to_dict() if self.about else None,
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
