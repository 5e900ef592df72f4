"""Idx: pictures in idx files, as MNIST and the sets like it are published, in one folder.

A file of pictures and a file of labels for each split, plain or packed by gzip: `train-images-idx3-ubyte` with
`train-labels-idx1-ubyte`, and `t10k-images-idx3-ubyte` with `t10k-labels-idx1-ubyte`; also with a dot
(`train-images.idx3-ubyte`), and with the name of a set in front, as in EMNIST (`emnist-letters-train-images-idx3-ubyte`).
`t10k` and `test` are the split test, `val` and `valid` are val. Where there is no val, the pictures in test stand in for it; a
folder with train alone is split by a hash of the numbers of the pictures.

What a header says is compared with the length of the file before anything is read. Everything is held in memory.

Source of the format: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
"""

import gzip
import math
import os
import re
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch

from paretina.data.divide import Dividing, with_splits
from paretina.data.labels import SPLITS, class_names
from paretina.data.source import Collection, Sample, Source
from paretina.shapes import Image
from paretina.text import how_many

NAME = re.compile(
    r"(?P<set>.*?)[-_.]?(?P<split>train|training|t10k|test|testing|val|valid|validation)[-_.](?P<what>images|labels)"
    r"[-_.]idx(?P<axes>[1-4])[-_.]ubyte(?P<packed>\.gz)?",
    re.IGNORECASE,
)
"""Names of the files."""

TURNED = "the files of EMNIST have rows and columns exchanged; data.turned=on gives upright pictures"

BYTES = 8
"""The type code of unsigned bytes in a header; the published sets have no other."""

RATIO = 1032
"""How many times as long as the file its content can be at most (RFC 1951: a match of 258 bytes takes two bits)."""

LARGEST = 1 << 34
"""Bytes of a file that are read at most, since all of it is held in memory."""


@dataclass(frozen=True, kw_only=True)
class Idx(Source):
    """
    Attributes:
        path: the folder; `~` is the home folder.
        name: of the set, where the folder has several, such as "emnist-letters".
        classes: names of the classes in the order of their numbers; default: the numbers that the training pictures have.
        val_share: share of each class that is held out as `val` if there is train alone, in [0, 1].
        mirrors: whether the mirror image of a picture still belongs to its class, which it does not for digits and letters.
        turned: whether rows and columns are exchanged, as in the files of EMNIST.
        copies: whether copies of a picture stay `together` on one side of an automatic split, or may be `anywhere`.
        moved: pictures that are therefore on the other side than by name; default: found by searching. A run stores them.
    """

    SIGNS = ("*-images-idx3-ubyte", "*-images-idx3-ubyte.gz", "*-images.idx3-ubyte", "*-images.idx3-ubyte.gz")

    path: str
    name: str = ""
    classes: tuple[str, ...] = ()
    val_share: float = 0.2
    mirrors: bool = False
    turned: bool = False
    copies: Literal["together", "anywhere"] = "together"
    moved: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"Idx.val_share must be in [0, 1], got {self.val_share}")

    def open(self) -> "IdxCollection":
        files = self.files()
        images: dict[str, np.ndarray] = {}
        labels: dict[str, np.ndarray] = {}
        for split, (pictures, numbers) in files.items():
            images[split], labels[split] = read_idx(pictures, 3), read_idx(numbers, 1)
            if len(images[split]) != len(labels[split]):
                counts = f"{how_many(len(images[split]), 'picture', ',')}, and {numbers} {len(labels[split]):,} labels"
                raise ValueError(f"{pictures} has {counts}; they belong to different sets")
            if self.turned:
                images[split] = images[split].swapaxes(1, 2)
        classes, numbers_of = self.classes_of(labels, {split: pair[1] for split, pair in files.items()})
        pools = {
            split: tuple(Sample(f"{split}/{i}", numbers_of[number]) for i, number in enumerate(found.tolist()))
            for split, found in labels.items()
        }
        own = {split: str(pair[0]) for split, pair in files.items()}
        notes = () if self.turned or "emnist" not in "".join(map(os.path.basename, own.values())).lower() else (TURNED,)
        found = IdxCollection(classes, {}, notes, self.mirrors, images, own)
        return with_splits(found, pools, Dividing(self.val_share, self.copies, self.moved), self.path)

    def pinned(self, collection: Collection) -> "Idx":
        return replace(self, moved=collection.moved)

    def files(self) -> dict[str, tuple[Path, Path]]:
        """The file of pictures and the file of labels of each split.

        Raises:
            ValueError: there are none, or one is missing, or there are several sets.
        """
        place = Path(self.path).expanduser()
        if not place.is_dir():
            raise ValueError(
                f"{self.path!r} is a file; name its folder" if place.exists() else f"there is no folder {self.path!r}"
            )
        sets: dict[str, dict[tuple[str, str], Path]] = {}
        try:
            names = sorted(each.name for each in place.iterdir())
        except OSError as error:
            raise ValueError(f"cannot list {self.path}: {error.strerror}") from None
        for name in names:
            match = NAME.fullmatch(name)
            if match is None:
                continue
            split = {"t10k": "test", **SPLITS}[match["split"].lower()]
            found = sets.setdefault(match["set"], {})
            what = match["what"].lower()
            # a plain file comes before its packed form, of which it is the content
            if not (match["packed"] and (split, what) in found):
                found[split, what] = place / name
        if self.name and self.name not in sets:
            raise ValueError(
                f"{self.path!r} has no idx files of a set {self.name!r}; it has: {', '.join(map(repr, sets)) or 'none'}"
            )
        if not sets:
            raise ValueError(f"{self.path!r} has no idx files, such as train-images-idx3-ubyte and train-labels-idx1-ubyte")
        if not self.name and len(sets) > 1:
            raise ValueError(f"{self.path!r} has several sets: {', '.join(map(repr, sets))}; say which with data.name=NAME")
        files = sets[self.name or next(iter(sets))]
        both: dict[str, tuple[Path, Path]] = {}
        for split in ("train", "val", "test"):
            pair = [files.get((split, what)) for what in ("images", "labels")]
            if pair[0] is not None and pair[1] is not None:
                both[split] = (pair[0], pair[1])
            elif pair != [None, None]:
                there, missing = (pair[0] or pair[1]), "labels" if pair[0] else "images"
                raise ValueError(f"there is no file of {missing} beside {there}")
        return both

    def classes_of(self, labels: dict[str, np.ndarray], files: dict[str, Path]) -> tuple[tuple[str, ...], dict[int, int]]:
        """The classes, and the class of each number in the files.

        Raises:
            ValueError: there are too few, or a number has none.
        """
        learned = labels["train" if "train" in labels else next(iter(labels))]
        if self.classes:
            classes, known = self.classes, dict(enumerate(range(len(self.classes))))
        else:
            numbers = np.unique(learned).tolist()
            classes = class_names(map(str, numbers), self.path, 1 if self.val_share == 1 else 2)
            known = {int(name): number for number, name in enumerate(classes)}
        for split, found in labels.items():
            for number in np.unique(found).tolist():
                if number not in known:
                    why = f"there are {len(classes)} classes" if self.classes else "no training picture has it"
                    raise ValueError(f"{files[split]} has the label {number}, but {why}")
        return classes, known


@dataclass(frozen=True)
class IdxCollection(Collection):
    """
    Attributes:
        images: of each split that there is a file of, [n, h, w]; a picture is named `split/number`.
        files: path of that file.
    """

    images: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    files: dict[str, str] = field(default_factory=dict)

    COSTLY: ClassVar[bool] = False

    def file(self, sample: Sample) -> Path:
        return Path(self.files[sample.name.partition("/")[0]])

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """The exact picture; `at_least` has no effect, since nothing is decoded."""
        split, _, number = sample.name.partition("/")
        grey = torch.from_numpy(self.images[split][int(number)].copy())
        return grey.expand(3, -1, -1).clone(memory_format=torch.contiguous_format)


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Reads a file, plain or packed, and no more of it than its header says.

    Args:
        axes: how many it must have: 3 for pictures, 1 for labels.

    Raises:
        ValueError: it is none, or has another length than its header says; the message names it.
    """
    try:
        length = path.stat().st_size
        packed = path.suffix.lower() == ".gz"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0":
                raise ValueError(f"{path} is no idx file: it begins with {start.hex(' ') or 'nothing'}")
            if start[2] != BYTES:
                raise ValueError(f"{path} has values of the type {start[2]:#04x}; only unsigned bytes, 0x08, are read")
            if start[3] != axes:
                wanted = "pictures (3 axes)" if axes == 3 else "labels (1 axis)"
                raise ValueError(f"{path} has {how_many(start[3], 'axis', plural='axes')}; {wanted} were expected")
            sizes = file.read(4 * axes)
            if len(sizes) < 4 * axes:
                raise ValueError(f"{path} ends in its header")
            shape = tuple(np.frombuffer(sizes, ">u4").tolist())
            count = math.prod(shape)
            says = f"{path} says that it has {' x '.join(map(str, shape))} values"
            if not count:
                raise ValueError(f"{says}, which is nothing")
            before = 4 + 4 * axes
            if not packed and length != before + count:
                raise ValueError(f"{says}, but has {max(0, length - before):,}; it is damaged, or cut off")
            if count > LARGEST or (packed and count > RATIO * length):
                raise ValueError(f"{says}, which {'its length cannot hold' if count <= LARGEST else 'is too much for memory'}")
            data = np.empty(count, np.uint8)
            view, filled = memoryview(data.data), 0
            while filled < count and (some := file.readinto(view[filled:])):  # type: ignore[attr-defined]
                filled += some
            if filled < count:
                raise ValueError(f"{says}, but has {filled:,}; it is damaged, or cut off")
            if file.read(1):
                raise ValueError(f"{says}, but has more; it is damaged")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} cannot be unpacked: {error}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    return data.reshape(shape)


EXAMPLES = (Idx(path="mnist"), Idx(path="emnist", name="emnist-letters", turned=True, val_share=0.1))
