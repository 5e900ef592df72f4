"""Reads the state of a frontier from its directory, and recommends a candidate.

A frontier directory has `asked.json` (candidates and settings), `rehearsed/` (estimated time of each candidate), `rungs/`
(candidates and epochs of each rung), `runs/CANDIDATE/rung-N` (run directories) with `rung-N.json` next to each finished one,
and `timed/N` (timings of all candidates). Everything that is shown is computed from these files.
"""

import csv
import functools
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from paretina.measure.cost import without
from paretina.measure.pareto import Axis, Frontier, Number, Point, chosen_interval, front_shares
from paretina.measure.statistics import Interval, as_columns, mcnemar, wilson
from paretina.search.frontier.candidates import Candidate
from paretina.search.frontier.costs import COSTS as COSTS
from paretina.search.frontier.costs import COUNTED as COUNTED
from paretina.search.frontier.costs import TIMED as TIMED
from paretina.search.frontier.costs import Budget as Budget
from paretina.search.frontier.costs import budget_of as budget_of
from paretina.search.frontier.runtimes import EAGER, RUNTIMES, chosen_by, chosen_runtime
from paretina.spec import Spec, decode, near
from paretina.text import how_many

TOP1 = Axis(name="top1", better="high", unit="%")


OVER = 1.15
"""By what factor the time that was asked for may be exceeded without a word."""


@dataclass(frozen=True, kw_only=True)
class Halving(Spec):
    """Settings of successive halving.

    Attributes:
        seconds: total training seconds of all candidates, on any number of processes.
        rungs: maximum number of rungs; each gets an equal share of the time.
        factor: reduction factor: 1 in `factor` candidates continues to the next rung.
        least: minimum number of candidates in the last rung, so that a front is left.
        by: whether candidates of a rung get the same number of epochs, or the same time.
        cost: the cost of the front, besides accuracy.
    """

    seconds: float
    rungs: int = 3
    factor: float = 2.0
    least: int = 4
    by: Literal["epochs", "seconds"] = "epochs"
    cost: str = "latency_ms"

    def __post_init__(self) -> None:
        if not self.factor > 1:
            raise ValueError(f"--keep 3 keeps one candidate in 3 of a rung, so it is above 1, got {self.factor:g}")
        if not self.seconds > 0 or self.rungs < 1 or self.least < 1:
            raise ValueError(
                f"a frontier needs a time above 0, and at least one rung and one finalist, got {self.seconds:g} s, "
                f"{self.rungs} and {self.least}"
            )
        if self.cost not in COSTS:
            raise ValueError(f"there is no cost {self.cost!r}{near(self.cost, COSTS)}")

    def counts(self, candidates: int) -> list[int]:
        """The number of candidates in each rung; rungs that would eliminate none are left out."""
        found = [candidates]
        while len(found) < self.rungs:
            following = max(math.ceil(found[-1] / self.factor), self.least)
            if following >= found[-1]:
                break
            found.append(following)
        return found


# --- reading ------------------------------------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None if there is none.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ValueError(f"{path} is damaged, it is not JSON: {error}; remove it, and that step is repeated") from None


@dataclass(frozen=True)
class Link:
    """A rung that a candidate has finished.

    Attributes:
        run: run directory.
        epochs: epochs of this rung alone.
        top1: top-1 in percent on the validation pictures, with its interval.
        correct: number of correct predictions for `n` pictures.
        train_s: seconds of updates.
        spent_s: total seconds: reading, updates, evaluation.
        alone: whether no other worker was active meanwhile.
        machine: machine on which it was trained.
        counted: its counted costs.
        uncounted: operators not counted in the MACs, as in `Cost`.
    """

    rung: int
    run: Path
    epochs: float
    top1: Interval
    correct: int
    n: int
    train_s: float
    spent_s: float
    alone: bool
    machine: str
    counted: Mapping[str, Number]
    uncounted: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        return self.run / "model.safetensors"


@dataclass(frozen=True)
class Entry:
    """A candidate and its progress.

    Attributes:
        links: the rungs that it has finished, in order.
        failed: why it failed and was left out; "" if it was not.
        timed: timed costs by runtime; empty until timed.
        runtime: the runtime whose timed costs count, see `chosen_runtime`; "" until timed.
    """

    candidate: Candidate
    links: tuple[Link, ...]
    failed: str
    timed: Mapping[str, Mapping[str, Interval]]
    runtime: str = ""

    @property
    def name(self) -> str:
        return self.candidate.name

    @property
    def rung(self) -> int:
        """The last rung that it has finished; -1 if none."""
        return self.links[-1].rung if self.links else -1

    @property
    def top1(self) -> Interval | None:
        return self.links[-1].top1 if self.links else None

    @property
    def epochs(self) -> float:
        """The epochs of all rungs together."""
        return math.fsum(link.epochs for link in self.links)

    @property
    def size(self) -> int:
        """Image size in pixels at which it is tested."""
        return self.candidate.asked.final_size()

    @property
    def costs(self) -> dict[str, Interval]:
        """Its known costs, by name; counted ones are exact, timed ones are those in its runtime."""
        if not self.links:
            return {}
        exact = {name: float(self.links[-1].counted[name]) for name in COUNTED}
        exact["train_seconds"] = math.fsum(link.train_s for link in self.links)
        found = {name: Interval(value, value, value) for name, value in exact.items()} | dict(self.timed.get(self.runtime, {}))
        return {name: found[name] for name in COSTS if name in found and found[name].value > 0}

    def point(self, *costs: str) -> Point | None:
        """Its point in accuracy and costs; None while one of them is unknown."""
        known = self.costs
        if self.top1 is None or any(name not in known for name in costs):
            return None
        return Point(self.name, {"top1": self.top1.value, **{name: known[name].value for name in costs}})


@dataclass(frozen=True)
class Standing:
    """
    Attributes:
        budgets: budgets given at its start.
        rungs: the decision on each rung that has begun.
        session: the least disturbed timing, which is used; None until there is one.
        sessions: number of timings.
        rehearsed: estimated time of a run of each candidate, by name.
    """

    folder: Path
    asked: dict[str, Any]
    halving: Halving
    budgets: tuple[Budget, ...]
    entries: tuple[Entry, ...]
    rungs: tuple[dict[str, Any], ...]
    session: dict[str, Any] | None
    sessions: int
    rehearsed: Mapping[str, dict[str, Any]]

    @property
    def cost(self) -> Axis:
        return COSTS[self.halving.cost]

    @property
    def counts(self) -> list[int]:
        return self.halving.counts(len(self.entries))

    @property
    def disturbed(self) -> bool:
        """Whether other processes used the device during the timing."""
        return bool(self.session and self.session["disturbed"])

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that networks are timed in; frontiers of earlier releases name none and have eager torch only."""
        return tuple(self.asked.get("runtimes", (EAGER,)))

    @property
    def done(self) -> bool:
        """Whether all training and timing is done."""
        ended = len(self.rungs) == len(self.counts) or bool(self.rungs and self.rungs[-1]["stopped"])
        return ended and self.session is not None and not self.left()

    @property
    def last_rung(self) -> int:
        """The highest rung that any candidate has finished; -1 if none."""
        return max((entry.rung for entry in self.entries), default=-1)

    @property
    def finalists(self) -> tuple[Entry, ...]:
        """The candidates that have finished the highest rung; only these are compared."""
        return tuple(entry for entry in self.entries if entry.rung == self.last_rung >= 0)

    @property
    def spent_s(self) -> float:
        """Seconds of training so far, including trial updates."""
        trained = sum(link.spent_s for entry in self.entries for link in entry.links)
        return trained + math.fsum(each["spent_s"] for each in self.rehearsed.values())

    def left(self) -> list[str]:
        """The candidates that have to finish the current rung."""
        if not self.rungs:
            return []
        rung = len(self.rungs) - 1
        names = self.rungs[-1]["names"]
        return [entry.name for entry in self.entries if entry.name in names and entry.rung < rung and not entry.failed]

    def frontier(self, cost: str, entries: Sequence[Entry] | None = None) -> Frontier:
        """Accuracy against a cost, by default of the finalists; candidates without either are left out."""
        points = [entry.point(cost) for entry in (self.finalists if entries is None else entries)]
        return Frontier((COSTS[cost], TOP1), tuple(point for point in points if point is not None))

    def known_costs(self) -> list[str]:
        """Costs that at least one candidate has, the requested one first."""
        known = {name for entry in self.entries for name in entry.costs}
        return sorted(known, key=lambda name: (name != self.halving.cost, list(COSTS).index(name)))

    @functools.cached_property
    def shares(self) -> dict[str, float]:
        """How often each finalist is on the front when pictures and timings are resampled; empty if unknown."""
        entries = [entry for entry in self.finalists if self.halving.cost in entry.costs]
        answers = [answers_of(entry.links[-1].run) for entry in entries]
        if len(entries) < 2 or not all(answers):
            return {}
        common = sorted(set.intersection(*(set(each) for each in answers)))
        correct = np.array([[each[name] for name in common] for each in answers], dtype=bool)
        costs = [entry.costs[self.halving.cost] for entry in entries]
        return front_shares([entry.name for entry in entries], correct, self.cost, costs)

    def notes(self) -> list[str]:
        """Notes on the figures, one sentence each."""
        found = []
        stopped = [entry for entry in self.entries if entry.rung < self.last_rung and entry.links]
        if stopped:
            found.append(
                f"{len(stopped)} of {how_many(len(self.entries), 'candidate')} were stopped early; their "
                "accuracy is that of fewer epochs, and they are not on the front"
            )
        found += [f"{entry.name} failed and was left out: {entry.failed}" for entry in self.entries if entry.failed]
        found += [rung["stopped"] for rung in self.rungs if rung["stopped"]]
        if self.spent_s > OVER * self.halving.seconds:
            found.append(
                f"training took {self.spent_s:.0f} s, and {self.halving.seconds:.0f} s were asked for: epochs are fixed when a "
                "rung begins, by the pace of the machine then, and interrupted updates are repeated"
            )
        short = [epochs for rung in self.rungs for epochs in (rung["epochs"] or {}).values() if epochs < 2]
        if short:
            found.append(
                f"the shortest run had {how_many(min(short), 'epoch', '.2g')}: with less than two, ranks are unreliable, since "
                "warm-up has hardly ended; give more --time-limit or fewer candidates"
            )
        if self.disturbed and self.session:
            found.append(
                f"other processes used {self.session['others_cores']:.1f} cores during the timing, so timed costs are not "
                "reliable; resume when the machine is idle to repeat the timing"
            )
        found += self.runtime_notes()
        links = [link for entry in self.entries for link in entry.links]
        for entry in self.entries:
            missing = without(entry.links[-1].uncounted) if entry.links else ""
            found += [f"{entry.name}: {missing}"] if missing else []
        if any(not link.alone for link in links):
            found.append("several workers trained at the same time, so train_seconds is longer than it would be alone")
        machines = sorted({link.machine for link in links})
        if len(machines) > 1:
            found.append(
                f"{len(machines)} machines trained ({', '.join(machines)}), so train_seconds cannot be compared closely"
            )
        if len({link.n for link in links}) == 1 and links:
            found.append(
                f"accuracies are on {how_many(links[0].n, 'validation picture')}, on which candidates were also selected, so "
                "that of the best is optimistic"
            )
        return found

    def runtime_notes(self) -> list[str]:
        """Notes on the runtimes, one sentence each."""
        if self.session is None:
            return []
        found = []
        if len(self.runtimes) > 1:
            by = chosen_by(self.halving.cost)
            within = " among those within the budgets" if any(budget.cost in TIMED for budget in self.budgets) else ""
            found.append(
                f"networks were timed in {', '.join(self.runtimes)}; the timed costs of each are those in its best runtime by "
                f"{by}{within}"
            )
        shipped = [name for name in self.runtimes if RUNTIMES[name].format]
        if shipped:
            found.append(
                f"{' and '.join(shipped)} executed the shipped file, in float32 and with its resize and softmax, on pictures "
                "of the network's size; the accuracy is that of the network in torch, and `paretina ship` compares the two"
            )
        for name, reasons in self.session.get("untimed", {}).items():
            found += [f"{name} was not timed in {runtime}: {reason}" for runtime, reason in reasons.items()]
        return found


def answers_of(run: Path) -> dict[str, bool]:
    """Whether a run classified each validation picture correctly, by the picture's name."""
    try:
        with open(run / "predictions.csv", newline="", encoding="utf-8") as file:
            return {row["name"]: row["correct"] == "1" for row in csv.DictReader(file)}
    except (OSError, KeyError):
        return {}


def read_standing(folder: Path) -> Standing:
    """Reads a frontier's directory, also while others work on it.

    Raises:
        ValueError: there is no frontier in it, or a file is damaged.
    """
    asked = read_json(folder / "asked.json")
    if not isinstance(asked, dict) or asked.get("verb") != "frontier":
        raise ValueError(f"{folder} holds no frontier; start one with `paretina frontier DATA --output DIR`")
    rungs: list[dict[str, Any]] = []
    while (decided := read_json(folder / "rungs" / f"{len(rungs)}.json")) is not None:
        rungs.append(decided)
    sessions = [read_json(path) for path in sorted(folder.glob("timed/*/result.json"), key=lambda path: int(path.parent.name))]
    session = min(sessions, key=lambda each: (each["disturbed"], each["others_cores"] or 0.0), default=None)
    halving, budgets = decode(Halving, asked["halving"]), tuple(Budget(**each) for each in asked["budgets"])
    entries = []
    for candidate in candidates_of(json.dumps(asked["candidates"])):
        place = folder / "runs" / candidate.name
        failed = read_json(place / "failed.json")
        links = [link for number in range(len(rungs)) if (link := read_link(place, number)) is not None]
        timed = timed_costs(session, candidate.name)
        runtime = chosen_runtime(timed, halving.cost, budgets)
        entries.append(Entry(candidate, tuple(links), failed["error"] if failed else "", timed, runtime))
    rehearsed = {
        entry.name: data for entry in entries if (data := read_json(folder / "rehearsed" / f"{entry.name}.json")) is not None
    }
    return Standing(
        folder=folder,
        asked=asked,
        halving=halving,
        budgets=budgets,
        entries=tuple(entries),
        rungs=tuple(rungs),
        session=session,
        sessions=len(sessions),
        rehearsed=rehearsed,
    )


def timed_costs(session: Mapping[str, Any] | None, name: str) -> dict[str, dict[str, Interval]]:
    """The timed costs of a candidate in a session, by runtime and cost; empty if it was not timed.

    Sessions of earlier releases have `costs` by candidate, all of eager torch.
    """
    if session is None:
        return {}
    if "runtimes" in session:
        by_runtime = session["runtimes"].get(name, {})
    else:
        by_runtime = {EAGER: session["costs"][name]} if name in session["costs"] else {}
    return {
        runtime: {cost: Interval(*value) for cost, value in costs.items()} for runtime, costs in by_runtime.items() if costs
    }


@functools.cache
def candidates_of(text: str) -> tuple[Candidate, ...]:
    """The candidates in a JSON text; cached, since a standing is read repeatedly."""
    return tuple(map(Candidate.from_dict, json.loads(text)))


def read_link(place: Path, rung: int) -> Link | None:
    """A finished rung of a candidate; None while it is not finished."""
    done = read_json(place / f"rung-{rung}.json")
    if done is None:
        return None
    run = place / done["run"]
    result, asked = read_json(run / "result.json"), read_json(run / "asked.json")
    if result is None or asked is None:
        raise ValueError(f"files of {run} are missing; remove {place / f'rung-{rung}.json'}, and it is trained again")
    confusion = result["confusion"]
    correct, n = sum(row[i] for i, row in enumerate(confusion)), sum(map(sum, confusion))
    share = wilson(correct, n)
    return Link(
        rung=rung,
        run=run,
        epochs=asked["recipe"]["epochs"],
        top1=Interval(*(100 * value for value in share)),
        correct=correct,
        n=n,
        train_s=result["time_s"],
        spent_s=done["spent_s"],
        alone=done["alone"],
        machine=done["machine"],
        counted=result["cost"],
        uncounted=tuple(result["cost"].get("uncounted", ())),
    )


# --- what to take -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recommendation:
    """The most accurate candidate within budgets.

    Attributes:
        accuracy: in percent; the interval allows for the selection among `among` candidates on the same pictures.
        alike: candidates within the budgets that are not significantly different on these pictures, cheapest first.
        command: command for a full training; "" if there is none.
        ship: command that makes the file that its runtime executes, after that training; "" if torch executes the network.
        full_s: approximate seconds of that training; None if unknown.
        notes: notes for the user, one sentence each.
    """

    entry: Entry
    budgets: tuple[Budget, ...]
    accuracy: Interval
    among: int
    alike: tuple[str, ...]
    command: str
    full_s: float | None
    notes: tuple[str, ...]
    ship: str = ""

    @property
    def runtime(self) -> str:
        """The runtime in which its timed costs were measured; "" if it was not timed."""
        return self.entry.runtime

    def to_dict(self) -> dict[str, Any]:
        return {
            "candidate": self.entry.name,
            "budgets": [str(budget) for budget in self.budgets],
            **as_columns("top1", self.accuracy),
            "chosen_among": self.among,
            "costs": {name: list(cost) for name, cost in self.entry.costs.items()},
            "runtime": self.runtime,
            "costs_by_runtime": {
                runtime: {name: list(cost) for name, cost in costs.items()} for runtime, costs in self.entry.timed.items()
            },
            "model": str(self.entry.links[-1].model),
            "alike": list(self.alike),
            "command": self.command,
            "ship": self.ship,
            "full_training_s": self.full_s,
            "notes": list(self.notes),
        }


def recommend(standing: Standing, budgets: Sequence[Budget] = ()) -> Recommendation | None:
    """The most accurate candidate within budgets, of those that were trained longest; None if none fits.

    Of equally accurate ones the cheapest is recommended.
    """
    cost = standing.cost
    fitting = [
        entry
        for entry in standing.entries
        if entry.point(cost.name, *(budget.cost for budget in budgets))
        and all(budget.holds(entry.costs[budget.cost].value) for budget in budgets)
    ]
    if not fitting:
        return None
    top = max(entry.rung for entry in fitting)
    level = [entry for entry in fitting if entry.rung == top]

    def cheapness(entry: Entry) -> float:
        return cost.worth(entry.costs[cost.name].value)

    best = max(level, key=lambda entry: (entry.links[-1].top1.value, cheapness(entry), entry.name))
    link = best.links[-1]
    among = sum(1 for entry in standing.entries if entry.links)
    answers = answers_of(link.run)
    alike = [entry for entry in level if entry is not best and not told_apart(answers, answers_of(entry.links[-1].run))]
    alike.sort(key=cheapness, reverse=True)
    notes = []
    for budget in budgets:
        value, low, high = best.costs[budget.cost]
        if not (budget.holds(low) and budget.holds(high)):
            notes.append(f"its {budget.cost} is {value:.4g}, but the interval [{low:.4g}, {high:.4g}] crosses the budget")
    if top < standing.last_rung:
        notes.append(
            f"no finalist meets the budget, so it is one that was stopped early, after {how_many(best.epochs, 'epoch')}"
        )
    if standing.disturbed and any(budget.cost in TIMED for budget in budgets):
        notes.append("the timing was disturbed, so it is uncertain whether it meets the budget")
    full = best.candidate.asked.recipe.epochs
    schedules = "one schedule" if len(best.links) == 1 else f"{len(best.links)} schedules"
    notes.append(
        f"the accuracy is that after {how_many(best.epochs, 'epoch')} in {schedules}, and its interval covers pictures but not "
        f"seeds; the command trains anew, in one schedule of {how_many(full, 'epoch')}"
    )
    fixed = standing.rehearsed.get(best.name, {}).get("fixed_s", 0.0)
    seconds = fixed + full * max(link.spent_s - fixed, 0.0) / link.epochs
    share = chosen_interval(link.correct, link.n, among)
    command, shipping = commands(standing, best)
    return Recommendation(
        entry=best,
        budgets=tuple(budgets),
        accuracy=Interval(*(100 * value for value in share)),
        among=among,
        alike=tuple(entry.name for entry in alike),
        command=command,
        full_s=seconds,
        notes=tuple(notes),
        ship=shipping,
    )


def commands(standing: Standing, entry: Entry) -> tuple[str, str]:
    """The command for a full training of a candidate, and the one that then ships it for its runtime; "" for none.

    The first names its directory only where the second has to. Without the first, the second ships the weights so far.
    """
    command = entry.candidate.command(standing.asked["data"])
    format = RUNTIMES[entry.runtime].format if entry.runtime else ""
    if not format:
        return command, ""
    if not command:
        return "", shlex.join(["paretina", "ship", str(entry.links[-1].run), "--to", format])
    place = str(standing.folder / "full" / entry.name)
    return f"{command} {shlex.join(['--output', place])}", shlex.join(["paretina", "ship", place, "--to", format])


def told_apart(one: Mapping[str, bool], other: Mapping[str, bool]) -> bool:
    """Whether two sets of predictions for the same pictures differ significantly: McNemar's exact test, two-sided, at 5 %."""
    names = one.keys() & other.keys()
    better, worse = (sum(a[name] and not b[name] for name in names) for a, b in ((one, other), (other, one)))
    return mcnemar(better, worse) < 0.05


def with_budgets(standing: Standing, budgets: Sequence[Budget]) -> Standing:
    """A copy with other budgets, which affect only the recommendation, and the runtime of each candidate."""
    entries = (
        replace(entry, runtime=chosen_runtime(entry.timed, standing.halving.cost, budgets)) for entry in standing.entries
    )
    return replace(standing, budgets=tuple(budgets), entries=tuple(entries))
