"""The command `paretina data`."""

import click

from paretina.cli.program import CONTEXT, Suggesting, command, example, main, print_json, print_lines, waiting


@main.group(cls=Suggesting, context_settings=CONTEXT, epilog=example("paretina data check photos/"))
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
    Warns if `paretina train` would refuse the data because too many pictures cannot be read. The exit code is 1 if a picture
    cannot be read, for use in scripts; duplicates leave it at 0.

    DATA is {data}.
    """
    from paretina import verbs

    with waiting("checking every picture"):
        report = verbs.data_check(source)
    if as_json:
        print_json(report.to_dict())
    else:
        print_lines(report.lines())
    if report.faults:
        click.get_current_context().exit(1)
