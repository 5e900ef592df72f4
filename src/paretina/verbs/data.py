"""Data check: checks every picture of a source."""

from paretina.data.check import Report, check
from paretina.data.named import source_named
from paretina.data.source import Source
from paretina.train.recipe import Recipe
from paretina.verbs.checks import misuse


def data_check(data: str | Source) -> Report:
    """Checks every picture of a source: classes, counts, sizes, unreadable pictures, duplicates and near-duplicates.

    The report says if `train` would refuse the data with the default `max_damaged`.

    Raises:
        ValueError: there is no such source, or nothing in it can be used.
    """
    with misuse():
        source = source_named(data)
    return check(source.open(), max_damaged=Recipe().max_damaged)
