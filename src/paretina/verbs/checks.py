"""What was asked and cannot be done: the error, and the checks of names and places that several verbs share."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from paretina.run import model_in


class MisuseError(ValueError):
    """What was asked for has no meaning: a name that is not there, a value that does not fit. Nothing was done."""

    exit_code = 2


@contextmanager
def misuse(origin: str = "") -> Iterator[None]:
    """Turns errors inside into misuse, and says where the wrong word stands."""
    try:
        yield
    except ValueError as error:
        raise MisuseError(f"{origin}: {error}" if origin else str(error)) from None


def model_file(model: Path | str) -> Path:
    """The model file of that name, or of that run.

    Raises:
        MisuseError: there is none.
    """
    with misuse():
        return model_in(Path(model))


def beside(path: Path) -> str:
    """Returns "; did you mean 'photos'?" where something of a near name lies in the same folder, "" otherwise."""
    names = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    close = get_close_matches(path.name, names, n=1)
    return f"; did you mean {str(path.with_name(close[0]))!r}?" if close else ""


def check_strangers(path: Path | str | None) -> None:
    """Looks whether there are pictures to tell from those that are measured.

    Raises:
        MisuseError: there is no such folder or file, or nothing in it.
    """
    if path is not None and not Path(path).exists():
        raise MisuseError(f"--ood names a folder of pictures, and there is no {path}{beside(Path(path))}")
    if path is not None and Path(path).is_dir() and not any(Path(path).iterdir()):
        raise MisuseError(f"there is no picture in the folder {path}")


def check_csv(path: Path | str | None, option: str = "--csv") -> None:
    """Looks whether a table or page can be written there, before anything long is begun.

    Raises:
        MisuseError: its folder is not there, or it is a folder itself.
    """
    if path is not None and Path(path).is_dir():
        raise MisuseError(f"{path} is a folder; {option} names a file to write")
    if path is not None and not Path(path).parent.is_dir():
        raise MisuseError(f"there is no folder {Path(path).parent} to write {Path(path).name} into; make it first")


def check_new(path: Path | str | None) -> None:
    """Looks whether a file can be made there, before anything long is begun.

    Raises:
        MisuseError: there is one already, or its folder is not there.
    """
    if path is not None and Path(path).exists():
        raise MisuseError(f"there is {path} already, and nothing is overwritten; name another file with --out")
    if path is not None and not Path(path).parent.is_dir():
        raise MisuseError(f"there is no folder {Path(path).parent} to write {Path(path).name} into; make it first")


def check_place(output: Path | None, folder: str | None) -> None:
    """Looks whether a run may be written there; see `paretina.verbs.training.check_output`.

    Args:
        folder: that of the data, into which nothing is written; None for data that is in none.
    """
    place = output or Path("runs")
    if folder is not None and place.absolute().resolve().is_relative_to(Path(folder).expanduser().resolve()):
        raise MisuseError(f"{place} lies inside the data, {folder}, into which nothing is written; name another --output")
    if output is None or not output.exists():
        return
    if not output.is_dir():
        raise MisuseError(f"{output} is a file; --output names a directory to make")
    if (output / "asked.json").exists():
        raise MisuseError(f"{output} holds a run already; choose another --output, or continue with --resume {output}")
    if any(output.iterdir()):
        raise MisuseError(f"{output} is not empty; --output names a directory to make")
