"""Runs a scaling study: solves for networks of equal cost, trains them briefly, and makes the family of the winner.

Everything is a task (`paretina.search.tasks`), so an interrupted study does nothing twice:

- `solve-SHARES-TIMES`: the network of the cost that was asked for, on the meta device;
- `measure-TIMES-ROUND`: measured costs of such networks beside the base, for costs that cannot be counted. They are solved for
  by MACs first, and then at most twice with another number of MACs, where the measured ratio differs from the target by more
  than its interval and the tolerance;
- `pace-SHARES`: how long an epoch takes, where there is a time limit;
- `train-SHARES-TIMES-SEED`: a training, whose run is in `runs/`, with the accuracy on training pictures as they are;
- `latency-TIMES`: the latencies of the candidates, for the reward.

Shares that lead to the same network share its trainings.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from paretina.data.pictures import pictures_kept
from paretina.data.source import Source
from paretina.measure.process import randomness_kept
from paretina.measure.statistics import as_object
from paretina.model.blueprint import Blueprint
from paretina.model.network_file import write_network
from paretina.run import write_aside
from paretina.search.pace import epochs_within, pace
from paretina.search.scaling.measured import BASE, MEASURED, given_for, measure
from paretina.search.scaling.shares import CORNERS, Shares
from paretina.search.scaling.solve import COUNTED, Rules, Solution, Solver
from paretina.search.scaling.study import ScalingStudy, read_study
from paretina.search.scaling.verdict import Decision, ScoredShares, decide
from paretina.search.tasks import Engine, Say, StudyTask, TaskOutcome, sole, tried_again
from paretina.spec import decode, encode
from paretina.text import how_many
from paretina.train import training
from paretina.train.asked import Asked

CORRECTIONS = 2
"""How often networks are solved for again after their measured cost is known."""

LEAST_POWER, MOST_POWER = 0.5, 3.0
"""Limits of the power of MACs by which a measured cost is taken to grow."""


# --- tasks --------------------------------------------------------------------------------------------------------------


def solve(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The task that finds a network."""
    solver = Solver(
        base=decode(Blueprint, given["base"]),
        shares=decode(Shares, given["shares"]),
        by=given["by"],
        rules=decode(Rules, given["rules"]),
    )
    return {"solution": encode(solver.solve(given["times"]))}


def train(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The task that trains a network, or goes on with a training that was begun."""
    place = folder / "runs" / given["run"]
    asked = decode(Asked, given["asked"])
    if (place / "asked.json").exists():
        run = training.resume(place, str(given["data"]) if given.get("data") else None)
    else:
        run = training.train(asked, place)
    result = run.result() or {}
    return {
        "run": given["run"],
        "top1": result["metrics"]["val/top1"],
        "train_top1": result["on_train"]["value"],
        "pictures": result["data"]["val"],
        "epochs": result["epochs"],
        "updates": result["updates"],
        "time_s": result["time_s"],
    }


# --- members ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScaledMember:
    """A network of the study.

    Attributes:
        times: the multiple of the base's cost that was asked for.
        solution: the network; None if there is none.
        error: why there is none.
        ratio: the cost that it has, as a multiple of the base's; measured where the cost is.
        ends: the interval of a measured ratio.
        within: whether that is what was asked for, within the tolerance.
        owner: the first member that is the same network, by its label.
    """

    shares: Shares
    times: float
    solution: Solution | None = None
    error: str = ""
    ratio: float | None = None
    ends: tuple[float, float] | None = None
    within: bool = False
    owner: str = ""

    @property
    def label(self) -> str:
        return label(self.shares, self.times)


def label(shares: Shares, times: float) -> str:
    return f"{shares.name}-{times:g}x"


def off(ratio: Sequence[float], times: float, tolerance: float) -> bool:
    """Whether a measured ratio differs from the target by more than the tolerance and by more than its interval."""
    value, low, high = ratio
    return abs(value / times - 1) > tolerance and not low <= times <= high


def corrected(macs: float, ratio: float, times: float) -> float:
    """The multiple of MACs with which a measured cost is met, if it grows by a power of them as it did so far.

    Args:
        macs: multiple of the base's MACs whose cost was measured as `ratio` times the base's.
        times: the target.
    """
    power = math.log(max(ratio, 1.001)) / math.log(macs) if macs > 1 else 1.0
    return float(max(1.0, macs * (times / ratio) ** (1 / min(max(power, LEAST_POWER), MOST_POWER))))


@dataclass
class ScalingWork:
    """The work on a study.

    Attributes:
        epochs: of every training; None for those of the recipe.
    """

    folder: Path
    study: ScalingStudy
    engine: Engine
    say: Say
    data: str | None = None
    epochs: float | None = None
    notes: list[str] = field(default_factory=list)

    def run(self, tasks: Iterable[StudyTask]) -> dict[str, TaskOutcome]:
        return self.engine.run(list(tasks), self.folder, self.say, self.study.asked.plan.device)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    # --- networks -------------------------------------------------------------------------------------------------------

    def members(self, shares: Sequence[Shares], times: float) -> list[ScaledMember]:
        """The networks of some shares at a multiple of the cost, as closely as they reach it."""
        study = self.study
        if study.cost in COUNTED:
            found = self.solved(dict.fromkeys(shares, times), study.cost, times, "")
            found = [
                replace(one, ratio=one.solution.ratio, within=one.solution.within) if one.solution else one for one in found
            ]
        else:
            found = self.measured(shares, times)
        return owned(found)

    def solved(self, targets: Mapping[Shares, float], by: str, times: float, ending: str) -> list[ScaledMember]:
        base, rules = encode(self.study.base), encode(self.study.rules)
        tasks = {
            each: StudyTask(
                f"solve-{label(each, times)}{ending}",
                solve,
                {"base": base, "rules": rules, "shares": encode(each), "by": by, "times": target},
                title=f"solving for {target:.3g} times the {by} by growing {each.name}",
            )
            for each, target in targets.items()
        }
        done = self.run(tasks.values())
        found = []
        for each, task in tasks.items():
            outcome = done[task.name]
            if outcome.error:
                found.append(ScaledMember(each, times, error=outcome.error))
            else:
                found.append(ScaledMember(each, times, decode(Solution, outcome.value["solution"])))
        return found

    def measured(self, shares: Sequence[Shares], times: float) -> list[ScaledMember]:
        """Networks by MACs first, then corrected by what is measured."""
        targets = dict.fromkeys(shares, times)
        members = {one.shares: one for one in self.solved(targets, "macs", times, "")}
        due = [each for each in shares if members[each].solution]
        best: dict[Shares, ScaledMember] = {}
        for turn in range(CORRECTIONS + 1):
            if not due:
                break
            session = self.session(f"measure-{times:g}x-{turn}", [members[each] for each in due], self.study.cost)
            again = []
            for each in due:
                one, ratio = members[each], session["networks"][members[each].label]["ratio"]
                seen = replace(one, ratio=ratio[0], ends=(ratio[1], ratio[2]))
                seen = replace(seen, within=abs(ratio[0] / times - 1) <= self.study.tolerance)
                if each not in best or abs(seen.ratio / times - 1) < abs((best[each].ratio or 0) / times - 1):  # type: ignore[operator]
                    best[each] = seen
                if off(ratio, times, self.study.tolerance):
                    assert one.solution is not None
                    targets[each] = corrected(one.solution.ratio, ratio[0], times)
                    again.append(each)
            if turn == CORRECTIONS:
                break
            more = self.solved({each: targets[each] for each in again}, "macs", times, f"-{turn + 1}")
            due = []
            for one in more:
                if one.solution and one.solution.blueprint != members[one.shares].solution.blueprint:  # type: ignore[union-attr]
                    members[one.shares] = one
                    due.append(one.shares)
        return [best.get(each, members[each]) for each in shares]

    def session(self, name: str, members: Sequence[ScaledMember], cost: str) -> dict[str, Any]:
        """Measures networks beside the base."""
        networks = {BASE: self.study.base}
        networks |= {one.label: one.solution.blueprint for one in members if one.solution}
        asked = self.study.asked
        given = given_for(networks, cost, asked.plan, asked.recipe.batch_size, self.study.timing_s)
        title = f"measuring {how_many(len(networks), 'network')} in turn ({name})"
        outcome = self.run([StudyTask(name, measure, given, alone=True, title=title)])[name]
        if outcome.error:
            raise ValueError(f"{name}: {outcome.error}")
        if outcome.value["disturbed"]:
            self.note(f"other processes used {outcome.value['others_cores']:.1f} cores during {name}, so it is not reliable")
        return outcome.value

    def timed(self, members: Sequence[ScaledMember], session: Mapping[str, Any]) -> list[ScaledMember]:
        """The members, with the ratio of the session that their latencies are from, where latency is what should be equal.

        So both figures of a row are of one session; ratios of earlier ones only led to the networks.
        """
        if self.study.cost != "latency_ms":
            return list(members)
        found = []
        for one in members:
            if one.solution is None or one.owner not in session["networks"]:
                found.append(one)
                continue
            value, low, high = session["networks"][one.owner]["ratio"]
            within = abs(value / one.times - 1) <= self.study.tolerance
            found.append(replace(one, ratio=value, ends=(low, high), within=within))
        return found

    # --- trainings ------------------------------------------------------------------------------------------------------

    def fit(self, members: Sequence[ScaledMember]) -> None:
        """Sets the epochs to what fits into the time limit, the same for all.

        Raises:
            ValueError: not even one update of each fits.
        """
        study = self.study
        if study.time_limit_s is None:
            return
        tasks = [
            StudyTask(
                f"pace-{one.label}",
                pace,
                {"asked": encode(self.request(one, study.seeds[0]))},
                title=f"timing an update of {one.label}",
            )
            for one in distinct(members)
        ]
        paces = [outcome.value for outcome in self.run(tasks).values() if not outcome.error]
        more = sum(4 * times / study.times[0] for times in study.times[1:]) / len(paces) if study.curves and paces else 0.0
        instead = "give more time, fewer --shares or fewer --seeds"
        self.epochs = epochs_within(study.time_limit_s, paces, len(study.seeds), instead, more)
        self.say(
            f"{how_many(self.epochs, 'epoch of each network fits', 'g', 'epochs of each network fit')} into the time limit"
        )

    def request(self, one: ScaledMember, seed: int) -> Asked:
        assert one.solution is not None
        return self.study.request(one.shares.name, one.solution.blueprint, seed, self.epochs)

    def train(self, members: Sequence[ScaledMember]) -> dict[str, dict[int, TaskOutcome]]:
        """Trains each network with each seed, seed by seed; outcomes by the label of the network and the seed."""
        tasks = {}
        for seed in self.study.seeds:
            for one in distinct(members):
                name = f"train-{one.label}-{seed}"
                given = {"asked": encode(self.request(one, seed)), "run": f"{one.label}/{seed}", "data": self.data}
                tasks[one.label, seed] = StudyTask(name, train, given, title=f"training {one.label}, seed {seed}")
        done = self.run(tasks.values())
        found: dict[str, dict[int, TaskOutcome]] = {}
        for (name, seed), task in tasks.items():
            found.setdefault(name, {})[seed] = done[task.name]
        return found

    # --- the whole ------------------------------------------------------------------------------------------------------

    def work(self) -> dict[str, Any]:
        study, first = self.study, self.study.times[0]
        self.say(f"{len(study.shares)} shares, {first:g} times the {study.cost} of {study.name}")
        members = self.members(study.shares, first)
        if not any(one.solution for one in members):
            raise ValueError(
                "no network of that cost can be made:\n" + "\n".join(f"  {one.label}: {one.error}" for one in members)
            )
        start = Solver(base=study.base, shares=CORNERS["width"], rules=study.rules).solve(1.0)
        base = ScaledMember(CORNERS["width"], 1.0, start, ratio=1.0, within=True, owner=label(CORNERS["width"], 1.0))
        self.fit([base, *members])
        trained = self.train([base, *members])
        session = self.session(f"latency-{first:g}x", distinct(members), "latency_ms")
        latency = {name: each["value"] for name, each in session["networks"].items()}
        latency[base.label] = latency[BASE]
        members = self.timed(members, session)
        rows = [self.row(one, trained, latency) for one in members]
        scored = of_row(self.row(base, trained, latency))
        target_ms = None if session["disturbed"] else latency[BASE][0] * first
        decision = decide([of_row(row) for row in rows], target_ms, study.weight, scored)
        family = self.family(decision, rows, trained)
        result = {
            "status": "done",
            "base": {
                "name": study.name,
                "resolution": study.base.resolution,
                "row": {**self.row(base, trained, latency), "name": "base", "single": ""},
            },
            "cost": study.cost,
            "times": list(study.times),
            "tolerance": study.tolerance,
            "seeds": list(study.seeds),
            "epochs": self.epochs or study.asked.recipe.epochs,
            "device": session["device"],
            "candidates": rows,
            "decision": decision.to_dict(),
            "family": family,
        }
        result["notes"] = [*decision.said, *self.remarks(rows, decision), *self.notes]
        write_aside(self.folder / "result.json", json.dumps(result, indent=1).encode())
        return result

    def row(
        self, one: ScaledMember, trained: Mapping[str, Mapping[int, TaskOutcome]], latency: Mapping[str, Sequence[float]]
    ) -> dict[str, Any]:
        """One network for the tables; unknown values are None."""
        outcomes = trained.get(one.owner, {})
        good = {seed: outcome.value for seed, outcome in outcomes.items() if not outcome.error}
        errors = [outcome.error for outcome in outcomes.values() if outcome.error]
        solution = one.solution
        row: dict[str, Any] = {
            "name": one.shares.name,
            "label": one.label,
            "shares": [one.shares.depth, one.shares.width, one.shares.resolution],
            "single": one.shares.single,
            "times": one.times,
            "ratio": one.ratio,
            "ratio_ends": list(one.ends) if one.ends else None,
            "within": one.within,
            "same_as": one.owner if one.owner != one.label else None,
            "depth": solution.depth if solution else None,
            "width": solution.size.width if solution else None,
            "resolution": solution.size.resolution if solution else None,
            "divisor": solution.size.divisor if solution else None,
            "depths": list(solution.size.depths) if solution else None,
            "widths": [stage.width for stage in solution.blueprint.stages] if solution else None,
            **{cost: solution.cost(cost) if solution else None for cost in COUNTED},
            "latency_ms": list(latency[one.owner]) if one.owner in latency else None,
            "top1": {str(seed): value["top1"] for seed, value in good.items()},
            "train_top1": fmean(value["train_top1"] for value in good.values()) if good else None,
            "train_s": fmean(value["time_s"] for value in good.values()) if good else None,
            "updates": min((value["updates"] for value in good.values()), default=None),
            "error": one.error or (errors[0] if errors else None),
        }
        scored = of_row(row)
        row["mean"] = scored.mean if scored.top1 else None
        row["interval"] = as_object(scored.interval) if scored.top1 else None
        return row

    def family(
        self, decision: Decision, rows: Sequence[dict[str, Any]], trained: dict[str, dict[int, TaskOutcome]]
    ) -> list[dict[str, Any]]:
        """The networks of the leader's shares and of the single dimensions at every multiple, with their files."""
        study = self.study
        leader = next((each for each in study.shares if each.name == decision.leader), None)
        chosen = [*([leader] if leader else []), *(each for each in study.shares if each.single and each != leader)]
        found: list[dict[str, Any]] = []
        for times in study.times:
            members = self.members(study.shares if times == study.times[0] else chosen, times)
            members = [one for one in members if one.shares in chosen]
            outcomes: Mapping[str, Mapping[int, TaskOutcome]] = trained
            if times != study.times[0]:
                members = owned(members)
                outcomes = self.train(members) if study.curves else {}
            latency: dict[str, Any] = {}
            if solved := distinct(members) if times != study.times[0] else []:
                session = self.session(f"latency-{times:g}x", solved, "latency_ms")
                latency = {name: each["value"] for name, each in session["networks"].items()}
                members = self.timed(members, session)
            for one in members:
                row = next((row for row in rows if row["label"] == one.label), None) or self.row(one, outcomes, latency)
                found.append({**row, "file": self.written(one)})
        return found

    def written(self, one: ScaledMember) -> str | None:
        """Writes the network as a file, and returns its path in the study."""
        if one.solution is None:
            return None
        name = f"{self.study.name}-{one.label}"
        origin = f"{one.ratio:.3g} times the {self.study.cost} of {self.study.name}, by growing {one.shares.plain}"
        write_network(self.folder / "networks" / f"{name}.json", name, one.solution.blueprint, origin)
        return f"networks/{name}.json"

    def sure(self, ends: Sequence[float]) -> bool:
        """Whether the interval of a measured cost is narrower than the tolerance on both sides."""
        return ends[1] / ends[0] <= (1 + self.study.tolerance) / (1 - self.study.tolerance)

    def remarks(self, rows: Sequence[dict[str, Any]], decision: Decision) -> list[str]:
        """What a reader of the tables must know."""
        found = []
        apart = [row for row in rows if row["ratio"] is not None and not row["within"]]
        if apart:
            words = ", ".join(f"{row['name']} ({row['ratio']:.2f})" for row in apart)
            found.append(
                f"not compared, since their cost is not within {100 * self.study.tolerance:g} % of what was asked: {words}"
            )
        unsure = [row["name"] for row in rows if row["ratio_ends"] and not self.sure(row["ratio_ends"])]
        if unsure:
            found.append(f"the measured cost is uncertain by more than that for {', '.join(unsure)}; raise --timing")
        for row in rows:
            if row["error"]:
                found.append(f"{row['name']} is left out: {row['error']}")
        same: dict[str, list[str]] = {}
        for row in rows:
            if row["same_as"]:
                same.setdefault(row["same_as"], []).append(row["name"])
        found += [f"the same network as {owner}: {', '.join(names)}" for owner, names in same.items()]
        if len(self.study.seeds) < 2:
            found.append("one seed says nothing about chance: give --seeds 3")
        fits = [row["train_top1"] for row in rows if row["train_top1"] is not None]
        if fits and min(fits) < UNDERFIT:
            found.append(
                f"the networks fit between {min(fits):.1f} and {max(fits):.1f} % of their training pictures: where that is far "
                "below 100 %, more updates may change the order"
            )
        if decision.by_reward:
            found.append(f"by accuracy * latency^{self.study.weight:g} the best is {decision.by_reward}")
        if decision.winner:
            found.append("the winner is the best of several on the same pictures, so its accuracy is a little flattering")
        return found


UNDERFIT = 98.0
"""Training accuracy in percent below which a note says so."""


def owned(members: Sequence[ScaledMember]) -> list[ScaledMember]:
    """The members, each with the first that is the same network."""
    first: dict[Blueprint, str] = {}
    return [
        replace(one, owner=first.setdefault(one.solution.blueprint, one.label) if one.solution else one.label)
        for one in members
    ]


def distinct(members: Sequence[ScaledMember]) -> list[ScaledMember]:
    """Those that are a network of their own."""
    return [one for one in members if one.solution and one.owner == one.label]


def of_row(row: Mapping[str, Any]) -> ScoredShares:
    """A row as it is judged; a network is judged under its first name only."""
    scores = {} if row["same_as"] else {int(seed): float(value) for seed, value in row["top1"].items()}
    latency = row["latency_ms"][0] if row["latency_ms"] else None
    return ScoredShares(row["name"], row["single"], row["within"], row["ratio"] or 0.0, scores, latency)


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
        return ScalingWork(folder, study, engine, say, data).work()


__all__ = ["COUNTED", "MEASURED", "ScalingWork", "work"]
