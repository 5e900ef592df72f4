"""Evaluate: how good a model is on pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paretina.data.pictures import Pictures, read_pictures
from paretina.data.source import Collection, Sample, Source
from paretina.data.sources.folder import Folder, split_folders
from paretina.measure.accuracy import Accuracy, measure_accuracy, write_predictions
from paretina.measure.corruptions import CorruptedAccuracy, corrupted_accuracy, kinds_named
from paretina.measure.evaluate import Evaluation, joined
from paretina.measure.ood import OutOfDistribution, measure_ood
from paretina.measure.plan import Plan, default_plan
from paretina.measure.sweep import Sweep, resolutions_named, sweep
from paretina.model.build import Network
from paretina.model.weights import load_model
from paretina.report.sweep import write_sweep
from paretina.spec import near
from paretina.train.asked import source_named
from paretina.verbs.checks import MisuseError, check_csv, misuse, model_file
from paretina.verbs.files import FileCollection, pictures_in


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
    check_csv(html, "--html")
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
        write_sweep(swept, Path(html), about.name or path.name)
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
