"""Judges the features of a network: by a linear classifier, and by nearest neighbours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from paretina.data.named import source_named
from paretina.data.pictures import read_pictures
from paretina.data.source import Collection, Source
from paretina.measure.neighbours import recalls, voted
from paretina.measure.plan import Plan
from paretina.measure.process import process_settings
from paretina.measure.statistics import Interval, as_columns, wilson
from paretina.model.build import Combined, Network
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import load_model
from paretina.tables import html_lines
from paretina.text import how_many
from paretina.train.finetuning import trained
from paretina.train.probe import features, fit_probe
from paretina.train.probing import labels_of
from paretina.verbs.checks import MisuseError, misuse, model_file
from paretina.verbs.evaluating import inference_plan
from paretina.verbs.shipping import check_unshipped

NEIGHBOURS = 20


@dataclass(frozen=True)
class JudgedFeatures:
    """How well features tell the classes of validation pictures apart.

    Attributes:
        linear: top-1 of a linear classifier on them, in percent.
        neighbours: top-1 of the vote of the nearest training pictures, in percent.
        recall: by k, the share of validation pictures, in percent, that have one of their class among the k nearest of the
            other validation pictures ("Recall@k", for features that are to find pictures of new classes).
        cross_validated: top-1 of linear classifiers on held-out training pictures, in percent; None where nothing could be
            held out.
    """

    linear: Interval
    neighbours: Interval
    recall: dict[int, float]
    cross_validated: Interval | None

    def to_dict(self) -> dict[str, Any]:
        return {
            **as_columns("linear", self.linear),
            **as_columns("neighbours", self.neighbours),
            "recall": {str(k): value for k, value in self.recall.items()},
            **as_columns("cross_validated", self.cross_validated),
        }


@dataclass(frozen=True)
class ProbedModel:
    """
    Attributes:
        own: of the model's features.
        untrained: of the same network with random weights; None unless asked for.
        train: number of training pictures.
        val: number of validation pictures.
        size: side in pixels at which the network saw them.
        width: number of features.
        neighbours: number of pictures that vote.
    """

    own: JudgedFeatures
    untrained: JudgedFeatures | None
    train: int
    val: int
    size: int
    width: int
    neighbours: int

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.own.to_dict(),
            "untrained": None if self.untrained is None else self.untrained.to_dict(),
            "train": self.train,
            "val": self.val,
            "size": self.size,
            "width": self.width,
            "voters": self.neighbours,
        }

    def _repr_html_(self) -> str:
        return html_lines(self.lines())

    def lines(self) -> list[str]:
        def said(found: JudgedFeatures) -> str:
            pairs = (("linear classifier", found.linear), (f"{self.neighbours} nearest neighbours", found.neighbours))
            top1 = ", ".join(f"{name} {value.value:.1f} % ({value.low:.1f} to {value.high:.1f})" for name, value in pairs)
            return f"{top1}; recall {', '.join(f'at {k} {value:.1f} %' for k, value in found.recall.items())}"

        lines = [
            f"{self.width} features at {self.size} pixels, fitted to {how_many(self.train, 'picture')}, judged on {self.val}",
            f"top-1: {said(self.own)}",
        ]
        lines.append("recall at k: how many have a picture of their class among the k nearest of the other judged pictures")
        return [*lines, *([f"with random weights: {said(self.untrained)}"] if self.untrained is not None else [])]


def probe(
    model: Path | str,
    data: str | Source | None = None,
    size: int | None = None,
    neighbours: int = NEIGHBOURS,
    untrained: bool = False,
    device: str = "auto",
) -> ProbedModel:
    """Fits a linear classifier to the frozen features of the training pictures, and judges it on the validation pictures.

    The penalty of the logistic regression is chosen by cross-validation on the training pictures, as for the linear classifier
    that `train` reports. Neighbours vote with exp(cosine / 0.07) (Wu et al. 2018, arXiv:1805.01978, section 3.4).

    Args:
        model: a model file, or the directory of a finished run.
        data: pictures with labels; default: those of the run.
        size: side in pixels at which the network sees them; default: that of the model.
        neighbours: number of nearest training pictures that vote.
        untrained: whether the same network with random weights is judged too.

    Raises:
        MisuseError: there is no such model, data or device.
        ValueError: the data has no labels, or the model no features of whole pictures.
    """
    check_unshipped(model, "probe")
    if neighbours < 1:
        raise MisuseError(f"neighbours must be at least 1, got {neighbours}")
    path = model_file(model)
    with misuse():
        plan = inference_plan(device)
        source = source_named(data) if data is not None else trained(path).data
    if source is None:
        raise MisuseError(f"{path} does not lie in its run, so its data is not known; name labelled pictures")
    network, about = load_model(path)
    if isinstance(network, Combined) or about.task.DENSE or about.task.BOXES:
        raise ValueError(f"{path} has no features of whole pictures of one network to probe")
    collection = source.open()
    if not isinstance(collection.task, OneOf):
        what = "none" if isinstance(collection.task, Nothing) else f"{collection.task.WORDS}"
        raise ValueError(f"probing needs labels, one class a picture, and these pictures have {what}; name others")
    side = size or network.model.resolution
    with process_settings():
        found = judged(network, collection, plan, side, neighbours)
        other = None
        if untrained:
            torch.manual_seed(0)
            other = judged(network.model.build().eval(), collection, plan, side, neighbours)[0]  # type: ignore[arg-type]
    own, train, val, width = found
    return ProbedModel(own, other, train, val, side, width, min(neighbours, train))


def judged(
    network: Network, collection: Collection, plan: Plan, size: int, neighbours: int
) -> tuple[JudgedFeatures, int, int, int]:
    """The judgement, the number of pictures that features were fitted to and judged on, and that of the features."""
    plan.place(network.eval())
    rows, labels = [], []
    for split in ("train", "val"):
        pictures = read_pictures(collection, collection.split(split))
        values = features(network, pictures, plan, size, classes=len(collection.classes))
        truth = labels_of(pictures, len(collection.classes))
        kept = ~values.isnan().all(1) & (truth >= 0)
        if not bool(kept.any()):
            raise ValueError(f"there is no {split} picture with a label that can be read")
        rows.append(values[kept])
        labels.append(truth[kept])
    fitted = fit_probe(rows[0], labels[0], len(collection.classes))
    linear = int((fitted(rows[1]).argmax(1) == labels[1]).sum())
    votes = voted(rows[0], labels[0], rows[1], len(collection.classes), neighbours)
    near = int((votes.argmax(1) == labels[1]).sum())
    inside = None if fitted.cross_validated is None else fitted.cross_validated.top1
    recall = recalls(rows[1], labels[1])
    found = JudgedFeatures(share_of(linear, len(rows[1])), share_of(near, len(rows[1])), recall, inside)
    return found, len(rows[0]), len(rows[1]), rows[0].shape[1]


def share_of(right: int, n: int) -> Interval:
    """In percent, with its 95 % interval."""
    return Interval(*(100 * share for share in wilson(right, n)))
