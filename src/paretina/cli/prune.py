"""The command `paretina prune`."""

from pathlib import Path
from typing import Any

import click

from paretina.cli.program import FailedError, FieldCommand, command, duration, main, print_json, print_lines, taken_apart

GATE = 3
"""Exit code where the result is no gain."""


@command(
    main,
    "paretina prune runs/photos-efficientnet_lite0-1 --target 0.5x\n"
    "paretina prune runs/photos-efficientnet_lite0-1 --cost macs --target 0.3x epochs=10 --output runs/small",
    cls=FieldCommand,
    short_help="Take channels out of a trained model until it costs a share of the time.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("rest", metavar="[DATA] [FIELD=VALUE]...", nargs=-1)
@click.option("--cost", default="latency_ms", help="What is lowered: latency_ms, macs or params.  [latency_ms]")
@click.option("--target", default="0.5x", help="Share of the cost that may be left.  [0.5x]")
@click.option("--importance", default="taylor", help="What channels are chosen by: taylor or magnitude.  [taylor]")
@click.option("--multiple", type=click.IntRange(1), default=8, help="Widths become multiples of this.  [8]")
@click.option("--recipe", "-r", default="recover", help="Recipe of the training after the cut.  [recover]")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Run directory; default: the next free one in runs/.")
@click.option("--device", default=None, help="Of the training: auto, cpu, cuda, cuda:1 or mps.  [auto]")
@click.option("--time-limit", default=None, help="Time for the training after the cut: 90s, 10m, 2h.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=4.0, help="Time of each measurement.  [4]")
def prune(
    model: Path,
    rest: tuple[str, ...],
    cost: str,
    target: str,
    importance: str,
    multiple: int,
    recipe: str,
    output: Path | None,
    device: str | None,
    time_limit: str | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Take channels out of MODEL, a model file or the directory of a finished run, until a share of its cost is left.

    Channels go in groups over the whole network, those first that are worth the least for what they cost. What is left is
    trained on DATA (the data of the run), with the original as teacher, and compared with the original: accuracy on the same
    validation pictures, and time in turn. The exit code is 3 if it did not become faster, or missed the target by more than
    a tenth. Fields are those of the recipe: epochs=10.
    """
    from paretina import verbs
    from paretina.cli.train import interrupted
    from paretina.progress import Progress

    source, fields = (rest[0], rest[1:]) if rest and ("=" not in rest[0] or Path(rest[0]).exists()) else (None, rest)
    limit = None if time_limit is None else duration(time_limit)
    options: dict[str, Any] = {"cost": cost, "target": share(target), "importance": importance, "multiple": multiple}
    options |= {"output": output, "recipe": recipe, "device": device, "time_limit": limit, "seconds": seconds}
    progress = Progress()
    try:
        with progress:
            progress.doing("reading the model")
            given: dict[str, Any] = dict(taken_apart(fields))
            found = verbs.prune(model, source, **options, listen=progress.listen, say=progress.say, **given)
    except KeyboardInterrupt as stopped:
        raise interrupted(progress.run, str(stopped)) from None
    if as_json:
        if found.trouble:
            raise FailedError(found.trouble, GATE, **found.to_dict())
        print_json(found.to_dict())
        return
    print_lines(
        [*found.lines(), f"model:  {found.run.path / 'model.safetensors'}", f"report: {found.run.path / 'report.html'}"]
    )
    if found.trouble:
        raise FailedError(found.trouble, GATE)


def share(text: str) -> float:
    """A share of the cost: 0.5x, 0.5 or 50%.

    Raises:
        MisuseError: it is none.
    """
    from paretina.verbs import MisuseError

    plain = text.strip()
    try:
        return float(plain[:-1]) / 100 if plain.endswith("%") else float(plain.removesuffix("x"))
    except ValueError:
        raise MisuseError(f"--target is a share of the cost, such as 0.5x or 50%, got {text!r}") from None
