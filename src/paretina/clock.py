"""The position within a training run, by which schedules are evaluated."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """The position of one optimizer update in the run.

    Attributes:
        update: number of updates made before this one; from 0.
        updates: total number of updates in the run.
        epochs: number of epochs in the run; may be a fraction.
    """

    update: int
    updates: int
    epochs: float

    @property
    def progress(self) -> float:
        """Fraction of the run that is done, in [0, 1]."""
        return self.update / self.updates if self.updates else 1.0

    @property
    def epoch(self) -> float:
        """Epochs so far, with the fraction of the current one."""
        return self.epochs * self.progress

    def since(self, epochs: float) -> "Clock":
        """The clock of a run that starts `epochs` later and ends with this one."""
        skipped = round(self.updates * min(1.0, epochs / self.epochs)) if self.epochs else 0
        return Clock(max(0, self.update - skipped), self.updates - skipped, max(0.0, self.epochs - epochs))


START = Clock(0, 1, 1.0)
END = Clock(1, 1, 1.0)
