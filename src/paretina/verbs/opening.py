"""Opens whatever can be measured: networks by name, model files, finished runs, and shipped files in their own runtime."""

from pathlib import Path

from paretina.measure.opened import Opened, open_model
from paretina.ship.format import format_of
from paretina.ship.opening import open_shipped
from paretina.verbs.checks import MisuseError


def open_any(name: str, resolution: int | None = None, trust: bool = False) -> Opened:
    """Opens a network to measure.

    Args:
        resolution: side of the image in pixels; default: the network's own. A shipped file has only its own.
        trust: whether shipped files that can run code are opened.

    Raises:
        MisuseError: a shipped file is asked for another resolution, or needs to be trusted.
        ValueError: there is none.
    """
    path = Path(name)
    format = format_of(path)
    if format is None:
        return open_model(name, resolution)
    if not path.is_file():
        raise ValueError(f"there is no model file {path}")
    if format.RUNS_CODE and not trust:
        raise MisuseError(
            f"{path} is a file of {format.NAME}, which can run code when it is opened; say --trust if you made it"
        )
    header = format.header(path)
    if resolution not in (None, header.resolution):
        raise MisuseError(f"{path} has its preprocessing for {header.resolution} pixels inside, so it has no other resolution")
    return open_shipped(name, path, format)
