"""A search as a value, its directory, and the pieces of work that it is done by.

`asked.json` has the study, written first and never changed; `tasks/` the outcome of each piece of work, `runs/` the trainings,
`networks/` the finalists as files for `--model`, and `result.json` all that was found.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from paretina.data.sources.inner_split import InnerSplit
from paretina.measure.machine import Device, Others
from paretina.measure.timing import Turns
from paretina.model.blueprint import Blueprint, Model
from paretina.run import write_aside
from paretina.search.architecture.ceilings import Ceiling
from paretina.search.architecture.elapsed import begin_looks_anew
from paretina.search.architecture.latency_table import (
    LatencyTable,
    LongTableError,
    needed,
    network_step,
    plan_of,
    time_more,
    time_table,
)
from paretina.search.architecture.procedure import Procedure
from paretina.search.architecture.rewards import Reward
from paretina.search.architecture.space import Point, Space
from paretina.search.architecture.supernet import Scorer, train_shared
from paretina.search.frontier.tools import rehearse
from paretina.search.tasks import TELL
from paretina.spec import Spec, decode, encode
from paretina.train import training
from paretina.train.asked import Asked


@dataclass(frozen=True, kw_only=True)
class SearchStudy(Spec):
    """
    Attributes:
        name: of the space, as it was given.
        base: what all candidates share; its epochs are those of a full training.
        budgets: what every candidate must hold before it is trained.
        target: the cost that rewards weigh, and its T; None for rewards without.
        classes: of the data.
        trials: for both searches together; None for as many as the time allows.
        seconds: for everything; None for no limit. One of the two is given.
        share: epochs of a trial as a share of a full training, in (0, 1].
        held_out: share of the training pictures that trials are judged on, in (0, 1).
        finalists: networks that are trained in full, by reward; and up to as many by non-domination.
        seeds: trainings of each.
        seed: of the search.
        control: whether half of the trials are a random search.
        workers: trainings side by side; 4 trials for each are proposed at a time, where there are several.
        timing_s: seconds of timing a whole network.
        shared_weights: whether the search scores candidates by weights that they inherit from networks trained together, see
            `paretina.search.architecture.supernet`, in place of a short training each; the control trains in any case.
    """

    name: str
    space: Space
    base: Asked
    procedure: Procedure
    reward: Reward
    budgets: tuple[Ceiling, ...] = ()
    target: Ceiling | None = None
    classes: int
    trials: int | None = None
    seconds: float | None = None
    share: float = 0.25
    held_out: float = 0.2
    finalists: int = 3
    seeds: int = 2
    seed: int = 0
    control: bool = True
    workers: int = 1
    timing_s: float = 1.0
    shared_weights: bool = False

    def __post_init__(self) -> None:
        if self.trials is None and self.seconds is None:
            raise ValueError("a search needs an end: give --time-limit 30m, or --trials 40")
        if self.trials is not None and self.trials < 2:
            raise ValueError(f"a search needs at least 2 trials, got {self.trials}")
        if not 0 < self.share <= 1 or not 0 < self.held_out < 1:
            raise ValueError(f"needs 0 < share <= 1 and 0 < held_out < 1, got {self.share:g} and {self.held_out:g}")
        if self.finalists < 1 or self.seeds < 1 or self.workers < 1:
            raise ValueError(f"needs at least 1 finalist, seed and worker, got {self.finalists}, {self.seeds}, {self.workers}")
        if self.reward.TARGETED and self.target is None:
            raise ValueError(
                f"the reward {self.reward.WORD} weighs a cost: give its target, such as --target macs=5e6, or a --budget"
            )

        if self.shared_weights:
            self.check_shareable()

    def check_shareable(self) -> None:
        """Checks that candidates can share weights.

        Raises:
            ValueError: they cannot; the message says what to change.
        """
        if not self.space.NETWORKS:
            raise ValueError("--shared-weights is for a space of networks: points of a recipe have nothing to share")
        if self.procedure.WORD == "halving":
            raise ValueError(
                "--shared-weights scores candidates without training them, so there is no length to halve; choose --by "
                "evolution, random, tpe or nsga2"
            )
        if self.reward.WORD == "training":
            raise ValueError("the reward `training` weighs the time of an update, which --shared-weights does not measure")
        if any(dimension.name == "resolution" for dimension in self.space.dimensions(self.base)):
            raise ValueError("--shared-weights trains all candidates on images of one size: leave resolution out of --vary")
        if self.base.recipe.teacher is not None:
            raise ValueError("--shared-weights trains without a teacher; leave the teacher out")

    @property
    def together(self) -> int:
        """Proposals at a time."""
        return 1 if self.workers == 1 else 4 * self.workers

    @property
    def timed(self) -> bool:
        """Whether latency has to be known of every candidate."""
        return any(ceiling.cost == "latency_ms" for ceiling in (*self.budgets, *filter(None, [self.target])))

    def model_of(self, asked: Asked) -> Model:
        """The network of a request as it is built for the data."""
        found = replace(asked.assembled(), classes=self.classes)
        return replace(found, resolution=asked.final_size())

    def trial(self, asked: Asked, share: float) -> Asked:
        """The request of a trial: part of the epochs, judged on held-out training pictures at its end."""
        epochs = asked.recipe.epochs * self.share * share
        data = InnerSplit(source=asked.data, share=self.held_out)
        return replace(with_epochs(asked, epochs), data=data)

    def full(self, asked: Asked, number: int) -> Asked:
        """The request of a full training on all training pictures.

        Args:
            number: of the seed, from 0.
        """
        found = with_epochs(asked, asked.recipe.epochs)
        return replace(found, recipe=replace(found.recipe, seed=asked.recipe.seed + number))


def with_epochs(asked: Asked, epochs: float) -> Asked:
    """The request with another length, evaluated at its end alone."""
    recipe = replace(asked.recipe, epochs=epochs, test=replace(asked.recipe.test, every=max(epochs, 1e-6)))
    return replace(asked, recipe=recipe)


def digest_of(asked: Asked) -> str:
    """The same for points that mean the same training."""
    text = json.dumps(encode(replace(asked, model_name="", recipe_name="")), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


# --- the directory --------------------------------------------------------------------------------------------------------


def begin(folder: Path, study: SearchStudy, data: str, command: str = "") -> None:
    """Writes the request of a search; nothing is trained.

    Args:
        data: the data as given, for commands that are recommended.

    Raises:
        ValueError: the directory is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; choose another --output, or resume the search there: --resume {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        "verb": "search",
        "command": command,
        "data": data,
        "study": encode(study),
        "environment": {"paretina": training.version(), "device": study.base.plan.device},
    }
    write_aside(folder / "asked.json", json.dumps(asked, indent=1).encode())


def read_asked(folder: Path) -> dict[str, Any]:
    """The request of a search.

    Raises:
        ValueError: there is none.
    """
    try:
        asked: dict[str, Any] = json.loads((folder / "asked.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{folder} holds no search; start one with `paretina search SPACE DATA --output {folder}`") from None
    except ValueError as error:
        raise ValueError(f"{folder / 'asked.json'} cannot be read: {error}") from None
    if asked.get("verb") != "search":
        raise ValueError(f"{folder} is not a search but belongs to `paretina {asked.get('verb', 'train')}`")
    return asked


def read_study(folder: Path) -> SearchStudy:
    return decode(SearchStudy, read_asked(folder)["study"])


def give_time(folder: Path, seconds: float) -> None:
    """Raises the time limit of a search; what has been done is kept, and the time that it took still counts.

    Raises:
        ValueError: there is no search, it has no time limit, or the time is not longer than before.
    """
    asked, study = read_asked(folder), read_study(folder)
    if study.seconds is None:
        raise ValueError(f"the search in {folder} has no time limit but ends after its trials; leave --time-limit out")
    if seconds < study.seconds:
        raise ValueError(
            f"the time limit of a search is that of all its work, and can only be raised: {folder} has {study.seconds:g} s, "
            f"got {seconds:g} s; give a longer --time-limit, or leave it out"
        )
    if seconds == study.seconds:
        return
    write_aside(
        folder / "asked.json", json.dumps({**asked, "study": encode(replace(study, seconds=seconds))}, indent=1).encode()
    )
    begin_looks_anew(folder)


# --- shared weights -------------------------------------------------------------------------------------------------------

SHARED = "shared"
"""The directory of the run that trains networks together."""


def asked_shared(study: SearchStudy, epochs: float) -> Asked:
    """The training of networks together, on the pictures of trials; nothing is evaluated meanwhile."""
    asked = study.trial(study.space.first(study.base), 1.0)
    test = replace(asked.recipe.test, every=2 * max(epochs, 1e-6), keep="last")
    return replace(asked, recipe=replace(asked.recipe, epochs=epochs, test=test))


def train_together(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Trains the networks of points together.

    Args:
        given: `points` and `epochs`.
    """
    study = read_study(folder)
    paths = blueprints_at(study, given["points"])
    found = train_shared(asked_shared(study, given["epochs"]), paths, folder / SHARED, TELL.get())
    write_aside(folder / SHARED / "points.json", json.dumps(given).encode())
    return found


@lru_cache(maxsize=1)
def scorer_of(folder: Path) -> Scorer:
    """What scores the candidates of a study; kept, since each process scores many."""
    study = read_study(folder)
    given = json.loads((folder / SHARED / "points.json").read_text())
    return Scorer(asked_shared(study, given["epochs"]), blueprints_at(study, given["points"][:1])[0], folder / SHARED)


def score_inherited(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Scores a point by the weights that it inherits.

    Args:
        given: `point`.
    """
    return scorer_of(folder)(blueprints_at(read_study(folder), [given["point"]])[0])


# --- pieces of work -------------------------------------------------------------------------------------------------------


def train_one(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Trains a request in a run directory, or continues it there.

    Args:
        given: `asked`; `run`, the name of the directory; `keep`, whether the weights are kept.
    """
    place = folder / "runs" / given["run"]
    run = training.resume(place) if (place / "asked.json").exists() else training.train(decode(Asked, given["asked"]), place)
    result = run.result() or {}
    if not given["keep"]:
        (place / "model.safetensors").unlink(missing_ok=True)
    pictures = int(result["data"]["val"])
    share = float(result["metrics"]["val/top1"]) / 100
    return {
        "accuracy": share,
        "correct": round(share * pictures),
        "pictures": pictures,
        "epochs": result["epochs"],
        "updates": result["updates"],
        "time_s": result["time_s"],
        "update_s": result["time_s"] / max(1, result["updates"]),
        "run": given["run"],
    }


def blueprints_at(study: SearchStudy, points: Sequence[Point]) -> list[Blueprint]:
    """The networks of points.

    Raises:
        ValueError: one is not a single table.
    """
    found = []
    for point in points:
        model = study.model_of(study.space.asked(point, study.base))
        if not isinstance(model, Blueprint):
            raise ValueError(f"a latency table is made of single networks, got {type(model).__name__}")
        found.append(model)
    return found


def find_pace(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Times a few updates.

    Args:
        given: `asked`.
    """
    return dict(rehearse(decode(Asked, given["asked"])))


def make_table(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Times the units of many points, and some of them as whole networks.

    Args:
        given: `points`, of which the first `whole` are timed as a whole too, half of these for the fit; `within_s`, seconds
            that it may take.

    Returns:
        The table; or `needs_s`, the seconds that it would take, and `units`, where that is more than it may.
    """
    study = read_study(folder)
    networks = blueprints_at(study, given["points"])
    whole = networks[: given["whole"]]
    units = list(dict.fromkeys(unit for network in networks for unit in needed(network)))
    within = given.get("within_s")
    seconds = study.timing_s if within is None else max(0.1, min(study.timing_s, within / 3 / max(1, len(whole))))
    try:
        found = time_table(units, whole, (len(whole) + 1) // 2, study.base.plan.device, seconds, within)
    except LongTableError as error:
        return {"needs_s": error.needs_s, "units": len(units)}
    return found.to_dict()


def extend_table(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Times the units of a point that the table lacks.

    Args:
        given: `point`; `known`, keys of units that the table has; `reference`, the point of its first network, and
            `reference_ms`.
    """
    study = read_study(folder)
    network, reference = blueprints_at(study, [given["point"], given["reference"]])
    units = [unit for unit in dict.fromkeys(needed(network)) if unit.key in given["missing"]]
    seconds = study.timing_s / 3
    return {"units": time_more(units, reference, given["reference_ms"], study.base.plan.device, seconds)}


def time_networks(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Times whole networks in turn.

    Args:
        given: `models`, encoded blueprints by name.
    """
    study = read_study(folder)
    plan = plan_of(study.base.plan.device)
    here = Device.here(plan.device)
    models = {name: decode(Blueprint, model) for name, model in given["models"].items()}
    with plan.threaded():
        steps = {name: network_step(model, plan) for name, model in models.items()}
        others = Others()
        series = Turns(seconds=study.timing_s * len(steps), wait=here.wait).run(steps)
        disturbed = others.disturbed(others.used())
    latencies = {name: list(found.p50) for name, found in series.items()}
    return {"device": here.to_dict(), "latency_ms": latencies, "disturbed": disturbed}


def with_units(table: LatencyTable, more: Mapping[str, float]) -> LatencyTable:
    return replace(table, units={**table.units, **more})
