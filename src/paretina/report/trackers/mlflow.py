"""MLflow: runs in a table with their settings and curves, on a server of one's own or in a local folder.

The server is that of `MLFLOW_TRACKING_URI`; without it a folder `mlruns/` in the current one is used. The experiment is that
of `MLFLOW_EXPERIMENT_NAME`, otherwise `paretina`. Parts of the loss are named with a dot, `train/loss.CrossEntropy`, since a
folder cannot hold `train/loss` and `train/loss/CrossEntropy`; settings longer than 500 characters, the limit of older servers,
are cut.

Source: https://mlflow.org, its Python client.
"""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretina.report.tracker import Record, RecordStart, Tracker

MOST = 500
"""Characters of a setting."""

AT_ONCE = 100
"""Settings in one request, at most."""

STATES = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True, kw_only=True)
class MLflow(Tracker):
    """
    Attributes:
        experiment: the name of the experiment; "" for that of `MLFLOW_EXPERIMENT_NAME`, otherwise "paretina".
    """

    WORD = "mlflow"
    MODULES = ("mlflow",)

    experiment: str = ""

    def open(self, beginning: RecordStart) -> Record:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = beginning.known.get("tracking_uri") or os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            uri = Path("mlruns").absolute().as_uri()
        if uri.startswith("file:") or "://" not in uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # it works, and is only not developed any further
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        if "run_id" in beginning.known:
            client.update_run(beginning.known["run_id"], status="RUNNING")
            return MLflowRun(client, beginning.known["run_id"], uri)
        name = self.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "paretina"
        found = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if found is None else found.experiment_id
        run = client.create_run(experiment, run_name=beginning.name, tags={**beginning.tags})
        record = MLflowRun(client, run.info.run_id, uri)
        record.settings(beginning.config)
        return record


class MLflowRun(Record):
    """One run of an MLflow server or folder."""

    def __init__(self, client: Any, run_id: str, uri: str) -> None:
        self.client, self.run_id = client, run_id
        self.known = {"run_id": run_id, "tracking_uri": uri}
        self.where = f"{uri}, run {run_id}"
        self.notes: list[str] = []

    def settings(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(key(name), shortened(str(value))) for name, value in config.items()]
        for start in range(0, len(params), AT_ONCE):
            self.client.log_batch(self.run_id, params=params[start : start + AT_ONCE])

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(self.run_id, metrics=[Metric(key(name), value, now, step) for name, value in values.items()])

    def note(self, step: int, text: str) -> None:
        self.notes.append(text)
        self.client.set_tag(self.run_id, "mlflow.note.content", "\n\n".join(self.notes)[:5000])

    def result(self, step: int, values: Mapping[str, float]) -> None:
        self.metrics(step, values)

    def close(self, state: str) -> None:
        self.client.set_terminated(self.run_id, STATES[state])


def key(name: str) -> str:
    """A name as MLflow takes it."""
    name = re.sub(r"^(train/loss)/", r"\1.", name)
    return re.sub(r"[^\w\-. :/]", "_", name)


def shortened(value: str) -> str:
    return value if len(value) <= MOST else f"{value[: MOST - 4]} ..."


EXAMPLES = (MLflow(), MLflow(experiment="photos"))
