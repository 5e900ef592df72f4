"""What it costs to transform a training picture: in a batch, one after the other, and by another version of the source.

    python benchmarks/augmentation.py
    python benchmarks/augmentation.py --against ../before/src

Each row is a recipe at a size in pixels, for pictures of noise twice as large, or RandAugment itself, for pictures of one size.
All ways are measured in turn in one process with one thread; the figures are medians of processor time in microseconds a
picture, and how many times as fast a batch is. The first round, in which squashed pictures are not yet remembered, is left out.
"""

import argparse
import functools
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from paretina.measure.process import keep_freed_memory

SIZES = (28, 32, 64, 128, 224)
RECIPES = ("RandAugment", "finetune", "scratch", "fast")
COUNT = 64
TURNS = 50
"""Rounds at most."""

Way = Callable[[int], Any]
"""Transforms a batch, by the number of the round."""


def imported(source: str | None, *names: str) -> list[Any]:
    """Modules of the package from a source folder, or of the one that is installed."""
    kept = {each: sys.modules.pop(each) for each in list(sys.modules) if each.split(".")[0] == "paretina"} if source else {}
    if source:
        sys.path.insert(0, source)
    try:
        return [importlib.import_module(f"paretina.{name}") for name in names]
    finally:
        if source:
            sys.path.remove(source)
            for each in [each for each in sys.modules if each.split(".")[0] == "paretina"]:
                del sys.modules[each]
            sys.modules.update(kept)


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, side, side, 3), dtype=np.uint8)


def operations(source: str | None, size: int) -> tuple[Way, Way | None]:
    """RandAugment itself, of pictures that have their size."""
    found, clocks = imported(source, "data.transforms.randaugment", "clock")
    transform, images = found.RandAugment(), torch.from_numpy(noise(size)).permute(0, 3, 1, 2).contiguous()

    def alone(turn: int) -> None:
        for number, image in enumerate(images):
            torch.default_generator.manual_seed(COUNT * turn + number)
            transform(image, size, clocks.START)

    def together(turn: int) -> None:
        drawn = []
        for number in range(COUNT):
            torch.default_generator.manual_seed(COUNT * turn + number)
            drawn.append(transform.draw(clocks.START))
        transform.many(images, drawn, size)

    return alone, together if hasattr(transform, "many") else None


def loaded(source: str | None, name: str, size: int) -> tuple[Way, Way | None]:
    """All that the loader does for a recipe."""
    modules = ("data.sources.arrays", "data.loader", "data.pictures", "data.sampler", "schedules", f"train.recipes.{name}")
    arrays, loader, pictures, sampler, schedules, recipe = imported(source, *modules)
    collection = arrays.from_arrays(noise(2 * size), np.arange(COUNT) % 4, split=["train"] * COUNT)
    dataset = loader.Transformed(pictures.read_pictures(collection, collection.split("train")), recipe.RECIPE.looks())
    collate = loader.Collate(4)
    epochs = sampler.Epochs(COUNT, COUNT, 1e6, 0)

    @functools.cache
    def asked(turn: int) -> Any:
        return next(epochs.requests(schedules.Constant(value=float(size)), turn, 1, slice(None)))

    def alone(turn: int) -> None:
        collate([dataset[request] for request in asked(turn)])

    def together(turn: int) -> None:
        collate(dataset.__getitems__(asked(turn)))

    for turn in range(TURNS):
        asked(turn)
    return alone, together if hasattr(dataset, "__getitems__") else None


def ways(source: str | None, name: str, size: int) -> tuple[Way, Way | None]:
    """One picture after the other, and a batch in one go if this source can."""
    return operations(source, size) if name == "RandAugment" else loaded(source, name, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--against", help="source folder of another version, which is measured one picture after the other")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a run does
    print("| transforms | pixels | in a batch | one after the other |" + (" other version |" if options.against else ""))
    print("|---|---|---|---|" + ("---|" if options.against else ""))
    for name in RECIPES:
        for size in options.sizes:
            alone, together = ways(None, name, size)
            if together is None:
                sys.exit("this version takes no batches")
            asked = [together, alone] + ([ways(options.against, name, size)[0]] if options.against else [])
            found: list[list[float]] = [[] for _ in asked]
            for turn in range(min(options.rounds, TURNS - 1) + 1):
                for way, times in zip(asked, found, strict=True):
                    began = time.process_time()
                    way(turn)
                    times.append(1e6 * (time.process_time() - began) / COUNT)
            medians = [statistics.median(times[1:]) for times in found]
            others = " | ".join(f"{median:.0f} ({median / medians[0]:.1f} times)" for median in medians[1:])
            print(f"| {name} | {size} | {medians[0]:.0f} | {others} |", flush=True)


if __name__ == "__main__":
    main()
