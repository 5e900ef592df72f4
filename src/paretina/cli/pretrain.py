"""The command `paretina pretrain`."""

from pathlib import Path

import click

from paretina.cli.learning import learning_options
from paretina.cli.planning import planning_named
from paretina.cli.program import FieldCommand, command, duration, main, taken_apart

JUDGE = (
    "that is of a linear layer, trained on the labels beside what learns without them; judge the features with: "
    "paretina probe {run}"
)
"""What the accuracy of such a run is of."""


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
    log_to: str | None,
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
    begun, then = (choice, output, seconds), (planning, log_to or ())
    finished(lambda progress: verbs.start(*begun, progress.listen, progress.say, *then), None, as_json, JUDGE)
