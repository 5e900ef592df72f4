"""The command `paretina search`."""

import shlex
from pathlib import Path
from typing import Any

import click

from paretina.cli.engines import engine_options, resumed_by, with_threads
from paretina.cli.program import (
    INTERRUPTED,
    FailedError,
    FieldCommand,
    duration,
    note,
    print_json,
    print_lines,
    taken_apart,
)

EXAMPLE = (
    "paretina search efficientnetv2 photos/ --budget latency_ms=20 --time-limit 2h\n"
    "paretina search around:resnet18 photos/ --vary width,depth --budget params=2e6 --trials 60 --by tpe\n"
    "paretina search recipe:fast photos/ --model resnet18 --time-limit 30m\n"
    "paretina search --resume runs/photos-search-1"
)

NEW_ONLY = (
    "budgets", "target", "trials", "by", "reward", "recipe", "model", "width", "vary", "narrow", "share",
    "held_out", "finalists", "seeds", "seed", "no_control", "shared_weights", "timing", "device", "output",
)  # fmt: skip
"""What a search is begun with and keeps."""


@click.argument("space", metavar="[SPACE]", required=False)
@click.argument("source", metavar="[DATA]", required=False)
@click.argument("fields", metavar="[FIELD=VALUE]...", nargs=-1)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    help="The most that a candidate may cost: latency_ms=12, macs=2e7, params=1e6, activations=1e6, weight_bytes=4e6. What "
    "exceeds it is not trained.",
)
@click.option(
    "--time-limit",
    default=None,
    help="Time for everything: 30m, 2h; can be raised with --resume. Trials are begun in six tenths of it.",
)
@click.option(
    "--trials", type=click.IntRange(2, 100_000), default=None, help="Short trainings, half of them of the random control."
)
@click.option(
    "--by",
    default=None,
    help="random, tpe, nsga2 (both need Optuna), evolution or halving.  [evolution; halving around a recipe]",
)
@click.option(
    "--reward",
    default=None,
    help="accuracy; soft or soft:-0.15, A(C/T)^w; hard, A but A(C/T)^-1 beyond T; calibrated, soft with w from this data; "
    "training, A S^w P^v; or front, accuracy and cost apart.  [accuracy]",
)
@click.option("--target", default=None, help="The cost that the reward weighs and its T: macs=5e6.  [the first --budget]")
@click.option("--width", type=click.FloatRange(0.05, 8), default=None, help="Factor on the widths of the space's table.  [1]")
@click.option("--vary", default=None, help="Around a network: width, depth, kernel, expand, squeeze, resolution.  [all it has]")
@click.option(
    "--set",
    "narrow",
    multiple=True,
    help="Values of a dimension, such as kernel=3 for all rows or layers.2=1,2; around a recipe also any field of it.",
)
@click.option("--recipe", "-r", default=None, help="Recipe of all candidates, from `paretina recipes`.  [scratch]")
@click.option("--model", "-m", default=None, help="Around a recipe: the network, by name or file.  [resnet8_w16_s2]")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=None,
    help="Epochs of a trial as a share of a full training.  [0.25]",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=None,
    help="Share of the training pictures that trials are judged on.  [0.2]",
)
@click.option(
    "--finalists",
    type=click.IntRange(1, 100),
    default=None,
    help="Candidates of the search that are trained in full, with the best of the control and what it began with.  [3]",
)
@click.option("--seeds", type=click.IntRange(1, 100), default=None, help="Full trainings of each finalist.  [2]")
@click.option("--seed", type=click.IntRange(0), default=None, help="Of the search; the same one asks the same points.  [0]")
@click.option("--no-control", is_flag=True, help="Spend all trials on the search: then nothing says whether it was worth it.")
@click.option(
    "--shared-weights",
    is_flag=True,
    help="Train many candidates as parts of one network, and score more of them by the weights that they inherit.",
)
@click.option("--timing", type=click.FloatRange(0.1, 3600), default=None, help="Seconds of timing a whole network.  [1]")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Output directory; default: the next free one in runs/.")
@click.option("--resume", type=click.Path(path_type=Path), help="Continue an interrupted search, or try a failed one again.")
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
@engine_options
def search(
    space: str | None,
    source: str | None,
    fields: tuple[str, ...],
    resume: Path | None,
    output: Path | None,
    workers: int | None,
    cluster: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Search SPACE for the network, or the settings, that are best on DATA within a budget.

    SPACE is mnasnet, efficientnetv2, around:NETWORK (a name or a file) or recipe:RECIPE. Candidates are trained briefly and
    judged on part of the training pictures; half of the trials are a random search, as the control. Then the best are trained
    in full with several seeds and judged on the validation pictures. The network that was found is a file: `paretina train
    DATA --model found.json`. Fields apply to all candidates; size=64 is the image size of the space, epochs=20 the length of a
    full training.
    """
    from paretina import verbs
    from paretina.progress import Progress
    from paretina.run import free_folder, not_left_empty
    from paretina.search.architecture.space import space_named
    from paretina.search.architecture.study import read_asked

    given = {name: value for name, value in options.items() if value not in (None, (), False)}
    if "time_limit" in given:
        given["time_limit"] = duration(given["time_limit"])
    if resume is not None:
        also = {**given, **({"output": output} if output else {})}
        wrong = [option_named(name) for name in NEW_ONLY if name in also] + [each for each in (space, source, *fields) if each]
        if wrong:
            usage(
                f"a search is resumed with its original settings, but for a longer --time-limit; leave out {', '.join(wrong)}"
            )
        with verbs.misuse():
            read_asked(resume)
        folder, study = resume, None
    else:
        if space is None or source is None:
            usage("name the space and the data, such as `paretina search mnasnet photos/`; or resume one with --resume DIR")
        with verbs.misuse():
            space_named(str(space))
        if "time_limit" not in given and "trials" not in given:
            usage("a search needs an end: give --time-limit 30m, or --trials 40")
        if "vary" in given:
            given["vary"] = [name.strip() for name in given["vary"].split(",") if name.strip()]
        if given.pop("no_control", False):
            given["control"] = False
        side_by_side = workers or (4 if cluster else 1)
        study = verbs.study_of(
            str(space), str(source), fields=with_threads(taken_apart(fields), workers), workers=side_by_side, **given
        )
        verbs.check_output(output, study.base.data)
        folder = output or free_folder(Path("runs"), f"{Path(str(source)).expanduser().absolute().name}-search")
    with not_left_empty(folder), Progress() as progress:
        progress.plain(f"directory: {shlex.quote(str(folder))}")
        try:
            found = verbs.search(
                space,
                source,
                output=folder,
                resume=resume,
                time_limit=given.get("time_limit"),
                cluster=cluster,
                workers=workers if cluster or workers else 1,
                say=progress.plain,
                study=study,
            )
        except KeyboardInterrupt:
            if not (folder / "asked.json").exists():
                raise
            again = resumed_by("search", folder, workers, cluster)
            raise FailedError(f"interrupted; resume with\n  {again}", INTERRUPTED) from None
    show(found, as_json)


def option_named(name: str) -> str:
    return {"budgets": "--budget", "narrow": "--set"}.get(name, f"--{name.replace('_', '-')}")


def show(found: dict[str, Any], as_json: bool) -> None:
    """Prints the result."""
    from paretina.report.search_page import summary_lines

    if as_json:
        print_json(found)
        return
    print_lines(summary_lines(found))
    for text in found["notes"]:
        note(text)
    click.echo(f"\nreport: {found['report']}")


def usage(message: str) -> None:
    raise click.UsageError(message, click.get_current_context(silent=True))


COMMAND: dict[str, Any] = {"cls": FieldCommand, "short_help": "Search a space for the best network within a budget."}
"""How the command is registered."""
