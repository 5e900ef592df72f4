"""Reads the arrays of an `.npz` file, whatever is in it; nothing is unpickled."""

from collections.abc import Container, Sequence
from io import BufferedIOBase

import numpy as np


def arrays_in(file: BufferedIOBase, wanted: Container[str] | None = None, needed: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of a file, by name.

    Args:
        wanted: names of those to read; default: all.
        needed: names of those that must be there.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, holds a single array, lacks one that is needed, or one of them holds Python objects.
    """
    try:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("it holds a single array; save all with numpy.savez(path, name=array, ...)")
        with found:
            missing = [name for name in needed if name not in found.files]
            if missing:
                has = ", ".join(found.files) or "nothing"
                raise ValueError(f"it has no array {' and no '.join(map(repr, missing))}, only {has}")
            return {name: plain(found, name) for name in found.files if wanted is None or name in wanted}
    except (OSError, ValueError):
        raise
    except Exception as error:  # a damaged archive can make its readers raise almost any exception
        raise ValueError(f"{str(error) or type(error).__name__}") from None


def plain(found: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    """An array of numbers or text.

    Raises:
        ValueError: it is damaged, or holds Python objects.
    """
    try:
        array: np.ndarray = found[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError(
            f"its array {name!r} holds Python objects, which are not read, since reading them could run code; save numbers or "
            "text: numpy.array(..., dtype='uint8') for pictures of one size, 'int64' for labels, 'str' for names"
        ) from None
    return array
