"""Carries out a search: control and search with equal budgets, then the finalists in full.

Trials are short trainings on part of the training pictures, judged on the rest of these. A candidate that misses a budget is
rejected before it is trained, and costs no trial. Random search is the control: it gets half of the trials, or of the time.
Then the best by reward, those on the front, the best of the control and the network that the space was made around are trained
in full on all training pictures, with several seeds, and judged on the validation pictures, which nothing was chosen on until
then. How well trials and full trainings agree is reported as a rank correlation.

With shared weights the search spends its trials on one training of many candidates together and on scoring more of them than it
could train; the control's candidates are scored too, which says how well such scores rank.

Everything is asked anew when a study is resumed, and what has an outcome is not done again, so it continues exactly where it
was: the times at which decisions were taken are kept, see `paretina.search.architecture.elapsed`.

A time limit holds for everything. The latency table gets a quarter of it; then a few updates are timed, and a search that has
no time for its least (a trial for each arm and two full trainings) is refused with the time that it needs. Trials are begun
in six tenths of the limit, or less where the finalists need more.

Source: Tan et al. 2019 (arXiv:1807.11626), section 5; the control: Li & Talwalkar 2019 (arXiv:1902.07638).
"""

import json
import math
import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from paretina.data.pictures import pictures_kept
from paretina.measure.pareto import rank_correlation, volume
from paretina.measure.process import randomness_kept
from paretina.measure.statistics import Interval, mean_interval, paired_interval, wilson
from paretina.model.blueprint import Blueprint
from paretina.model.network_file import write_network
from paretina.run import write_aside
from paretina.search.architecture.elapsed import Elapsed
from paretina.search.architecture.latency_table import LatencyTable
from paretina.search.architecture.procedure import Procedure, Proposal, Values, dominates
from paretina.search.architecture.procedures.random import RandomSearch
from paretina.search.architecture.rewards import SOFT_W, Reward, Soft, calibrated
from paretina.search.architecture.space import Point, drawn
from paretina.search.architecture.study import (
    SearchStudy,
    digest_of,
    extend_table,
    find_pace,
    make_table,
    read_study,
    score_inherited,
    time_networks,
    train_one,
    train_together,
    with_units,
)
from paretina.search.architecture.units import counts
from paretina.search.tasks import Engine, StudyTask, TaskOutcome, path_of, sole, tried_again
from paretina.spec import encode
from paretina.text import how_many, length_of
from paretina.train.asked import Asked

Say = Callable[[str], None]

MOST_MISSES = 300
"""Points in a row that may miss the budget, or repeat others, before a search gives up."""

TOGETHER, SCORES = 0.8, 10
"""Share of the search's trials that training candidates together takes, and scored candidates for each of its trials."""

PATHS = 200
"""Candidates that are trained together."""

SEARCHING = 0.6
"""Share of the time limit in which trials are begun; the rest is for the finalists."""

TABLE = 0.25
"""Share of the time limit that the latency table may take."""

LEAST_FINALISTS = 2
"""Full trainings that a search does at least: of what it found, and of what it began with."""

SPARE = 1.15
"""Factor on estimated times where the time that a search needs is named."""

TABLED, WHOLE = 24, 10
"""Points whose units are timed at first, and how many of these as whole networks: half for the fit, half held out."""


class UntimedError(ValueError):
    """A timing that the search needs has failed."""


class ShortSearchError(UntimedError):
    """The time limit is too short for what a search does at least."""


@dataclass(frozen=True)
class Attempt:
    """One candidate of one of the two searches.

    Attributes:
        arm: "control" or "search".
        at: trials that this arm has used with it.
        share: length as a share of a whole trial.
        values: the reward; None if it could not be trained.
        error: why not.
    """

    arm: str
    at: float
    digest: str
    point: Point
    share: float
    costs: Mapping[str, float]
    values: Values | None
    accuracy: float | None = None
    correct: int = 0
    pictures: int = 0
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        interval = wilson(self.correct, self.pictures) if self.pictures else None
        return {
            "arm": self.arm,
            "at": round(self.at, 6),
            "name": self.digest,
            "point": self.point,
            "share": self.share,
            "costs": dict(self.costs),
            "values": None if self.values is None else list(self.values),
            "accuracy": None if interval is None else 100 * interval.value,
            "accuracy_low": None if interval is None else 100 * interval.low,
            "accuracy_high": None if interval is None else 100 * interval.high,
            "error": self.error,
        }


@dataclass
class SearchWork:
    """A process that works on a search.

    Attributes:
        table: of latencies; None where none is needed.
        elapsed: looks at the time that was used.
        pace: estimated seconds of a whole trial and of a full training of what the search begins with; None without a limit.
        took: seconds of each piece of work, by its name.
        rejected: points that missed a budget, by arm.
        nearest: the least cost that a rejected point had, by cost.
    """

    folder: Path
    study: SearchStudy
    engine: Engine
    say: Say
    elapsed: Elapsed
    pace: tuple[float, float] | None = None
    table: LatencyTable | None = None
    reference: Point = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    nearest: dict[str, float] = field(default_factory=dict)
    models: dict[str, Asked] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    shared: dict[str, Any] | None = None

    @property
    def spent_s(self) -> float:
        """Seconds of the study so far; asked again in a later process, the same."""
        return self.elapsed()

    def over(self, until_s: float | None) -> bool:
        """Whether a time is past; never without one."""
        return until_s is not None and self.spent_s >= until_s

    def run(self, tasks: Sequence[StudyTask]) -> dict[str, TaskOutcome]:
        done = {task.name: path_of(self.folder, task.name).stat().st_mtime for task in tasks if task.is_done(self.folder)}
        found = self.engine.run(tasks, self.folder, self.say, self.study.base.plan.device)
        self.took |= {name: outcome.took_s for name, outcome in found.items()}
        for name, at in done.items():
            self.elapsed.count(found[name].took_s / self.study.workers, at)
        return found

    def alone(self, name: str, do: Callable[..., dict[str, Any]], given: Mapping[str, Any], title: str) -> dict[str, Any]:
        """The outcome of a timing.

        Raises:
            UntimedError: it failed.
        """
        outcome = self.run([StudyTask(name, do, given, alone=True, title=title)])[name]
        if outcome.error:
            raise UntimedError(f"{name} failed: {outcome.error}")
        return outcome.value

    def training(self, kind: str, digest: str, asked: Asked, keep: bool) -> StudyTask:
        gpus = 1.0 if asked.plan.device_type == "cuda" else 0.0
        cores = asked.plan.threads or 1
        given = {"asked": encode(asked), "run": f"{kind}-{digest}", "keep": keep}
        title = f"training {digest} {'briefly' if kind == 'trial' else 'in full'}"
        return StudyTask(f"{kind}-{digest}", train_one, given, cores=cores, gpus=gpus, title=title)

    # --- costs --------------------------------------------------------------------------------------------------------

    def make_table(self) -> None:
        """Times the units of some points, drawn at random, of which the first are timed as a whole."""
        study = self.study
        random = Random(study.seed + 1)
        dimensions = study.space.dimensions(study.base)
        points = [drawn(dimensions, random) for _ in range(TABLED)]
        self.reference = points[0]
        self.say("timing the units of the space for the latency table")
        given: dict[str, Any] = {"points": points, "whole": WHOLE}
        if study.seconds is not None:
            given["within_s"] = TABLE * study.seconds
        found = self.alone("latency-table", make_table, given, "timing units and whole networks")
        if "needs_s" in found:
            least = found["needs_s"] / TABLE
            raise ShortSearchError(
                f"the latency table takes about {found['needs_s']:.0f} s on this machine ({found['units']} units of the space, "
                f"and whole networks), and it may take {100 * TABLE:.0f} % of the time limit of {study.seconds:g} s; "
                f"{self.longer(least)}, or choose a budget that is counted, such as --budget macs=2e7"
            )
        self.table = LatencyTable.from_dict(found)
        if self.table.disturbed:
            self.notes.append("other processes used the machine while the latency table was timed, so predictions may be off")

    def costs(self, point: Point, asked: Asked) -> dict[str, float]:
        """What a candidate costs, as far as that is known before training."""
        model = self.study.model_of(asked)
        found: dict[str, float] = {name: float(value) for name, value in counts(model).items()}
        if self.table is not None and isinstance(model, Blueprint):
            missing = [unit.key for unit in self.table.missing(model)]
            if missing:
                given: dict[str, Any] = {"point": point, "missing": missing, "reference": self.reference}
                given["reference_ms"] = self.table.reference_ms
                name = f"latency-{digest_of(asked)}"
                title = f"timing {how_many(len(missing), 'unit')} that the table lacks"
                self.table = with_units(self.table, self.alone(name, extend_table, given, title)["units"])
            found["latency_ms"] = self.table.predicted(model)
        return found

    def counted_first(self, asked: Asked) -> bool:
        """Whether a candidate holds the budgets of counted costs, for which nothing has to be timed."""
        counted = [ceiling for ceiling in self.study.budgets if ceiling.cost != "latency_ms"]
        if not counted:
            return True
        found = work_costs(self.study.model_of(asked))
        for ceiling in counted:
            self.near(ceiling.cost, found[ceiling.cost])
        return all(ceiling.holds(found[ceiling.cost]) for ceiling in counted)

    def near(self, cost: str, value: float) -> None:
        self.nearest[cost] = min(value, self.nearest.get(cost, math.inf))

    def priced(self, point: Point) -> tuple[Asked, dict[str, float]] | None:
        """A candidate's request and costs; None if it misses a budget or cannot be built."""
        try:
            asked = self.study.space.asked(point, self.study.base)
            if not self.counted_first(asked):
                return None
            found = self.costs(point, asked)
        except UntimedError:
            raise
        except ValueError:
            return None
        for ceiling in self.study.budgets:
            self.near(ceiling.cost, found[ceiling.cost])
        if not all(ceiling.holds(found[ceiling.cost]) for ceiling in self.study.budgets):
            return None
        return asked, found

    def gave(self, reward: Reward, accuracy: float, costs: Mapping[str, float]) -> Values:
        target = self.study.target
        share = costs[target.cost] / target.limit if target and target.cost in costs else 1.0
        return reward(accuracy, share, costs)

    # --- time ---------------------------------------------------------------------------------------------------------

    def longer(self, least_s: float) -> str:
        """What to do where a limit is too short: the command with a time that should suffice."""
        minutes = max(1, math.ceil(SPARE * least_s / 60))
        words = ["paretina", "search", "--resume", str(self.folder), "--time-limit", f"{minutes}m"]
        return f"give it more time: {shlex.join(words)}"

    def check_begun(self) -> None:
        """Checks that there is time left for trials.

        Raises:
            ShortSearchError: there is none.
        """
        limit = self.study.seconds
        if limit is not None and (spent := self.spent_s) > SEARCHING * limit:
            raise ShortSearchError(
                f"{spent:.3g} s of the time limit of {limit:g} s are over, and trials are begun in the first "
                f"{SEARCHING * limit:.3g} s; {self.longer(4 * spent)}"
            )

    def find_pace(self) -> None:
        """Times a few updates of what the search begins with.

        Raises:
            ShortSearchError: the least that a search does would take longer than the time that is left.
        """
        study = self.study
        if study.seconds is None:
            return
        first = study.space.first(study.base)
        asked = study.trial(first, 1.0)
        task = StudyTask(
            "pace", find_pace, {"asked": encode(asked)}, cores=asked.plan.threads or 1, title="timing a few updates"
        )
        outcome = self.run([task])[task.name]
        if outcome.error:
            raise ValueError(f"what the search begins with cannot be trained: {outcome.error}")
        epoch_s, fixed_s = outcome.value["epoch_s"], outcome.value["fixed_s"]
        trial = fixed_s + asked.recipe.epochs * epoch_s
        full = fixed_s + study.full(first, 0).recipe.epochs * epoch_s / (1 - study.held_out)
        self.pace = trial, full
        least = self.arms * trial
        spent = self.spent_s
        if spent + least > (self.end_s or math.inf):
            needed = max((spent + least) / SEARCHING, spent + least + self.finals_s())
            raise ShortSearchError(
                f"a trial takes about {trial:.3g} s and a full training about {full:.3g} s, so the least that a search does, "
                f"{how_many(self.arms, 'trial')} and {LEAST_FINALISTS} full trainings, needs {least + self.finals_s():.3g} s "
                f"after the {spent:.3g} s so far, and the time limit is {study.seconds:g} s; {self.longer(needed)}, or begin "
                "another search with fewer epochs= or a smaller size="
            )

    @property
    def arms(self) -> int:
        """1, or 2 with a control."""
        return 1 if not self.study.control or isinstance(self.study.procedure, RandomSearch) else 2

    def finals_s(self) -> float:
        """Estimated seconds of the fewest finalists."""
        full = self.pace[1] if self.pace else 0.0
        timed = 2 * self.study.timing_s if self.study.space.NETWORKS else 0.0
        return LEAST_FINALISTS * (full / min(LEAST_FINALISTS, self.study.workers) + timed)

    @property
    def end_s(self) -> float | None:
        """When the last trial is begun, in seconds of the study; None without a limit."""
        limit = self.study.seconds
        return None if limit is None else min(SEARCHING * limit, limit - self.finals_s())

    # --- trials -------------------------------------------------------------------------------------------------------

    def trial(self, proposal: Proposal, digest: str, asked: Asked) -> StudyTask:
        """A short training."""
        return self.training("trial", named(digest, proposal.share), self.study.trial(asked, proposal.share), False)

    def score(self, proposal: Proposal, digest: str, asked: Asked) -> StudyTask:
        """A look at the weights that a candidate inherits."""
        gpus = 1.0 if asked.plan.device_type == "cuda" else 0.0
        given = {"point": proposal.point}
        title = f"scoring {digest} with inherited weights"
        return StudyTask(f"score-{digest}", score_inherited, given, cores=asked.plan.threads or 1, gpus=gpus, title=title)

    def explore(
        self,
        arm: str,
        procedure: Procedure,
        reward: Reward,
        trials: int,
        until_s: float | None,
        seed: int,
        began: float = 0.0,
        price: float | None = None,
    ) -> list[Attempt]:
        """Searches until the trials or the time are used up.

        Args:
            began: trials that were used before.
            price: of a candidate, in trials, where it is scored by the weights that it inherits; None to train each.
        """
        judge = self.trial if price is None else self.score
        each = 1.0 if price is None else price
        study = self.study
        dimensions = study.space.dimensions(study.base)
        searcher = procedure.begin(dimensions, max(1, round((trials - began) / each)), reward.OBJECTIVES, seed)
        tried: list[Attempt] = []
        known: dict[tuple[str, float], Values | None] = {}
        used, misses, ended = began, 0, False
        while not ended and used < trials - 1e-6 and not (tried and self.over(until_s)):
            batch: list[tuple[Proposal, str, Asked, dict[str, float]]] = []
            doubles: list[tuple[Proposal, tuple[str, float]]] = []
            planned = used
            while len(batch) < study.together and planned < trials - 1e-6:
                if misses and (tried or batch) and self.over(until_s):
                    ended = not batch
                    break
                if misses and self.over(study.seconds):
                    raise ShortSearchError(
                        f"no candidate that holds {self.limits()} was found in {study.seconds:g} s, {misses} points missed it"
                        f"{self.least_seen()}; raise the budget, narrow the space with --set, --width or size=, or "
                        f"{self.longer(2 * (study.seconds or 0.0))}"
                    )
                proposal = searcher.ask()
                if proposal is None:
                    ended = not batch
                    break
                found = self.priced(proposal.point)
                if found is None:
                    self.rejected[arm] = self.rejected.get(arm, 0) + 1
                    searcher.tell(proposal, None)
                    misses += 1
                    if misses >= MOST_MISSES:
                        ended = not batch
                        break
                    continue
                asked, costs = found
                digest = digest_of(asked)
                key = (digest, proposal.share)
                if key in known or any(key == (other, each.share) for each, other, _, _ in batch):
                    misses += 1
                    if key in known:
                        searcher.tell(proposal, known[key])
                    else:
                        doubles.append((proposal, key))
                    if misses >= MOST_MISSES:
                        ended = not batch
                        break
                    continue
                misses = 0
                batch.append((proposal, digest, asked, costs))
                planned += each * proposal.share
            tasks = [judge(proposal, digest, asked) for proposal, digest, asked, _ in batch]
            outcomes = self.run(tasks)
            for task, (proposal, digest, asked, costs) in zip(tasks, batch, strict=True):
                used += each * proposal.share
                outcome = outcomes[task.name]
                self.models[digest] = asked
                attempt = Attempt(arm, used, digest, proposal.point, proposal.share, costs, None, error=outcome.error)
                if outcome.error is None:
                    value = outcome.value
                    costs = {**costs, **({"update_s": value["update_s"]} if "update_s" in value else {})}
                    attempt = replace(
                        attempt,
                        costs=costs,
                        values=self.gave(reward, value["accuracy"], costs),
                        accuracy=value["accuracy"],
                        correct=value["correct"],
                        pictures=value["pictures"],
                    )
                known[(digest, proposal.share)] = attempt.values
                tried.append(attempt)
                searcher.tell(proposal, attempt.values)
                self.say(f"{arm}, {counted_as(len(tried), proposal.share)}: {told(attempt, price is not None)}")
            for proposal, key in doubles:
                searcher.tell(proposal, known[key])
        if not tried:
            raise ValueError(self.nothing())
        if misses >= MOST_MISSES:
            self.notes.append(
                f"{arm}: {MOST_MISSES} points in a row missed the budget or were known already, so it ended after "
                f"{how_many(len(tried), 'candidate')}"
            )
        return tried

    def train_together(self, trials: int, control: Sequence[Attempt]) -> None:
        """Trains candidates that hold the budget together, and scores those of the control, whose short trainings are known.

        Args:
            trials: of the search, of which `TOGETHER` are spent.
        """
        study = self.study
        random = Random(study.seed + 2)
        dimensions = study.space.dimensions(study.base)
        points: list[Point] = []
        digests: set[str] = set()
        misses = 0
        self.say(f"drawing {PATHS} candidates that hold the budget, to train them together")
        while len(points) < PATHS and misses < MOST_MISSES and not (points and self.over(self.end_s)):
            point = drawn(dimensions, random)
            found = self.priced(point)
            if found is None or digest_of(found[0]) in digests:
                misses += 1
                continue
            misses = 0
            digests.add(digest_of(found[0]))
            points.append(point)
        if not points:
            raise ValueError(self.nothing())
        epochs = TOGETHER * trials * study.share * study.base.recipe.epochs
        plan = study.base.plan
        gpus = 1.0 if plan.device_type == "cuda" else 0.0
        given = {"points": points, "epochs": epochs}
        title = f"training {how_many(len(points), 'candidate')} together for {epochs:.3g} epochs"
        task = StudyTask("together", train_together, given, cores=plan.threads or 1, gpus=gpus, title=title)
        outcome = self.run([task])[task.name]
        if outcome.error:
            raise ValueError(f"the candidates could not be trained together: {outcome.error}")
        known = {one.digest: one for one in control if one.accuracy is not None and one.share == 1}
        tasks = {digest: self.score(Proposal(one.point, 1.0, 0), digest, self.models[digest]) for digest, one in known.items()}
        outcomes = self.run(list(tasks.values()))
        pairs = [
            (known[digest].accuracy or 0.0, outcomes[task.name].value["accuracy"])
            for digest, task in tasks.items()
            if outcomes[task.name].error is None
        ]
        agreed = rank_correlation([a for a, _ in pairs], [b for _, b in pairs])
        self.shared = {
            "paths": len(points),
            **outcome.value,
            "pairs": len(pairs),
            "agreement": None if agreed is None else {"rho": agreed[0], "interval": list(agreed[1]) if agreed[1] else None},
        }

    def limits(self) -> str:
        return " and ".join(map(str, self.study.budgets)) or "what is asked"

    def least_seen(self) -> str:
        least = ", ".join(f"{cost}={value:.4g}" for cost, value in self.nearest.items())
        return f"; the least seen was {least}" if least else ""

    def nothing(self) -> str:
        return (
            f"none of {MOST_MISSES} points drawn from the space {self.study.name} holds {self.limits()}{self.least_seen()}: "
            "raise the budget, or narrow the space with --set, --width or size="
        )


def named(digest: str, share: float) -> str:
    return digest if share == 1 else f"{digest}-{round(1000 * share):03d}"


def counted_as(number: int, share: float) -> str:
    """A candidate and the length of its training: "candidate 2", "candidate 2 (a ninth of a trial)"."""
    return f"candidate {number}" if share == 1 else f"candidate {number} ({length_of(share)})"


def told(attempt: Attempt, inherited: bool) -> str:
    if attempt.accuracy is None:
        return f"{attempt.digest} failed: {attempt.error}"
    how = "with inherited weights" if inherited else "in a short training"
    return f"{attempt.digest} {100 * attempt.accuracy:.1f} % {how}"


@randomness_kept()
def work(folder: Path, engine: Engine, say: Say = lambda text: None, since: float | None = None) -> dict[str, Any]:
    """Does the remaining work of a search, and returns its result, which `result.json` then has.

    Args:
        since: from when on its time counts, as of `time.monotonic`; None for now.

    Raises:
        ValueError: there is no search, or no point of its space can be trained within the budget.
        KeyboardInterrupt: interrupted; the same call continues it.
    """
    study = read_study(folder)
    with sole(folder), tried_again(folder), pictures_kept():
        work = SearchWork(folder, study, engine, say, Elapsed(folder, since=since))
        work.check_begun()
        if study.timed:
            work.make_table()
        work.find_pace()
        first = work.costs(work.reference, study.space.first(study.base)) if not study.timed else None
        trials = study.trials or trials_in(work)
        arms = ["search"] if work.arms == 1 else ["control", "search"]
        each = max(1, trials // len(arms))
        end = work.end_s
        reward, tried = study.reward, list[Attempt]()
        if arms[0] == "control":
            began = work.spent_s
            half = None if end is None else began + (end - began) / 2
            plain = Soft() if isinstance(reward, Soft) and reward.w is None else reward
            tried += work.explore("control", RandomSearch(), plain, each, half, study.seed + 7919)
            each = max(1, min(each, round(sum(one.share for one in tried))))
        if isinstance(reward, Soft) and reward.w is None:
            reward, tried = recalibrated(work, tried)
        if study.shared_weights:
            work.train_together(each, tried)
            spent = TOGETHER * each
            price = (each - spent) / (SCORES * each)
            tried += work.explore("search", study.procedure, reward, each, end, study.seed, spent, price)
        else:
            tried += work.explore("search", study.procedure, reward, each, end, study.seed)
        result = concluded(work, tried, reward, first)
    write_aside(folder / "result.json", json.dumps(result, indent=1).encode())
    return result


def trials_in(work: SearchWork) -> int:
    """How many trials the time limit is expected to allow."""
    study = work.study
    trial = work.pace[0] if work.pace else 0.0
    left = (work.end_s or 0.0) - work.spent_s
    return max(work.arms, min(10_000, int(left * study.workers / max(trial, 0.01))))


def recalibrated(work: SearchWork, tried: list[Attempt]) -> tuple[Soft, list[Attempt]]:
    """The reward with its exponent from what the control trained, and the control judged by it."""
    target = work.study.target
    known = [one for one in tried if one.accuracy is not None]
    w = None if target is None else calibrated([one.accuracy or 0 for one in known], [one.costs[target.cost] for one in known])
    if w is None:
        work.notes.append(f"the front of the control has too few networks for an exponent, so it stays {SOFT_W}")
    else:
        work.notes.append(
            f"w = {w:.4f} from the front of the control: twice the {target.cost if target else 'cost'} gained "
            f"{100 * (2**-w - 1):.1f} % relative accuracy"
        )
    reward = Soft(w=SOFT_W if w is None else w)
    again = [one if one.accuracy is None else replace(one, values=work.gave(reward, one.accuracy, one.costs)) for one in tried]
    return reward, again


# --- finalists ------------------------------------------------------------------------------------------------------------


def longest(tried: Sequence[Attempt], arm: str) -> list[Attempt]:
    """The candidates of an arm that had a whole trial, or the longest that there was time for; the best first, each once."""
    able = [one for one in tried if one.arm == arm and one.values is not None]
    share = max((one.share for one in able), default=1.0)
    found = {one.digest: one for one in able if one.share == share}
    return sorted(found.values(), key=lambda one: (-(one.values or (0.0,))[0], one.digest))


def on_front(found: Sequence[Attempt], cost: str | None) -> list[Attempt]:
    """Those that no other dominates in accuracy and cost."""
    if cost is None:
        return list(found[:1])
    pairs = [((one.accuracy or 0.0), -one.costs[cost]) for one in found]
    return [one for one, pair in zip(found, pairs, strict=True) if not any(dominates(other, pair) for other in pairs)]


def chosen(study: SearchStudy, tried: Sequence[Attempt]) -> dict[str, tuple[Attempt, str]]:
    """The finalists by digest, each with what it was chosen for, in the order of importance."""
    found: dict[str, tuple[Attempt, str]] = {}
    best = longest(tried, "search")
    cost = (
        study.target.cost
        if study.target
        else study.budgets[0].cost
        if study.budgets
        else "macs"
        if study.space.NETWORKS
        else None
    )
    by_reward = best if study.reward.OBJECTIVES == 1 else sorted(on_front(best, cost), key=lambda one: -(one.accuracy or 0))
    for one in by_reward[:1]:
        found[one.digest] = (one, "search")
    for one in longest(tried, "control")[:1]:
        found.setdefault(one.digest, (one, "control"))
    for one in by_reward[1 : study.finalists]:
        found.setdefault(one.digest, (one, "search"))
    front = sorted(on_front(best, cost), key=lambda one: -(one.accuracy or 0))
    for one in front[: study.finalists]:
        found.setdefault(one.digest, (one, "front"))
    return found


def concluded(work: SearchWork, tried: list[Attempt], reward: Reward, first_costs: dict[str, float] | None) -> dict[str, Any]:
    """Trains the finalists in full, times them, and says what was found."""
    study = work.study
    finalists = chosen(study, tried)
    if not finalists:
        raise ValueError(f"no candidate of the search could be trained: {failures(tried)}")
    first = study.space.first(study.base)
    requests = {digest: work.models[digest] for digest in finalists} | {"first": first}
    kept, seeds = affordable(work, list(requests), finalists, tried)
    work.say(f"training {how_many(len(kept), 'finalist')} in full, {how_many(seeds, 'seed')} each")
    tasks = {
        (digest, seed): work.training("full", f"{digest}-{seed}", study.full(requests[digest], seed), True)
        for digest in kept
        for seed in range(seeds)
    }
    outcomes = work.run(list(tasks.values()))
    models = {digest: study.model_of(requests[digest]) for digest in kept}
    timed: dict[str, list[float]] = {}
    if study.space.NETWORKS and all(isinstance(model, Blueprint) for model in models.values()):
        given = {"models": {digest: encode(model) for digest, model in models.items()}}
        session = work.alone("latency-finalists", time_networks, given, "timing the finalists in turn")
        timed = session["latency_ms"]
        if session["disturbed"]:
            work.notes.append(
                "other processes used the machine while the finalists were timed: their latencies are not reliable"
            )
    rows = []
    for digest in kept:
        one, why = finalists.get(digest, (None, "first"))
        values = [outcomes[tasks[digest, seed].name] for seed in range(seeds)]
        scores = [outcome.value["accuracy"] for outcome in values if outcome.error is None]
        counted: dict[str, float] = dict(one.costs) if one else dict(first_costs or work_costs(models[digest]))
        if one is None and digest in timed:
            counted["latency_ms"] = timed[digest][0]
        rows.append(
            {
                "name": digest,
                "chosen_for": why,
                "point": one.point if one else None,
                "trial": None if one is None or one.accuracy is None else 100 * one.accuracy,
                "scores": [100 * score for score in scores],
                "top1": 100 * statistics.fmean(scores) if scores else None,
                "interval": interval_of([100 * score for score in scores]),
                "costs": counted,
                "latency_ms": timed.get(digest),
                "holds": holds(study, counted, timed.get(digest)),
                "values": list(work.gave(reward, statistics.fmean(scores), counted))
                if scores and priced(study, counted)
                else None,
                "runs": [f"full-{digest}-{seed}" for seed in range(seeds)],
                "error": next((outcome.error for outcome in values if outcome.error), None),
            }
        )
    return {
        "status": "done",
        "space": study.name,
        "size": study.space.size_of(study.base),
        "by": study.procedure.WORD,
        "reward": encode(reward),
        "reward_word": study.reward.WORD,
        "budgets": [str(ceiling) for ceiling in study.budgets],
        "target": None if study.target is None else encode(study.target),
        "share": study.share,
        "seeds": seeds,
        "seed": study.seed,
        "tried": [one.to_dict() for one in tried],
        "rejected": work.rejected,
        "best_so_far": {arm: so_far(tried, arm) for arm in ("control", "search")},
        "table": table_said(work.table),
        "shared": work.shared,
        "prediction": predicted_against(rows, study),
        "finalists": rows,
        **verdict(work, rows),
        "spent_s": work.elapsed.whole(),
        "notes": work.notes,
    }


def work_costs(model: Any) -> dict[str, float]:
    return {name: float(value) for name, value in counts(model).items()}


def priced(study: SearchStudy, costs: Mapping[str, float]) -> bool:
    """Whether the reward can be told of these costs."""
    return (study.target is None or study.target.cost in costs) and (study.reward.WORD != "training" or "update_s" in costs)


def failures(tried: Sequence[Attempt]) -> str:
    return next((one.error for one in tried if one.error), "none was tried")


def usual_s(work: SearchWork, tried: Sequence[Attempt]) -> float:
    """Estimated seconds of a full training, one of several side by side at its share.

    From the longest trials; where none was trained, from a few updates.
    """
    study = work.study
    took = [(one.share, work.took.get(f"trial-{named(one.digest, one.share)}")) for one in tried]
    longest = max((share for share, seconds in took if seconds is not None), default=0.0)
    known = [seconds / share for share, seconds in took if seconds is not None and share == longest]
    if not known:
        return (work.pace[1] if work.pace else 0.0) / study.workers
    return statistics.median(known) / study.share / (1 - study.held_out) / study.workers


def affordable(
    work: SearchWork, digests: list[str], finalists: Mapping[str, tuple[Attempt, str]], tried: Sequence[Attempt]
) -> tuple[list[str], int]:
    """The finalists and seeds that fit into what is left of the time; at least the best and what the search began with."""
    study = work.study
    if study.seconds is None:
        return digests, study.seeds
    usual = usual_s(work, tried)
    timed = 1.5 * study.timing_s if study.space.NETWORKS else 0.0
    left = study.seconds - work.spent_s
    kept, seeds = list(digests), study.seeds

    def fits() -> bool:
        return len(kept) * (seeds * usual + timed) <= left

    while not fits() and seeds > 1 and len(kept) <= 3:
        seeds -= 1
    while not fits() and len(kept) > 3:
        kept.pop(-2)  # the last is the network that the space was made around
    while not fits() and seeds > 1:
        seeds -= 1
    while not fits() and len(kept) > LEAST_FINALISTS:
        kept.pop(-2)
    if (len(kept), seeds) != (len(digests), study.seeds):
        work.notes.append(
            f"the time allows {how_many(len(kept), 'finalist')} with {how_many(seeds, 'seed')} instead of {len(digests)} with "
            f"{study.seeds}; a longer --time-limit, or a smaller --trials, leaves more for them"
        )
    if not fits():
        work.notes.append(f"the finalists took longer than was left of the time limit, about {len(kept) * seeds * usual:.0f} s")
    return kept, seeds


def interval_of(scores: Sequence[float]) -> list[float] | None:
    return list(mean_interval(scores)) if len(scores) > 1 else None


def holds(study: SearchStudy, costs: Mapping[str, float], latency: Sequence[float] | None) -> bool:
    """Whether a finalist holds the budgets; latency as it was measured in the end."""
    known = {**costs, **({"latency_ms": latency[0]} if latency else {})}
    return all(ceiling.cost in known and ceiling.holds(known[ceiling.cost]) for ceiling in study.budgets)


def so_far(tried: Sequence[Attempt], arm: str) -> list[list[float]]:
    """The best reward after each trial of an arm: pairs of trials used and reward; of two objectives the hypervolume.

    The reference of the hypervolume is the least of each objective over both arms.
    """
    whole_ones = [one for one in tried if one.values is not None and one.share == 1]
    if not whole_ones:
        return []
    corner = tuple(min((one.values or ())[at] for one in whole_ones) for at in range(len(whole_ones[0].values or ())))
    seen: list[Values] = []
    found = []
    for one in whole_ones:
        if one.arm == arm and one.values is not None:
            seen.append(one.values)
            best = max(seen)[0] if len(corner) == 1 else volume([(a, b) for a, b in seen], (corner[0], corner[1]))
            found.append([one.at, best])
    return found


def table_said(table: LatencyTable | None) -> dict[str, Any] | None:
    """The latency table without its units."""
    if table is None:
        return None
    return {
        "units": len(table.units),
        "fixed_ms": table.fixed_ms,
        "slope": table.slope,
        "errors": list(table.errors),
        "error": table.error,
        "disturbed": table.disturbed,
    }


def predicted_against(rows: Sequence[Mapping[str, Any]], study: SearchStudy) -> list[float] | None:
    """The error of the predicted latency of each finalist, as a share of the measured one."""
    if not study.timed:
        return None
    return [
        abs(row["costs"]["latency_ms"] - row["latency_ms"][0]) / row["latency_ms"][0]
        for row in rows
        if row["latency_ms"] and "latency_ms" in row["costs"]
    ]


def verdict(work: SearchWork, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What was found, and whether the search beat random search and the network that it began with."""
    study = work.study
    able = [row for row in rows if row["top1"] is not None]
    holding = [row for row in able if row["name"] != "first" and row["holds"]]
    pool = holding or [row for row in able if row["name"] != "first"]
    if not pool:
        raise ValueError(f"no finalist could be trained: {next((row['error'] for row in rows if row['error']), 'unknown')}")
    if not holding and study.budgets:
        work.notes.append(
            "no finalist holds the budget as it was measured in the end; raise it, or lower the budget of the search"
        )
    # of those that are equal the cheaper
    best = max(pool, key=lambda row: ((row["values"] or [row["top1"] / 100])[0], -row["costs"].get("macs", 0.0)))
    from_search = [row for row in pool if row["chosen_for"] in ("search", "front")]
    ours = max(from_search, key=lambda row: (row["values"] or [row["top1"] / 100])[0], default=None)
    control = next((row for row in able if row["chosen_for"] == "control"), None)
    first = next((row for row in able if row["name"] == "first"), None)
    # inherited weights and short trainings are two scales
    scales = ("search", "front") if study.shared_weights else ("search", "front", "control")
    pairs = [(row["trial"], row["top1"]) for row in able if row["trial"] is not None and row["chosen_for"] in scales]
    agreed = rank_correlation([a for a, _ in pairs], [b for _, b in pairs])
    name = f"{study.name.replace(':', '-')}-{best['name'][:6]}"
    found: dict[str, Any] = {"name": name, "finalist": best["name"], "point": best["point"], "top1": best["top1"]}
    # what the finalists were trained with, for `paretina train --config`
    found["config"] = "recipe.json"
    asked = study.full(work.models[best["name"]], 0)
    said = {"recipe": encode(replace(asked.recipe, test=study.base.recipe.test))}
    write_aside(work.folder / found["config"], json.dumps(said, indent=1).encode())
    if study.space.NETWORKS:
        for row in rows:
            model = study.model_of(work.models[row["name"]] if row["name"] != "first" else study.space.first(study.base))
            if isinstance(model, Blueprint):
                title = name if row is best else f"{study.name.replace(':', '-')}-{row['name'][:6]}"
                row["file"] = f"networks/{title}.json"
                write_network(work.folder / row["file"], title, model, f"found by `paretina search {study.name}`")
                if row is best:
                    found["file"] = "found.json"
                    found["model"] = encode(model)
                    write_network(work.folder / "found.json", title, model, f"found by `paretina search {study.name}`")
        found["first"] = encode(study.model_of(study.space.first(study.base)))
    elif not study.base.model_name and isinstance(study.base.model, Blueprint):
        found["network"] = "network.json"
        write_network(work.folder / "network.json", "given", study.base.model, "as it was given to the search")
    return {
        "found": found,
        "against_random": against(ours, control),
        "against_first": against(best, first),
        "agreement": None if agreed is None else {"rho": agreed[0], "interval": list(agreed[1]) if agreed[1] else None},
        "pairs": len(pairs),
    }


def against(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The difference in points of two finalists, paired by seed; None where one is missing, or both are the same."""
    if one is None or other is None or one["name"] == other["name"]:
        return None
    pairs = list(zip(one["scores"], other["scores"], strict=False))
    found: Interval | None = None
    if len(pairs) > 1:
        found = paired_interval([a for a, _ in pairs], [b for _, b in pairs])
    return {
        "name": one["name"],
        "other": other["name"],
        "points": one["top1"] - other["top1"],
        "interval": list(found) if found else None,
        "clear": bool(found and found.low > 0),
    }
