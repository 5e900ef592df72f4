"""What a transfer study says: whether the order of the backbones as classifiers is their order after the transfer.

The claim is about backbones, so the rank correlation is taken over them, each with its mean over seeds, and its interval is
that of so many backbones. Pairs are compared seed by seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from paretina.measure.pareto import rank_correlation
from paretina.measure.statistics import Interval, as_object, mean_interval, paired_interval
from paretina.text import how_many


@dataclass(frozen=True)
class Transferred:
    """A backbone and what its trainings gave.

    Attributes:
        top1: as a classifier, in percent.
        macs: multiply-adds of a picture after the transfer; None if nothing was trained.
        values: the figure of the data by seed.
        most: the largest value that the figure can have, and 0 the smallest; None if it has no bounds.
    """

    name: str
    top1: float
    macs: int | None
    values: Mapping[int, float]
    most: float | None = None

    @property
    def mean(self) -> float:
        return fmean(self.values.values())

    @property
    def interval(self) -> Interval | None:
        """The mean over seeds with its interval; None with a single seed, or where all give the same, which has no width."""
        if len(set(self.values.values())) < 2:
            return None
        found = mean_interval(list(self.values.values()))
        return found if self.most is None else Interval(found.value, max(0.0, found.low), min(self.most, found.high))

    def over(self, other: "Transferred") -> Interval | None:
        """How much higher its figure is than another's, paired by seed.

        None with fewer than two common seeds, or where both are equal with each.
        """
        both = sorted(self.values.keys() & other.values.keys())
        if len(both) < 2 or all(self.values[seed] == other.values[seed] for seed in both):
            return None
        return paired_interval([self.values[seed] for seed in both], [other.values[seed] for seed in both])


@dataclass(frozen=True)
class TransferVerdict:
    """
    Attributes:
        correlation: Spearman's, of top-1 and the figure, over backbones; None with fewer than four.
        interval: its 95 % interval; None where there is none, as for a perfect order.
        by_seed: the correlation within each seed.
        leader: the backbone with the best figure; None if none was trained.
        classifier: the one with the best top-1 among those that were trained.
        gain: of the latter over each other one, by name, paired by seed.
        said: one sentence each.
    """

    correlation: float | None
    interval: Interval | None
    by_seed: Mapping[int, float]
    leader: str | None
    classifier: str | None
    gain: Mapping[str, Interval | None]
    said: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "rank_correlation": self.correlation,
            "interval": as_object(self.interval),
            "by_seed": {str(seed): value for seed, value in self.by_seed.items()},
            "leader": self.leader,
            "best_classifier": self.classifier,
            "best_classifier_over": {name: as_object(each) for name, each in self.gain.items()},
            "said": list(self.said),
        }


SIZES_APART = 1.05
"""Ratio of multiply-adds from which on a remark says that backbones differ in size too."""


def judge(found: Sequence[Transferred], title: str, unit: str) -> TransferVerdict:
    """Compares trained backbones.

    Args:
        title, unit: of the figure, higher is better.
    """
    found = [each for each in found if each.values]
    if not found:
        return TransferVerdict(None, None, {}, None, None, {}, ("no backbone was trained, so nothing is compared",))
    classifier = max(found, key=lambda each: each.top1)
    leader = max(found, key=lambda each: (each.mean, each is classifier))
    gain = {each.name: classifier.over(each) for each in found if each is not classifier}
    points = "points" if unit == "%" else unit
    said = [f"only {leader.name} was trained; nothing is compared"]
    if len(found) > 1:
        even = len({each.mean for each in found}) == 1
        said = [f"all have the same {title}, {leader.mean:g}" if even else ordered(leader, classifier, title, points)]
    for each in found:
        ahead = gain.get(each.name)
        if ahead is not None and (ahead.low > 0 or ahead.high < 0):
            side = "above" if ahead.value > 0 else "below"
            ends = f"[{ahead.low:+z.2f}, {ahead.high:+z.2f}]"
            said.append(f"{classifier.name} is {abs(ahead.value):.2f} {points} {side} {each.name} {ends}, paired by seed")
    rank = rank_correlation([each.top1 for each in found], [each.mean for each in found])
    said.append(correlated(rank, len(found), title))
    costs = [each.macs for each in found if each.macs]
    if costs and max(costs) > SIZES_APART * min(costs):
        said.append(
            f"the networks differ in size, from {min(costs) / 1e6:.3g} to {max(costs) / 1e6:.3g} million multiply-adds: what "
            "their size does and what their accuracy does cannot be told apart"
        )
    seeds = sorted(set.intersection(*(set(each.values) for each in found)))
    within = {seed: rank_correlation([each.top1 for each in found], [each.values[seed] for each in found]) for seed in seeds}
    correlation, interval = rank or (None, None)
    by_seed = {seed: value[0] for seed, value in within.items() if value is not None}
    return TransferVerdict(correlation, interval, by_seed, leader.name, classifier.name, gain, tuple(said))


def ordered(leader: Transferred, classifier: Transferred, title: str, points: str) -> str:
    """Which backbone is the best one here, and whether that can be told from chance."""
    if leader.name == classifier.name:
        return f"the best classifier, {leader.name}, also has the best {title} here"
    ahead = leader.over(classifier)
    chance = ""
    if ahead is None:
        chance = "; so few trainings do not tell that from chance"
    elif ahead.low <= 0:
        chance = f" by {ahead.value:.2f} {points} [{ahead.low:+z.2f}, {ahead.high:+z.2f}], which cannot be told from chance"
    return f"the best classifier, {classifier.name}, does not have the best {title} here; {leader.name} has{chance}"


def correlated(rank: tuple[float, Interval | None] | None, count: int, title: str) -> str:
    if count < 4:
        return f"{how_many(count, 'backbone')} give no rank correlation; four or more do"
    if rank is None:
        return f"all have the same accuracy or the same {title}, so they have no order"
    value, interval = rank
    over = f"over {how_many(count, 'backbone')}"
    if interval is None:
        side = "the same order" if value > 0 else "the opposite order"
        return f"by accuracy and by {title} they have {side} {over}; so few have no interval"
    told = f"rank correlation of accuracy and {title}: {value:+z.2f} [{interval.low:+z.2f}, {interval.high:+z.2f}] {over}"
    if interval.low > 0:
        return f"{told}: better classifiers are better here"
    if interval.high < 0:
        return f"{told}: better classifiers are worse here"
    return f"{told}: that better classifiers are better here cannot be told from chance"
