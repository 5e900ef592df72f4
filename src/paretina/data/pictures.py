"""Decodes the samples of a split once and keeps them in memory if they fit.

Reading everything at the start finds damaged files before a run instead of in the middle of it. Decoded pictures are kept in
shared memory if they fit, so that later epochs and all workers read pixels instead of files; or in a file of the user's cache
folder (`paretina.data.packed`), which later runs find again. Where the pixels come from never changes them.
"""

import itertools
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paretina.data.decode import CodedLevels, DecodeError
from paretina.data.levels import Levels, StoredLevels, WholeLevels, copies_for, halved, within
from paretina.data.packed import Pack, PictureCache
from paretina.data.remarks import remarks_heard
from paretina.data.source import Collection, Sample
from paretina.shapes import Image
from paretina.system import available_bytes, cores


def memory_budget() -> int:
    """Memory budget in bytes for decoded pictures: a quarter of the available memory, or 1 GiB if that is unknown."""
    left = available_bytes()
    return 1 << 30 if left is None else left // 4


@dataclass(frozen=True)
class PictureForm:
    """How pictures are read; see `Pictures` for the fields."""

    at_least: int | None = None
    smallest: int | None = None
    packed: int | None = None

    def levels(self, collection: Collection, sample: Sample) -> Levels:
        """A picture and its copies, from its source.

        Raises:
            DecodeError: it cannot be read.
        """
        if self.smallest is not None and self.packed is None:
            data = collection.encoded(sample)
            if data is not None:
                return CodedLevels(data, sample.name, self.at_least)
        image = collection.image(sample, self.at_least)
        return WholeLevels(image if self.packed is None else within(image, self.packed))

    def all_levels(self, collection: Collection, sample: Sample) -> list[Image]:
        """A picture and all copies that can be asked for.

        Raises:
            DecodeError: it cannot be read.
        """
        levels = self.levels(collection, sample)
        found = [levels.level(0)]
        for number in range(1, 1 + copies_for(levels.height, levels.width, self.smallest)):
            coded = isinstance(levels, CodedLevels) and number <= levels.coded
            found.append(levels.level(number) if coded else halved(found[-1]))
        return found


@dataclass(frozen=True)
class Pictures:
    """The readable samples of a split, in order.

    Attributes:
        damaged: reason by name, for every sample that could not be read and is left out.
        at_least: shorter side in pixels that a photo may be reduced to while decoding; None for exact pixels.
        pixels: all decoded pictures one after the other, or None if they did not fit into memory.
        places: of each picture, where it begins in `pixels`, its rows and columns.
        remarks: anomalies of pictures that can be read, by name.
        smallest: side in pixels of the smallest image that is made of them; copies down to that may stand in for them, see
            `paretina.data.levels`. None for pictures as they are.
        packed: shorter side in pixels that larger pictures are resized to; None for no resize.
        pack: decoded pictures in a file, or None.
        notes: on the cache, a sentence each.
        stamps: of each picture, bytes and time of the last change of its file when it was first read, [n, 2]; None where no
            file is read again.
    """

    collection: Collection
    samples: tuple[Sample, ...]
    damaged: dict[str, str] = field(default_factory=dict)
    at_least: int | None = None
    pixels: Tensor | None = None
    places: tuple[tuple[int, int, int], ...] = ()
    remarks: dict[str, str] = field(default_factory=dict)
    smallest: int | None = None
    packed: int | None = None
    pack: Pack | None = None
    notes: tuple[str, ...] = ()
    stamps: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def kept(self) -> bool:
        """Whether every picture is there in decoded form."""
        return self.pixels is not None or (self.pack is not None and self.pack.complete)

    def image(self, index: int) -> Image:
        """One picture.

        Raises:
            DecodeError: it was readable before and no longer is.
        """
        return self.levels(index).level(0)

    def levels(self, index: int) -> Levels:
        """One picture and its copies. Of a file that is decoded, only the header is read here.

        Raises:
            DecodeError: it was readable before and no longer is.
        """
        if self.pixels is not None:
            return StoredLevels(self.pixels, *self.places[index])
        if self.pack is not None:
            stored = self.pack.levels(index)
            if stored is not None:
                return stored
        return self.form.levels(self.collection, self.samples[index])

    def change(self, index: int) -> str:
        """How the file of a picture that is read again differs from when it was first read: its path, and what; or ""."""
        if self.stamps is None or self.pixels is not None or (self.pack is not None and self.pack.places[index, 0] >= 0):
            return ""
        file, before = file_of(self.collection, self.samples[index]), self.stamps[index].tolist()
        now = file_stamp(file)
        if now == before or NO_STAMP in (now, before):  # what is gone is named as that
            return ""
        size = (
            f"it had {before[0]:,} bytes, now {now[0]:,}" if now[0] != before[0] else "it has as many bytes, and another time"
        )
        return f"{file}: {size}"

    def copies(self, height: int, width: int) -> int:
        """Number of reduced copies that a picture of this size has."""
        return copies_for(height, width, self.smallest)

    @property
    def form(self) -> PictureForm:
        return PictureForm(self.at_least, self.smallest, self.packed)

    def will_need(self, index: int, side: int) -> None:
        """Tells the system that an image of `side` pixels is soon made of a picture that is in a file."""
        if self.pack is not None and self.pixels is None:
            self.pack.will_need(index, side)

    def target(self, index: int) -> Tensor:
        """The target of one picture; see `Collection.target`."""
        return self.collection.target(self.samples[index])

    def labels(self) -> list[int]:
        return [sample.label for sample in self.samples]

    def weights(self) -> Tensor | None:
        """How much each counts in the loss, see `Collection.weight`; None if all count the same."""
        if not self.collection.weighted:
            return None
        return torch.tensor([self.collection.weight(sample) for sample in self.samples])

    def groups(self) -> list[int]:
        """The number of the set that each is from; see `Collection.group`."""
        return [self.collection.group(sample) for sample in self.samples]


NO_STAMP = [-1, -1]
"""Of a file that is not there, and of a picture without one."""


def file_of(collection: Collection, sample: Sample) -> Path | None:
    """The file that a picture is read from; None where there is none of its own."""
    return collection.origin().file(Sample(collection.name_at_origin(sample), 0))


def file_stamp(file: Path | None) -> list[int]:
    """Bytes and time of the last change, in nanoseconds; see `NO_STAMP`."""
    if file is not None:
        with suppress(OSError):
            entry = file.stat()
            return [entry.st_size, entry.st_mtime_ns]
    return NO_STAMP


@dataclass(frozen=True)
class Read:
    """The result of reading one picture.

    Attributes:
        images: the picture and its copies, unless it is damaged or there is no room to keep it.
        fault: why it cannot be read; None if it can.
        remark: an anomaly, or "".
        stamp: of its file, before it was read.
    """

    images: list[Image] | None = None
    fault: str | None = None
    remark: str = ""
    stamp: Sequence[int] = ()


class PictureReader:
    """Reads groups of pictures in threads, and holds at most `budget` bytes of them.

    Attributes:
        used: bytes of all pictures that were decoded.
    """

    def __init__(self, collection: Collection, form: PictureForm, budget: int) -> None:
        self.collection = collection
        self.form = form
        self.budget = budget
        self.used = 0
        self.lock = threading.Lock()

    @property
    def fits(self) -> bool:
        """Whether all pictures so far can be kept."""
        return self.used <= self.budget

    def group(self, samples: Sequence[Sample]) -> list[Read]:
        return [self.one(sample) for sample in samples]

    def one(self, sample: Sample) -> Read:
        stamp = file_stamp(file_of(self.collection, sample))
        with remarks_heard() as heard:
            try:
                images = self.form.all_levels(self.collection, sample)
            except DecodeError as error:
                return Read(fault=str(error).removeprefix(f"{sample.name}: "))
        with self.lock:
            self.used += sum(image.numel() for image in images)
            return Read(images if self.fits else None, remark="; ".join(heard), stamp=stamp)


@dataclass(frozen=True)
class CachedPictures:
    """Pictures that were read before, by their origin.

    Attributes:
        origin: the collection that the pictures really come from.
        numbers: places in `pictures`, by the name at the origin.
        damaged: reasons, by the name at the origin.
        remarks: anomalies, by the name at the origin.
    """

    origin: Collection
    pictures: Pictures
    numbers: dict[str, int]
    damaged: dict[str, str]
    remarks: dict[str, str]

    def part(self, collection: Collection, samples: Sequence[Sample]) -> Pictures | None:
        """The pictures of these samples, in the same memory; None where one of them was not read."""
        names = [collection.name_at_origin(sample) for sample in samples]
        if not all(name in self.numbers or name in self.damaged for name in names) or collection.origin() != self.origin:
            return None
        pairs = list(zip(samples, names, strict=True))
        whole = [(sample, self.pictures.places[self.numbers[name]]) for sample, name in pairs if name in self.numbers]
        return Pictures(
            collection,
            tuple(sample for sample, _ in whole),
            {sample.name: self.damaged[name] for sample, name in pairs if name in self.damaged},
            self.pictures.at_least,
            self.pictures.pixels,
            tuple(place for _, place in whole),
            {sample.name: self.remarks[name] for sample, name in pairs if name in self.remarks},
            self.pictures.smallest,
            self.pictures.packed,
        )


KEPT: ContextVar[list[CachedPictures] | None] = ContextVar("KEPT", default=None)

GROUP = 8
"""Pictures that a thread reads in one go: handing over each by itself takes much of the time where pictures are small."""

SETS = 4
"""Sets of pictures that are kept at most, those read last: training and validation pictures for two image sizes."""


@contextmanager
def pictures_kept() -> Iterator[None]:
    """Context in which decoded pictures stay in memory for further runs: a study trains on one data set many times."""
    token = KEPT.set([])
    try:
        yield
    finally:
        KEPT.reset(token)


def fits_shared_memory(count: int) -> bool:
    """Whether `count` bytes fit into shared memory; containers often have 64 MB, and a process that exceeds it is killed."""
    try:
        room = os.statvfs("/dev/shm")
    except (AttributeError, OSError):
        return True
    return count <= room.f_bavail * room.f_frsize // 2


def workers_are_forked() -> bool:
    """Whether workers are forked, and so see the memory of this process."""
    return (multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]) == "fork"


def read_pictures(
    collection: Collection,
    samples: Sequence[Sample],
    at_least: int | None = None,
    budget: int | None = None,
    smallest: int | None = None,
    packed: int | None = None,
    cache_bytes: int = 0,
) -> Pictures:
    """Decodes every sample once, records damaged ones, and keeps the pixels if they fit into `budget` bytes.

    The default budget is `memory_budget()`. Within `pictures_kept`, nothing is decoded twice.

    Args:
        at_least, smallest, packed: see `Pictures`.
        cache_bytes: bytes that the cache of decoded pictures may take on the disk; they are then not kept in memory. 0 for no
            cache.
    """
    form = PictureForm(at_least, smallest, packed)
    if cache_bytes and samples and collection.origin().COSTLY:
        return cached_pictures(collection, samples, form, cache_bytes)
    kept_sets = KEPT.get()
    if kept_sets is None or not samples or not collection.origin().COSTLY:
        return decoded_pictures(collection, samples, form, budget)
    for kept in kept_sets:
        found = kept.part(collection, samples) if kept.pictures.form == form else None
        if found is not None:
            return found
    del kept_sets[: max(0, len(kept_sets) - SETS + 1)]
    pictures = decoded_pictures(collection, samples, form, budget)
    if pictures.pixels is not None:
        names = {sample.name: collection.name_at_origin(sample) for sample in samples}
        numbers = {names[sample.name]: number for number, sample in enumerate(pictures.samples)}
        damaged = {names[name]: reason for name, reason in pictures.damaged.items()}
        remarks = {names[name]: text for name, text in pictures.remarks.items()}
        kept_sets.append(CachedPictures(collection.origin(), pictures, numbers, damaged, remarks))
    return pictures


def read_all(reader: PictureReader, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Read]]:
    """Each sample with what was read of it, in order; they are read in threads."""
    with ThreadPoolExecutor(min(8, cores())) as pool:
        for start in range(0, len(samples), 256):
            chunk = samples[start : start + 256]
            groups = (chunk[i : i + GROUP] for i in range(0, len(chunk), GROUP))
            yield from zip(chunk, itertools.chain.from_iterable(pool.map(reader.group, groups)), strict=True)


def decoded_pictures(
    collection: Collection, samples: Sequence[Sample], form: PictureForm, budget: int | None = None
) -> Pictures:
    """`read_pictures` without what earlier calls have read."""
    reader = PictureReader(collection, form, memory_budget() if budget is None else budget)
    damaged: dict[str, str] = {}
    remarks: dict[str, str] = {}
    kept: list[Sample] = []
    decoded: list[list[Image]] = []
    stamps: list[Sequence[int]] = []
    for sample, found in read_all(reader, samples):
        if found.fault is not None:
            damaged[sample.name] = found.fault
            continue
        kept.append(sample)
        stamps.append(found.stamp)
        if found.remark:
            remarks[sample.name] = found.remark
        if reader.fits and found.images is not None:
            decoded.append(found.images)
        else:
            decoded.clear()
    used = reader.used
    shared = fits_shared_memory(used)
    pictures = Pictures(
        collection,
        tuple(kept),
        damaged,
        form.at_least,
        remarks=remarks,
        smallest=form.smallest,
        packed=form.packed,
        stamps=np.array(stamps, np.int64).reshape(-1, 2) if collection.origin().COSTLY else None,
    )
    if not decoded or not (shared or workers_are_forked()):
        return pictures
    pixels = torch.empty(used, dtype=torch.uint8)
    if shared:
        pixels.share_memory_()
    places, start = [], 0
    for number, images in enumerate(decoded):
        places.append((start, images[0].shape[1], images[0].shape[2]))
        for image in images:
            rows, columns = image.shape[1:]
            pixels[start : start + image.numel()].view(rows, columns, 3).copy_(image.permute(1, 2, 0))
            start += image.numel()
        decoded[number] = []
    return replace(pictures, pixels=pixels, places=tuple(places), stamps=None)


DECODED_AGAIN = "; the others are decoded again in each epoch"


def cached_pictures(collection: Collection, samples: Sequence[Sample], form: PictureForm, limit: int) -> Pictures:
    """`read_pictures` with the cache on the disk: what is not in it yet is decoded and added, as far as there is room."""
    origin = collection.origin()
    names = [collection.name_at_origin(sample) for sample in samples]
    files = {name: origin.file(Sample(name, 0)) for name in dict.fromkeys(names)}
    cache = PictureCache(files, {**asdict(form), "source": type(origin).__name__}, limit)
    by_name = dict(zip(names, samples, strict=True))
    damaged: dict[str, str] = {}
    read = 0
    stamped = {name: file_stamp(files[name]) for name in files}
    with cache.writing():
        before = cache.bytes
        reader = PictureReader(collection, form, sys.maxsize)
        for sample, found in read_all(reader, [by_name[name] for name in cache.missing()]):
            name = collection.name_at_origin(sample)
            if found.fault is not None:
                damaged[name] = found.fault
            elif found.images is not None:
                cache.add(name, found.images, found.remark)
                read += sum(image.numel() for image in found.images)
    pack = cache.pack([name for name in names if name not in damaged])
    notes = cache.notes
    if pack is None or not pack.complete:
        if before + read <= memory_budget():
            kept = decoded_pictures(collection, samples, form, None)
            how = "; all are kept in memory" if kept.kept else DECODED_AGAIN
            return replace(kept, notes=tuple(f"{note}{how}" for note in notes))
        notes = [f"{note}{DECODED_AGAIN}" for note in notes]
    pairs = [(sample, name) for sample, name in zip(samples, names, strict=True) if name not in damaged]
    return Pictures(
        collection,
        tuple(sample for sample, _ in pairs),
        {sample.name: damaged[name] for sample, name in zip(samples, names, strict=True) if name in damaged},
        form.at_least,
        remarks={sample.name: cache.remarks[name] for sample, name in pairs if cache.remarks.get(name)},
        smallest=form.smallest,
        packed=form.packed,
        pack=pack,
        notes=tuple(notes),
        stamps=None if pack and pack.complete else np.array([stamped[name] for _, name in pairs], np.int64).reshape(-1, 2),
    )
