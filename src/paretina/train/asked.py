"""Asked: all that was asked of a training run, as one value, and how names on a command line reach into it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from paretina.clock import Clock
from paretina.data.source import Source
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.clipart import Clipart
from paretina.data.sources.folder import Folder
from paretina.data.sources.shapes import Shapes
from paretina.measure.plan import Plan
from paretina.model.blueprint import Blueprint, Edit
from paretina.model.family import Published, network_named
from paretina.model.pretrained import find_weights, will_start
from paretina.model.weights import Start
from paretina.schedules import Schedule
from paretina.spec import Spec, field_map, is_kind, modules_in, near, put
from paretina.train.fields import LR, unabbreviated
from paretina.train.fields import UniqueKeys as UniqueKeys
from paretina.train.fields import assignment as assignment
from paretina.train.fields import flattened as flattened
from paretina.train.fields import read_config as read_config
from paretina.train.recipe import Recipe
from paretina.traits import INSIDE, Never, traits

MOMENTS = 1000
"""At how many moments of a run its schedule of sizes is looked up before it begins."""

BASE = Never("it is what an ablation compares on")

BUILT_IN: dict[str, type[Source]] = {"clipart": Clipart, "shapes": Shapes}


@dataclass(frozen=True, kw_only=True)
class Asked(Spec):
    """
    Attributes:
        data: where the pictures come from.
        model: the network, before edits, and before the classes of the data and the test size are put in.
        model_name: its name in our tables, or "".
        edits: changes of the network, in this order.
        recipe: how it is trained.
        recipe_name: its name, or "".
        plan: how it is executed.
        weights: "auto", "hub", "none", a library's name for them, or a model file; see `paretina.model.pretrained`. Runs of
            releases that did not say so started from scratch.
        verb: which command asked.
    """

    data: Source = field(metadata=traits(left_out=BASE, elsewhere=()))
    model: Blueprint = field(metadata=traits(left_out=BASE, elsewhere=()))
    model_name: str = field(default="", metadata=traits(left_out=BASE, elsewhere=()))
    edits: tuple[Edit, ...] = field(default=(), metadata=traits(left_out=INSIDE, elsewhere=()))
    recipe: Recipe = field(metadata=traits(left_out=INSIDE, elsewhere=()))
    recipe_name: str = field(default="", metadata=traits(left_out=BASE, elsewhere=()))
    plan: Plan = field(metadata=traits(left_out=Never("it is how fast a run is, not what it learns"), elsewhere=()))
    weights: str = field(default="none", metadata=traits(left_out=BASE, elsewhere={"pretrained": "auto"}))
    verb: Literal["train", "finetune"] = field(default="train", metadata=traits(left_out=BASE, elsewhere=()))

    @property
    def published(self) -> Published | None:
        """The named network, before edits, if it has a name."""
        return network_named(self.model_name) if self.model_name else None

    def start(self) -> tuple[Start | None, str]:
        """The weights to start from, and a sentence that says which, or why none; see `find_weights`.

        Raises:
            ValueError: weights were asked for and cannot be had, or an edit does not fit.
        """
        return find_weights(self.weights, self.published, self.edited())

    def starts(self) -> bool:
        """Whether there are weights to start from.

        Raises:
            ValueError: they are named and cannot be read, or an edit does not fit.
        """
        return will_start(self.weights, self.published, self.edited())

    def sizes(self) -> Schedule:
        """The schedule of the training size, in pixels."""
        return self.recipe.sizes(self.edited().resolution)

    def training_sides(self) -> frozenset[int]:
        """Every training size of the run, in pixels."""
        size = self.sizes()
        return frozenset(round(size(Clock(moment, MOMENTS, self.recipe.epochs))) for moment in range(MOMENTS + 1))

    def sides(self) -> frozenset[int]:
        """Every training size of the run, in pixels, and the size of the test."""
        return self.training_sides() | {self.final_size()}

    def final_size(self) -> int:
        """Side in pixels at which the network is tested and saved."""
        return self.recipe.final_size(self.edited().resolution)

    def edited(self) -> Blueprint:
        """The network after the edits.

        Raises:
            ValueError: an edit does not fit.
        """
        blueprint = self.model
        for edit in self.edits:
            blueprint = edit(blueprint)
        return blueprint


def source_named(data: str | Source) -> Source:
    """The source that a word stands for: a built-in set, an .npz file, or a folder."""
    if isinstance(data, Source):
        return data
    if data in BUILT_IN and not Path(data).exists():
        return BUILT_IN[data]()
    if data.endswith(".npz"):
        return Arrays(path=data)
    if not Path(data).expanduser().exists():
        raise ValueError(f"there is no folder {data!r}, and no built-in data of that name{near(data, BUILT_IN)}")
    return Folder(path=data)


def recipes() -> dict[str, tuple[Recipe, str]]:
    """The named recipes with the text that opens their file; a file has one of its own name, or several by name."""
    found = {}
    for module in modules_in("paretina.train.recipes"):
        own = module.__name__.rpartition(".")[2].replace("_", "-")
        named = getattr(module, "RECIPES", {own: module.RECIPE} if hasattr(module, "RECIPE") else {})
        found.update({name: (recipe, (module.__doc__ or "").strip()) for name, recipe in named.items()})
    return found


def recipe_named(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none; the message has the near name.
    """
    known = recipes()
    if name not in known:
        raise ValueError(f"there is no recipe named {name!r}{near(name, known)}")
    return known[name][0]


# --- names of the command line ----------------------------------------------------------------------------------------


def full_path(path: str) -> str:
    """The path from the top that a name stands for: `epochs` is `recipe.epochs`, `precision` is `plan.precision`.

    Raises:
        ValueError: no part has a field of that name; the message has the near name.
    """
    path = unabbreviated(path)
    head = path.partition(".")[0]
    if head in ("data", "model", "recipe", "plan", "edits"):
        return path
    places: dict[str, type[Spec]] = {"recipe": Recipe, "plan": Plan, "model": Blueprint}
    for place, spec in places.items():
        if head in field_map(spec):
            return f"{place}.{path}"
    known = [name for spec in places.values() for name in field_map(spec)]
    raise ValueError(f"there is no field {head!r}{near(head, [*known, 'data', 'edits'])}")


def change(asked: Asked, path: str, value: Any) -> Asked:
    """The same with another value at a path, as in `spec.put`; but a number for the learning rate is the peak of its schedule.

    Another schedule has to be spelled out: `lr='{"kind": "Constant", "value": 0.001}'`.
    """
    whole = full_path(path)
    number = number_in(value) if whole == LR else None
    if number is None:
        return put(asked, whole, value)
    return replace(asked, recipe=replace(asked.recipe, optimizer=asked.recipe.optimizer.with_peak(number)))


def number_in(value: Any) -> float | None:
    """The number that a value is or spells, None for anything else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def spelled_out(spec: Spec, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar of a spec with its path, for people to read."""
    for name in field_map(type(spec)):
        yield from spelled_value(getattr(spec, name), f"{prefix}{name}")


def spelled_value(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Spec):
        spec: type[Spec] = type(value)
        if not field_map(spec) or any(is_kind(base) for base in spec.__mro__[1:] if issubclass(base, Spec)):
            yield path, type(value).__name__
        yield from spelled_out(value, f"{path}.")
    elif isinstance(value, tuple) and value and all(isinstance(item, Spec) for item in value):
        kinds = [type(item).__name__ for item in value]
        for i, item in enumerate(value):
            step = kinds[i] if kinds.count(kinds[i]) == 1 else str(i)
            yield from spelled_out(item, f"{path}.{step}.")
            kind: type[Spec] = type(item)
            if not field_map(kind):
                yield f"{path}.{step}", "on"
    else:
        yield path, value


@dataclass
class Choice:
    """What is being asked, while it is put together: each later word wins, and each value knows where it came from.

    Attributes:
        origins: by path, who set it last.
        peak: the learning rate that was given as a number, and who gave it; None where none was.
    """

    asked: Asked
    origins: dict[str, str] = field(default_factory=dict)
    peak: tuple[Any, str] | None = None

    def set(self, path: str, value: Any, origin: str) -> None:
        whole = full_path(path)
        scaled = f"{LR.rpartition('.')[0]}.scale_rate"
        if whole == LR and number_in(value) is not None:
            kept = self.asked.recipe.optimizer.scale_rate if scaled in self.origins else False
            self.asked = put(change(self.asked, whole, value), scaled, kept)
            self.origins.setdefault(scaled, origin)
            self.peak = (value, origin)
        else:
            self.asked = change(self.asked, whole, value)
        for old in [old for old in self.origins if old == whole or old.startswith(f"{whole}.")]:
            del self.origins[old]
        self.origins[whole] = origin
        if whole == "recipe.optimizer" and self.peak is not None and isinstance(value, str) and value.strip().isidentifier():
            self.set(LR, *self.peak)  # the peak that was asked for holds for an optimizer that is only named

    def origin(self, path: str) -> str:
        """Where the value at a path came from."""
        found = [old for old in self.origins if path == old or path.startswith(f"{old}.")]
        if found:
            return self.origins[max(found, key=len)]
        part = path.partition(".")[0]
        named = {"recipe": f"recipe {self.asked.recipe_name}", "model": f"model {self.asked.model_name}"}
        return named.get(part, "default") if part != "recipe" or self.asked.recipe_name else "given"

    def table(self) -> list[tuple[str, Any, str]]:
        """Every field with its value and where it came from."""
        return [(path, value, self.origin(path)) for path, value in spelled_out(self.asked)]


def default_weights(recipe: str | Recipe | None) -> str:
    """What weights are looked for unless told: whatever is on this machine, or none for the recipe that is named after that."""
    return "none" if recipe == "scratch" else "auto"


def recipe_for(weights: str, model: str | Blueprint, fields: Mapping[str, Any]) -> str:
    """The recipe that is taken unless told: `finetune` where there are weights to start from, `scratch` where not.

    Args:
        fields: what is given one by one; edits among them may make a network that the weights do not fit.

    Raises:
        ValueError: the weights are named and cannot be read.
    """
    network = network_named(model) if isinstance(model, str) else None
    blueprint = network.blueprint if network else None
    if network is not None:
        try:
            asked = Asked(data=Clipart(), model=network.blueprint, recipe=Recipe(), plan=Plan())
            for path, value in fields.items():
                if (whole := full_path(path)).partition(".")[0] in ("model", "edits"):
                    asked = put(asked, whole, value)
            blueprint = asked.edited()
        except ValueError:
            blueprint = None  # said where the fields are set, or the network is built
    return "finetune" if will_start(weights, network, blueprint) else "scratch"


def choose(
    data: str | Source,
    model: str | Blueprint,
    recipe: str | Recipe | None,
    plan: Plan,
    weights: str | None = None,
    config: Path | None = None,
    fields: dict[str, Any] | None = None,
) -> Choice:
    """Puts together what is asked: defaults, then the recipe, then the file, then the fields given one by one."""
    settings = read_config(config) if config else {}
    blueprint = network_named(model).blueprint if isinstance(model, str) else model
    weights = default_weights(recipe) if weights is None else weights
    if recipe is None:
        recipe = recipe_for(weights, model, {**settings, **(fields or {})})
    asked = Asked(
        data=source_named(data),
        model=blueprint,
        model_name=model if isinstance(model, str) else "",
        recipe=recipe_named(recipe) if isinstance(recipe, str) else recipe,
        recipe_name=recipe if isinstance(recipe, str) else "",
        plan=plan,
        weights=weights,
    )
    choice = Choice(asked)
    for path, value in settings.items():
        choice.set(path, value, str(config))
    for path, value in (fields or {}).items():
        choice.set(path, value, "command line")
    return choice
