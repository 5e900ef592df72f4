"""The command `paretina report`."""

from pathlib import Path

import click

from paretina.cli.program import command, main, note, print_json


@command(main, "paretina report runs/*", short_help="Write reports, and compare several runs.")
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=None,
    help="Where the comparison of several runs goes.  [comparison.html]",
)
def report(runs: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    """Write the report of each run, and of several a comparison; made from the run directories alone.

    Of several, what is no run is named and left out.
    """
    from paretina import verbs

    found = verbs.report(runs, output)
    for reason in found.left_out.values():
        note(f"left out: {reason}")
    if as_json:
        print_json(found.to_dict())
        return
    for path in found.written:
        click.echo(path)
