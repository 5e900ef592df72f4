"""The command `paretina transfer`."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from paretina.cli.engines import engine_options, resumed_by, with_threads
from paretina.cli.program import CONTEXT, INTERRUPTED, Explaining, FailedError

EXAMPLE = (
    "  paretina transfer cells/ runs/photos-resnet18-1 runs/photos-resnet50-1 size=160 --accuracy-on photos/\n"
    "  paretina transfer cells/ runs/photos-resnet18-1@71.4 runs/photos-resnet50-1@74.9 head=UNetHead --seeds 5\n"
    "  paretina transfer --resume runs/cells-transfer-1"
)

NEW_ONLY = ("seeds", "time_limit", "recipe", "device", "task", "accuracy_on", "output", "dry_run")
"""Options of a new study, which a resumed one keeps as they were."""


@click.command(
    "transfer",
    cls=Explaining,
    context_settings=CONTEXT,
    epilog=f"\b\nExample:\n{EXAMPLE}",
    short_help="Find whether better classifiers make better segmenters or detectors.",
)
@click.argument("source", metavar="[DATA]", required=False)
@click.argument("rest", metavar="[BACKBONE]... [FIELD=VALUE]...", nargs=-1)
@click.option("--task", default=None, help="What is learned from a folder; see `paretina train`.  [as the folder shows]")
@click.option(
    "--accuracy-on",
    default=None,
    metavar="DATA",
    help="Measure the accuracy of all backbones as classifiers on these labelled pictures.  [what their files say]",
)
@click.option("--seeds", type=click.IntRange(1, 100), default=None, help="Trainings of each backbone, paired by seed.  [3]")
@click.option(
    "--time-limit",
    default=None,
    help="Total time of all trainings, which sets their epochs: 30m.  [epochs of the recipe]",
)
@click.option("--recipe", "-r", default=None, help="A name from `paretina recipes`.  [as of finetune]")
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Output directory; default: the next free one in runs/.")
@click.option("--resume", type=click.Path(path_type=Path), help="Resume a study with its original settings.")
@click.option("--dry-run", is_flag=True, help="Check and list the trainings without training.")
@engine_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def transfer(
    source: str | None,
    rest: tuple[str, ...],
    output: Path | None,
    resume: Path | None,
    cluster: str | None,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train two or more classifiers (BACKBONE: runs or model files) further on DATA, and compare them.

    DATA has masks, objects or classes. All are trained alike, with the same head, recipe and seeds. The answer is whether those
    that classify better are better on DATA: differences paired by seed, and the rank correlation over backbones. FILE@82.5
    gives the accuracy of a classifier in percent, where its file does not say it.
    """
    from paretina.progress import Progress

    options = {name: value for name, value in given.items() if value is not None}
    check(source, rest, output, resume, options | {"dry_run": dry_run})

    from paretina import verbs
    from paretina.cli.program import duration, taken_apart
    from paretina.search.tasks import engine
    from paretina.search.transfer.study import asked_in
    from paretina.verbs.transferring import ask_transfer, finished, started

    with verbs.misuse():
        does = engine(cluster, workers if cluster or workers else 1)
    with Progress() as progress:
        if resume is not None:
            with verbs.misuse():
                asked_in(resume)
            folder = resume
        else:
            if "time_limit" in options:
                options["time_limit"] = duration(options["time_limit"])
            backbones, fields = apart(rest)
            settings = with_threads(taken_apart(fields), workers)
            study = ask_transfer(str(source), backbones, **options, fields=settings, say=progress.plain)
            if dry_run:
                show_plan(study, as_json)
                return
            folder = started(study, output)
        progress.plain(f"directory: {shlex.quote(str(folder))}")
        try:
            result = finished(folder, does, progress.plain)
        except KeyboardInterrupt:
            again = resumed_by("transfer", folder, workers, cluster)
            raise FailedError(f"interrupted; resume with\n  {again}", INTERRUPTED) from None
    show(result, as_json)


def apart(rest: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The backbones and the fields among the words behind the data."""
    fields = tuple(word for word in rest if "=" in word and not Path(word).exists())
    return [word for word in rest if word not in fields], fields


def check(
    source: str | None, rest: Sequence[str], output: Path | None, resume: Path | None, options: Mapping[str, Any]
) -> None:
    """Checks that there are data and backbones for a new study, and nothing but its directory for a resumed one."""
    from paretina.cli.program import misuse

    if resume is not None:
        wrong = [f"--{name.replace('_', '-')}" for name in NEW_ONLY if options.get(name)]
        wrong += [*(["--output"] if output else []), *([source] if source else []), *rest]
        if wrong:
            misuse(f"a study is resumed with its original settings; leave out {', '.join(wrong)}")
        return
    if source is None or len(apart(rest)[0]) < 2:
        misuse(
            "name the data and two or more backbones, such as `paretina transfer cells/ runs/photos-1 runs/photos-2`; or "
            "resume a study with --resume DIR"
        )


def show_plan(study: Any, as_json: bool) -> None:
    """Prints what a study would train."""
    from paretina.cli.program import print_json, print_lines
    from paretina.tables import in_columns
    from paretina.text import how_many

    if as_json:
        print_json(
            {
                "data": study.data,
                "seeds": list(study.seeds),
                "epochs": None if study.time_limit_s else study.asked.recipe.epochs,
                "time_limit_s": study.time_limit_s,
                "size": study.asked.final_size(),
                "backbones": [
                    {"name": each.name, "file": each.file, "top1": each.top1, "measured_on": each.measured_on}
                    for each in study.backbones
                ],
            }
        )
        return
    length = "as many epochs as the time allows" if study.time_limit_s else how_many(float(study.asked.recipe.epochs), "epoch")
    count = len(study.seeds) * len(study.backbones)
    print_lines(
        [
            f"{how_many(count, 'training')} on {study.data}: {how_many(len(study.backbones), 'backbone')} with "
            f"{how_many(len(study.seeds), 'seed')} each, {length} at {study.asked.final_size()} pixels",
            "",
            *in_columns(
                [
                    ("backbone", "top-1 %", "measured on", "file"),
                    *((each.name, f"{each.top1:.2f}", each.measured_on, each.file) for each in study.backbones),
                ],
                "<><<",
            ),
        ]
    )


def show(result: Mapping[str, Any], as_json: bool) -> None:
    """Prints the result."""
    from paretina.cli.program import note, print_json, print_lines
    from paretina.report.transfer_page import text_tables

    if as_json:
        print_json(result)
        return
    print_lines(text_tables(result))
    for text in result["notes"]:
        note(text)
    click.echo(f"report: {result['report']}")
