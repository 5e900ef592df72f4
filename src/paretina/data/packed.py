"""The cache of decoded training pictures: one file that is mapped into memory, in the user's cache folder.

For pictures that do not fit into memory: decoded once, at most twice as large as the largest training image, with the copies
that smaller images are cut from (`paretina.data.levels`). Cached and decoded pixels are the same to the bit, so a run does not
depend on what is in the cache: a picture that is missing is decoded.

For each set of pictures there are, in `pictures/` of the cache folder (`paretina.system.cache_folder`):

- `NAME.npz`, the index: by the name of a picture, its size and place in the data file, and the stamp of the file that it was
  decoded from (`paretina.data.look_cache.stamps`), which a changed file no longer has. Written aside, synced, and renamed, each
  time after the data that it speaks of has reached the disk; so a process that is killed loses what came since.
- `NAME-NUMBER.bin`, the pixels: rows x columns x 3 bytes a picture, then its copies. Only ever appended to; what lies behind
  the last picture of the index is overwritten. Where more than half of it is of no use any more, a new file takes its place.
- `NAME.lock`, held while pictures are added; another process that wants to add the same ones waits for it and then finds them.
"""

import contextlib
import hashlib
import io
import json
import mmap
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from torch import Tensor

from paretina.data.levels import MARGIN, StoredLevels, copies_for, halvings_for, level_place, stored_size
from paretina.data.look_cache import STAMP, Stamp, stamps
from paretina.data.npz import arrays_in
from paretina.run import write_aside
from paretina.shapes import Image
from paretina.system import available_bytes, cache_folder
from paretina.text import how_many

VERSION = 1
"""Version of the files; incremented when the same picture gives other bytes."""

RESERVE = 1 << 30
"""Bytes of the disk that are left free."""

SAVE_S = 20.0
"""Seconds between two savings of the index; more where saving it takes long."""

LOOK_BYTES = 1 << 26
"""Bytes between two looks at how much of the disk is free."""

Place = tuple[int, int, int]
"""Where a picture begins in the data file, its rows and columns."""


@dataclass(frozen=True)
class PackedPicture:
    """What the index has of a picture; see `Place`."""

    stamp: Stamp
    place: Place
    remark: str


class Pack:
    """Pictures of a data file, by number; can be sent to workers.

    Attributes:
        smallest: see `paretina.data.pictures.Pictures`.
    """

    def __init__(self, path: Path, places: Sequence[Place | None], smallest: int | None) -> None:
        self.path = path
        self.smallest = smallest
        self.places = np.array([(-1, 0, 0) if place is None else place for place in places], np.int64).reshape(-1, 3)
        ends = [
            start + stored_size(rows, columns, copies_for(rows, columns, smallest))
            for start, rows, columns in self.places.tolist()
            if start >= 0
        ]
        self.length = max(ends, default=0)
        self.complete = len(ends) == len(places)
        self.mapped: tuple[mmap.mmap, Tensor] | None = None
        self.gone = False
        self.stays = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "mapped": None}

    def opened(self) -> tuple[mmap.mmap, Tensor] | None:
        """The data file in memory; None where it was removed before this process has opened it."""
        if self.mapped is None and not self.gone and self.length:
            try:
                with open(self.path, "rb") as file:
                    # a copy of what is written to, which nothing does; torch takes no memory that it may not write to
                    found = mmap.mmap(file.fileno(), self.length, access=mmap.ACCESS_COPY)
            except (OSError, ValueError):
                self.gone = True
                return None
            self.mapped = found, torch.frombuffer(found, dtype=torch.uint8)
            self.stays = self.length < (available_bytes() or 0) // 2
            if self.stays:
                self.tell(0, self.length)
        return self.mapped

    def tell(self, start: int, end: int) -> None:
        """Tells the system that a part of the file will be read soon, where the system listens."""
        if self.mapped is not None and hasattr(mmap, "MADV_WILLNEED"):
            aligned = start - start % mmap.PAGESIZE
            with suppress(OSError, ValueError):
                self.mapped[0].madvise(mmap.MADV_WILLNEED, aligned, end - aligned)

    def levels(self, index: int) -> StoredLevels | None:
        """A picture and its copies; None if it is not in the file."""
        start, rows, columns = self.places[index].tolist()
        opened = self.opened() if start >= 0 else None
        return None if opened is None else StoredLevels(opened[1], start, rows, columns)

    def will_need(self, index: int, side: int) -> None:
        """Tells the system that an image of `side` pixels is soon made of a picture, so that it reads it in advance.

        Four crops in five have a quarter of the picture or more: the copy for these and those that are smaller are read. A file
        that fits into half of the free memory is read as a whole when it is opened.
        """
        start, rows, columns = self.places[index].tolist()
        if self.stays or start < 0 or self.opened() is None:
            return
        copies = copies_for(rows, columns, self.smallest)
        first = level_place(start, rows, columns, min(copies, halvings_for(min(rows, columns) // 2, side, MARGIN)))[0]
        end = level_place(start, rows, columns, copies + 1)[0]
        self.tell(first, end)


class PictureCache:
    """The cached pictures of one set, by name; pictures are added within `writing`.

    Args:
        files: by name, the file that a picture is decoded from; None for those without a file, which are not cached.
        kind: all else that the pixels depend on; `smallest` as in `paretina.data.pictures.Pictures`.
        limit: bytes that all cached pictures together may take.

    Attributes:
        notes: why pictures are missing, a sentence each.
        remarks: anomalies of pictures, by name.
    """

    def __init__(self, files: Mapping[str, Path | None], kind: Mapping[str, Any], limit: int) -> None:
        self.files = files
        self.limit = limit
        self.smallest: int | None = kind.get("smallest")
        self.stamps = stamps(files)
        self.notes: list[str] = []
        self.remarks: dict[str, str] = {}
        self.entries: dict[str, PackedPicture] = {}
        self.index: Path | None = None
        self.data: Path | None = None
        self.end = self.synced = self.others = self.looked = 0
        self.file: FileIO | None = None
        self.closed = False
        self.saved, self.save_s, self.dirty = 0.0, 0.0, False
        own = {os.path.abspath(file) for file in files.values() if file is not None}
        if not own:
            return
        root = os.path.commonpath(own if len(own) == 1 else map(os.path.dirname, own))
        versions = {name: version(name) for name in ("pillow", "simplejpeg", "torch", "paretina")}
        self.header = {"format": VERSION, "root": root, "kind": dict(kind), **versions}
        place = hashlib.sha256(json.dumps([os.fsencode(root).hex(), dict(kind)], sort_keys=True).encode()).hexdigest()[:32]
        self.folder = pictures_folder()
        self.index = self.folder / f"{place}.npz"

    # --- reading ---

    def missing(self) -> list[str]:
        """Names of the pictures that are not in the cache, in order."""
        return [name for name in self.files if not self.has(name)]

    def has(self, name: str) -> bool:
        return name in self.entries and self.entries[name].stamp == self.stamps.get(name)

    def pack(self, names: Sequence[str]) -> Pack | None:
        """The pictures of these names, in this order; None if none is in the cache."""
        if self.data is None:
            return None
        places = [self.entries[name].place if self.has(name) else None for name in names]
        # what did not reach the disk must not be mapped
        there = [None if place is None or self.end_of(place) > self.synced else place for place in places]
        found = Pack(self.data, there, self.smallest)
        return found if found.length and found.opened() is not None else None

    @property
    def bytes(self) -> int:
        """Bytes of all pictures that are asked for and in the cache."""
        return sum(self.end_of(self.entries[name].place) - self.entries[name].place[0] for name in self.files if self.has(name))

    # --- writing ---

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the lock of the set; a process that adds the same pictures is waited for."""
        with contextlib.ExitStack() as held:
            try:
                if self.index is not None:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    held.enter_context(filelock.FileLock(self.index.with_suffix(".lock")))
                    self.open()
            except OSError as error:
                self.stop(error)
            try:
                yield
            finally:
                self.close()

    def open(self) -> None:
        assert self.index is not None
        name, self.entries = read_index(self.index, self.header)
        for stale in self.folder.glob(f"{self.index.stem}-*.bin"):
            if stale.name != name:  # of a process that was killed while it made a new one
                remove(stale)
        if name:
            self.data = self.folder / name
            self.end = max((self.end_of(entry.place) for entry in self.entries.values()), default=0)
            if not self.data.is_file() or self.data.stat().st_size < self.end:
                self.entries, self.data, self.end = {}, None, 0
        self.synced = self.end
        self.drop_useless()
        self.remarks = {name: entry.remark for name, entry in self.entries.items()}
        self.others = sum(pack.bytes for pack in packs() if pack.index != self.index)
        while self.others and self.end + self.others > self.limit and self.evict():
            pass
        with suppress(OSError):
            os.utime(self.index)  # the time of its last use

    def end_of(self, place: Place) -> int:
        start, rows, columns = place
        return start + stored_size(rows, columns, copies_for(rows, columns, self.smallest))

    def drop_useless(self) -> None:
        """Begins a new data file where the old one is too large, or more than half of it is of pictures that have changed."""
        useful, live = {}, 0
        # those that are asked for first, in the order in which they lie
        for name, entry in sorted(self.entries.items(), key=lambda pair: (not self.has(pair[0]), pair[1].place[0])):
            size = self.end_of(entry.place) - entry.place[0]
            if (self.has(name) or name not in self.files) and live + size <= self.limit:
                useful[name] = entry
                live += size
        if self.data is None or (2 * live >= self.end and self.end <= self.limit):
            self.entries = useful
            return
        old, number = self.data, int(self.data.stem.rpartition("-")[2]) + 1
        new, end, moved = self.named(number), 0, {}
        with open(old, "rb") as source, open(new, "wb") as target:
            for name, entry in sorted(useful.items(), key=lambda pair: pair[1].place[0]):
                start, rows, columns = entry.place
                source.seek(start)
                target.write(source.read(self.end_of(entry.place) - start))
                moved[name] = PackedPicture(entry.stamp, (end, rows, columns), entry.remark)
                end += self.end_of(entry.place) - start
            target.flush()
            os.fsync(target.fileno())
        self.entries, self.data, self.end = moved, new, end
        self.save()
        remove(old)

    def named(self, number: int) -> Path:
        assert self.index is not None
        return self.folder / f"{self.index.stem}-{number}.bin"

    def add(self, name: str, images: Sequence[Image], remark: str = "") -> None:
        """Adds a picture with its copies, if there is room.

        A disk that is full, or a folder that is not writable, gives a note, and nothing more is added.
        """
        self.remarks[name] = remark
        if self.index is None or self.closed or name not in self.stamps:
            return
        size = sum(image.numel() for image in images)
        try:
            if not self.make_room(size):
                return
            if self.file is None:
                self.data = self.data or self.named(0)
                self.file = open(self.data, "r+b" if self.data.exists() else "wb", buffering=0)  # noqa: SIM115, see `close`
                self.file.seek(self.end)
            for image in images:
                write_all(self.file, image.permute(1, 2, 0).contiguous().numpy().tobytes())
            self.entries[name] = PackedPicture(self.stamps[name], (self.end, images[0].shape[1], images[0].shape[2]), remark)
            self.end += size
            self.dirty = True
            if time.monotonic() - self.saved > max(SAVE_S, 20 * self.save_s):
                self.save()
        except OSError as error:
            self.stop(error)

    def make_room(self, size: int) -> bool:
        """Whether `size` bytes more may be written; removes the sets that were not used for longest if need be."""
        while self.others and self.end + self.others + size > self.limit and self.evict():
            pass
        if self.end + self.others + size > self.limit:
            self.stop(f"{self.limit / 1e9:g} GB are allowed (--cache-gb)")
            return False
        if self.end + size > self.looked:
            free = shutil.disk_usage(self.folder).free
            if free - size < RESERVE:
                self.stop(f"less than {RESERVE / 1e9:.1f} GB of the disk would be left")
                return False
            self.looked = self.end + min(LOOK_BYTES, free - RESERVE)
        return True

    def evict(self) -> bool:
        """Removes the set that was not used for longest; False if there is none that may be removed."""
        for pack in sorted(packs(), key=lambda pack: pack.used):
            if pack.index != self.index and pack.remove():
                self.others = max(0, self.others - pack.bytes)
                return True
        return False

    def save(self) -> None:
        """Writes the index, when all that it speaks of is on the disk."""
        assert self.index is not None
        assert self.data is not None
        began = time.monotonic()
        if self.file is not None:
            os.fsync(self.file.fileno())
        self.synced = self.end
        write_index(self.index, self.header, self.data.name, self.entries)
        self.saved, self.save_s, self.dirty = time.monotonic(), time.monotonic() - began, False

    def stop(self, why: OSError | str) -> None:
        """Adds nothing from here on, with a note."""
        reason = (why.strerror or str(why)) if isinstance(why, OSError) else why
        if not self.closed:
            known = sum(self.has(name) for name in self.files)
            self.notes.append(
                f"only {known} of {how_many(len(self.files), 'picture')} are in the cache of decoded pictures, "
                f"{pictures_folder()}: {reason}"
            )
        self.closed = True

    def close(self) -> None:
        try:
            if self.dirty:
                self.save()
        except OSError as error:
            self.stop(error)
        finally:
            if self.file is not None:
                with suppress(OSError):
                    self.file.close()
                self.file = None


# --- the files ----------------------------------------------------------------------------------------------------------


def pictures_folder() -> Path:
    return cache_folder() / "pictures"


def write_index(path: Path, header: Mapping[str, Any], data: str, entries: Mapping[str, PackedPicture]) -> None:
    buffer = io.BytesIO()
    text = json.dumps([header, data, list(entries), [entry.remark for entry in entries.values()]])
    np.savez(
        buffer,
        text=np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8),
        stamps=np.array([entry.stamp for entry in entries.values()], np.int64).reshape(-1, STAMP),
        places=np.array([entry.place for entry in entries.values()], np.int64).reshape(-1, 3),
    )
    write_aside(path, buffer.getvalue())


def read_index(path: Path, header: Mapping[str, Any] | None = None) -> tuple[str, dict[str, PackedPicture]]:
    """The name of the data file and its entries; nothing where there is no index, a damaged one, or one about other pixels.

    Args:
        header: what it must be about; default: anything.
    """
    try:
        found, data, names, remarks, when, places = index_parts(path)
        if header is not None and found != json.loads(json.dumps(header)):
            return "", {}
        rows = zip(names, when.tolist(), places.tolist(), remarks, strict=True)
        entries = {name: PackedPicture(tuple(stamp), tuple(place), str(remark)) for name, stamp, place, remark in rows}
        return Path(data).name, entries
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "", {}  # what was lost is decoded again


def index_parts(path: Path) -> tuple[dict[str, Any], str, list[str], list[str], np.ndarray, np.ndarray]:
    found = arrays_in(io.BytesIO(path.read_bytes()))
    text, when, places = (found[name] for name in ("text", "stamps", "places"))
    header, data, names, remarks = json.loads(text.tobytes().decode("utf-8", "surrogatepass"))
    if when.shape != (len(names), STAMP) or places.shape != (len(names), 3) or (places.size and places.min() < 0):
        raise ValueError("its parts do not fit together")
    return header, data, names, remarks, when, places


def write_all(file: FileIO, data: bytes) -> None:
    """Writes everything, past all buffers, so that a full disk is an error here and not later."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) or 0 :]


def remove(path: Path) -> None:
    """Removes a file; one that is in use stays where the system wants that."""
    with suppress(OSError):
        path.unlink()


@dataclass(frozen=True)
class PackInfo:
    """A cached set.

    Attributes:
        index: its index file.
        root: folder of the pictures; "" if the index cannot be read.
        pictures: how many are cached.
        shorter: shorter side in pixels that they have at most; None if they were not resized.
        bytes: size of its files.
        used: when a run last used it, in seconds since the epoch.
    """

    index: Path
    root: str
    pictures: int
    shorter: int | None
    bytes: int
    used: float

    def remove(self) -> bool:
        """Removes its files; False if a process is adding pictures to it. Runs that read them keep what they have opened."""
        try:
            with filelock.FileLock(self.index.with_suffix(".lock"), timeout=0):
                remove(self.index)
                for path in self.index.parent.glob(f"{self.index.stem}-*.bin"):
                    remove(path)
            return True
        except (filelock.Timeout, OSError):
            return False


def packs() -> list[PackInfo]:
    """All cached sets, those of a process that was killed before it saved an index among them."""
    found = []
    for stem in sorted(
        {path.stem.partition("-")[0] for path in pictures_folder().glob("*") if path.suffix in (".npz", ".bin")}
    ):
        index = pictures_folder() / f"{stem}.npz"
        root, pictures, shorter, used = "", 0, None, 0.0
        with suppress(OSError, ValueError, KeyError, TypeError):
            header, _, names, _, _, _ = index_parts(index)
            root, pictures, shorter = str(header["root"]), len(names), header["kind"].get("packed")
        size = 0
        for path in (index, *pictures_folder().glob(f"{stem}-*.bin")):
            with suppress(OSError):
                entry = path.stat()
                size, used = size + entry.st_size, max(used, entry.st_mtime)
        found.append(PackInfo(index, root, pictures, shorter, size, used))
    return found
