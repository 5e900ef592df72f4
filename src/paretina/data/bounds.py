"""Checks the value ranges of schedules, when a method is created and again for a whole run."""

import math
from contextvars import ContextVar

from paretina.clock import Clock
from paretina.spec import Spec, specs_within

USUAL = tuple(Clock(update, 32, 32.0) for update in range(33))
"""The points at which a schedule is checked while the run is unknown: 33 points of a run of 32 epochs."""

MOMENTS = 1000
"""Number of points of a run at which its schedules are checked before it starts."""

LOOKED_AT: ContextVar[tuple[Clock, ...]] = ContextVar("LOOKED_AT", default=USUAL)


def require_within(spec: Spec, low: float, high: float, *names: str, above: bool = False, below: bool = False) -> None:
    """Checks schedules of a method at points of a run: one of 32 epochs, or the run given to `check_run`.

    Args:
        above: whether `low` itself is excluded; a schedule may reach it at the very end, where there is no update.
        below: whether `high` itself is excluded, likewise.

    Raises:
        ValueError: one of them leaves [low, high]; the message names the method, the field, the value and the point.
    """
    for name in names:
        for clock in LOOKED_AT.get():
            value = getattr(spec, name)(clock)
            within_open = clock.progress == 1 or not ((above and value == low) or (below and value == high))
            if not low <= value <= high or not within_open:
                rule = f"above {low:g}" if above else f"at least {low:g}"
                if math.isfinite(high):
                    rule = f"in {'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"
                moment = f"at {100 * clock.progress:.0f} % of the run"
                raise ValueError(f"{type(spec).__name__}.{name} must stay {rule}, but is {value:g} {moment}")


def check_run(spec: Spec, epochs: float) -> None:
    """Checks all schedules in a spec at a thousand points of a run, since some depend on the number of epochs.

    Raises:
        ValueError: one of them leaves its range; see `require_within`.
    """
    before = LOOKED_AT.set(tuple(Clock(moment, MOMENTS, epochs) for moment in range(MOMENTS)))
    try:
        for each in specs_within(spec):
            getattr(each, "__post_init__", lambda: None)()
    finally:
        LOOKED_AT.reset(before)
