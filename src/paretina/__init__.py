"""Paretina: trains image classifiers and measures their accuracy and cost.

The names below are imported on first use, so that `import paretina` is fast. The commands of the command line are functions of
the same names in `paretina.verbs`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paretina.clock import Clock as Clock
    from paretina.data.source import Collection as Collection
    from paretina.data.source import Source as Source
    from paretina.measure.accuracy import measure_accuracy as measure_accuracy
    from paretina.measure.cost import Cost as Cost
    from paretina.measure.cost import cost as cost
    from paretina.measure.plan import Plan as Plan
    from paretina.model.blueprint import Block as Block
    from paretina.model.blueprint import Blueprint as Blueprint
    from paretina.model.blueprint import Edit as Edit
    from paretina.model.blueprint import Head as Head
    from paretina.model.blueprint import Kit as Kit
    from paretina.model.blueprint import Model as Model
    from paretina.model.blueprint import Norm as Norm
    from paretina.model.blueprint import Stage as Stage
    from paretina.model.blueprint import Stem as Stem
    from paretina.model.blueprint import Wiring as Wiring
    from paretina.model.build import Network as Network
    from paretina.model.edits.scale import Scale as Scale
    from paretina.model.family import network_named as network_named
    from paretina.model.family import networks as networks
    from paretina.model.weights import About as About
    from paretina.model.weights import load_model as load_model
    from paretina.model.weights import save_model as save_model
    from paretina.run import Run as Run
    from paretina.schedules import Constant as Constant
    from paretina.schedules import Cosine as Cosine
    from paretina.schedules import Exponential as Exponential
    from paretina.schedules import Linear as Linear
    from paretina.schedules import Schedule as Schedule
    from paretina.schedules import Staged as Staged
    from paretina.schedules import Warmup as Warmup
    from paretina.spec import Spec as Spec
    from paretina.spec import get as get
    from paretina.spec import put as put
    from paretina.train.average import Average as Average
    from paretina.train.recipe import Recipe as Recipe
    from paretina.train.recipe import StochasticDepth as StochasticDepth

PLACES = {
    "About": "model.weights",
    "Average": "train.average",
    "Block": "model.blueprint",
    "Blueprint": "model.blueprint",
    "Clock": "clock",
    "Collection": "data.source",
    "Constant": "schedules",
    "Cosine": "schedules",
    "Cost": "measure.cost",
    "Edit": "model.blueprint",
    "Exponential": "schedules",
    "Head": "model.blueprint",
    "Kit": "model.blueprint",
    "Linear": "schedules",
    "Model": "model.blueprint",
    "Network": "model.build",
    "Norm": "model.blueprint",
    "Plan": "measure.plan",
    "Recipe": "train.recipe",
    "Run": "run",
    "Scale": "model.edits.scale",
    "Schedule": "schedules",
    "Source": "data.source",
    "Spec": "spec",
    "Stage": "model.blueprint",
    "Staged": "schedules",
    "Stem": "model.blueprint",
    "StochasticDepth": "train.recipe",
    "Warmup": "schedules",
    "Wiring": "model.blueprint",
    "cost": "measure.cost",
    "get": "spec",
    "load_model": "model.weights",
    "measure_accuracy": "measure.accuracy",
    "network_named": "model.family",
    "networks": "model.family",
    "put": "spec",
    "save_model": "model.weights",
}
"""The module of each public name, relative to this package."""

__all__ = [*PLACES]


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module 'paretina' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"paretina.{PLACES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *PLACES})
