"""Chooses held-out pictures by a hash of their names.

Each name is hashed (SHA-256) to a number in [0, 1), and the names below the share are held out. So the split is the same on
every machine and in every order, and adding a picture does not move the others.

Copies of a picture go to the same side, that of their first name. Without copies, only the names decide.
"""

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence


def place(name: str) -> float:
    """The hash of a name, in [0, 1)."""
    # One name has several encodings, and systems differ in the one they give back; NFC makes them equal.
    digest = hashlib.sha256(unicodedata.normalize("NFC", name).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def in_order(names: Iterable[str]) -> list[str]:
    """Sorts names in the same order on every system."""
    return sorted(names, key=lambda name: (unicodedata.normalize("NFC", name), name))


def held_out(names: Sequence[str], labels: Sequence[int], share: float, groups: Sequence[Sequence[str]] = ()) -> set[str]:
    """Returns the held-out names.

    Every class with two names or more gets at least one on each side. There, and only there, a name that is added to a class
    of a few can move another one. A group counts as one name here: a class whose names are all in one group, or in groups that
    they share with other classes, may have none that is held out. A group that has more names in a class than are to be held
    out of it is not held out, unless the class has nothing else.

    Args:
        names: all different.
        labels: the class of each.
        share: the share that is held out, in [0, 1]; exactly 0 holds out nothing, exactly 1 everything.
        groups: names that stay together; each in at most one group.

    Raises:
        ValueError: the share is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the held-out share must be in [0, 1], got {share}")
    if share in (0, 1):
        return set(names) if share else set()
    first = {name: in_order(group)[0] for group in groups for name in group}
    members: dict[int, Counter[str]] = defaultdict(Counter)
    for name, label in zip(names, labels, strict=True):
        members[label][first.get(name, name)] += 1
    homes = Counter(unit for units in members.values() for unit in units)
    held = {unit for unit in homes if place(unit) < share}
    for units in members.values():
        most = share * sum(units.values())
        held -= {unit for unit, count in units.items() if count > max(1, most)}
    for units in members.values():
        if held >= units.keys():
            own = [unit for unit in units if homes[unit] == 1]
            held.remove(max(own or units, key=lambda unit: (place(unit), unit)))
    for units in members.values():
        own = [unit for unit in units if homes[unit] == 1]
        if len(units) > 1 and own and not held & units.keys():
            most = share * sum(units.values())
            small = [unit for unit in own if units[unit] <= max(1, most)]
            held.add(min(small or own, key=lambda unit: (place(unit), unit)))
    return {name for name in names if first.get(name, name) in held}


def held_out_groups(names: Sequence[str], labels: Sequence[int], groups: Sequence[str], share: float) -> set[str]:
    """Returns the held-out names, of each group all or none.

    The groups are hashed, and those below the share are held out, so a group that is added does not move the others. Where a
    class would then be on one side only, the group that needs the smallest change of hash is moved; a class with a single group
    is trained on. Of few or of unequal groups, the held-out share can differ much from the one asked for.

    Args:
        names: all different.
        labels: the class of each.
        groups: the group of each, such as a patient or a video.
        share: the share of the groups that is held out, in [0, 1]; exactly 0 holds out nothing, exactly 1 everything.

    Raises:
        ValueError: the share is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the held-out share must be in [0, 1], got {share}")
    if share in (0, 1):
        return set(names) if share else set()
    members: dict[int, set[str]] = defaultdict(set)
    for label, group in zip(labels, groups, strict=True):
        members[label].add(group)
    places = {group: place(group) for group in set(groups)}
    held = {group for group, at in places.items() if at < share}
    rank = {group: number for number, group in enumerate(in_order(places))}
    for label in sorted(members):
        own = members[label]
        if len(own) > 1 and not held & own:
            held.add(min(own, key=lambda group: (places[group], rank[group])))
    for label in sorted(members):  # last, since a class that is held out as a whole cannot be learned
        own = members[label]
        if held >= own:
            held.remove(max(own, key=lambda group: (places[group], -rank[group])))
    return {name for name, group in zip(names, groups, strict=True) if group in held}
