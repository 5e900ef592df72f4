"""The command `paretina probe`."""

from pathlib import Path

import click

from paretina.cli.program import command, main, print_json, print_lines, waiting


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
