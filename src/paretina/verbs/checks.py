"""The usage error, and checks of names and paths that several verbs share."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from paretina.run import held_in, in_use, model_in


class MisuseError(ValueError):
    """A request that is invalid: an unknown name, a value that does not fit. Nothing was done."""

    exit_code = 2


@contextmanager
def misuse(origin: str = "") -> Iterator[None]:
    """Turns a ValueError inside into `MisuseError`, prefixed with its origin."""
    try:
        yield
    except ValueError as error:
        raise MisuseError(f"{origin}: {error}" if origin else str(error)) from None


def model_file(model: Path | str) -> Path:
    """The model file at a path, or in the run directory at it.

    Raises:
        MisuseError: there is none.
    """
    with misuse():
        return model_in(Path(model))


def beside(path: Path) -> str:
    """Returns "; did you mean 'photos'?" if the same folder has something of a similar name, else ""."""
    names = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    close = get_close_matches(path.name, names, n=1)
    return f"; did you mean {str(path.with_name(close[0]))!r}?" if close else ""


def check_strangers(path: Path | str | None) -> None:
    """Checks that there are out-of-distribution pictures at the path.

    Raises:
        MisuseError: there is no such folder or file, or nothing in it.
    """
    if path is not None and not Path(path).exists():
        raise MisuseError(f"--ood names a folder of pictures, and there is no {path}{beside(Path(path))}")
    if path is not None and Path(path).is_dir() and not any(Path(path).iterdir()):
        raise MisuseError(f"there is no picture in the folder {path}")


def check_csv(path: Path | str | None, option: str = "--csv") -> None:
    """Checks that a table or page can be written there, before any long computation.

    Raises:
        MisuseError: its folder is not there, or it is a folder itself.
    """
    if path is not None and Path(path).is_dir():
        raise MisuseError(f"{path} is a folder; {option} names a file to write")
    if path is not None and not Path(path).parent.is_dir():
        raise MisuseError(f"there is no folder {Path(path).parent} to write {Path(path).name} into; create it first")


def check_new(path: Path | str | None) -> None:
    """Checks that a new file can be written there, before any long computation.

    Raises:
        MisuseError: there is one already, or its folder is not there.
    """
    if path is not None and Path(path).exists():
        raise MisuseError(f"{path} exists already and is not overwritten; name another file with --out")
    if path is not None and not Path(path).parent.is_dir():
        raise MisuseError(f"there is no folder {Path(path).parent} to write {Path(path).name} into; create it first")


def restarted() -> bool:
    """Whether torchrun has started the processes again after one of them was lost; the same command then continues its run."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


def check_place(output: Path | None, folder: str | None, inside: Sequence[str] = ()) -> None:
    """Checks that a run may be written there; see `paretina.verbs.training.check_output`.

    Args:
        folder: that of the data, into which nothing is written; None for data that is in none.
        inside: names of what may be in the directory already.
    """
    place = output or Path("runs")
    if folder is not None and place.absolute().resolve().is_relative_to(Path(folder).expanduser().resolve()):
        raise MisuseError(f"{place} lies inside the data, {folder}, where nothing is written; choose another --output")
    if output is None or not output.exists():
        return
    if not output.is_dir():
        raise MisuseError(f"{output} is a file; --output must be a new directory")
    if restarted() or (inside and all(each.name in inside for each in output.iterdir())):
        return
    if said := in_use(output):
        raise MisuseError(said)
    if there := held_in(output):
        raise MisuseError(f"{output} holds {there}")
    if any(output.iterdir()):
        raise MisuseError(f"{output} is not empty; --output must be a new directory")
