"""The command `paretina finetune`."""

from pathlib import Path

import click

from paretina.cli.planning import planning_named, planning_options
from paretina.cli.tracking import follow_option

EXAMPLE = (
    "paretina finetune runs/photos-g16_efficientnet_b0-1 --resolution 224\n"
    "paretina finetune runs/photos-efficientnet_b0-1 other-photos/ epochs=10 lr_decay=0.7 frozen='[\"stem\"]'\n"
    "paretina finetune runs/photos-resnet18-1 labelled-photos/ --labels 0.1\n"
    "paretina finetune runs/photos-efficientnet_b0-1 --recipe recover teacher=runs/photos-efficientnet_b0-1 "
    "model.activation=HardSwish\n"
    "paretina finetune runs/photos-efficientnet_b0-1 --recipe quantised teacher=runs/photos-efficientnet_b0-1"
)


@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("rest", metavar="[DATA] [FIELD=VALUE]...", nargs=-1)
@click.option("--resolution", type=click.IntRange(1), default=None, help="Image size in pixels for training and testing.")
@click.option(
    "--trainable-stages",
    "--tail",
    "stages",
    default=None,
    help="What is trained: head, or the head and this many last stages.  [head for --resolution, else all]",
)
@click.option(
    "--labels",
    type=click.FloatRange(0, 1, min_open=True),
    default=None,
    help="Share of the training pictures of each class that is used: 0.1.  [all]",
)
@click.option("--recipe", "-r", default=None, help="A name from `paretina recipes`.  [test-resolution, or finetune for DATA]")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="YAML or JSON file of fields, by the same names.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Run directory; default: the next free one in runs/.")
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
@click.option("--time-limit", default=None, help="Fit the schedule into this time: 90s, 10m, 2h.")
@planning_options
@follow_option
@click.option("--print-config", is_flag=True, help="Print every field and where its value came from, without training.")
@click.option(
    "--dry-run", is_flag=True, help="Print what would be done, with an estimate of time and memory, without training."
)
def finetune(
    model: Path,
    rest: tuple[str, ...],
    resolution: int | None,
    stages: str | None,
    labels: float | None,
    recipe: str | None,
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
    """Fine-tune MODEL, a model file or the directory of a finished run.

    With --resolution the head is adapted to that image size, with test-time preprocessing, for two epochs on the data of its
    run. With DATA the model is trained on other pictures: classes that MODEL knows by name keep their weights in the last
    layer, others are initialised anew. With a --recipe alone it is trained on the data of its run: recover for a network that
    fields change, quantised for int8. The field size=SIZE sets the image size otherwise, and test_size=SIZE one for testing.
    """
    from paretina import verbs
    from paretina.cli.program import duration, print_lines, taken_apart
    from paretina.cli.train import finished, show_config, tried

    source, fields = (rest[0], rest[1:]) if rest and ("=" not in rest[0] or Path(rest[0]).exists()) else (None, rest)
    seconds = None if time_limit is None else duration(time_limit)
    given, planning = taken_apart(fields), planning_named(tuning, plan)
    if stages is not None:
        if stages != "head" and not stages.isdecimal():
            raise verbs.MisuseError(
                f"--trainable-stages takes head or a number of stages at the end, such as 2, got {stages!r}"
            )
        verbs.check_names(given)
        verbs.check_parts({"--trainable-stages": stages}, given)
        given["trainable_stages"] = "0" if stages == "head" else stages
    choice, notes = verbs.ask_further(model, source, resolution, recipe, device, config, given, labels)
    for text in notes:
        print_lines([text], err=True)
    if print_config:
        show_config(choice, as_json)
        return
    if dry_run:
        tried(choice, output, seconds, as_json)
        return
    begun, then = (choice, output, seconds), (planning, log_to or ())
    finished(lambda progress: verbs.start(*begun, progress.listen, progress.say, *then), None, as_json)
