"""The command `paretina distill`."""

from pathlib import Path

import click

from paretina.cli.learning import learning_options
from paretina.cli.planning import planning_named
from paretina.cli.program import FieldCommand, command, duration, main, taken_apart
from paretina.text import how_many


@command(
    main,
    "paretina distill runs/photos-efficientnet_b0-1 photos/ --model resnet18\n"
    "paretina distill runs/photos-efficientnet_b0-1 more-photos/ --val photos/ --model resnet18 epochs=100\n"
    "paretina distill runs/photos-resnet18-1 photos/ --model runs/photos-resnet18-1 --blockwise model.quantiser=Dorefa",
    cls=FieldCommand,
    short_help="Train a network on what a trained one says of the pictures.",
)
@click.argument("teacher", metavar="TEACHER")
@click.argument("rest", metavar="[DATA] [FIELD=VALUE]...", nargs=-1)
@click.option("--model", "-m", required=True, help="The student: a name from `paretina models`, or a trained network.")
@click.option("--val", default=None, help="Labelled pictures to judge the student on, where DATA has no labels.")
@click.option(
    "--teacher-size", type=click.IntRange(1), default=None, help="Image size in pixels of the teacher.  [that of the student]"
)
@click.option("--recipe", "-r", default=None, help="A name from `paretina recipes`.  [distill]")
@click.option(
    "--weights", metavar="WORD|FILE", default=None, help="Weights that the student starts from, as in `paretina train`.  [auto]"
)
@click.option("--blockwise", is_flag=True, help="Match the teacher's maps stage by stage, in periods; see below.")
@click.option(
    "--period-epochs", type=float, default=None, help="Epochs of each period before the last.  [0.2 of those of the last]"
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
    blockwise: bool,
    period_epochs: float | None,
    config: Path | None,
    output: Path | None,
    device: str | None,
    time_limit: str | None,
    tuning: str,
    plan: str | None,
    log_to: str | None,
    print_config: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a student on what TEACHER says of the pictures; labels are not used.

    TEACHER is a model file, the directory of a finished run, or timm:NAME. It sees the student's very view of each picture of
    DATA (that of its run, or any folder of pictures, with the same classes or without labels), and every batch is blended. It
    is patient work: the longer the run, the smaller the gap. To extend a run, start the next one from its weights:
    --weights runs/first/model.safetensors.

    --blockwise gives a changed network its accuracy back: one of few bits (model.quantiser=Dorefa), of other operators
    (edits.PlainOperators=on), or with fewer channels. It matches the map behind the stem, then one stage more in each period,
    and in the last one, which has the epochs of the recipe, all of them and the logits. An interrupted one is continued by
    `paretina train --resume DIR`, or with --output by the same command.
    """
    from paretina import verbs
    from paretina.cli.train import finished, show_config, tried

    source, fields = (rest[0], rest[1:]) if rest and ("=" not in rest[0] or Path(rest[0]).exists()) else (None, rest)
    seconds = None if time_limit is None else duration(time_limit)
    given, planning = taken_apart(fields), planning_named(tuning, plan)
    verbs.check_periods(blockwise, period_epochs, seconds)
    choice = verbs.ask_distilled(teacher, source, model, val, teacher_size, recipe, weights, device, config, given, blockwise)
    if print_config:
        show_config(choice, as_json)
        return
    if dry_run:
        stages = ""
        if blockwise:
            count, epochs = verbs.periods_of(choice, period_epochs)
            stages = f"periods {count + 1}: this is for the last; before it {count} of {how_many(epochs, 'epoch', 'g')} each"
        tried(choice, output, seconds, as_json, stages=stages)
        return
    if blockwise:
        periods, following = (choice, period_epochs, output), (planning, log_to or ())
        finished(lambda progress: verbs.distill_blockwise(*periods, progress.listen, progress.say, *following), output, as_json)
        return
    begun, then = (choice, output, seconds), (planning, log_to or ())
    finished(lambda progress: verbs.start(*begun, progress.listen, progress.say, *then), None, as_json)
