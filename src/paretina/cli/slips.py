"""Checks of the arguments of each command that need no torch.

The checks take names, fields and types from `paretina.verbs.outline`. They reject only what the command itself would reject,
with the same message; anything else (what a model file holds, what fits together) is left to the command. Tests compare the
two.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, make_dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn, cast

from paretina.cli.frontier import NEW_ONLY, check_candidates, parts, side_of, usage
from paretina.cli.measure import check_once
from paretina.cli.planning import planning_named
from paretina.cli.program import duration, taken_apart
from paretina.cli.prune import share
from paretina.data.naming import pieces, source_of_path
from paretina.measure.sizes import resolutions_named
from paretina.model.words import WORDS, hint
from paretina.report.tracker import trackers_named
from paretina.run import OF_FOLDS, OF_PERIODS, OF_STAGES, Run, model_in
from paretina.search.frontier.costs import COSTS, budget_of
from paretina.search.frontier.runtimes import runtimes_of
from paretina.spec import Spec, by_own_name, field_map, near, put
from paretina.text import split_hint
from paretina.train.fields import AUTO, LR, keep_terms, kinds_first, path_from, read_config, rise_of
from paretina.train.routes import check_routes
from paretina.verbs.checks import MisuseError, check_csv, check_new, check_place, check_strangers, misuse, model_file
from paretina.verbs.listing import models
from paretina.verbs.outline import outlined, read, recipe_outlined

PLACES = {"recipe": "Recipe", "plan": "Plan", "model": "Blueprint"}
"""The parts whose fields may be given without a prefix, with their specs."""

HELD = ("edits", "assembly")
"""Parts that hold plug-ins, whose fields depend on the plug-in."""

USUAL = ("scratch", "finetune")
"""The default recipes; which one is used depends on the weights."""

DEVICES = ("cpu", "cuda", "mps")


def refuse(message: str) -> NoReturn:
    raise MisuseError(message)


def known(name: str) -> Any:
    """A part of the outline."""
    return (read() or {})[name]


# --- words --------------------------------------------------------------------------------------------------------------


def check_name(what: str, name: str | None, names: Iterable[str], listing: str = "") -> None:
    names = list(names)
    if name is not None and name not in names:
        refuse(f"there is no {what} named {name!r}{near(name, names, listing=listing)}")


def check_network(name: str | None) -> None:
    if name is not None and name.lower().endswith(".json"):
        if not Path(name).expanduser().is_file():
            refuse(f"there is no file {name} with a network")
        return
    check_name("network", name, known("networks"), "paretina models")


def check_recipe(name: str | None) -> None:
    check_name("recipe", name, known("recipes"))


def check_source(data: str | None) -> None:
    if "" in several(data):
        refuse(f"{data!r} has nothing before or after a comma; name each set of pictures, such as nuclei/,phase/")
    for each in several(data):
        check_source(each)
    if data is None or several(data) or data in known("sources") or is_data_file(data) or Path(data).expanduser().exists():
        return
    refuse(f"there is no folder {data!r}, and no built-in data of that name{split_hint(data) or near(data, known('sources'))}")


def several(data: str | None) -> list[str]:
    """The sources that a list with commas names; none if it is one."""
    return pieces(data or "", known("sources"), tuple(known("prefixes")))


def is_data_file(data: str) -> bool:
    """Whether a name is that of a file with data, by its suffix, or a word with the prefix of a source."""
    return data.lower().endswith(tuple(known("suffixes"))) or data.startswith(tuple(known("prefixes")))


def check_device(device: str | None) -> None:
    if device is not None and device != "auto" and device.partition(":")[0] not in DEVICES:
        refuse(f"there is no device {device!r} on this machine{near(device, DEVICES)}")


def check_weights(weights: str | None) -> None:
    """A name with a colon may be another library's network, which only the command can look up."""
    if weights is not None and weights not in WORDS and ":" not in weights:
        with misuse():
            model_in(Path(weights), hint(weights))


def is_data(word: str) -> bool:
    return "=" not in word or Path(word).exists()


# --- fields -------------------------------------------------------------------------------------------------------------


def full_path(path: str) -> str:
    """The path from the top that a name stands for.

    Raises:
        MisuseError: there is no such field.
    """
    specs = outlined()
    places = {place: specs[name] for place, name in PLACES.items()}
    with misuse():
        return path_from(path, specs["Asked"], places, lambda: known("elsewhere"))


def check_fields(
    fields: Mapping[str, Any], data: str | None = None, recipe: str | None = None, config: Path | None = None
) -> None:
    """Checks fields in the order in which they are set: that each exists, and that its value fits.

    Args:
        config: whose fields are set before.
    """
    settings: dict[str, Any] = {}
    if config is not None:
        with misuse():
            settings = read_config(config)
    given = [
        (name, value, origin)
        for all_of, origin in ((settings, str(config)), (fields, ""))
        for name, value in ordered(all_of, origin).items()
    ]
    words = {name: value for name, value, _ in given if name in known("words") or name == "plan.device"}
    places = []
    for name, value, origin in given:
        if name not in words:
            with misuse(origin):
                places.append((full_path(name), value, origin, name))
    if any(not isinstance(value, str) or value.lstrip().startswith("{") for value in words.values()):
        return  # a whole part is given, and later fields may lie in it
    named = recipe or words.get("recipe")
    named = None if named == AUTO else named
    if data is not None and (named is None or named in known("recipes")):
        check_values(places, data, named)


def ordered(fields: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Fields in the order in which they are set."""
    with misuse(origin):
        return kinds_first(fields, lambda name: name if name in known("words") else full_path(name))


@contextmanager
def called(name: str, origin: str) -> Iterator[None]:
    """Turns errors about a field into `MisuseError`, with the name under which it was given."""
    with misuse(origin):
        try:
            yield
        except ValueError as error:
            raise ValueError(by_own_name(str(error), name)) from None


def check_values(places: Sequence[tuple[str, Any, str, str]], data: str, recipe: str | None) -> None:
    """Sets each field in the outlined specs, which have only fields and types, and checks that its value fits.

    If no recipe is named, a value is rejected only if no recipe takes it and the default ones give the same error.
    """
    if any("." not in path and path != "assembly" for path, *_ in places):
        return  # a whole part is given, and later fields may lie in it
    specs = outlined()
    tried = {name: recipe_outlined(name) for name in ([recipe] if recipe else known("recipes"))}
    others = {"plan": specs["Plan"](), "data": source_of(data)}
    held = holder()
    for path, value, origin, name in places:
        head, _, rest = path.partition(".")
        if path == LR and is_number(value):
            continue  # the peak of the existing schedule, whose shape stays
        if head == "recipe":
            said: dict[str, str] = {}
            for each, spec in tried.items():
                try:
                    after = put(spec, rest, value)
                    tried[each] = keep_terms(spec, after, value) if rest == "objective" else after
                except ValueError as error:
                    said[each] = str(error)
            usual = {said.get(each) for each in ([recipe] if recipe else USUAL)}
            if len(said) == len(tried) and len(usual) == 1:
                with called(name, origin):
                    raise ValueError(usual.pop())
            if said:
                return
        elif head in HELD:
            with called(name, origin):
                held = put(held, path, value)
        elif others.get(head) is not None:
            with called(name, origin):
                others[head] = put(others[head], rest, value)
        elif head == "model":
            step = rest.partition(".")[0]
            names = field_map(specs["Blueprint"])
            if step not in names:
                with called(name, origin):
                    raise ValueError(f"Blueprint has no field {step!r}{near(step, names)}")


def is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and isfinite(float(value))
    except (TypeError, ValueError):
        return False


def source_of(data: str) -> Any:
    """The outlined source of that name; None if it depends on more than the name."""
    specs: dict[str, Any] = {**outlined()}
    if several(data):
        return None
    if data in known("sources") and not Path(data).exists():
        return specs[known("sources")[data]]()
    name = source_of_path(data, known("suffixes"), known("prefixes"), known("signs"), known("folder"))
    if name is None and Path(data).expanduser().is_file():
        return None
    return specs[name or known("folder")](path=data)


def holder() -> Any:
    """A spec that holds the edits and the assembly of a run."""
    edit, assembly = (cast(Any, outlined()[kind]) for kind in ("Edit", "Assembly"))
    fields = [("edits", tuple[edit, ...], field(default=())), ("assembly", assembly | None, field(default=None))]
    return make_dataclass("Asked", fields, bases=(Spec,), frozen=True, kw_only=True)()


# --- commands -----------------------------------------------------------------------------------------------------------


def check_output(output: Path | None, data: str | None) -> None:
    if data is not None:
        for each in several(data) or [data]:
            check_place(output, None if each in known("sources") or is_data_file(each) else each)


def check_trackers(given: Mapping[str, Any]) -> None:
    if given["log_to"] and not given["print_config"] and not given["dry_run"]:
        with misuse():
            trackers_named(given["log_to"])


def check_duration(given: Mapping[str, Any]) -> None:
    if given["time_limit"] is not None:
        duration(given["time_limit"])


def train(given: Mapping[str, Any]) -> None:
    source, fields = given["source"], given["fields"]
    if source is not None and not is_data(source):
        fields, source = (source, *fields), None
    check_duration(given)
    if given["resume"] is not None:
        also = {**given, "tuning": given["tuning"] != "none"}
        alone = not any(value for name, value in also.items() if name not in ("resume", "source", "log_to", "as_json"))
        if alone:
            check_trackers(given)
        if alone and not any((given["resume"] / name).exists() for name in (OF_FOLDS, OF_STAGES, OF_PERIODS)):
            check_run(given["resume"])
        return
    taken = taken_apart(fields)
    if given["routes"] is None or (given["divide"] is None and given["folds"] is None):  # the command refuses them together
        with misuse():
            check_routes(given["routes"], given["budget"], taken)
    data = source if source is not None else taken.get("data")
    if data is None and given["config"] is None:
        for name in taken:
            if name not in known("words"):
                full_path(name)
        refuse(f"name the data: {known('data')}")
    check_asked({**given, "source": source}, taken)
    check_batch(given["batch"], taken)
    if given["dry_run"] or not given["print_config"]:
        check_output(given["output"], source)
    check_trackers(given)


def check_batch(batch: str | None, fields: Mapping[str, Any]) -> None:
    if batch is None:
        return
    if given := [name for name in fields if full_path(name) == "recipe.batch_size"]:
        refuse(f"the batch is given twice, as --batch {batch} and as {given[0]}; leave one out")
    if batch != AUTO and (not batch.isdecimal() or int(batch) < 1):
        refuse(f"--batch takes a number of pictures, at least 1, or auto, got {batch!r}")


def check_asked(given: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Checks the arguments of train and related commands: first parts of fields, then names, then values, like the command."""
    for name in fields:
        if name not in known("words") and name != "plan.device":
            full_path(name)
    check_source(given["source"])
    said = {name: value for name, value in fields.items() if name in known("words") and not value.startswith("{")}
    network, recipe = given.get("model") or said.get("model"), given.get("recipe") or said.get("recipe")
    check_network(None if network == AUTO else network)
    check_recipe(None if recipe == AUTO else recipe)
    check_device(given.get("device") or said.get("device"))
    check_weights(given.get("weights") or said.get("weights"))
    check_fields(fields, given["source"], given.get("recipe"), given.get("config"))
    if given.get("progressive") is not None:
        with misuse("--progressive"):
            rise_of(given["progressive"])


def check_run(path: Path) -> None:
    with misuse():
        Run.open(path).asked()


def finetune(given: Mapping[str, Any]) -> None:
    rest = given["rest"]
    source, fields = (rest[0], rest[1:]) if rest and is_data(rest[0]) else (None, rest)
    check_duration(given)
    taken = taken_apart(fields)
    model_file(given["model"])
    for name in taken:
        full_path(name)
    check_device(given["device"])
    check_source(source)
    check_recipe(given["recipe"])
    if source is not None:
        check_fields(taken, source, given["recipe"] or "finetune", given["config"])
    check_trackers(given)


def prune(given: Mapping[str, Any]) -> None:
    rest = given["rest"]
    source, fields = (rest[0], rest[1:]) if rest and is_data(rest[0]) else (None, rest)
    check_duration(given)
    target = share(given["target"])
    taken = taken_apart(fields)
    if any(given["model"].name.endswith(ending) for ending, _ in known("formats").values()):
        refuse(f"{given['model']} is shipped already; prune the run or the .safetensors file that it was made of")
    model_file(given["model"])
    for name in taken:
        full_path(name)
    if given["importance"] not in known("importances"):
        refuse(f"there is no importance {given['importance']!r}{near(given['importance'], known('importances'))}")
    if given["cost"] not in known("lowered"):
        refuse(f"there is no cost {given['cost']!r} to lower{near(given['cost'], known('lowered'))}")
    if not 0 < target < 1:
        refuse(f"the target is the share of the cost that may be left, above 0 and below 1, got {target:g}")
    check_recipe(given["recipe"])
    check_device(given["device"])
    check_source(source)
    check_place(given["output"], None if source is None or not Path(source).is_dir() else source)


def ablate(given: Mapping[str, Any]) -> None:
    check_duration(given)
    check_csv(given["table"])
    taken = taken_apart(given["fields"])
    check_asked(given, taken)
    for text in (*given["switches"], *given["additions"]):
        name = text.strip().partition("=")[0]
        if name and name not in ("progressive", "weights"):
            full_path(name)
    for name in parts(given["rivals"]):
        check_network(name)


def frontier(given: Mapping[str, Any]) -> None:
    source, fields = given["source"], given["fields"]
    if source is not None and not is_data(source):
        fields, source = (source, *fields), None
    with misuse():
        for text in given["budgets"]:
            budget_of(text)
        if given["runtimes"] is not None:
            runtimes_of(given["runtimes"])
    if given["resume"] is not None:
        if not (given["resume"] / "asked.json").exists() and not fields and not any(given[name] for name in NEW_ONLY):
            refuse(f"{given['resume']} holds no frontier; start one with `paretina frontier DATA --output DIR`")
        return
    check_candidates(source, given["models"], given["candidates"], given["sizes"], given["recipes"])
    check_device(given["device"])
    for pattern in parts(",".join(given["models"])):
        if pattern.lower().endswith(".json"):
            check_network(pattern)
        else:
            models(pattern)
    with misuse():
        for side in parts(given["sizes"]):
            side_of(side)
    check_source(source)
    for name in parts(given["recipes"]):
        check_recipe(name)
    check_weights(given["weights"])
    for name in taken_apart(fields):
        full_path(name)
    if given["time"] is None:
        usage("give the total training time, such as --time-limit 30m")
    duration(given["time"], "--time-limit")
    if given["cost"] is not None and given["cost"] not in COSTS:
        refuse(f"there is no cost {given['cost']!r}{near(given['cost'], COSTS)}")


def measure(given: Mapping[str, Any]) -> None:
    names = given["names"]
    check_once(names)
    planning_named(given["tuning"], given["plan"])
    check_csv(given["table"])
    check_device(given["device"])
    check_source(given["data"])
    for name in names:
        if any(name.endswith(suffix) for suffix, _ in known("formats").values()):
            model_or_shipped(Path(name))
            continue
        is_file = Path(name).exists() or name.endswith(".safetensors") or "/" in name or ":" in name
        if not is_file and name not in known("networks"):
            hint = near(name, known("networks"))
            refuse(f"there is no network and no model file {name!r}{hint if 'did you mean' in hint else ''}")


def model_or_shipped(path: Path) -> None:
    """Checks that there is a model file, a finished run or a shipped file."""
    if not any(path.name.endswith(suffix) for suffix, _ in known("formats").values()):
        model_file(path)
    elif not path.is_file():
        refuse(f"there is no model file {path}")


def evaluate(given: Mapping[str, Any]) -> None:
    check_csv(given["csv"])
    check_csv(given["html"], "--html")
    model_or_shipped(given["model"])
    if given["against"] is not None:
        model_or_shipped(given["against"])
    check_source(given["source"])
    check_device(given["device"])
    with misuse():
        sizes = resolutions_named(given["resolution"]) if given["resolution"] else ()
    for name in parts(given["corruptions"]):
        if name not in known("corruptions"):
            refuse(f"there is no corruption {name!r}{near(name, known('corruptions'))}")
    check_strangers(given["ood"])
    if given["html"] is not None and len(sizes) < 2:
        refuse("--html needs several resolutions, such as --resolution 96:224:16")


def check_there(paths: Iterable[Path]) -> None:
    for path in paths:
        if not path.exists():
            several = "," in str(path) and any(part and Path(part).exists() for part in str(path).split(","))
            refuse(f"there is no file {path}{'; several are separated by spaces, not by commas' if several else ''}")
        if path.is_dir() and not any(path.iterdir()):
            refuse(f"there is no picture in the folder {path}")


def predict(given: Mapping[str, Any]) -> None:
    check_csv(given["csv"])
    model_or_shipped(given["model"])
    if given["reject"] is not None and not 0 < given["reject"] <= 1:
        refuse(f"reject is a probability in (0, 1], got {given['reject']:g}")
    check_there(given["paths"])
    check_device(given["device"])


def show(given: Mapping[str, Any]) -> None:
    model = given["model"]
    if not model.lower().endswith(".json") and (Path(model).exists() or model.endswith(".safetensors") or "/" in model):
        model_file(model)
    else:
        check_network(model)


def data_check(given: Mapping[str, Any]) -> None:
    check_source(given["source"])


def data_more(given: Mapping[str, Any]) -> None:
    check_source(given["source"])
    check_device(given["device"])
    name = given["model"]
    if name is not None and name not in known("networks") and not Path(name).exists():
        if name.endswith(".safetensors") or "/" in name:
            model_file(name)
        else:
            check_network(name)


def import_weights(given: Mapping[str, Any]) -> None:
    source, network = given["source"], given["network"]
    library, colon, _ = source.partition(":")
    is_file = Path(source).exists() or "/" in source or Path(source).suffix in (".safetensors", ".pth", ".pt", ".bin", ".tar")
    if colon and library in known("libraries") and not Path(source).exists():
        check_peer(source)
    elif is_file and not Path(source).is_file():
        refuse(f"there is no file {source}")
    elif not is_file:
        check_network(source)
    elif network is not None and ":" not in network:
        check_network(network)
    if is_file or network is None:
        check_new(given["out"])
        if given["classes"] is not None and not given["classes"].is_file():
            refuse(f"there is no file {given['classes']} with class names")


def check_peer(source: str) -> None:
    """Checks that a library's network, with or without a tag, is one that Paretina has too."""
    library, _, rest = source.partition(":")
    name = rest.partition(".")[0]
    peers = [
        peer.partition(":")[2]
        for network in known("networks").values()
        for peer in network["peers"]
        if peer.startswith(f"{library}:")
    ]
    if name not in peers:
        more = "; any network of timm can be used as it is: paretina.model.interop.timm_model" if library == "timm" else ""
        refuse(f"no network here is {library}'s {name!r}{near(name, peers, listing='paretina models')}{more}")


def export_weights(given: Mapping[str, Any]) -> None:
    model_file(given["model"])
    if given["to"] not in known("libraries"):
        refuse(f"there is no library {given['to']!r}{near(given['to'], known('libraries'))}")
    check_new(given["out"])


def serve(given: Mapping[str, Any]) -> None:
    model_or_shipped(given["model"])


def ship(given: Mapping[str, Any]) -> None:
    formats = known("formats")
    if given["to"] not in formats:
        refuse(f"there is no format {given['to']!r}{near(given['to'], formats)}")
    suffix, precisions = formats[given["to"]]
    every = sorted({name for _, names in formats.values() for name in names})
    if given["precision"] not in every:
        refuse(f"there is no precision {given['precision']!r}{near(given['precision'], every)}")
    if given["precision"] not in precisions:
        refuse(f"{given['to']} is written in {', '.join(precisions)}, not in {given['precision']}")
    if any(given["model"].name.endswith(ending) for ending, _ in formats.values()):
        refuse(f"{given['model']} is shipped already; ship the run or the .safetensors file that it was made of")
    model_file(given["model"])
    if given["pictures"] < 1:
        refuse(f"pictures must be at least 1, got {given['pictures']}")
    if given["max_loss"] is not None and not given["max_loss"] >= 0:
        refuse(f"max_loss is in points of top-1, at least 0, got {given['max_loss']:g}")
    if given["out"] is not None and not given["out"].name.endswith(suffix):
        refuse(f"a file for {given['to']} ends with {suffix}, got {given['out'].name}")
    check_new(given["out"])
    check_source(given["data"])


def card(given: Mapping[str, Any]) -> None:
    model_or_shipped(given["model"])
    check_new(given["out"])


def report(given: Mapping[str, Any]) -> None:
    if given["log_to"]:
        with misuse():
            trackers_named(given["log_to"])


def embed(given: Mapping[str, Any]) -> None:
    check_csv(given["csv"])
    check_csv(given["out"], "--out")
    if given["neighbours"] < 0:
        refuse(f"neighbours must be at least 0, got {given['neighbours']}")
    model_or_shipped(given["model"])
    check_there(given["paths"])
    check_device(given["device"])


def explain(given: Mapping[str, Any]) -> None:
    for model in (given["model"], *given["beside"]):
        model_or_shipped(model)
    if given["method"] not in ("auto", *known("maps")):
        refuse(f"there is no method {given['method']!r}{near(given['method'], known('maps'))}")
    check_there(given["paths"])


def distill(given: Mapping[str, Any]) -> None:
    rest, teacher, student = given["rest"], given["teacher"], Path(given["model"])
    source, fields = (rest[0], rest[1:]) if rest and is_data(rest[0]) else (None, rest)
    check_duration(given)
    taken = taken_apart(fields)
    if student.exists() and student.suffix != ".json":  # a trained network
        model_file(student)
    else:
        check_network(given["model"])
    check_recipe(given["recipe"])
    check_device(given["device"])
    check_weights(given["weights"])
    if ":" not in teacher and Path(teacher).suffix in ("", ".safetensors"):
        model_file(Path(teacher))
    check_source(source)
    check_source(given["val"])
    for name in taken:
        full_path(name)
    check_trackers(given)


def pretrain(given: Mapping[str, Any]) -> None:
    check_duration(given)
    taken = taken_apart(given["fields"])
    check_network(given["model"])
    check_recipe(given["recipe"])
    check_device(given["device"])
    check_weights(given["weights"])
    check_source(given["source"])
    for name in taken:
        full_path(name)
    check_trackers(given)


def probe(given: Mapping[str, Any]) -> None:
    if not shipped(given["model"]):
        model_file(given["model"])
        check_source(given["source"])
        check_device(given["device"])


def ensemble(given: Mapping[str, Any]) -> None:
    models = given["models"]
    if len(models) < 2:
        refuse(f"an ensemble needs two models or more, got {len(models)}")
    if given["out"].suffix != ".safetensors":
        refuse(f"a model file ends with .safetensors, got {given['out'].name}")
    check_new(given["out"])
    if not any(shipped(each) for each in models):
        for each in models:
            model_file(each)


def selftrain(given: Mapping[str, Any]) -> None:
    taken = taken_apart(given["fields"])
    if shipped(given["run"]):
        return
    model_file(given["run"])
    check_recipe(given["recipe"])
    check_device(given["device"])
    for name in taken:
        full_path(name)


def search(given: Mapping[str, Any]) -> None:
    if given["resume"] is not None or given["space"] is None or given["source"] is None:
        return
    check_duration(given)
    check_recipe(given["recipe"])
    check_device(given["device"])
    if given["model"] is not None:
        check_network(given["model"])
    check_source(given["source"])
    for name in taken_apart(given["fields"]):
        full_path(name)


def scale(given: Mapping[str, Any]) -> None:
    if given["resume"] is not None or given["base"] is None or given["source"] is None:
        return
    check_duration(given)
    check_recipe(given["recipe"])
    check_device(given["device"])
    check_source(given["source"])
    for name in taken_apart(given["fields"]):
        full_path(name)


def transfer(given: Mapping[str, Any]) -> None:
    if given["resume"] is not None or given["source"] is None:
        return
    check_duration(given)
    check_recipe(given["recipe"])
    check_device(given["device"])
    check_source(given["source"])
    check_source(given["accuracy_on"])
    for name in taken_apart(tuple(word for word in given["rest"] if "=" in word and not Path(word).exists())):
        full_path(name)


def shipped(path: Path) -> bool:
    """Whether a name is that of a shipped file."""
    return any(path.name.endswith(ending) for ending, _ in known("formats").values())


CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "ablate": ablate,
    "card": card,
    "check": data_check,
    "distill": distill,
    "embed": embed,
    "ensemble": ensemble,
    "evaluate": evaluate,
    "explain": explain,
    "export-weights": export_weights,
    "finetune": finetune,
    "frontier": frontier,
    "import": import_weights,
    "measure": measure,
    "more": data_more,
    "predict": predict,
    "pretrain": pretrain,
    "probe": probe,
    "prune": prune,
    "report": report,
    "scale": scale,
    "search": search,
    "selftrain": selftrain,
    "serve": serve,
    "ship": ship,
    "show": show,
    "train": train,
    "transfer": transfer,
}
"""The check of each command, by its name."""
