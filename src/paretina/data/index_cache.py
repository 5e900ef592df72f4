"""Caches the index of a large source: the names in it and columns of numbers, so that it opens without being read again.

One file for each source, in the user's cache folder, see `paretina.system.cache_folder`. It is valid as long as the files that
it was made from have the same size and times. A damaged one is ignored and written anew; where none can be written, opening
takes as long as the first time. Nothing is unpickled.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from paretina.data.look_cache import stamps
from paretina.data.npz import arrays_in
from paretina.run import write_aside
from paretina.system import cache_folder

VERSION = 1
"""Version of the entries; incremented when the same files give different ones."""

SEPARATOR = "\0"
"""Between texts; no text has it."""

Columns = dict[str, np.ndarray]


class IndexCache:
    """The cached index of some files.

    Args:
        use: kind of index, and the folder in the cache.
        files: that it is made from.
        settings: anything else that it depends on, as JSON-compatible values.

    Attributes:
        note: why nothing could be saved; "" otherwise.
    """

    def __init__(self, use: str, files: Sequence[Path], settings: Any = None) -> None:
        names = [str(file.absolute()) for file in files]
        self.names, self.note = ", ".join(map(str, files)), ""
        found = stamps({name: Path(name) for name in names})
        self.known = len(found) == len(set(names))
        stamped = {name: list(stamp) for name, stamp in found.items()}
        self.header = {"format": VERSION, "use": use, "settings": settings, "paretina": version("paretina"), "files": stamped}
        place = hashlib.sha256(json.dumps([use, names, settings]).encode("utf-8", "surrogatepass")).hexdigest()
        self.path = cache_folder() / use / f"{place[:32]}.npz"

    def read(self) -> Columns | None:
        """The columns that `keep` got; None if there are none, or the files have changed."""
        if not self.known:
            return None
        try:
            columns = arrays_in(io.BytesIO(self.path.read_bytes()))
            header = json.loads(columns.pop("header").tobytes())
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return columns if header == json.loads(json.dumps(self.header)) else None

    def keep(self, columns: Mapping[str, np.ndarray]) -> None:
        """Saves the columns; a full disk, or a folder that cannot be written, gives a note."""
        if not self.known:
            return
        buffer = io.BytesIO()
        np.savez(buffer, header=np.frombuffer(json.dumps(self.header).encode(), np.uint8), **columns)  # type: ignore[arg-type]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_aside(self.path, buffer.getvalue())
        except OSError as error:
            self.note = (
                f"what was found in {self.names} cannot be cached in {self.path.parent} ({error.strerror or error}), so it is "
                "looked for again each time"
            )


def packed(texts: Sequence[str]) -> np.ndarray:
    """Texts without NUL as bytes."""
    return np.frombuffer(SEPARATOR.join(texts).encode("utf-8", "surrogatepass"), np.uint8)


def unpacked(column: np.ndarray, count: int) -> list[str]:
    """The texts of `packed`.

    Raises:
        ValueError: there is another number of them.
    """
    found = column.tobytes().decode("utf-8", "surrogatepass").split(SEPARATOR) if count else []
    if len(found) != count:
        raise ValueError(f"{len(found)} texts where there should be {count}")
    return found
