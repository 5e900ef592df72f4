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
    "paretina data cache\nparetina data cache --clear",
    name="cache",
    short_help="Show or clear the cache of decoded pictures.",
)
@click.argument("source", metavar="[FOLDER]", required=False)
@click.option("--clear", is_flag=True, help="Remove what is cached; runs in progress decode their pictures again.")
def data_cache(source: str | None, clear: bool, as_json: bool) -> None:
    """Show what `paretina train --cache-gb` has cached, for all data or for the pictures in FOLDER, or remove it."""
    from paretina import verbs

    found = verbs.data_cache(source, clear)
    if as_json:
        print_json(found.to_dict())
    else:
        print_lines(found.lines())
