"""Lists and compares runs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paretina.report.runs import ComparedRuns, Listing, chosen, compared, list_runs
from paretina.verbs.checks import MisuseError, beside, misuse


def runs(folder: Path | str = "runs", sort: str | None = None, filters: Sequence[str] = ()) -> Listing:
    """The runs in a folder: what they were asked, how far they came, and how good they are.

    Args:
        sort: a column or setting, smallest first; "-value" for largest first. Default: by name.
        filters: "FIELD=VALUE" each, all of which hold: "model=resnet*", "state=finished", "recipe.epochs=10".

    Raises:
        MisuseError: there is no such folder, or no run has such a column or setting.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MisuseError(f"there is no folder {folder}{beside(folder) or '; name the folder that the runs are in'}")
    pairs = []
    for text in filters:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise MisuseError(f"--filter takes FIELD=VALUE, such as model=resnet18 or state=finished, got {text!r}")
        pairs.append((name.strip(), value.strip()))
    listing = list_runs(folder)
    with misuse():
        return replace(listing, runs=chosen(listing, sort, pairs))


def compare_runs(one: Path | str, other: Path | str, folder: Path | str = "runs") -> ComparedRuns:
    """Two runs side by side: settings that differ, figures, and their difference over the same pictures.

    Args:
        one: the directory of a run, or its name in the folder.

    Raises:
        MisuseError: there is no such run, or it is damaged.
    """
    places = []
    for name in (one, other):
        inside = Path(folder) / name
        place = inside if inside.is_dir() else Path(name)
        if not place.is_dir():
            raise MisuseError(f"there is no run {name}, neither in {folder} nor here{beside(inside) or beside(Path(name))}")
        places.append(place)
    with misuse():
        return compared(*places)
