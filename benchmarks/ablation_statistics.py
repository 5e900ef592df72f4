"""The statistics of `paretina ablate` on simulated studies, whose truth is known.

    python benchmarks/ablation_statistics.py
    python benchmarks/ablation_statistics.py --ablations 200 --json

For each kind of study: how often the 95 % interval of a gain covers the true gain, and in how many studies any verdict is wrong
(family-wise error), each with the 95 % interval that comes from the number of simulated studies. A verdict is wrong if it says
"worth it" of what is not, or "not worth it" of what is worth it or makes no difference.

A first look spends half of the 5 %, so that seeds may be added later; with --final it spends all.

Within a study all switches share the runs of the base, so their gains hang together, as in a real one. Takes some minutes.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from paretina.measure.statistics import Interval, wilson
from paretina.search.ablation.verdicts import LEVEL, UNPRICED, Pairs, Price, Said, Verdict, decide_verdicts, level_of_look

TOP1 = 75.0
SEED_SPREAD = 2.0
"""Standard deviation of what a seed does to all runs alike, in points; it must not matter."""


@dataclass(frozen=True)
class Kind:
    """A kind of study.

    Attributes:
        gains: true gain of each switch, in points.
        seeds: pairs at the first look.
        spreads: standard deviation of a run of each switch, in points; the base has that of the first.
        times: true ratio of training time of each switch; the ratio of a pair is off by `time_spread`.
        pictures: on which top-1 is counted; None for real numbers.
        tails: degrees of freedom of the noise; None for normal noise.
        looks: at most so many looks; each but the last adds the seeds that the verdicts advise, at most `most` in all.
        final: whether the last look spends all the error that is left.
    """

    name: str
    gains: tuple[float, ...]
    seeds: int = 5
    spreads: tuple[float, ...] = (0.7,)
    times: tuple[float, ...] = (1.1,)
    time_spread: float = 0.03
    pictures: int | None = None
    tails: int | None = None
    price: Price = UNPRICED
    looks: int = 1
    most: int = 40
    final: bool = False


NONE = (0.0,) * 6
SOME = (0.0, 0.0, 0.5, 1.0, 2.0, -1.0)
KINDS = (
    Kind("no switch matters, 3 seeds", NONE, seeds=3),
    Kind("no switch matters, 5 seeds", NONE),
    Kind("no switch matters, 10 seeds", NONE, seeds=10),
    Kind("20 switches, none matters", (0.0,) * 20),
    Kind("some matter, spreads differ", SOME, spreads=(0.7, 0.3, 1.5, 0.7, 2.0, 0.5)),
    Kind("counted on 665 pictures", NONE, pictures=665),
    Kind("noise with heavy tails (t, 4)", NONE, tails=4),
    Kind("training at its limit of time", (2.0, 1.0, 0.0, 0.0, -1.0, 3.0), times=(2.0,), time_spread=0.1),
    Kind("priced, and worth nothing", (1.0,) * 6, times=(1.1,), price=Price(train=0.1, most=None)),
    Kind("up to 3 looks as advised, none matters", NONE, looks=3),
    Kind("up to 3 looks as advised, some matter", SOME, looks=3),
    Kind("one look with --final, none matters", NONE, final=True),
    Kind("the last of 3 looks with --final, none matters", NONE, looks=3, final=True),
)


@dataclass(frozen=True)
class Checked:
    """What came out of one kind of study.

    Attributes:
        coverage: share of intervals that cover the truth, in percent, with its interval; at the first look.
        wrong: share of studies with a wrong verdict, in percent, likewise; at any look.
        told: share of the switches that matter of which the truth was told, in percent; None where none matters.
    """

    name: str
    studies: int
    coverage: Interval
    wrong: Interval
    told: float | None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "coverage": self.coverage._asdict(), "wrong": self.wrong._asdict()}


def each(values: Sequence[float], count: int) -> list[float]:
    """One value a switch; the last one stands for the rest."""
    return [values[min(i, len(values) - 1)] for i in range(count)]


class Machine:
    """Makes the runs of one study, as many as are asked for."""

    def __init__(self, kind: Kind, rng: np.random.Generator) -> None:
        self.kind = kind
        self.rng = rng
        self.gains: list[list[float]] = []
        self.ratios: list[list[float]] = []

    def noise(self, spreads: Sequence[float]) -> np.ndarray:
        if self.kind.tails is None:
            return self.rng.normal(0.0, spreads)
        scale = math.sqrt((self.kind.tails - 2) / self.kind.tails)
        return self.rng.standard_t(self.kind.tails, len(spreads)) * scale * np.asarray(spreads)

    def run(self, seeds: int) -> None:
        """Continues until there are so many seeds."""
        kind, count = self.kind, len(self.kind.gains)
        spreads = each(kind.spreads, count)
        while len(self.gains) < seeds:
            shared = TOP1 + self.rng.normal(0.0, SEED_SPREAD)
            top1 = shared + self.noise([spreads[0], *spreads]) - np.array([0.0, *kind.gains])  # each leaves one out
            if kind.pictures is not None:
                top1 = np.rint(top1 / 100 * kind.pictures) * 100 / kind.pictures
            self.gains.append(list(top1[0] - top1[1:]))
            times = np.log(each(kind.times, count)) + self.rng.normal(0.0, kind.time_spread, count)
            self.ratios.append(list(np.exp(times)))

    def pairs(self) -> list[Pairs]:
        resolution = 0.0 if self.kind.pictures is None else 100 / self.kind.pictures
        return [
            Pairs(
                name=str(i),
                gain=tuple(float(gains[i]) for gains in self.gains),
                time=tuple(float(ratios[i]) for ratios in self.ratios),
                resolution=resolution,
            )
            for i in range(len(self.kind.gains))
        ]


def truth(kind: Kind) -> list[tuple[bool, bool]]:
    """For each switch: whether it is wrong to call it worth it, and whether it is wrong to call it not worth it."""
    found = []
    for gain, ratio in zip(kind.gains, each(kind.times, len(kind.gains)), strict=True):
        worth = gain - 100 * kind.price.train * (ratio - 1) - kind.price.least
        worth = 0.0 if abs(worth) < 1e-9 else worth
        slow = kind.price.most is not None and ratio > kind.price.most
        found.append((worth <= 0 or slow, worth >= 0 and not slow))
    return found


def study(kind: Kind, rng: np.random.Generator) -> tuple[list[bool], list[Said]]:
    """One simulated study: which intervals cover the truth at the first look, and what was told at the last."""
    machine = Machine(kind, rng)
    seeds, spent, told = kind.seeds, 0.0, dict[str, Said]()
    covered: list[bool] = []
    verdicts: tuple[Verdict, ...] = ()
    for look in range(kind.looks):
        machine.run(seeds)
        level = level_of_look(spent, final=kind.final and look == kind.looks - 1)
        spent += level
        after = level_of_look(spent) if look < kind.looks - 1 else None
        verdicts = decide_verdicts(machine.pairs(), kind.price, level, after, told)
        told.update({each.name: each.verdict for each in verdicts if each.verdict != "cannot tell yet"})
        if not look:
            ends = [verdict.gain for verdict in verdicts]
            covered = [end is not None and end.low <= gain <= end.high for end, gain in zip(ends, kind.gains, strict=True)]
        advised = [verdict.more for verdict in verdicts if verdict.more is not None]
        if not advised or seeds >= kind.most:
            break
        seeds = min(kind.most, seeds + min(advised))
    return covered, [verdict.verdict for verdict in verdicts]


def check(kind: Kind, studies: int, seed: int = 0) -> Checked:
    """Simulates a number of studies of a kind."""
    rng = np.random.default_rng([seed, *kind.name.encode()])
    wrong_of, wrong, shares, right, telling = truth(kind), 0, [], 0, 0
    for _ in range(studies):
        covered, said = study(kind, rng)
        shares.append(sum(covered) / len(covered))
        wrong += any(
            (verdict == "worth it" and never) or (verdict == "not worth it" and always)
            for verdict, (never, always) in zip(said, wrong_of, strict=True)
        )
        for verdict, (never, always) in zip(said, wrong_of, strict=True):
            if never != always:
                telling += 1
                right += verdict == ("not worth it" if never else "worth it")
    # the intervals of one study hang together, so the spread is taken over studies
    mean, half = float(np.mean(shares)), 1.96 * float(np.std(shares, ddof=1)) / math.sqrt(studies)
    return Checked(
        name=kind.name,
        studies=studies,
        coverage=Interval(100 * mean, 100 * (mean - half), 100 * (mean + half)),
        wrong=Interval(*(100 * share for share in wilson(wrong, studies))),
        told=100 * right / telling if telling else None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ablations", type=int, default=1000, help="simulated studies of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    found = []
    if not options.json:
        print(
            f"{options.ablations} studies of each kind; in brackets 95 % intervals of the simulation; level {100 * LEVEL:g} %"
        )
        print("| kind of study | intervals that cover, % | studies with a wrong verdict, % | told of what matters, % |")
        print("|---|---|---|---|")
    for kind in KINDS:
        checked = check(kind, options.ablations, options.seed)
        found.append(checked)
        if not options.json:
            (mean, low, high), (share, few, many) = checked.coverage, checked.wrong
            told = "" if checked.told is None else f"{checked.told:.0f}"
            intervals = f"{mean:.1f} [{low:.1f}, {high:.1f}] | {share:.1f} [{few:.1f}, {many:.1f}]"
            print(f"| {kind.name} | {intervals} | {told} |", flush=True)
    if options.json:
        print(json.dumps([checked.to_dict() for checked in found], indent=2))


if __name__ == "__main__":
    main()
