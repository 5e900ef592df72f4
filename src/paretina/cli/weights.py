"""The commands `paretina import` and `paretina export-weights`, for weights of other libraries."""

from pathlib import Path

import click

from paretina.cli.program import command, main, note, print_json, print_lines, waiting
from paretina.text import how_many


@command(
    main,
    "paretina import efficientnet_lite0\n"
    "paretina import timm:tf_efficientnet_b0.ns_jft_in1k --out b0.safetensors\n"
    "paretina import torchvision:resnet50.IMAGENET1K_V2\n"
    "paretina import checkpoint.pth --network resnet50 --classes names.txt",
    name="import",
    short_help="Convert weights of timm, torchvision or a file to a model file.",
)
@click.argument("source")
@click.option("--network", "-n", default=None, help="Network of a FILE: a name from `paretina models`, or timm:NAME[.TAG].")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), default=None, help="Model file to write; default: named after SOURCE."
)
@click.option("--classes", type=click.Path(path_type=Path), default=None, help="Text file with one class name per line.")
@click.option("--licence", default=None, help="Licence of the weights, if SOURCE does not state it.")
def import_(
    source: str, network: str | None, out: Path | None, classes: Path | None, licence: str | None, as_json: bool
) -> None:
    """Convert pretrained weights to a model file.

    SOURCE is timm:NAME[.TAG] or torchvision:NAME[.WEIGHTS], which that library downloads; a name from `paretina models` whose
    weights come with an installed package; or a FILE with a state dict (safetensors or torch). Nothing in a file is executed.

    The preprocessing comes from the source. A FILE rarely states it: with --network timm:NAME[.TAG] or
    torchvision:NAME[.WEIGHTS] that library's preprocessing is used, otherwise that of the network here, and a note says which.
    A file written by `paretina export-weights` states it and needs no --network.
    """
    from paretina import verbs

    with waiting("reading the weights"):
        written = verbs.import_weights(source, network, out, classes, licence)
    if as_json:
        print_json(written.to_dict())
        return
    for text in written.notes:
        note(text)
    about, blueprint = written.about, written.blueprint
    click.echo(f"{written.name}, {how_many(blueprint.classes, 'class', ',')}, tested at {blueprint.resolution} pixels")
    click.echo(f"pictures: {written.prepared}")
    print_lines([f"{about.origin}; licence: {about.licence or 'not known'}", f"model: {written.path}"])


@command(
    main,
    "paretina export-weights runs/photos-resnet50-1 --to timm --out weights.safetensors",
    name="export-weights",
    short_help="Export weights as a state dict for timm or torchvision.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--to", required=True, help="timm or torchvision.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), default=None, help="Output file; default: named after the network."
)
def export_weights(model: Path, to: str, out: Path | None, as_json: bool) -> None:
    """Export the weights of a model as the state dict that timm or torchvision has for the same network.

    Class names and preprocessing are stored in the file's header; the Python code that loads the file there and applies the
    same preprocessing is printed, ready to paste.

    MODEL is a model file or the directory of a finished run.
    """
    from paretina import verbs

    with waiting("converting the weights"):
        written = verbs.export_weights(model, to, out)
    if as_json:
        print_json(written.to_dict())
        return
    for text in written.notes:
        note(text)
    print_lines([f"weights of {to}'s {written.name}: {written.path}"])
    click.echo(f"pictures: {written.prepared}\n\n{written.lines}")
