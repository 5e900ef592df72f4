"""Evaluates a model on labelled pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paretina.data.damage import allowing, is_too_much
from paretina.data.named import source_named
from paretina.data.pictures import Pictures, read_pictures
from paretina.data.remarks import told
from paretina.data.scan import left_out_text
from paretina.data.source import Sample, Source
from paretina.data.sources.folder import Folder
from paretina.data.sources.several import joined_names
from paretina.measure.accuracy import Accuracy, measure_accuracy, write_predictions
from paretina.measure.corruptions import CorruptedAccuracy, corrupted_accuracy, kinds_named
from paretina.measure.evaluate import Evaluation
from paretina.measure.flips import Mirrored, as_logits
from paretina.measure.hierarchy import Hierarchy, Severity, read_hierarchy, severity, without
from paretina.measure.judge import Judge, Judged, Tally, picture_digest
from paretina.measure.judges.mean_precision import MeanPrecision
from paretina.measure.judges.top_one import Answers
from paretina.measure.neighbours import recalls
from paretina.measure.ood import OutOfDistribution, measure_ood
from paretina.measure.plan import Plan, default_plan
from paretina.measure.priors import adjusted, check_adjusting
from paretina.measure.process import process_settings
from paretina.measure.routes import RoutesTaken, SizeChoices, answers_at_sizes, compare_choices, routes_taken
from paretina.measure.sets import SetFigure, figures_by_set
from paretina.measure.statistics import Interval, as_object
from paretina.measure.sweep import Sweep, resolutions_named, sweep
from paretina.model.assemblies.route import Router
from paretina.model.build import Combined, Network
from paretina.model.sizes import check_side
from paretina.model.task import Task
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About
from paretina.report.sweep_page import write_sweep
from paretina.ship.gate import accuracies, loss_judged, shares_of_file
from paretina.tables import html_lines, html_table
from paretina.text import how_many, printable
from paretina.train.probe import features
from paretina.verbs.answering import FLIPPED, Answering, answering, check_flipped, check_mirrors, forward
from paretina.verbs.checks import MisuseError, check_csv, check_strangers, misuse
from paretina.verbs.files import FileCollection, pictures_in
from paretina.verbs.labelled import labelled


@dataclass(frozen=True)
class Loss:
    """Pictures of a set that could not be read.

    Attributes:
        where: which set: a split, or a folder.
        unreadable: how many pictures, out of `pictures`.
        classes: those of which no picture is left.
    """

    where: str
    unreadable: int
    pictures: int
    classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lost = f"; no picture is left of: {', '.join(map(printable, self.classes))}" if self.classes else ""
        return (
            f"{self.unreadable} of {how_many(self.pictures, 'picture')} ({self.where}) could not be read and "
            f"are not counted{lost}"
        )


@dataclass(frozen=True)
class Against:
    """Two classifiers on the same pictures.

    Attributes:
        other: the one that is compared with, by its path.
        before: its top-1 in percent, with its interval; likewise `after` of the one that is evaluated.
        gained: after less before, in points, with the interval over the same pictures.
        p: McNemar's.
        max_loss: points of top-1 that may be lost.
        verdict: "passed" where the interval excludes a larger loss, "failed" where it excludes a smaller one, else "undecided".
        why: in words, of another verdict than "passed".
    """

    other: str
    before: Interval
    after: Interval
    gained: Interval
    p: float
    max_loss: float
    verdict: str
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        figures = {name: as_object(getattr(self, name)) for name in ("before", "after", "gained")}
        return {
            "other": self.other,
            **figures,
            "p": self.p,
            "max_loss": self.max_loss,
            "verdict": self.verdict,
            "why": self.why,
        }

    def line(self) -> str:
        value, low, high = self.gained
        return (
            f"{self.other} recognises {self.before.value:.1f} %, this one {self.after.value:.1f} %: {value:+z.2f} points "
            f"[{low:+z.2f} to {high:+z.2f}] over the same pictures, p = {self.p:.2g}"
        )


@dataclass(frozen=True)
class EvaluatedModel:
    """
    Attributes:
        accuracy: for one class per picture; None for other tasks.
        damaged: reason by name, for pictures that could not be read and are not counted, including those of `ood`.
        split: the split that was evaluated; "all" for all together, and for data that have no split to judge on.
        sweep: accuracy and cost at several resolutions, if requested; the other figures are those of the best one.
        corrupted: accuracy on corrupted pictures, if requested.
        unknown: how well out-of-distribution pictures are detected, if requested.
        losses: unreadable pictures among the labelled ones and among those of `ood`, where there are any.
        max_damaged: fraction of unreadable pictures that was allowed.
        judged: the figures of a task other than one class per picture.
        n: number of pictures that were read.
        against: the comparison with another classifier, if requested.
        runtime: what computed the answers, with its version.
        recall: by k, the share of the pictures in percent that have one of their class among the k nearest of the others, by
            the network's features (Recall@k), if requested.
        severity: accuracy by groups of classes, and how severe mistakes are; None without groups.
        flips: whether the answers are averages over each picture and its mirror image.
        routes: the sizes that pictures took, of a network that chooses; None for others.
        choices: the network's choice of sizes beside others, if requested.
        sets: the main figure of each of several joined sets of pictures, by name; empty for one set.
        shown: the entries of `Tally.shown` of that figure.
    """

    accuracy: Accuracy | None
    damaged: dict[str, str]
    notes: tuple[str, ...]
    split: str
    resolution: int
    sweep: Sweep | None = None
    corrupted: CorruptedAccuracy | None = None
    unknown: OutOfDistribution | None = None
    losses: tuple[Loss, ...] = ()
    max_damaged: float = 0.01
    judged: Judged | None = None
    n: int = 0
    against: Against | None = None
    runtime: str = ""
    recall: dict[int, float] | None = None
    severity: Severity | None = None
    flips: bool = False
    routes: RoutesTaken | None = None
    choices: SizeChoices | None = None
    sets: Mapping[str, SetFigure] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=Answers.shown)

    @property
    def too_damaged(self) -> str:
        """Why the figures do not describe the requested set: more is unreadable than allowed; "" otherwise."""
        found = [loss for loss in self.losses if is_too_much(loss.unreadable, loss.pictures, self.max_damaged)]
        if not found:
            return ""
        most = max(allowing(loss.unreadable, loss.pictures) for loss in found)
        return (
            f"{'; '.join(map(str, found))}: more than max_damaged={self.max_damaged:g} allows, so the figures do not describe "
            f"this set; repair or remove them, or allow it with max_damaged={most:g}"
        )

    def _repr_html_(self) -> str:
        """The figures with their intervals, as notebooks show them."""
        figures = self.to_dict()
        numbers = {name: value for name, value in figures.items() if isinstance(value, float) and name != "max_damaged"}
        rows = [
            (name, value, numbers.get(f"{name}_low"), numbers.get(f"{name}_high"))
            for name, value in numbers.items()
            if not name.endswith(("_low", "_high"))
        ]
        title = f"{how_many(figures.get('n', self.n), 'picture')} ({self.split}) at {self.resolution} pixels"
        compared = [self.against.line()] if self.against is not None else []
        return html_lines([title]) + html_table(rows, ("figure", "value", "low", "high")) + html_lines([*compared, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        figures: dict[str, Any] = {"split": self.split, "resolution": self.resolution}
        if self.accuracy is not None:
            figures |= self.accuracy.to_dict()
        if self.judged is not None:
            values = {name.removeprefix("val/"): value for name, value in self.judged.metrics.items()}
            figures |= {"n": self.n, **values, **self.judged.details}
        more: dict[str, Any] = {
            "sweep": self.sweep,
            "corrupted": self.corrupted,
            "unknown": self.unknown,
            "against": self.against,
        }
        more |= {"hierarchy": self.severity, "routes": self.routes, "choices": self.choices}
        asked = {name: found.to_dict() for name, found in more.items() if found is not None}
        if self.sets:
            asked["sets"] = {name: each.to_dict() for name, each in self.sets.items()}
        if self.recall is not None:
            asked["recall"] = {str(k): value for k, value in self.recall.items()}
        lost = {"losses": [asdict(loss) for loss in self.losses], "max_damaged": self.max_damaged}
        return {**figures, **asked, "damaged": self.damaged, **lost, "notes": list(self.notes), "runtime": self.runtime} | (
            {"flips": True} if self.flips else {}
        )


def evaluate(
    model: Path | str,
    data: str | Source,
    split: str | None = None,
    resolution: int | str | None = None,
    device: str = "auto",
    csv: Path | str | None = None,
    html: Path | str | None = None,
    corruptions: str | None = None,
    ood: Path | str | None = None,
    max_damaged: float = 0.01,
    against: Path | str | None = None,
    max_loss: float | None = None,
    trust: bool = False,
    point_estimate: bool = False,
    recall: bool = False,
    ignore: Sequence[str] = (),
    logit_adjustment: float = 0.0,
    hierarchy: Path | str | None = None,
    flips: bool = False,
    routes: bool = False,
) -> EvaluatedModel:
    """Evaluates a model on labelled pictures.

    Args:
        model: a model file, the directory of a finished run, or a shipped file.
        data: a folder with one subfolder per class, or a source. If it has splits, `split` is used; default: `val`. The data
            that the model was trained on keeps the split of its run. "all" takes all splits together.
        resolution: image size in pixels; default: that of the model file. Several, as "96:224:16" or "96,128", give a table,
            and the figures of the best of them, which is then chosen on these pictures.
        csv: where to write the prediction for every picture.
        html: where to plot accuracy and cost against resolution.
        corruptions: corruptions to evaluate on: "all", or names and groups, "noise,jpeg".
        ood: a folder of out-of-distribution pictures, of which the network should be less certain.
        max_damaged: fraction of unreadable pictures above which `too_damaged` of the result says so.
        against: another model or shipped file with the same classes, to compare with on the same pictures.
        max_loss: points of top-1 that may be lost against it; default: 0.5.
        trust: whether shipped files that can run code are opened.
        point_estimate: whether the loss that is seen decides, whatever its interval.
        recall: whether Recall@k of the network's features is computed, for networks that are to find similar pictures.
        ignore: classes of the data whose pictures are left out.
        logit_adjustment: factor on the logarithms of the frequencies of the classes in training, which are subtracted from the
            logits, so that the model answers as if all were equally frequent; usually 1, 0 for none. See
            `paretina.measure.priors`.
        hierarchy: a file with groups of classes, see `paretina.measure.hierarchy`; default: those that the model was trained
            with.
        flips: whether the answers of the model are averaged over each picture and its mirror image, at twice the cost; those of
            `against` are not.
        routes: whether the sizes that a network chooses are compared with one size for all, sizes by chance, and the cheapest
            that is right; see `paretina.measure.routes`.

    Raises:
        MisuseError: there is no such model file, data, split, device, kind or folder, mirror images are of other classes, the
            data has another task or a class that the model does not know, or `ood` are the pictures that are measured.
        ValueError: the model file or the data cannot be used, or an option needs one class per picture.
    """
    check_csv(csv)
    if not 0 <= max_damaged <= 1:
        raise MisuseError(f"max_damaged is a fraction of the pictures, from 0 to 1, got {max_damaged:g}")
    check_csv(html, "--html")
    if against is None and (idle := [*["--max-loss"] * (max_loss is not None), *["--point-estimate"] * point_estimate]):
        raise MisuseError(f"{idle[0]} compares with another model: name it with --against")
    max_loss = 0.5 if max_loss is None else max_loss
    if not 0 <= max_loss <= 100:
        raise MisuseError(f"max_loss is in points of top-1, from 0 to 100, got {max_loss:g}")
    check_strangers(ood)
    with misuse():
        source, plan = source_named(data), inference_plan(device)
        sizes = resolutions_named(resolution) if isinstance(resolution, str) else (resolution,) if resolution else ()
        kinds = kinds_named(corruptions) if corruptions else ()
    if ood is not None and isinstance(source, Folder) and Path(ood).resolve() == Path(source.path).expanduser().resolve():
        raise MisuseError(f"--ood needs other pictures than those that are evaluated, got {ood} for both")
    left_out: Counter[str] = Counter()
    strangers = pictures_in([ood], left_out) if ood is not None else []
    if html is not None and len(sizes) < 2:
        raise MisuseError("--html needs several resolutions, such as --resolution 96:224:16")
    opened = answering(model, trust)
    other = None if against is None else answering(against, trust)
    path, about, network = opened.path, opened.about, opened.network
    if flips:
        check_flipped(path, about.task)
        check_mirrors(path)
        alone = {"several resolutions": sizes[1:], "--corruptions": kinds, "--ood": strangers, "--recall": recall}
        alone |= {"--routes": routes}
        if wrong := [name for name, value in alone.items() if value]:
            raise MisuseError(f"--flips averages one evaluation; leave it out, or {', '.join(wrong)}")
        opened = replace(opened, flips=True)
    if about.task != OneOf():
        asked = {"--corruptions": kinds, "--ood": strangers, "several resolutions": sizes[1:], "--recall": (1,) * recall}
        asked |= {"--logit-adjustment": (1,) * bool(logit_adjustment), "--hierarchy": (1,) * (hierarchy is not None)}
        asked |= {"--routes": (1,) * routes}
        only_one_class(path, about.task, **asked, **({"--against": [other]} if other else {}))
    if network is None:
        only_networks(opened, **{"--corruptions": kinds, "--ood": strangers, "--resolution": sizes, "--recall": (1,) * recall})
        if device not in ("auto", "cpu"):
            raise MisuseError(f"{path} is run by {opened.runtime} on the CPU; leave --device {device} out")
    if routes and not isinstance(network, Router):
        raise MisuseError(f"--routes is for a network that chooses its image size, which {path} does not; leave it out")
    if other is not None and other.about.classes != about.classes:
        raise MisuseError(
            f"the classes of {other.path} are not those of {path}, or in another order, so they cannot be compared"
        )
    tree = hierarchy_of(about, hierarchy, ignore)
    if logit_adjustment and (len(sizes) > 1 or kinds):
        raise MisuseError("--logit-adjustment is for the figures at one resolution; leave --corruptions or resolutions out")
    with misuse(str(path)):
        check_adjusting(about, logit_adjustment)
    found = labelled(path, about, source, split, str(data), ignore, None if other is None else other.path)
    collection, samples, split, notes = found.collection, found.samples, found.split, found.notes
    if flips:
        check_mirrors(path, collection.mirrors)
        notes.append(FLIPPED)
    pictures, sets = read_pictures(collection, samples), joined_names(source)
    if not len(pictures):
        raise ValueError(f"there is no readable picture in {data} ({split})")
    swept = None
    if network is not None and len(sizes) > 1:
        swept = sweep(network, pictures, sizes, plan, where={"val": "validation"}.get(split, split))
    if swept is not None and html is not None:
        write_sweep(swept, Path(html), about.called(path))
    side = swept.best if swept else sizes[0] if sizes else opened.resolution
    if network is not None and side != opened.resolution:
        check_side(network.model, side)
        opened = replace(opened, resolution=side)
    if about.task != OneOf():
        judge = judge_for(about, pictures, notes)
        table = None if csv is None else Path(csv)
        tally, damaged = tallied(opened, pictures, plan, table, judge)
        judged = tally.judged(about.classes)
        return EvaluatedModel(
            None,
            damaged,
            (*notes, *told(pictures.remarks), *judged.notes),
            split,
            side,
            losses=(Loss(split, len(damaged), len(samples)),) if damaged else (),
            max_damaged=max_damaged,
            judged=judged,
            sets=figures_by_set(tally, pictures, sets, about.classes),
            shown=tally.shown(),
            n=len(samples) - len(damaged),
            runtime=opened.runtime,
            flips=flips,
        )
    numbers: list[Tensor] = []
    logits, ids, damaged = opened.logits(pictures, plan, numbers)
    if not len(ids):
        raise ValueError(f"no picture in {data} ({split}) can be read any more")
    if logit_adjustment:
        logits = adjusted(logits, about, logit_adjustment)
        notes.append(f"logits are adjusted by the frequencies of the classes in training, with the factor {logit_adjustment:g}")
    labels = torch.tensor(pictures.labels())[ids]
    if csv is not None:
        names = [pictures.samples[i].name for i in ids.tolist()]
        write_predictions(Path(csv), names, logits, labels, about.classes)
    accuracy = measure_accuracy(logits, labels, about.classes)
    left = set(labels.tolist())
    lost = tuple(about.classes[label] for label in sorted({sample.label for sample in samples} - left))
    losses = [Loss(split, len(samples) - len(labels), len(samples), lost)]
    remarks = pictures.remarks
    corrupted = unknown = None
    compared = None if other is None else against_other(other, pictures, plan, logits, ids, labels, max_loss, point_estimate)
    if network is not None and kinds:
        seen = Evaluation(pictures, network.model.preprocessing, side, network.model.classes, plan)
        corrupted = corrupted_accuracy(network, seen, kinds)
    if network is not None and strangers:
        files = FileCollection(about.classes, {"all": tuple(Sample(name, 0) for name in strangers)})
        strange = read_pictures(files, files.split("all"))
        if left_out:
            notes.append(f"{ood}: {left_out_text(left_out)}")
        if not len(strange):
            raise ValueError(f"there is no readable picture in {ood}")
        strange_logits, _, faults = forward(network, strange, side, plan)
        losses.append(Loss(str(ood), len(strangers) - len(strange_logits), len(strangers)))
        damaged, remarks = {**damaged, **faults}, {**remarks, **strange.remarks}
        unknown = measure_ood(logits, strange_logits)
    return EvaluatedModel(
        accuracy,
        damaged,
        (*notes, *told(remarks), *accuracy.notes),
        split,
        side,
        swept,
        corrupted,
        unknown,
        tuple(loss for loss in losses if loss.unreadable),
        max_damaged,
        against=compared,
        runtime=opened.runtime,
        recall=recall_of(path, network, pictures, side, plan) if recall and network is not None else None,
        severity=None if tree is None else severity(logits, labels, tree),
        sets=figures_by_set(answers_of(logits, labels, ids), pictures, sets, about.classes),
        flips=flips,
        routes=taken_in(network, numbers),
        choices=choices_of(network, pictures, side, plan, labels, numbers) if routes else None,
    )


def answers_of(logits: Tensor, labels: Tensor, ids: Tensor) -> Answers:
    """The tally of answers to pictures with labels."""
    found = Answers(logits.shape[1])
    found.keep(ids, logits, labels)
    return found


def taken_in(network: Network | None, numbers: Sequence[Tensor]) -> RoutesTaken | None:
    """The sizes that pictures took; None for a network that does not choose."""
    if not isinstance(network, Router) or not numbers:
        return None
    return routes_taken(network, torch.bincount(torch.cat([*numbers]), minlength=len(network.sizes)).tolist())


def choices_of(
    network: Network | None, pictures: Pictures, side: int, plan: Plan, labels: Tensor, numbers: Sequence[Tensor]
) -> SizeChoices | None:
    """A network's choice of sizes beside others; None for one that does not choose."""
    if not isinstance(network, Router) or not numbers:
        return None
    evaluation = Evaluation(pictures, network.model.preprocessing, side, network.model.classes, plan)
    answers, _ = answers_at_sizes(network, evaluation)
    return compare_choices(network, answers, labels, torch.cat([*numbers]))


def hierarchy_of(about: About, file: Path | str | None, ignore: Sequence[str] = ()) -> Hierarchy | None:
    """The groups of a model's classes, of a file or else of the model file; None where there are none.

    Raises:
        MisuseError: the file is not what it should be, or does not fit the classes.
    """
    if file is None:
        with misuse("the model file"):
            return Hierarchy.of(about.hierarchy, about.classes) if about.hierarchy else None
    with misuse():
        pairs = without(read_hierarchy(Path(file)), [name for name in ignore if name not in about.classes])
    with misuse(str(file)):
        return Hierarchy.of(pairs, about.classes)


def judge_for(about: About, pictures: Pictures, notes: list[str]) -> Judge | None:
    """The judge of pictures by a task other than one class a picture; None for the usual one.

    The thresholds of a model file are not judged on the pictures that they were chosen on.
    """
    if not about.thresholds or about.thresholds_from == picture_digest(each.name for each in pictures.samples):
        return None
    notes.append(
        "the thresholds of the model file were chosen on the validation pictures of its training; if these are among them, F1 "
        "at these thresholds is too high"
    )
    return MeanPrecision(thresholds=about.thresholds)


def recall_of(path: Path, network: Network | Combined, pictures: Pictures, side: int, plan: Plan) -> dict[int, float]:
    """Recall@k of the features of a network on pictures with labels, in percent.

    Raises:
        ValueError: it has no features of whole pictures.
    """
    if isinstance(network, Combined):
        raise ValueError(f"{path} consists of several networks, so it has no features of its own; leave --recall out")
    with process_settings():
        values = features(network, pictures, plan, side, classes=network.model.classes)
    labels = torch.tensor(pictures.labels())
    kept = ~values.isnan().all(1) & (labels >= 0)
    return recalls(values[kept], labels[kept])


def against_other(
    other: Answering, pictures: Pictures, plan: Plan, logits: Tensor, ids: Tensor, labels: Tensor, max_loss: float, point: bool
) -> Against:
    """Compares logits of pictures with those of another classifier, picture by picture."""
    theirs, numbers, _ = other.logits(pictures, plan)
    both = sorted({*ids.tolist()} & {*numbers.tolist()})
    own, place = ({number: row for row, number in enumerate(some.tolist())} for some in (ids, numbers))
    rows = torch.tensor([own[number] for number in both])
    truth = labels[rows]
    now = logits[rows].argmax(1) == truth
    right = theirs[torch.tensor([place[number] for number in both])].argmax(1) == truth
    before, after, gained, p = accuracies(right, now)
    verdict, why = loss_judged(gained, len(both), max_loss, point)
    return Against(str(other.path), before, after, gained, p, max_loss, verdict, why)


def only_networks(opened: Answering, **asked: Sequence[object]) -> None:
    """Rejects options that need a network that torch executes.

    Args:
        asked: the options by name; empty if not given.

    Raises:
        MisuseError: one is given.
    """
    for name, given in asked.items():
        if given:
            raise MisuseError(f"{opened.path} is run by {opened.runtime} as it is; {name} needs a model file")


def only_one_class(path: Path, task: Task, **asked: Sequence[object]) -> None:
    """Rejects options that need one class per picture.

    Args:
        asked: the options by name; empty if not given.

    Raises:
        ValueError: one is given.
    """
    for name, given in asked.items():
        if given and isinstance(task, Nothing):
            raise ValueError(
                f"{path} was trained without labels; judge its features by `paretina probe`, or fine-tune it first"
            )
        if given:
            raise ValueError(f"the task of {path} is {task.WORDS}; {name} needs a model with one class per picture")


def tallied(
    opened: Answering, pictures: Pictures, plan: Plan, csv: Path | None, judge: Judge | None = None
) -> tuple[Tally, dict[str, str]]:
    """The tally of a judge, default: that of the task, and the reason by name for all that could not be read."""
    classes, network = opened.about.classes, opened.network
    evaluation = Evaluation(pictures, opened.preprocessing, opened.resolution, len(classes), plan, judge=judge)
    if network is None:
        tally = tally_of_file(opened, evaluation)
    else:
        plan.place(network)
        tally = evaluation.tally(Mirrored(network, opened.about.task) if opened.flips else network)
    if csv is not None:
        tally.table(csv, pictures, classes)
    faults = [fault.partition(": ") for fault in evaluation.faults]
    reasons = {name: f"became unreadable during evaluation: {reason}" for name, _, reason in faults}
    return tally, {**pictures.damaged, **reasons}


def tally_of_file(opened: Answering, evaluation: Evaluation) -> Tally:
    """The tally of a shipped file, which sees the pictures themselves; labels are those of the preprocessed pictures."""
    pictures = evaluation.pictures
    tally = evaluation.started()
    for loaded in evaluation.batches(0):
        evaluation.faults.update(dict.fromkeys(loaded.faults))
        ids = loaded.batch.ids
        if len(ids):
            answers = as_logits(opened.about.task, shares_of_file(opened.shares(), pictures.image, ids.tolist()))
            tally.add(answers, loaded.batch.targets, ids)
    return tally


def inference_plan(device: str) -> Plan:
    """A plan in float32, so that figures do not depend on the machine."""
    return replace(default_plan(device), precision="float32")
