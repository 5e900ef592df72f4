"""The command `paretina scale`."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from paretina.cli.engines import engine_options, resumed_by, with_threads
from paretina.cli.program import CONTEXT, INTERRUPTED, Explaining, FailedError

EXAMPLE = (
    "  paretina scale resnet18 photos/ --times 2,4\n"
    "  paretina scale resnet18 photos/ --cost latency_ms --times 2 --shares fast,efficientnet,0.2/0.6/0.2 --cap 160\n"
    "  paretina scale --resume runs/photos-scale-1"
)

NEW_ONLY = (
    "cost",
    "times",
    "shares",
    "step",
    "seeds",
    "time_limit",
    "recipe",
    "device",
    "divisor",
    "multiple",
    "tolerance",
    "cap",
    "late_depth",
    "curves",
    "timing",
    "reward_weight",
    "output",
)
"""Options of a new study, which a resumed one keeps as they were."""


@click.command(
    "scale",
    cls=Explaining,
    context_settings=CONTEXT,
    epilog=f"\b\nExample:\n{EXAMPLE}",
    short_help="Find how to make a network larger: deeper, wider, or with larger images.",
)
@click.argument("base", required=False)
@click.argument("source", metavar="[DATA]", required=False)
@click.argument("fields", metavar="[FIELD=VALUE]...", nargs=-1)
@click.option(
    "--cost",
    default=None,
    help="What is equal: macs, params, activations (counted), latency_ms (of one picture), train_seconds (of an update) or "
    "peak_mb (of an update).  [macs]",
)
@click.option(
    "--times", default=None, help="Multiples of the base's cost, comma-separated; candidates are trained at the first.  [2,4]"
)
@click.option(
    "--shares",
    default=None,
    help="Candidates, comma-separated: efficientnet, uniform, fast, or depth/width/resolution such as 0.2/0.6/0.2, each also "
    "with +late and +cap160. Single dimensions are always among them.  [the named ones and a grid]",
)
@click.option("--step", type=float, default=None, help="Step of the grid of shares, which divides 1.  [0.25]")
@click.option("--seeds", type=click.IntRange(1, 100), default=None, help="Trainings of each network, paired by seed.  [3]")
@click.option(
    "--time-limit",
    default=None,
    help="Total time of all trainings, which sets their epochs: 30m.  [epochs of the recipe]",
)
@click.option("--recipe", "-r", default=None, help="A name from `paretina recipes`.  [scratch]")
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
@click.option(
    "--divisor",
    type=click.IntRange(1),
    default=None,
    help="Widths are multiples of it, in channels.  [the coarsest of 8, 4, 2, 1 that meets the cost]",
)
@click.option(
    "--multiple",
    type=click.IntRange(1),
    default=None,
    help="Image sizes are multiples of it, in pixels.  [1, or 4 from 128 on, or the side of patches]",
)
@click.option(
    "--tolerance",
    type=float,
    default=None,
    help="How far below the target a cost may stay to be compared, as a share; measured ones at least 0.1.  [0.05]",
)
@click.option("--cap", type=click.IntRange(1), default=None, help="Largest image size in pixels, for all candidates.  [none]")
@click.option("--late-depth", is_flag=True, help="Only the later half of the stages gets more blocks.")
@click.option("--curves", is_flag=True, help="Also train the family and the single dimensions at the other --times.")
@click.option("--timing", type=click.FloatRange(0.1, 3600), default=None, help="Seconds of timing per network.  [2]")
@click.option(
    "--reward-weight", type=float, default=None, help="Exponent w of the reward accuracy * (latency / target)^w.  [-0.07]"
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Output directory; default: the next free one in runs/.")
@click.option("--resume", type=click.Path(path_type=Path), help="Resume a study with its original settings.")
@engine_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def scale(
    base: str | None,
    source: str | None,
    fields: tuple[str, ...],
    output: Path | None,
    resume: Path | None,
    cluster: str | None,
    workers: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Make larger networks of equal cost from BASE, train them on DATA, and find what to grow: depth, width or resolution.

    BASE is a name from `paretina models`, a file with a network, a model file or a finished run; model.resolution=SIZE sets its
    image size. Each candidate is solved for the cost that the built network really has. All are trained alike with several
    seeds; then the family of the best shares at all --times is written, one file each, which other commands take as --model.
    """
    from paretina.progress import Progress

    words = [text for text in (base, source) if text is not None and is_field(text)]
    base, source = (None if text is None or is_field(text) else text for text in (base, source))
    fields = (*words, *fields)
    options = {name: value for name, value in given.items() if value not in (None, False)}
    check(base, source, fields, output, resume, options)

    from paretina import verbs
    from paretina.cli.program import duration, taken_apart
    from paretina.search.scaling.study import asked_in
    from paretina.search.tasks import engine
    from paretina.verbs.scaling import ask_scaled, finished, started

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
            if "times" in options:
                options["times"] = numbers(options["times"])
            if "shares" in options:
                options["shares"] = [part for part in options["shares"].split(",") if part.strip()]
            study = ask_scaled(str(base), str(source), **options, fields=with_threads(taken_apart(fields), workers))
            folder = started(study, str(source), output)
        progress.plain(f"directory: {shlex.quote(str(folder))}")
        try:
            result = finished(folder, does, progress.plain)
        except KeyboardInterrupt:
            again = resumed_by("scale", folder, workers, cluster)
            raise FailedError(f"interrupted; resume with\n  {again}", INTERRUPTED) from None
    show(result, as_json)


def is_field(text: str) -> bool:
    return "=" in text and not Path(text).exists()


def check(
    base: str | None,
    source: str | None,
    fields: Sequence[str],
    output: Path | None,
    resume: Path | None,
    options: Mapping[str, Any],
) -> None:
    """Checks that there is a base and data for a new study, and nothing but its directory for a resumed one."""
    from paretina.cli.program import misuse

    if resume is not None:
        wrong = [f"--{name.replace('_', '-')}" for name in NEW_ONLY if options.get(name)]
        wrong += [*(["--output"] if output else []), *(word for word in (base, source) if word), *fields]
        if wrong:
            misuse(f"a study is resumed with its original settings; leave out {', '.join(wrong)}")
    elif base is None or source is None:
        misuse("name the base and the data, such as `paretina scale resnet18 photos/`; or resume a study with --resume DIR")


def numbers(text: str) -> tuple[float, ...]:
    """2,4,8 as numbers."""
    from paretina.cli.program import misuse

    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        misuse(f"--times takes numbers with commas between them, such as 2,4,8, got {text!r}")


def show(result: Mapping[str, Any], as_json: bool) -> None:
    """Prints the result."""
    from paretina.cli.program import note, print_json, print_lines
    from paretina.report.scale_page import text_tables

    if as_json:
        print_json(result)
        return
    print_lines(text_tables(result))
    for text in result["notes"]:
        note(text)
    click.echo(f"report: {result['report']}")
