"""The command `paretina selftrain`."""

from pathlib import Path
from typing import Any

import click

from paretina.cli.program import INTERRUPTED, FailedError, FieldCommand, command, main, print_json, print_lines, taken_apart


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
@click.option("--rounds", type=click.IntRange(1, 1000), default=4, show_default=True, help="Number of rounds.")
@click.option(
    "--order",
    default="random",
    help="What a round trains on: random (labelled or pseudo-labelled pictures), greedy (the better), fixed (both), or "
    "labelled, the control.  [random]",
)
@click.option("--confidence", type=float, default=0.0, help="Probability from which a pseudo-label is used.  [0]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the random order.  [0]")
@click.option("--recipe", "-r", default=None, help="A name from `paretina recipes`.  [finetune]")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Directory of the rounds; default: beside the run, the next free one.",
)
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
    that learns from both at once confirms its own mistakes from round to round. The same command continues an interrupted one.
    """
    from paretina import verbs
    from paretina.progress import Progress
    from paretina.run import command_line

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
    except KeyboardInterrupt:
        again = command_line()
        raise FailedError(f"interrupted; the same command continues where it was\n  {again}", INTERRUPTED) from None
    if as_json:
        print_json(found.to_dict())
        return
    print_lines(found.lines())
