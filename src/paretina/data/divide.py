"""Gives an opened source its splits: those that it has, or a part of its pictures held out as `val`.

For sources that say the split of each picture, or of none. Copies of one picture and pictures of one group stay on one side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from paretina.data.likeness import Moved, copies, looked_at, said, together
from paretina.data.source import ALL_HELD_OUT, NONE_HELD_OUT, Collection, Sample
from paretina.data.split import held_out, held_out_groups, in_order
from paretina.text import how_many, printable

Copies = Literal["together", "anywhere"]
C = TypeVar("C", bound=Collection)


@dataclass(frozen=True)
class Dividing:
    """How `val` is made where there is none.

    Attributes:
        share: share that is held out, in [0, 1].
        copies: whether copies of a picture stay `together` on one side, or may be `anywhere`.
        moved: the pictures that are therefore on the other side, if they are known already.
    """

    share: float
    copies: Copies = "together"
    moved: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"val_share must be in [0, 1], got {self.share}")


def with_splits(
    found: C,
    pools: Mapping[str, tuple[Sample, ...]],
    dividing: Dividing,
    where: str,
    groups: Mapping[str, str] | None = None,
) -> C:
    """The collection with its splits `train`, `val` and, where there is one, `test`.

    Args:
        found: without splits; its notes are kept.
        pools: the pictures of each split; those of none under "". Empty ones count as none.
        where: the data, at the beginning of an error.
        groups: the group of each picture by its name; those of one group are never on both sides of a split that is made here.

    Raises:
        ValueError: there are pictures with and without a split, or none to train on.
    """
    pools = {split: samples for split, samples in pools.items() if samples}
    if "" in pools and len(pools) > 1:
        none = how_many(len(pools[""]), "picture", ",")
        raise ValueError(f"{where}: some pictures have a split and {none} have none; give all one, or none")
    pool = pools.get("train", pools.get("", ()))
    if not pool and dividing.share != 1:
        raise ValueError(f"{where}: there are no pictures to train on, only {' and '.join(pools) or 'none at all'}")
    test = {"test": pools["test"]} if "test" in pools else {}
    if "val" in pools:
        return replace(found, splits={"train": pool, "val": pools["val"], **test})
    if test:
        note = "there is no split val, so the pictures in test stand in for it; nothing is left to test on"
        return replace(found, splits={"train": pool, "val": pools["test"]}, notes=(*found.notes, note))
    share = dividing.share
    held, moved = sides(found, pool, dividing, groups)
    train = tuple(sample for sample in pool if sample.name not in held)
    val = tuple(sample for sample in pool if sample.name in held)
    if share in (0, 1):
        notes = [ALL_HELD_OUT if val else NONE_HELD_OUT]
    else:
        by = "the names of their groups" if groups else "their names"
        notes = [
            f"there is no split val, so {len(val):,} of {how_many(len(pool), 'picture', ',')} "
            f"({100 * len(val) / len(pool):.1f} %) were held out as val, chosen by a hash of {by}",
            *moved.notes,
        ]
        without = sorted({sample.label for sample in train} - {sample.label for sample in val})
        if without:
            names = ", ".join(printable(found.classes[label]) for label in without if label >= 0)
            notes.append(f"classes that have no pictures in val: {names}")
    return replace(found, splits={"train": train, "val": val}, notes=(*found.notes, *notes), moved=moved.names)


def sides(
    found: Collection, pool: Sequence[Sample], dividing: Dividing, groups: Mapping[str, str] | None
) -> tuple[set[str], Moved]:
    """The names that are held out, and what changed sides because of its copies."""
    names, labels = [sample.name for sample in pool], [sample.label for sample in pool]
    share = dividing.share
    if groups is None:
        held = held_out(names, labels, share)
        moved = together(found, pool, share, dividing.moved) if dividing.copies == "together" else Moved(None)
        return held ^ {*(moved.names or ())}, moved
    own = [groups[name] for name in names]
    held = held_out_groups(names, labels, own, share)
    if share in (0, 1) or dividing.copies != "together":
        return held, Moved(None)
    if dividing.moved is not None:
        here = {*dividing.moved} & {*names}
        return held ^ here, Moved(tuple(sorted(here)), said(len(here), groups=True))
    seen = looked_at(found, pool)
    after = held_out_groups(names, labels, joined(names, own, copies(names, labels, seen.looks)), share)
    if held and not after:
        note = "all groups have copies of each other's pictures, so they were split as if they had not"
        return held, Moved((), (*seen.notes(), note))
    changed = tuple(sorted(held ^ after))
    return after, Moved(changed, (*said(len(changed), groups=True), *seen.notes()))


def joined(names: Sequence[str], groups: Sequence[str], together: Sequence[Sequence[str]]) -> list[str]:
    """The group of each name, where groups that share copies are one, under the first of their names.

    Args:
        together: names that belong together.
    """
    of = dict(zip(names, groups, strict=True))
    above = {group: group for group in groups}

    def top(group: str) -> str:
        while above[group] != group:
            above[group] = above[above[group]]
            group = above[group]
        return group

    for some in together:
        tops = in_order({top(of[name]) for name in some})
        for group in tops[1:]:
            above[group] = tops[0]
    return [top(group) for group in groups]
