"""The command `paretina data`."""

import click

from paretina.cli.program import CONTEXT, Suggesting, command, example, main, print_json, print_lines, waiting


@main.group(cls=Suggesting, context_settings=CONTEXT, epilog=example("paretina data check photos/"))
def data() -> None:
    """Look at a folder of pictures."""


@command(data, "paretina data check photos/", name="check", short_help="Classes, counts, sizes, faults, copies.")
@click.argument("source", metavar="DATA")
def data_check(source: str, as_json: bool) -> None:
    """Classes, counts, sizes, faults, and pictures that are there twice or nearly so, within a split and across splits.
    Says so where `paretina train` would refuse the data, since too many pictures cannot be read.

    DATA is {data}.
    """
    from paretina import verbs

    with waiting("looking at every picture"):
        report = verbs.data_check(source)
    if as_json:
        print_json(report.to_dict())
    else:
        print_lines(report.lines())
