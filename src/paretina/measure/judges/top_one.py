"""TopOne: top-1, top-5, balanced accuracy, macro F1, likelihood and calibration, for one class per picture; see `accuracy`.

Keeps the logits of all pictures, since calibration, intervals and the list of mistakes need them.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import PIL.Image
import torch
from torch import Tensor

from paretina.data.decode import DecodeError
from paretina.data.pictures import Pictures
from paretina.measure.accuracy import Accuracy, confident_mistakes, measure_accuracy, write_predictions
from paretina.measure.hierarchy import Hierarchy, Pairs, severity
from paretina.measure.judge import Judge, Judged, PerPicture, Tally
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.run import Run
from paretina.shapes import Ids, Logits, Targets


class Answers(PerPicture):
    """The logits and the label of each picture that has a label."""

    KEY: ClassVar[str] = "top1"
    TITLE: ClassVar[str] = "top-1"

    def __init__(self, classes: int, hierarchy: Pairs = ()) -> None:
        super().__init__(torch.empty(0, classes), torch.empty(0, dtype=torch.int64))
        self.hierarchy = hierarchy

    def add(self, logits: Logits, targets: Targets, ids: Ids) -> None:
        known = targets.any(1)
        self.keep(ids.to(known.device)[known], logits[known], targets[known].argmax(1))

    def answers(self) -> tuple[Tensor, Logits, Tensor]:
        """Numbers of the pictures, logits and labels, in the order of the split."""
        ids, logits, labels = self.columns()
        return ids, logits, labels

    def quick(self) -> dict[str, float]:
        _, logits, labels = self.answers()
        return quick_figures(logits, labels)

    def judged(self, classes: tuple[str, ...]) -> Judged:
        _, logits, labels = self.answers()
        accuracy = measure_accuracy(logits, labels, classes)
        said = accuracy.to_dict()
        found, details = metrics(accuracy), {"per_class": said["per_class"], "confusion": said["confusion"]}
        if self.hierarchy:
            severe = severity(logits, labels, Hierarchy.of(self.hierarchy, classes))
            found |= severe.metrics()
            details["hierarchy"] = severe.to_dict()
        return Judged(found, details, accuracy.notes, hierarchy=self.hierarchy)

    def table(self, path: Path, pictures: Pictures, classes: tuple[str, ...]) -> None:
        ids, logits, labels = self.answers()
        write_predictions(path, [pictures.samples[i].name for i in ids.tolist()], logits, labels, classes)

    def write(self, run: Run, pictures: Pictures) -> None:
        super().write(run, pictures)
        run.write("mistakes.json", mistakes(pictures, *self.answers(), pictures.collection.classes))


def quick_figures(logits: Logits, labels: Tensor) -> dict[str, float]:
    """Loss, top-1 and (from five classes on) top-5 in percent, without intervals, for progress lines."""
    figures: dict[str, Any] = {
        "loss": torch.nn.functional.cross_entropy(logits, labels).item(),
        "top1": 100.0 * (logits.argmax(1) == labels).float().mean().item(),
    }
    if logits.shape[1] >= 5:
        top5 = logits.topk(5, dim=1).indices
        figures["top5"] = 100.0 * (top5 == labels[:, None]).any(1).float().mean().item()
    return figures


def metrics(accuracy: Accuracy) -> dict[str, float | None]:
    """The figures of a validation by metric key."""
    flat = accuracy.to_dict()
    return {
        name if name == "temperature" else f"val/{name}": value
        for name, value in flat.items()
        if isinstance(value, int | float) and name != "n"
    }


def mistakes(
    pictures: Pictures, ids: Tensor, logits: Logits, labels: Tensor, classes: Sequence[str], number: int = 24
) -> list[dict[str, Any]]:
    """The most confident wrong predictions, with thumbnails."""
    found = []
    probabilities = logits.softmax(1)
    for i in confident_mistakes(logits, labels, number):
        confidence, predicted = probabilities[i].max(0)
        found.append(
            {
                "name": pictures.samples[int(ids[i])].name,
                "label": classes[int(labels[i])],
                "predicted": classes[int(predicted)],
                "confidence": float(confidence),
                "picture": thumbnail(pictures, int(ids[i])),
            }
        )
    return found


def thumbnail(pictures: Pictures, index: int) -> str:
    """A small picture as a data URL; "" if it can no longer be read."""
    try:
        image = PIL.Image.fromarray(pictures.image(index).permute(1, 2, 0).contiguous().numpy())
    except DecodeError:
        return ""
    image.thumbnail((160, 160))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@dataclass(frozen=True, kw_only=True)
class TopOne(Judge):
    """
    Attributes:
        hierarchy: pairs of a class, or group of classes, and the group that it belongs to; with them there are figures for each
            level, and of how severe mistakes are, see `paretina.measure.hierarchy`. Empty for none.
    """

    TASK: ClassVar[type[Task]] = OneOf

    hierarchy: tuple[tuple[str, str], ...] = ()

    def check(self, classes: tuple[str, ...]) -> None:
        if self.hierarchy:
            Hierarchy.of(self.hierarchy, classes)

    def start(self, classes: int) -> Tally:
        return Answers(classes, self.hierarchy)


EXAMPLES = (TopOne(), TopOne(hierarchy=tuple(zip("abcdef", "xxyyzz", strict=True))))
