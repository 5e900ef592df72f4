"""The commands `paretina evaluate` and `paretina predict`."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from paretina.cli.program import FailedError, command, main, note, print_json, print_lines, waiting
from paretina.text import how_many, printable


@command(
    main,
    "paretina evaluate runs/photos-efficientnet_b0-1/model.safetensors photos/\n"
    "paretina evaluate runs/photos-efficientnet_b0-1 photos/ --resolution 96:224:16 --html sweep.html\n"
    "paretina evaluate runs/photos-efficientnet_b0-1 photos/ --corruptions noise,jpeg --ood other-photos/",
    short_help="Evaluate a model on labelled pictures.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", metavar="DATA")
@click.option(
    "--split",
    default=None,
    help="Split of DATA to evaluate on, or all of them together: all.  [val, or what training held out of its own data, or "
    "all of other data without splits]",
)
@click.option("--resolution", default=None, help="Image size in pixels, or several: 96:224:16, 96,128.  [the model's]")
@click.option("--csv", type=click.Path(path_type=Path), help="Write the prediction for every picture to this file.")
@click.option("--html", type=click.Path(path_type=Path), help="Plot accuracy and cost against resolution in this file.")
@click.option("--corruptions", metavar="KINDS", default=None, help="Also evaluate on corrupted pictures: all, or noise,jpeg.")
@click.option(
    "--ood", type=click.Path(path_type=Path), help="Folder of out-of-distribution pictures, to measure their detection."
)
@click.option("--max-damaged", type=float, default=0.01, help="Fraction of pictures that may be unreadable.  [0.01]")
@click.option(
    "--against", type=click.Path(path_type=Path), help="Another model or shipped file, to compare with picture by picture."
)
@click.option("--max-loss", type=float, default=None, help="Points of top-1 that may be lost against it.  [0.5]")
@click.option("--point-estimate", is_flag=True, help="Judge by the loss that is seen, not by its interval.")
@click.option(
    "--recall", is_flag=True, help="Also Recall@1, 2, 4, 8: is one of the same class among the most similar pictures?"
)
@click.option(
    "--routes",
    is_flag=True,
    help="For a network that chooses its image size: also what one size, sizes by chance and the cheapest right one give.",
)
@click.option("--ignore", multiple=True, metavar="CLASS", help="Leave out the pictures of this class; may be given again.")
@click.option(
    "--logit-adjustment",
    type=float,
    default=0.0,
    metavar="TAU",
    help="Answer as if all classes were equally frequent: subtract TAU times the log of their frequency in training.  [0]",
)
@click.option(
    "--hierarchy",
    type=click.Path(path_type=Path),
    help="Groups of classes (.csv with class,parent, .json or .yaml): accuracy at each level, and how severe mistakes are.",
)
@click.option(
    "--flips", is_flag=True, help="Average the answers for each picture and its mirror image, which takes twice as long."
)
@click.option("--trust", is_flag=True, help="Open a file of torch.export, which can run code.")
@click.option("--device", default="auto", help="auto, cpu, cuda or mps.  [auto]")
def evaluate(
    model: Path,
    source: str,
    split: str | None,
    resolution: str | None,
    csv: Path | None,
    html: Path | None,
    corruptions: str | None,
    ood: Path | None,
    max_damaged: float,
    against: Path | None,
    max_loss: float | None,
    point_estimate: bool,
    recall: bool,
    routes: bool,
    ignore: tuple[str, ...],
    logit_adjustment: float,
    hierarchy: Path | None,
    flips: bool,
    trust: bool,
    device: str,
    as_json: bool,
) -> None:
    """Evaluate a model on labelled pictures: accuracy, calibration and confusion, with 95 % intervals.

    MODEL is a model file, the directory of a finished run, or a file that `paretina ship` has written; DATA {data}.
    Pictures that cannot be read are listed and not counted; the exit code is 1 if there are more of them than --max-damaged
    allows, and 3 if MODEL cannot be shown to lose no more than --max-loss points of top-1 --against another one.
    """
    from paretina import verbs

    with waiting("measuring"):
        found = verbs.evaluate(
            *(model, source, split, resolution, device, csv, html, corruptions, ood, max_damaged),
            *(against, max_loss, trust, point_estimate, recall, ignore, logit_adjustment, hierarchy, flips, routes),
        )
    trouble, code = found.too_damaged.replace("max_damaged=", "--max-damaged "), 1
    if not trouble and found.against is not None and found.against.verdict != "passed":
        trouble, code = f"{found.against.verdict}: {found.against.why}", 3
    if as_json and trouble:
        raise FailedError(trouble, code, **found.to_dict())
    if as_json:
        print_json(found.to_dict())
        return
    from paretina.measure.sets import sets_said

    for text in found.notes:
        note(text)
    for loss in found.losses:
        print_lines([str(loss)])
    if found.sweep is not None:
        print_lines([*found.sweep.table(), *found.sweep.verdict(), ""])
    print_lines(accuracy_lines(found) if found.accuracy is not None else figure_lines(found))
    print_lines(sets_said({name: each.to_dict() for name, each in found.sets.items()}, found.shown, "[]"))
    if found.severity is not None:
        print_lines(found.severity.lines())
    if found.routes is not None:
        print_lines([found.routes.said()])
    if found.choices is not None:
        print_lines(["", *found.choices.table(), ""])
    if found.recall is not None:
        shares = ", ".join(f"at {k} {value:.1f} %" for k, value in found.recall.items())
        print_lines([f"recall among the pictures: {shares}"])
    for more in (found.corrupted, found.unknown):
        if more is not None:
            print_lines(["", *more.table()])
    if found.against is not None:
        print_lines(["", found.against.line()])
    if html is not None:
        click.echo(f"page: {html}")
    if trouble:
        raise FailedError(trouble, code)


def accuracy_lines(found: Any) -> list[str]:
    accuracy = found.accuracy
    low = accuracy.intervals

    def line(title: str, name: str, unit: str, digits: int) -> str:
        value = getattr(accuracy, name)
        between = f"  [{low[name][0]:.{digits}f} to {low[name][1]:.{digits}f}]" if name in low else ""
        return f"{title:<28}{value:8.{digits}f}{unit}{between}"

    lines = [f"{how_many(accuracy.n, 'picture')} ({found.split}) at {found.resolution} pixels; in brackets the 95 % interval"]
    lines.append(line("top-1", "top1", " %", 1))
    if accuracy.top5 is not None:
        lines.append(line("top-5", "top5", " %", 1))
    lines.append(line("balanced accuracy", "balanced", " %", 1))
    lines.append(line("macro F1", "f1_macro", " %", 1))
    lines.append(line("negative log-likelihood", "nll", "  ", 3))
    lines.append(line("  after temperature scaling", "nll_scaled", "  ", 3))
    chance = f"  debiased {accuracy.ece_debiased:.3f}; by chance alone {accuracy.ece_calibrated:.3f}"
    chance += f", seldom above {accuracy.ece_limit:.3f}"
    lines.append(line("calibration error (ECE)", "ece", "  ", 3) + chance)
    scaled = f"  debiased {accuracy.ece_scaled_debiased:.3f}"
    lines.append(line("  after temperature scaling", "ece_scaled", "  ", 3) + scaled)
    wrong = [each for each in accuracy.per_class if each.n and each.recall < 100]
    worst = sorted(wrong, key=lambda each: each.recall)[:5]
    if worst:
        lines.append("hardest classes: " + ", ".join(f"{each.name} {each.recall:.0f} % of {each.n}" for each in worst))
    lines += [f"not counted, because it cannot be read: {name}: {reason}" for name, reason in found.damaged.items()]
    return lines


def figure_lines(found: Any) -> list[str]:
    """The figures of a task other than one class per picture, named by its judge."""
    from paretina.report.words import figure_title, figure_unit

    metrics = found.judged.metrics
    lines = [f"{how_many(found.n, 'picture')} ({found.split}) at {found.resolution} pixels; in brackets the 95 % interval"]
    for key, value in metrics.items():
        if value is None or key.endswith(("_low", "_high")):
            continue
        low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
        percent = figure_unit(key, metrics) == "%"
        between = "" if low is None or high is None else f"  [{low:.1f} to {high:.1f}]"
        lines.append(f"{figure_title(key):<28}{value:8.{1 if percent else 3}f}{' %' if percent else '  '}{between}".rstrip())
    lines += hardest(found.judged.details)
    lines += [f"not counted, because it cannot be read: {name}: {reason}" for name, reason in found.damaged.items()]
    return lines


def hardest(details: Mapping[str, Any]) -> list[str]:
    """A line on the classes with the lowest figures; none where there is one class."""
    from paretina.measure.by_class import by_class

    found = by_class(details)
    worst = [row for row in found.rows if row[1] < 100][:5] if found else []
    if found is None or not worst:
        return []
    said = [f"{name} {found.title} {value:.1f} % ({how_many(count, found.noun, ',')})" for name, value, count in worst]
    return [f"hardest classes: {', '.join(said)}"]


MANY = 20
"""Pictures from which on the throughput is shown."""


@command(
    main,
    "paretina predict runs/photos-efficientnet_b0-1/model.safetensors a.jpg b.png folder/ --csv out.csv\n"
    "paretina predict runs/cells-efficientnet_lite0-1 cells/images/ --masks out/ --overlays drawn/\n"
    "paretina predict runs/cars-efficientnet_lite0-1 folder/ --csv out.csv --overlays drawn/",
    short_help="Classify pictures with a model.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Number of classes to show per picture, if each has one label.",
)
@click.option("--csv", type=click.Path(path_type=Path), help="Write all predictions to this file.")
@click.option(
    "--masks",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Of a model with a class for each pixel: write the mask of each picture there, as PNG; the numbers of classes, or of "
    "objects in 16 bits.",
)
@click.option(
    "--overlays",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Of such a model, or of one that finds boxes: write the pictures there, with the classes, the outlines of objects or "
    "the boxes drawn over them.",
)
@click.option(
    "--score",
    type=float,
    default=None,
    metavar="S",
    help="Of a model that finds boxes: leave out those of a lower score.  [0.3]",
)
@click.option("--reject", type=float, default=None, metavar="P", help="Reject pictures whose best class is less likely than P.")
@click.option(
    "--logit-adjustment",
    type=float,
    default=0.0,
    metavar="TAU",
    help="Answer as if all classes were equally frequent: subtract TAU times the log of their frequency in training.  [0]",
)
@click.option(
    "--flips", is_flag=True, help="Average the answers for each picture and its mirror image, which takes twice as long."
)
@click.option("--device", default="auto", help="auto, cpu, cuda or mps.  [auto]")
@click.option("--trust", is_flag=True, help="Open a file of torch.export, which can run code.")
def predict(
    model: Path,
    paths: tuple[Path, ...],
    top: int,
    csv: Path | None,
    masks: Path | None,
    overlays: Path | None,
    score: float | None,
    reject: float | None,
    logit_adjustment: float,
    flips: bool,
    device: str,
    trust: bool,
    as_json: bool,
) -> None:
    """Classify pictures and folders of pictures with a model, or their pixels, or find objects in them.

    MODEL is a model file, the directory of a finished run, or a file that `paretina ship` has written, which its own runtime
    then executes. Pictures that cannot be read are listed and skipped; the exit code is 1 if none can be read, or one that is
    named cannot. Folders are read as in training: hidden files, system files and files that are not pictures are skipped and
    counted.
    """
    from paretina import verbs
    from paretina.data.scan import left_out_text

    with waiting("reading the pictures"):
        found = verbs.predict(model, paths, top, device, csv, reject, trust, logit_adjustment, flips, masks, overlays, score)
    if found.left_out and not as_json:
        note(left_out_text(Counter(found.left_out)))
    if not found.predictions:
        reasons = "".join(f"\n  {printable(f'{name}: {reason}')}" for name, reason in found.damaged.items())
        raise FailedError(f"none of the pictures could be read:{reasons}", **found.to_dict())
    if as_json:
        print_json(found.to_dict())
    else:
        for text in found.notes:
            note(text)
        names = [printable(each.name) for each in found.predictions]
        width = max(map(len, names), default=0)
        for shown, each in zip(names, found.predictions, strict=True):
            listed = each.answers if each.objects is None else ()
            answers = "   ".join(f"{name} {100 * share:.1f} %" for name, share in listed) or "none of the classes"
            if each.objects is not None:
                best = "   ".join(f"{name} {100 * share:.1f} %" for name, share in each.answers if each.boxes)
                answers = f"{how_many(each.objects, 'object')}{'   best: ' * bool(best)}{best}"
            groups = "".join(f"   ({group} {100 * share:.1f} %)" for group, share in each.groups)
            print_lines([f"{shown:<{width}}  {'rejected: ' if each.rejected else ''}{answers}{groups}"])
        for what, folder in (("masks", masks), ("overlays", overlays)):
            if folder is not None:
                note(f"{what} written to {folder}")
        if found.throughput is not None and len(found.predictions) >= MANY:
            note(f"{how_many(len(found.predictions), 'picture', ',')}, {found.throughput:,.0f} a second ({found.runtime})")
        print_lines((f"could not be read: {name}: {reason}" for name, reason in found.damaged.items()), err=True)
    if lost := [path for path in map(str, paths) if printable(path) in map(printable, found.damaged)]:
        raise FailedError(f"{len(lost)} of the pictures that are named could not be read: {', '.join(map(printable, lost))}")
