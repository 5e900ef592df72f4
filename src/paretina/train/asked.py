"""The full request for a training run as one value (`Asked`), and how command-line names map to its fields."""

import functools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from paretina.clock import Clock
from paretina.data.named import source_named
from paretina.data.source import Source
from paretina.data.sources.clipart import Clipart
from paretina.data.sources.several import spread
from paretina.measure.plan import Plan
from paretina.model.blueprint import Assembly, Blueprint, Edit, Model
from paretina.model.family import Published, network_named
from paretina.model.network_file import is_network_file, read_network
from paretina.model.pretrained import find_weights, weights_named, will_start
from paretina.model.weights import Start
from paretina.schedules import Schedule
from paretina.spec import Spec, by_own_name, encode, field_map, get, is_kind, modules_in, near, put, unaliased
from paretina.train.fields import LR, keep_terms, kinds_first, path_from
from paretina.train.fields import UniqueKeys as UniqueKeys
from paretina.train.fields import assignment as assignment
from paretina.train.fields import flattened as flattened
from paretina.train.fields import read_config as read_config
from paretina.train.other_names import other_names
from paretina.train.recipe import Recipe
from paretina.traits import INSIDE, Never, SetTo, traits

MOMENTS = 1000
"""Number of points of a run at which its size schedule is sampled before it begins."""

BASE = Never("it is the same for all runs of an ablation")

Found = TypeVar("Found")


def kept(method: Callable[["Asked"], Found]) -> Callable[["Asked"], Found]:
    """Caches the result of a method on the instance, which is immutable."""
    name = f"_{method.__name__}"

    @functools.wraps(method)
    def found(self: "Asked") -> Found:
        if name not in self.__dict__:
            self.__dict__[name] = method(self)
        return self.__dict__[name]  # type: ignore[no-any-return]

    return found


@dataclass(frozen=True, kw_only=True)
class Asked(Spec):
    """
    Attributes:
        data: source of the pictures.
        model: the network before edits, and before the classes of the data and the test size are set.
        model_name: its name in our tables, or "".
        edits: edits of the network, applied in this order.
        assembly: how several networks are made of the edited one; None for a single network.
        recipe: the training recipe.
        recipe_name: its name, or "".
        plan: device, precision and other settings of execution.
        weights: "auto", "hub", "none", a library's name of weights, or a model file; see `paretina.model.pretrained`. Default:
            "none", as in runs of releases before this field.
        verb: the command that made the request.
    """

    data: Source = field(metadata=traits(left_out=BASE, elsewhere=()))
    model: Model = field(metadata=traits(left_out=BASE, elsewhere=()))
    model_name: str = field(default="", metadata=traits(left_out=BASE, elsewhere=()))
    edits: tuple[Edit, ...] = field(default=(), metadata=traits(left_out=INSIDE, elsewhere=()))
    assembly: Assembly | None = field(default=None, metadata=traits(left_out=SetTo("assembly", "none"), elsewhere=()))
    recipe: Recipe = field(metadata=traits(left_out=INSIDE, elsewhere=()))
    recipe_name: str = field(default="", metadata=traits(left_out=BASE, elsewhere=()))
    plan: Plan = field(metadata=traits(left_out=Never("it changes how fast a run is, not what it learns"), elsewhere=()))
    weights: str = field(default="none", metadata=traits(left_out=BASE, elsewhere={"pretrained": "auto"}))
    verb: Literal["train", "finetune"] = field(default="train", metadata=traits(left_out=BASE, elsewhere=()))

    @property
    def published(self) -> Published | None:
        """The named network, before edits, if it has a name."""
        return network_named(self.model_name) if self.model_name else None

    def start(self) -> tuple[Start | None, str]:
        """The initial weights, and a sentence that says which, or why none; see `find_weights`.

        Raises:
            ValueError: the requested weights cannot be found or read, or an edit does not fit.
        """
        return find_weights(self.weights, self.published, self.assembled())

    @kept
    def starts(self) -> bool:
        """Whether there are pretrained weights to start from.

        Raises:
            ValueError: the named weights cannot be read, or an edit does not fit.
        """
        return will_start(self.weights, self.published, self.assembled())

    @kept
    def sizes(self) -> Schedule:
        """The schedule of the training size, in pixels."""
        return self.recipe.sizes(self.assembled().resolution)

    @kept
    def training_sides(self) -> frozenset[int]:
        """Every training size of the run, in pixels."""
        size = self.sizes()
        return frozenset(round(size(Clock(moment, MOMENTS, self.recipe.epochs))) for moment in range(MOMENTS + 1))

    @kept
    def sides(self) -> frozenset[int]:
        """Every image size of the run, in pixels: those of training, and that of the test."""
        return self.training_sides() | {self.final_size()}

    @kept
    def final_size(self) -> int:
        """Image size in pixels at which the network is tested and saved."""
        return self.recipe.final_size(self.assembled().resolution)

    @kept
    def assembled(self) -> Model:
        """The network after the edits, or the combined network that the assembly makes of it.

        Raises:
            ValueError: an edit or the assembly does not fit.
        """
        blueprint = self.model
        if not isinstance(blueprint, Blueprint):
            made = [*(type(edit).__name__ for edit in self.edits), *([type(self.assembly).__name__] if self.assembly else [])]
            if made:
                raise ValueError(
                    f"{made[0]} changes the table of a single network; the model is {type(blueprint).__name__} already"
                )
            return blueprint
        for edit in self.edits:
            blueprint = edit(blueprint)
        return blueprint if self.assembly is None else self.assembly(blueprint)


def recipes() -> dict[str, tuple[Recipe, str]]:
    """The recipes by name, with the docstrings of their modules; a module has `RECIPE`, or several in `RECIPES`."""
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


def elsewhere() -> Mapping[str, str]:
    """What other tools call something, with what to write here; see `paretina.train.other_names`."""
    return other_names(Asked)


def full_path(path: str) -> str:
    """The full path that a name stands for: `epochs` is `recipe.epochs`, `precision` is `plan.precision`.

    Every way to give a field looks it up here, so that all say the same of one that is not there.

    Raises:
        ValueError: no part has a field of that name; the message has the near name, or what is written here instead of
            another tool's name.
    """
    return path_from(path, Asked, {"recipe": Recipe, "plan": Plan, "model": Blueprint}, elsewhere)


def change(asked: Asked, path: str, value: Any) -> Asked:
    """A copy with another value at a path, as in `spec.put`; but a number for the learning rate sets the peak of its schedule.

    Another schedule has to be spelled out: `lr='{"kind": "Constant", "value": 0.001}'`.

    Raises:
        ValueError: there is no such field, or the value does not fit; the message calls the field as it was called.
    """
    whole = full_path(path)
    number = number_in(value) if whole == LR else None
    try:
        if number is None:
            return with_terms(asked, put(asked, whole, value), whole, value)
        return replace(asked, recipe=replace(asked.recipe, optimizer=asked.recipe.optimizer.with_peak(number)))
    except ValueError as error:
        raise ValueError(by_own_name(str(error), path)) from None


def with_terms(before: Asked, after: Asked, path: str, value: Any) -> Asked:
    """The request after a field was set; where the field names another objective, the terms of the loss stay."""
    if path != "recipe.objective":
        return after
    return replace(after, recipe=keep_terms(before.recipe, after.recipe, value))


def once(fields: Iterable[tuple[str, Any]]) -> None:
    """Checks that no field is given twice, by one name or by two.

    Raises:
        ValueError: one is; the message has both.
    """
    seen: dict[str, str] = {}
    for name, value in fields:
        place, said = full_path(name), word(name, value)
        if place in seen:
            raise ValueError(f"{name} is given twice, as {seen[place]} and as {said}; leave one out")
        seen[place] = said


def word(name: str, value: Any) -> str:
    """A field and its value as written on a command line."""
    if isinstance(value, Spec):
        value = encode(value)
    return f"{name}={value if isinstance(value, str) else json.dumps(value, default=str)}"


def check_held(asked: Asked, fields: Mapping[str, Any]) -> None:
    """Checks that each of the fields that were set still has its value after all were set.

    `optimizer=SGD` and `average=on` only choose a kind, so fields in it may follow them.

    Raises:
        ValueError: one overwrote another, so that their order decides; the message has both.
    """
    for name, value in fields.items():
        if holds(asked, name, value):
            continue
        others = [other for other in fields if other != name]
        near_by = [other for other in others if related(full_path(name), full_path(other))]
        other = next((each for each in reversed(near_by or others)), name)
        raise ValueError(
            f"{word(name, value)} and {word(other, fields[other])} set the same field, of which only the second would "
            "apply; leave one out, or give the whole before its fields"
        )
    given = {full_path(name): name for name in fields}
    both = {"recipe.size", "recipe.pixel_share"} <= given.keys()
    if both and asked.recipe.size is not None and asked.recipe.pixel_share < 1:
        size, pixels = given["recipe.size"], given["recipe.pixel_share"]
        raise ValueError(
            f"{word(size, fields[size])} and {word(pixels, fields[pixels])} both set the training size; leave one out"
        )


def related(one: str, other: str) -> bool:
    """Whether one path contains the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def holds(asked: Asked, name: str, value: Any) -> bool:
    """Whether setting a field again would change nothing but fields inside it that were set."""
    path = full_path(name)
    head, every, rest = path.partition(".*")
    if every:
        return all(holds(asked, f"{head}.{number}{rest}", value) for number in range(len(get(asked, head))))
    text = value.strip() if isinstance(value, str) else ""
    try:
        again = change(asked, name, value)
    except ValueError:
        return text == "off"  # a member that was removed from its tuple cannot be removed again
    if again == asked or (path == LR and get(again, LR) == get(asked, LR)):
        return True
    try:
        found, wanted = get(asked, path), get(again, path)
    except ValueError:
        return False
    if text.isidentifier() or text == "on":
        return isinstance(found, Spec) and type(found) is type(wanted)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return False
    return isinstance(value, Mapping) and says(value, wanted, found)


def says(given: Mapping[str, Any], wanted: Any, found: Any) -> bool:
    """Whether a value agrees with another one in all fields that were written; the others may differ."""
    if not isinstance(wanted, Spec) or type(found) is not type(wanted):
        return False
    for name, value in unaliased(type(wanted), dict(given)).items():
        ours, theirs = getattr(found, name, None), getattr(wanted, name, None)
        if (
            name not in ("kind", "version")
            and ours != theirs
            and not (isinstance(value, Mapping) and says(value, theirs, ours))
        ):
            return False
    return True


def number_in(value: Any) -> float | None:
    """The value as a number, also from text; None if it is not one."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def spelled_out(spec: Spec, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar of a spec with its path, for display."""
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
    """A request while it is built: each later value wins, and the origin of each is recorded.

    Attributes:
        origins: by path, the origin of the last value.
        peak: the learning rate that was given as a number, with its origin; None if none was.
        said: what was chosen automatically and why, one sentence each.
        seconds: time limit that was chosen with it; None if none was.
        pilot: whether a pilot is to decide how the last stages are fine-tuned; see `paretina.train.pilot`.
        title: of the network, where it is from a file; "" for one of our tables.
    """

    asked: Asked
    origins: dict[str, str] = field(default_factory=dict)
    peak: tuple[Any, str] | None = None
    said: tuple[str, ...] = ()
    seconds: float | None = None
    pilot: bool = False
    title: str = ""

    def set(self, path: str, value: Any, origin: str) -> None:
        whole = full_path(path)
        scaled = f"{LR.rpartition('.')[0]}.scale_lr"
        if whole == LR and number_in(value) is not None:
            kept = self.asked.recipe.optimizer.scale_lr if scaled in self.origins else False
            self.asked = put(change(self.asked, path, value), scaled, kept)
            self.origins.setdefault(scaled, origin)
            self.peak = (value, origin)
        else:
            self.asked = change(self.asked, path, value)
        for old in [old for old in self.origins if old == whole or old.startswith(f"{whole}.")]:
            del self.origins[old]
        self.origins[whole] = origin
        if whole == "recipe.optimizer" and self.peak is not None and isinstance(value, str) and value.strip().isidentifier():
            self.set(LR, *self.peak)  # the given peak also applies to an optimizer chosen by name

    def set_all(self, fields: Mapping[str, Any], origin: str) -> None:
        """Sets fields of one origin in their order, kinds before their fields; each later origin overrides the one before.

        Raises:
            ValueError: one of them is given twice, or one overwrites another; the message has both.
        """
        once(fields.items())
        fields = kinds_first(spread(self.asked.data, fields), full_path)
        for path, value in fields.items():
            self.set(path, value, origin)
        check_held(self.asked, fields)

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
    """The default of `weights`: those on this machine, or none for the recipe `scratch`."""
    return "none" if recipe == "scratch" else "auto"


def recipe_for(weights: str, model: str | Model, fields: Mapping[str, Any]) -> str:
    """The default recipe: `finetune` if there are weights to start from, else `scratch`.

    Args:
        fields: the given fields; edits among them may make a network that the weights do not fit.

    Raises:
        ValueError: the named weights cannot be read.
    """
    if is_network_file(model):
        model = read_network(str(model)).blueprint
    network = network_named(model) if isinstance(model, str) else None
    built: Model | None = network.blueprint if network else None
    if network is not None:
        try:
            asked = Asked(data=Clipart(), model=network.blueprint, recipe=Recipe(), plan=Plan())
            for path, value in fields.items():
                if (whole := full_path(path)).partition(".")[0] in ("model", "edits", "assembly"):
                    asked = put(asked, whole, value)
            built = asked.assembled()
        except ValueError:
            built = None  # reported when the fields are set or the network is built
    return "finetune" if will_start(weights, network, built) else "scratch"


def choose(
    data: str | Source,
    model: str | Model,
    recipe: str | Recipe | None,
    plan: Plan,
    weights: str | None = None,
    config: Path | None = None,
    fields: dict[str, Any] | None = None,
) -> Choice:
    """Builds the request from the defaults, then the recipe, then the file, then the given fields."""
    settings = read_config(config) if config else {}
    if is_network_file(model):
        model = read_network(str(model)).blueprint
    blueprint = network_named(model).blueprint if isinstance(model, str) else model
    weights = default_weights(recipe) if weights is None else weights_named(weights)
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
    choice.set_all(settings, str(config))
    choice.set_all(fields or {}, "command line")
    return choice
