"""Remarks: what is odd about pictures that can be read all the same.

Whoever decodes a picture may remark on it; whoever reads pictures listens, and tells it at the end for all of them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

HEARD: ContextVar[list[str] | None] = ContextVar("HEARD", default=None)


@contextmanager
def remarks_heard() -> Iterator[list[str]]:
    """Collects what is remarked in this thread while it lasts."""
    heard: list[str] = []
    token = HEARD.set(heard)
    try:
        yield heard
    finally:
        HEARD.reset(token)


def remark(text: str) -> None:
    """Says something about the picture that is being decoded; lost where nobody listens."""
    heard = HEARD.get()
    if heard is not None:
        heard.append(text)


def told(remarks: Mapping[str, str]) -> list[str]:
    """Remarks by the names of pictures as sentences, one for all pictures that have the same."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, text in remarks.items():
        names[text].append(name)
    return [f"{first}{more(len(others))}: {text}" for text, (first, *others) in names.items()]


def more(count: int) -> str:
    return f" and {count} other picture{'s' if count > 1 else ''}" if count else ""
