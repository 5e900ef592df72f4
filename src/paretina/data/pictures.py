"""Decodes the samples of a split once and keeps them in memory if they fit.

Reading everything at the start finds damaged files before a run instead of in the middle of it. Decoded pictures are kept in
shared memory if they fit, so that later epochs and all workers read pixels instead of files.
"""

import itertools
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor

from paretina.data.decode import DecodeError
from paretina.data.remarks import remarks_heard
from paretina.data.source import Collection, Sample
from paretina.shapes import Image
from paretina.system import available_bytes, cores


def memory_budget() -> int:
    """Memory budget in bytes for decoded pictures: a quarter of the available memory, or 1 GiB if that is unknown."""
    left = available_bytes()
    return 1 << 30 if left is None else left // 4


@dataclass(frozen=True)
class Pictures:
    """The readable samples of a split, in order.

    Attributes:
        damaged: reason by name, for every sample that could not be read and is left out.
        at_least: shorter side in pixels that a photo may be reduced to while decoding; None for exact pixels.
        pixels: all decoded pictures one after the other, or None if they did not fit into memory.
        remarks: anomalies of pictures that can be read, by name.
    """

    collection: Collection
    samples: tuple[Sample, ...]
    damaged: dict[str, str] = field(default_factory=dict)
    at_least: int | None = None
    pixels: Tensor | None = None
    places: tuple[tuple[int, int, int], ...] = ()
    remarks: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> Image:
        """One picture.

        Raises:
            DecodeError: it was readable before and no longer is.
        """
        if self.pixels is None:
            return self.collection.image(self.samples[index], self.at_least)
        start, rows, columns = self.places[index]
        return self.pixels[start : start + 3 * rows * columns].view(rows, columns, 3).permute(2, 0, 1)

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


@dataclass(frozen=True)
class Read:
    """The result of reading one picture.

    Attributes:
        image: the picture, unless it is damaged or there is no room to keep it.
        fault: why it cannot be read; None if it can.
        remark: an anomaly, or "".
    """

    image: Image | None = None
    fault: str | None = None
    remark: str = ""


class PictureReader:
    """Reads groups of pictures in threads, and holds at most `budget` bytes of them.

    Attributes:
        used: bytes of all pictures that were decoded.
    """

    def __init__(self, collection: Collection, at_least: int | None, budget: int) -> None:
        self.collection = collection
        self.at_least = at_least
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
        with remarks_heard() as heard:
            try:
                image = self.collection.image(sample, self.at_least)
            except DecodeError as error:
                return Read(fault=str(error).removeprefix(f"{sample.name}: "))
        with self.lock:
            self.used += image.numel()
            return Read(image if self.fits else None, remark="; ".join(heard))


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
    collection: Collection, samples: Sequence[Sample], at_least: int | None = None, budget: int | None = None
) -> Pictures:
    """Decodes every sample once, records damaged ones, and keeps the pixels if they fit into `budget` bytes.

    The default budget is `memory_budget()`. Within `pictures_kept`, nothing is decoded twice.
    """
    kept_sets = KEPT.get()
    if kept_sets is None or not samples or not collection.origin().COSTLY:
        return decoded_pictures(collection, samples, at_least, budget)
    for kept in kept_sets:
        found = kept.part(collection, samples) if kept.pictures.at_least == at_least else None
        if found is not None:
            return found
    del kept_sets[: max(0, len(kept_sets) - SETS + 1)]
    pictures = decoded_pictures(collection, samples, at_least, budget)
    if pictures.pixels is not None:
        names = {sample.name: collection.name_at_origin(sample) for sample in samples}
        numbers = {names[sample.name]: number for number, sample in enumerate(pictures.samples)}
        damaged = {names[name]: reason for name, reason in pictures.damaged.items()}
        remarks = {names[name]: text for name, text in pictures.remarks.items()}
        kept_sets.append(CachedPictures(collection.origin(), pictures, numbers, damaged, remarks))
    return pictures


def decoded_pictures(
    collection: Collection, samples: Sequence[Sample], at_least: int | None = None, budget: int | None = None
) -> Pictures:
    """`read_pictures` without the cache."""
    reading = PictureReader(collection, at_least, memory_budget() if budget is None else budget)
    damaged: dict[str, str] = {}
    remarks: dict[str, str] = {}
    kept: list[Sample] = []
    decoded: list[Tensor] = []
    with ThreadPoolExecutor(min(8, cores())) as pool:
        for start in range(0, len(samples), 256):
            chunk = samples[start : start + 256]
            groups = (chunk[i : i + GROUP] for i in range(0, len(chunk), GROUP))
            for sample, found in zip(chunk, itertools.chain.from_iterable(pool.map(reading.group, groups)), strict=True):
                if found.fault is not None:
                    damaged[sample.name] = found.fault
                    continue
                kept.append(sample)
                if found.remark:
                    remarks[sample.name] = found.remark
                if reading.fits and found.image is not None:
                    decoded.append(found.image)
                else:
                    decoded.clear()
    used = reading.used
    shared = fits_shared_memory(used)
    if not decoded or not (shared or workers_are_forked()):
        return Pictures(collection, tuple(kept), damaged, at_least, remarks=remarks)
    pixels = torch.empty(used, dtype=torch.uint8)
    if shared:
        pixels.share_memory_()
    places, start = [], 0
    for number, image in enumerate(decoded):
        _, rows, columns = image.shape
        pixels[start : start + image.numel()].view(rows, columns, 3).copy_(image.permute(1, 2, 0))
        places.append((start, rows, columns))
        start += image.numel()
        decoded[number] = torch.empty(0)
    return Pictures(collection, tuple(kept), damaged, at_least, pixels, tuple(places), remarks)
