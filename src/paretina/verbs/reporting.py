"""Writes the reports of runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretina import report as pages
from paretina.verbs.checks import MisuseError, misuse


@dataclass(frozen=True)
class Reported:
    """
    Attributes:
        written: the pages.
        runs: one row per run, as in `paretina.report.table`.
        left_out: reason by path, for paths that are not runs.
        groups: names of the runs that were evaluated on the same pictures, one group per data set.
    """

    written: tuple[Path, ...]
    runs: tuple[dict[str, Any], ...]
    left_out: dict[str, str]
    groups: tuple[tuple[str, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "written": [str(path) for path in self.written],
            "runs": list(self.runs),
            "left_out": self.left_out,
            "groups": [list(group) for group in self.groups],
        }


def report(runs: Iterable[Path | str], output: Path | str | None = None) -> Reported:
    """Writes the report of each run into its directory, and a comparison if there are several; reads only the run directories.

    If there are several, paths that are not runs or are damaged are skipped and listed.

    Args:
        output: where the comparison goes; default: comparison.html.

    Raises:
        MisuseError: a path does not exist, a single path is not a run, or a comparison of a single run is requested.
        ValueError: none of them can be reported.
    """
    paths = [Path(run) for run in runs]
    for path in paths:
        if not path.exists():
            raise MisuseError(f"there is no run {path}")
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
        written.append(pages.write_comparison(good, Path(output or "comparison.html")))
    rows = pages.table(good)
    groups: dict[int, list[str]] = {}
    for row, number in zip(rows, pages.measured_alike(good), strict=True):
        groups.setdefault(number, []).append(row["run"])
    return Reported(tuple(written), tuple(rows), left_out, tuple(map(tuple, groups.values())))
