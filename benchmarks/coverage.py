"""Do the printed intervals cover the truth in 95 % of cases? By simulation, with 300 and 2,000 pictures.

    python benchmarks/coverage.py --times 2000

Each row draws a set of pictures again and again, from a model whose true figure is known, and counts how often the interval
holds it. The standard error of a share near 95 % is 0.5 points with 2,000 draws.
"""

import argparse
import math
from collections.abc import Callable

import numpy as np
import torch

from paretina.measure.accuracy import measure_accuracy
from paretina.measure.ood import auroc, passing_share
from paretina.measure.pareto import rank_correlation
from paretina.measure.statistics import Interval, mean_interval, paired_difference, wilson

Draw = Callable[[np.random.Generator, int], list[tuple[str, Interval | tuple[float, float], float]]]
"""Draws a set of n pictures and returns, for each figure, its name, its interval and the truth."""


def shares(random: np.random.Generator, n: int) -> list[tuple[str, Interval, float]]:
    found = []
    for share in (0.5, 0.8, 0.95, 0.99):
        found.append((f"top-1 of {100 * share:g} %", wilson(int(random.binomial(n, share)), n), share))
    for few, share in ((5, 0.6), (10, 0.8), (30, 0.9)):
        found.append((f"recall of {100 * share:g} % of {few} pictures", wilson(int(random.binomial(few, share)), few), share))
    return found


def differences(random: np.random.Generator, n: int) -> list[tuple[str, Interval, float]]:
    found = []
    for win, lose in ((0.1, 0.08), (0.03, 0.02), (0.005, 0.005), (0.0, 0.01), (0.0, 0.0)):
        won, lost, _ = random.multinomial(n, (win, lose, 1 - win - lose))
        title = f"difference, {100 * win:g} % won and {100 * lose:g} % lost"
        found.append((title, paired_difference(int(won), int(lost), n), win - lose))
    return found


def seeds(random: np.random.Generator, n: int) -> list[tuple[str, Interval, float]]:
    return [(f"mean of {count} seeds", mean_interval(random.normal(80, 0.4, count).tolist()), 80.0) for count in (2, 3, 5)]


def strangers(random: np.random.Generator, n: int) -> list[tuple[str, Interval, float]]:
    known, unknown = random.normal(1.5, 1, n), random.normal(0, 1, n)
    normal = 0.5 * (1 + math.erf(1.5 / 2))
    limit = 1.5 - 1.6448536269514722
    passing = 0.5 * (1 - math.erf(limit / math.sqrt(2)))
    tensors = torch.from_numpy(known), torch.from_numpy(unknown)
    return [("AUROC of 86 %", auroc(*tensors), normal), ("FPR at 95 % TPR", passing_share(*tensors), passing)]


def correlations(random: np.random.Generator, n: int) -> list[tuple[str, Interval, float]]:
    found = []
    for count in (8, 20):
        pairs = random.multivariate_normal((0, 0), ((1, 0.7), (0.7, 1)), count)
        known = rank_correlation(pairs[:, 0].tolist(), pairs[:, 1].tolist())
        truth = 6 / math.pi * math.asin(0.35)  # Spearman's, of a normal pair with correlation 0.7
        if known is not None and known[1] is not None:
            found.append((f"rank correlation of {count} networks", known[1], truth))
    return found


CLASSES = 5
SHARES = np.array([0.4, 0.3, 0.15, 0.1, 0.05])


def drawn_logits(random: np.random.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = random.choice(CLASSES, n, p=SHARES)
    logits = random.normal(0, 1, (n, CLASSES))
    logits[np.arange(n), labels] += 1.8
    return torch.from_numpy(logits).float(), torch.from_numpy(labels)


def truths() -> dict[str, float]:
    """The figures of so many pictures that they are the truth."""
    found = measure_accuracy(*drawn_logits(np.random.default_rng(1), 400_000), tuple("abcde"))
    return {name: getattr(found, name) for name in ("balanced", "f1_macro", "nll", "nll_scaled")}


def figures(truth: dict[str, float]) -> Draw:
    def draw(random: np.random.Generator, n: int) -> list[tuple[str, Interval | tuple[float, float], float]]:
        found = measure_accuracy(*drawn_logits(random, n), tuple("abcde"))
        return [(name, found.intervals[name], value) for name, value in truth.items()]

    return draw


def covered(draw: Draw, n: int, times: int) -> dict[str, tuple[float, int]]:
    """By figure: how often its interval holds the truth, of how many."""
    random = np.random.default_rng(0)
    hits: dict[str, list[bool]] = {}
    for _ in range(times):
        for name, interval, truth in draw(random, n):
            low, high = interval[-2:]
            hits.setdefault(name, []).append(bool(low <= truth <= high))
    return {name: (float(np.mean(each)), len(each)) for name, each in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument("--resampled", type=int, default=400, help="draws of the figures that are resampled; default: 400")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| figure | of 300 pictures, % | of 2,000 pictures, % |\n|---|---|---|")
    of_figures = figures(truths())
    for draw, times in (
        (shares, options.times),
        (differences, options.times),
        (seeds, options.times),
        (strangers, options.resampled),
        (correlations, options.times),
        (of_figures, options.resampled),
    ):
        both = [covered(draw, n, times) for n in (300, 2000)]
        for name in both[0]:
            cells = [f"{100 * each[name][0]:.1f} ({each[name][1]})" for each in both]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
