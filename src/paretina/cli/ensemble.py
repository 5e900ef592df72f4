"""The command `paretina ensemble`."""

from pathlib import Path

import click

from paretina.cli.program import command, main, print_json, print_lines


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
