"""MeanIoU: intersection over union, by class and averaged, Dice and pixel accuracy, for one class per pixel.

The pixels of all pictures are counted together, class by class: those that are of the class and named so, over those that are
either. The mean is over classes that occur in the masks or in the answers. Pixels that are not known are not counted. Keeps
three counts a class for each picture instead of its logits, which would take a thousand times as much. Intervals come from
resampled pictures, not pixels. Dice is the share of pixels that are both among the mean of those of the class and those named
so, 2 IoU / (1 + IoU) class by class, and averaged over the same classes.

Source: Everingham et al. 2015 (PASCAL VOC), section 4.1; Dice 1945 (doi:10.2307/1932409).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from paretina.data.pictures import Pictures
from paretina.measure.accuracy import over_pictures
from paretina.measure.judge import Judge, Judged, PerPicture, Showing, Tally, resampled_sums
from paretina.measure.overlays import side_by_side, tinted
from paretina.model.task import UNKNOWN, Task
from paretina.model.tasks.places import Places
from paretina.run import Run
from paretina.shapes import Ids, Logits, Targets
from paretina.tables import write_lines
from paretina.text import printable


class Overlaps(Showing, PerPicture):
    """For each picture with a known pixel: pixels of each class, those named so, those that are both, and the summed loss.

    Attributes:
        confusion: pixels of each class that were named so, over all pictures; None where that is not known of those kept.
        drawn: of the pictures that are shown: the picture, the classes of its pixels, 255 where not known, and the answer.
    """

    KEY: ClassVar[str] = "iou"
    TITLE: ClassVar[str] = "mean IoU"

    def __init__(self, classes: int) -> None:
        counts = torch.empty(0, classes, dtype=torch.int64)
        super().__init__(counts, counts, counts, torch.empty(0, dtype=torch.float64))
        self.confusion: Tensor | None = torch.zeros(classes, classes, dtype=torch.int64)
        self.drawn: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def add(self, logits: Logits, targets: Targets, ids: Ids) -> None:
        classes = targets.shape[1]
        known = targets.any(1)
        losses = F.cross_entropy(logits, targets, reduction="none").double().sum((1, 2))
        pairs = targets.argmax(1) * classes + Places().answer(logits)
        counts = [torch.bincount(pair[there], minlength=classes**2) for pair, there in zip(pairs, known, strict=True)]
        tables = torch.stack(counts).view(-1, classes, classes).cpu()
        some = known.flatten(1).any(1).cpu()
        columns = (tables.sum(2), tables.sum(1), tables.diagonal(dim1=1, dim2=2), losses.cpu())
        self.keep(ids.cpu()[some], *(column[some] for column in columns))
        if self.confusion is not None:
            self.confusion = self.confusion + tables.sum(0)
        for place, number in enumerate(ids.tolist()):
            if number in self.wanted and self.seen is not None and (found := self.seen(number)) is not None:
                truth = targets[place].argmax(0).masked_fill(~known[place], UNKNOWN).cpu().numpy()
                answer = Places().answer(logits[place : place + 1])[0].cpu().numpy()
                self.drawn[number] = (found[0].permute(1, 2, 0).numpy(), truth, answer)

    def with_all(self, others: Sequence[Tally]) -> "Overlaps":
        joined = cast(Overlaps, super().with_all(others))
        tables = [cast(Overlaps, each).confusion for each in (self, *others)]
        known = [each for each in tables if each is not None]
        joined.confusion = torch.stack(known).sum(0) if len(known) == len(tables) else None
        joined.drawn = dict(item for each in (self, *others) for item in cast(Overlaps, each).drawn.items())
        return joined

    def only(self, numbers: Collection[int]) -> "Overlaps":
        part = cast(Overlaps, super().only(numbers))
        part.confusion = None
        part.drawn = {number: each for number, each in self.drawn.items() if number in numbers}
        return part

    def quick(self) -> dict[str, float]:
        _, truth, named, hits, losses = self.columns()
        return {
            "loss": (losses.sum() / truth.sum()).item(),
            "iou": 100 * iou(truth.sum(0), named.sum(0), hits.sum(0)).nanmean().item(),
            "dice": 100 * dice(truth.sum(0), named.sum(0), hits.sum(0)).nanmean().item(),
            "pixel_accuracy": 100 * (hits.sum() / truth.sum()).item(),
        }

    def judged(self, classes: tuple[str, ...]) -> Judged:
        _, truth, named, hits, losses = self.columns()
        if not len(truth):
            raise ValueError("there are no pixels of a known class to evaluate; the split is empty, or none of it is labelled")
        if not bool(losses.isfinite().all()):
            raise ValueError("some logits are not finite; evaluate in float32, and check whether training diverged")
        figures = self.quick()
        drawn = resampled_sums(truth, named, hits)
        values = {
            "iou": 100 * iou(*drawn).nanmean(1),
            "dice": 100 * dice(*drawn).nanmean(1),
            "pixel_accuracy": 100 * drawn[2].sum(1) / drawn[0].sum(1),
        }
        metrics: dict[str, float | None] = {"val/loss": figures["loss"]}
        for name, resampled in values.items():
            low, high = over_pictures(figures[name], resampled, 100.0, len(truth))
            metrics |= {f"val/{name}": figures[name], f"val/{name}_low": low, f"val/{name}_high": high}
        by_class = iou(truth.sum(0), named.sum(0), hits.sum(0)).tolist()
        rows = zip(classes, truth.sum(0).tolist(), by_class, strict=True)
        per_class = [
            {
                "class": name,
                "n": n,
                "iou": 100 * value if value == value else None,
                "dice": 200 * value / (1 + value) if value == value else None,
            }
            for name, n, value in rows
        ]
        absent = [name for name, value in zip(classes, by_class, strict=True) if value != value]
        notes = (
            (f"classes that occur neither in the masks nor in the answers do not count: {', '.join(map(printable, absent))}",)
            if absent
            else ()
        )
        details: dict[str, Any] = {"per_class": per_class}
        if self.confusion is not None:
            details["confusion"] = self.confusion.tolist()
        return Judged(metrics, details, notes)

    def write(self, run: Run, pictures: Pictures) -> None:
        super().write(run, pictures)
        drawn = [
            {
                "name": pictures.samples[number].name,
                "picture": side_by_side(image, tinted(image, truth), tinted(image, answer)),
            }
            for number, (image, truth, answer) in sorted(self.drawn.items())
        ]
        run.write("overlays.json", drawn)

    def table(self, path: Path, pictures: Pictures, classes: tuple[str, ...]) -> None:
        """The columns are name, known pixels, pixel_accuracy and iou, in percent, each of that picture alone."""
        ids, truth, named, hits, _ = self.columns()
        right = 100 * hits.sum(1) / truth.sum(1)
        overlaps = 100 * iou(truth, named, hits).nanmean(1)
        found = zip(ids.tolist(), truth.sum(1).tolist(), right.tolist(), overlaps.tolist(), strict=True)
        rows = ((pictures.samples[i].name, pixels, f"{share:.3f}", f"{overlap:.3f}") for i, pixels, share, overlap in found)
        write_lines(path, ["name", "pixels", "pixel_accuracy", "iou"], rows)


def iou(truth: Tensor, named: Tensor, hits: Tensor) -> Tensor:
    """Intersection over union by class, as a share, the classes on the last axis; nan if a class occurs nowhere."""
    return hits.double() / (truth + named - hits).double()


def dice(truth: Tensor, named: Tensor, hits: Tensor) -> Tensor:
    """Dice coefficient by class, as a share, the classes on the last axis; nan if a class occurs nowhere."""
    return 2 * hits.double() / (truth + named).double()


@dataclass(frozen=True, kw_only=True)
class MeanIoU(Judge):
    TASK: ClassVar[type[Task]] = Places

    def start(self, classes: int) -> Tally:
        return Overlaps(classes)


EXAMPLES = (MeanIoU(),)
