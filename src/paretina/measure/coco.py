"""Average precision of boxes as in COCO, by pycocotools, and its intervals over resampled pictures.

Boxes are matched and counted by pycocotools, in pixels of the picture as the network sees it: sizes of objects are those of
their boxes there. For intervals, its matches are counted again with other weights of the pictures: with all weights 1 the
figures are those of pycocotools.

Source: Lin et al. 2014 (arXiv:1405.0312); https://cocodataset.org/#detection-eval.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paretina.measure.judge import times_drawn
from paretina.packages import require_coco

ORDERS = 200
"""Resamples from which intervals come; each has to be followed through every order."""
USUAL = 100
"""Boxes of a picture that count, in COCO."""
THRESHOLDS = tuple((50 + 5 * step) / 100 for step in range(10))
"""Of intersection over union."""
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Areas in pixels of the objects of each size, in COCO; both ends belong to it."""


@dataclass(frozen=True)
class Precisions:
    """Shares, from 0 to 1.

    Attributes:
        by_class: average precision of each class at each threshold, [class, 10]; nan for a class without an object.
        recall: of each class, of at most `USUAL` boxes a picture, as the mean over the thresholds, [class].
        drawn: `ap`, `ap50` and `ap75` of each resample, [resample, 3].
        by_size: `ap` of the objects of each size that there is.
        drawn_by_size: likewise, of each resample with such an object, [resample].
    """

    by_class: np.ndarray
    recall: np.ndarray
    drawn: np.ndarray
    by_size: dict[str, float]
    drawn_by_size: dict[str, np.ndarray]


def figures_in(by_class: np.ndarray) -> dict[str, float]:
    """`ap`, `ap50` and `ap75`, as means over the classes with an object; nan if there is none."""
    known = by_class[~np.isnan(by_class[:, 0])]
    if not len(known):
        return dict.fromkeys(("ap", "ap50", "ap75"), float("nan"))
    names = {"ap": known, "ap50": known[:, 0], "ap75": known[:, THRESHOLDS.index(0.75)]}
    return {name: float(values.mean()) for name, values in names.items()}


def precisions(
    answers: Sequence[Tensor], truth: Sequence[Tensor], classes: int, resamples: int = ORDERS, side: int | None = None
) -> Precisions:
    """Judges the boxes of pictures.

    Args:
        answers: of each picture, [box, 6]: left, top, right, bottom, score, number of the class.
        truth: of each picture, [object, 6]: likewise, with 1 in place of the score, or less for a region to be ignored.
        classes: number of classes.
        resamples: 0 for no intervals.
        side: of the square pictures in pixels, of which the boxes are shares; None for no figures by size.

    Raises:
        ValueError: pycocotools is not installed.
    """
    require_coco("average precision of boxes")
    from pycocotools.cocoeval import COCOeval

    most = max([USUAL, *(len(each) for each in answers)])
    sizes = {"all": (0.0, 1e10), **(SIZES if side is not None else {})}
    with contextlib.redirect_stdout(io.StringIO()):
        wanted, given = as_coco(truth, classes, scored=False, side=side), as_coco(answers, classes, scored=True, side=side)
        judge = COCOeval(wanted, given, "bbox")
        judge.params.areaRng, judge.params.areaRngLbl, judge.params.maxDets = [*map(list, sizes.values())], [*sizes], [most]
        judge.evaluate()
        judge.accumulate()
    found, recall = judge.eval["precision"][..., 0], judge.eval["recall"][..., 0, 0]  # threshold, recall, class, size
    by_class, recalls = found.mean(1).transpose(2, 1, 0), recall.mean(0)  # size, class, threshold
    none = (found == -1).all((0, 1)).T
    by_class[none], recalls[none[0]] = np.nan, np.nan
    drawn: dict[str, np.ndarray] = {}
    weights = times_drawn(len(answers), resamples, torch.Generator().manual_seed(0)).numpy() if resamples else None
    for place, name in enumerate(sizes):
        drawn[name] = np.empty((0, 3))
        if weights is None or none[place].all():
            continue
        starts = [len(answers) * (number * len(sizes) + place) for number in range(classes)]
        matches = [judge.evalImgs[start : start + len(answers)] for start in starts]
        every = np.stack([resampled(each, weights) for each in matches], 1)  # resample, class, threshold
        figures = np.array([[*figures_in(each).values()] for each in every])
        drawn[name] = figures[~np.isnan(figures).any(1)]
    there = {name: place for place, name in enumerate(sizes) if place and not none[place].all()}
    by_size = {name: figures_in(by_class[place])["ap"] for name, place in there.items()}
    return Precisions(by_class[0], recalls, drawn["all"], by_size, {name: drawn[name][:, 0] for name in there})


def as_coco(boxes: Sequence[Tensor], classes: int, scored: bool, side: int | None = None) -> Any:
    """Boxes of pictures in the form of pycocotools, in pixels where the side of the pictures is given."""
    from pycocotools.coco import COCO

    rows: list[dict[str, Any]] = []
    for picture, own in enumerate(boxes, 1):
        for *corners, score, number in own.double().tolist():
            left, top, right, bottom = (each * (side or 1) for each in corners)
            width, height = max(0.0, right - left), max(0.0, bottom - top)
            row = {"id": len(rows) + 1, "image_id": picture, "category_id": int(number), "bbox": [left, top, width, height]}
            crowd = int(not scored and score < 1)
            rows.append({**row, "area": width * height, "iscrowd": crowd, **({"score": score} if scored else {})})
    found = COCO()
    found.dataset = {
        "images": [{"id": number} for number in range(1, len(boxes) + 1)],
        "annotations": rows,
        "categories": [{"id": number} for number in range(classes)],
    }
    found.createIndex()
    return found


def resampled(matches: Sequence[dict[str, Any] | None], weights: np.ndarray) -> np.ndarray:
    """The average precision of a class at each threshold, [resample, 10], under several weightings of the pictures.

    Args:
        matches: what pycocotools found for each picture.
        weights: [resample, picture].
    """
    there = [(number, each) for number, each in enumerate(matches) if each is not None]
    found = np.full((len(weights), len(THRESHOLDS)), np.nan)
    counts = np.array([np.logical_not(each["gtIgnore"]).sum() for _, each in there], np.float64)
    objects = weights[:, [number for number, _ in there]] @ counts if there else np.zeros(len(weights))
    if not objects.any():
        return found
    scores = np.concatenate([each["dtScores"] for _, each in there])
    order = np.argsort(-scores, kind="mergesort")
    places = np.repeat([number for number, _ in there], [len(each["dtScores"]) for _, each in there])[order]
    hit, ignored = (
        np.concatenate([each[name] for _, each in there], axis=1)[:, order].astype(bool) for name in ("dtMatches", "dtIgnore")
    )
    counted = ~ignored.all(0)  # of one size, most answers are not
    places, hit, ignored = places[counted], hit[:, counted], ignored[:, counted]
    levels = np.linspace(0.0, 1.0, 101)
    known = np.flatnonzero(objects)
    found[known] = 0.0
    if not len(places):
        return found
    for row in known:
        weight = weights[row][places]
        for number in range(len(THRESHOLDS)):
            right = np.cumsum(weight * (hit[number] & ~ignored[number]))
            wrong = np.cumsum(weight * (~hit[number] & ~ignored[number]))
            precision = right / np.maximum(right + wrong, np.spacing(1))
            precision = np.maximum.accumulate(precision[::-1])[::-1]
            at = np.searchsorted(right / objects[row], levels - 1e-12, side="left")
            found[row, number] = np.where(at < len(precision), precision[np.minimum(at, len(precision) - 1)], 0.0).mean()
    return found
