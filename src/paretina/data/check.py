"""Checks a data set: counts, sizes, damaged pictures and duplicates.

`check` reads every picture once and reports counts, sizes, faults, duplicates and near-duplicates, see
`paretina.data.likeness`; the same picture in `train` and `val` makes the score look better than it is.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from paretina.data import likeness
from paretina.data.damage import allowing, is_too_much
from paretina.data.decode import DecodeError
from paretina.data.likeness import LOOK, Leaks
from paretina.data.remarks import remarks_heard, told
from paretina.data.source import Collection, Sample
from paretina.model.tasks.one_of import OneOf
from paretina.text import how_many, printable

CHUNK = 32
"""Pictures per task of a thread; one by one, a large folder would need a queue entry for each picture."""

ODD_ASPECT = 4.0
"""Pictures are listed from this ratio of the longer to the shorter side: a square crop shows a quarter of them or less."""

UNEVEN = 10.0
"""From this ratio of the largest to the smallest class, the report calls the classes uneven."""

SHOWN = 10
"""Maximum number of lines of each kind in the printed report; `to_dict` has all."""


@dataclass(frozen=True)
class Seen:
    """One of several identical pictures.

    Attributes:
        split: its split.
        name: its name.
        label: the name of its class.
    """

    split: str
    name: str
    label: str


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of some lengths in pixels."""

    min: int
    median: float
    max: int


@dataclass(frozen=True)
class Report:
    """The result of `check`.

    Attributes:
        classes: class names, in the order of their labels.
        counts: split -> class -> number of samples, damaged ones included.
        imbalance: largest over smallest class in the first split that has samples; None if a class is empty there.
        width, height: of the pictures that can be read, upright; None if there are none.
        sizes: how many different sizes there are.
        odd_aspects: name -> ratio of the longer to the shorter side, if it is ODD_ASPECT or more.
        faults: name -> why the picture cannot be read.
        duplicates: groups of pictures that are equal pixel by pixel.
        near: groups of near-duplicates of the first picture of the group; of equal pictures only the first is included.
        copied: split -> its pictures that have a copy in train, for each split other than train.
        pictures: split -> number of pictures, which is that of the labels only where each has one.
        notes: what the source decided while opening, and anomalies of pictures that can be read.
        refusal: why `train` refuses this data; "" if it accepts it, as far as the pictures are concerned.
    """

    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    imbalance: float | None
    width: Spread | None
    height: Spread | None
    sizes: int
    odd_aspects: dict[str, float]
    faults: dict[str, str]
    duplicates: tuple[tuple[Seen, ...], ...]
    near: tuple[tuple[Seen, ...], ...]
    copied: dict[str, Leaks]
    pictures: dict[str, int]
    notes: tuple[str, ...]
    refusal: str = ""

    @property
    def samples(self) -> int:
        """Number of samples in all splits."""
        return sum(self.pictures.values())

    @property
    def leaks(self) -> tuple[tuple[Seen, ...], ...]:
        """The duplicates that are in more than one split."""
        return tuple(group for group in self.duplicates if len({seen.split for seen in group}) > 1)

    @property
    def contradictions(self) -> tuple[tuple[Seen, ...], ...]:
        """The duplicates that are in more than one class."""
        return tuple(group for group in self.duplicates if len({seen.label for seen in group}) > 1)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-compatible values."""
        return {
            **asdict(self),
            "copied": {split: leaks.to_dict(None) for split, leaks in self.copied.items()},
            "samples": self.samples,
            "leaks": [[asdict(seen) for seen in group] for group in self.leaks],
            "contradictions": [[asdict(seen) for seen in group] for group in self.contradictions],
        }

    def lines(self) -> list[str]:
        """The report as lines of plain text."""
        splits = list(self.counts)
        totals = ", ".join(f"{self.pictures[split]} {split}" for split in splits)
        text = [f"{how_many(len(self.classes), 'class')}, {how_many(self.samples, 'picture')}: {totals}", ""]
        titles = {kind: printable(kind) for kind in self.classes}
        broad = max(len("class"), *map(len, titles.values()))
        text.append("  ".join([f"{'class':<{broad}}", *(f"{split:>7}" for split in splits)]))
        for kind in self.classes:
            text.append("  ".join([f"{titles[kind]:<{broad}}", *(f"{self.counts[split][kind]:>7}" for split in splits)]))
        text.append("")
        if self.width and self.height:
            for side, spread in (("width", self.width), ("height", self.height)):
                text.append(f"{side}: {spread.min} to {spread.max} pixels, median {spread.median:g}")
        if self.imbalance is not None and self.imbalance >= UNEVEN:
            text.append(
                f"uneven: the largest class has {self.imbalance:.0f} times the pictures of the smallest; see balanced accuracy"
            )
        for note in self.notes:
            text.append(f"note: {note}")
        text += [f"note: {leaks.note()}" for leaks in self.copied.values() if leaks.note()]
        text += [leaks.warning() for leaks in self.copied.values() if leaks.warning()]
        if self.refusal:
            text.append(f"train refuses this data: {self.refusal}")
        text += section("damaged, cannot be read", [f"{name}: {reason}" for name, reason in self.faults.items()])
        text += section("very long or tall", [f"{name}: {aspect:.1f} to 1" for name, aspect in self.odd_aspects.items()])
        text += section("same picture in several splits (the score will look too good)", map_groups(self.leaks))
        text += section("same picture in several classes", map_groups(self.contradictions))
        rest = tuple(group for group in self.duplicates if group not in self.leaks and group not in self.contradictions)
        text += section("same picture several times in one class", map_groups(rest))
        across = [
            f"{name} ({leaks.split}) ~ {other} (train)"
            for leaks in self.copied.values()
            for name, other, kind in leaks.pairs
            if kind == "near"
        ]
        text += section("nearly the same picture in several splits (the score may look too good)", across)
        mixed = tuple(group for group in self.near if len({seen.label for seen in group}) > 1)
        text += section("nearly the same picture in several classes", map_groups(mixed, " ~ "))
        within = tuple(group for group in self.near if len({(seen.split, seen.label) for seen in group}) == 1)
        text += section("nearly the same picture several times in one class", map_groups(within, " ~ "))
        if not self.faults and not self.duplicates and not self.near and not across:
            text.append("no damaged pictures, no duplicates")
        return [printable(line) for line in text]


def section(title: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = [f"  and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    return [f"{title}: {len(items)}", *(f"  {item}" for item in items[:SHOWN]), *more]


def map_groups(groups: tuple[tuple[Seen, ...], ...], sign: str = " = ") -> list[str]:
    return [sign.join(f"{seen.name} ({seen.split}, {seen.label})" for seen in group) for group in groups]


@dataclass(frozen=True)
class CheckedPicture:
    """The findings for one picture: size, data for finding copies, and anomalies; or why it cannot be read."""

    width: int = 0
    height: int = 0
    fault: str = ""
    likeness: np.ndarray = field(default_factory=lambda: np.zeros((), LOOK))
    remark: str = ""


def look(collection: Collection, sample: Sample, near: bool) -> CheckedPicture:
    with remarks_heard() as heard:
        try:
            image = collection.image(sample)
        except DecodeError as error:
            return CheckedPicture(fault=str(error).removeprefix(f"{sample.name}: "))
    height, width = image.shape[1:]
    return CheckedPicture(width, height, "", likeness.look(image, near), "; ".join(heard))


def look_at_all(collection: Collection, samples: Sequence[Sample], workers: int, near: bool) -> list[CheckedPicture]:
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    chunks = [samples[start : start + CHUNK] for start in range(0, len(samples), CHUNK)]
    with ThreadPoolExecutor(workers) as pool:  # threads: Pillow decodes without Python's lock
        looks = pool.map(lambda chunk: [look(collection, sample, near) for sample in chunk], chunks)
        return [one for some in looks for one in some]


def refusal_of(collection: Collection, faults: Container[str], max_damaged: float) -> str:
    """Why a run refuses these pictures: too many of train and val together, or all of one of them, cannot be read."""
    names = {split: [sample.name for sample in collection.split(split)] for split in ("train", "val")}
    lost = {split: sum(name in faults for name in names[split]) for split in names}
    damaged, count = sum(lost.values()), sum(map(len, names.values()))
    if count and is_too_much(damaged, count, max_damaged):
        return (
            f"{damaged} of {count} pictures in train and val cannot be read, more than max_damaged={max_damaged:g} allows; "
            f"repair or remove them, or allow it with max_damaged={allowing(damaged, count):g}"
        )
    for split in names:
        if lost[split] == len(names[split]):
            return f"there is no picture in {split} that can be read"
    return ""


def check(
    collection: Collection, splits: Sequence[str] | None = None, workers: int = 2, max_damaged: float | None = None
) -> Report:
    """Checks every picture of some splits.

    Args:
        splits: names of splits; default: all.
        workers: number of threads; the report does not depend on it.
        max_damaged: share of unreadable pictures above which a run refuses to start; no refusal is reported if this is None,
            or if `train` and `val` are not both checked.

    Raises:
        ValueError: the collection has no such split.
    """
    splits = list(collection.splits) if splits is None else list(splits)
    placed = [(split, sample) for split in splits for sample in collection.split(split)]
    can_be_near = len(placed) <= likeness.MOST
    looks = look_at_all(collection, [sample for _, sample in placed], workers, can_be_near)
    likes = np.array([seen.likeness for seen in looks], LOOK)
    names = collection.classes
    faults: dict[str, str] = {}
    counts = {split: shown_classes(collection, collection.split(split), faults) for split in splits}
    first = next((count for count in counts.values() if count), Counter[int]())
    smallest = min((first[label] for label in range(len(names))), default=0)
    odd, remarks, good = {}, {}, []
    for (_, sample), seen in zip(placed, looks, strict=True):
        if seen.fault:
            faults[sample.name] = seen.fault
            continue
        good.append(seen)
        if seen.remark:
            remarks[sample.name] = seen.remark
        aspect = max(seen.width, seen.height) / min(seen.width, seen.height)
        if aspect >= ODD_ASPECT:
            odd[sample.name] = aspect
    everyone = [Seen(split, sample.name, names[sample.label] if sample.label >= 0 else "no label") for split, sample in placed]
    by_digest: dict[bytes, list[int]] = defaultdict(list)
    for i, seen in enumerate(looks):
        if not seen.fault:
            by_digest[seen.likeness["digest"].tobytes()].append(i)
    firsts = [group[0] for group in by_digest.values()]
    near: dict[int, list[Seen]] = defaultdict(list)
    for i, leader in zip(firsts, likeness.leaders(likes[firsts]), strict=True):
        near[leader].append(everyone[i])
    at = {split: [i for i, (own, _) in enumerate(placed) if own == split] for split in splits}
    both = {"train", "val"} <= set(splits)
    few = () if can_be_near else (likeness.too_many(len(placed)),)
    return Report(
        classes=names,
        counts={split: {kind: counts[split][label] for label, kind in enumerate(names)} for split in splits},
        imbalance=max(first.values()) / smallest if smallest else None,
        width=spread([seen.width for seen in good]),
        height=spread([seen.height for seen in good]),
        sizes=len({(seen.width, seen.height) for seen in good}),
        odd_aspects=odd,
        faults=faults,
        duplicates=tuple(tuple(everyone[i] for i in group) for group in by_digest.values() if len(group) > 1),
        near=tuple(tuple(group) for group in near.values() if len(group) > 1),
        copied={
            split: likeness.between(
                split, collection.split("train"), likes[at["train"]], collection.split(split), likes[at[split]]
            )
            for split in splits
            if split != "train" and "train" in splits
        },
        pictures={split: len(collection.split(split)) for split in splits},
        notes=tuple(dict.fromkeys((*collection.notes, *told(remarks), *few))),
        refusal=refusal_of(collection, faults, max_damaged) if max_damaged is not None and both else "",
    )


def shown_classes(collection: Collection, samples: Sequence[Sample], faults: dict[str, str]) -> Counter[int]:
    """Counts the pictures that show each class, by class index; of masks and boxes, those with any.

    Args:
        faults: receives, by name, the reason why a target cannot be read.

    Raises:
        ValueError: a target does not fit the task.
    """
    task, classes = collection.task, len(collection.classes)
    if task == OneOf():
        return Counter(sample.label for sample in samples)
    found: Counter[int] = Counter()
    for sample in samples:
        try:
            targets = task.targets([collection.target(sample)], classes)[0]
        except DecodeError as error:
            faults[sample.name] = str(error).removeprefix(f"{sample.name}: ")
            continue
        if task.BOXES:
            targets = targets[..., 4]
        found.update((targets.flatten(1).amax(1) if targets.ndim > 1 else targets).gt(0.5).nonzero().flatten().tolist())
    return found


def spread(lengths: list[int]) -> Spread | None:
    return Spread(min(lengths), float(statistics.median(lengths)), max(lengths)) if lengths else None
