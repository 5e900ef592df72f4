"""Turns labels that are written as text into classes and targets, for sources that are told the label of each picture."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from paretina.data.names import likeness, spelt
from paretina.data.source import Sample
from paretina.model.tasks.any_of import ABSENT
from paretina.text import how_many

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The split that a word names, in lower case."""

NO_LABEL_YET = -1
"""The label of a picture of `test` whose class is not known."""


def class_names(found: Iterable[str], where: str, least: int = 2) -> tuple[str, ...]:
    """The classes in their order: by number if all are whole numbers, otherwise by name.

    Args:
        where: the data, at the beginning of an error.
        least: how many are needed.

    Raises:
        ValueError: there are too few, or two differ only in case or spaces.
    """
    names = sorted({*found})
    if all(is_whole(name) for name in names):
        names.sort(key=lambda name: (int(name), name))
    alike: dict[str, str] = {}
    for name in names:
        other = alike.setdefault(likeness(name), name)
        if other != name:
            raise ValueError(
                f"{where}: the classes {spelt(other)} and {spelt(name)} differ only in case or spaces; write them in one way"
            )
    if len(names) < least:
        raise ValueError(f"{where}: has {'no class' if not names else f'a single class, {spelt(names[0])}'}; two are needed")
    return tuple(names)


def is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def several_of(numbers: Sequence[int], classes: int) -> Tensor:
    """The target of a picture with these classes, for `AnyOf`; with none, `ABSENT` for all."""
    row = torch.full((classes,), 0.0 if numbers else ABSENT)
    row[list(numbers)] = 1.0
    return row


def straddling(splits: dict[str, tuple[Sample, ...]], groups: dict[str, str]) -> str:
    """A note on groups that have pictures to train on and to judge on; "" if there are none."""
    sides = {split: {groups[sample.name] for sample in samples} for split, samples in splits.items()}
    both = sides.get("train", set()) & set().union(*(found for split, found in sides.items() if split != "train"))
    if not both:
        return ""
    return (
        f"warning: {how_many(len(both), 'group has', ',', 'groups have')} pictures in train and in val or test, such as "
        f"{spelt(min(both).strip())}: the accuracy may be too high by {'it' if len(both) == 1 else 'them'}"
    )
