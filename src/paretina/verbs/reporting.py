"""Writes the reports of runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paretina import report as pages
from paretina.report.following import send
from paretina.report.tracker import Tracker, trackers_named
from paretina.run import folds_begun, folds_figure
from paretina.verbs.checks import MisuseError, misuse

LogTo = str | Sequence[str | Tracker]
"""Trackers by their words, separated by commas or one by one, or as they are."""


def found_trackers(log_to: LogTo) -> tuple[Tracker, ...]:
    """The trackers that are named, ready to be used.

    Raises:
        MisuseError: there is no such tracker, or it cannot be used here.
    """
    with misuse():
        return trackers_named(log_to) if log_to else ()


@dataclass(frozen=True)
class Reported:
    """
    Attributes:
        written: the pages.
        runs: one row per run, as in `paretina.report.table`.
        left_out: reason by path, for paths that are not runs.
        groups: names of the runs that were evaluated on the same pictures, one group per data set.
        sent: by run and tracker, where its record is.
        folds: of each cross-validation that was named, its folder and its figure; "" where it is not finished.
    """

    written: tuple[Path, ...]
    runs: tuple[dict[str, Any], ...]
    left_out: dict[str, str]
    groups: tuple[tuple[str, ...], ...] = ()
    sent: dict[str, dict[str, str]] = field(default_factory=dict)
    folds: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "written": [str(path) for path in self.written],
            "runs": list(self.runs),
            "left_out": self.left_out,
            "groups": [list(group) for group in self.groups],
            "sent": self.sent,
            "folds": self.folds,
        }


def report(runs: Iterable[Path | str], output: Path | str | None = None, log_to: LogTo = ()) -> Reported:
    """Writes the report of each run into its directory, and a comparison if there are several; reads only the run directories.

    If there are several, paths that are not runs or are damaged are skipped and listed. The directory of a cross-validation
    stands for the runs of its folds.

    Args:
        output: where the comparison goes; default: comparison.html, that of a cross-validation alone in its directory.
        log_to: trackers that the runs are sent to, "tensorboard,mlflow,wandb"; what is there already is not sent again.

    Raises:
        MisuseError: a path does not exist, a single path is not a run, or a comparison of a single run is requested,
            or a tracker cannot be used.
        ValueError: none of them can be reported, or a tracker fails.
    """
    trackers = found_trackers(log_to)
    paths = [Path(run) for run in runs]
    for path in paths:
        if not path.exists():
            raise MisuseError(f"there is no run {path}")
    folds = {str(path): folds_figure(path) for path in paths if folds_begun(path)}
    page = paths[0] / "comparison.html" if len(paths) == 1 and folds else Path("comparison.html")
    paths = list(dict.fromkeys(run for path in paths for run in folds_begun(path) or [path]))
    if len(paths) == 1:
        with misuse():
            pages.read_run(paths[0])
        if output is not None:
            raise MisuseError(f"--output is the file for a comparison of several runs; the report of one goes into {paths[0]}")
    left_out: dict[str, str] = {}
    for path in paths:
        try:
            pages.read_run(path)
        except ValueError as error:
            left_out[str(path)] = str(error)
    good = [path for path in paths if str(path) not in left_out]
    if not good:
        raise ValueError("\n".join(left_out.values()))
    written = [pages.write_report(path) for path in good]
    if len(good) > 1:
        written.append(pages.write_comparison(good, Path(output or page)))
    sent = {str(path): {tracker.WORD: send(path, tracker) for tracker in trackers} for path in good} if trackers else {}
    rows = pages.table(good)
    groups: dict[int, list[str]] = {}
    for row, number in zip(rows, pages.measured_alike(good), strict=True):
        groups.setdefault(number, []).append(row["run"])
    return Reported(tuple(written), tuple(rows), left_out, tuple(map(tuple, groups.values())), sent, folds)
