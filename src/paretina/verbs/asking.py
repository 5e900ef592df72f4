"""Ask: puts together what is asked of a training run, from words, fields and files."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from paretina.data.source import Source
from paretina.measure.plan import default_plan
from paretina.model.blueprint import Blueprint
from paretina.model.family import network_named
from paretina.model.interop import library_of
from paretina.model.pretrained import WORDS as WEIGHTS
from paretina.model.pretrained import look_up
from paretina.spec import field_map
from paretina.train.asked import (
    Asked,
    Choice,
    assignment,
    choose,
    default_weights,
    full_path,
    read_config,
    recipe_for,
    recipe_named,
    source_named,
)
from paretina.train.fields import LR
from paretina.train.planning import with_safe_precision
from paretina.train.progressive import Progressive, progressive_named
from paretina.train.recipe import Recipe
from paretina.traits import words
from paretina.verbs.checks import MisuseError, misuse, model_file

OPTIONS = {
    "name": "--output DIR",
    "output": "--output DIR",
    "resume": "--resume RUN",
    "time_limit": "--time-limit TIME",
}
"""What is an option of the command and no field, as other tools call it and as it would stand in a file."""

WORDS = ("data", "model", "recipe", "weights", "device")
"""What stands for a whole part; may be an option, a field or a name in a file."""


@functools.cache
def elsewhere() -> Mapping[str, str]:
    """What other tools call something, with what to write here; imports all plug-ins, since each says it of itself."""
    found = dict(OPTIONS)
    for word, text in words(Asked):
        found.setdefault(word, " ".join(map(as_written, text.split(" "))))
    return dict(sorted(found.items()))


def as_written(text: str) -> str:
    """An assignment as people write it: without the part that a field is in, and as an option where there is one."""
    path, value = assignment(text)
    if path in WORDS:
        return f"--{path} {value}"
    if path == LR:
        return f"lr={value}"
    part, _, rest = path.partition(".")
    return f"{rest if part in ('recipe', 'plan', 'model') else path}={value}"


class Given(NamedTuple):
    """A value and who gave it: a file, the command line, or nobody."""

    value: Any
    origin: str


def word_of(path: str, value: Any) -> str | None:
    """The word that a field stands for: `device=cpu` is `--device cpu`, but `model={...}` is a blueprint."""
    name = "device" if path == "plan.device" else path
    if name in WORDS and value is None:
        raise MisuseError(f"{path} has no value")
    return name if name in WORDS and isinstance(value, str) and not value.lstrip().startswith("{") else None


def known_path(path: str) -> str:
    """The whole path of a field.

    Raises:
        MisuseError: there is no such field; the message has the near name, or what other tools' name for it is called here.
    """
    with misuse():
        try:
            return full_path(path)
        except ValueError:
            name = path.replace("-", "_")
            if name not in elsewhere():
                raise
            raise ValueError(f"there is no field {path!r}; write {elsewhere()[name]}") from None


def whole_paths(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by their whole paths.

    Raises:
        MisuseError: there is no such field, or two names stand for one.
    """
    found: dict[str, Any] = {}
    for path, value in fields.items():
        place = known_path(path)
        if place in found:
            raise MisuseError(f"{path} is given twice, as {found[place]} and as {value}; leave one out")
        found[place] = value
    return found


def separated(fields: Mapping[str, Any], origin: str) -> tuple[dict[str, Given], dict[str, Any]]:
    """The words among some fields, and the rest by whole paths; nothing may be given twice."""
    words: dict[str, Given] = {}
    rest: dict[str, Any] = {}
    for path, value in fields.items():
        word = word_of(path, value)
        place = word or known_path(path)
        if place in words or place in rest:
            raise MisuseError(f"{path} is given twice; leave one out")
        if word:
            words[word] = Given(value, origin)
        else:
            rest[place] = value
    return words, rest


def ask(
    data: str | Source | None = None,
    model: str | Blueprint | None = None,
    recipe: str | Recipe | None = None,
    weights: str | None = None,
    device: str | None = None,
    config: Path | str | None = None,
    fields: Mapping[str, Any] | None = None,
    progressive: str | Progressive | None = None,
) -> Choice:
    """Puts together what is asked of a training run, without starting it.

    Each source wins over the one before: the defaults, the recipe, the file, what is given here.

    Args:
        model: efficientnet_b0 unless told.
        recipe: `finetune` where weights to start from are found and `scratch` where not, unless told.
        weights: "auto" (what is on this machine), "hub" (timm or torchvision may download them), "none", "timm:NAME",
            "torchvision:NAME", a model file or the directory of a finished run; auto unless told, but none for the recipe
            `scratch`.
        device: auto, cpu, cuda, cuda:1 or mps; auto unless told.
        config: a YAML or JSON file with the same names, in sections or with dots.
        fields: any field of the recipe, plan or network by name.
        progressive: first and last image size, "96:160", between which size and regularisation rise together, up to what the
            recipe says; see `paretina.train.progressive`.

    Raises:
        MisuseError: something has no such name, or a value does not fit; the message has the near name.
    """
    here = "command line"
    options = {"data": data, "model": model, "recipe": recipe, "weights": weights, "device": device}
    chosen = {name: Given(value, here) for name, value in options.items() if value is not None}
    words, changes = separated(fields or {}, here)
    twice = sorted(set(words) & set(chosen))
    if twice:
        raise MisuseError(
            f"{twice[0]} is given twice, as {chosen[twice[0]].value!r} and as {words[twice[0]].value!r}; leave one out"
        )
    settings: dict[str, Any] = {}
    if config is not None:
        with misuse():
            read = read_config(Path(config))
        with misuse(str(config)):
            in_file, settings = separated(read, str(config))
        words = in_file | words
    unsaid = {"model": "efficientnet_b0", "recipe": None, "weights": None, "device": "auto"}
    said = {name: Given(value, "default") for name, value in unsaid.items()} | words | chosen
    if "data" not in said:
        raise MisuseError("name the data: a folder, an .npz file, clipart or shapes")
    for name, named in (("data", source_named), ("model", network_named), ("recipe", recipe_named), ("device", default_plan)):
        if isinstance(said[name].value, str):
            with misuse(said[name].origin if said[name].origin != here else ""):
                named(said[name].value)
    with misuse(said["weights"].origin if said["weights"].origin != here else ""):
        wanted = default_weights(said["recipe"].value) if said["weights"].value is None else str(said["weights"].value)
        look_up(wanted)
        source = wanted if wanted in WEIGHTS or library_of(wanted) else str(model_file(wanted))
        plan = default_plan(said["device"].value)
        taken = said["recipe"].value or recipe_for(source, said["model"].value, {**settings, **changes})
        choice = choose(said["data"].value, said["model"].value, taken, plan, source)
    choice.origins.update(origins(choice, said))
    for path, value in settings.items():
        with misuse(str(config)):
            choice.set(path, value, str(config))
    for path, value in changes.items():
        with misuse():
            choice.set(path, value, here)
    if progressive is not None:
        with misuse("--progressive"):
            rise = progressive_named(progressive) if isinstance(progressive, str) else progressive
            if "recipe.size" in choice.origins:
                raise ValueError("the size is given twice, as a field too; leave one out")
            choice.asked = replace(choice.asked, recipe=rise(choice.asked.recipe))
            choice.origins["recipe.size"] = here
    choice.asked = with_safe_precision(choice)
    return choice


def origins(choice: Choice, said: Mapping[str, Given]) -> dict[str, str]:
    """Who gave each word, by the paths that hold it."""
    data = type(choice.asked.data)
    named = isinstance(said["data"].value, str)
    rest = {f"data.{name}": "default" for name in field_map(data) if named and name != "path"}
    return {
        "data": said["data"].origin,
        **rest,
        "model_name": said["model"].origin,
        "recipe_name": said["recipe"].origin,
        "weights": said["weights"].origin,
        "plan.device": said["device"].origin,
    }
