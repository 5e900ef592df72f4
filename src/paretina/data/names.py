"""Names: when two class names mean one class.

A letter such as Ä has two forms in Unicode, and systems differ in the one that they write; names that differ in nothing else
are one name. Names that differ only in case or in spaces are alike: people mean one class by them, except where they are single
characters, for A and a are two classes of letters.
"""

import unicodedata
from collections.abc import Iterable


def composed(name: str) -> str:
    """The name in Unicode's form NFC: equal for names that look the same."""
    return unicodedata.normalize("NFC", name)


def likeness(name: str) -> str:
    """Equal for names that are alike."""
    plain = " ".join(composed(name).split())
    return plain if len(plain) == 1 else composed(plain.casefold())


def counterpart(name: str, known: Iterable[str]) -> str | None:
    """The one of the known names that means the same class, the most similar first; None if none or several do."""
    known = list(known)
    for form in (str, composed, likeness):
        found = [other for other in known if form(other) == form(name)]
        if found:
            return found[0] if len(found) == 1 else None
    return None
