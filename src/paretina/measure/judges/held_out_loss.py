"""HeldOutLoss: the loss of the objective on the validation pictures, for data without labels.

It is computed in evaluation mode and at the end of all schedules, on the pictures preprocessed for evaluation, once for each
view. It shows when a run diverges or overfits, but cannot be compared between objectives, or between strengths of one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from paretina.data.pictures import Pictures
from paretina.measure.judge import Judge, Judged, PerPicture, Tally
from paretina.model.task import Task
from paretina.model.tasks.nothing import Nothing
from paretina.shapes import Ids, Logits, Targets
from paretina.tables import write_lines


class Losses(PerPicture):
    """Keeps, for each picture, the loss of its batch."""

    KEY: ClassVar[str] = "loss"
    TITLE: ClassVar[str] = "loss"
    UNIT: ClassVar[str] = ""
    RISES: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__(torch.empty(0, dtype=torch.float64))

    def add(self, logits: Logits, targets: Targets, ids: Ids) -> None:
        self.keep(ids, logits[:, 0].double())

    def quick(self) -> dict[str, float]:
        return {"loss": self.columns()[1].mean().item()}

    def judged(self, classes: tuple[str, ...]) -> Judged:
        if not len(self.columns()[0]):
            raise ValueError("there are no pictures to evaluate; the split is empty")
        note = "the pictures have no labels, so the only metric is the loss of the objective on the validation pictures"
        return Judged({"val/loss": self.quick()["loss"]}, {}, (note,))

    def table(self, path: Path, pictures: Pictures, classes: tuple[str, ...]) -> None:
        """The columns are name, and the loss of the batch that the picture was in."""
        ids, losses = self.columns()
        rows = zip(ids.tolist(), losses.tolist(), strict=True)
        write_lines(path, ["name", "batch_loss"], ([pictures.samples[i].name, f"{loss:.6f}"] for i, loss in rows))


@dataclass(frozen=True, kw_only=True)
class HeldOutLoss(Judge):
    TASK: ClassVar[type[Task]] = Nothing
    LOSS: ClassVar[bool] = True

    def start(self, classes: int) -> Tally:
        return Losses()


EXAMPLES = (HeldOutLoss(),)
