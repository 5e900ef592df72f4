"""The range that a schedule must keep, checked where the method that follows it is written down."""

import math

from paretina.clock import Clock
from paretina.spec import Spec


def require_within(spec: Spec, low: float, high: float, *names: str) -> None:
    """Looks at schedules of a method at 33 moments of a run of 32 epochs.

    Raises:
        ValueError: one of them leaves [low, high]; the message names the method, the field, the value and the moment.
    """
    for name in names:
        for update in range(33):
            clock = Clock(update, 32, 32.0)
            value = getattr(spec, name)(clock)
            if not low <= value <= high:
                rule = f"in [{low:g}, {high:g}]" if math.isfinite(high) else f"at least {low:g}"
                moment = f"at {clock.progress:.0%} of the run"
                raise ValueError(f"{type(spec).__name__}.{name} must stay {rule}, but is {value:g} {moment}")
