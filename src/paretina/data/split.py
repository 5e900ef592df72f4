"""Held-out pictures, chosen by their names.

Each name has a number in [0, 1) that follows from it alone (SHA-256), and the names below the share are held out. So the split
is the same on every machine and in every order, and a picture that is added later leaves the others where they are.
"""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Sequence


def place(name: str) -> float:
    """The number of a name, in [0, 1)."""
    # One name has several encodings, and systems differ in the one they give back; NFC makes them equal.
    digest = hashlib.sha256(unicodedata.normalize("NFC", name).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def held_out(names: Sequence[str], labels: Sequence[int], share: float) -> set[str]:
    """Returns the names that are held out.

    Every class with two names or more gets at least one on each side. There, and only there, a name that is added to a class
    of a few can move another one.

    Args:
        names: all different.
        labels: the class of each.
        share: the part that is held out, in [0, 1]; exactly 0 holds out nothing, exactly 1 everything.

    Raises:
        ValueError: the share is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the held-out share must be in [0, 1], got {share}")
    if share in (0, 1):
        return set(names) if share else set()
    members: dict[int, list[str]] = defaultdict(list)
    for name, label in zip(names, labels, strict=True):
        members[label].append(name)
    held: set[str] = set()
    for group in members.values():
        ranked = sorted(group, key=lambda name: (place(name), name))
        below = sum(place(name) < share for name in ranked)
        held.update(ranked[: min(max(below, 1), len(ranked) - 1)])
    return held
