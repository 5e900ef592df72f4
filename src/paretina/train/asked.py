"""Asked: all that was asked of a training run, as one value, and how names on a command line reach into it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from paretina.data.source import Source
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.clipart import Clipart
from paretina.data.sources.folder import Folder
from paretina.data.sources.shapes import Shapes
from paretina.measure.plan import Plan
from paretina.model.blueprint import Blueprint, Edit
from paretina.model.family import network_named
from paretina.model.weights import find_weights
from paretina.spec import Spec, field_map, is_kind, modules_in, near, put
from paretina.train.fields import UniqueKeys as UniqueKeys
from paretina.train.fields import assignment as assignment
from paretina.train.fields import flattened as flattened
from paretina.train.fields import read_config as read_config
from paretina.train.recipe import Recipe

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
        weights: "auto", "none", or a model file to start from.
        verb: which command asked.
    """

    data: Source
    model: Blueprint
    model_name: str = ""
    edits: tuple[Edit, ...] = ()
    recipe: Recipe
    recipe_name: str = ""
    plan: Plan
    weights: str = "none"
    verb: Literal["train", "finetune"] = "train"

    def starts(self) -> bool:
        """Whether there are weights to start from.

        Raises:
            ValueError: they are named and cannot be read.
        """
        return find_weights(self.weights, network_named(self.model_name) if self.model_name else None)[0] is not None

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
    """The same with another value at a path, as in `spec.put`."""
    return put(asked, full_path(path), value)


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
    """

    asked: Asked
    origins: dict[str, str] = field(default_factory=dict)

    def set(self, path: str, value: Any, origin: str) -> None:
        whole = full_path(path)
        self.asked = put(self.asked, whole, value)
        for old in [old for old in self.origins if old == whole or old.startswith(f"{whole}.")]:
            del self.origins[old]
        self.origins[whole] = origin

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


def choose(
    data: str | Source,
    model: str | Blueprint,
    recipe: str | Recipe | None,
    plan: Plan,
    weights: str,
    config: Path | None = None,
    fields: dict[str, Any] | None = None,
) -> Choice:
    """Puts together what is asked: defaults, then the recipe, then the file, then the fields given one by one."""
    settings = read_config(config) if config else {}
    blueprint = network_named(model).blueprint if isinstance(model, str) else model
    if recipe is None:
        found = find_weights(weights, network_named(model) if isinstance(model, str) else None)[0]
        recipe = "scratch" if found is None else "finetune"
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
