"""Keeps a run within its time limit, from what its updates really take.

The epochs that fit are estimated before the run, from a few updates (`paretina.train.estimate`); a machine that others share is
up to half slower or faster later on. So the estimate is repeated in the run: up to its middle the run may become longer or
shorter, later no longer than it was to be before. Schedules go by the share of the run that is done, so they bend a little at
these updates. The checkpoint holds the length, so that a resumed run has it too; nothing is fitted again there, since its time
limit is over.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from paretina.data.sampler import Epochs

MARKS = (0.08, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Shares of the run after which its length is fitted."""

LONGER = 0.6
"""Share of the run up to which it may become longer than it ever was to be."""

NEGLIGIBLE = 0.02
"""Relative change of the length below which it is left as it is."""

KEPT_BACK = 0.03
"""Share of the time that is left which is kept in reserve."""


@dataclass
class Deadline:
    """
    Attributes:
        at: by the clock, when the last update should be done.
        most: epochs that are made at most; None for as many as fit.
        clock: seconds since an arbitrary start.
    """

    at: float
    most: float | None = None
    clock: Callable[[], float] = time.monotonic
    marks: list[int] = field(default_factory=list)
    stamps: list[tuple[int, float]] = field(default_factory=list)
    planned: float = 0.0

    def begin(self, epochs: Epochs) -> None:
        """Called before the first update."""
        self.marks = sorted({round(share * epochs.updates) for share in MARKS} - {0, epochs.updates})
        self.stamps = []

    def looks(self, done: int) -> bool:
        """Whether `refit` looks at the clock after `done` updates; elsewhere it changes nothing."""
        return not self.stamps or (bool(self.marks) and done >= self.marks[0] and done != self.stamps[-1][0])

    def refit(self, done: int, epochs: Epochs) -> Epochs | None:
        """The length that fits, after `done` updates; None if it stays as it is.

        The first update is not counted: it warms up what the others find warm. Of the pace since then and that since the last
        time that was looked, the slower one counts.
        """
        if not self.looks(done):
            return None
        if not self.stamps:
            self.stamps.append((done, self.clock()))
            return None
        while self.marks and done >= self.marks[0]:
            self.marks.pop(0)
        now = self.clock()
        update_s = max((now - then) / (done - number) for number, then in (self.stamps[0], self.stamps[-1]))
        self.stamps.append((done, now))
        left = max(0, int((1 - KEPT_BACK) * (self.at - now) / update_s)) if update_s > 0 else epochs.updates - done
        fits = (done + max(1, left)) / epochs.updates_per_epoch
        if self.most is not None:
            fits = min(fits, self.most)
        self.planned = max(self.planned, epochs.epochs)
        if done > LONGER * epochs.updates:
            fits = min(fits, self.planned)
        if abs(fits / epochs.epochs - 1) < NEGLIGIBLE:
            return None
        return replace(epochs, epochs=fits)
