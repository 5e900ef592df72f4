"""The time that a search has used, which is the same again when it is continued.

A search decides by the time whether it begins another trial, so each time that was looked at is written down, and the same
decisions are taken from it again. All time counts, not that of trainings alone: timing units, drawing points that miss the
budget, reading pictures.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from paretina.run import write_aside

FILE = "elapsed.txt"
"""Seconds, one number a line: those that were used before the first look, then those of each look."""


class Elapsed:
    """
    Attributes:
        known: seconds of the looks that were taken in earlier processes.
        looks: those that were taken in this one.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic, since: float | None = None) -> None:
        self.path, self.clock = folder / FILE, clock
        before, *self.known = numbers_in(self.path) or [0.0]
        self.written = self.path.stat().st_mtime if self.path.exists() else 0.0
        self.looks, self.last, self.mark = 0, before, clock() if since is None else since
        if not self.path.exists():
            self.path.write_text(f"{before:.3f}\n")

    def __call__(self) -> float:
        """Seconds of the search so far."""
        if self.looks < len(self.known):
            self.last, self.mark = self.known[self.looks], self.clock()
        else:
            now = self.clock()
            self.last, self.mark = self.last + now - self.mark, now
            with self.path.open("a") as file:
                file.write(f"{self.last:.3f}\n")
        self.looks += 1
        return self.last

    def whole(self) -> float:
        """Seconds of the whole search, at its end; of one that had ended before, what its result says."""
        now, result = self(), self.path.with_name("result.json")
        if not self.known or not result.exists():
            return now
        said = json.loads(result.read_text()).get("spent_s")
        return float(said) if isinstance(said, int | float) else now

    def count(self, seconds: float, done: float) -> None:
        """Counts work of an earlier process that was done after its last look.

        Args:
            done: when it was done, as a time of files.
        """
        if self.looks >= len(self.known) and done > self.written > 0:
            self.last += seconds


def numbers_in(path: Path) -> list[float]:
    """The numbers of a file, without a last line that was not written to its end."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        found.append(float(line))
    return found


def begin_looks_anew(folder: Path) -> None:
    """Makes all time so far one that was used before the first look: for a search whose time limit has changed."""
    found = numbers_in(folder / FILE)
    if found:
        write_aside(folder / FILE, f"{max(found):.3f}\n".encode())
