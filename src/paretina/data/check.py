"""Checking a collection: what is in it, and what is wrong with it.

`check` looks at every picture once and reports counts, sizes, faults, and pictures that are there twice; two of the same in
`train` and `val` make the score look better than it is.
"""

import hashlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from paretina.data.decode import DecodeError
from paretina.data.remarks import remarks_heard, told
from paretina.data.source import Collection, Sample

CHUNK = 32
"""Pictures a thread takes at a time; one by one, a large folder would cost a queue entry a picture."""

ODD_ASPECT = 4.0
"""From this ratio of the longer to the shorter side on, a picture is listed: a square crop shows a quarter of it or less."""

UNEVEN = 10.0
"""From this ratio of the largest to the smallest class on, the report says that the classes are uneven."""

SHOWN = 10
"""Lines of each kind in the text for people; `to_dict` has all."""


@dataclass(frozen=True)
class Seen:
    """One of several pictures that are the same.

    Attributes:
        split: where it is.
        name: what it is called.
        label: the name of its class.
    """

    split: str
    name: str
    label: str


@dataclass(frozen=True)
class Spread:
    """Smallest, middle and largest of some lengths in pixels."""

    min: int
    median: float
    max: int


@dataclass(frozen=True)
class Report:
    """What `check` found.

    Attributes:
        classes: class names, in the order of their labels.
        counts: split -> class -> number of samples, damaged ones included.
        imbalance: largest over smallest class in the first split that has samples; None if a class is empty there.
        width, height: of the pictures that can be read, upright; None if there are none.
        sizes: how many different sizes there are.
        odd_aspects: name -> longer over shorter side, where that is ODD_ASPECT or more.
        faults: name -> why the picture cannot be read.
        duplicates: groups of pictures that are equal pixel by pixel.
        notes: what the source decided while opening, and what is odd about pictures that can be read.
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
    notes: tuple[str, ...]

    @property
    def samples(self) -> int:
        """Number of samples in all splits."""
        return sum(sum(by_class.values()) for by_class in self.counts.values())

    @property
    def leaks(self) -> tuple[tuple[Seen, ...], ...]:
        """The duplicates that are in more than one split."""
        return tuple(group for group in self.duplicates if len({seen.split for seen in group}) > 1)

    @property
    def contradictions(self) -> tuple[tuple[Seen, ...], ...]:
        """The duplicates that are in more than one class."""
        return tuple(group for group in self.duplicates if len({seen.label for seen in group}) > 1)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            **asdict(self),
            "samples": self.samples,
            "leaks": [[asdict(seen) for seen in group] for group in self.leaks],
            "contradictions": [[asdict(seen) for seen in group] for group in self.contradictions],
        }

    def lines(self) -> list[str]:
        """The report as plain text for people."""
        splits = list(self.counts)
        totals = ", ".join(f"{sum(self.counts[split].values())} {split}" for split in splits)
        text = [f"{len(self.classes)} classes, {self.samples} pictures: {totals}", ""]
        broad = max(len("class"), *map(len, self.classes))
        text.append("  ".join([f"{'class':<{broad}}", *(f"{split:>7}" for split in splits)]))
        for kind in self.classes:
            text.append("  ".join([f"{kind:<{broad}}", *(f"{self.counts[split][kind]:>7}" for split in splits)]))
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
        text += section("damaged, cannot be read", [f"{name}: {reason}" for name, reason in self.faults.items()])
        text += section("very long or tall", [f"{name}: {aspect:.1f} to 1" for name, aspect in self.odd_aspects.items()])
        text += section("same picture in several splits (the score will look too good)", map_groups(self.leaks))
        text += section("same picture in several classes", map_groups(self.contradictions))
        rest = tuple(group for group in self.duplicates if group not in self.leaks and group not in self.contradictions)
        text += section("same picture several times in one class", map_groups(rest))
        if not self.faults and not self.duplicates:
            text.append("no damaged pictures, no duplicates")
        return text


def section(title: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = [f"  and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    return [f"{title}: {len(items)}", *(f"  {item}" for item in items[:SHOWN]), *more]


def map_groups(groups: tuple[tuple[Seen, ...], ...]) -> list[str]:
    return [" = ".join(f"{seen.name} ({seen.split}, {seen.label})" for seen in group) for group in groups]


@dataclass(frozen=True)
class Look:
    """What one picture is like: its size, a digest of its pixels and what is odd, or the fault that hides them."""

    width: int = 0
    height: int = 0
    digest: bytes = b""
    fault: str = ""
    remark: str = ""


def look(collection: Collection, sample: Sample) -> Look:
    with remarks_heard() as heard:
        try:
            image = collection.image(sample)
        except DecodeError as error:
            return Look(fault=str(error).removeprefix(f"{sample.name}: "))
    height, width = image.shape[1:]
    pixels = image.permute(1, 2, 0).contiguous().numpy().data
    digest = hashlib.blake2b(pixels, digest_size=16, person=f"{width}x{height}".encode()).digest()
    return Look(width, height, digest, remark="; ".join(heard))


def look_at_all(collection: Collection, samples: Sequence[Sample], workers: int) -> list[Look]:
    if workers < 1:
        raise ValueError(f"one worker or more is needed, got {workers}")
    chunks = [samples[start : start + CHUNK] for start in range(0, len(samples), CHUNK)]
    with ThreadPoolExecutor(workers) as pool:  # threads: Pillow decodes without Python's lock
        looks = pool.map(lambda chunk: [look(collection, sample) for sample in chunk], chunks)
        return [one for some in looks for one in some]


def check(collection: Collection, splits: Sequence[str] | None = None, workers: int = 2) -> Report:
    """Looks at every picture of some splits.

    Args:
        splits: names of splits; all if None.
        workers: number of threads; the report does not depend on it.

    Raises:
        ValueError: the collection has no such split.
    """
    splits = list(collection.splits) if splits is None else list(splits)
    placed = [(split, sample) for split in splits for sample in collection.split(split)]
    looks = look_at_all(collection, [sample for _, sample in placed], workers)
    names = collection.classes
    counts = {split: Counter(sample.label for sample in collection.split(split)) for split in splits}
    first = next((count for count in counts.values() if count), Counter[int]())
    smallest = min((first[label] for label in range(len(names))), default=0)
    same: dict[bytes, list[Seen]] = defaultdict(list)
    faults, odd, remarks, good = {}, {}, {}, []
    for (split, sample), seen in zip(placed, looks, strict=True):
        if seen.fault:
            faults[sample.name] = seen.fault
            continue
        good.append(seen)
        if seen.remark:
            remarks[sample.name] = seen.remark
        same[seen.digest].append(Seen(split, sample.name, names[sample.label]))
        aspect = max(seen.width, seen.height) / min(seen.width, seen.height)
        if aspect >= ODD_ASPECT:
            odd[sample.name] = aspect
    return Report(
        classes=names,
        counts={split: {kind: counts[split][label] for label, kind in enumerate(names)} for split in splits},
        imbalance=max(first.values()) / smallest if smallest else None,
        width=spread([seen.width for seen in good]),
        height=spread([seen.height for seen in good]),
        sizes=len({(seen.width, seen.height) for seen in good}),
        odd_aspects=odd,
        faults=faults,
        duplicates=tuple(tuple(group) for group in same.values() if len(group) > 1),
        notes=(*collection.notes, *told(remarks)),
    )


def spread(lengths: list[int]) -> Spread | None:
    return Spread(min(lengths), float(statistics.median(lengths)), max(lengths)) if lengths else None
