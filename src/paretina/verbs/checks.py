"""What was asked and cannot be done: the error, and the checks of names and places that several verbs share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paretina.run import Run


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
    path = Path(model)
    if (path / "model.safetensors").is_file():
        return path / "model.safetensors"
    if (path / "asked.json").is_file():
        with misuse():
            Run(path).asked()
        raise MisuseError(f"{path} is not finished, so there is no model in it; go on with: paretina train --resume {path}")
    if not path.is_file():
        raise MisuseError(f"there is no model file {path}")
    return path


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
    """Looks whether a run may be written there; see `paretina.verbs.running.check_output`.

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
        raise MisuseError(f"{output} holds a run already; choose another --output, or go on with --resume {output}")
    if any(output.iterdir()):
        raise MisuseError(f"{output} is not empty; --output names a directory to make")
