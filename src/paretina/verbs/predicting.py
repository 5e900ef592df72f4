"""Classifies pictures with a model."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from paretina.data.pictures import read_pictures
from paretina.data.remarks import told
from paretina.data.source import Sample
from paretina.measure.accuracy import write_predictions
from paretina.measure.judges.mean_precision import write_shares
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.nothing import Nothing
from paretina.model.weights import load_model
from paretina.verbs.checks import check_csv, misuse, model_file
from paretina.verbs.evaluating import forward, inference_plan
from paretina.verbs.files import FileCollection, pictures_in


@dataclass(frozen=True)
class Prediction:
    """
    Attributes:
        answers: class names with their probabilities, most likely first; for a multi-label network those above 0.5, which may
            be none.
    """

    name: str
    answers: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Predicted:
    """
    Attributes:
        damaged: reason by name, for pictures that could not be read.
        left_out: number of files and subfolders skipped in the folders, by reason.
        notes: what is unusual about pictures that could be read.
    """

    predictions: tuple[Prediction, ...]
    damaged: dict[str, str]
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        rows = [
            {"name": each.name, "answers": [{"class": name, "probability": p} for name, p in each.answers]}
            for each in self.predictions
        ]
        return {"predictions": rows, "damaged": self.damaged, "left_out": self.left_out, "notes": list(self.notes)}


def predict(
    model: Path | str, paths: Iterable[Path | str], top: int = 3, device: str = "auto", csv: Path | str | None = None
) -> Predicted:
    """Classifies pictures with a model; those that cannot be read are listed in the result.

    Args:
        model: a model file, or the directory of a finished run.
        top: number of classes per picture, if each picture has one.
        csv: where to write all predictions.

    Raises:
        MisuseError: there is no such model file, path or device.
        ValueError: the model file cannot be used, or does not classify whole pictures.
    """
    check_csv(csv)
    left_out: Counter[str] = Counter()
    path, names = model_file(model), pictures_in(paths, left_out)
    with misuse():
        plan = inference_plan(device)
    network, about = load_model(path)
    if about.task.DENSE or isinstance(about.task, Nothing):
        says = "predicts a class for each pixel" if about.task.DENSE else "was trained without labels, so it has no classes"
        raise ValueError(f"{path} {says}; predict lists the classes of whole pictures")
    collection = FileCollection(about.classes, {"all": tuple(Sample(name, 0) for name in names)})
    pictures = read_pictures(collection, collection.split("all"))
    damaged = pictures.damaged
    notes = tuple(told({readable(name): text for name, text in pictures.remarks.items()}))
    logits = torch.empty(0)
    if len(pictures):
        logits, ids, damaged = forward(network, pictures, network.model.resolution, plan)
    damaged = {readable(name): reason for name, reason in damaged.items()}
    if not len(logits):
        return Predicted((), damaged, dict(left_out), notes)
    shown = [readable(pictures.samples[i].name) for i in ids.tolist()]
    shares = about.task.probabilities(logits)
    several = isinstance(about.task, AnyOf)
    if csv is not None:
        if several:
            write_shares(Path(csv), shown, shares, about.classes)
        else:
            write_predictions(Path(csv), shown, logits, None, about.classes)
    best = shares.topk(len(about.classes) if several else min(top, len(about.classes)), dim=1)
    rows = zip(shown, best.values.tolist(), best.indices.tolist(), strict=True)
    answers = tuple(
        Prediction(name, tuple((about.classes[i], p) for p, i in zip(ps, indices, strict=True) if not several or p > 0.5))
        for name, ps, indices in rows
    )
    return Predicted(answers, damaged, dict(left_out), notes)


def readable(name: str) -> str:
    """A file's name as text; undecodable bytes are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
