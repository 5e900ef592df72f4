"""InstancePrecision: how many objects are found and how well they are outlined, and the figures of their pixels.

Objects of the answer are what hangs together of the pixels that are inside, holes filled, without very small ones. The figures
are at the image size of the network.

- `ap`: matched objects / (matched + missed + made up), counted over all pictures, as the mean over the thresholds 0.5 to 0.95
  of intersection over union; `ap50` and `ap75` at one threshold. It is not the area under a curve of precision and recall,
  since objects have no scores.
- `seg` and `det`: those of the Cell Tracking Challenge, over all true objects. `seg`: the mean Jaccard index with the object
  that covers more than half of the true one. `det`: 1 - cost of correcting the answer / cost of adding all objects to an empty
  one.
- `iou`, `dice` and `pixel_accuracy`: as `MeanIoU`, of the classes of pixels.

Sources: `paretina.measure.objects`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from paretina.data.pictures import Pictures
from paretina.measure.accuracy import over_pictures
from paretina.measure.judge import Judge, Judged, PerPicture, Seen, Tally, resampled_sums
from paretina.measure.judges.mean_iou import Overlaps
from paretina.measure.objects import MADE_UP, MISSED, SPLIT, THRESHOLDS, components, counted, objects_of
from paretina.model.task import UNKNOWN, Task
from paretina.model.tasks.instances import INSIDE, Instances
from paretina.run import Run
from paretina.shapes import Ids, Logits, Targets
from paretina.tables import write_lines
from paretina.traits import SETTING, traits

COUNTS = ("objects", "answers", "seg", "missed", "made_up", "splits")
"""The columns behind those of the thresholds."""


def figures_of(sums: Tensor) -> dict[str, Tensor]:
    """The figures, as shares, from sums over pictures: (..., columns)."""
    matched = sums[..., : len(THRESHOLDS)]
    objects, answers, seg, missed, made_up, splits = sums[..., len(THRESHOLDS) :].unbind(-1)
    ap = matched / (objects[..., None] + answers[..., None] - matched)
    cost, empty = SPLIT * splits + MISSED * missed + MADE_UP * made_up, MISSED * objects
    return {
        "ap": ap.mean(-1),
        "ap50": ap[..., THRESHOLDS.index(0.5)],
        "ap75": ap[..., THRESHOLDS.index(0.75)],
        "seg": seg / objects,
        "det": 1 - torch.minimum(cost, empty) / empty,
    }


class Objects(PerPicture):
    """Objects and pixels of each picture; a row for each picture with a known pixel.

    Args:
        smallest: pixels of the smallest object of an answer.
    """

    KEY: ClassVar[str] = "ap"
    TITLE: ClassVar[str] = "mean AP of objects"

    def __init__(self, classes: int, smallest: int) -> None:
        super().__init__(torch.empty(0, len(THRESHOLDS) + len(COUNTS), dtype=torch.float64))
        self.pixels = Overlaps(classes)
        self.smallest = smallest
        self.seen: Seen | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "seen": None}

    def prepare(self, count: int, seen: Seen) -> None:
        self.pixels.prepare(count, seen)
        self.seen = seen

    def add(self, logits: Logits, targets: Targets, ids: Ids) -> None:
        self.pixels.add(logits, targets, ids)
        answers = (Instances().answer(logits) == INSIDE).cpu().numpy()
        known = targets.any(1).cpu().numpy()
        inside = (targets[:, INSIDE] > 0).cpu().numpy()
        rows, kept = [], []
        for place, number in enumerate(ids.tolist()):
            if not known[place].any():
                continue
            seen = None if self.seen is None else self.seen(number)
            truth = components(inside[place]) if seen is None else true_objects(seen[1])
            answer = components(answers[place] & known[place], self.smallest)
            found = counted(np.where(known[place], truth, 0), answer)
            rows.append([*found["matched"], *(found[name] for name in COUNTS)])
            kept.append(number)
        if rows:
            self.keep(torch.tensor(kept), torch.tensor(np.array(rows, np.float64)))

    def with_all(self, others: Sequence[Tally]) -> "Objects":
        joined = cast(Objects, super().with_all(others))
        joined.pixels = self.pixels.with_all([cast(Objects, other).pixels for other in others])
        return joined

    def only(self, numbers: Collection[int]) -> "Objects":
        part = cast(Objects, super().only(numbers))
        part.pixels = self.pixels.only(numbers)
        return part

    def quick(self) -> dict[str, float]:
        found = figures_of(self.columns()[1].sum(0))
        pixels = self.pixels.quick()
        return {"loss": pixels.pop("loss"), **{name: 100 * value.item() for name, value in found.items()}, **pixels}

    def judged(self, classes: tuple[str, ...]) -> Judged:
        pixels = self.pixels.judged(classes)
        rows = self.columns()[1]
        drawn = figures_of(resampled_sums(rows)[0])
        metrics: dict[str, float | None] = {"val/loss": pixels.metrics["val/loss"]}
        for name, value in figures_of(rows.sum(0)).items():
            whole = 100 * value.item()
            if whole != whole:
                metrics |= {f"val/{name}": None, f"val/{name}_low": None, f"val/{name}_high": None}
                continue
            low, high = over_pictures(whole, 100 * drawn[name], 100.0, len(rows))
            metrics |= {f"val/{name}": whole, f"val/{name}_low": low, f"val/{name}_high": high}
        total = rows.sum(0)[len(THRESHOLDS) :].tolist()
        notes = () if total[0] else ("there is no object in any mask, so nothing is said of objects",)
        objects = {name: round(value) for name, value in zip(COUNTS, total, strict=True) if name != "seg"}
        return Judged(metrics | pixels.metrics, {**pixels.details, "objects": objects}, (*notes, *pixels.notes))

    def write(self, run: Run, pictures: Pictures) -> None:
        self.pixels.write(run, pictures)  # whose table of pictures is written over
        super().write(run, pictures)

    def table(self, path: Path, pictures: Pictures, classes: tuple[str, ...]) -> None:
        """The columns are name, objects, answers, and in percent ap, ap50, ap75, seg and det, each of that picture alone."""
        ids, rows = self.columns()
        figures = figures_of(rows)
        names = ["ap", "ap50", "ap75", "seg", "det"]
        first = len(THRESHOLDS)
        lines = (
            [
                pictures.samples[number].name,
                round(row[first].item()),
                round(row[first + 1].item()),
                *("" if (value := figures[name][place].item()) != value else f"{100 * value:.3f}" for name in names),
            ]
            for place, (number, row) in enumerate(zip(ids.tolist(), rows, strict=True))
        )
        write_lines(path, ["name", "objects", "answers", *names], lines)


def true_objects(mask: Tensor) -> np.ndarray:
    """The objects of a mask of numbers in 8 bits, 255 where it is not known."""
    numbers = mask.numpy()
    return objects_of(np.where(numbers == UNKNOWN, 0, numbers).astype(np.uint8))


@dataclass(frozen=True, kw_only=True)
class InstancePrecision(Judge):
    """
    Attributes:
        smallest: pixels of the smallest object of an answer; smaller ones are left out.
    """

    TASK: ClassVar[type[Task]] = Instances

    smallest: int = field(default=4, metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        if self.smallest < 1:
            raise ValueError(f"InstancePrecision.smallest is a number of pixels, at least 1, got {self.smallest}")

    def start(self, classes: int) -> Tally:
        return Objects(classes, self.smallest)


EXAMPLES = (InstancePrecision(), InstancePrecision(smallest=20))
