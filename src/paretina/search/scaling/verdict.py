"""Which shares won a scaling study: the most accurate network among those of equal cost.

Networks whose cost is not what was asked for are not compared. Each seed is given to all candidates, so the difference to the
best single dimension is taken seed by seed. The winner is the best of many on the same pictures, so its accuracy is a little
flattering, and so is that of the single dimension that it is compared with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from paretina.measure.statistics import Interval, as_object, mean_interval, paired_interval
from paretina.search.scaling.shares import reward


@dataclass(frozen=True)
class ScoredShares:
    """A candidate and what its trainings gave.

    Attributes:
        single: the only dimension that grew; "" for several.
        within: whether its cost is what was asked for.
        ratio: its cost as a multiple of the base's.
        top1: in percent, by seed.
        latency_ms: of one picture; None if it was not timed.
    """

    name: str
    single: str
    within: bool
    ratio: float
    top1: Mapping[int, float]
    latency_ms: float | None = None

    @property
    def mean(self) -> float:
        return fmean(self.top1.values())

    @property
    def interval(self) -> Interval | None:
        """The mean over seeds with its interval; None with a single seed."""
        return mean_interval(list(self.top1.values())) if len(self.top1) > 1 else None

    def over(self, other: "ScoredShares") -> Interval | None:
        """By how many points it is better than another, paired by seed; None with fewer than two common seeds."""
        both = sorted(self.top1.keys() & other.top1.keys())
        if len(both) < 2:
            return None
        return paired_interval([self.top1[seed] for seed in both], [other.top1[seed] for seed in both])


@dataclass(frozen=True)
class Decision:
    """
    Attributes:
        leader: the most accurate candidate of those that can be compared; None if none can.
        winner: the same if it may be called so; None otherwise, with the reasons.
        control: the best single dimension that can be compared.
        gain: of the leader over the control, in points, paired by seed.
        said: what was decided and why, one sentence each.
        by_reward: the leader by accuracy and latency; None if there are no latencies.
    """

    leader: str | None
    winner: str | None
    control: str | None
    gain: Interval | None
    said: tuple[str, ...]
    by_reward: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "leader": self.leader,
            "winner": self.winner,
            "best_single_dimension": self.control,
            "gain": as_object(self.gain),
            "by_reward": self.by_reward,
            "said": list(self.said),
        }


def decide(
    candidates: Sequence[ScoredShares],
    target_ms: float | None = None,
    weight: float = -0.07,
    base: ScoredShares | None = None,
) -> Decision:
    """Decides among trained candidates.

    Args:
        target_ms: latency at which the reward is the accuracy; it does not change the order. None where latencies cannot be
            relied on: then nothing is decided by them.
        weight: exponent of the latency in the reward.
        base: what all were made from.
    """
    found = [each for each in candidates if each.top1]
    equal = [each for each in found if each.within]
    if not equal:
        return Decision(None, None, None, None, ("no network of the asked cost was trained, so nothing is compared",))
    rewarded = {
        each.name: reward(each.mean, each.latency_ms, target_ms, weight) for each in equal if each.latency_ms and target_ms
    }
    by_reward = max(rewarded, key=lambda name: rewarded[name]) if rewarded else None
    leader = max(equal, key=lambda each: each.mean)
    singles = [each for each in equal if each.single]
    control = max(singles, key=lambda each: each.mean) if singles else None
    said, may = [], True
    if len(equal) < 2:
        said.append(f"{leader.name} is the only network of the asked cost, so there is no winner")
        may = False
    for each in found:
        if not each.within and each.mean > leader.mean:
            cheaper = each.ratio <= leader.ratio
            said.append(
                f"no winner is called: {each.name} is more accurate ({each.mean:.2f} % against {leader.mean:.2f} %) at another "
                f"cost, {each.ratio:.2f} times the base{' and so even cheaper' if cheaper else ''}"
            )
            may = False
    level = [each.name for each in equal if each is not leader and each.mean == leader.mean]
    if level:
        said.append(f"{leader.name} and {', '.join(level)} are equally accurate, so the order between them says nothing")
        may = False
    if base is not None and base.top1 and leader.mean <= base.mean:
        said.append(
            f"no winner is called: none of the larger networks is more accurate than the base ({base.mean:.2f} %): growing it "
            "gained nothing in these trainings"
        )
        may = False
    others = sorted((each for each in equal if each is not leader), key=lambda each: -each.mean)
    if may and others:
        ahead = leader.over(others[0])
        if ahead is None:
            said.append("no winner is called: one seed says nothing about chance; give --seeds 3")
            may = False
        elif ahead.low <= 0:
            said.append(
                f"no winner is called: {leader.name} is {ahead.value:+z.2f} points [{ahead.low:.2f}, {ahead.high:.2f}] over "
                f"{others[0].name}, paired by seed, which chance alone can give"
            )
            may = False
    gain = leader.over(control) if control and control is not leader else None
    if control is None:
        said.append("no single dimension reaches the asked cost, so there is no control")
    elif control is leader and not level:
        few = " in one training of each, which says little" if len(leader.top1) < 2 else ""
        said.append(f"{leader.name} alone is the most accurate{few}: nothing is gained here by growing several dimensions")
    elif control is leader:
        pass
    elif gain is None:
        said.append(
            f"{leader.name} is {leader.mean - control.mean:+z.2f} points over {control.name} alone; one seed tells no more"
        )
    else:
        clear = "" if gain.low > 0 else ", which is not clearly better"
        said.append(
            f"{leader.name} is {gain.value:+z.2f} points [{gain.low:.2f}, {gain.high:.2f}] over {control.name} alone, paired "
            f"by seed{clear}"
        )
    return Decision(leader.name, leader.name if may else None, control.name if control else None, gain, tuple(said), by_reward)
