"""MeanPrecision: mean average precision, and F1 at thresholds, for any number of classes per picture.

Average precision asks only for the order in which the pictures are put for a class: the precision at each picture that has it,
on average, without interpolation; pictures of equal score count together. F1 asks for decisions. Macro figures are means over
classes: average precision over those that a picture has, F1 over those that occur in the labels or in the answers. Micro F1
counts the labels of all classes together. `f1_macro` and `f1_micro` are at a threshold of 0.5, `f1_macro_tuned` and
`f1_micro_tuned` at a threshold for each class, see `paretina.measure.thresholds`: unless they are given, those of each half of
the pictures are chosen on the other half. Intervals come from resampled pictures.

Source: average precision as in scikit-learn (`average_precision_score`), after Buckley & Voorhees 2000; resampling as in
`accuracy`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from paretina.data.pictures import Pictures
from paretina.measure.accuracy import around
from paretina.measure.judge import Judge, Judged, PerPicture, Tally, resampled_sums, times_drawn
from paretina.measure.thresholds import USUAL, best_thresholds, cross_chosen
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.shapes import Ids, Logits, Targets
from paretina.tables import write_lines
from paretina.text import printable

ORDERS = 200
"""Resamples from which the interval of the mean average precision comes; each has to be followed through every order."""

Weights = Float[Tensor, "resample picture"]
There = Bool[Tensor, "batch classes"]


def average_precision(
    scores: Float[Tensor, " picture"], there: Bool[Tensor, " picture"], weights: Weights
) -> Float[Tensor, " resample"]:
    """The average precision of one class under several weightings of the pictures; nan if no picture has the class."""
    order = scores.argsort(descending=True, stable=True)
    scores, weights = scores[order], weights[:, order]
    hits = weights * there[order]
    # of equal scores, the last place stands for all of them
    last = torch.cat((scores[1:] != scores[:-1], torch.ones(1, dtype=torch.bool))).nonzero().flatten()
    found, seen = hits.cumsum(1)[:, last], weights.cumsum(1)[:, last]
    new = torch.diff(found, dim=1, prepend=torch.zeros(len(found), 1, dtype=found.dtype))
    return (new * found / seen.clamp(min=1e-12)).sum(1) / hits.sum(1)


class Scores(PerPicture):
    """The logits and the labels of each picture that has labels."""

    KEY: ClassVar[str] = "map"
    TITLE: ClassVar[str] = "mean average precision"

    def __init__(self, classes: int, thresholds: tuple[float, ...] = ()) -> None:
        super().__init__(torch.empty(0, classes), torch.empty(0, classes))
        self.thresholds = thresholds

    def add(self, logits: Logits, targets: Targets, ids: Ids) -> None:
        known = targets.any(1)
        self.keep(ids.to(known.device)[known], logits[known], targets[known])

    def decided(self) -> tuple[Logits, There, There]:
        """Logits, which classes are there, and which are named."""
        _, logits, targets = self.columns()
        return logits, targets > 0.5, AnyOf().answer(logits)

    def loss(self) -> float:
        _, logits, targets = self.columns()
        return F.binary_cross_entropy_with_logits(logits.double(), targets.double()).item()

    def precisions(self, weights: Weights | None = None) -> Float[Tensor, "resample classes"]:
        """Average precision of each class, as a share."""
        logits, there, _ = self.decided()
        weights = torch.ones(1, len(logits), dtype=torch.float64) if weights is None else weights
        found = [average_precision(logits[:, i], there[:, i], weights) for i in range(logits.shape[1])]
        return torch.stack(found, 1)

    def quick(self) -> dict[str, float]:
        _, there, named = self.decided()
        f1 = f1_of((there & named).sum(0), there.sum(0), named.sum(0))
        return {"loss": self.loss(), "map": 100 * self.precisions().nanmean().item(), "f1_macro": 100 * f1.nanmean().item()}

    def chosen(self) -> tuple[Tensor, tuple[float, ...]]:
        """The thresholds of each picture, by which it is judged, and those of each class, for other pictures."""
        logits, there, _ = self.decided()
        shares = AnyOf().probabilities(logits)
        if self.thresholds:
            return torch.tensor(self.thresholds, dtype=torch.float64).expand(shares.shape), self.thresholds
        return cross_chosen(shares, there), tuple(best_thresholds(shares, there).tolist())

    def judged(self, classes: tuple[str, ...]) -> Judged:
        logits, there, named = self.decided()
        if not len(logits):
            raise ValueError("there are no pictures with labels to evaluate; the split is empty, or none of it is labelled")
        if not bool(logits.isfinite().all()):
            raise ValueError("some logits are not finite; evaluate in float32, and check whether training diverged")
        figures = self.quick()
        hits, truth, answers = there & named, there, named
        weights = times_drawn(len(logits), ORDERS, torch.Generator().manual_seed(0))
        drawn = {"map": 100 * self.precisions(weights).nanmean(1)}
        own, thresholds = self.chosen()
        tuned = AnyOf().probabilities(logits) > own
        for end, decided in (("", named), ("_tuned", tuned)):
            counts = ((there & decided).long(), there.long(), decided.long())
            sums = resampled_sums(*counts)
            drawn |= {f"f1_macro{end}": 100 * f1_of(*sums).nanmean(1), f"f1_micro{end}": 100 * f1_of(*totals(sums))}
            whole = tuple(each.sum(0) for each in counts)
            figures |= {f"f1_macro{end}": 100 * f1_of(*whole).nanmean().item()}
            figures |= {f"f1_micro{end}": 100 * f1_of(*totals(whole)).item()}
        metrics: dict[str, float | None] = {"val/loss": figures["loss"]}
        for name in drawn:
            low, high = ends(figures[name], drawn[name])
            value = figures[name] if math.isfinite(figures[name]) else None
            metrics |= {f"val/{name}": value, f"val/{name}_low": low, f"val/{name}_high": high}
        precision = self.precisions()[0]
        f1 = f1_of(hits.sum(0), truth.sum(0), answers.sum(0))
        tuned_f1 = f1_of((there & tuned).sum(0), there.sum(0), tuned.sum(0))
        rows = zip(classes, truth.sum(0).tolist(), precision.tolist(), f1.tolist(), thresholds, tuned_f1.tolist(), strict=True)
        per_class = [
            {
                "class": name,
                "n": n,
                "average_precision": share(ap),
                "f1": share(f),
                "threshold": threshold,
                "f1_tuned": share(better),
            }
            for name, n, ap, f, threshold, better in rows
        ]
        return Judged(metrics, {"per_class": per_class}, (*remarks(classes, truth), self.how()), thresholds)

    def how(self) -> str:
        """How the thresholds were chosen, in a sentence."""
        if self.thresholds:
            return "macro and micro F1 with own thresholds are at the thresholds that the model file has for each class"
        return (
            "macro and micro F1 with own thresholds are at thresholds for each class that were chosen on every other picture "
            "and judged on the rest, and the other way round"
        )

    def table(self, path: Path, pictures: Pictures, classes: tuple[str, ...]) -> None:
        """As `write_shares`, with the labels."""
        ids, logits, targets = self.columns()
        names = [pictures.samples[i].name for i in ids.tolist()]
        write_shares(path, names, AnyOf().probabilities(logits), classes, targets > 0.5, self.chosen()[1])


def write_shares(
    path: Path,
    names: Sequence[str],
    shares: Logits,
    classes: tuple[str, ...],
    there: There | None = None,
    thresholds: Sequence[float] = (),
) -> None:
    """Writes a line for each picture, as CSV in UTF-8.

    The columns are name, labels (where they are known) and predicted, both with "; " between classes, and then the probability
    of each class under its name.

    Args:
        shares: probabilities.
        there: which classes are in the picture.
        thresholds: of each class the probability above which it is predicted; default: 0.5.
    """

    def listed(row: Tensor) -> str:
        return "; ".join(name for name, yes in zip(classes, row.tolist(), strict=True) if yes)

    limits = torch.tensor(list(thresholds) or [USUAL] * len(classes), dtype=torch.float64)
    rows = []
    for i, name in enumerate(names):
        true = [] if there is None else [listed(there[i])]
        rows.append([name, *true, listed(shares[i] > limits), *(f"{share:.6f}" for share in shares[i].tolist())])
    write_lines(path, ["name", *([] if there is None else ["labels"]), "predicted", *classes], rows)


def f1_of(hits: Tensor, truth: Tensor, named: Tensor) -> Tensor:
    """F1 by class, as a share, with the classes on the last axis; nan if a class occurs nowhere."""
    return 2 * hits.double() / (truth + named).double()


def totals(counts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Counts of all classes together, which are on the last axis."""
    return tuple(each.sum(-1) for each in counts)


def share(value: float) -> float | None:
    """In percent; None where there is none."""
    return 100 * value if math.isfinite(value) else None


def ends(value: float, drawn: Tensor) -> tuple[float | None, float | None]:
    """The ends of the interval of a figure in percent; None where it does not exist."""
    drawn = drawn[drawn.isfinite()]
    return around(value, drawn, 100.0) if math.isfinite(value) and len(drawn) else (None, None)


def remarks(classes: tuple[str, ...], there: Tensor) -> tuple[str, ...]:
    absent = [name for name, some in zip(classes, there.any(0).tolist(), strict=True) if not some]
    if not absent:
        return ()
    listed = ", ".join(map(printable, absent[:5])) + (", ..." if len(absent) > 5 else "")
    return (f"{len(absent)} of {len(classes)} classes are in no picture and do not count in the mean precision: {listed}",)


@dataclass(frozen=True, kw_only=True)
class MeanPrecision(Judge):
    """
    Attributes:
        thresholds: of each class the probability above which it is there, in the order of the classes; empty to choose them.
    """

    TASK: ClassVar[type[Task]] = AnyOf

    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(0 <= each <= 1 for each in self.thresholds):
            raise ValueError(f"MeanPrecision.thresholds are probabilities in [0, 1], got {list(self.thresholds)}")

    def check(self, classes: tuple[str, ...]) -> None:
        if self.thresholds and len(self.thresholds) != len(classes):
            raise ValueError(f"MeanPrecision.thresholds has {len(self.thresholds)} numbers for {len(classes)} classes")

    def start(self, classes: int) -> Tally:
        return Scores(classes, self.thresholds)


EXAMPLES = (MeanPrecision(), MeanPrecision(thresholds=(0.3, 0.5, 0.2, 0.5, 0.5, 0.9)))
