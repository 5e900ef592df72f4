"""Decides which candidates enter a rung of a frontier, and for how many epochs, within the time."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paretina.measure.pareto import Frontier
from paretina.search.frontier.standing import TIMED, Entry, Standing


def as_time(seconds: float) -> str:
    """Rounded up, as `--time-limit` takes it: 90s, 12m."""
    return f"{max(1, math.ceil(seconds))}s" if seconds <= 600 else f"{math.ceil(seconds / 60)}m"


def decision(standing: Standing, rung: int) -> dict[str, Any]:
    """The candidates of a rung, and their epochs.

    Raises:
        ValueError: the time is too short for the first rung, or no candidate has the cost.
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
        return {**none, "stopped": f"rung {rung} was skipped, since no candidate was left"}
    if halving.by == "seconds":
        if share > 0:
            return {"rung": rung, "names": names, "epochs": None, "seconds": share / len(names), "stopped": ""}
        return {
            **none,
            "stopped": out_of_time(rung),
        }
    epochs = affordable(standing, kept, share)
    if min(epochs.values()) < least_epochs(standing, names):
        if rung:
            return {
                **none,
                "stopped": out_of_time(rung),
            }
        raise ValueError(too_short(standing))
    return {"rung": rung, "names": names, "epochs": epochs, "seconds": None, "stopped": ""}


def out_of_time(rung: int) -> str:
    return f"rung {rung} was skipped, since the time was used up; resume with --resume and a longer --time-limit"


def affordable(standing: Standing, entries: Sequence[Entry], seconds: float) -> dict[str, float]:
    """The epochs of each candidate, by name, that fit into a rung of `seconds`."""
    pace = {entry.name: pace_of(standing, entry) for entry in entries}
    left = seconds - sum(fixed for fixed, _, _ in pace.values())
    return equal_epochs(left, {name: (epoch, most) for name, (_, epoch, most) in pace.items()})


def least_epochs(standing: Standing, names: Sequence[str]) -> float:
    """Epochs in which each candidate has at least one update."""
    return max(1 / standing.rehearsed[name]["updates_per_epoch"] for name in names)


def check_time(standing: Standing) -> None:
    """Checks that the time suffices for one update of each candidate in the first rung, by those timed so far.

    Timing more candidates only leaves less time for more of them, so what is too short now stays so.

    Raises:
        ValueError: it does not.
    """
    known = [entry for entry in standing.entries if entry.name in standing.rehearsed and not entry.failed]
    if not known:
        return
    share = (standing.halving.seconds - standing.spent_s) / len(standing.counts)
    if min(affordable(standing, known, share).values()) < least_epochs(standing, [entry.name for entry in known]):
        raise ValueError(too_short(standing))


def too_short(standing: Standing) -> str:
    """The error message if the first rung is impossible: how the time was spent, what is left and what is needed."""
    time, spent, needed = standing.halving.seconds, standing.spent_s, enough_for_an_update(standing)
    left = f"trial updates took {spent:.1f} s, {max(0.0, time - spent):.1f} s are left, and one update of each on every rung"
    said = (
        f"trial updates of the candidates used up the time of {as_time(time)}"
        if needed <= time
        else f"the time of {as_time(time)} is too short for one update of each candidate"
    )
    return f"{said}: {left} needs about {needed:.1f} s; {with_more(standing.folder, enough_for_an_epoch(standing))}"


def with_more(folder: Path, seconds: float) -> str:
    """How to resume a frontier that lacks time."""
    return (
        f"an epoch of each on every rung takes about {as_time(seconds)}: "
        f"{shlex.join(['paretina', 'frontier', '--resume', str(folder), '--time-limit', as_time(seconds)])}, "
        "or start a new frontier with fewer candidates"
    )


def enough_for_an_update(standing: Standing) -> float:
    """Seconds of training for one update of each on each rung; candidates not timed yet count as the mean of the others."""
    known = [entry for entry in standing.entries if entry.name in standing.rehearsed and not entry.failed]
    total = sum(not entry.failed for entry in standing.entries)
    least = least_epochs(standing, [entry.name for entry in known])
    paces = [pace_of(standing, entry) for entry in known]
    return total / len(known) * len(standing.counts) * math.fsum(fixed + least * epoch for fixed, epoch, _ in paces)


def enough_for_an_epoch(standing: Standing) -> float:
    """Total seconds for one epoch of each candidate on each rung; candidates not timed yet count as the mean of the others."""
    known = [entry for entry in standing.entries if entry.name in standing.rehearsed and not entry.failed]
    total = sum(not entry.failed for entry in standing.entries)
    rung = math.fsum(sum(pace_of(standing, entry)[:2]) for entry in known)
    return total / len(known) * (len(standing.counts) * rung + standing.spent_s)


def going_on(standing: Standing, ready: Sequence[Entry], count: int) -> list[Entry]:
    """The candidates that continue: those within the budgets first, and within each group the best by rank and hypervolume."""
    cost = standing.halving.cost
    frontier = standing.frontier(cost, ready)
    if ready and not frontier.points:
        where = " on this machine" if cost in TIMED else ""
        raise ValueError(f"{cost} is unknown for all candidates{where}, so there is no front; choose another --cost")
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
    """Fixed seconds of a run, seconds per epoch, and epochs of a full training."""
    rehearsed = standing.rehearsed[entry.name]
    fixed, epoch = rehearsed["fixed_s"], rehearsed["epoch_s"]
    if entry.links:
        link = entry.links[-1]
        measured = (link.spent_s - fixed) / link.epochs
        epoch = measured if measured > 0 else epoch
    return fixed, epoch, entry.candidate.asked.recipe.epochs


def equal_epochs(seconds: float, candidates: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The number of epochs, equal for all but at most those of a full training, that takes `seconds` in total.

    Args:
        candidates: by name, seconds per epoch and epochs of a full training.
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
