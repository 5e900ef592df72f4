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


def held_out(
    names: Sequence[str],
    labels: Sequence[int],
    share: float,
    groups: Sequence[Sequence[str]] = (),
    salt: str = "",
) -> set[str]:
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
        salt: goes before each name that is hashed. What was left by one split must be split again with another one, or the same
            names would be looked for, which are gone.

    Raises:
        ValueError: the share is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the held-out share must be in [0, 1], got {share}")
    if share in (0, 1):
        return set(names) if share else set()

    def at(unit: str) -> float:
        return place(salt + unit)

    first = {name: in_order(group)[0] for group in groups for name in group}
    members: dict[int, Counter[str]] = defaultdict(Counter)
    for name, label in zip(names, labels, strict=True):
        members[label][first.get(name, name)] += 1
    homes = Counter(unit for units in members.values() for unit in units)
    held = {unit for unit in homes if at(unit) < share}
    for units in members.values():
        most = share * sum(units.values())
        held -= {unit for unit, count in units.items() if count > max(1, most)}
    for units in members.values():
        if held >= units.keys():
            own = [unit for unit in units if homes[unit] == 1]
            held.remove(max(own or units, key=lambda unit: (at(unit), unit)))
    for units in members.values():
        own = [unit for unit in units if homes[unit] == 1]
        if len(units) > 1 and own and not held & units.keys():
            most = share * sum(units.values())
            small = [unit for unit in own if units[unit] <= max(1, most)]
            held.add(min(small or own, key=lambda unit: (at(unit), unit)))
    return {name for name in names if first.get(name, name) in held}


def folds_of(names: Sequence[str], labels: Sequence[int], count: int, groups: Sequence[Sequence[str]] = ()) -> dict[str, int]:
    """Divides names into folds of nearly equal size, in which each class has nearly the same share.

    Groups are given out first, the largest first, then single names; each goes to the fold in which there are fewest of its
    classes, of equal ones to that with fewest names. In what order equally large ones are given out follows from the hash of
    their first name. Unlike `held_out`, a name that is added can move others.

    Args:
        names: all different.
        labels: the class of each.
        count: of folds, at least 2.
        groups: names that stay together; each in at most one group.

    Returns:
        The fold of each name, from 0.

    Raises:
        ValueError: there are fewer than two folds, or fewer groups and single names than folds.
    """
    if count < 2:
        raise ValueError(f"cross-validation needs 2 folds or more, got {count}")
    first = {name: in_order(group)[0] for group in groups for name in group}
    units: dict[str, Counter[int]] = defaultdict(Counter)
    for name, label in zip(names, labels, strict=True):
        units[first.get(name, name)][label] += 1
    if len(units) < count:
        raise ValueError(f"there are {len(units)} pictures or groups of pictures, too few for {count} folds")
    held: list[Counter[int]] = [Counter() for _ in range(count)]
    sizes = [0] * count
    fold: dict[str, int] = {}
    for unit in sorted(units, key=lambda unit: (-units[unit].total(), place(unit), unit)):
        own = units[unit]
        best = min(range(count), key=lambda i: (sum(held[i][label] * n for label, n in own.items()), sizes[i], i))
        fold[unit] = best
        held[best].update(own)
        sizes[best] += own.total()
    return {name: fold[first.get(name, name)] for name in names}


def held_out_groups(
    names: Sequence[str], labels: Sequence[int], groups: Sequence[str], share: float, salt: str = ""
) -> set[str]:
    """Returns the held-out names, of each group all or none.

    The groups are hashed, and those below the share are held out, so a group that is added does not move the others. Where a
    class would then be on one side only, the group that needs the smallest change of hash is moved; a class with a single group
    is trained on. Of few or of unequal groups, the held-out share can differ much from the one asked for.

    Args:
        names: all different.
        labels: the class of each.
        groups: the group of each, such as a patient or a video.
        share: the share of the groups that is held out, in [0, 1]; exactly 0 holds out nothing, exactly 1 everything.
        salt: goes before each name that is hashed, as in `held_out`.

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
    places = {group: place(salt + group) for group in set(groups)}
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


def held_out_units(names: Sequence[str], labels: Sequence[int], units: Sequence[str], share: float, salt: str = "") -> set[str]:
    """Returns the held-out names: `held_out_groups` where pictures share units, and `held_out` where each is one of its own."""
    if list(units) == list(names):
        return held_out(names, labels, share, salt=salt)
    return held_out_groups(names, labels, units, share, salt)
