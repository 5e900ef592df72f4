"""Would more pictures help? The learning curve of a linear classifier on frozen features."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from paretina.data.named import source_named
from paretina.data.pictures import read_pictures
from paretina.data.source import Collection, Source
from paretina.measure.learning_curve import LearningCurve, Measurement, learning_curve
from paretina.measure.plan import Plan
from paretina.measure.process import process_settings
from paretina.measure.statistics import Interval
from paretina.model.build import Combined, Network
from paretina.model.family import network_named, networks
from paretina.model.pretrained import find_weights
from paretina.model.sizes import check_side
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import load_model
from paretina.spec import put
from paretina.tables import html_lines
from paretina.text import how_many
from paretina.train.probe import Labels, Samples, features, fit_probe
from paretina.train.probing import labels_of
from paretina.train.starting import first_values
from paretina.verbs.checks import MisuseError, misuse, model_file
from paretina.verbs.evaluating import inference_plan

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of the training pictures that classifiers are fitted to."""

LEAST_EACH = 2
"""Training pictures of each class, on average, from which on a share is looked at."""

REPEATS = 5

DEFAULT = "efficientnet_lite0"
"""The network whose weights come with the installation."""


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of pictures, and the class of each."""

    features: Samples
    labels: Labels


@dataclass(frozen=True)
class MorePictures:
    """
    Attributes:
        network: its name, or the model file.
        size: side in pixels at which it saw the pictures.
        val: number of pictures that were judged.
    """

    curve: LearningCurve
    network: str
    size: int
    val: int

    def to_dict(self) -> dict[str, Any]:
        return {"network": self.network, "size": self.size, "val": self.val, **self.curve.to_dict()}

    def _repr_html_(self) -> str:
        return html_lines(self.lines())

    def lines(self) -> list[str]:
        curve = self.curve
        lines = [
            f"linear classifier on the features of {self.network} at {self.size} pixels, judged on "
            f"{how_many(self.val, 'validation picture')}"
        ]
        for n, repeats, top1 in curve.points:
            drawn = f", drawn {repeats} times" if repeats > 1 else ", all of them"
            lines.append(f"  {n:>8,} training pictures{drawn:<17}  top-1 {shown(top1)}")
        for each in curve.forecasts:
            by = "would give, by the law"
            before = each.top1.value - each.gained.value
            told = f"{gain(each.gained)} over the law's {before:.1f} % for all of them"
            lines.append(f"  {each.n:>8,} {by:<35}  top-1 {shown(each.top1)}, {told}")
        law = curve.law
        lines.append(f"law: error = {law.a:.3g} n^-{law.b:.3g} + {law.c:.3g}")
        if curve.predicted is not None and curve.missed is not None:
            agrees = "so it holds so far" if curve.holds else "so do not rely on the forecast"
            lines.append(
                f"check: from the smaller sets it predicts {shown(curve.predicted)} for all of them; measured was "
                f"{curve.points[-1][2].value:.1f} %, {agrees}"
            )
        else:
            lines.append("check: there are too few pictures to predict the whole set from parts of it")
        return [*lines, "", *self.said()]

    def said(self) -> list[str]:
        """Whether more pictures would help, and for which classes, in words."""
        twice, four = self.curve.forecasts
        verdict = {
            "yes": f"More pictures would help: twice as many should add {gain(twice.gained)}, four times as many "
            f"{gain(four.gained)}.",
            "no": f"More pictures like these would hardly help: twice as many should add {gain(twice.gained)}. Look at the "
            "labels, the network or the image size instead.",
            "unclear": f"It is unclear whether more pictures would help: twice as many may add {gain(twice.gained)}.",
        }[self.curve.verdict]
        sure = [each for each in self.curve.classes if each.gained.low > 0]
        known = self.curve.classes
        if len(known) < 2:
            classes = ""
        elif sure:
            listed = ", ".join(f"{each.name} ({each.gained.value:+z.0f} points with its {each.train:,})" for each in sure[:8])
            more = f" and {len(sure) - 8} more" if len(sure) > 8 else ""
            classes = f"Classes that certainly gained from the second half of the pictures: {listed}{more}."
        else:
            listed = ", ".join(f"{each.name} {each.gained.value:+z.0f}" for each in known[:3])
            classes = (
                f"No class certainly gained from the second half of the pictures; the largest changes, in points: {listed}."
            )
        floor = (
            "This is the curve of a linear classifier; that of a network which is fine-tuned is another one, usually above it."
        )
        return [verdict, *([classes] if classes else []), floor]


def shown(top1: Interval) -> str:
    return f"{top1.value:.1f} % ({top1.low:.1f} to {top1.high:.1f})"


def gain(gained: Interval) -> str:
    return f"{gained.value:+z.1f} points ({gained.low:+z.1f} to {gained.high:+z.1f})"


def data_more(
    data: str | Source,
    model: str | Path | None = None,
    size: int | None = None,
    repeats: int = REPEATS,
    device: str = "auto",
    seed: int = 0,
) -> MorePictures:
    """Fits linear classifiers to rising shares of the training pictures, and tells what more pictures would give.

    The features of a network with trained weights are computed once. Of each share, every class keeps at least one picture.

    Args:
        data: pictures with one class each.
        model: a model file, the directory of a finished run, or a named network with weights on this machine; default:
            efficientnet_lite0.
        size: side in pixels at which the network sees them; default: that of the network.
        repeats: how often pictures are drawn for each share, at least 2.
        seed: of the drawing.

    Raises:
        MisuseError: there is no such data, model or device, or a number is out of range.
        ValueError: the data has no such labels or too few pictures, or the network no weights or features.
    """
    if repeats < 2:
        raise MisuseError(f"repeats must be at least 2, got {repeats}")
    with misuse():
        source, plan = source_named(data), inference_plan(device)
    name = DEFAULT if model is None else str(model)
    collection = source.open()
    if not isinstance(collection.task, OneOf):
        raise ValueError(
            f"a learning curve needs one class a picture, and this data has {collection.task.WORDS}; name other pictures"
        )
    network = network_with_weights(name, collection)
    side = size or network.model.resolution
    check_side(network.model, side)
    classes = len(collection.classes)
    with process_settings():
        plan.place(network.eval())
        train = features_of(network, collection, "train", plan, side)
        shares = shares_for(len(train.labels), classes)
        val = features_of(network, collection, "val", plan, side)
        found = [measured(train, val, classes, share, 1 if share == 1 else repeats, seed) for share in shares]
    counts = torch.bincount(train.labels, minlength=classes).tolist()
    curve = learning_curve(found, val.labels.numpy(), collection.classes, counts, seed)
    return MorePictures(curve, name, side, len(val.labels))


def shares_for(pictures: int, classes: int) -> list[float]:
    """The shares that leave enough pictures of each class.

    Raises:
        ValueError: these are too few for a curve.
    """
    found = [share for share in SHARES if share * pictures >= LEAST_EACH * classes]
    if len(found) < 3:
        raise ValueError(
            f"a learning curve needs at least {4 * LEAST_EACH * classes} training pictures with a label that can be read "
            f"({4 * LEAST_EACH} for each of {how_many(classes, 'class')}, on average), got {pictures}; more pictures will help"
        )
    return found


def network_with_weights(name: str, collection: Collection) -> Network:
    """A network with trained weights, whose features can be used.

    Raises:
        MisuseError: there is no such network or file.
        ValueError: its weights are not on this machine, or it has no features of whole pictures of one network.
    """
    if name in networks() and not Path(name).exists():
        published = network_named(name)
        blueprint = put(published.blueprint, "classes", len(collection.classes))
        start, said = find_weights("auto", published, blueprint)
        if start is None:
            raise ValueError(f"{name} has no weights on this machine, and features of random weights say little; {said}")
        network = blueprint.build()
        first_values(network, start, collection.classes)
        return network
    if not Path(name).exists() and not name.endswith(".safetensors") and "/" not in name:
        with misuse():
            network_named(name)
    loaded, about = load_model(model_file(name))
    if isinstance(loaded, Combined) or about.task.DENSE or about.task.BOXES:
        raise ValueError(f"{name} has no features of whole pictures of one network")
    return loaded


def features_of(network: Network, collection: Collection, split: str, plan: Plan, side: int) -> LabelledFeatures:
    """Features and classes of the pictures of a split that can be read and have a label.

    Raises:
        ValueError: there is none.
    """
    pictures = read_pictures(collection, collection.split(split))
    values = features(network, pictures, plan, side, classes=len(collection.classes))
    truth = labels_of(pictures, len(collection.classes))
    kept = ~values.isnan().all(1) & (truth >= 0)
    if not bool(kept.any()):
        raise ValueError(f"there is no {split} picture with a label that can be read")
    return LabelledFeatures(values[kept], truth[kept])


def measured(
    train: LabelledFeatures, val: LabelledFeatures, classes: int, share: float, repeats: int, seed: int
) -> Measurement:
    """Classifiers that were fitted to a share of the training pictures, drawn anew for each repeat, and judged."""
    right, fitted = [], 0
    for repeat in range(repeats):
        chosen = drawn(train.labels, classes, share, seed + repeat)
        probe = fit_probe(train.features[chosen], train.labels[chosen], classes, seed)
        right.append((probe(val.features).argmax(1) == val.labels).numpy())
        fitted = len(chosen)
    return Measurement(fitted, np.stack(right))


def drawn(labels: Labels, classes: int, share: float, seed: int) -> Int[Tensor, " chosen"]:
    """A share of the samples of each class, but at least one; rising numbers."""
    order = np.random.default_rng(seed).permutation(len(labels))
    own = labels.numpy()[order]
    chosen: list[int] = []
    for number in range(classes):
        members = order[own == number]
        chosen += members[: max(1, round(share * len(members)))].tolist()
    return torch.tensor(sorted(chosen))
