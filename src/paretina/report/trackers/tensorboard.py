"""TensorBoard: curves of several runs in one page of the browser, from files; nothing leaves the machine.

Each run writes into its own folder, so that `tensorboard --logdir runs` shows all of them. Settings and final figures are in
the tab of hyper-parameters.

Source: https://www.tensorflow.org/tensorboard, written by `torch.utils.tensorboard`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretina.report.tracker import Record, RecordStart, Tracker

FOLDER = "tensorboard"
"""In the directory of the run."""


@dataclass(frozen=True, kw_only=True)
class TensorBoard(Tracker):
    """Writes event files into `tensorboard/` in the directory of the run."""

    WORD = "tensorboard"
    MODULES = ("tensorboard",)

    def open(self, beginning: RecordStart) -> Record:
        from torch.utils.tensorboard import SummaryWriter

        folder = beginning.run / FOLDER
        if not beginning.known and folder.exists():  # what another attempt to send the run has left would be shown twice
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
        # updates that an interrupted process made after its last checkpoint are made again, and shown once
        writer = SummaryWriter(str(folder), purge_step=beginning.after + 1 if beginning.known else None)
        return EventFiles(writer, beginning, folder)


class EventFiles(Record):
    """The event files of one run."""

    def __init__(self, writer: Any, beginning: RecordStart, folder: Path) -> None:
        self.writer, self.config = writer, beginning.config
        self.known = {"folder": FOLDER}
        self.where = f"{folder}, for: tensorboard --logdir {folder.parent.parent}"
        if not beginning.known:
            lines = [f"{name}: {value}" for name, value in beginning.tags.items()]
            writer.add_text("tags", "  \n".join(lines), 0)
            writer.add_text("config", "  \n".join(f"{name}: {value}" for name, value in beginning.config.items()), 0)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def note(self, step: int, text: str) -> None:
        self.writer.add_text("notes", text, step)

    def result(self, step: int, values: Mapping[str, float]) -> None:
        from torch.utils.tensorboard.summary import hparams

        self.metrics(step, values)
        for summary in hparams(dict(self.config), dict(values)):
            self.writer.file_writer.add_summary(summary)

    def close(self, state: str) -> None:
        self.writer.add_text("state", state)
        self.writer.flush()
        self.writer.close()


EXAMPLES = (TensorBoard(),)
