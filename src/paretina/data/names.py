"""Decides when two class names mean the same class.

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
    """A key that is equal for similar names.

    Letters are compared in lower case; further foldings would make one of Maße and Masse. The Turkish İ is i in lower case,
    for which Python writes a dot of its own.
    """
    plain = " ".join(composed(name).split())
    return plain if len(plain) == 1 else composed(plain.lower().replace("i\u0307", "i"))


def spelt(name: str) -> str:
    """The name in quotes, with the Unicode name of each space other than a plain one."""

    def shown(letter: str) -> str:
        odd = letter != " " and (letter.isspace() or not letter.isprintable())
        return f"<{unicodedata.name(letter, f'U+{ord(letter):04X}').lower()}>" if odd else letter

    return f"'{''.join(map(shown, name))}'"


def counterpart(name: str, known: Iterable[str]) -> str | None:
    """The known name that means the same class, the most similar first; None if none or several do."""
    known = list(known)
    for form in (str, composed, likeness):
        found = [other for other in known if form(other) == form(name)]
        if found:
            return found[0] if len(found) == 1 else None
    return None
