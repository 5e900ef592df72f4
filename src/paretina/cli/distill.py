"""The commands `paretina distill`, `pretrain`, `probe`, `ensemble` and `selftrain`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from paretina.cli.planning import planning_named, planning_options
from paretina.cli.program import (
    FailedError,
    FieldCommand,
    command,
    duration,
    main,
    print_json,
    print_lines,
    taken_apart,
    waiting,
)


def learning_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that train, but those that say what."""
    for option in (
        click.option(
            "--dry-run", is_flag=True, help="Print what would be done, with an estimate of time and memory, without training."
        ),
        click.option("--print-config", is_flag=True, help="Print every field and where its value came from, without training."),
        planning_options,
        click.option("--time-limit", default=None, help="Fit the schedule into this time: 90s, 10m, 2h."),
        click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]"),
        click.option(
            "--output", "-o", type=click.Path(path_type=Path), help="Run directory; default: the next free one in runs/."
        ),
        click.option(
            "--config", "-c", type=click.Path(path_type=Path), help="YAML or JSON file with fields, by the same names."
        ),
    ):
        function = option(function)
    return function


@command(
    main,
    "paretina distill runs/photos-efficientnet_b0-1 photos/ --model resnet18\n"
    "paretina distill runs/photos-efficientnet_b0-1 more-photos/ --val photos/ --model resnet18 epochs=100",
    cls=FieldCommand,
    short_help="Train a network on what a trained one says of the pictures.",
)
@click.argument("teacher", metavar="TEACHER")
@click.argument("rest", metavar="[DATA] [FIELD=VALUE]...", nargs=-1)
@click.option("--model", "-m", required=True, help="The student: a name from `paretina models`.")
@click.option("--val", default=None, help="Labelled pictures to judge the student on, where DATA has no labels.")
@click.option(
    "--teacher-size", type=click.IntRange(1), default=None, help="Image size in pixels of the teacher.  [that of the student]"
)
@click.option("--recipe", "-r", default=None, help="A name from `paretina recipes`.  [distill]")
@click.option(
    "--weights", metavar="WORD|FILE", default=None, help="Weights that the student starts from, as in `paretina train`.  [auto]"
)
@learning_options
def distill(
    teacher: str,
    rest: tuple[str, ...],
    model: str,
    val: str | None,
    teacher_size: int | None,
    recipe: str | None,
    weights: str | None,
    config: Path | None,
    output: Path | None,
    device: str | None,
    time_limit: str | None,
    tuning: str,
    plan: str | None,
    print_config: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a student on what TEACHER says of the pictures; labels are not used.

    TEACHER is a model file, the directory of a finished run, or timm:NAME. It sees the student's very view of each picture of
    DATA (that of its run, or any folder of pictures, with the same classes or without labels), and every batch is blended. It
    is patient work: the longer the run, the smaller the gap. To extend a run, start the next one from its weights:
    --weights runs/first/model.safetensors.
    """
    from paretina import verbs
    from paretina.cli.train import finished, show_config, tried

    source, fields = (rest[0], rest[1:]) if rest and ("=" not in rest[0] or Path(rest[0]).exists()) else (None, rest)
    seconds = None if time_limit is None else duration(time_limit)
    given, planning = taken_apart(fields), planning_named(tuning, plan)
    choice = verbs.ask_distilled(teacher, source, model, val, teacher_size, recipe, weights, device, config, given)
    if print_config:
        show_config(choice, as_json)
        return
    if dry_run:
        tried(choice, output, seconds, as_json)
        return
    finished(lambda progress: verbs.start(choice, output, seconds, progress.listen, progress.say, planning), None, as_json)


@command(
    main,
    "paretina pretrain photos/ --model resnet18 epochs=100",
    cls=FieldCommand,
    short_help="Train the features of a network on pictures without labels.",
)
@click.argument("source", metavar="DATA")
@click.argument("fields", metavar="[FIELD=VALUE]...", nargs=-1)
@click.option("--model", "-m", default=None, help="A name from `paretina models`.  [resnet18]")
@click.option("--recipe", "-r", default=None, help="A name from `paretina recipes`.  [byol]")
@click.option("--weights", metavar="WORD|FILE", default=None, help="Weights to start from, as in `paretina train`.  [none]")
@learning_options
def pretrain(
    source: str,
    fields: tuple[str, ...],
    model: str | None,
    recipe: str | None,
    weights: str | None,
    config: Path | None,
    output: Path | None,
    device: str | None,
    time_limit: str | None,
    tuning: str,
    plan: str | None,
    print_config: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a network on DATA, a folder of pictures, without labels; class folders are not needed.

    What it learned is judged by `paretina probe`, and used by `paretina finetune`. Labels, where there are any, train only the
    last layer, on features that it cannot change, to show how the run goes.
    """
    from paretina import verbs
    from paretina.cli.train import finished, show_config, tried

    seconds = None if time_limit is None else duration(time_limit)
    given, planning = taken_apart(fields), planning_named(tuning, plan)
    choice = verbs.ask_pretrained(source, model, recipe, weights, device, config, given)
    if print_config:
        show_config(choice, as_json)
        return
    if dry_run:
        tried(choice, output, seconds, as_json)
        return
    finished(lambda progress: verbs.start(choice, output, seconds, progress.listen, progress.say, planning), None, as_json)


@command(
    main,
    "paretina probe runs/photos-resnet18-1\nparetina probe runs/photos-resnet18-1 other-photos/ --untrained",
    short_help="Judge the features of a trained network.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", metavar="[DATA]", required=False)
@click.option("--size", type=click.IntRange(1), default=None, help="Image size in pixels.  [that of MODEL]")
@click.option("--neighbours", type=click.IntRange(1), default=20, help="Nearest training pictures that vote.  [20]")
@click.option("--untrained", is_flag=True, help="Judge the same network with random weights too.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
def probe(
    model: Path, source: str | None, size: int | None, neighbours: int, untrained: bool, device: str, as_json: bool
) -> None:
    """Judge the features of MODEL, a model file or the directory of a finished run, on DATA (that of its run).

    A logistic regression on the frozen features of the training pictures, and the vote of the nearest of them, on the
    validation pictures.
    """
    from paretina import verbs

    with waiting("computing features"):
        found = verbs.probe(model, source, size, neighbours, untrained, device)
    if as_json:
        print_json(found.to_dict())
        return
    print_lines(found.lines())


@command(
    main,
    "paretina ensemble runs/photos-resnet18-1 runs/photos-efficientnet_b0-1 --out both.safetensors",
    short_help="Join trained models into one that averages their answers.",
)
@click.argument("models", metavar="MODEL MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model file to write.")
def ensemble(models: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Join MODELs, model files or directories of finished runs, into one file that averages their logits.

    All must have the same classes and preprocessing. The file predicts, evaluates, ships and teaches like any other.
    """
    from paretina import verbs

    found = verbs.ensemble(models, out)
    if as_json:
        print_json(found.to_dict())
        return
    print_lines(found.lines())


@command(
    main,
    "paretina selftrain runs/photos-efficientnet_b0-1 more-photos/\n"
    "paretina selftrain runs/photos-efficientnet_b0-1 more-photos/ --order greedy --rounds 6 --confidence 0.5",
    cls=FieldCommand,
    short_help="Train a model on from its own labels of further pictures.",
)
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("source", metavar="PICTURES")
@click.argument("fields", metavar="[FIELD=VALUE]...", nargs=-1)
@click.option("--rounds", type=click.IntRange(1), default=4, show_default=True, help="Number of rounds.")
@click.option(
    "--order",
    default="random",
    help="What a round trains on: random (labelled or pseudo-labelled pictures), greedy (the better), fixed (both), or "
    "labelled, the control.  [random]",
)
@click.option("--confidence", type=float, default=0.0, help="Probability from which a pseudo-label is used.  [0]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the random order.  [0]")
@click.option("--recipe", "-r", default=None, help="A name from `paretina recipes`.  [finetune]")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Directory of the rounds; default: beside the run.")
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
def selftrain(
    run: Path,
    source: str,
    fields: tuple[str, ...],
    rounds: int,
    order: str,
    confidence: float,
    seed: int,
    recipe: str | None,
    output: Path | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Train RUN on from PICTURES without labels, which it labels for itself, and from its own labelled pictures, in turn.

    In each round the model labels PICTURES anew. Labelled and pseudo-labelled pictures are not mixed by default, since a model
    that learns from both at once confirms its own mistakes from round to round.
    """
    from paretina import verbs
    from paretina.cli.train import interrupted
    from paretina.progress import Progress

    progress = Progress()
    options: dict[str, Any] = {
        "rounds": rounds,
        "order": order,
        "confidence": confidence,
        "seed": seed,
        "output": output,
        "recipe": recipe,
    }
    try:
        with progress:
            progress.doing("reading the pictures")
            given: dict[str, Any] = dict(taken_apart(fields))
            found = verbs.selftrain(run, source, **options, device=device, listen=progress.listen, say=progress.say, **given)
    except KeyboardInterrupt as stopped:
        error = interrupted(progress.run, str(stopped))
        if progress.run is not None:
            more = "that ends this round alone; for further rounds start selftrain again, from the last run that is done"
            error = FailedError(f"{error}\n{more}", error.code, **error.more)
        raise error from None
    if as_json:
        print_json(found.to_dict())
        return
    print_lines(found.lines())
