"""Measures out-of-distribution detection: whether a classifier is less confident on pictures of unknown classes.

Three scores of the logits, higher where a picture looks known: the probability of the answer, the negative entropy of all
probabilities, and the energy score, the logarithm of the sum of exponentials of the logits. AUROC is the chance that a known
picture scores higher than an unknown one, a tie counting half: 1 is perfect, 0.5 is blind. FPR at 95 % TPR is the share of
unknown pictures that pass a threshold which 95 % of the known ones pass: 0 is perfect, 0.95 is blind.

The interval of an AUROC is DeLong's, on the scale of log odds so that it stays within 0 and 1. Where no pair is in the wrong
order, or every one is, its variance is 0 and says nothing; there the interval is Newcombe's. That of the FPR is the middle 95 %
of 4,000 draws in which both the threshold (how many known pictures lie below the true one is binomial) and the share above it
(Jeffreys' posterior) vary; with fewer than about 70 known pictures it is wide, for they hardly say where 5 % of them end.

The figures depend on the choice of unknown pictures: they only compare models on the same two sets.

Source: probability and measures: Hendrycks & Gimpel 2016 (arXiv:1610.02136), section 2; energy: Liu et al. 2020
(arXiv:2010.03759), section 3.1, at temperature 1; DeLong, DeLong & Clarke-Pearson 1988, "Comparing the areas under two or more
correlated receiver operating characteristic curves"; Newcombe 2006, "Confidence intervals for an effect size measure based on
the Mann-Whitney statistic", part 2, method 5.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from paretina.measure.statistics import LEVEL, Interval, as_columns
from paretina.shapes import Logits
from paretina.tables import in_columns, write_csv
from paretina.text import how_many

Scores = Float[Tensor, " _picture"]

PASSING = 0.95
DRAWS = 4000
TITLES = {"probability": "probability of the answer", "entropy": "negative entropy", "energy": "energy score"}


def known_scores(logits: Logits) -> dict[str, Scores]:
    """The scores of each picture: `probability`, `entropy` (negative, in nats) and `energy`; in double precision."""
    logs = logits.double().log_softmax(1)
    return {
        "probability": logs.amax(1).exp(),
        "entropy": (logs.exp() * logs).nan_to_num().sum(1),  # 0 log 0 is 0
        "energy": logits.double().logsumexp(1),
    }


# --- AUROC --------------------------------------------------------------------------------------------------------------


def auroc(known: Scores, unknown: Scores) -> Interval:
    """The chance that a known picture scores higher than an unknown one, in [0, 1], with its 95 % interval.

    Raises:
        ValueError: there are fewer than two pictures of a kind, or a score is not finite.
    """
    check_scores(known, unknown)
    above = placements(known, unknown)
    below = 1 - placements(unknown, known)
    value = above.mean().item()
    if not 0 < value < 1:
        return newcombe(value, len(known), len(unknown))
    deviation = math.sqrt(above.var().item() / len(known) + below.var().item() / len(unknown))
    # the derivative of the log odds
    half = normal_quantile() * deviation / (value * (1 - value))
    odds = math.log(value / (1 - value))
    return Interval(value, *(0.5 * (1 + math.tanh(0.5 * end)) for end in (odds - half, odds + half)))


def placements(scores: Scores, others: Scores) -> Scores:
    """For each score the share of the others that it exceeds, where a tie counts half."""
    ordered = others.sort().values
    less, not_more = torch.searchsorted(ordered, scores), torch.searchsorted(ordered, scores, right=True)
    return (less + not_more).double() / (2 * len(others))


def newcombe(value: float, known: int, unknown: int) -> Interval:
    """The AUROCs that a measured one does not contradict, where scores are taken to be exponential."""
    count, z = (known + unknown) / 2 - 1, normal_quantile()

    def surprise(truth: float) -> float:
        spread = 1 + count * (1 - truth) / (2 - truth) + count * truth / (1 + truth)
        return abs(value - truth) - z * math.sqrt(truth * (1 - truth) * spread / (known * unknown))

    def edge(outside: float) -> float:
        if value == outside:
            return outside
        inside = value
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if surprise(middle) > 0 else (middle, outside)
        return (inside + outside) / 2

    return Interval(value, edge(0.0), edge(1.0))


def normal_quantile() -> float:
    return NormalDist().inv_cdf(0.5 + LEVEL / 2)


def check_scores(known: Scores, unknown: Scores) -> None:
    if len(known) < 2 or len(unknown) < 2:
        raise ValueError(f"at least two known and two unknown pictures are needed, got {len(known)} and {len(unknown)}")
    for name, scores in (("known", known), ("unknown", unknown)):
        faulty = int((~scores.isfinite()).sum())
        if faulty:
            raise ValueError(
                f"{faulty} of {len(scores)} scores of {name} pictures are not finite; evaluate in float32, and check whether "
                "training diverged"
            )


# --- FPR ----------------------------------------------------------------------------------------------------------------


def passing_share(known: Scores, unknown: Scores, *, seed: int = 0) -> Interval:
    """The share of unknown pictures above the highest threshold that at least 95 % of the known ones reach, in [0, 1].

    Raises:
        ValueError: there are fewer than two pictures of a kind, or a score is not finite.
    """
    check_scores(known, unknown)
    ordered, others = known.sort().values, unknown.sort().values
    refused = len(known) - math.ceil(PASSING * len(known) - 1e-9)

    # how many pass the threshold at each known picture; below the first of them all might
    passing = torch.cat((torch.tensor([len(others)]), len(others) - torch.searchsorted(others, ordered), torch.tensor([0])))
    value = int(passing[1 + refused]) / len(unknown)
    random = np.random.default_rng(seed)
    ranks = random.binomial(len(known), 1 - PASSING, DRAWS)
    before, behind = passing.numpy()[ranks], passing.numpy()[ranks + 1]
    counts = behind + random.random(DRAWS) * (before - behind)
    shares = random.beta(counts + 0.5, len(unknown) - counts + 0.5)
    low, high = np.quantile(shares, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
    return Interval(value, min(value, low), max(value, high))


# --- results ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Separation:
    """How well one score separates known pictures from unknown ones.

    Attributes:
        score: probability, entropy or energy.
        auroc: in [0, 1].
        passing: FPR at 95 % TPR, in [0, 1].
    """

    score: str
    auroc: Interval
    passing: Interval


@dataclass(frozen=True)
class OutOfDistribution:
    """
    Attributes:
        known: number of pictures that show the classes.
        unknown: number of the others.
        scores: probability, entropy and energy.
    """

    known: int
    unknown: int
    scores: tuple[Separation, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One row per score, for JSON and CSV."""
        found = []
        for each in self.scores:
            row: dict[str, Any] = {"score": each.score}
            for name, value in (("auroc", each.auroc), ("fpr95", each.passing)):
                row |= as_columns(name, value)
            found.append(row)
        return found

    def to_dict(self) -> dict[str, Any]:
        return {"known": self.known, "unknown": self.unknown, "scores": self.rows()}

    def table(self) -> Iterator[str]:
        """Lines for a terminal."""
        yield f"{self.known} known against {self.unknown} unknown pictures; in brackets the 95 % interval"
        rows = [["", "AUROC", "FPR at 95 % TPR"]]
        for each in self.scores:
            cells = (f"{found.value:.3f}  [{found.low:.3f} to {found.high:.3f}]" for found in (each.auroc, each.passing))
            rows.append([TITLES[each.score], *cells])
        yield from in_columns(rows, "<")

    def write_csv(self, path: Path | str) -> None:
        """Writes a CSV line for each score."""
        write_csv(path, self.rows())


def measure_ood(
    known: Float[Tensor, "known _classes"], unknown: Float[Tensor, "unknown _classes"], *, seed: int = 0
) -> OutOfDistribution:
    """Compares the scores of pictures of the classes with those of pictures that show none of them.

    Args:
        seed: of the draws for the intervals of the FPR.

    Raises:
        ValueError: there are fewer than two pictures of a kind, the numbers of classes disagree, or a logit is not finite.
    """
    if known.shape[1] != unknown.shape[1]:
        raise ValueError(f"both must be logits of one network, got {known.shape[1]} and {how_many(unknown.shape[1], 'class')}")
    check_scores(known.sum(1), unknown.sum(1))
    inside, outside = known_scores(known), known_scores(unknown)
    found = (
        Separation(name, auroc(scores, outside[name]), passing_share(scores, outside[name], seed=seed))
        for name, scores in inside.items()
    )
    return OutOfDistribution(len(known), len(unknown), tuple(found))
