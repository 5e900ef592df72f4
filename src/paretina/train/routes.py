"""Reads `--routes` and `--budget` of a network that chooses its image size. Needs no torch."""

import json
import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from paretina.spec import near

COSTED = ("macs", "activations", "bytes_moved")
"""The costs that a budget can limit; as `paretina.train.objectives.routing.Costed`."""

UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}

USUAL_BUDGET = "macs=0.6x"

FIRST_STAGE = 0.7
"""Epochs of the first stage as a share of those of the second; 70 and 100 in the paper (arXiv:2106.02898)."""

SLOWER = 0.1
"""Factor on the learning rate of the predictor, as there."""


@dataclass(frozen=True)
class RouteBudget:
    """What a picture may cost on average.

    Attributes:
        cost: one of `COSTED`.
        share: of the cost of the network at the largest size; None where there is an amount.
        amount: in units of the cost.
    """

    cost: str
    share: float | None = None
    amount: float | None = None


def sizes_named(text: str) -> tuple[int, ...]:
    """Reads `112,168,224`.

    Raises:
        ValueError: these are not two sizes or more that rise.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ValueError(f"sizes are whole numbers of pixels, separated by commas, such as 112,168,224; got {text!r}")
    sizes = tuple(map(int, words))
    if len(sizes) < 2:
        raise ValueError(f"there is nothing to choose from with one size, {sizes[0]}; give two or more, such as 112,168,224")
    if any(before >= after for before, after in pairwise(sizes)):
        rising = sorted(set(sizes))
        better = f"; write {','.join(map(str, rising))}" if len(rising) > 1 else "; give two that differ"
        raise ValueError(f"each size must be larger than the one before it, got {text}{better}")
    if len(sizes) > 16:
        raise ValueError(f"there may be 16 sizes at most, got {len(sizes)}")
    return sizes


def route_budget(text: str) -> RouteBudget:
    """Reads `macs=0.6x`, a share of the cost at the largest size, or `macs=1.2G`, an amount.

    Raises:
        ValueError: there is no such cost, or the limit is not a number above 0.
    """
    looks = "a budget looks like macs=0.6x, a share of the cost at the largest size, or macs=1.2G, an amount"
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise ValueError(f"{looks}; got {text!r}")
    if name not in COSTED:
        raise ValueError(f"there is no cost {name!r} to limit{near(name, COSTED)}")
    found = re.fullmatch(r"([-+.\deE]+?)(x|k|M|G)?", value)
    try:
        limit = float(found[1]) if found else math.nan
    except ValueError:
        limit = math.nan
    if found is None or not 0 < limit < math.inf:
        raise ValueError(f"{looks}; got {text!r}")
    if found[2] == "x":
        return RouteBudget(name, share=limit)
    return RouteBudget(name, amount=limit * UNITS[found[2] or ""])


def route_fields(routes: str, budget: str | None) -> dict[str, str]:
    """The fields of the first stage that `--routes` and `--budget` stand for.

    Raises:
        ValueError: one of them cannot be read; the message begins with its option.
    """
    try:
        sizes = sizes_named(routes)
    except ValueError as error:
        raise ValueError(f"--routes: {error}") from None
    try:
        limit = route_budget(budget or USUAL_BUDGET)
    except ValueError as error:
        raise ValueError(f"--budget: {error}") from None
    target = {"objective.share": f"{limit.share!r}"} if limit.amount is None else {"objective.amount": f"{limit.amount!r}"}
    return {
        "assembly": json.dumps({"kind": "Route", "sizes": list(sizes)}),
        "objective": "Routing",
        "objective.stage": "sizes",
        "objective.cost": limit.cost,
        **target,
    }


def check_routes(routes: str | None, budget: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """The fields by name, with those that `--routes` and `--budget` stand for; unchanged without them.

    Raises:
        ValueError: they cannot be read, only the second is there, or a field that they set is given too.
    """
    if routes is None:
        if budget is not None:
            raise ValueError("--budget is what the sizes of --routes may cost on average; give both, or leave it out")
        return given
    own = route_fields(routes, budget)
    for name in given:
        path = name.removeprefix("recipe.")
        if path in own or path == "assembly" or path.startswith("assembly."):
            raise ValueError(f"--routes sets {name}, which is also given; leave one out")
    return {**own, **given}
