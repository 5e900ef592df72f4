"""Full crosses of lists, of which the usual tests run a selection and `make test-slow` the rest.

The rule: what is run for one list of plug-ins is run for all of them by the usual tests. What is run for a plug-in beside each
value of other lists is run there for a covering selection, the same at each run, in which every plug-in stands and every
combination of the others: a new file is always checked.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest


def covering(first: Sequence[Any], *others: Sequence[Any], each: int = 1) -> list[Any]:
    """The full cross, as parameters of a test; what is not in the selection is slow.

    Args:
        first: the plug-ins.
        each: with how many combinations of the others each of them is run by the usual tests; where the others have more
            combinations than the list has plug-ins, they are shared among them, so that it may be more.
    """
    combinations = list(itertools.product(*others))
    rows, turns = max(len(first), len(combinations)), min(each, len(combinations))
    # each turn begins elsewhere, and none with itself where the lists are the same
    chosen = {
        (row % len(first), (row + 1 + turn * len(combinations) // turns) % len(combinations))
        for row in range(rows)
        for turn in range(turns)
    }
    return [
        pytest.param(value, *combination, marks=[] if (here, there) in chosen else pytest.mark.slow)
        for here, value in enumerate(first)
        for there, combination in enumerate(combinations)
    ]


def few(rows: Sequence[Any], usual: int = 1) -> list[Any]:
    """Values or rows of one parameter that do not stand for plug-ins: the first of them, and the others, which are slow."""
    return [
        row if number < usual else pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=pytest.mark.slow)
        for number, row in enumerate(rows)
    ]
