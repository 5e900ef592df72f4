"""Data check: looks at every picture of a source."""

from paretina.data.check import Report, check
from paretina.data.named import source_named
from paretina.data.source import Source
from paretina.train.recipe import Recipe
from paretina.verbs.checks import misuse


def data_check(data: str | Source) -> Report:
    """Looks at every picture of a source: classes, counts, sizes, faults, and pictures that are there twice or nearly so.

    Says so where `train` would refuse it as it is, by the default of `max_damaged`.

    Raises:
        ValueError: there is no such source, or nothing in it can be used.
    """
    with misuse():
        source = source_named(data)
    return check(source.open(), max_damaged=Recipe().max_damaged)
