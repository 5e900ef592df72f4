"""The training methods that fit a baseline, as changes of it at equal epochs and at equal time.

A method is an objective or a term of the loss that says by which fields it is switched on (`switched_on`); which ones there are
is found, not listed. What a method does not fit is its own to say (`check`).
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

from paretina.search.ablation.study import trainable
from paretina.search.ablation.switches import Switch
from paretina.spec import kinds
from paretina.text import how_many
from paretina.train import estimate
from paretina.train.asked import Asked
from paretina.train.objective import Objective, Term
from paretina.train.resolve import Prepared, prepare

EQUAL_TIME = "in equal time"
"""What stands behind the name of a method that is trained for as long as the baseline, in place of as many epochs."""

REHEARSED, ROUNDS = 8, 3
"""Updates that are timed of each method at a time, and how often: in turn, so that a busy moment of the machine is no one's."""

SAME = 0.05
"""By what share the times of two updates may differ that count as equal."""


@dataclass(frozen=True)
class Methods:
    """
    Attributes:
        switches: a change for each method that fits.
        refused: why the others do not, by name.
    """

    switches: tuple[Switch, ...]
    refused: dict[str, str]


def methods_for(base: Asked) -> Methods:
    """The methods that can be added to a baseline.

    Raises:
        ValueError: none can, or the baseline itself cannot be trained.
    """
    collection = base.data.open()
    trainable(base, collection)
    found, refused = [], {}
    known: list[type[Objective] | type[Term]] = [*kinds(Objective).values(), *kinds(Term).values()]  # type: ignore[type-abstract]
    for kind in known:
        fields = kind.switched_on(base.recipe)
        if not fields:
            continue
        switch = Switch(fields=fields, adds=True, name=kind.__name__)
        try:
            trainable(switch(base), collection)
            found.append(switch)
        except ValueError as error:
            refused[kind.__name__] = str(error)
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise ValueError(f"no method can be added to this baseline: {reasons or 'it has all of them'}")
    return Methods(tuple(found), refused)


def with_pictures_of(one: Prepared, other: Prepared) -> Prepared:
    """The other with the pictures of the one, so that they are in memory once, unless they were read for other sizes."""
    return replace(other, train=one.train, val=one.val) if one.asked.sides() == other.asked.sides() else other


def in_equal_time(base: Asked, switches: tuple[Switch, ...], say: Callable[[str], None]) -> tuple[Switch, ...]:
    """The same changes, with as many epochs as take as long as the baseline; measured on a few updates of each, in turn."""

    def pace(prepared: Prepared) -> float:
        found = estimate.rehearse(prepared, updates=REHEARSED)
        return found.update_s * found.updates_per_epoch

    if not switches:
        return ()
    own = prepare(base)
    prepared = [with_pictures_of(own, prepare(switch(base))) for switch in switches]
    shares: list[list[float]] = [[] for _ in switches]
    for _ in range(ROUNDS):
        before = pace(own)
        for each, seen in zip(prepared, shares, strict=True):
            took, after = pace(each), pace(own)
            seen.append((before + after) / (2 * took))
            before = after
    found = []
    for switch, seen in zip(switches, shares, strict=True):
        share = statistics.median(seen)
        epochs = float(f"{base.recipe.epochs * share:.3g}")
        if abs(share - 1) < SAME:
            say(f"{switch.title}: an update takes as long as one of the base, so equal epochs are equal time")
            continue
        fits = how_many(epochs, "epoch fits", "g", "epochs fit")
        say(f"{switch.title}: an update takes {1 / share:.2f} times as long, so {fits} into the time of the base")
        found.append(replace(switch, fields=(*switch.fields, f"epochs={epochs:g}"), name=f"{switch.title} {EQUAL_TIME}"))
    return tuple(found)
