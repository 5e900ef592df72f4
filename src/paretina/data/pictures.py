"""Pictures: the samples of one split, decoded once.

Reading everything at the start finds damaged files before a run instead of in its middle. What was decoded is kept in shared
memory if it fits, so that later epochs and all workers read pixels instead of files.
"""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor

from paretina.data.decode import DecodeError
from paretina.data.source import Collection, Sample
from paretina.shapes import Image


def memory_budget() -> int:
    """Bytes that decoded pictures may take: a quarter of the memory that is free now."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, ValueError, OSError):
        return 1 << 30


@dataclass(frozen=True)
class Pictures:
    """The readable samples of a split, in order.

    Attributes:
        damaged: reason by name, for every sample that could not be read and is left out.
        at_least: shorter side in pixels that a photo may be reduced to while decoding; None for exact pixels.
        pixels: all decoded pictures one after the other, or None where they did not fit into memory.
    """

    collection: Collection
    samples: tuple[Sample, ...]
    damaged: dict[str, str] = field(default_factory=dict)
    at_least: int | None = None
    pixels: Tensor | None = None
    places: tuple[tuple[int, int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> Image:
        """One picture.

        Raises:
            DecodeError: it was readable once and no longer is.
        """
        if self.pixels is None:
            return self.collection.image(self.samples[index], self.at_least)
        start, rows, columns = self.places[index]
        return self.pixels[start : start + 3 * rows * columns].view(rows, columns, 3).permute(2, 0, 1)

    def labels(self) -> list[int]:
        return [sample.label for sample in self.samples]


def fits_shared_memory(count: int) -> bool:
    """Whether shared memory has room for some bytes; containers often have 64 MB of it, and who overfills it is killed."""
    try:
        room = os.statvfs("/dev/shm")
    except (AttributeError, OSError):
        return True
    return count <= room.f_bavail * room.f_frsize // 2


def workers_are_forked() -> bool:
    """Whether workers see the memory of this process without its being shared."""
    return (multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]) == "fork"


def read_pictures(
    collection: Collection, samples: Sequence[Sample], at_least: int | None = None, budget: int | None = None
) -> Pictures:
    """Decodes every sample once, names what is damaged, and keeps the pixels if they fit into `budget` bytes.

    Without a budget they may take `memory_budget()`.
    """
    budget = memory_budget() if budget is None else budget
    damaged: dict[str, str] = {}
    kept: list[Sample] = []
    decoded: list[Tensor] | None = []
    used = 0

    def read(sample: Sample) -> Image | DecodeError:
        try:
            return collection.image(sample, at_least)
        except DecodeError as error:
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(samples), 256):
            chunk = samples[start : start + 256]
            for sample, image in zip(chunk, pool.map(read, chunk), strict=True):
                if isinstance(image, DecodeError):
                    damaged[sample.name] = str(image).removeprefix(f"{sample.name}: ")
                    continue
                kept.append(sample)
                used += image.numel()
                if used > budget:
                    decoded = None
                if decoded is not None:
                    decoded.append(image)
    shared = fits_shared_memory(used)
    if not decoded or not (shared or workers_are_forked()):
        return Pictures(collection, tuple(kept), damaged, at_least)
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
    return Pictures(collection, tuple(kept), damaged, at_least, pixels, tuple(places))
