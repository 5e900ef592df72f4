"""The command `paretina data`."""

from pathlib import Path
from typing import Any

import click

from paretina.cli.program import CONTEXT, Suggesting, command, example, main, note, print_json, print_lines, waiting

GROUPS = "Pictures that belong together: folder, a pattern with parentheses, or a .csv file, as for `paretina train`."


def described(source: str, fields: tuple[str, ...], groups: str | None) -> Any:
    """The data as it is named, or as a source where fields say more about it."""
    if not fields and groups is None:
        return source
    from paretina.cli.train import check_groups
    from paretina.data.named import source_named
    from paretina.data.sources.several import spread
    from paretina.spec import put
    from paretina.train.fields import assignment
    from paretina.verbs.checks import misuse

    if groups is not None:
        check_groups(source, groups)
    with misuse():
        found = source_named(source)
        given = [*map(assignment, fields), *([] if groups is None else [("data.groups", groups)])]
        for name, value in given:
            for path, each in spread(found, {f"data.{name.removeprefix('data.')}": value}).items():
                found = put(found, path.removeprefix("data."), each)
        return found


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
@click.argument("fields", metavar="[data.FIELD=VALUE]...", nargs=-1)
@click.option("--groups", default=None, help=GROUPS)
def data_check(source: str, fields: tuple[str, ...], groups: str | None, as_json: bool) -> None:
    """Check classes, counts, sizes, unreadable pictures, and duplicates or near-duplicates within and across splits.
    Warns if `paretina train` would refuse the data because too many pictures cannot be read. The exit code is 1 if a picture
    cannot be read, for use in scripts; duplicates leave it at 0.

    DATA is {data}.
    """
    from paretina import verbs

    with waiting("checking every picture"):
        report = verbs.data_check(described(source, fields, groups))
    if as_json:
        print_json(report.to_dict())
    else:
        print_lines(report.lines())
    if report.faults:
        click.get_current_context().exit(1)


@command(
    data,
    "paretina data labels photos/ --csv labels.csv --html labels.html",
    name="labels",
    short_help="Find labels that are likely wrong.",
)
@click.argument("source", metavar="DATA")
@click.argument("fields", metavar="[data.FIELD=VALUE]...", nargs=-1)
@click.option("--groups", default=None, help=GROUPS)
@click.option(
    "--model",
    "-m",
    default=None,
    help="Network whose features are used: a name, a model file or a run.  [the smallest with weights on this machine]",
)
@click.option("--folds", type=click.IntRange(2), default=5, help="Parts, each judged by a fit to the others.  [5]")
@click.option("--split", default=None, help="Split of DATA to look at.  [train and val]")
@click.option("--size", type=click.IntRange(1), default=None, help="Image size in pixels.  [that of the network]")
@click.option("--csv", type=click.Path(path_type=Path), help="Write a table to edit, which `paretina train --relabel` takes.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with the pictures.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
def data_labels(
    source: str,
    fields: tuple[str, ...],
    groups: str | None,
    model: str | None,
    folds: int,
    split: str | None,
    size: int | None,
    csv: Path | None,
    html: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Find labels that are likely wrong: linear classifiers on the features of a trained network, each fitted to a part of
    the pictures, judge the others (confident learning).

    DATA is {data}. In the table, write yes under keep where the given label is right, another class under suggested where
    that is right, or - there to leave the picture out.
    """
    from paretina import verbs

    with waiting("computing features"):
        found = verbs.data_labels(described(source, fields, groups), model, folds, split, size, device, csv, html)
    if as_json:
        print_json(found.to_dict())
        return
    for text in found.notes:
        note(text)
    print_lines(found.lines())
    written = [f"{what}: {path}" for what, path in (("table", csv), ("page", html)) if path is not None]
    print_lines(written)


@command(
    data,
    "paretina data more all-photos/\nparetina data more all-photos/ --model runs/photos-efficientnet_b0-1 --size 160",
    name="more",
    short_help="Tell whether more pictures would help, from a learning curve.",
)
@click.argument("source", metavar="DATA")
@click.argument("fields", metavar="[data.FIELD=VALUE]...", nargs=-1)
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
def data_more(
    source: str,
    fields: tuple[str, ...],
    model: str | None,
    size: int | None,
    repeats: int,
    device: str,
    seed: int,
    as_json: bool,
) -> None:
    """Tell whether more pictures would help, and for which classes.

    Linear classifiers on frozen features are fitted to rising shares of the training pictures of DATA, {data}; a power law
    through their errors predicts what twice and four times as many would give, with 95 % intervals. It is checked by predicting
    the whole set from parts of it.
    """
    from paretina import verbs

    with waiting("computing features and fitting classifiers"):
        found = verbs.data_more(described(source, fields, None), model, size, repeats, device, seed)
    if as_json:
        print_json(found.to_dict())
    else:
        print_lines(found.lines())


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
