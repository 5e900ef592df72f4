"""Clock: where in a training run we are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """The time of one optimizer update.

    Attributes:
        update: number of updates made before this one; from 0.
        updates: number of updates of the whole run.
        epochs: number of passes over the training data that `updates` stand for; may be a fraction.
    """

    update: int
    updates: int
    epochs: float

    @property
    def progress(self) -> float:
        """Share of the run that is over, in [0, 1]."""
        return self.update / self.updates if self.updates else 1.0

    @property
    def epoch(self) -> float:
        """Passes over the training data so far, as a fraction."""
        return self.epochs * self.progress

    def since(self, epochs: float) -> "Clock":
        """The clock of a run that starts `epochs` later and ends with this one."""
        skipped = round(self.updates * min(1.0, epochs / self.epochs)) if self.epochs else 0
        return Clock(max(0, self.update - skipped), self.updates - skipped, max(0.0, self.epochs - epochs))


START = Clock(0, 1, 1.0)
END = Clock(1, 1, 1.0)
