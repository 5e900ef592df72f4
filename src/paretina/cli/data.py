"""The command `paretina data`."""

import click

from paretina.cli.program import CONTEXT, Suggesting, command, example, main, print_json, print_lines, waiting


@main.group(
    cls=Suggesting, context_settings=CONTEXT, epilog=example("paretina data check photos/\nparetina data more all-photos/")
)
def data() -> None:
    """Look at a folder of pictures."""


@command(
    data,
    "paretina data check photos/",
    name="check",
    short_help="Check classes, counts, sizes, unreadable pictures and duplicates.",
)
@click.argument("source", metavar="DATA")
def data_check(source: str, as_json: bool) -> None:
    """Check classes, counts, sizes, unreadable pictures, and duplicates or near-duplicates within and across splits.
    Warns if `paretina train` would refuse the data because too many pictures cannot be read.

    DATA is {data}.
    """
    from paretina import verbs

    with waiting("checking every picture"):
        report = verbs.data_check(source)
    if as_json:
        print_json(report.to_dict())
    else:
        print_lines(report.lines())


@command(
    data,
    "paretina data more all-photos/\nparetina data more all-photos/ --model runs/photos-efficientnet_b0-1 --size 160",
    name="more",
    short_help="Tell whether more pictures would help, from a learning curve.",
)
@click.argument("source", metavar="DATA")
@click.option(
    "--model",
    "-m",
    default=None,
    help="Whose features are used: a model file, a run, or a name from `paretina models` with weights.  [efficientnet_lite0]",
)
@click.option("--size", type=click.IntRange(1), default=None, help="Image size in pixels.  [that of the network]")
@click.option("--repeats", type=click.IntRange(2), default=5, help="How often pictures are drawn for each share.  [5]")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the drawing.  [0]")
def data_more(source: str, model: str | None, size: int | None, repeats: int, device: str, seed: int, as_json: bool) -> None:
    """Tell whether more pictures would help, and for which classes.

    Linear classifiers on frozen features are fitted to rising shares of the training pictures of DATA, {data}; a power law
    through their errors predicts what twice and four times as many would give, with 95 % intervals. It is checked by predicting
    the whole set from parts of it.
    """
    from paretina import verbs

    with waiting("computing features and fitting classifiers"):
        found = verbs.data_more(source, model, size, repeats, device, seed)
    if as_json:
        print_json(found.to_dict())
    else:
        print_lines(found.lines())
