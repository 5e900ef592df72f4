"""The range that a schedule must keep, checked where the method that follows it is written down, and again for a whole run."""

import math
from contextvars import ContextVar

from paretina.clock import Clock
from paretina.spec import Spec, specs_within

USUAL = tuple(Clock(update, 32, 32.0) for update in range(33))
"""The moments at which a schedule is looked up where nothing is known of the run: 33 of one of 32 epochs."""

MOMENTS = 1000
"""At how many moments of a run its schedules are looked up before it begins."""

LOOKED_AT: ContextVar[tuple[Clock, ...]] = ContextVar("LOOKED_AT", default=USUAL)


def require_within(spec: Spec, low: float, high: float, *names: str, above: bool = False, below: bool = False) -> None:
    """Looks at schedules of a method at moments of a run: of one of 32 epochs, or of the one that `check_run` is about.

    Args:
        above: whether `low` itself is left out; a schedule may reach it at the end, which no update sees.
        below: whether `high` itself is left out, likewise.

    Raises:
        ValueError: one of them leaves [low, high]; the message names the method, the field, the value and the moment.
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
    """Looks at all schedules in a spec at a thousand moments of the run that it is for, since some follow its epochs.

    Raises:
        ValueError: one of them leaves its range; see `require_within`.
    """
    before = LOOKED_AT.set(tuple(Clock(moment, MOMENTS, epochs) for moment in range(MOMENTS)))
    try:
        for each in specs_within(spec):
            getattr(each, "__post_init__", lambda: None)()
    finally:
        LOOKED_AT.reset(before)
