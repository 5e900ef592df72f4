"""Runs a transfer study: trains each backbone on the data with each seed, and compares them.

Everything is a task (`paretina.search.tasks`), so an interrupted study does nothing twice:

- `pace-NAME`: how long an epoch takes, where there is a time limit;
- `train-NAME-SEED`: a training, whose run is in `runs/NAME/SEED`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from paretina.data.pictures import pictures_kept
from paretina.data.source import Source
from paretina.measure.process import randomness_kept
from paretina.measure.statistics import as_object
from paretina.run import write_aside
from paretina.search.pace import epochs_within, pace
from paretina.search.tasks import Engine, Say, StudyTask, TaskOutcome, sole, tried_again
from paretina.search.transfer.study import Backbone, TransferStudy, read_study
from paretina.search.transfer.verdict import Transferred, judge
from paretina.spec import decode, encode
from paretina.text import how_many
from paretina.train import training
from paretina.train.asked import Asked


def train(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The task that trains a network, or goes on with a training that was begun."""
    place = folder / "runs" / given["run"]
    if (place / "asked.json").exists():
        run = training.resume(place, str(given["data"]) if given.get("data") else None)
    else:
        run = training.train(decode(Asked, given["asked"]), place)
    result = run.result() or {}
    shown, metrics = result["shown"], result["metrics"]
    return {
        "run": given["run"],
        "figure": shown,
        "value": metrics[f"val/{shown['key']}"],
        "metrics": {name: value for name, value in metrics.items() if value is not None},
        "on_train": (result.get("on_train") or {}).get("value"),
        "pictures": result["data"]["val"],
        "macs": result["cost"]["macs"],
        "params": result["cost"]["params"],
        "updates": result["updates"],
        "time_s": result["time_s"],
    }


@dataclass
class TransferWork:
    """The work on a study.

    Attributes:
        data: where the data is now, if it was moved.
        epochs: of every training; None for those of the recipe.
    """

    folder: Path
    study: TransferStudy
    engine: Engine
    say: Say
    data: str | None = None
    epochs: float | None = None
    notes: list[str] = field(default_factory=list)

    def run(self, tasks: Iterable[StudyTask]) -> dict[str, TaskOutcome]:
        return self.engine.run(list(tasks), self.folder, self.say, self.study.asked.plan.device)

    def fit(self) -> None:
        """Sets the epochs to what fits into the time limit, the same for all.

        Raises:
            ValueError: not even one update of each fits.
        """
        study = self.study
        if study.time_limit_s is None:
            return
        tasks = [
            StudyTask(
                f"pace-{each.name}",
                pace,
                {"asked": encode(each.request(study.seeds[0], None))},
                title=f"timing an update of {each.name}",
            )
            for each in study.backbones
        ]
        paces = [outcome.value for outcome in self.run(tasks).values() if not outcome.error]
        instead = "give more time, fewer backbones or fewer --seeds"
        self.epochs = epochs_within(study.time_limit_s, paces, len(study.seeds), instead)
        self.say(
            f"{how_many(self.epochs, 'epoch of each network fits', 'g', 'epochs of each network fit')} into the time limit"
        )

    def trained(self) -> dict[str, dict[int, TaskOutcome]]:
        """Trains each backbone with each seed, seed by seed; outcomes by name and seed."""
        tasks = {}
        for seed in self.study.seeds:
            for each in self.study.backbones:
                given = {
                    "asked": encode(each.request(seed, self.epochs)),
                    "run": f"{each.name}/{seed}",
                    "data": self.data,
                }
                title = f"training {each.name}, seed {seed}"
                tasks[each.name, seed] = StudyTask(f"train-{each.name}-{seed}", train, given, title=title)
        done = self.run(tasks.values())
        found: dict[str, dict[int, TaskOutcome]] = {}
        for (name, seed), task in tasks.items():
            found.setdefault(name, {})[seed] = done[task.name]
        return found

    def work(self) -> dict[str, Any]:
        study = self.study
        self.fit()
        outcomes = self.trained()
        rows = [row(each, outcomes[each.name]) for each in study.backbones]
        figures = [row["figure"] for row in rows if row["figure"]]
        if not figures:
            errors = "\n".join(f"  {row['name']}: {row['error']}" for row in rows)
            raise ValueError(f"no backbone could be trained:\n{errors}")
        figure = figures[0]
        verdict = judge([transferred(row) for row in rows], figure["title"], figure["unit"])
        result = {
            "status": "done",
            "data": study.data,
            "figure": figure,
            "seeds": list(study.seeds),
            "epochs": self.epochs or study.asked.recipe.epochs,
            "backbones": rows,
            "verdict": verdict.to_dict(),
            "notes": [*verdict.said, *self.remarks(rows), *self.notes],
        }
        write_aside(self.folder / "result.json", json.dumps(result, indent=1).encode())
        return result

    def remarks(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """What a reader of the table must know."""
        study, found = self.study, []
        places = dict.fromkeys(each.measured_on for each in study.backbones)
        if len(places) > 1:
            found.append(
                f"the accuracies as classifiers are on different pictures ({'; '.join(places)}), so their order means little; "
                "--accuracy-on DATA measures all of them on the same"
            )
        found += [f"{row['name']} is left out: {row['error']}" for row in rows if row["error"] and not row["values"]]
        found += [f"one training of {row['name']} failed: {row['error']}" for row in rows if row["error"] and row["values"]]
        if len(study.seeds) < 2:
            found.append("one seed does not show by how much trainings differ by chance: --seeds 3 does")
        return found


def row(backbone: Backbone, outcomes: Mapping[int, TaskOutcome]) -> dict[str, Any]:
    """One backbone for the table; unknown values are None."""
    good = {seed: outcome.value for seed, outcome in outcomes.items() if not outcome.error}
    errors = [outcome.error for outcome in outcomes.values() if outcome.error]
    first = next(iter(good.values()), None)
    fits = [value["on_train"] for value in good.values() if value["on_train"] is not None]
    found: dict[str, Any] = {
        "name": backbone.name,
        "file": backbone.file,
        "top1": backbone.top1,
        "top1_low": backbone.low,
        "top1_high": backbone.high,
        "measured_on": backbone.measured_on,
        "figure": first["figure"] if first else None,
        "values": {str(seed): value["value"] for seed, value in good.items()},
        "on_train": fmean(fits) if fits else None,
        "macs": first["macs"] if first else None,
        "params": first["params"] if first else None,
        "updates": min((value["updates"] for value in good.values()), default=None),
        "train_s": fmean(value["time_s"] for value in good.values()) if good else None,
        "error": errors[0] if errors else None,
    }
    one = transferred(found)
    return {**found, "mean": one.mean if good else None, "interval": as_object(one.interval) if good else None}


def transferred(row: Mapping[str, Any]) -> Transferred:
    """A row as it is judged."""
    values = {int(seed): float(value) for seed, value in row["values"].items()}
    most = 100.0 if row["figure"] and row["figure"]["unit"] == "%" else None
    return Transferred(row["name"], row["top1"], row["macs"], values, most)


@randomness_kept()
def work(
    folder: Path, engine: Engine, say: Say = lambda text: None, source: Source | None = None, data: str | None = None
) -> dict[str, Any]:
    """Does what is left of a study, and returns its result, which `result.json` has too.

    Args:
        source: where the data is now, if it was moved; `data` is its name.

    Raises:
        ValueError: there is no study, or nothing of it can be done.
        KeyboardInterrupt: interrupted; the same call resumes it.
    """
    study = read_study(folder, source)
    with sole(folder), tried_again(folder), pictures_kept():
        return TransferWork(folder, study, engine, say, data).work()
