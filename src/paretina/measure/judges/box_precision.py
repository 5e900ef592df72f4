"""BoxPrecision: average precision of boxes as in COCO, and how many objects are found.

- `ap`: average precision, as the mean over the classes and over the thresholds 0.5 to 0.95 of intersection over union; `ap50`
  and `ap75` at one threshold; `ar` the recall likewise, of all boxes of an answer (at most 100, or as many as the head has room
  for).
- `ap_small`, `ap_medium` and `ap_large`: `ap` of the objects whose boxes have less than 32 x 32 pixels, up to 96 x 96, or
  more; only where there are such objects.
- `loss`: 1 - the largest score x intersection over union with an answer of the right class, as the mean over objects: a measure
  from 0 to 1 that tells more than `ap` in the first epochs.

Objects are those of the picture as the network sees it, so that a part that is cut off counts for nothing.

Source: `paretina.measure.coco`.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from paretina.data.pictures import Pictures
from paretina.measure.accuracy import over_pictures
from paretina.measure.coco import ORDERS, SIZES, figures_in, precisions
from paretina.measure.judge import Judge, Judged, Showing, Tally
from paretina.measure.overlays import framed, side_by_side
from paretina.model.task import Task
from paretina.model.tasks.boxes import IGNORED, SURE, Boxes
from paretina.run import Run
from paretina.shapes import Ids
from paretina.tables import write_lines
from paretina.traits import SETTING, traits


class FoundBoxes(Showing):
    """The boxes of each picture that has a label.

    Args:
        classes: number of classes.
        score: from which on a box counts in the table of pictures.

    Attributes:
        side: of the pictures in pixels; None where it is not known, and so no size of an object.
        drawn: the pictures that are shown, as the network sees them; (row, column, 3), uint8.
    """

    KEY: ClassVar[str] = "ap"
    TITLE: ClassVar[str] = "AP of boxes"

    def __init__(self, classes: int, score: float) -> None:
        self.classes = classes
        self.score = score
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.side: int | None = None
        self.drawn: dict[int, np.ndarray] = {}

    def sized(self, side: int) -> None:
        self.side = side

    def add(self, logits: Tensor, targets: Tensor, ids: Ids) -> None:
        """Adds a batch.

        Args:
            logits: answers, (batch, class, slot, 5); see `paretina.model.tasks.boxes`.
            targets: likewise; there may be another number of slots.
        """
        answers, truth = Boxes().answer(logits.cpu()), [described(own) for own in targets.cpu()]
        known = targets[..., 4].flatten(1).any(1).tolist()
        for place, number in enumerate(ids.tolist()):
            if known[place]:
                own = answers[place]
                self.kept[number] = own[own[:, 4] > 0], truth[place]
                if number in self.wanted and self.seen is not None and (found := self.seen(number)) is not None:
                    self.drawn[number] = found[0].permute(1, 2, 0).numpy()

    def with_all(self, others: Sequence[Tally]) -> "FoundBoxes":
        joined = copy.copy(self)
        joined.kept = {number: each for tally in (self, *others) for number, each in cast(FoundBoxes, tally).kept.items()}
        joined.drawn = dict(item for tally in (self, *others) for item in cast(FoundBoxes, tally).drawn.items())
        return joined

    def only(self, numbers: Collection[int]) -> "FoundBoxes":
        part = copy.copy(self)
        part.kept = {number: each for number, each in self.kept.items() if number in numbers}
        part.drawn = {number: each for number, each in self.drawn.items() if number in numbers}
        return part

    def counted(self) -> int:
        return len(self.kept)

    def in_order(self) -> list[tuple[int, Tensor, Tensor]]:
        """Number, answers and objects of each picture, in the order of the split."""
        return [(number, *self.kept[number]) for number in sorted(self.kept)]

    def misses(self) -> float:
        """What `loss` is; nan without an object."""
        found = [1 - best_of(answers, objects(truth), scored=True) for _, answers, truth in self.in_order()]
        whole = torch.cat(found) if found else torch.empty(0)
        return whole.mean().item()

    def quick(self) -> dict[str, float]:
        order = self.in_order()
        names = ("ap", "ap50", "ap75")
        if not order:
            return {"loss": float("nan"), **dict.fromkeys((*names, "ar"), float("nan"))}
        found = precisions([answers for _, answers, _ in order], [truth for *_, truth in order], self.classes, 0)
        shares = {**figures_in(found.by_class), "ar": mean_known(found.recall)}
        return {"loss": self.misses(), **{name: 100 * value for name, value in shares.items()}}

    def judged(self, classes: tuple[str, ...]) -> Judged:
        order = self.in_order()
        if not order:
            raise ValueError("there are no labelled pictures to judge boxes on")
        answers, truth = [each for _, each, _ in order], [each for *_, each in order]
        found = precisions(answers, truth, self.classes, ORDERS, self.side)
        misses = self.misses()
        metrics: dict[str, float | None] = {"val/loss": None if np.isnan(misses) else misses}
        for place, (name, share) in enumerate(figures_in(found.by_class).items()):
            value = 100 * share
            if np.isnan(value):
                metrics |= {f"val/{name}": None, f"val/{name}_low": None, f"val/{name}_high": None}
                continue
            low, high = over_pictures(value, torch.from_numpy(100 * found.drawn[:, place]), 100.0, len(order))
            metrics |= {f"val/{name}": value, f"val/{name}_low": low, f"val/{name}_high": high}
        for name, share in found.by_size.items():
            low, high = over_pictures(100 * share, torch.from_numpy(100 * found.drawn_by_size[name]), 100.0, len(order))
            metrics |= {f"val/ap_{name}": 100 * share, f"val/ap_{name}_low": low, f"val/ap_{name}_high": high}
        recall = 100 * mean_known(found.recall)
        metrics["val/ar"] = None if np.isnan(recall) else recall
        counts = [sum(int((objects(each)[:, 5] == number).sum()) for each in truth) for number in range(self.classes)]
        per_class = [
            {
                "name": name,
                "objects": count,
                "ap": None if not count else 100 * float(found.by_class[number].mean()),
                "ap50": None if not count else 100 * float(found.by_class[number, 0]),
            }
            for number, (name, count) in enumerate(zip(classes, counts, strict=True))
        ]
        total = {"objects": sum(counts), "answers": sum(int((each[:, 4] >= self.score).sum()) for each in answers)}
        missing = [name for name in SIZES if name not in found.by_size] if self.side is not None else []
        notes = () if sum(counts) else ("there is no object in any picture, so nothing is said of objects",)
        if sum(counts) and missing:
            those = "that size" if len(missing) == 1 else "these sizes"
            notes = (f"no object is {' or '.join(map(size_in_words, missing))}, so AP is not said for {those}",)
        return Judged(metrics, {"boxes_per_class": per_class, "boxes": total}, notes)

    def write(self, run: Run, pictures: Pictures) -> None:
        super().write(run, pictures)
        drawn = []
        for number, image in sorted(self.drawn.items()):
            answers, truth = self.kept[number]
            parts = (objects(truth), answers[answers[:, 4] >= self.score])
            # the likeliest first, which is then on top
            both = [placed(image, part[part[:, 4].argsort(descending=True, stable=True)]) for part in parts]
            drawn.append({"name": pictures.samples[number].name, "picture": side_by_side(*both), "score": self.score})
        run.write("overlays.json", drawn)

    def table(self, path: Path, pictures: Pictures, classes: tuple[str, ...]) -> None:
        """The columns are name, objects, answers (of a score from `score` on) and found (objects that one of them fits)."""
        rows = []
        for number, answers, truth in self.in_order():
            sure, there = answers[answers[:, 4] >= self.score], objects(truth)
            found = int((best_of(sure, there, scored=False) >= 0.5).sum())
            rows.append([pictures.samples[number].name, len(there), len(sure), found])
        write_lines(path, ["name", "objects", "answers", "found"], rows)


def placed(image: np.ndarray, boxes: Tensor) -> np.ndarray:
    """The picture with boxes drawn over it, each in the colour of its class.

    Args:
        image: (row, column, 3), uint8.
        boxes: corners as shares of the sides, score, class; [box, 6].
    """
    rows, columns = image.shape[:2]
    corners = (boxes[:, :4] * torch.tensor([columns, rows, columns, rows])).tolist()
    return framed(image, corners, [int(label) + 1 for label in boxes[:, 5]])


def size_in_words(name: str) -> str:
    """A size of objects with its limits: small (below 32 x 32 pixels)"""
    least, most = (round(area**0.5) for area in SIZES[name])
    if not least:
        return f"{name} (below {most} x {most} pixels)"
    return f"{name} ({least} x {least} {'pixels and more' if name == 'large' else f'to {most} x {most} pixels'})"


def mean_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def described(target: Tensor) -> Tensor:
    """The objects of a target and its regions to ignore, these once for each of their classes, as `Boxes.answer` does."""
    slots, numbers = (target[..., 4] >= IGNORED).t().nonzero(as_tuple=True)
    return torch.cat((target[numbers, slots], numbers[:, None].to(target.dtype)), 1)


def objects(truth: Tensor) -> Tensor:
    """Without the regions that are ignored."""
    return truth[truth[:, 4] > SURE]


def best_of(answers: Tensor, truth: Tensor, scored: bool) -> Tensor:
    """The largest intersection over union of each object with an answer of its class, times its score if `scored`; [object]."""
    if not len(answers) or not len(truth):
        return torch.zeros(len(truth))
    shared = box_iou(truth[:, :4], answers[:, :4]).nan_to_num() * (truth[:, None, 5] == answers[None, :, 5])
    return (shared * answers[:, 4] if scored else shared).amax(1)


@dataclass(frozen=True, kw_only=True)
class BoxPrecision(Judge):
    """
    Attributes:
        score: from which on a box counts in the table of pictures; the figures count all of them.
    """

    TASK: ClassVar[type[Task]] = Boxes

    score: float = field(default=0.5, metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"BoxPrecision.score is a score in [0, 1], got {self.score:g}")

    def start(self, classes: int) -> Tally:
        return FoundBoxes(classes, self.score)


EXAMPLES = (BoxPrecision(), BoxPrecision(score=0.3))
