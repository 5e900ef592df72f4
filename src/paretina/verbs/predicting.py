"""Classifies pictures with a model, or with a shipped file in its own runtime."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from paretina.data.pictures import read_pictures
from paretina.data.remarks import told
from paretina.data.source import Sample
from paretina.measure.accuracy import write_predictions
from paretina.measure.hierarchy import Hierarchy
from paretina.measure.judges.mean_precision import write_shares
from paretina.measure.overlays import framed
from paretina.measure.plan import Plan
from paretina.measure.priors import adjusted, check_adjusting
from paretina.measure.thresholds import USUAL
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.instances import Instances
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.ship.overlay import place_of
from paretina.tables import html_lines, html_table, write_lines
from paretina.verbs.answering import FLIPPED, Answering, answering, check_flipped, check_mirrors
from paretina.verbs.checks import MisuseError, check_csv, misuse
from paretina.verbs.evaluating import inference_plan
from paretina.verbs.files import FileCollection, pictures_in
from paretina.verbs.painting import Painted, places_for, save_overlay, write_mask


@dataclass(frozen=True)
class Box:
    """An object that was found.

    Attributes:
        left, top, right, bottom: in pixels of the picture, from its upper left corner.
        label: its class.
        score: from 0 to 1.
    """

    left: float
    top: float
    right: float
    bottom: float
    label: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        corners = {side: round(getattr(self, side), 2) for side in ("left", "top", "right", "bottom")}
        return {"class": self.label, "score": self.score, **corners}


SHARES = "the figures are shares of the pixels of a picture; --masks DIR writes the class of each"
"""What is said of the answers of a model with a class for each pixel."""


@dataclass(frozen=True)
class Prediction:
    """
    Attributes:
        answers: class names with their probabilities, most likely first; for a multi-label network those above the threshold of
            their class, or 0.5 where the model file has none, which may be none.
        rejected: whether the most likely class is less likely than the threshold that was given, so that the picture has no
            answer; always False without one.
        groups: for each level of the groups that the model knows of its classes, the largest first, the likeliest group with
            the sum of the probabilities of its classes.
        objects: how many objects are found, of a model for objects; None for others. The `answers` of a model with a class for
            each pixel are the shares of the pixels, most first.
        mask: the file with its mask, where one was written.
        boxes: of a model that finds boxes, best first; its `answers` are the classes found with their best scores. None of
            others.
    """

    name: str
    answers: tuple[tuple[str, float], ...]
    rejected: bool = False
    groups: tuple[tuple[str, float], ...] = ()
    objects: int | None = None
    mask: str = ""
    boxes: tuple[Box, ...] | None = None


@dataclass(frozen=True)
class Predicted:
    """
    Attributes:
        damaged: reason by name, for pictures that could not be read.
        left_out: number of files and subfolders skipped in the folders, by reason.
        notes: what is unusual about pictures that could be read.
        seconds: for preprocessing and network, of all of them.
        runtime: what computed them, with its version.
    """

    predictions: tuple[Prediction, ...]
    damaged: dict[str, str]
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    runtime: str = ""

    @property
    def throughput(self) -> float | None:
        """Pictures a second, decoding not included; None where nothing was computed."""
        return len(self.predictions) / self.seconds if self.predictions and self.seconds > 0 else None

    def _repr_html_(self) -> str:
        """The answers, as notebooks show them."""
        rows = [
            (each.name, ", ".join(f"{name} {100 * share:.1f} %" for name, share in each.answers), each.rejected)
            for each in self.predictions
        ]
        lost = [f"could not be read: {name}: {reason}" for name, reason in self.damaged.items()]
        return html_table(rows, ("picture", "answers", "rejected")) + html_lines([*lost, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        rows = [
            {
                "name": each.name,
                "answers": [{"class": name, "probability": p} for name, p in each.answers],
                "rejected": each.rejected,
                **({"groups": [{"group": name, "probability": p} for name, p in each.groups]} if each.groups else {}),
                **({} if each.objects is None else {"objects": each.objects}),
                **({"mask": each.mask} if each.mask else {}),
                **({} if each.boxes is None else {"boxes": [box.to_dict() for box in each.boxes]}),
            }
            for each in self.predictions
        ]
        return {
            "predictions": rows,
            "damaged": self.damaged,
            "left_out": self.left_out,
            "notes": list(self.notes),
            "runtime": self.runtime,
            "throughput_img_s": self.throughput,
        }


def predict(
    model: Path | str,
    paths: Iterable[Path | str],
    top: int = 3,
    device: str = "auto",
    csv: Path | str | None = None,
    reject: float | None = None,
    trust: bool = False,
    logit_adjustment: float = 0.0,
    flips: bool = False,
    masks: Path | str | None = None,
    overlays: Path | str | None = None,
    score: float | None = None,
) -> Predicted:
    """Classifies pictures with a model, or finds objects in them; those that cannot be read are listed in the result.

    Args:
        model: a model file, the directory of a finished run, or a shipped file.
        top: number of classes per picture, if each picture has one.
        csv: where to write all predictions; pictures that cannot be read have a line too, with the reason in the column error
            (not in the table of a model with several classes a picture). Of a model that finds boxes, a line for each box, with
            its corners in pixels of the picture; a picture without one has a line without a class.
        reject: a picture whose most likely class is less likely than this, in (0, 1], is marked as rejected.
        trust: whether shipped files that can run code are opened.
        logit_adjustment: as in `evaluate`; 0 for none.
        flips: whether the answers are averaged over each picture and its mirror image, at twice the cost.
        masks: of a model with a class for each pixel, the folder where the mask of each picture is written, at the size of the
            picture, as PNG: numbers of classes (255 where the network does not see the picture), or of objects in 16 bits.
        overlays: likewise, the folder where the pictures are written with the classes, or the outlines of objects, over them;
            of a model that finds boxes, with these.
        score: of such a model, the score below which a box is left out, in [0, 1]; default: 0.3.

    Raises:
        MisuseError: there is no such model file, path or device, the threshold cannot be one, the logits cannot be adjusted, or
            the model was trained on pictures whose mirror images are of other classes.
        ValueError: the model file cannot be used, or was trained without labels.
    """
    check_csv(csv)
    left_out: Counter[str] = Counter()
    if reject is not None and not 0 < reject <= 1:
        raise MisuseError(f"reject is a probability in (0, 1], got {reject:g}")
    with misuse():
        plan = inference_plan(device)
    opened, names = answering(model, trust), pictures_in(paths, left_out)
    path, about = opened.path, opened.about
    if flips:
        check_flipped(path, about.task)
        check_mirrors(path)
        opened = replace(opened, flips=True)
    if opened.running is not None and device not in ("auto", "cpu"):
        raise MisuseError(f"{path} is run by {opened.runtime} on the CPU; leave --device {device} out")
    if reject is not None and about.task != OneOf():
        raise MisuseError(f"the task of {path} is {about.task.WORDS}; reject needs a model with one class per picture")
    with misuse(str(path)):
        check_adjusting(about, logit_adjustment)
    if isinstance(about.task, Nothing):
        raise ValueError(f"{path} was trained without labels, so it has no classes; predict lists the classes of pictures")
    if score is not None and not about.task.BOXES:
        raise MisuseError(f"{path} finds no boxes, and --score is for these; leave it out")
    if score is not None and not 0 <= score <= 1:
        raise MisuseError(f"score is in [0, 1], got {score:g}")
    if about.task.BOXES:
        if masks is not None:
            raise MisuseError(f"{path} finds boxes, and --masks is for a class for each pixel; leave it out")
        boxed = with_boxes(opened, names, plan, csv, overlays, LEAST if score is None else score)
        return replace(boxed, left_out=dict(left_out))
    if about.task.DENSE:
        found = painted(opened, names, plan, csv, masks, overlays)
        return replace(found, left_out=dict(left_out), notes=(*found.notes, *((FLIPPED,) if flips else ())))
    for option, folder in (("--masks", masks), ("--overlays", overlays)):
        if folder is not None:
            raise MisuseError(
                f"{path} gives a class for each picture, and {option} is for a class for each pixel; leave it out"
            )
    collection = FileCollection(about.classes, {"all": tuple(Sample(name, 0) for name in names)})
    pictures = read_pictures(collection, collection.split("all"))
    damaged = pictures.damaged
    notes = tuple(told({readable(name): text for name, text in pictures.remarks.items()})) + ((FLIPPED,) if flips else ())
    logits = torch.empty(0)
    began = time.monotonic()
    if len(pictures):
        logits, ids, damaged = opened.logits(pictures, plan)
    seconds = time.monotonic() - began
    damaged = {readable(name): reason for name, reason in damaged.items()}
    if not len(logits):
        return Predicted((), damaged, dict(left_out), notes)
    if logit_adjustment:
        logits = adjusted(logits, about, logit_adjustment)
    shown = [readable(pictures.samples[i].name) for i in ids.tolist()]
    shares = about.task.probabilities(logits)
    several = isinstance(about.task, AnyOf)
    groups: list[tuple[tuple[str, float], ...]] = [()] * len(shown)
    if about.hierarchy:
        tree = Hierarchy.of(about.hierarchy, about.classes)
        summed = [tree.sums(shares, level) for level in tree.levels]
        groups = [tuple((names[int(s[i].argmax())], float(s[i].max())) for names, s in summed) for i in range(len(shown))]
    if csv is not None:
        if several:
            write_shares(Path(csv), shown, shares, about.classes, thresholds=about.thresholds)
        else:
            write_predictions(Path(csv), shown, logits, None, about.classes, reject, damaged, groups if about.hierarchy else ())
    limits = about.thresholds or (USUAL,) * len(about.classes)
    best = shares.topk(len(about.classes) if several else min(top, len(about.classes)), dim=1)
    rows = zip(shown, best.values.tolist(), best.indices.tolist(), strict=True)
    answers = tuple(
        Prediction(
            name,
            tuple((about.classes[i], p) for p, i in zip(ps, indices, strict=True) if not several or p > limits[i]),
            reject is not None and ps[0] < reject,
            own,
        )
        for (name, ps, indices), own in zip(rows, groups, strict=True)
    )
    return Predicted(answers, damaged, dict(left_out), notes, seconds, opened.runtime)


TOGETHER = 16
"""Pictures whose answers are in memory at once where each pixel has a class."""


def painted(
    opened: Answering,
    names: Sequence[str],
    plan: Plan,
    csv: Path | str | None,
    masks: Path | str | None,
    overlays: Path | str | None,
) -> Predicted:
    """The answers of a model with a class for each pixel; see `predict`.

    Raises:
        MisuseError: a file would be written over a picture, or two in one place.
    """
    about, preprocessing = opened.about, opened.preprocessing
    to_masks = {} if masks is None else places_for(names, Path(masks), "--masks")
    to_overlays = {} if overlays is None else places_for(names, Path(overlays), "--overlays")
    if masks is not None and overlays is not None and Path(masks).resolve() == Path(overlays).resolve():
        raise MisuseError(f"--masks and --overlays are two folders, got {masks} for both")
    collection = FileCollection(about.classes, {"all": tuple(Sample(name, 0) for name in names)})
    samples, rows, seconds = collection.split("all"), [], 0.0
    damaged: dict[str, str] = {}
    remarks: dict[str, str] = {}
    for first in range(0, len(samples), TOGETHER):
        pictures = read_pictures(collection, samples[first : first + TOGETHER])
        damaged |= pictures.damaged
        remarks |= {readable(name): text for name, text in pictures.remarks.items()}
        if not len(pictures):
            continue
        began = time.monotonic()
        logits, ids, lost = opened.logits(pictures, plan)
        seconds += time.monotonic() - began
        damaged |= lost
        for number, shares in zip(ids.tolist(), about.task.probabilities(logits), strict=True):
            name, image = pictures.samples[number].name, pictures.image(number)
            answer = Painted.of(shares, image.shape[1], image.shape[2], preprocessing, about.task)
            if name in to_masks:
                write_mask(to_masks[name], answer.mask())
            if name in to_overlays:
                save_overlay(to_overlays[name], answer.overlay(image))
            parts = sorted(((each, answer.part(i)) for i, each in enumerate(about.classes)), key=lambda part: -part[1])
            written = str(to_masks.get(name, ""))
            rows.append(Prediction(readable(name), tuple(parts), objects=answer.count, mask=written))
    damaged = {readable(name): reason for name, reason in damaged.items()}
    if csv is not None:
        counted = ["objects"] * isinstance(about.task, Instances)
        lines = (
            [each.name, *([each.objects] if counted else []), *(dict(each.answers)[n] for n in about.classes)] for each in rows
        )
        write_lines(Path(csv), ["name", *counted, *about.classes], lines)
    notes = told(remarks) if isinstance(about.task, Instances) else (*told(remarks), SHARES)
    return Predicted(tuple(rows), damaged, {}, tuple(notes), seconds, opened.runtime)


LEAST = 0.3
"""Score below which a box is left out, unless another is given."""


def with_boxes(
    opened: Answering, names: Sequence[str], plan: Plan, csv: Path | str | None, overlays: Path | str | None, score: float
) -> Predicted:
    """The answers of a model that finds boxes; see `predict`.

    Raises:
        MisuseError: a file would be written over a picture, or two in one place.
    """
    about = opened.about
    to_overlays = {} if overlays is None else places_for(names, Path(overlays), "--overlays")
    collection = FileCollection(about.classes, {"all": tuple(Sample(name, 0) for name in names)})
    samples, rows, seconds = collection.split("all"), [], 0.0
    damaged: dict[str, str] = {}
    remarks: dict[str, str] = {}
    for first in range(0, len(samples), TOGETHER):
        pictures = read_pictures(collection, samples[first : first + TOGETHER])
        damaged |= pictures.damaged
        remarks |= {readable(name): text for name, text in pictures.remarks.items()}
        if not len(pictures):
            continue
        began = time.monotonic()
        logits, ids, lost = opened.logits(pictures, plan)
        seconds += time.monotonic() - began
        damaged |= lost
        for number, answer in zip(ids.tolist(), about.task.answer(logits) if len(ids) else (), strict=True):
            name, image = pictures.samples[number].name, pictures.image(number)
            boxes = boxes_in(answer, (image.shape[1], image.shape[2]), opened, score)
            if name in to_overlays:
                corners = [(box.left, box.top, box.right, box.bottom) for box in boxes]
                labels = [about.classes.index(box.label) + 1 for box in boxes]
                pixels = image.permute(1, 2, 0).numpy()
                save_overlay(to_overlays[name], PIL.Image.fromarray(framed(pixels, corners, labels)))
            best: dict[str, float] = {}
            for box in boxes:
                best.setdefault(box.label, box.score)
            rows.append(Prediction(readable(name), tuple(best.items()), objects=len(boxes), boxes=boxes))
    damaged = {readable(name): reason for name, reason in damaged.items()}
    if csv is not None:
        header = ["name", "class", "score", "left", "top", "right", "bottom", "error"]
        lines = [
            [each.name, *([*box.to_dict().values()] if box else [""] * 6), ""] for each in rows for box in each.boxes or (None,)
        ]
        lost_lines = [[name, *[""] * 6, reason] for name, reason in damaged.items()]
        write_lines(Path(csv), header, [*lines, *lost_lines])
    return Predicted(tuple(rows), damaged, {}, tuple(told(remarks)), seconds, opened.runtime)


def boxes_in(answer: Tensor, size: tuple[int, int], opened: Answering, score: float) -> tuple[Box, ...]:
    """The boxes of a picture, best first, in pixels of it.

    Args:
        answer: [slot, 6], see `paretina.model.tasks.boxes.Boxes.answer`.
        size: rows and columns of the picture.
        score: below which a box is left out.
    """
    top, left, height, width = place_of(*size, opened.preprocessing)
    boxes = (
        Box(left + x0 * width, top + y0 * height, left + x1 * width, top + y1 * height, opened.about.classes[int(label)], sure)
        for x0, y0, x1, y1, sure, label in answer.tolist()
        if sure > 0 and sure >= score
    )
    return tuple(sorted(boxes, key=lambda box: -box.score))


def readable(name: str) -> str:
    """A file's name as text; undecodable bytes are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
