"""Collects notes on anomalies of pictures that can still be read.

The decoder may note an anomaly of a picture; the reader of the pictures collects the notes and reports them at the end.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

HEARD: ContextVar[list[str] | None] = ContextVar("HEARD", default=None)


@contextmanager
def remarks_heard() -> Iterator[list[str]]:
    """Collects the remarks made in this thread within the context."""
    heard: list[str] = []
    token = HEARD.set(heard)
    try:
        yield heard
    finally:
        HEARD.reset(token)


def remark(text: str) -> None:
    """Adds a remark on the picture being decoded; dropped outside of `remarks_heard`."""
    heard = HEARD.get()
    if heard is not None:
        heard.append(text)


def told(remarks: Mapping[str, str]) -> list[str]:
    """Turns remarks by picture name into sentences, one for all pictures with the same remark."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, text in remarks.items():
        names[text].append(name)
    return [f"{first}{more(len(others))}: {text}" for text, (first, *others) in names.items()]


def more(count: int) -> str:
    return f" and {count} other picture{'s' if count > 1 else ''}" if count else ""
