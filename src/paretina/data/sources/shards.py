"""Shards: pictures in tar archives in the form of WebDataset, on this machine or at an address.

Name one archive, several by a range (`data-{000000..000009}.tar`), or a folder of them; or the address of one or several,
`https://HOST/data-{000000..000009}.tar`, which are then downloaded once into the cache. The members of one picture have one
name up to the first dot: `0001.jpg` and its label, `0001.cls` (a number, or the name of a class) or `0001.json` (with `label`,
`class` or `cls`; a list of them means any number of classes a picture). Other members are left out and counted; nothing is
unpickled.

An archive whose name begins with train, val (valid, validation) or test, or whose folder is called so, is of that split; of
archives that say nothing, a part of the pictures is held out as val by a hash of their names.

Pictures can be drawn in any order, which exact resumption needs: an archive is looked through once, and where each picture lies
in it is kept in the cache. A copy of an archive from elsewhere is not looked for again as long as it is in the cache. Packed
archives (`.tar.gz`) cannot be read in any order; unpack them.

Source of the form: Aizman, Maltby and Breuel 2020 (arXiv:2001.01858); the library `webdataset` writes it.
"""

import hashlib
import itertools
import json
import math
import os
import re
import tarfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import numpy as np
from filelock import FileLock
from torch import Tensor

from paretina.data.decode import SUFFIXES, DecodeError, decode
from paretina.data.divide import Dividing, with_splits
from paretina.data.index_cache import Columns, IndexCache, packed, unpacked
from paretina.data.labels import NO_LABEL_YET, SPLITS, class_names, is_whole, several_of
from paretina.data.scan import writable
from paretina.data.source import Collection, Sample, Source
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image
from paretina.spec import near
from paretina.system import cache_folder
from paretina.text import how_many, printable

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST_SHARDS = 100_000
LABEL_BYTES = 1 << 20
"""A member with a label is larger only if it is none."""

KEYS = ("label", "class", "cls")
"""Where the label is in a JSON member."""

SPLIT = re.compile(r"(train|training|valid|validation|val|test|testing)(?![a-z])", re.IGNORECASE)
BLOCK = tarfile.BLOCKSIZE
CHUNK = 1 << 20
TIMEOUT = 60
"""Seconds without a byte after which a download has failed."""

SEVERAL = "\x1f"
"""Stands between the classes of one picture, and before the first, in an index."""


@dataclass(frozen=True, kw_only=True)
class Shards(Source):
    """
    Attributes:
        path: an archive, a range of them, a folder of them, or addresses; `~` is the home folder.
        val: likewise, of the pictures to validate on, where their names do not say so.
        test: likewise, of the pictures to test on.
        classes: names of the classes in the order of their numbers; default: the names or numbers that training pictures have.
        val_share: share of each class that is held out as `val` if there are no such archives, in [0, 1].
        mirrors: whether the mirror image of a picture still belongs to its class.
        copies: whether copies of a picture stay `together` on one side of an automatic split, or may be `anywhere`.
        moved: pictures that are therefore on the other side than by name; default: found by searching. A run stores them.
    """

    SUFFIXES = (".tar", ".tar.gz", ".tgz")
    SIGNS = ("*.tar", "train*/*.tar")

    path: str
    val: str = ""
    test: str = ""
    classes: tuple[str, ...] = ()
    val_share: float = 0.2
    mirrors: bool = True
    copies: Literal["together", "anywhere"] = "together"
    moved: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"Shards.val_share must be in [0, 1], got {self.val_share}")

    def open(self) -> "ShardCollection":
        places = list(self.places())
        twice = [place for place, count in Counter(place for place, _ in places).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]} is named twice; its pictures would be in two splits, or twice in one")
        files = [(local(place), split) for place, split in places]
        uncached: list[str] = []
        indices = [indexed(file, uncached) for file, _ in files]
        names = shard_names([place for place, _ in places])
        rows = ShardRows.joined(names, [str(file) for file, _ in files], [split for _, split in files], indices)
        if not rows.names:
            raise ValueError(f"{self.path!r} has no pictures in {how_many(len(files), 'archive')}{rows.left_out()}")
        found = self.collected(rows)
        return replace(found, notes=(*found.notes, *uncached[:1]))  # the others have the same reason

    def pinned(self, collection: Collection) -> "Shards":
        return replace(self, moved=collection.moved)

    def places(self) -> Iterator[tuple[str, str]]:
        """Path or address of each archive, and its split; "" if nothing says it."""
        given = {"": self.path, "val": self.val, "test": self.test}
        for split, named in given.items():
            for place in archives(named) if named else ():
                yield place, split or split_of(place) or ("train" if self.val or self.test else "")

    def collected(self, rows: "ShardRows") -> "ShardCollection":
        several = any(label.startswith(SEVERAL) for label in rows.texts)
        parts = [tuple(label.split(SEVERAL)[1:]) if label.startswith(SEVERAL) else (label,) for label in rows.texts]
        known_in = ("", "train") if self.val_share < 1 else ("", *SPLITS.values())
        learned = {code for code, split in zip(rows.labels, rows.splits, strict=True) if split in known_in}
        if not several:
            for number, (code, split) in enumerate(zip(rows.labels, rows.splits, strict=True)):
                if not rows.texts[code] and split != "test":
                    raise ValueError(f"{rows.where(number)} has no label: neither .cls nor .json with {' or '.join(KEYS)}")
        classes = self.classes_of(sorted({name for code in learned for name in parts[code] if name}), several)
        numbers = {name: number for number, name in enumerate(classes)}
        if self.classes:
            numbers |= {str(number): number for number in range(len(classes)) if str(number) not in numbers}
        known = {name for names in parts for name in names} - {""}
        if strange := sorted(known - set(numbers)):
            number = next(i for i, code in enumerate(rows.labels) if strange[0] in parts[code])
            what = "is none of the classes" if self.classes else "no picture to train on has"
            raise ValueError(f"{rows.where(number)} has the label {strange[0]!r}, which {what}{near(strange[0], classes)}")
        sets = tuple(tuple(sorted({numbers[name] for name in names if name})) for names in parts)
        of = [0] * len(sets) if several else [own[0] if own else NO_LABEL_YET for own in sets]
        samples = [Sample(name, of[code]) for name, code in zip(rows.names, rows.labels, strict=True)]
        pools = {
            split: tuple(sample for sample, own in zip(samples, rows.splits, strict=True) if own == split)
            for split in ("", "train", "val", "test")
        }
        task: Task = AnyOf() if several else OneOf()
        notes = [f"left out of the archives{rows.left_out()}"] if rows.beside else []
        found = ShardCollection(
            classes,
            {},
            tuple(notes),
            self.mirrors,
            tuple(rows.files),
            {name: number for number, name in enumerate(rows.names)},
            np.array(rows.shards, np.int32),
            np.array(rows.offsets, np.int64),
            np.array(rows.sizes, np.int64),
            task=task,
            sets=sets if several else None,
            codes=np.array(rows.labels, np.int32) if several else None,
        )
        return with_splits(found, pools, Dividing(self.val_share, self.copies, self.moved), self.path)

    def classes_of(self, found: list[str], several: bool) -> tuple[str, ...]:
        least = 1 if several or self.val_share == 1 else 2
        if self.classes:
            if len(set(self.classes)) < max(least, len(self.classes)):
                raise ValueError(
                    f"Shards.classes must be {least} or more different names, got {', '.join(map(printable, self.classes))}"
                )
            return self.classes
        mixed = {is_whole(name) for name in found}
        if len(mixed) > 1:
            word = next(name for name in found if not is_whole(name))
            raise ValueError(
                f"{self.path!r} has labels that are numbers and labels that are names, such as {word!r}; write one kind"
            )
        return class_names(found, self.path, least)


@dataclass(frozen=True)
class ShardCollection(Collection):
    """
    Attributes:
        files: paths of the archives.
        rows: the place of each picture in the following.
        shards: number of its archive.
        offsets: where its bytes begin in the archive.
        sizes: number of its bytes.
        sets: for any number of classes a picture: the classes of each different label.
        codes: the label of each picture.
    """

    COSTLY: ClassVar[bool] = True

    files: tuple[str, ...] = ()
    rows: dict[str, int] = field(default_factory=dict, repr=False)
    shards: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32), repr=False, compare=False)
    offsets: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False, compare=False)
    sizes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False, compare=False)
    sets: tuple[tuple[int, ...], ...] | None = field(default=None, repr=False, compare=False, kw_only=True)
    codes: np.ndarray | None = field(default=None, repr=False, compare=False, kw_only=True)

    def file(self, sample: Sample) -> Path:
        return Path(self.files[int(self.shards[self.rows[sample.name]])])

    def target(self, sample: Sample) -> Tensor:
        if self.sets is None or self.codes is None:
            return super().target(sample)
        return several_of(self.sets[int(self.codes[self.rows[sample.name]])], len(self.classes))

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        row = self.rows[sample.name]
        size = int(self.sizes[row])
        try:
            with open(self.files[int(self.shards[row])], "rb") as file:
                file.seek(int(self.offsets[row]))
                data = file.read(size)
        except OSError as error:
            raise DecodeError(f"{sample.name}: {error.strerror or error}") from None
        if len(data) < size:
            raise DecodeError(f"{sample.name}: its archive has become shorter")
        return decode(data, sample.name, at_least)


# --- names of archives ------------------------------------------------------------------------------------------------


def archives(named: str) -> list[str]:
    """Paths or addresses of the archives, in order.

    Raises:
        ValueError: there are none, or too many.
    """
    address = is_address(named)
    if "{" in named:
        places = expanded(named)
    elif not address and Path(named).expanduser().is_dir():
        root = Path(named).expanduser()
        places = sorted(str(path) for path in (*root.glob("*.tar"), *root.glob("*/*.tar")) if path.is_file())
        if not places:
            raise ValueError(f"{named!r} has no .tar archives")
    else:
        places = [named]
    for place in places:
        if urlsplit(place).path.lower().endswith((".tgz", ".tar.gz")):
            raise ValueError(f"{place} is packed, so its pictures cannot be drawn in any order; unpack it to a .tar")
        if not address and not Path(place).expanduser().is_file():
            raise ValueError(f"there is no archive {place!r}")
    return places


def is_address(named: str) -> bool:
    """Whether it is one.

    Raises:
        ValueError: it is one of another kind than http and https.
    """
    scheme, separator, _ = named.partition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise ValueError(f"{named!r}: only addresses that begin with https:// or http:// are read")
    return bool(separator)


def expanded(named: str) -> list[str]:
    """The names that a name with ranges, such as {000..009}, stands for.

    Raises:
        ValueError: there is a brace without a range, or there are too many.
    """
    pieces = RANGE.split(named)
    fixed, ends = pieces[::3], list(zip(pieces[1::3], pieces[2::3], strict=True))
    if any(brace in piece for piece in fixed for brace in "{}"):
        raise ValueError(f"{named!r}: braces have a range of numbers, such as {{000000..000009}}")
    ranges = [range(int(first), int(last) + 1) for first, last in ends]
    count = math.prod(map(len, ranges))
    if not 1 <= count <= MOST_SHARDS:
        raise ValueError(f"{named!r} stands for {how_many(count, 'archive', ',')}; 1 to {MOST_SHARDS:,} can be read")
    # as a shell does, numbers are as wide as the first one if that begins with 0
    wide = [max(map(len, pair)) if any(each.startswith("0") and len(each) > 1 for each in pair) else 0 for pair in ends]
    written = [[str(number).zfill(width) for number in some] for some, width in zip(ranges, wide, strict=True)]
    return ["".join(itertools.chain(*zip(fixed, (*chosen, ""), strict=True))) for chosen in itertools.product(*written)]


def split_of(place: str) -> str:
    """The split that the name of an archive begins with, or that its folder is called; "" if neither says one."""
    *_, folder, name = ("", *(urlsplit(place).path if is_address(place) else place.replace(os.sep, "/")).split("/"))
    match = SPLIT.match(name) or SPLIT.fullmatch(folder)
    return SPLITS[match[1].lower()] if match else ""


def shard_names(places: Sequence[str]) -> list[str]:
    """A short name for each archive, all different: the end of its path."""
    parts = [re.split(r"[/\\]", place) for place in places]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return [name.removesuffix(".tar") for name in names]
    return list(places)


# --- looking through them ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShardIndex:
    """What is in an archive.

    Attributes:
        names: of the pictures, without folders above the archive.
        offsets, sizes: where the bytes of each are.
        texts: the labels, each once.
        labels: the number of the label of each picture.
        beside: number of members that were left out, by ending.
    """

    names: list[str]
    offsets: list[int]
    sizes: list[int]
    texts: list[str]
    labels: list[int]
    beside: dict[str, int]

    def columns(self) -> Columns:
        return {
            "names": packed(self.names),
            "offsets": np.array(self.offsets, np.int64),
            "sizes": np.array(self.sizes, np.int64),
            "texts": packed(self.texts),
            "labels": np.array(self.labels, np.int64),
            "endings": packed(list(self.beside)),
            "beside": np.array(list(self.beside.values()), np.int64),
            "count": np.array(len(self.texts)),
        }

    @classmethod
    def restored(cls, columns: Columns | None) -> "ShardIndex | None":
        if columns is None:
            return None
        try:
            offsets, sizes, labels = (columns[name].tolist() for name in ("offsets", "sizes", "labels"))
            names, texts = unpacked(columns["names"], len(offsets)), unpacked(columns["texts"], int(columns["count"]))
            counts = columns["beside"].tolist()
            beside = dict(zip(unpacked(columns["endings"], len(counts)), counts, strict=True))
        except (KeyError, ValueError, TypeError):
            return None
        fits = len(names) == len(sizes) == len(labels) and all(0 <= code < len(texts) for code in labels)
        return cls(names, offsets, sizes, texts, labels, beside) if fits else None


def indexed(path: Path, notes: list[str]) -> ShardIndex:
    """What is in an archive, from the cache if it is as it was.

    Args:
        notes: receives a sentence if it cannot be kept there.
    """
    cache = IndexCache("shards", [path])
    found = ShardIndex.restored(cache.read())
    if found is None:
        found = looked_through(path)
        cache.keep(found.columns())
        notes += filter(None, [cache.note])
    return found


def looked_through(path: Path) -> ShardIndex:
    """Reads an archive's table of contents and labels.

    Raises:
        ValueError: it is damaged, or has a member that cannot be used; the message names both.
    """
    length = path.stat().st_size
    pictures: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, str] = {}
    beside: Counter[str] = Counter()
    end = 0
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # otherwise it keeps all of them
                end = archive.offset
                if end > length:
                    raise ValueError(f"{path} is cut off in its member {printed(member.name)}")
                folder, slash, name = member.name.rpartition("/")
                key, dot, ending = name.partition(".")
                kind = ending.lower()
                if member.isdir():
                    continue
                if reason := refused(member, key):
                    beside[reason] += 1
                    continue
                key = f"{folder}{slash}{key}"
                suffix = f".{kind.rpartition('.')[2]}"
                if suffix in SUFFIXES and dot:
                    if key in pictures:
                        raise ValueError(
                            f"{path} has two pictures {printed(key)}: {printed(pictures[key][0])} and {printed(member.name)}"
                        )
                    pictures[key] = (f"{key}.{ending}", member.offset_data, member.size)
                elif kind in ("cls", "json"):
                    text = label_in(path, member, file) if kind == "cls" else label_in_json(path, member, file)
                    if text is None:
                        continue
                    if labels.setdefault(key, text) != text:
                        raise ValueError(f"{path} has two labels for {printed(key)}: {labels[key]!r} and {text!r}")
                else:
                    beside[f".{kind}" if dot else "no ending"] += 1
            file.seek(end)
            mark = file.read(BLOCK)
    except (tarfile.TarError, EOFError, UnicodeError, OverflowError) as error:
        raise ValueError(f"{path} is no readable tar archive: {str(error) or type(error).__name__}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(mark) < BLOCK or any(mark):
        what = "has no mark of its end: it is cut off" if not mark else "cannot be read to its end: it is damaged"
        raise ValueError(f"{path} {what}, after {how_many(len(pictures), 'picture', ',')}")
    texts: dict[str, int] = {}
    codes = [texts.setdefault(labels.get(key, ""), len(texts)) for key in pictures]
    alone = len(labels.keys() - pictures.keys())
    if alone:
        beside["labels without a picture"] += alone
    found = list(pictures.values())
    return ShardIndex(
        [n for n, _, _ in found], [o for _, o, _ in found], [s for *_, s in found], list(texts), codes, dict(beside)
    )


def refused(member: tarfile.TarInfo, key: str) -> str:
    """Why a member is left out that may have any ending; "" if it is not."""
    if member.issparse():
        return "sparse files"
    if not member.isreg():
        return "links and devices"
    if not key:
        return "hidden files"
    return "" if writable(member.name) else "names that are not valid text"


def printed(name: str) -> str:
    return repr(printable(name))


def content(path: Path, member: tarfile.TarInfo, file: Any) -> bytes:
    """The bytes of a member with a label; the archive goes on reading where it was."""
    if member.size > LABEL_BYTES:
        raise ValueError(f"{path}: {printed(member.name)} has {member.size:,} bytes, which is no label")
    before = file.tell()
    file.seek(member.offset_data)
    data: bytes = file.read(member.size)
    file.seek(before)
    if len(data) < member.size:
        raise ValueError(f"{path} is cut off in its member {printed(member.name)}")
    return data


def label_in(path: Path, member: tarfile.TarInfo, file: Any) -> str:
    try:
        text = content(path, member, file).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: {printed(member.name)} is not text in UTF-8") from None
    return checked(path, member, text)


def checked(path: Path, member: tarfile.TarInfo, text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError(
            f"{path}: {printed(member.name)} has {'no label' if not text else f'the label {printed(text[:40])}, no name'}"
        )
    return str(int(text)) if is_whole(text) else text


def label_in_json(path: Path, member: tarfile.TarInfo, file: Any) -> str | None:
    """The label in a JSON member; None if it has none."""
    data = content(path, member, file)
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {printed(member.name)} is not JSON: {error}") from None
    value = next((found[key] for key in KEYS if key in found), None) if isinstance(found, dict) else found
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) or (isinstance(each, int) and not isinstance(each, bool)) for each in values):
        raise ValueError(
            f"{path}: {printed(member.name)} has the label {str(value)[:40]}, which is neither a name nor a number"
        )
    texts = [checked(path, member, str(each).strip()) for each in values]
    return "".join(f"{SEVERAL}{text}" for text in texts) or SEVERAL if isinstance(value, list) else texts[0]


@dataclass
class ShardRows:
    """The pictures of all archives, an entry in each list for each.

    Attributes:
        files: of the archives.
        texts: the labels, each once.
        beside: number of members that were left out, by ending.
    """

    files: list[str]
    names: list[str]
    shards: list[int]
    offsets: list[int]
    sizes: list[int]
    splits: list[str]
    texts: list[str]
    labels: list[int]
    beside: Counter[str]

    @classmethod
    def joined(
        cls, names: Sequence[str], files: Sequence[str], splits: Sequence[str], indices: Sequence[ShardIndex]
    ) -> "ShardRows":
        rows = cls(list(files), [], [], [], [], [], [], [], Counter())
        codes: dict[str, int] = {}
        for number, (name, split, index) in enumerate(zip(names, splits, indices, strict=True)):
            of = [codes.setdefault(text, len(codes)) for text in index.texts]
            rows.names += [f"{name}/{each}" for each in index.names]
            rows.shards += [number] * len(index.names)
            rows.offsets += index.offsets
            rows.sizes += index.sizes
            rows.splits += [split] * len(index.names)
            rows.labels += [of[code] for code in index.labels]
            rows.beside.update(index.beside)
        rows.texts = list(codes)
        return rows

    def where(self, number: int) -> str:
        """A picture in its archive, at the beginning of an error."""
        return f"{self.files[self.shards[number]]}: {printed(self.names[number].rpartition('/')[2])}"

    def left_out(self) -> str:
        listed = ", ".join(f"{printable(reason)}: {count:,}" for reason, count in sorted(self.beside.items()))
        return f": {listed}" if listed else ""


# --- downloading ------------------------------------------------------------------------------------------------------


def local(place: str) -> Path:
    """The path of an archive; one at an address is downloaded first, unless that was done before.

    Raises:
        ValueError: it cannot be downloaded.
    """
    if not is_address(place):
        return Path(place).expanduser().absolute()
    name = re.sub(r"[^\w.-]", "_", urlsplit(place).path.rpartition("/")[2]) or "shard.tar"
    path = cache_folder() / "downloads" / hashlib.sha256(place.encode()).hexdigest()[:32] / name
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(".lock")):
            if not path.is_file():
                downloaded(place, path)
    except OSError as error:
        raise ValueError(f"{place} cannot be kept in {path.parent}: {error.strerror or error}") from None
    return path


def downloaded(place: str, path: Path, opened: Callable[..., Any] = urllib.request.urlopen) -> None:
    """Downloads a file; it is there either whole or not at all.

    Raises:
        ValueError: it cannot be had, or fewer bytes came than were said.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    asked = urllib.request.Request(place, headers={"Accept-Encoding": "identity", "User-Agent": "paretina"})
    try:
        with opened(asked, timeout=TIMEOUT) as answer, aside.open("wb") as file:
            says = answer.headers.get("Content-Length")
            came = 0
            while some := answer.read(CHUNK):
                came += file.write(some)
            if says is not None and came != int(says):
                raise ValueError(f"{place}: {came:,} of {int(says):,} bytes came; try again")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except urllib.error.HTTPError as error:
        raise ValueError(f"{place}: the server says {error.code} {error.reason}") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ValueError(f"{place} cannot be downloaded: {reason}") from None
    except Exception as error:
        if isinstance(error, ValueError | OSError):
            raise
        raise ValueError(f"{place} cannot be downloaded: {type(error).__name__} {error}".rstrip()) from None
    finally:
        aside.unlink(missing_ok=True)


EXAMPLES = (Shards(path="train-{000000..000009}.tar", val="val-{000000..000001}.tar"), Shards(path="shards", val_share=0.1))
