"""Hears the errors of libtiff, with which Pillow decodes packed TIFF files.

Where coded data is bad, libtiff makes up the rest and goes on, and writes a line to standard error, in the middle of what is
printed there; Pillow does not learn of it. So libtiff is given a function of this module to call instead, which keeps the
errors of the thread that decodes. Where its functions are not found, as in builds that hide them, it speaks as ever.
"""

import ctypes
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import PIL.Image

HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
"""TIFFErrorHandler of libtiff: the name of the function, a format as of printf, and its arguments."""

heard = threading.local()


def hear(where: bytes | None, text: bytes | None, _: Any) -> None:
    """Keeps an error; of its arguments, which cannot be read from here, the format says where they would stand."""
    errors = getattr(heard, "errors", None)
    if errors is not None:
        said = re.sub(r"%[-+ #0-9.]*(?:hh|h|ll|l|j|z|t)?[a-zA-Z]", "…", (text or b"").decode("utf-8", "replace"))
        errors.append(f"{(where or b'').decode('utf-8', 'replace')}: {said}")


CALLED = HANDLER(hear)


def listen() -> bool:
    """Has libtiff call `hear`; False where it cannot be asked to."""
    try:
        ask = ctypes.CDLL(PIL.Image.core.__file__).TIFFSetErrorHandler  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return False
    ask.argtypes, ask.restype = [ctypes.c_void_p], ctypes.c_void_p
    ask(ctypes.cast(CALLED, ctypes.c_void_p))
    return True


LISTENING = listen()


@contextmanager
def tiff_errors() -> Iterator[list[str]]:
    """Collects the errors of libtiff in this thread."""
    before = getattr(heard, "errors", None)
    heard.errors = []
    try:
        yield heard.errors
    finally:
        heard.errors = before
