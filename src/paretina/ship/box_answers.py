"""The answers of a shipped file that finds boxes, in the form that its network has them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from paretina.model.blueprint import Preprocessing
from paretina.model.build import Combined, Network
from paretina.model.detection import BoxHead, EachPlace, OneStep, level_maps
from paretina.ship.boxes import BoxRule
from paretina.ship.format import Running
from paretina.ship.overlay import place_of


def check_one_step(model: Path, network: Network) -> None:
    """Checks that all that a network chooses boxes from has a shape that does not depend on the picture.

    Args:
        model: the file that it is of.

    Raises:
        ValueError: it does not.
    """
    advice = "or use the model file itself with `paretina predict`"
    if isinstance(network, Combined):
        raise ValueError(f"{model} finds boxes by several networks; ship a network that does so alone, {advice}")
    if not isinstance(network.head.classifier, OneStep):
        raise ValueError(
            f"{model} finds boxes by {type(network.blueprint.head).__name__}, whose second step looks at as many boxes as the "
            f"first one finds, and a shipped file does the same with every picture; train one with head=FcosHead or "
            f"head=RetinaHead, which can be shipped, {advice}"
        )


def giving_places(network: Network) -> Network:
    """The network, changed to give all places in place of boxes."""
    network.head.classifier = EachPlace(cast(OneStep, network.head.classifier))
    return network


def box_rule(network: Network) -> BoxRule:
    """How a network chooses among its places.

    Args:
        network: with a detector of one step.
    """
    finder, model = cast(OneStep, network.head.classifier), network.model
    with torch.inference_mode():
        maps = level_maps(network, torch.zeros(1, model.channels, model.resolution, model.resolution))
    head = cast(BoxHead, network.blueprint.head)
    return BoxRule(head.least, head.overlap, head.most, finder.candidates, finder.levels(maps))


def in_answers(running: Running) -> Running:
    """A file that finds boxes with answers in place of all places; others as they are.

    Its `run` then gives (batch, class, slot, 5), see `paretina.model.tasks.boxes`.
    """
    rule, header = running.header.boxes, running.header
    if rule is None:
        return running

    def run(images: Tensor) -> Tensor:
        every = running.run(images).numpy()
        seen = as_seen(every, images.shape[-2], images.shape[-1], header.preprocessing)
        return as_answers(rule, seen, len(header.about.classes))

    return replace(running, run=run)


def as_answers(rule: BoxRule, places: Iterable[np.ndarray], classes: int) -> Tensor:
    """The boxes that are chosen, (batch, class, slot, 5); see `paretina.model.tasks.boxes`.

    Args:
        places: of each picture, (place, 4 + class).
        classes: number of classes.
    """
    found = []
    for each in places:
        boxes = torch.from_numpy(rule.chosen(each))
        own = torch.zeros(classes, rule.most, 5)
        own[boxes[:, 5].long(), torch.arange(len(boxes))] = boxes[:, :5]
        found.append(own)
    return torch.stack(found)


def as_seen(places: np.ndarray, rows: int, columns: int, preprocessing: Preprocessing) -> np.ndarray:
    """Places with boxes as shares of what the network sees, not of the whole picture.

    Args:
        places: (picture, place, 4 + class).
        rows, columns: of the picture.
    """
    top, left, height, width = place_of(rows, columns, preprocessing)
    if (height, width) == (rows, columns):
        return places
    size = np.array([columns, rows, columns, rows], places.dtype)
    start, side = (np.array(each, places.dtype) for each in ([left, top, left, top], [width, height, width, height]))
    corners = ((places[..., :4] * size - start) / side).clip(0, 1)
    return np.concatenate((corners, places[..., 4:]), -1)
