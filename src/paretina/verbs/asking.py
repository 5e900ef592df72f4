"""Builds the request for a training run (`Asked`) from arguments, fields and files."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from paretina.data.named import data_in_words, source_named
from paretina.data.source import Source
from paretina.data.sources.folder import Folder
from paretina.data.sources.masks import Masks
from paretina.data.sources.several import Several, spread
from paretina.measure.hierarchy import Hierarchy, read_hierarchy, without
from paretina.measure.judges.top_one import TopOne
from paretina.measure.plan import Plan, default_plan
from paretina.model.blueprint import Blueprint, Head, Model
from paretina.model.family import network_named
from paretina.model.heads.fcos import FcosHead
from paretina.model.heads.pyramid import PyramidHead
from paretina.model.interop import library_of, peer_named
from paretina.model.network_file import is_network_file, read_network
from paretina.model.pretrained import weights_named
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import from_file
from paretina.model.words import WORDS as WEIGHTS
from paretina.search.auto import Chosen, choose_auto
from paretina.spec import decode, field_map, near, put
from paretina.train.asked import (
    Choice,
    choose,
    default_weights,
    full_path,
    once,
    read_config,
    recipe_for,
    recipe_named,
    related,
    word,
)
from paretina.train.class_counts import IMBALANCES
from paretina.train.fields import AUTO, WORDS
from paretina.train.planning import with_safe_precision
from paretina.train.progressive import Progressive, progressive_named
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.verbs.checks import MisuseError, misuse
from paretina.verbs.revising import revised


class Given(NamedTuple):
    """A value and its origin: a file, the command line, or a default."""

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
        MisuseError: there is no such field; see `paretina.train.asked.full_path`.
    """
    with misuse():
        return full_path(path)


def check_names(fields: Mapping[str, Any]) -> None:
    """Checks that each name is that of a field, and that no field is given by two names.

    Raises:
        MisuseError: it is not; the message has the near name, or both names.
    """
    for path in fields:
        known_path(path)
    with misuse():
        once(fields.items())


def separated(fields: Mapping[str, Any], origin: str) -> tuple[dict[str, Given], dict[str, Any]]:
    """Splits fields into words and the rest; nothing may be given twice."""
    words: dict[str, Given] = {}
    rest: dict[str, Any] = {}
    names: dict[str, str] = {}
    for path, value in fields.items():
        named = word_of(path, value)
        if named is None:
            known_path(path)
            rest[path] = value
        elif named in words:
            raise twice(named, word(names[named], words[named].value), word(path, value))
        else:
            words[named], names[named] = Given(value, origin), path
    with misuse():
        once(rest.items())
    check_parts({names[name]: given.value for name, given in words.items()}, rest)
    return words, rest


def twice(what: str, first: str, second: str) -> MisuseError:
    return MisuseError(f"{what} is given twice, as {first} and as {second}; leave one out")


IN_PARTS = {
    "data": ("data", "data.path"),
    "device": ("plan.device", "plan"),
    "models": ("model",),
    "recipes": ("recipe",),
    "sizes": ("recipe.size", "model.resolution"),
    "resolution": ("model.resolution",),
    "trainable-stages": ("recipe.learning.trainable_stages",),
}
"""The fields that mean the same as a word or an option, where the name differs or there are several."""


def check_parts(words: Mapping[str, Any], rest: Mapping[str, Any]) -> None:
    """Checks that what a word stands for is not given as a field too, whole or in part.

    Args:
        words: by how they are written: "--model", "model", "DATA"; options that are not given are None.
        rest: the other fields of the same origin.

    Raises:
        MisuseError: it is.
    """
    places = {full_path(path): path for path in rest}
    for name, value in words.items():
        part = {"DATA": "data", "plan.device": "device"}.get(name, name.removeprefix("--"))
        for place in IN_PARTS.get(part, (part,)):
            if place in places and isinstance(value, str | int):
                path = places[place]
                given = str(value) if name == "DATA" else f"{name} {value}" if name.startswith("--") else f"{name}={value}"
                raise twice(part, given, word(path, rest[path]))


def ask(
    data: str | Source | None = None,
    model: str | Model | None = None,
    recipe: str | Recipe | None = None,
    weights: str | None = None,
    device: str | None = None,
    config: Path | str | None = None,
    fields: Mapping[str, Any] | None = None,
    progressive: str | Progressive | None = None,
    time_limit: float | None = None,
    imbalance: str | None = None,
    ignore: Sequence[str] = (),
    relabel: Path | str | None = None,
    relabel_val: bool = False,
    hierarchy: Path | str | None = None,
    task: str | None = None,
) -> Choice:
    """Builds the request for a training run, without starting it.

    Each source overrides the one before: the defaults, the recipe, the file, the arguments here.

    Args:
        model: name of a network, a file with one (`paretina.model.network_file`), or "auto": network, image size, recipe and
            length are chosen for the pictures, this machine and the time limit, see `paretina.search.auto`. Default: auto, but
            the network of the weights where these are named, and efficientnet_b0 where fields change the network.
        recipe: default: chosen with the network; for a named network `finetune` if pretrained weights are found, else
            `scratch`.
        weights: "auto" (what is on this machine), "hub" (timm or torchvision may download them), "none", "timm:NAME",
            "torchvision:NAME", a model file or the directory of a finished run; default: auto, but none for the recipe
            `scratch`.
        device: auto, cpu, cuda, cuda:1 or mps; default: auto.
        config: a YAML or JSON file with the same names, nested or with dots.
        fields: any field of the recipe, plan or network by name.
        time_limit: seconds of the whole run that "auto" reckons with; default: 10 minutes unless epochs are given.
        progressive: first and last image size, "96:160"; size and regularisation rise together, up to the recipe's values; see
            `paretina.train.progressive`.
        imbalance: how rare classes are treated: "sampling", "weights", "effective" or "logits"; see
            `paretina.train.class_counts`.
        ignore: classes whose pictures, pixels or objects are left out.
        relabel: a file of corrected labels, as `data_labels` writes it.
        relabel_val: whether it corrects the labels of validation and test pictures too.
        hierarchy: a file with groups of classes; see `paretina.measure.hierarchy.read_hierarchy`.
        task: what is learned from a folder: "classify", a class for each picture by the folder that it lies in, "segment", a
            class for each pixel by the masks of the pictures, or "detect", objects by their boxes. Default: what the folder
            looks like. Where pixels have classes, a head for pictures gives way to `PyramidHead`, and the recipe is `segment`,
            unless they are given; where objects have boxes, `FcosHead` and `detect`.

    Raises:
        MisuseError: a name is unknown, or a value does not fit; the message has the near name.
    """
    here = "command line"
    options = {"data": data, "model": model, "recipe": recipe, "weights": weights, "device": device}
    chosen = {name: Given(value, here) for name, value in options.items() if value is not None}
    words, changes = separated(fields or {}, here)
    for name in sorted(set(words) & set(chosen)):
        raise twice(name, repr(chosen[name].value), repr(words[name].value))
    check_parts({"DATA" if name == "data" else f"--{name}": given.value for name, given in chosen.items()}, changes)
    settings: dict[str, Any] = {}
    if config is not None:
        with misuse():
            read = read_config(Path(config))
        with misuse(str(config)):
            in_file, settings = separated(read, str(config))
        words = in_file | words
    unsaid = {"model": AUTO, "recipe": AUTO, "weights": None, "device": "auto"}
    said = {name: Given(value, "default") for name, value in unsaid.items()} | words | chosen
    for fields_of, origin in ((changes, here), (settings, str(config))):
        if "data" in fields_of:
            if said.get("data", Given(None, "")).origin == origin:
                raise MisuseError(f"data is given twice, as {said['data'].value!r} and as {fields_of['data']!r}; leave one out")
            with misuse("" if origin == here else origin):
                source = source_spelled(fields_of.pop("data"))
            said.setdefault("data", Given(source, origin))
    if "data" not in said:
        raise MisuseError(f"name the data: {data_in_words()}")
    title = ""
    if is_network_file(said["model"].value):
        with misuse(said["model"].origin if said["model"].origin != here else ""):
            file = read_network(said["model"].value)
        title = re.sub(r"[^\w.-]+", "-", file.name)
        said["model"] = Given(file.blueprint, said["model"].origin)
    for name, named in (("data", source_named), ("model", network_named), ("recipe", recipe_named), ("device", default_plan)):
        if isinstance(said[name].value, str) and (name == "device" or said[name].value != AUTO):
            with misuse(said[name].origin if said[name].origin != here else ""):
                named(said[name].value)
    if task is not None:
        said["data"] = Given(source_for(said["data"].value, task), said["data"].origin)
    with misuse():
        named_source = source_named(said["data"].value)
        with suppress(ValueError):  # which is said where the field is set
            named_source = as_described(named_source, {**settings, **changes})
        dense, boxed = named_source.dense(), named_source.boxed()
    if dense or boxed:
        pictures_alone({"--relabel": relabel, "--relabel-val": relabel_val or None, "--hierarchy": hierarchy}, imbalance)
    if boxed and imbalance is not None:
        raise MisuseError("--imbalance is not for objects with boxes; leave it out")
    if ignore or relabel is not None or relabel_val:
        with misuse():
            source = source_named(said["data"].value)
        said["data"] = Given(revised(source, ignore, relabel, relabel_val), said["data"].origin)
    with misuse(said["weights"].origin if said["weights"].origin != here else ""):
        recipe_value = None if said["recipe"].value == AUTO else said["recipe"].value
        wanted = default_weights(recipe_value) if said["weights"].value is None else str(said["weights"].value)
        found = weights_named(wanted)
    plan = default_plan(said["device"].value)
    by_hand = {**settings, **changes, **({"recipe.size": progressive} if progressive is not None else {})}
    network, auto = said["model"].value, None
    if network == AUTO:
        with misuse():
            network = network_of(found, by_hand, "efficientnet_lite0" if dense or boxed else "efficientnet_b0")
    if network is None:
        with misuse():
            described = as_described(source_named(said["data"].value), by_hand)
        auto = chosen_by_first(described, plan, found, recipe_value, by_hand, time_limit)
        network, recipe_value = auto.model, recipe_value or auto.recipe
    with misuse():
        taken = recipe_value or recipe_for(found, network, {**settings, **changes})
        usual = DETECT if boxed else SEGMENT if dense else taken
        choice = choose(said["data"].value, network, usual if recipe_value is None else taken, plan, found)
    choice.title = title
    choice.origins.update(origins(choice, said))
    if auto is not None:
        choice.set_all(auto.fields, AUTO)
        choice.origins["model_name"] = AUTO
        if said["recipe"].value == AUTO:
            choice.origins["recipe_name"] = AUTO
        choice.said, choice.seconds, choice.pilot = auto.said, auto.seconds, auto.pilot
    if (dense or boxed) and auto is None:
        with_head_for(choice, boxed, {**settings, **changes})
    with misuse(str(config)):
        choice.set_all(settings, str(config))
    late = {name: value for name, value in changes.items() if imbalance is not None and of_imbalance(name)}
    with misuse():
        choice.set_all({name: value for name, value in changes.items() if name not in late}, here)
    if progressive is not None:
        with misuse("--progressive"):
            rise = progressive_named(progressive) if isinstance(progressive, str) else progressive
            size = next((path for path in changes if full_path(path).startswith("recipe.size")), None)
            if size is not None:
                raise ValueError(f"the size is given twice, as {word(size, changes[size])} too; leave one out")
            if "recipe.size" in choice.origins:
                raise ValueError("the size is given twice, as a field too; leave one out")
            spelled = {full_path(path): value for path, value in {**settings, **changes}.items()}
            if any(path.startswith("recipe.optimizer.lr") and not is_number(value) for path, value in spelled.items()):
                rise = replace(rise, lr="kept")  # a schedule that is given is that of the run
            choice.asked = replace(choice.asked, recipe=rise(choice.asked.recipe))
            choice.origins["recipe.size"] = here
    if imbalance is not None:
        with_imbalance(choice, imbalance, {**settings, **changes})
        with misuse():
            choice.set_all(late, here)
    if hierarchy is not None:
        with_hierarchy(choice, Path(hierarchy), ignore)
    choice.asked = with_safe_precision(choice)
    return choice


def as_described(source: Source, fields: Mapping[str, Any]) -> Source:
    """The source with the fields that are given for it, as it will be opened.

    Raises:
        ValueError: it has no such field, or the value does not fit.
    """
    for path, value in spread(source, fields).items():
        if path.startswith("data."):
            source = put(source, path.removeprefix("data."), value)
    return source


SEGMENT = "segment"
"""The recipe where pixels have classes."""
DETECT = "detect"
"""The recipe where objects have boxes."""
TASKS = ("classify", "segment", "detect")


def source_for(data: str | Source, task: str) -> Source:
    """The source of a folder for what is to be learned from it.

    Raises:
        MisuseError: there is no such task, or the data is not for it.
    """
    if task not in TASKS:
        raise MisuseError(f"there is no task {task!r}{near(task, TASKS)}")
    with misuse():
        found = source_named(data)
    asked = found.asked_for(task) or (folders_for(found, task) if isinstance(data, str) else None)
    if asked is not None:
        return asked
    words = "boxes" if found.boxed() else "a class for each pixel" if found.dense() else "a class for each picture"
    if task == "detect":
        raise MisuseError(
            f"--task detect is for pictures with boxes, and {data} has {words}; boxes come from annotations of COCO or Pascal "
            "VOC (docs/detection.md), or from the generated cells"
        )
    raise MisuseError(f"--task {task} is for folders, and {data} has {words}; leave it out")


def folders_for(source: Source, task: str) -> Source | None:
    """Folders read again for another task; None where that says nothing about the source."""
    if isinstance(source, Several):
        found = [each.source.asked_for(task) or folders_for(each.source, task) for each in source.sets]
        sets = [replace(each, source=own) for each, own in zip(source.sets, found, strict=True) if own is not None]
        return replace(source, sets=tuple(sets)) if len(sets) == len(found) else None
    if task == "detect" or not isinstance(source, Folder | Masks):
        return None
    return Masks(path=source.path) if task == "segment" else Folder(path=source.path)


def pictures_alone(options: Mapping[str, Any], imbalance: str | None) -> None:
    """Refuses what is for a class for each picture where each pixel, or each object, has one.

    Raises:
        MisuseError: it is given.
    """
    given = [name for name, value in options.items() if value is not None]
    if imbalance in ("sampling", "logits"):
        given.append(f"--imbalance {imbalance}")
    if given:
        instead = "; --imbalance weights and --imbalance effective count pixels" if given[0].startswith("--imbalance") else ""
        raise MisuseError(
            f"{given[0]} is for one class a picture, and here each pixel or object has one; leave it out{instead}"
        )


def with_head_for(choice: Choice, boxed: bool, given: Mapping[str, Any]) -> None:
    """Gives the network a head for pixels, or for boxes, unless it has one or a head is given."""
    model = choice.asked.model
    if any(full_path(path) == "model.head" for path in given) or not isinstance(model, Blueprint):
        return
    if model.head.BOXES if boxed else model.head.DENSE:
        return
    head: Head = FcosHead() if boxed else PyramidHead()
    why = f"since each {'object has a box' if boxed else 'pixel has a class'}"
    choice.said = (*choice.said, f"the head is now {type(head).__name__}, {why}")
    choice.set_all(
        {"model.head": head}, f"the data, which has {'a box for each object' if boxed else 'a class for each pixel'}"
    )


def of_imbalance(name: str) -> bool:
    """Whether a field is one of a term of the loss that --imbalance puts into the recipe, so that it can be set only then."""
    path = full_path(name)
    return any(path.startswith(f"recipe.objective.terms.{term}.") for term in ("WeightedCrossEntropy", "AdjustedCrossEntropy"))


def with_imbalance(choice: Choice, way: str, given: Mapping[str, Any]) -> None:
    """Sets the fields of a way to treat rare classes.

    Args:
        given: the fields that are given by hand.

    Raises:
        MisuseError: there is no such way, the recipe has no place for it, or a field that it sets is given too.
    """
    if way not in IMBALANCES:
        raise MisuseError(f"there is no way to treat rare classes named {way!r}{near(way, IMBALANCES)}")
    with misuse(f"--imbalance {way}"):
        own = IMBALANCES[way](choice.asked.recipe)
        for name in given:
            path = full_path(name)
            terms = path.startswith("recipe.objective.terms.") and path != "recipe.objective.terms.WeightedCrossEntropy.by"
            if any(related(path, full_path(field)) for field in own) and not terms:
                raise ValueError(f"it sets {', '.join(own)}, and {word(name, given[name])} is given too; leave one out")
        choice.set_all(own, f"--imbalance {way}")


def with_hierarchy(choice: Choice, path: Path, ignore: Sequence[str]) -> None:
    """Has a run judged by groups of classes.

    Raises:
        MisuseError: the file is not what it should be, or the run is judged by something else.
    """
    judge = choice.asked.recipe.test.judge
    if judge is not None and not isinstance(judge, TopOne):
        raise MisuseError(f"--hierarchy is for the judge TopOne, and judge={type(judge).__name__} is given; leave one out")
    with misuse():
        pairs = without(read_hierarchy(path), ignore)
    with misuse(str(path)):
        collection = choice.asked.data.open()
        if collection.task != OneOf():
            raise ValueError(f"groups of classes are for one class a picture; the task of this data is {collection.task.WORDS}")
        Hierarchy.of(pairs, collection.classes)
    test = replace(choice.asked.recipe.test, judge=TopOne(hierarchy=pairs))
    choice.asked = replace(choice.asked, recipe=replace(choice.asked.recipe, test=test))
    choice.origins["recipe.test.judge"] = str(path)


def is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def chosen_by_first(
    data: Source, plan: Plan, weights: str, recipe: str | None, given: Mapping[str, Any], seconds: float | None
) -> Chosen:
    """What the first process chooses; all others take it, since each would measure another pace.

    Raises:
        ValueError: as `choose_auto`.
    """
    ranks = Ranks.start(plan.device)
    found: Chosen | ValueError | None = None
    if ranks.first:
        try:
            found = choose_auto(data, plan, weights, recipe, given, seconds)
        except ValueError as error:  # the others must not wait for an answer
            found = error
    found = ranks.from_first(found)
    if isinstance(found, ValueError):
        raise found
    return cast(Chosen, found)


def network_of(weights: str, fields: Mapping[str, Any], usual: str = "efficientnet_b0") -> str | Model | None:
    """The network of a run that names none; None where it is chosen automatically.

    Args:
        weights: as a run keeps them.
        fields: that are given.
        usual: the name of the network that is changed where fields change one.
    """
    paths = [full_path(name) for name in fields]
    if any(path.partition(".")[0] in ("model", "edits", "assembly") and path != "model.resolution" for path in paths):
        return usual
    if weights in WEIGHTS:
        return None
    return peer_named(weights)[0].name if library_of(weights) else from_file(Path(weights)).model


def source_spelled(value: Any) -> Source:
    """A source that is given with all its fields, as JSON text or decoded.

    Raises:
        ValueError: it is not a source.
    """
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        raise ValueError(f"data: not JSON: {error}") from None
    try:
        return decode(Source, found)  # type: ignore[type-abstract]
    except ValueError as error:
        raise ValueError(f"data: {error}") from None


def origins(choice: Choice, said: Mapping[str, Given]) -> dict[str, str]:
    """The origin of each word, by the paths that hold it."""
    data = type(choice.asked.data)
    named = isinstance(said["data"].value, str)
    own = ("sets", "judged") if data is Several else ("path",)  # what the word says
    rest = {f"data.{name}": "default" for name in field_map(data) if named and name not in own}
    return {
        "data": said["data"].origin,
        **rest,
        "model_name": said["model"].origin,
        "recipe_name": said["recipe"].origin,
        "weights": said["weights"].origin,
        "plan.device": said["device"].origin,
    }
