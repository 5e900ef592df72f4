"""The accuracy-cost frontier of many candidates, by successive halving within a time budget.

All candidates are rehearsed (a few trial updates, which also finds those that cannot be trained), trained briefly, timed in
alternation, and compared; about half continue to the next rung, where they are trained longer. Each rung gets an equal share of
the remaining time, so eliminated candidates leave their time to others. Selection is by Pareto rank rather than accuracy alone,
or only costly networks would be left: whole ranks first, then by contribution to the hypervolume, and with budgets those that
meet them come first. A decision waits for all candidates of its rung, so it does not depend on which was faster.

Each rung is a new run that starts from the weights of the one before, with its own schedule, as in warm restarts, and with
other random numbers. The alternative, one long schedule that is paused at each rung, repeats nothing, but it would compare
networks in the middle of their schedules, where accuracy says more about the learning rate than about the network; it would
need the length of the last rung before the first; and eliminated candidates would leave no finished network. The price is one
more warm-up per rung, and that a finalist differs slightly from one schedule of the same length. So the recommendation is a
command that trains from scratch, in one schedule of full length.

Every step leaves a file and is not repeated once that exists: an interrupted frontier resumes where it was, down to the update
of an interrupted run. Rehearsals, trainings and timings are tasks, which run in this process, in several, or on a cluster;
see `paretina.search.tasks`.

Source: Jamieson & Talwalkar 2016 (arXiv:1502.07943); warm restarts: Loshchilov & Hutter 2017 (arXiv:1608.03983).
"""

import hashlib
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from paretina.data.named import source_named
from paretina.data.pictures import pictures_kept
from paretina.data.source import Source
from paretina.measure.process import randomness_kept
from paretina.measure.timing import is_out_of_memory
from paretina.run import Run
from paretina.search.engines.here import Here
from paretina.search.frontier.begin import write_once, written_aside
from paretina.search.frontier.decisions import as_time, check_time, decision, enough_for_an_epoch, with_more
from paretina.search.frontier.standing import Standing, read_json, read_link, read_standing, recommend
from paretina.search.frontier.tools import Say, Tools
from paretina.search.tasks import Engine, StudyTask, sole
from paretina.system import cores
from paretina.text import how_many
from paretina.train import estimate, training
from paretina.train.asked import Asked
from paretina.train.journal import Listener
from paretina.train.tasks import require_top1


@randomness_kept()
def work(
    folder: Path,
    tools: Tools,
    data: str | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    engine: Engine | None = None,
    make_tools: Callable[[], Tools] | None = None,
) -> Standing:
    """Does the remaining work of a frontier.

    Args:
        data: the current location of the data, if it was moved.
        listen: called with each line of each run's log.
        say: called with notes on progress and decisions.
        engine: what carries out the tasks; None for this process.
        make_tools: makes the tools in other processes, for an engine that has some; a function of a module, or a `partial`.

    Raises:
        ValueError: there is no frontier, the data cannot be used, another process works on it, or every candidate failed.
        KeyboardInterrupt: interrupted; the same call resumes it.
    """
    standing = read_standing(folder)
    begun = standing.entries[0].candidate.asked.data
    source = None if data is None else training.moved_to(begun, source_named(data))
    check_pictures(folder, source or begun)
    with pictures_kept(), sole(folder):
        worker = Worker(folder, standing, tools, source, data, listen, say, engine or Here(1), make_tools)
        if standing.halving.by == "epochs":
            if not standing.rungs:
                check_time(standing)
            worker.stage("rehearse", [entry.name for entry in standing.entries])
        for rung in range(len(standing.counts)):
            decided = worker.decide(rung)
            names = decided["names"]
            if not names:
                break
            worker.stage(f"rung-{rung}", names)
            if not any(entry.links for entry in worker.look().entries):
                raise ValueError(f"every candidate failed, so there is no frontier:\n{worker.failures()}{worker.enough()}")
            worker.stage("time", ["1"])
        if worker.look().disturbed:
            say("the timing was disturbed, so it is repeated")
            worker.stage("time", [str(max(1, standing.sessions) + 1)])
    standing = read_standing(folder)
    written_aside(folder / "result.json", result_of(standing)).replace(folder / "result.json")
    return standing


def check_pictures(folder: Path, source: Source) -> None:
    """Checks the data once, rather than failing for every candidate.

    Raises:
        ValueError: it cannot be used, or differs from the original data of the frontier.
    """
    collection = source.open()
    require_top1(collection.task, "a frontier compares candidates")
    splits = [[(sample.name, sample.label) for sample in collection.split(name)] for name in ("train", "val")]
    digest = hashlib.sha256(json.dumps(splits).encode()).hexdigest()[:16]
    write_once(folder / "samples.json", {"digest": digest})
    if (read_json(folder / "samples.json") or {})["digest"] != digest:
        raise ValueError(f"the pictures are not those that {folder} was started with; start a new frontier, or restore them")


def result_of(standing: Standing) -> dict[str, Any]:
    """The results, for other programs."""
    found = recommend(standing, standing.budgets)
    return {
        "status": "done" if standing.done else "unfinished",
        "cost": standing.halving.cost,
        "front": [point.name for point in standing.frontier(standing.halving.cost).front()],
        "runtimes": {entry.name: entry.runtime for entry in standing.entries if entry.runtime},
        "recommendation": found.to_dict() if found else None,
        "spent_s": standing.spent_s,
        "notes": standing.notes(),
    }


FAULTS = (ValueError, FloatingPointError, MemoryError, RuntimeError)
"""Errors of one candidate that do not stop the others; of runtime errors only out-of-memory."""


@dataclass(frozen=True)
class Deed:
    """Does a job of a frontier in another process, with tools that are made there."""

    make_tools: Callable[[], Tools]
    data: str | None

    def __call__(self, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
        standing = read_standing(folder)
        source = (
            None if self.data is None else training.moved_to(standing.entries[0].candidate.asked.data, source_named(self.data))
        )
        tools, quiet = self.make_tools(), lambda text: None
        with pictures_kept(), randomness_kept():
            worker = Worker(folder, standing, tools, source, self.data, lambda line: None, quiet, Here(1), None)
            return worker.do(folder, given)


@dataclass
class Worker:
    """Works on a frontier.

    Attributes:
        begun: the standing when this process started; the request does not change, except for the time.
        engine: what carries out the jobs of a stage.
        make_tools: makes the tools in another process; None where all is done in this one.
        warned: whether a warning about short time was given.
    """

    folder: Path
    begun: Standing
    tools: Tools
    source: Source | None
    data: str | None
    listen: Listener
    say: Say
    engine: Engine
    make_tools: Callable[[], Tools] | None
    warned: bool = False

    def look(self) -> Standing:
        return read_standing(self.folder)

    def stage(self, stage: str, jobs: Sequence[str]) -> None:
        """Does the jobs of a stage that are not done yet, and returns when all are."""
        if stage == "time":
            self.check_machine()
        do = self.do if self.make_tools is None else Deed(self.make_tools, self.data)
        tasks = []
        for job in jobs:
            asked = None if stage == "time" else self.asked(job)
            tasks.append(
                StudyTask(
                    f"{stage}-{job}",
                    do,
                    {"stage": stage, "job": job, "several": self.make_tools is not None and self.engine.several},
                    cores=1 if asked is None else asked.plan.threads or cores(),
                    gpus=1.0 if asked is not None and asked.plan.device_type == "cuda" else 0.0,
                    alone=stage == "time",
                    leaves=self.leaves(stage, job),
                )
            )
        self.engine.run(tasks, self.folder, self.say if self.make_tools else lambda text: None)

    def leaves(self, stage: str, job: str) -> tuple[str, ...]:
        """The files that say that a job is done; the last one where it failed."""
        if stage == "time":
            return (f"timed/{job}/result.json",)
        failed = f"runs/{job}/failed.json"
        return (f"rehearsed/{job}.json" if stage == "rehearse" else f"runs/{job}/{stage}.json", failed)

    def do(self, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
        """Does a job in this process."""
        stage, job = given["stage"], given["job"]
        if stage == "rehearse":
            self.rehearse(job)
        elif stage == "time":
            self.time(job)
        else:
            self.train(job, self.look().rungs[int(stage.removeprefix("rung-"))], given["several"])
        return {}

    def check_machine(self) -> None:
        """Checks that timings are taken on the machine that started the frontier, unless a cluster takes them.

        Raises:
            ValueError: this is another one.
        """
        begun = self.begun.asked["device"].replace(" 1 cores,", " 1 core,")  # as written by earlier releases
        if begun != self.tools.device and isinstance(self.engine, Here):
            raise ValueError(
                f"only timing is left, which must be done on the machine that started the frontier ({begun}); resume there: "
                f"paretina frontier --resume {self.folder}"
            )

    def place(self, name: str) -> Path:
        return self.folder / "runs" / name

    def asked(self, name: str) -> Asked:
        """The request of a candidate, with the current location of the data."""
        asked = next(entry.candidate.asked for entry in self.begun.entries if entry.name == name)
        return asked if self.source is None else replace(asked, data=self.source)

    def failures(self) -> str:
        return "\n".join(f"  {entry.name}: {entry.failed}" for entry in self.look().entries if entry.failed)

    def enough(self) -> str:
        """A hint on the time needed, if candidates failed for lack of it."""
        faults = [read_json(self.place(entry.name) / "failed.json") or {} for entry in self.begun.entries]
        needed = [fault["needed_s"] for fault in faults if fault.get("needed_s")]
        if not needed:
            return ""
        return "\n" + with_more(self.folder, len(self.begun.counts) * len(self.begun.entries) * max(needed))

    @contextmanager
    def giving_up(self, name: str, stage: str) -> Iterator[None]:
        """A context in which an error drops one candidate while the others continue."""
        try:
            yield
        except FAULTS as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            text = " ".join(str(error).split()) or type(error).__name__
            short = {"needed_s": error.needed_s} if isinstance(error, estimate.ShortTimeError) else {}
            write_once(self.place(name) / "failed.json", {"stage": stage, "error": text, **short})
            self.say(f"{name} failed and is left out: {text}")

    # --- rehearsals ---------------------------------------------------------------------------------------------------

    def rehearse(self, name: str) -> None:
        self.say(f"{name}: timing a few updates")
        asked, began, found = self.asked(name), self.tools.clock(), None
        with self.giving_up(name, "rehearse"), self.tools.lock.shared():
            found = self.tools.rehearse(asked)
        if found is not None:
            found = {**found, "spent_s": self.tools.clock() - began}
            write_once(self.folder / "rehearsed" / f"{name}.json", found)
            self.check_time()

    def check_time(self) -> None:
        """Raises as soon as the time is known to be too short, and warns once if it seems so.

        Raises:
            ValueError: the time is too short, whatever the candidates that were not timed yet take.
        """
        standing = self.look()
        check_time(standing)
        needed = enough_for_an_epoch(standing)
        if needed > standing.halving.seconds and not self.warned:
            self.warned = True
            self.say(
                f"the time of {as_time(standing.halving.seconds)} is short: an epoch of each candidate on every rung would "
                f"take about {as_time(needed)}, by the trial updates so far"
            )

    # --- rungs --------------------------------------------------------------------------------------------------------

    def decide(self, rung: int) -> dict[str, Any]:
        """The candidates of a rung, and their epochs; a decision that was made stays."""
        path = self.folder / "rungs" / f"{rung}.json"
        if not path.exists():
            decided = decision(self.look(), rung)
            write_once(path, decided)
        decided = self.look().rungs[rung]
        if decided["stopped"]:
            self.say(decided["stopped"])
        else:
            self.say(f"rung {rung}: {how_many(len(decided['names']), 'candidate')}")
        return decided

    def train(self, name: str, decided: dict[str, Any], several: bool) -> None:
        """Trains or resumes one candidate for a rung.

        Args:
            several: whether others are trained on this machine at the same time.
        """
        rung, place = decided["rung"], self.place(name)
        began = self.tools.clock()
        self.say(f"{name}, rung {rung}")
        start = self.starter(name, decided)
        run = None
        with self.giving_up(name, f"rung-{rung}"), self.tools.lock.shared():
            run = start()
        if run is None:
            return
        result = run.result() or {}
        done = {
            "run": run.path.name,
            "spent_s": max(self.tools.clock() - began, result["time_s"]),
            "alone": not several,
            "machine": socket.gethostname(),
        }
        write_once(place / f"rung-{rung}.json", done)

    def starter(self, name: str, decided: dict[str, Any]) -> Callable[[], Run]:
        """A function that starts or resumes a candidate's run for a rung."""
        rung = decided["rung"]
        folder = self.place(name) / f"rung-{rung}"
        if (folder / "asked.json").exists():
            return partial(self.tools.resume, folder, self.data, self.listen)
        asked, before = self.asked(name), read_link(self.place(name), rung - 1)
        recipe = replace(asked.recipe, seed=asked.recipe.seed + rung)
        if decided["epochs"] is not None:
            recipe = replace(recipe, epochs=decided["epochs"][name])
        weights = str(before.model.absolute()) if before else asked.weights
        asked = replace(asked, recipe=recipe, weights=weights)
        return partial(self.tools.train, asked, folder, decided["seconds"], self.listen)

    # --- timings ------------------------------------------------------------------------------------------------------

    def time(self, number: str) -> None:
        """Times all candidates in alternation, while no process trains."""
        runs = {entry.name: entry.links[-1].run for entry in self.look().entries if entry.links}
        several = f" in {', '.join(self.begun.runtimes)}" if len(self.begun.runtimes) > 1 else ""
        self.say(f"timing {how_many(len(runs), 'network')}{several}; training is paused meanwhile")
        with self.tools.lock.alone():
            session = self.tools.time_runs(runs, self.say)
        place = self.folder / "timed" / number
        asked = {"verb": "time", "device": self.tools.device, "runs": {name: str(path) for name, path in runs.items()}}
        write_once(place / "asked.json", asked)
        write_once(place / "result.json", session)
