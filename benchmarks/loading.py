"""Pictures per second from JPEG files to augmented batches, beside the loaders of torchvision and timm.

    python benchmarks/loading.py
    python benchmarks/loading.py --sizes 128 --rounds 5
    python benchmarks/loading.py --rising

The files are 500 x 375 pixels, parts of the sample photos of scikit-image and scikit-learn (quality 90); all loaders cut a
random part (8 % to all of the area, bicubic), flip half of them, and have two processes. They are measured in turn, in each
round one after the other, for `--seconds` each, not counting the batches that were loaded in advance. The table has medians of
pictures per second, how many times as many as torchvision's ways give (ratios of medians), pictures per second of processor
time of all processes together, which other work on the machine disturbs less, and the memory of all processes in MB (what they
share is counted once).

- torchvision, float: `ImageFolder`, `v2.ToImage`, crop, flip, `v2.ToDtype(float32)`, `v2.Normalize`, `DataLoader`.
- torchvision, PIL: the same as the reference script for classification has it: crop and flip of PIL pictures, then as above.
- torchvision, uint8: the first one without the last two steps, which are left to the device.
- timm: `timm.data.create_loader` with its prefetcher, without colour jitter.
- whole, crop, memory, cache: ours, as `decoding=whole`, as `crop` from files and from memory, and as `packed` from the cache on
  the disk.

`--rising` measures ours at 32, 64 and 128 pixels, before (whole) and now, from files and from memory: the time a picture takes
at each size, and the time of an epoch that spends a third of the pictures on each. `--error` measures by how many grey levels
the crops differ from those of whole pictures.
"""

import argparse
import contextlib
import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import PIL.Image
import torch

from paretina import system
from paretina.data.loader import training_batches
from paretina.data.pictures import Pictures, read_pictures
from paretina.data.sampler import Epochs
from paretina.data.sources.folder import Folder
from paretina.data.transform import Look
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import machine
from paretina.measure.process import keep_freed_memory
from paretina.schedules import Constant

SIZES = (96, 128, 160, 224)
BATCH, WORKERS = 64, 2
EPOCH = 100 * BATCH
"""Pictures of an epoch of the other loaders, which begin anew after it: the files, again and again."""

STATISTICS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Batches = Iterator[torch.Tensor]
Way = Callable[[int], contextlib.AbstractContextManager[Batches]]
"""Endless batches at a size in pixels."""


def photos() -> list[Path]:
    import skimage
    import sklearn

    folder, more = Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg")
    return [*(folder / name for name in names), more / "china.jpg", more / "flower.jpg"]


def make_files(folder: Path, each: int) -> None:
    """Writes `each` pictures of 500 x 375 pixels per photo, in two classes."""
    random = np.random.default_rng(0)
    for number, photo in enumerate(photos()):
        image = PIL.Image.open(photo).convert("RGB")
        for part in range(each):
            width = min(image.width, image.height * 4 / 3) * random.uniform(0.6, 1)
            left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - width * 3 / 4)
            place = folder / "train" / "ab"[part % 2]
            place.mkdir(parents=True, exist_ok=True)
            box = (left, top, left + width, top + width * 3 / 4)
            image.resize((500, 375), PIL.Image.Resampling.BICUBIC, box).save(place / f"{number}-{part}.jpg", quality=90)


# --- the ways ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def endless(loader: Any) -> Iterator[Batches]:
    batches = (images for _ in iter(int, 1) for images, _ in loader)
    try:
        yield batches
    finally:
        batches.close()


def torchvision(folder: Path, form: str, size: int) -> contextlib.AbstractContextManager[Batches]:
    from torch.utils.data import ConcatDataset, DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    part = [v2.RandomResizedCrop(size, interpolation=v2.InterpolationMode.BICUBIC), v2.RandomHorizontalFlip()]
    last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(*STATISTICS)]
    steps = {
        "float": [v2.ToImage(), *part, *last],
        "PIL": [*part, v2.PILToTensor(), *last],
        "uint8": [v2.ToImage(), *part],
    }
    found = ImageFolder(str(folder / "train"), v2.Compose(steps[form]))
    many = ConcatDataset([found] * -(-EPOCH // len(found)))
    return endless(DataLoader(many, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True))


def timm_loader(folder: Path, size: int) -> contextlib.AbstractContextManager[Batches]:
    from timm.data import create_dataset, create_loader
    from torch.utils.data import ConcatDataset

    found = create_dataset("", str(folder / "train"), is_training=True)
    many: Any = ConcatDataset([found] * -(-EPOCH // len(found)))
    loader = create_loader(
        many,
        (3, size, size),
        BATCH,
        is_training=True,
        scale=(0.08, 1.0),
        hflip=0.5,
        color_jitter=None,
        interpolation="bicubic",
        num_workers=WORKERS,
        device=torch.device("cpu"),
        pin_memory=False,
    )

    def transform_of_each(transform: Any) -> None:
        found.transform = transform

    transform_of_each(many.__dict__.pop("transform", None))  # which the loader sets on what it is given
    return endless(loader)


@contextlib.contextmanager
def ours(pictures: Pictures, size: int) -> Iterator[Batches]:
    looks = (Look((RandomResizedCrop(), HorizontalFlip())),)
    requests = Epochs(len(pictures), BATCH, 1e6, 0, whole=False).requests(Constant(value=float(size)), 0, 1, slice(None))
    batches = training_batches(pictures, looks, requests, len(pictures.collection.classes), WORKERS)
    yield (loaded.batch.images for loaded in batches)
    batches = None  # type: ignore[assignment]


def read(folder: Path, size: int, smallest: int | None, packed: bool, budget: int | None, cache: bool) -> Pictures:
    collection = Folder(path=str(folder), val_share=0.0).open()
    samples = collection.split("train")
    shorter = 2 * size if packed else None
    return read_pictures(collection, samples, 2 * size, budget, smallest, shorter, 10**11 if cache else 0)


def our_ways(folder: Path, largest: int, smallest: int) -> dict[str, Way]:
    """Ours, for images of these sizes."""
    kinds: dict[str, tuple[int | None, bool, int | None, bool]] = {
        "whole": (None, False, 0, False),
        "crop": (smallest, False, 0, False),
        "memory": (smallest, False, None, False),
        "cache": (smallest, True, None, True),
    }
    return {name: functools.partial(ours, read(folder, largest, *kind)) for name, kind in kinds.items()}


# --- measuring -----------------------------------------------------------------------------------------------------------


def shared_mb() -> float:
    """Memory of this process and of those that it has started; what several share is counted once."""
    total, own = 0, os.getpid()
    for process in [own, *(pid for pid, parent, _ in system.processes(system.ROOT) if parent == own)]:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def measured(way: Way, size: int, least_s: float) -> tuple[float, float, float]:
    """Seconds and processor seconds a picture, over `least_s` seconds or more, and memory in MB."""
    ahead = 4 * WORKERS + 1  # batches that the loaders have made before the first one is taken, or at most
    with way(size) as batches:
        for _ in range(ahead):
            next(batches)
        began, used = time.perf_counter(), processor_s()
        count = seconds = 0.0
        while seconds < least_s:
            assert next(batches).shape == (BATCH, 3, size, size)
            count += BATCH
            seconds = time.perf_counter() - began
        busy, memory = processor_s() - used, shared_mb()
    return seconds / count, busy / count, memory


def processor_s() -> float:
    times = os.times()
    return (
        times.user + times.system + times.children_user + times.children_system + system.running_children_seconds(system.ROOT)
    )


def in_turn(ways: dict[str, Way], size: int, rounds: int, least_s: float) -> dict[str, tuple[float, float, float]]:
    """Medians of `measured` by way."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(measured(way, size, least_s))
    return {name: tuple(map(statistics.median, zip(*rows, strict=True))) for name, rows in found.items()}  # type: ignore[misc]


def compare(folder: Path, sizes: Sequence[int], rounds: int, least_s: float) -> None:
    print("| pixels | loader | pictures/s | times float | times PIL | times uint8 | pictures/processor s | times | MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in sizes:
        ways: dict[str, Way] = {
            f"torchvision, {form}": functools.partial(torchvision, folder, form) for form in ("float", "PIL", "uint8")
        }
        ways["timm"] = functools.partial(timm_loader, folder)
        found = in_turn({**ways, **our_ways(folder, size, size)}, size, rounds, least_s)
        for name, (seconds, busy, memory) in found.items():
            ratios = (found[f"torchvision, {form}"][0] / seconds for form in ("float", "PIL", "uint8"))
            wall = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            relative = found["torchvision, float"][1] / busy
            print(
                f"| {size} | {name} | {1 / seconds:.0f} | {wall} | {1 / busy:.0f} | {relative:.2f} | {memory:.0f} |", flush=True
            )


def rising(folder: Path, rounds: int, least_s: float) -> None:
    """Milliseconds of processor time a picture at rising sizes, before and now."""
    sizes = (32, 64, 128)
    before = {
        "files, before": functools.partial(ours, read(folder, 128, None, False, 0, False)),
        "memory, before": functools.partial(ours, read(folder, 128, None, False, None, False)),
    }
    now = our_ways(folder, 128, 32)
    ways = {**before, "files, now": now["crop"], "memory, now": now["memory"], "cache": now["cache"]}
    print("| pictures from | " + " | ".join(f"{size} pixels" for size in sizes) + " | 32 / 128 | a third of each |")
    print("|---|" + "---|" * (len(sizes) + 2))
    found = {size: in_turn(ways, size, rounds, least_s) for size in sizes}
    for name in ways:
        each = [1000 * found[size][name][1] for size in sizes]
        columns = " | ".join(f"{ms:.3f}" for ms in each)
        print(f"| {name} | {columns} | {each[0] / each[-1]:.2f} | {statistics.mean(each):.3f} |", flush=True)


def errors(folder: Path, sizes: Sequence[int]) -> None:
    """Grey levels between images of halved copies and the same images of whole pictures, on average and at most.

    Crops of packed pictures are drawn by another size, and so are others; there it is the whole picture, shrunk.
    """
    print("| pixels | from | what | mean | worst picture |")
    print("|---|---|---|---|---|")
    for size in sizes:
        whole = read(folder, size, None, False, 0, False)
        for name, packed, first in (("crop", False, RandomResizedCrop()), ("packed", True, Squash())):
            others, looks = read(folder, size, size, packed, 0, False), (Look((first,)),)
            levels = []
            for one, other in zip(views(whole, looks, size), views(others, looks, size), strict=True):
                levels += (one - other).abs().mean((1, 2, 3)).tolist()
            figures = f"{statistics.mean(levels):.2f} | {max(levels):.2f}"
            print(f"| {size} | {name} | {type(first).__name__} | {figures} |", flush=True)


def views(pictures: Pictures, looks: Sequence[Look], size: int) -> Iterator[torch.Tensor]:
    requests = Epochs(len(pictures), BATCH, 1.0, 0).requests(Constant(value=float(size)), 0, 1, slice(None))
    for loaded in training_batches(pictures, looks, requests, len(pictures.collection.classes), 0):
        yield loaded.batch.images.float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--rising", action="store_true")
    parser.add_argument("--error", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a run does
    print(", ".join(f"{name} {value}" for name, value in machine().items() if value), file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[system.VARIABLE] = str(folder / "cache")
        make_files(folder / "photos", 32)
        if options.rising:
            rising(folder / "photos", options.rounds, options.seconds)
        elif options.error:
            errors(folder / "photos", options.sizes)
        else:
            compare(folder / "photos", options.sizes, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
