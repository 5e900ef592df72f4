"""Finds duplicate and near-duplicate pictures.

A picture in val whose copy is in train makes the accuracy look better than it is. Two pictures are *equal* if their pixels are,
whatever their files are called and however they are stored. They are *near* if they show the same but for another compression,
size, brightness or a shift of about a hundredth, as frames of a burst do: if their perceptual hashes differ in few bits, and
their colours agree where the hash, which sees grey only, cannot tell. Mirrored, turned or cropped copies are not found.

The results for each picture are kept in the user's cache, see `paretina.data.look_cache`, so that a data set is read once.

Sources: the hash is that of the first DCT coefficients of a small grey picture, from the package ImageHash; copies between the
splits of well-known sets and what they do to accuracies, Barz and Denzler 2020 (arXiv:1902.00423).
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F

from paretina.data.decode import DecodeError
from paretina.data.look_cache import LookCache
from paretina.data.source import Collection, Sample
from paretina.data.split import held_out, in_order
from paretina.shapes import Image
from paretina.text import how_many

BITS = 256
"""Of a hash: the 16 x 16 lowest frequencies of 64 x 64 pixels. With the usual 8 x 8, one in 2,400 pairs of the built-in
drawings is within 6 bits, most of them of different things; with 16 x 16 only one in 5,000 is within 24."""

FAR = 28
"""Bits in which two near pictures may differ. JPEG at quality 20 changes mostly 6 of a photo and up to 26, half the size 8
and 26, brighter by a tenth 4 and 6; a shift by a hundredth of the width mostly 22, by a fiftieth 48. Parts of unrelated
photos differ in 92 and more."""

GRID, TINTS = 8, 2
"""Brightness is compared on 8 x 8 cells, colour on 2 x 2: JPEG keeps little of finer colour."""

UNLIKE = 0.0125
"""How much of the sum of squares of the cells may differ in near pictures, each set with its mean brightness and its contrast
removed. JPEG at quality 50 makes mostly 0.0002, half the size 0.0008, brighter by a fifth 0.0015, a fifth less colour 0.008,
a shift by a hundredth 0.008; the same drawing in another colour 0.1 and more. With it, 39 of the 3.5 million pairs of the
built-in drawings are near, nearly all of them drawings that one author has made twice with another detail, and none of the
shapes."""

SMALLEST = 32
"""Shorter side in pixels of a picture that can be near another. Of a smaller one, such as a digit of 28 x 28, the hash would
see more of the enlargement than of the picture, and all ones are alike; only equal ones are found."""

FLAT = 1.0
"""Spread of the cells' brightness, of 255, up to which a picture counts as flat. The hash of one is rounding errors."""

ENOUGH = 128
"""Shorter side in pixels that is decoded, where a format can be decoded smaller. JPEGs are then equal if their pixels at that
size are, and one that was saved losslessly as another format is near."""

MOST = 50_000
"""With more pictures than this, only equal files are searched for, which are read but not decoded: the time to find
near-duplicates grows with the square of the number of pictures."""

MANY = 5_000
"""From this number of newly read pictures, a note is given, since it took minutes."""

SAVED = 4096
"""Number of pictures after which results are saved, so that an interruption loses little."""

BLOCK = 256
"""Pictures that are compared with all others at a time; limits the memory to about 100 MB."""

LOOK = np.dtype(
    [("digest", "V16"), ("comparable", "?"), ("hash", "u1", (BITS // 8,)), ("cells", "f2", (GRID**2 + 2 * TINTS**2,))]
)
"""What is known of one picture: a digest of its pixels, or zeros if it cannot be read; whether the rest means anything, which
it does not for tiny and for flat ones; the hash; and brightness and colour of the cells, a vector of length 1."""


def look(image: Image, near: bool = True) -> np.ndarray:
    """The digest and hash of a picture, a scalar of the type LOOK.

    Args:
        near: whether to compute the data for finding near-duplicates.
    """
    import imagehash

    found = np.zeros((), LOOK)
    height, width = image.shape[1:]
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    # a picture of another shape can have the same bytes
    found["digest"] = hashlib.blake2b(pixels.data, digest_size=16, person=f"{width}x{height}".encode()).digest()
    if not near or min(height, width) < SMALLEST:
        return found
    small = PIL.Image.fromarray(pixels).reduce(max(1, min(height, width) // ENOUGH))
    channels = torch.from_numpy(np.array(small.convert("YCbCr"))).permute(2, 0, 1).float()  # h w c -> c h w
    bright = F.adaptive_avg_pool2d(channels[:1], GRID).flatten()
    if bright.std(correction=0) <= FLAT:
        return found
    tints = F.adaptive_avg_pool2d(channels[1:] - 128, TINTS).flatten() * (GRID / TINTS)  # each covers that many cells
    cells = torch.cat((bright - bright.mean(), tints))
    found["comparable"] = True
    found["hash"] = np.packbits(imagehash.phash(small, hash_size=round(BITS**0.5)).hash)
    found["cells"] = (cells / cells.norm()).numpy()
    return found


@dataclass(frozen=True)
class Looked:
    """
    Attributes:
        looks: of each picture in order, of the type LOOK.
        near: whether near-duplicates can be found; not among more than MOST pictures.
        new: how many were not in the cache.
        unkept: why the results cannot be cached; "" if they can.
        hurried: whether there was no time to look for near-duplicates.
    """

    looks: np.ndarray
    near: bool
    new: int
    unkept: str = ""
    hurried: bool = False

    def notes(self) -> tuple[str, ...]:
        found = []
        if self.hurried:
            found.append(no_time(len(self.looks)))
        elif not self.near:
            found.append(too_many(len(self.looks)))
        if self.unkept:
            found.append(self.unkept)
        elif self.new >= MANY:
            found.append(
                f"{how_many(self.new, 'picture was', ',', 'pictures were')} looked at once to find copies among "
                "them; that is kept for the next time"
            )
        return tuple(found)


def too_many(pictures: int) -> str:
    return (
        f"there are {how_many(pictures, 'picture', ',')}, more than {MOST:,}: only equal ones were looked for, not near copies"
    )


def no_time(pictures: int) -> str:
    return (
        f"the time limit is too short to look for near copies among {how_many(pictures, 'picture', ',')}: only equal ones were "
        "looked for; paretina data check looks for both, and keeps what it found for the next time"
    )


def looked_at(collection: Collection, samples: Sequence[Sample], most: int | None = None, fresh: int | None = None) -> Looked:
    """Reads every picture once, in threads; results for unchanged files come from the cache.

    Args:
        samples: of this collection.
        most: number of pictures up to which near-duplicates are searched for; default: MOST.
        fresh: number of pictures that are not in the cache up to which they are; None for any.
    """
    origin = collection.origin()
    names = [collection.name_at_origin(sample) for sample in samples]
    files = {name: origin.file(Sample(name, 0)) for name in names}
    near = len(files) <= (MOST if most is None else most)
    cache = LookCache(files, LOOK, "near" if near else "equal")
    hurried = near and fresh is not None and len(files.keys() - cache.known.keys()) > fresh
    if hurried:
        near, cache = False, LookCache(files, LOOK, "equal")
    known = dict(cache.known)
    missing = [name for name in files if name not in known]
    own = not near and len(set(files.values())) == len(files)  # a file with several pictures does not identify one

    def find(name: str) -> np.ndarray:
        try:
            if own and (file := files[name]) is not None:
                return look_at_bytes(file)
            return look(origin.image(Sample(name, 0), ENOUGH), near)
        except (DecodeError, OSError):
            return np.zeros((), LOOK)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # threads: Pillow decodes without Python's lock
        for start in range(0, len(missing), SAVED):
            some = missing[start : start + SAVED]
            found = dict(zip(some, pool.map(find, some), strict=True))
            known |= found
            # an unreadable picture may be readable next time, although its file has not changed
            cache.keep({name: one for name, one in found.items() if any(one["digest"].tobytes())})
    return Looked(np.array([known[name] for name in names], LOOK), near, len(missing), cache.note, hurried)


def look_at_bytes(file: Path) -> np.ndarray:
    """The digest of a file, without decoding it."""
    found = np.zeros((), LOOK)
    with file.open("rb") as data:
        found["digest"] = hashlib.file_digest(data, lambda: hashlib.blake2b(digest_size=16)).digest()
    return found


# --- comparing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparable:
    """Looks in a form for batched comparison; those that are not comparable are near nothing.

    Attributes:
        signs: the bits of the hashes, as -1 and 1.
        cells: brightness and colour, of length 1.
        means: whether they are comparable.
    """

    signs: np.ndarray
    cells: np.ndarray
    means: np.ndarray

    @classmethod
    def of(cls, looks: np.ndarray) -> "Comparable":
        signs = np.unpackbits(looks["hash"], axis=1).astype(np.float32) * 2 - 1
        return cls(signs, looks["cells"].astype(np.float32), looks["comparable"])

    def __getitem__(self, which: Any) -> "Comparable":
        return Comparable(self.signs[which], self.cells[which], self.means[which])

    def near(self, others: "Comparable") -> np.ndarray:
        """Whether each is near each of the others, [n, m]."""
        found = (self.signs @ others.signs.T >= BITS - 2 * FAR) & self.means[:, None] & others.means
        rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
        # of two vectors of length 1 the squared distance is 2 - 2 times their product
        agree = self.cells[rows] @ others.cells[columns].T >= 1 - UNLIKE / 2
        found[np.ix_(rows, columns)] &= agree
        return found


def equal(names: Sequence[str], looks: np.ndarray) -> list[list[int]]:
    """Groups of indices of equal pictures, sorted by name; unreadable pictures are groups of their own."""
    found: dict[Any, list[int]] = defaultdict(list)
    places = {name: i for i, name in enumerate(names)}
    for i in map(places.__getitem__, in_order(names)):
        digest = looks["digest"][i].tobytes()
        found[digest if any(digest) else i].append(i)
    return list(found.values())


def leaders(looks: np.ndarray) -> list[int]:
    """For each picture the index of its group's leader: the first leader that it is near to, or itself.

    So all of a group are near its leader, and no chain of small differences joins dissimilar pictures.
    """
    found = list(range(len(looks)))
    whole = Comparable.of(looks)
    leading: list[int] = []
    for start in range(0, len(looks), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(looks)))
        before = whole[block].near(whole[leading])
        inside = whole[block].near(whole[block])
        new: list[int] = []
        for row, i in enumerate(block.tolist()):
            if before[row].any():
                found[i] = leading[int(before[row].argmax())]
            elif any(inside[row, new]):
                found[i] = start + next(column for column in new if inside[row, column])
            else:
                new.append(row)
        leading += [start + row for row in new]
    return found


def bound(distinct: int, smallest: int) -> int:
    """Maximum number of different pictures in a group of near-duplicates; larger groups are one view rather than copies.

    A hundredth of the set, in small sets up to 8 as long as they are at most half of the smallest class among them, so that a
    burst in a folder of 200 counts; always 2.
    """
    return max(2, distinct // 100, min(8, smallest // 2))


def copies(names: Sequence[str], labels: Sequence[int], looks: np.ndarray) -> list[list[str]]:
    """The groups of two or more pictures, by name, that belong on the same side of a split."""
    same = equal(names, looks)
    firsts = np.array([group[0] for group in same], int)
    near: dict[int, list[int]] = defaultdict(list)
    for place, leader in enumerate(leaders(looks[firsts])):
        near[leader].append(place)
    sizes: dict[int, int] = defaultdict(int)
    for group in same:
        for label in {labels[i] for i in group}:
            sizes[label] += 1
    found = []
    for places in near.values():
        smallest = min(sizes[labels[i]] for place in places for i in same[place])
        parts = [places] if len(places) <= bound(len(same), smallest) else [[place] for place in places]
        found += [[names[i] for place in part for i in same[place]] for part in parts]
    return [group for group in found if len(group) > 1]


@dataclass(frozen=True)
class Moved:
    """
    Attributes:
        names: pictures that are on the other side of the split than by name, because their copies are there; None if copies
            were not searched for.
        notes: notes for the user, a sentence each.
    """

    names: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


def together(collection: Collection, samples: Sequence[Sample], share: float, decided: tuple[str, ...] | None = None) -> Moved:
    """Determines which pictures change sides so that copies stay together; see `paretina.data.split.held_out`.

    Args:
        decided: the answer if it is already known; no picture is then read.
    """
    names, labels = [sample.name for sample in samples], [sample.label for sample in samples]
    if share in (0, 1):
        return Moved(None)
    if decided is not None:
        here = tuple(sorted({*decided} & {*names}))
        return Moved(here, said(len(here)))
    seen = looked_at(collection, samples)
    groups = copies(names, labels, seen.looks)
    alone = held_out(names, labels, share)
    held = held_out(names, labels, share, groups)
    if alone and not held:
        return Moved((), (*seen.notes(), "all pictures are copies of each other, so they were split as if they were not"))
    moved = tuple(sorted(alone ^ held))
    return Moved(moved, (*said(len(moved)), *seen.notes()))


def said(moved: int, groups: bool = False) -> tuple[str, ...]:
    """The note about pictures that changed sides."""
    if not moved:
        return ()
    what = "picture is" if moved == 1 else "pictures are"
    kept = "groups stay together, and copies of one picture" if groups else "copies of one picture stay together"
    return (f"{moved:,} {what} on the other side than by name, so that {kept}",)


# --- across a split ---------------------------------------------------------------------------------------------------

SHOWN = 50
"""Maximum number of pairs named in the result of a run."""


@dataclass(frozen=True)
class Leaks:
    """Evaluated pictures that have a copy in the training data.

    Attributes:
        split: the evaluated split.
        of: number of pictures there that can be read.
        equal: how many of them are in train too.
        near: how many others have a near copy of their class in train.
        alike: how many others look like more pictures than can be copies of one, see `bound`, some of their class in train.
        pairs: for each its name, the name in train, and "equal" or "near".
        notes: notes on the search, a sentence each.
    """

    split: str = "val"
    of: int = 0
    equal: int = 0
    near: int = 0
    alike: int = 0
    pairs: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def warning(self) -> str:
        """The warning to print with the accuracy; "" if there is none."""
        copied = self.equal + self.near
        if not copied:
            return ""
        return (
            f"warning: {copied:,} of {self.of:,} {self.where()} {'is' if copied == 1 else 'are'} also in train ({self.equal:,} "
            f"exact, {self.near:,} near): the accuracy {'is' if self.equal else 'may be'} too high by it"
        )

    def note(self) -> str:
        """The note to print with the accuracy; "" if there is none."""
        if not self.alike:
            return ""
        look, they, show = ("looks", "it", "shows") if self.alike == 1 else ("look", "they", "show")
        return (
            f"{self.alike:,} of {self.of:,} {self.where()} {look} much like many pictures in train, as from a fixed camera; if "
            f"{they} {show} the same scene, the accuracy may be too high"
        )

    def where(self) -> str:
        return {"val": "validation pictures", "test": "test pictures"}.get(self.split, f"pictures in {self.split}")

    def to_dict(self, most: int | None = SHOWN) -> dict[str, Any]:
        """JSON-compatible values.

        Args:
            most: maximum number of pairs; None for all.
        """
        pairs = [{"name": name, "train": other, "kind": kind} for name, other, kind in self.pairs[:most]]
        counts = {"split": self.split, "of": self.of, "equal": self.equal, "near": self.near, "alike": self.alike}
        return {**counts, "warning": self.warning(), "note": self.note(), "pairs": pairs}


LOOK_S = 6e-4
"""Seconds for looking at a picture once, near copies included."""


def leaks(
    collection: Collection, split: str = "val", among: Sequence[Sample] | None = None, seconds: float | None = None
) -> Leaks:
    """Finds the pictures of a split that have a copy in train; built-in data sets are skipped, see COPIES.

    Args:
        among: the evaluated pictures, from this collection; default: all of the split.
        seconds: that looking for near copies may take; None for any.
    """
    train, measured = collection.split("train"), collection.split(split) if among is None else among
    if not collection.origin().COPIES or not train or not measured:
        return Leaks(split, len(measured))
    seen = looked_at(collection, (*train, *measured), fresh=None if seconds is None else int(seconds / LOOK_S))
    found = between(split, train, seen.looks[: len(train)], measured, seen.looks[len(train) :])
    return replace(found, notes=seen.notes())


def between(split: str, train: Sequence[Sample], before: np.ndarray, measured: Sequence[Sample], after: np.ndarray) -> Leaks:
    """Finds pictures that have a copy in train.

    Args:
        before: the looks of those in train, in order.
        after: the looks of the evaluated ones, in order.
    """
    learned: dict[bytes, str] = {}
    for sample, digest in zip(train, before["digest"], strict=True):
        learned.setdefault(digest.tobytes(), sample.name)
    readable = [any(digest.tobytes()) for digest in after["digest"]]
    partners: dict[int, tuple[str, str]] = {}
    for i, digest in enumerate(after["digest"]):
        if readable[i] and digest.tobytes() in learned:
            partners[i] = (learned[digest.tobytes()], "equal")
    views = Views.of((*train, *measured), np.concatenate((before, after)))
    rest = np.array([i for i in range(len(measured)) if i not in partners and after["comparable"][i]], int)
    known, asked = Comparable.of(before), Comparable.of(after)
    labels = np.array([sample.label for sample in train])
    alike = 0
    for low in range(0, len(rest), BLOCK):
        some = rest[low : low + BLOCK]
        found = asked[some].near(known)
        for row in np.flatnonzero(found.any(1)).tolist():
            i, others = int(some[row]), np.flatnonzero(found[row])
            same = others[labels[others] == measured[i].label]  # what looks like another class does not help
            if not len(same):
                continue
            single = same[~views.large[same]]
            if views.large[len(train) + i] or not len(single) or views.too_many(others, len(train) + i):
                alike += 1
            else:
                partners[i] = (train[int(single[0])].name, "near")
    kinds = [kind for _, kind in partners.values()]
    pairs = tuple((measured[i].name, *partners[i]) for i in sorted(partners))
    return Leaks(split, sum(readable), kinds.count("equal"), kinds.count("near"), alike, pairs)


@dataclass(frozen=True)
class Views:
    """Tells many pictures of one view, as from a fixed camera, from copies of one picture; see `bound`.

    Attributes:
        ids: of each picture a number that equal ones share.
        labels: of each picture.
        sizes: of each class the number of different pictures.
        large: whether each is in a group of near ones that is too large.
    """

    ids: np.ndarray
    labels: np.ndarray
    sizes: dict[int, int]
    large: np.ndarray

    @classmethod
    def of(cls, samples: Sequence[Sample], looks: np.ndarray) -> "Views":
        numbers: dict[Any, int] = {}
        digests = [digest.tobytes() for digest in looks["digest"]]
        ids = np.array([numbers.setdefault(one if any(one) else i, len(numbers)) for i, one in enumerate(digests)], int)
        labels = np.array([sample.label for sample in samples], int)
        sizes = dict(Counter(label for _, label in {*zip(ids.tolist(), labels.tolist(), strict=True)}))
        views = cls(ids, labels, sizes, np.zeros(len(looks), bool))
        _, firsts = np.unique(ids, return_index=True)
        groups = np.array(leaders(looks[firsts]), int)[ids]
        members: dict[int, list[int]] = defaultdict(list)
        for i, group in enumerate(groups.tolist()):
            members[group].append(i)
        for group in members.values():
            views.large[group] = views.too_many(np.array(group))
        return views

    def too_many(self, group: np.ndarray, *more: int) -> bool:
        """Whether pictures, given by their places, are more than a group may hold."""
        group = np.append(group, np.array(more, int))
        smallest = min(self.sizes[label] for label in set(self.labels[group].tolist()))
        return len(np.unique(self.ids[group])) > bound(int(self.ids.max()) + 1, smallest)
