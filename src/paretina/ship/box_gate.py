"""The gate of files that find boxes: does a file find the boxes that the trained network finds?

The network chooses its boxes by torchvision; those of the file are chosen of all its places by `paretina.ship.boxes`. So what
is compared is what users of either get. The scores are compared at every place too, chosen or not.
"""

import importlib.util
import math
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from paretina.data.pictures import Pictures
from paretina.measure.evaluate import Evaluation
from paretina.measure.judges.box_precision import BoxPrecision
from paretina.measure.plan import Plan
from paretina.model.build import Network
from paretina.model.detection import OneStep, level_maps
from paretina.model.fold import fastest_form
from paretina.model.tasks.boxes import Boxes
from paretina.model.weights import About
from paretina.ship.box_answers import as_answers, as_seen, in_answers
from paretina.ship.format import Running
from paretina.ship.gate import Gate, Limits, judged, shares_of_file, timed

SURE = 0.3
"""Score from which on a box has to be found by both; `predict` shows these."""

SAME = 0.9
"""Intersection over union from which on two boxes are the same."""

NEAR = 0.5
"""From which on they are at the same object: which of two such boxes is chosen can hang on the last digits of their scores."""


def compared_boxes(
    network: Network, about: About, running: Running, pictures: Pictures, limits: Limits, seconds: float, machine: str
) -> Gate:
    """As `paretina.ship.gate.compared`, of a network with a detector of one step.

    A picture has the same answer if every box of a score of at least `SURE` has one of its class in the other answer that
    covers the same. `Gate.largest` is the largest difference of a score at any place, or of a side of a box, as a share of the
    picture's, at a place that boxes are chosen from.

    Raises:
        ValueError: none of the pictures can be read.
    """
    header = running.header
    assert header.boxes is not None
    model, classes = network.model, len(about.classes)
    form = fastest_form(network)
    finder = cast(OneStep, form.head.classifier)
    seen = Evaluation(pictures, model.preprocessing, model.resolution, classes, Plan(), batch=16)
    before, after = (BoxPrecision().start(classes) for _ in range(2))
    rule = header.boxes
    numbers, boxes, differing, moved, largest = [], 0, 0, 0, 0.0
    for loaded in seen.batches(0):
        batch = loaded.batch
        if not len(batch):
            continue
        with torch.inference_mode():
            maps = level_maps(form, batch.images)
            own, places = finder(maps), finder.places(maps)
        ids = batch.ids.tolist()
        images = [pictures.image(number) for number in ids]
        theirs = shares_of_file(running.run, lambda number, images=images: images[number], range(len(images)))  # type: ignore[misc]
        if theirs.shape != places.shape:
            raise ValueError(f"{running.path} gives {tuple(theirs.shape)} places, the network {tuple(places.shape)}")
        there = torch.from_numpy(
            np.concatenate(
                [
                    as_seen(each[None].numpy(), image.shape[1], image.shape[2], header.preprocessing)
                    for each, image in zip(theirs, images, strict=True)
                ]
            )
        )
        apart = (places - there).abs()
        apart[..., :4] *= places[..., 4:].amax(2, keepdim=True) > rule.least
        largest = max(largest, float(apart.max()) if torch.isfinite(there).all() else math.inf)
        now = as_answers(rule, there.nan_to_num().numpy(), classes)
        before.add(own, batch.targets, batch.ids)
        after.add(now, batch.targets, batch.ids)
        for one, other in zip(Boxes().answer(own), Boxes().answer(now), strict=True):
            least = max(SURE, rule.least)
            boxes += int((one[:, 4] >= least).sum())
            differing += not (covered(one, other, least, SAME) and covered(other, one, least, SAME))
            least += limits.tie
            moved += not (covered(one, other, least, NEAR) and covered(other, one, least, NEAR))
        numbers += ids
    if not numbers:
        raise ValueError("none of the pictures for the comparison can be read")
    timing, faster = timed(network, about.task, in_answers(running), pictures.image(numbers[len(numbers) // 2]), seconds)
    n = len(numbers)
    verdict, why = judged(1 - differing / n, moved, largest, None, n, limits, header.precision, "a score or a side of a box")
    found = Gate(
        n, 1 - differing / n, moved, largest, None, None, None, None, timing, faster, running.runtime, machine, limits,
        verdict, why, boxes=boxes,
    )  # fmt: skip
    if importlib.util.find_spec("pycocotools") is None:
        return found
    precise = [each.quick()["ap"] for each in (before, after)]
    return found if any(map(math.isnan, precise)) else replace(found, ap_before=precise[0], ap_after=precise[1])


def covered(some: Tensor, others: Tensor, least: float, overlap: float) -> bool:
    """Whether each box of a score of at least `least` has another of its class with an intersection over union of at least
    `overlap`.

    Args:
        some, others: [slot, 6], as `Boxes.answer` gives them.
    """
    sure, there = some[some[:, 4] >= least], others[others[:, 4] > 0]
    if not len(sure):
        return True
    if not len(there):
        return False
    shared = box_iou(sure[:, :4], there[:, :4]).nan_to_num() * (sure[:, None, 5] == there[None, :, 5])
    return bool((shared.amax(1) >= overlap).all())
