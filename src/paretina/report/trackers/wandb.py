"""Weights & Biases: runs in a table with their settings and curves, on its servers or in files for later.

`WANDB_MODE=offline` writes files into the directory of the run, for `wandb sync`; `WANDB_MODE=disabled` writes nothing. The
project is that of `WANDB_PROJECT`, otherwise `paretina`. Nothing of this machine but the run is sent: neither source code, nor
console output, nor usage of processor and memory. It never asks for a key: without one it is refused at the start.

Source: https://docs.wandb.ai, its Python library.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paretina.report.tracker import Record, RecordStart, Tracker

AWAY = ("offline", "disabled", "dryrun")
"""Values of WANDB_MODE with which nothing is sent, so that no key is needed."""


@dataclass(frozen=True, kw_only=True)
class WeightsAndBiases(Tracker):
    """
    Attributes:
        project: "" for that of `WANDB_PROJECT`, otherwise "paretina".
    """

    WORD = "wandb"
    MODULES = ("wandb",)

    project: str = ""

    def require(self) -> None:
        super().require()
        if os.environ.get("WANDB_MODE") in AWAY:
            return
        if not library().login(prompt=False):
            raise ValueError(
                "wandb has no key to log in with; run `wandb login` once, set WANDB_API_KEY, or set WANDB_MODE=offline"
            )

    def open(self, beginning: RecordStart) -> Record:
        wandb = library()
        known = dict(beginning.known) or {
            "id": secrets.token_hex(8),
            "project": self.project or os.environ.get("WANDB_PROJECT") or "paretina",
        }
        run = wandb.init(
            project=known["project"],
            id=known["id"],
            name=beginning.name,
            resume="allow",
            dir=os.environ.get("WANDB_DIR") or str(beginning.run),
            config=dict(beginning.config),
            tags=[f"{name}: {value}"[:64] for name, value in beginning.tags.items()],
            notes=None,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                disable_git=True,
                x_disable_stats=True,
                x_disable_meta=True,
            ),
        )
        # a step axis of its own: a resumed run repeats the updates after its checkpoint, and W&B's own steps only rise
        run.define_metric("step")
        run.define_metric("*", step_metric="step")
        return WeightsAndBiasesRun(run, known, beginning)


def library() -> Any:
    """The library, without reports of its own errors to its makers."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


class WeightsAndBiasesRun(Record):
    """One run of Weights & Biases."""

    def __init__(self, run: Any, known: dict[str, Any], beginning: RecordStart) -> None:
        self.run, self.known = run, known
        offline = f"files in {beginning.run / 'wandb'}, for: wandb sync"
        self.where = offline if run.offline or run.disabled else str(run.url)
        self.notes: list[str] = []

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({**values, "step": step})

    def note(self, step: int, text: str) -> None:
        self.notes.append(text)
        self.run.notes = "\n\n".join(self.notes)

    def result(self, step: int, values: Mapping[str, float]) -> None:
        self.run.summary.update(dict(values))

    def close(self, state: str) -> None:
        self.run.summary["state"] = state
        self.run.finish(exit_code=0 if state == "finished" else 1)


EXAMPLES = (WeightsAndBiases(), WeightsAndBiases(project="photos"))
