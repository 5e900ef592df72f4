"""Computes accuracy and calibration metrics of a classifier, each with its 95 % interval.

Top-1 and top-5 count pictures; balanced accuracy and macro F1 count classes, so they say what happens where one class has most
of the pictures. Negative log-likelihood (nll, in nats) and expected calibration error (ece, a share in [0, 1]) judge the
probabilities, before and after dividing the logits by one fitted temperature.

The scaled figures are cross-fitted: samples with even numbers are scaled by the temperature that fits those with odd numbers
best, and the other way round, so no sample is judged with a temperature that it helped to choose. `temperature` itself is
fitted on all samples. ece sorts the samples by the probability of their answer into 15 bins of equal width, (0, 1/15], ...,
(14/15, 1]. Intervals of shares are Wilson's. The others come from 1,000 resamples of the samples: the middle 95 % of the
resampled figures, moved so that their mean lies at the figure itself.

ece has no interval. It is too large by chance, also for a network whose probabilities are right: the gaps of its bins are
absolute values, and do not cancel out. Intervals that hold the truth for miscalibrated networks miss it for calibrated ones,
which are what is looked for. So beside it stands what a network would show whose probabilities are right: `ece_calibrated`, the
mean over 1,000 draws of right and wrong answers by the probabilities of the answers, and `ece_limit`, which 95 % of these draws
do not exceed; an ece above it is evidence of miscalibration. `ece_debiased` is the root of the squared ece less the mean square
of these draws, and 0 where that is negative: hardly biased in simulations with 300 and 2,000 samples.

Of balanced accuracy and macro F1, where a class is always right or never, resampling shows no spread, though other samples may
well differ; so their intervals reach at least as far as the Wilson intervals of the classes combine to. (Of F1 that is the one
of h / (h + m), with h hits and m mistakes that the class has part in, of which F1 is 2h / (2h + m).)

Source: temperature scaling and ece: Guo et al. 2017 (arXiv:1706.04599), sections 2 and 4.2; balanced accuracy: Brodersen et al.
2010; macro F1 as in scikit-learn: the mean over classes that occur in the labels or in the answers; combined intervals: Zou,
Huang & Zhang 2009.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from paretina.measure.statistics import Interval, combined_mean, wilson
from paretina.shapes import Logits
from paretina.tables import write_csv
from paretina.text import how_many, printable

Labels = Int[Tensor, " batch"]
PerSample = Float[Tensor, " batch"]

BINS = 15
RESAMPLES = 1000
COLDEST, HOTTEST = 0.05, 20.0
"""Limits of a fitted temperature; if every answer is right, the likelihood has no maximum."""

ROWS = 1024
"""Samples processed at a time; with 1,000 classes in double precision they take 8 MB."""


@dataclass(frozen=True)
class ClassAccuracy:
    """The metrics of one class; all but `n` in percent.

    Attributes:
        name: its name.
        n: number of its samples.
        recall: share of its samples that were recognised; None without samples. `recall_low` and `recall_high` enclose it.
        precision: share of the answers naming this class that were right; None where no answer did.
        f1: harmonic mean of the two; None where the class occurs neither in the labels nor in the answers.
    """

    name: str
    n: int
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    precision: float | None
    f1: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, with the name under `class`."""
        return {"class" if field.name == "name" else field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Accuracy:
    """The metrics of one classifier on one set of samples.

    Attributes:
        n: number of samples.
        top1: share of samples whose first answer was right, in percent.
        top5: share of samples with the right class among the first five answers, in percent; None with five classes or fewer.
        balanced: mean recall of the classes that have samples, in percent.
        f1_macro: mean F1 of the classes that occur in the labels or in the answers, in percent.
        nll: mean negative log-likelihood, in nats.
        nll_scaled: the same after temperature scaling, cross-fitted.
        ece: expected calibration error, a share in [0, 1].
        ece_scaled: the same after temperature scaling, cross-fitted.
        ece_debiased: ece less what it is by chance alone.
        ece_scaled_debiased: the same after temperature scaling, cross-fitted.
        ece_calibrated: the ece that a network with right probabilities would show in the mean, on as many samples.
        ece_limit: what such a network would exceed in 5 % of cases.
        temperature: divisor of the logits that fits all samples best, in [0.05, 20].
        per_class: one entry per class, in the order of the classes.
        confusion: number of samples; a row for each true class, a column for each answer.
        intervals: lower and upper end by the name of the figure.
        notes: omissions and their reasons, a sentence each.
    """

    n: int
    top1: float
    top5: float | None
    balanced: float
    f1_macro: float
    nll: float
    nll_scaled: float
    ece: float
    ece_scaled: float
    ece_debiased: float
    ece_scaled_debiased: float
    ece_calibrated: float
    ece_limit: float
    temperature: float
    per_class: tuple[ClassAccuracy, ...]
    confusion: tuple[tuple[int, ...], ...]
    intervals: dict[str, tuple[float, float]]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The metrics as in JSON: `top1`, `top1_low`, `top1_high`, ...; None if undefined."""
        data: dict[str, Any] = {"n": self.n}
        for name in ("top1", "top5", "balanced", "f1_macro", "nll", "nll_scaled"):
            data[name] = getattr(self, name)
            data[f"{name}_low"], data[f"{name}_high"] = self.intervals.get(name, (None, None))
        for name in ("ece", "ece_scaled", "ece_debiased", "ece_scaled_debiased", "ece_calibrated", "ece_limit"):
            data[name] = getattr(self, name)
        data["temperature"] = self.temperature
        data["per_class"] = [entry.to_dict() for entry in self.per_class]
        data["confusion"] = [list(row) for row in self.confusion]
        data["notes"] = list(self.notes)
        return data


def measure_accuracy(logits: Logits, labels: Labels, classes: tuple[str, ...], *, seed: int = 0) -> Accuracy:
    """Computes the metrics of logits against labels.

    Args:
        logits: one row per sample; log probabilities work as well.
        labels: number of the true class of each sample.
        classes: their names.
        seed: of the resampling.

    Raises:
        ValueError: there are no samples, the numbers of samples or classes disagree, or a logit is not finite.
    """
    logits, labels = checked(logits, labels, len(classes))
    n, width = len(labels), len(classes)
    answers, places = ranked(logits, labels)
    correct = answers == labels
    confusion = torch.bincount(labels * width + answers, minlength=width * width).view(width, width)
    temperatures, temperature = cross_fitted(logits, labels)
    nll, confidence = probabilities(logits, labels, torch.ones(n, dtype=torch.float64))
    nll_scaled, confidence_scaled = probabilities(logits, labels, temperatures)
    truth, named, hits = confusion.sum(1), confusion.sum(0), confusion.diagonal()
    balanced, f1_macro = macro(truth, named, hits)
    figures = {
        "balanced": 100 * balanced.item(),
        "f1_macro": 100 * f1_macro.item(),
        "nll": nll.mean().item(),
        "nll_scaled": nll_scaled.mean().item(),
    }
    ece, ece_scaled = (calibration_error(each, correct).item() for each in (confidence, confidence_scaled))
    chance, chance_scaled = (chance_errors(each, seed) for each in (confidence, confidence_scaled))
    drawn = resampled(labels, answers, width, (nll, nll_scaled), seed)
    most = {"balanced": 100.0, "f1_macro": 100.0, "nll": math.inf, "nll_scaled": math.inf}
    intervals = {name: around(value, drawn[name], most[name]) for name, value in figures.items()}
    for name, parts in (("balanced", recalls(truth, hits)), ("f1_macro", f1_scores(truth, named, hits))):
        intervals[name] = reaching(intervals[name], combined_mean(parts))
    top1, intervals["top1"] = percent(int(correct.sum()), n)
    top5 = None
    if width > 5:
        top5, intervals["top5"] = percent(int((places < 5).sum()), n)
    counts = zip(classes, truth.tolist(), named.tolist(), hits.tolist(), strict=True)
    return Accuracy(
        n=n,
        top1=top1,
        top5=top5,
        ece=ece,
        ece_scaled=ece_scaled,
        ece_debiased=debiased(ece, chance),
        ece_scaled_debiased=debiased(ece_scaled, chance_scaled),
        ece_calibrated=chance.mean().item(),
        ece_limit=chance.quantile(0.95).item(),
        temperature=temperature,
        per_class=tuple(class_accuracy(*entry) for entry in counts),
        confusion=tuple(map(tuple, confusion.tolist())),
        intervals=intervals,
        notes=tuple(remarks(classes, truth, temperature)),
        **figures,
    )


def checked(logits: Tensor, labels: Tensor, width: int) -> tuple[Logits, Labels]:
    """Moves both to the CPU and checks that they match."""
    logits, labels = logits.detach().cpu(), labels.detach().cpu().long()
    if len(labels) == 0:
        raise ValueError("there are no samples to judge; the split is empty")
    if len(logits) != len(labels):
        raise ValueError(f"each sample needs logits and a label, got {len(logits)} rows of logits and {len(labels)} labels")
    if logits.shape[1] != width:
        raise ValueError(f"each class needs a logit, got {logits.shape[1]} logits a sample and {how_many(width, 'class')}")
    if labels.min() < 0 or labels.max() >= width:
        raise ValueError(f"labels must lie in 0 to {width - 1}, got {labels.min()} to {labels.max()}")
    faulty = torch.cat([~rows.isfinite().all(1) for rows in logits.split(ROWS)]).nonzero().flatten()
    if len(faulty):
        raise ValueError(
            f"{len(faulty)} of {how_many(len(labels), 'sample')} have logits that are not finite, the first is "
            f"sample {int(faulty[0])}; "
            "evaluate in float32, and check whether training diverged"
        )
    return logits, labels


# --- answers ------------------------------------------------------------------------------------------------------------


def in_rows(logits: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yields chunks of samples, with logits in double precision."""
    for rows, *rest in zip(logits.split(ROWS), *(other.split(ROWS) for other in others), strict=True):
        yield rows.double(), *rest


def ranked(logits: Logits, labels: Labels) -> tuple[Labels, Labels]:
    """The answer to each sample, and how many classes were put before the true one; of equal logits the first class leads."""
    answers, places = [], []
    for rows, true in in_rows(logits, labels):
        own = rows.gather(1, true[:, None])
        earlier = torch.arange(rows.shape[1]) < true[:, None]
        answers.append(rows.argmax(1))
        places.append(((rows > own) | ((rows == own) & earlier)).sum(1))
    return torch.cat(answers), torch.cat(places)


def probabilities(logits: Logits, labels: Labels, temperatures: PerSample) -> tuple[PerSample, PerSample]:
    """The negative log-likelihood of each label and the probability of each answer."""
    losses, confidences = [], []
    for rows, true, temperature in in_rows(logits, labels, temperatures):
        logs = (rows / temperature[:, None]).log_softmax(1)
        losses.append(-logs.gather(1, true[:, None])[:, 0])
        confidences.append(logs.amax(1).exp())
    return torch.cat(losses), torch.cat(confidences)


def confident_mistakes(logits: Logits, labels: Labels, number: int) -> list[int]:
    """The numbers of at most `number` samples with wrong answers, the most confident answer first."""
    logits, labels = checked(logits, labels, logits.shape[1])
    answers, _ = ranked(logits, labels)
    _, confidence = probabilities(logits, labels, torch.ones(len(labels), dtype=torch.float64))
    wrong = (answers != labels).nonzero().flatten()
    order = confidence[wrong].sort(descending=True, stable=True).indices
    return wrong[order[:number]].tolist()


# --- classes ------------------------------------------------------------------------------------------------------------


def macro(truth: Tensor, named: Tensor, hits: Tensor) -> tuple[Tensor, Tensor]:
    """Balanced accuracy and macro F1, as shares, from counts with the classes on the last axis.

    Args:
        truth: samples of each class.
        named: answers that name each class.
        hits: samples of each class that were recognised.
    """

    def mean(over: Tensor, under: Tensor) -> Tensor:
        return (over.double() / under.clamp(min=1)).sum(-1) / (under > 0).sum(-1)

    return mean(hits, truth), mean(2 * hits, truth + named)


def recalls(truth: Tensor, hits: Tensor) -> list[Interval]:
    """The recall of each class that has samples, a share."""
    return [wilson(hit, n) for hit, n in zip(hits.tolist(), truth.tolist(), strict=True) if n]


def f1_scores(truth: Tensor, named: Tensor, hits: Tensor) -> list[Interval]:
    """F1 of each class that occurs, a share."""
    found = []
    for hit, concerned in zip(hits.tolist(), (truth + named - hits).tolist(), strict=True):
        if concerned:
            found.append(Interval(*(2 * share / (1 + share) for share in wilson(hit, concerned))))
    return found


def reaching(ends: tuple[float, float], least: Interval) -> tuple[float, float]:
    """An interval in percent, widened to hold one of shares."""
    return min(ends[0], 100 * least.low), max(ends[1], 100 * least.high)


def percent(successes: int, n: int) -> tuple[float, tuple[float, float]]:
    share = wilson(successes, n)
    return 100 * successes / n, (100 * share.low, 100 * share.high)


def class_accuracy(name: str, truth: int, named: int, hits: int) -> ClassAccuracy:
    recall, (low, high) = percent(hits, truth) if truth else (None, (None, None))
    return ClassAccuracy(
        name=name,
        n=truth,
        recall=recall,
        recall_low=low,
        recall_high=high,
        precision=100 * hits / named if named else None,
        f1=100 * 2 * hits / (truth + named) if truth + named else None,
    )


def remarks(classes: tuple[str, ...], truth: Tensor, temperature: float) -> Iterator[str]:
    if len(classes) <= 5:
        yield f"top-5 is left out: with {how_many(len(classes), 'class')} the right one is always among the first five answers"
    absent = [name for name, count in zip(classes, truth.tolist(), strict=True) if not count]
    if absent:
        some = ", ".join(map(printable, absent[:5])) + (", ..." if len(absent) > 5 else "")
        yield (
            f"{len(absent)} of {how_many(len(classes), 'class')} {'has' if len(absent) == 1 else 'have'} no sample and "
            f"{'does' if len(absent) == 1 else 'do'} not count in the balanced accuracy: {some}"
        )
    if temperature in (COLDEST, HOTTEST):
        yield f"the temperature stopped at its limit of {temperature:g}: these samples do not determine it"


# --- calibration --------------------------------------------------------------------------------------------------------


def bin_of(confidence: PerSample) -> Labels:
    return ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1)


def calibration_error(confidence: PerSample, correct: Tensor) -> Float[Tensor, ""]:
    """How far mean confidence and share of right answers lie apart, averaged over bins by their numbers of samples."""
    gaps = torch.bincount(bin_of(confidence), weights=correct.double() - confidence, minlength=BINS)
    return gaps.abs().sum() / len(confidence)


def chance_errors(confidence: PerSample, seed: int) -> Float[Tensor, " draw"]:
    """The calibration errors of a network whose answers are right with just these probabilities, of `RESAMPLES` draws."""
    n, generator = len(confidence), torch.Generator().manual_seed(seed)
    bins, found = bin_of(confidence), []
    together = max(1, min(RESAMPLES, 2**21 // n))
    for first in range(0, RESAMPLES, together):
        number = min(together, RESAMPLES - first)
        right = torch.rand((number, n), generator=generator, dtype=torch.float64) < confidence
        cells = (bins + torch.arange(number)[:, None] * BINS).flatten()
        gaps = torch.bincount(cells, (right.double() - confidence).flatten(), minlength=number * BINS)
        found.append(gaps.view(number, BINS).abs().sum(1) / n)
    return torch.cat(found)


def debiased(error: float, chance: Float[Tensor, " draw"]) -> float:
    """A calibration error without what it is by chance."""
    return math.sqrt(max(0.0, error**2 - chance.square().mean().item()))


def fit_temperature(logits: Logits, labels: Labels, start: float = 1.0) -> float:
    """The temperature in [0.05, 20] by which divided logits have the least mean negative log-likelihood.

    The likelihood is concave in 1 / temperature, so Newton's steps, and bisection where they fail, find the one optimum.
    """
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    at, last = math.log(1 / start), high - low
    for _ in range(100):
        sharpness = math.exp(at)
        slope, bend = likelihood_slope(logits, labels, sharpness)
        low, high = (low, at) if slope > 0 else (at, high)
        ahead = sharpness - slope / bend if bend > 0 else 0.0
        newton = math.log(ahead) if ahead > 0 else math.inf
        step = newton - at
        if not (low < newton < high and abs(step) < last / 2):
            step = (low + high) / 2 - at
        at, last = at + step, abs(step)
        if last < 1e-8:
            break
    temperature = math.exp(-at)
    for limit in (COLDEST, HOTTEST):
        if math.isclose(temperature, limit, rel_tol=1e-6):
            return limit
    return temperature


def likelihood_slope(logits: Logits, labels: Labels, sharpness: float) -> tuple[float, float]:
    """First and second derivative of the summed negative log-likelihood by the factor on the logits."""
    slope = bend = 0.0
    for rows, true in in_rows(logits, labels):
        weights = (rows * sharpness).softmax(1)
        centred = rows - (weights * rows).sum(1, keepdim=True)
        slope -= centred.gather(1, true[:, None]).sum().item()
        bend += (weights * centred.square()).sum().item()
    return slope, bend


def cross_fitted(logits: Logits, labels: Labels) -> tuple[PerSample, float]:
    """For each sample the temperature fitted on the other half, and the temperature fitted on all; a lone sample keeps 1."""
    temperatures = torch.ones(len(labels), dtype=torch.float64)
    if len(labels) < 2:
        return temperatures, 1.0
    even, odd = slice(0, None, 2), slice(1, None, 2)
    temperatures[odd] = fit_temperature(logits[even], labels[even])
    temperatures[even] = fit_temperature(logits[odd], labels[odd])
    return temperatures, fit_temperature(logits, labels, start=math.sqrt(float(temperatures[0] * temperatures[1])))


# --- resampling ---------------------------------------------------------------------------------------------------------


def resampled(
    labels: Labels,
    answers: Labels,
    width: int,
    losses: tuple[PerSample, PerSample],
    seed: int,
) -> dict[str, Float[Tensor, " resample"]]:
    """The figures of samples drawn with replacement; each list has one value a resample."""
    n, generator = len(labels), torch.Generator().manual_seed(seed)
    correct = (answers == labels).double()
    found: dict[str, list[Tensor]] = {}
    # many resamples together, but no more than fit into tens of megabytes
    together = max(1, min(RESAMPLES, 2**21 // max(n, width)))
    for first in range(0, RESAMPLES, together):
        number = min(together, RESAMPLES - first)
        drawn = torch.randint(n, (number, n), generator=generator)
        count = counter(drawn)
        balanced, f1_macro = macro(count(labels, width), count(answers, width), count(labels, width, correct))
        means = [loss[drawn].mean(1) for loss in losses]
        values = (100 * balanced, 100 * f1_macro, *means)
        for name, value in zip(("balanced", "f1_macro", "nll", "nll_scaled"), values, strict=True):
            found.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in found.items()}


def counter(drawn: Int[Tensor, "resample batch"]) -> Callable[..., Tensor]:
    """Counts how often each value occurs, or adds up the weights of its samples, in each resample."""
    rows = torch.arange(len(drawn))[:, None]

    def count(values: Labels, width: int, weights: PerSample | None = None) -> Tensor:
        cells = (values[drawn] + rows * width).flatten()
        chosen = None if weights is None else weights[drawn].flatten()
        return torch.bincount(cells, chosen, minlength=len(drawn) * width).view(len(drawn), width)

    return count


def around(value: float, drawn: Float[Tensor, " resample"], most: float) -> tuple[float, float]:
    """The middle 95 % of resampled figures, moved so that their mean lies at the value; within [0, most]."""
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=drawn.dtype)).tolist()
    shift = value - drawn.mean().item()
    return max(0.0, min(value, low + shift)), min(most, max(value, high + shift))


def over_pictures(
    value: float, drawn: Float[Tensor, " resample"], most: float, pictures: int
) -> tuple[float, float] | tuple[None, None]:
    """As `around`, of so many pictures; None for one, of which there is no other sample."""
    return around(value, drawn, most) if pictures > 1 else (None, None)


# --- predictions --------------------------------------------------------------------------------------------------------


def write_predictions(
    path: Path | str,
    names: Sequence[str],
    logits: Logits,
    labels: Labels | None,
    classes: tuple[str, ...],
    reject: float | None = None,
    damaged: Mapping[str, str] | None = None,
    groups: Sequence[Sequence[tuple[str, float]]] = (),
) -> None:
    """Writes predictions as CSV in UTF-8, a line per sample.

    The columns are name, label, predicted, correct (1 or 0), confidence (probability of the answer), and the next answers up to
    the fifth with their probabilities: class_2, confidence_2, ... Without labels, the columns label and correct are left out.

    Args:
        reject: adds a column rejected behind confidence, 1 where the answer is less likely than this and else 0.
        groups: of each sample, the likeliest group of classes of each level with its probability: adds columns group_1 and
            group_1_confidence, group_2 and so on.
        damaged: reasons by the names of samples that could not be read: adds a last column error, and a line for each of them.

    Raises:
        ValueError: the numbers of names, rows of logits, labels or classes disagree, or a logit is not finite.
    """
    known = labels is not None
    logits, given = checked(logits, torch.zeros(len(logits), dtype=torch.long) if labels is None else labels, len(classes))
    if len(names) != len(logits):
        raise ValueError(f"each sample needs a name, got {how_many(len(names), 'name')} and {len(logits)} rows of logits")
    shown = min(5, len(classes))
    columns = ["name", "label", "predicted", "correct", "confidence"] if known else ["name", "predicted", "confidence"]
    columns += ["rejected"] if reject is not None else []
    columns += [f"{column}_{place}" for place in range(2, shown + 1) for column in ("class", "confidence")]
    columns += [
        f"group_{level}{what}" for level in range(1, len(groups[0]) + 1 if groups else 1) for what in ("", "_confidence")
    ]
    columns += ["error"] if damaged is not None else []

    def lines() -> Iterator[dict[str, str]]:
        waiting, levels = iter(names), iter(groups)
        for rows, true in in_rows(logits, given):
            # a stable sort, so that of equal logits the first class leads here too
            order = rows.sort(dim=1, descending=True, stable=True).indices[:, :shown]
            shares = rows.softmax(1).gather(1, order)
            for label, answers, chances in zip(true.tolist(), order.tolist(), shares.tolist(), strict=True):
                line = {"name": next(waiting), "predicted": classes[answers[0]], "confidence": f"{chances[0]:.6f}"}
                if reject is not None:
                    line["rejected"] = str(int(chances[0] < reject))
                if known:
                    line |= {"label": classes[label], "correct": str(int(answers[0] == label))}
                for place in range(1, shown):
                    line[f"class_{place + 1}"] = classes[answers[place]]
                    line[f"confidence_{place + 1}"] = f"{chances[place]:.6f}"
                for level, (group, share) in enumerate(next(levels, ()), 1):
                    line |= {f"group_{level}": group, f"group_{level}_confidence": f"{share:.6f}"}
                yield line
        for name, reason in (damaged or {}).items():
            yield {"name": name, "error": reason}

    write_csv(path, lines(), columns)
