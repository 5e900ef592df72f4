"""The command `paretina explain`."""

from pathlib import Path

import click

from paretina.cli.program import command, main, print_json, print_lines, waiting

METHODS = "cam, grad-cam, grad-cam++, xgrad-cam, hires-cam, layer-cam, eigen-cam, occlusion, kept-tokens"
"""As in `paretina.ship.maps`, which need torch."""


@command(
    main,
    "paretina explain runs/photos-efficientnet_lite0-1 a.jpg b.jpg\n"
    "paretina explain runs/photos-efficientnet_lite0-1 folder/ --beside other.safetensors --method layer-cam --faithful",
    short_help="Show where a model looks.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--beside", type=click.Path(path_type=Path), multiple=True, help="Another model on the same sheet; repeatable.")
@click.option("--method", default="auto", help=f"One of {METHODS}.  [auto]")
@click.option("--class", "of", default=None, metavar="NAME", help="Class to explain.  [the one that the model answers]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("explained"), help="Directory to write to.  [explained]")
@click.option("--faithful", is_flag=True, help="Also measure whether the maps are true, on these pictures.")
@click.option("--trust", is_flag=True, help="Open a file of torch.export, which can run code.")
def explain(
    model: Path,
    paths: tuple[Path, ...],
    beside: tuple[Path, ...],
    method: str,
    of: str | None,
    out: Path,
    faithful: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Show where a model looks: a map over each picture, and a sheet of all of them.

    MODEL is a model file, the directory of a finished run, or a file that `paretina ship` has written.
    """
    from paretina import verbs
    from paretina.verbs.explaining import summary

    with waiting("looking"):
        found = verbs.explain((model, *beside), paths, method, of, out, faithful, trust)
    if as_json:
        print_json(found.to_dict())
        return
    print_lines(summary(found))
