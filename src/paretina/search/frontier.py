"""The frontier of accuracy and cost over many candidates, by successive halving under a time budget.

All candidates are rehearsed (a few updates, which also finds those that cannot be trained), trained a little, timed in turn,
and compared; about half continue to the next rung, where they are trained longer. Each rung gets an equal share of the time
that is left, so what falls early leaves its time to others. Fronts decide who continues, and not accuracy alone, or only
costly networks would be left: whole ranks first, then what adds the least to the hypervolume falls, and with budgets whoever
keeps them comes first. A decision waits for all of its rung, so it does not hang on who was faster.

How survivors continue: each rung is a new run that starts from the weights of the one before, with a schedule of its own, as
warm restarts have it, and with other random numbers. The other way, one long schedule that is halted at each rung, repeats
nothing, but it would compare networks in the middle of their schedules, where accuracy says more about the learning rate than
about the network; it would have to know the length of the last rung before the first; and what falls would leave no finished
network. The price is one warm-up more a rung, and that a finalist is not quite what one schedule of the same length gives. So
the recommendation is a command that trains anew, in one schedule of full length, and no part of a rung is passed off as that.

Every step leaves a file, and what has its file is not done again: an interrupted frontier continues where it was, down to the
update of an interrupted run. Any number of processes may work on one directory; see `paretina.search.claims`.

Source: Jamieson & Talwalkar 2016 (arXiv:1502.07943); warm restarts: Loshchilov & Hutter 2017 (arXiv:1608.03983).
"""

import hashlib
import json
import math
import os
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from paretina.data.named import source_named
from paretina.data.pictures import pictures_kept
from paretina.data.source import Source
from paretina.measure.device import Device, Others
from paretina.measure.energy import counter_of
from paretina.measure.frontier import Frontier
from paretina.measure.plan import default_plan
from paretina.measure.process import randomness_kept
from paretina.measure.timing import is_out_of_memory
from paretina.run import Run
from paretina.search.candidates import Candidate
from paretina.search.claims import Claims, DeviceLock, claiming
from paretina.search.standing import TIMED, Budget, Entry, Halving, Standing, read_json, read_link, read_standing, recommend
from paretina.spec import encode
from paretina.system import cache_folder
from paretina.text import how_many
from paretina.train import estimate, resolve, training
from paretina.train.asked import Asked
from paretina.train.journal import Listener
from paretina.train.tasks import require_top1

Say = Callable[[str], None]

POLL_S = 2.0
"""Seconds between two looks at what others have finished."""


@runtime_checkable
class Lock(Protocol):
    """Keeps trainings and timings apart; see `DeviceLock`."""

    def shared(self) -> AbstractContextManager[None]: ...

    def alone(self) -> AbstractContextManager[None]: ...


TimeRuns = Callable[[Mapping[str, Path], Say], dict[str, Any]]
"""From directories of finished runs, by candidate, to a session: `costs` (name of cost to value and ends, by candidate),
`disturbed`, `others_cores`, and whatever else is worth keeping."""


def rehearse(asked: Asked) -> dict[str, float]:
    """What a run would take: seconds an epoch, and seconds that do not depend on epochs.

    While others use the machine it is done twice and the faster counts, since a slow look leaves all candidates too few epochs.

    Raises:
        ValueError: it cannot be trained.
    """
    began = time.monotonic()
    prepared = resolve.prepare(asked)
    read_s = time.monotonic() - began
    others = Others()
    found = estimate.rehearse(prepared)
    if others.disturbed(others.used()):
        found = min(found, estimate.rehearse(prepared), key=lambda each: each.update_s)
    evaluations = found.evaluate_s / asked.recipe.test.every
    return {
        "epoch_s": found.update_s * found.updates_per_epoch + evaluations,
        "fixed_s": read_s + 2 * found.evaluate_s,
        "updates_per_epoch": float(found.updates_per_epoch),
    }


@dataclass(frozen=True)
class Tools:
    """What is done to candidates, and by which clock; tests put other things in their place.

    Attributes:
        train: begins a run in a directory, of limited time if a number of seconds is given.
        resume: continues with one; its data may have been moved.
        lock: keeps trainings and timings apart.
        claims: opens the claims on a directory.
        wait: sleeps.
        device: this machine's, as far as timings must come from one: name of the processor or GPU, and cores.
    """

    time_runs: TimeRuns
    lock: Lock
    device: str
    rehearse: Callable[[Asked], dict[str, float]] = rehearse
    train: Callable[[Asked, Path, float | None, Listener], Run] = training.train
    resume: Callable[[Path, str | None, Listener], Run] = training.resume
    claims: Callable[[Path], AbstractContextManager[Claims]] = claiming
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def device_name(device: str) -> str:
    """What timings hang on, in words."""
    here = Device.here(default_plan(device).device)
    return f"{here.name}, {how_many(here.cores, 'core')}, {here.device}"


def begin(
    folder: Path,
    data: str,
    candidates: Sequence[Candidate],
    halving: Halving,
    device: str,
    budgets: Sequence[Budget] = (),
    command: str = "",
) -> None:
    """Writes down what is asked; nothing is trained.

    Args:
        data: the word for the data, as it stands in the command that is recommended.
        device: `device_name` of the machine that takes the timings.

    Raises:
        ValueError: there is something in the directory already, or there are too few candidates.
    """
    if len(candidates) < 2:
        raise ValueError(f"a frontier needs at least two candidates, got {len(candidates)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; name another --output, or continue with a frontier there: --resume {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        "verb": "frontier",
        "command": command,
        "data": data,
        "device": device,
        "halving": encode(halving),
        "budgets": [asdict(budget) for budget in budgets],
        "candidates": [candidate.to_dict() for candidate in candidates],
        "environment": {"paretina": training.version()},
    }
    write_once(folder / "asked.json", asked)


def give_time(folder: Path, seconds: float) -> None:
    """Gives a frontier more time, what it has spent included; rungs that were left out for lack of it come up again.

    Raises:
        ValueError: there is no frontier, it is less than it had, or every rung has its length already.
    """
    standing = read_standing(folder)
    had = standing.halving.seconds
    if seconds < had:
        raise ValueError(
            f"the time of a frontier is that of all its trainings, and can only grow: {folder} was given {had:g} s, got "
            f"{seconds:g} s; name a longer --time, or leave it out"
        )
    again = [place for place in lacking_time(standing) if place.exists()]
    if seconds > had and not again and len(standing.rungs) == len(standing.counts):
        raise ValueError(
            f"all {len(standing.counts)} rungs of {folder} have their lengths already, so more --time would change nothing; "
            "leave it out, or begin a new frontier"
        )
    asked = {**standing.asked, "halving": encode(replace(standing.halving, seconds=seconds))}
    written_aside(folder / "asked.json", asked).replace(folder / "asked.json")
    for place in again if seconds > had else ():
        place.unlink()


def lacking_time(standing: Standing) -> list[Path]:
    """The files that say what was not done for lack of time: a rung left out, or one for which nobody's time sufficed."""
    if not standing.rungs:
        return []
    number, last = len(standing.rungs) - 1, standing.rungs[-1]
    decided = standing.folder / "rungs" / f"{number}.json"
    if last["stopped"]:
        return [decided]
    faults = [standing.folder / "runs" / name / "failed.json" for name in last["names"]]
    found = [place for place in faults if (read_json(place) or {}).get("needed_s")]
    return [decided, *found] if found and not any(entry.rung == number for entry in standing.entries) else []


def as_time(seconds: float) -> str:
    """Rounded up, as `--time` takes it: 90s, 12m."""
    return f"{max(1, math.ceil(seconds))}s" if seconds <= 600 else f"{math.ceil(seconds / 60)}m"


def write_once(path: Path, value: Any) -> None:
    """Writes a JSON file whole; whoever comes second changes nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = written_aside(path, value)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def written_aside(path: Path, value: Any) -> Path:
    """A JSON file beside another, under a name that no other worker takes, on whatever machine."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    aside.write_text(json.dumps(value, indent=2))
    return aside


# --- the work -----------------------------------------------------------------------------------------------------------


@randomness_kept()
def work(
    folder: Path,
    tools: Tools,
    data: str | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
) -> Standing:
    """Does what is left of a frontier, together with whoever else works on it.

    Args:
        data: where the data is now, if it was moved.
        listen: called with each line of each run's log.
        say: called with what is being done and decided.

    Raises:
        ValueError: there is no frontier, the data cannot be used, or every candidate failed.
        KeyboardInterrupt: interrupted; the same call continues with it.
    """
    standing = read_standing(folder)
    begun = standing.entries[0].candidate.asked.data
    source = None if data is None else training.moved_to(begun, source_named(data))
    check_pictures(folder, source or begun)
    with pictures_kept(), tools.claims(folder) as claims:
        worker = Worker(folder, standing, tools, claims, source, data, listen, say)
        if standing.halving.by == "epochs":
            if not standing.rungs:
                check_time(standing)
            worker.stage("rehearse", [entry.name for entry in standing.entries], worker.rehearsed, worker.rehearse)
        for rung in range(len(standing.counts)):
            decided = worker.decide(rung)
            names = decided["names"]
            if not names:
                break
            worker.stage(f"rung-{rung}", names, worker.trained_for(rung), worker.trainer(decided))
            if not any(entry.links for entry in worker.look().entries):
                raise ValueError(f"every candidate failed, so there is no frontier:\n{worker.failures()}{worker.enough()}")
            worker.stage("time", ["1"], worker.timed, worker.time)
        if worker.look().disturbed:
            say("the timing was disturbed, so it is taken once more")
            worker.stage("time", [str(max(1, standing.sessions) + 1)], worker.timed, worker.time)
    standing = read_standing(folder)
    written_aside(folder / "result.json", result_of(standing)).replace(folder / "result.json")
    return standing


def check_pictures(folder: Path, source: Source) -> None:
    """Looks once at the data, which otherwise would be the fault of every candidate.

    Raises:
        ValueError: it cannot be used, or is not what the frontier began with.
    """
    collection = source.open()
    require_top1(collection.task, "a frontier compares candidates")
    splits = [[(sample.name, sample.label) for sample in collection.split(name)] for name in ("train", "val")]
    digest = hashlib.sha256(json.dumps(splits).encode()).hexdigest()[:16]
    write_once(folder / "samples.json", {"digest": digest})
    if (read_json(folder / "samples.json") or {})["digest"] != digest:
        raise ValueError(f"the pictures are not those that {folder} began with; begin a new frontier, or put them back")


def result_of(standing: Standing) -> dict[str, Any]:
    """What came out, for other programs."""
    found = recommend(standing, standing.budgets)
    return {
        "status": "done" if standing.done else "unfinished",
        "cost": standing.halving.cost,
        "front": [point.name for point in standing.frontier(standing.halving.cost).front()],
        "recommendation": found.to_dict() if found else None,
        "spent_s": standing.spent_s,
        "notes": standing.notes(),
    }


FAULTS = (ValueError, FloatingPointError, MemoryError, RuntimeError)
"""What can be wrong with one candidate while the others continue; runtime errors count only where memory ran out."""


@dataclass
class Worker:
    """One process at work on a frontier.

    Attributes:
        begun: how it stood when this process came; what was asked does not change, but for the time.
        warned: whether it was said that the time seems short.
    """

    folder: Path
    begun: Standing
    tools: Tools
    claims: Claims
    source: Source | None
    data: str | None
    listen: Listener
    say: Say
    warned: bool = False

    def look(self) -> Standing:
        return read_standing(self.folder)

    def stage(self, stage: str, jobs: Sequence[str], done: Callable[[str], bool], do: Callable[[str], float | None]) -> None:
        """Does jobs that nobody does until all of them are done, whoever does them."""
        waiting = False
        while left := [job for job in jobs if not done(job)]:
            job = self.claims.take(stage, left) if self.may(stage) else None
            if job is None:
                if not waiting:
                    self.say(f"{stage}: {len(left)} of {len(jobs)} are left, and others work on them; waiting")
                waiting = True
                self.tools.wait(POLL_S)
                continue
            waiting = False
            value = None
            try:
                if not done(job):  # somebody may have finished it between the two looks
                    value = do(job)
            finally:
                self.claims.give_back(stage, job, value)

    def may(self, stage: str) -> bool:
        """Whether this machine may do it: timings belong to the one that began."""
        begun = self.begun.asked["device"]
        if stage != "time" or begun.replace(" 1 cores,", " 1 core,") == self.tools.device:  # as it was written once
            return True
        if not self.claims.others():
            raise ValueError(
                f"what is left is the timing, which belongs to the machine that began ({begun}); continue there: "
                f"paretina frontier --resume {self.folder}"
            )
        return False

    def place(self, name: str) -> Path:
        return self.folder / "runs" / name

    def asked(self, name: str) -> Asked:
        """What is asked of a candidate, with the data where it is now."""
        asked = next(entry.candidate.asked for entry in self.begun.entries if entry.name == name)
        return asked if self.source is None else replace(asked, data=self.source)

    def given_up(self, name: str) -> bool:
        return (self.place(name) / "failed.json").exists()

    def failures(self) -> str:
        return "\n".join(f"  {entry.name}: {entry.failed}" for entry in self.look().entries if entry.failed)

    def enough(self) -> str:
        """The time that would do, where nobody's sufficed."""
        faults = [read_json(self.place(entry.name) / "failed.json") or {} for entry in self.begun.entries]
        needed = [fault["needed_s"] for fault in faults if fault.get("needed_s")]
        if not needed:
            return ""
        return "\n" + with_more(self.folder, len(self.begun.counts) * len(self.begun.entries) * max(needed))

    @contextmanager
    def giving_up(self, name: str, stage: str) -> Iterator[None]:
        """Where faults are those of one candidate, which is then left out while the others continue."""
        try:
            yield
        except FAULTS as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            text = " ".join(str(error).split()) or type(error).__name__
            short = {"needed_s": error.needed_s} if isinstance(error, estimate.ShortTimeError) else {}
            write_once(self.place(name) / "failed.json", {"stage": stage, "error": text, **short})
            self.say(f"{name} is given up: {text}")

    # --- rehearsals ---------------------------------------------------------------------------------------------------

    def rehearsed(self, name: str) -> bool:
        return (self.folder / "rehearsed" / f"{name}.json").exists() or self.given_up(name)

    def rehearse(self, name: str) -> None:
        self.say(f"{name}: a few updates, to see what they take")
        asked, began, found = self.asked(name), self.tools.clock(), None
        with self.giving_up(name, "rehearse"), self.tools.lock.shared():
            found = self.tools.rehearse(asked)
        if found is not None:
            found = {**found, "spent_s": self.tools.clock() - began}
            write_once(self.folder / "rehearsed" / f"{name}.json", found)
            self.check_time()

    def check_time(self) -> None:
        """Ends what cannot end well as soon as that is known, and says once if it seems so.

        Raises:
            ValueError: the time does not suffice, whatever the candidates take that were not rehearsed yet.
        """
        standing = self.look()
        check_time(standing)
        needed = enough_for_an_epoch(standing)
        if needed > standing.halving.seconds and not self.warned:
            self.warned = True
            self.say(
                f"the time of {as_time(standing.halving.seconds)} is short: an epoch of each candidate on every rung would "
                f"take about {as_time(needed)}, by what was rehearsed so far"
            )

    # --- rungs --------------------------------------------------------------------------------------------------------

    def decide(self, rung: int) -> dict[str, Any]:
        """Who enters a rung, and for how long; the first decision holds for all."""
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

    def trained_for(self, rung: int) -> Callable[[str], bool]:
        return lambda name: (self.place(name) / f"rung-{rung}.json").exists() or self.given_up(name)

    def trainer(self, decided: dict[str, Any]) -> Callable[[str], float | None]:
        return lambda name: self.train(name, decided)

    def train(self, name: str, decided: dict[str, Any]) -> float | None:
        """Trains one candidate for a rung, or continues with it; returns its accuracy."""
        rung, place = decided["rung"], self.place(name)
        alone = self.claims.others() == 0
        began = self.tools.clock()
        self.say(f"{name}, rung {rung}")
        start = self.starter(name, decided)
        run = None
        with self.giving_up(name, f"rung-{rung}"), self.tools.lock.shared():
            run = start()
        if run is None:
            return None
        result = run.result() or {}
        done = {
            "run": run.path.name,
            "spent_s": max(self.tools.clock() - began, result["time_s"]),
            "alone": alone and self.claims.others() == 0,
            "machine": socket.gethostname(),
        }
        write_once(place / f"rung-{rung}.json", done)
        return float(result["metrics"]["val/top1"])

    def starter(self, name: str, decided: dict[str, Any]) -> Callable[[], Run]:
        """What begins a candidate's run for a rung, or continues with it."""
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

    def timed(self, number: str) -> bool:
        return (self.folder / "timed" / number / "result.json").exists()

    def time(self, number: str) -> None:
        """Times all candidates in turn, while nobody trains."""
        runs = {entry.name: entry.links[-1].run for entry in self.look().entries if entry.links}
        self.say(f"timing {how_many(len(runs), 'network')} in turn; trainings wait meanwhile")
        with self.tools.lock.alone():
            session = self.tools.time_runs(runs, self.say)
        place = self.folder / "timed" / number
        asked = {"verb": "time", "device": self.tools.device, "runs": {name: str(path) for name, path in runs.items()}}
        write_once(place / "asked.json", asked)
        write_once(place / "result.json", session)


# --- decisions ----------------------------------------------------------------------------------------------------------


def decision(standing: Standing, rung: int) -> dict[str, Any]:
    """Who enters a rung, and for how long.

    Raises:
        ValueError: the time is too short for the first rung, or the cost is not known of anybody.
    """
    halving, counts = standing.halving, standing.counts
    share = (halving.seconds - standing.spent_s) / (len(counts) - rung)
    ready = [entry for entry in standing.entries if entry.rung == rung - 1 and not entry.failed]
    kept = ready if rung == 0 else going_on(standing, ready, counts[rung])
    names = [entry.name for entry in kept]
    none = {"rung": rung, "names": [], "epochs": None, "seconds": None}
    if not names and rung == 0:
        reasons = "\n".join(f"  {entry.name}: {entry.failed}" for entry in standing.entries)
        raise ValueError(f"no candidate can be trained:\n{reasons}")
    if not names:
        return {**none, "stopped": f"rung {rung} was left out, since nobody was left to enter it"}
    if halving.by == "seconds":
        if share > 0:
            return {"rung": rung, "names": names, "epochs": None, "seconds": share / len(names), "stopped": ""}
        return {
            **none,
            "stopped": f"rung {rung} was left out, since the time was used up; continue with --resume and a longer --time",
        }
    epochs = affordable(standing, kept, share)
    if min(epochs.values()) < least_epochs(standing, names):
        if rung:
            return {
                **none,
                "stopped": f"rung {rung} was left out, since the time was used up; continue with --resume and a longer --time",
            }
        raise ValueError(too_short(standing))
    return {"rung": rung, "names": names, "epochs": epochs, "seconds": None, "stopped": ""}


def out_of_time(rung: int) -> str:
    return f"rung {rung} was left out, since the time was used up; continue with --resume and a longer --time"


def affordable(standing: Standing, entries: Sequence[Entry], seconds: float) -> dict[str, float]:
    """The epochs of each candidate, by name, that a rung of so many seconds has time for."""
    pace = {entry.name: pace_of(standing, entry) for entry in entries}
    left = seconds - sum(fixed for fixed, _, _ in pace.values())
    return equal_epochs(left, {name: (epoch, most) for name, (_, epoch, most) in pace.items()})


def least_epochs(standing: Standing, names: Sequence[str]) -> float:
    """Epochs in which each candidate has at least one update."""
    return max(1 / standing.rehearsed[name]["updates_per_epoch"] for name in names)


def check_time(standing: Standing) -> None:
    """Looks whether the first rung can have an update of each candidate, by those that were rehearsed so far.

    More rehearsals only leave less time for more candidates, so what is too short now stays so.

    Raises:
        ValueError: it cannot.
    """
    known = [entry for entry in standing.entries if entry.name in standing.rehearsed and not entry.failed]
    if not known:
        return
    share = (standing.halving.seconds - standing.spent_s) / len(standing.counts)
    if min(affordable(standing, known, share).values()) < least_epochs(standing, [entry.name for entry in known]):
        raise ValueError(too_short(standing))


def too_short(standing: Standing) -> str:
    """Why the first rung cannot be: where the time was spent, what is left of it and what would be needed."""
    time, spent, needed = standing.halving.seconds, standing.spent_s, enough_for_an_update(standing)
    left = f"rehearsing took {spent:.1f} s, {max(0.0, time - spent):.1f} s are left, and one update of each on every rung"
    said = (
        f"rehearsing the candidates used up the time of {as_time(time)}"
        if needed <= time
        else f"the time of {as_time(time)} does not suffice for one update of each candidate"
    )
    return f"{said}: {left} needs about {needed:.1f} s; {with_more(standing.folder, enough_for_an_epoch(standing))}"


def with_more(folder: Path, seconds: float) -> str:
    """How a frontier that lacks time continues."""
    return (
        f"an epoch of each, with as much for the other rungs, takes about {as_time(seconds)}: "
        f"{shlex.join(['paretina', 'frontier', '--resume', str(folder), '--time', as_time(seconds)])}, "
        "or begin a new frontier with fewer candidates"
    )


def enough_for_an_update(standing: Standing) -> float:
    """Seconds of training for an update of each on each rung; those not rehearsed count like the mean of the others."""
    known = [entry for entry in standing.entries if entry.name in standing.rehearsed and not entry.failed]
    total = sum(not entry.failed for entry in standing.entries)
    least = least_epochs(standing, [entry.name for entry in known])
    paces = [pace_of(standing, entry) for entry in known]
    return total / len(known) * len(standing.counts) * math.fsum(fixed + least * epoch for fixed, epoch, _ in paces)


def enough_for_an_epoch(standing: Standing) -> float:
    """Seconds in all for an epoch of each candidate on each rung; those not rehearsed count like the mean of the others."""
    known = [entry for entry in standing.entries if entry.name in standing.rehearsed and not entry.failed]
    total = sum(not entry.failed for entry in standing.entries)
    rung = math.fsum(sum(pace_of(standing, entry)[:2]) for entry in known)
    return total / len(known) * (len(standing.counts) * rung + standing.spent_s)


def going_on(standing: Standing, ready: Sequence[Entry], count: int) -> list[Entry]:
    """The candidates that continue: those within the budgets first, and of each group the best by rank and hypervolume."""
    cost = standing.halving.cost
    frontier = standing.frontier(cost, ready)
    if ready and not frontier.points:
        where = " on this machine" if cost in TIMED else ""
        raise ValueError(f"{cost} is not known of any candidate{where}, so there is no front; name another --cost")
    known = {entry.name: entry for entry in ready}
    within = [
        point
        for point in frontier.points
        if all(b.cost in known[point.name].costs and b.holds(known[point.name].costs[b.cost].value) for b in standing.budgets)
    ]
    kept = {point.name for point in Frontier(frontier.axes, tuple(within)).best(count)}
    rest = tuple(point for point in frontier.points if point not in within)
    if len(kept) < count:
        kept |= {point.name for point in Frontier(frontier.axes, rest).best(count - len(kept))}
    return [entry for entry in ready if entry.name in kept]


def pace_of(standing: Standing, entry: Entry) -> tuple[float, float, float]:
    """Seconds that a run takes besides its epochs, seconds an epoch, and epochs of a full training."""
    rehearsed = standing.rehearsed[entry.name]
    fixed, epoch = rehearsed["fixed_s"], rehearsed["epoch_s"]
    if entry.links:
        link = entry.links[-1]
        measured = (link.spent_s - fixed) / link.epochs
        epoch = measured if measured > 0 else epoch
    return fixed, epoch, entry.candidate.asked.recipe.epochs


def equal_epochs(seconds: float, candidates: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The number of epochs, the same for all but no more than a full training has, that takes so many seconds in all.

    Args:
        candidates: by name, seconds an epoch and epochs of a full training.
    """
    left, open_ = seconds, dict(candidates)
    found: dict[str, float] = {}
    while open_:
        epochs = left / sum(pace for pace, _ in open_.values())
        full = {name: most for name, (_, most) in open_.items() if most <= epochs}
        if not full:
            return found | {name: round(epochs, 2) for name in open_}
        for name, most in full.items():
            found[name] = most
            left -= open_.pop(name)[0] * most
    return found


# --- timing -------------------------------------------------------------------------------------------------------------


def timer(device: str, seconds: float, tune: bool = False, fold: Any = None) -> TimeRuns:
    """Times finished runs in turn with `paretina.measure.timing`: one image, best batch, memory, energy.

    Args:
        seconds: for each network.
        tune: whether the fastest eager plan of each is looked for first, instead of the default one.
        fold: gives a copy of a network in inference form, such as `paretina.ship.fold.fold`; only where it is tuned.
    """

    def time_runs(runs: Mapping[str, Path], say: Say) -> dict[str, Any]:
        from paretina.measure.opened import Steps, open_model
        from paretina.measure.settle import default_inference_plan, settle
        from paretina.measure.timing import Subject, Turns, time_subjects

        here = Device.here(default_plan(device).device)
        others = Others()
        subjects, notes = [], {}
        for name, run in runs.items():
            opened = open_model(str(run))
            steps = Steps(opened, fold, here.device, here.threads)
            plan = default_inference_plan(here.device)
            if tune:
                found = settle(steps, here, "eager", training=False, say=partial(said_of, say, name))
                plan, notes[name] = found.inference, list(found.notes)
            weight_mb = sum(tensor.nbytes for tensor in opened.network.state_dict().values()) / 2**20
            subjects.append(Subject(name=name, plan=plan, infer=steps.infer(plan), weight_mb=weight_mb))
        timings = time_subjects(
            subjects,
            here,
            Turns(None, seconds, wait=here.wait),
            others=others,
            counter=counter_of(here.device),
            say=say,
        )
        costs: dict[str, dict[str, Sequence[float]]] = {}
        for name, timing in timings.items():
            batch = timing.inference
            costs[name] = {"latency_ms": timing.latency.p50, "throughput": batch.img_s}
            for cost, value in (("peak_mb", batch.peak_mb), ("energy_j", batch.energy.image_j if batch.energy else None)):
                if value is not None:
                    costs[name][cost] = (value, value, value)
        first = next(iter(timings.values()))
        return {
            "device": here.to_dict(),
            "disturbed": first.disturbed,
            "others_cores": first.others,
            "costs": costs,
            "notes": notes,
            "timings": {name: timing.to_dict() for name, timing in timings.items()},
        }

    return time_runs


def said_of(say: Say, name: str, text: str) -> None:
    say(f"{name}: {text}")


def tools_for(device: str, seconds: float, tune: bool = False, fold: Any = None) -> Tools:
    """The real tools for a device of this machine."""
    name = default_plan(device).device
    return Tools(
        time_runs=timer(device, seconds, tune, fold),
        lock=DeviceLock(name, cache_folder() / "locks"),
        device=device_name(device),
    )
