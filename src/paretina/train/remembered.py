"""Remembered maps: what the frozen parts of a network make of each picture is computed once, and learned from many times.

Where stem and first stages are frozen, their output for a view of a picture never changes. `Learning.remembered_views` views of
each picture go through them once, before training; every update then costs the parts that learn and nothing else. The first
view is the picture as evaluation sees it, the others go through the transforms of the recipe. In each epoch a picture shows one
of its views, in turn, so that batches hold all kinds; MixUp and CutMix mix maps. All of it follows from the seed of the run, so
that an interrupted run, which computes the maps again, continues bit for bit.

Pays where the parts that learn are a small share of the work, as in the last two stages of an EfficientNet; memory is two bytes
for each value of a map, 44 kB for a view of a picture of 224 pixels in EfficientNet-Lite0.

Source: frozen features, Donahue et al. 2013 (arXiv:1310.1531), section 3; here they are those of an inner stage, and the rest
of the network is trained on them.
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float16
from torch import Tensor

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.loader import LoadedBatch, evaluation_batches, training_batches
from paretina.data.pictures import Pictures
from paretina.data.sampler import Epochs, Request, seed_of
from paretina.data.transform import Look
from paretina.measure.plan import Plan
from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.system import available_bytes
from paretina.train.recipe import Recipe

BATCH = 64
"""Pictures that go through the frozen parts at once; what stands beside a picture can change last digits."""

Maps = Float16[Tensor, "sample _channel _rows _columns"]


@dataclass(frozen=True)
class Remembered:
    """
    Attributes:
        maps: of each view, in the order of the pictures.
        targets: of each picture.
        faults: `name: reason` of each picture that could not be read, by its number; such pictures are left out of batches.
    """

    maps: tuple[Maps, ...]
    targets: Tensor
    faults: dict[int, str]

    def view(self, request: Request, epoch: int) -> int:
        return (epoch + request.index) % len(self.maps)

    def batches(self, requests: Iterator[list[Request]], updates_per_epoch: int) -> Iterator[LoadedBatch]:
        """The batches of a stream of requests, in its order, with maps in place of images."""
        for chosen in requests:
            good = [request for request in chosen if request.index not in self.faults]
            faults = tuple(self.faults[request.index] for request in chosen if request.index in self.faults)
            rows = [self.maps[self.view(each, each.clock.update // updates_per_epoch)][each.index] for each in good]
            ids = torch.tensor([each.index for each in good], dtype=torch.int64)
            yield LoadedBatch(Batch((torch.stack(rows).float(),), self.targets[ids], ids), faults)


def entry(model: Model, frozen: Sequence[str]) -> int:
    """Number of leading parts, stem and stages, that are all frozen.

    Raises:
        ValueError: the network is made of several, or the stem learns.
    """
    if not isinstance(model, Blueprint):
        raise ValueError(
            f"remembered_views needs a single network with frozen leading parts, and this one is {type(model).__name__}"
        )
    names = ("stem", *(f"stages.{number}" for number in range(len(model.stages))))
    count = len(list(itertools.takewhile(lambda name: name in frozen, names)))
    if not count:
        raise ValueError(
            "remembered_views remembers what frozen parts make of pictures, but the stem of the network is not frozen; "
            "freeze leading parts, for example frozen_stride=16, or leave remembered_views out"
        )
    return count


def room(model: Model, frozen: Sequence[str], side: int) -> int:
    """Bytes that one view of one picture takes.

    Raises:
        ValueError: as `entry`, or the map of the last frozen part cannot stand alone.
    """
    network = model.build("meta").eval()
    network.entry = entry(model, frozen)
    found = network.lead(torch.empty(1, model.channels, side, side, device="meta"))
    if not isinstance(found, Tensor) or found.ndim != 4 or found.shape[1] == model.channels:
        raise ValueError(f"what {frozen[-1]} gives cannot be remembered by itself; leave remembered_views out")
    return 2 * found.numel()


def check_room(wanted: int) -> None:
    """Looks whether so many bytes may be taken: half of the memory that is left.

    Raises:
        ValueError: they may not.
    """
    left = available_bytes()
    if left is not None and wanted > left // 2:
        raise ValueError(
            f"remembered_views would take {wanted / 1e9:.1f} GB, and half of the memory that is left is {left / 2e9:.1f} GB; "
            "lower remembered_views or the image size, or freeze more parts"
        )


def check_remembered(recipe: Recipe, model: Model, sides: Collection[int]) -> None:
    """Looks whether a run can learn from maps in place of images.

    Args:
        sides: in pixels, of all images of the run, those of the test among them.

    Raises:
        ValueError: it cannot; the message says why and what to do.
    """
    if not recipe.learning.remembered_views:
        return
    entry(model, recipe.learning.frozen_parts(model))
    rest = "; leave remembered_views out"
    if len(sides) > 1:
        raise ValueError(f"remembered_views needs one image size in training and test, got {sorted(sides)}{rest}")
    others = [*recipe.taught(), *(type(t).__name__ for t in recipe.batch_transforms() if not t.MIXES)]
    if others or recipe.views or not recipe.objective.MAPS:
        name = others[0] if others else "views" if recipe.views else type(recipe.objective).__name__
        raise ValueError(f"remembered_views gives maps in place of images, but {name} looks at images{rest}")


def remember(
    network: Network,
    pictures: Pictures,
    looks: Sequence[Look],
    epochs: Epochs,
    side: int,
    views: int,
    plan: Plan,
    workers: int,
) -> Remembered:
    """Sends every view of every picture through the frozen parts.

    Args:
        network: with `entry` set, on the device of the plan.
        looks: the views that the recipe asks for, of which the first counts.
        epochs: of the run, whose seed the views follow from.
        side: of all images, in pixels.
    """
    classes, preprocessing = network.model.classes, network.model.preprocessing
    training = network.training
    network.eval()
    found: list[Tensor] = []
    targets: Tensor | None = None
    faults: dict[int, str] = {}
    try:
        for view in range(views):
            if view == 0:
                batches = evaluation_batches(pictures, preprocessing, side, classes, BATCH, workers)
            else:
                batches = training_batches(pictures, looks[:1], requests(epochs, view, side), classes, workers)
            maps: Tensor | None = None
            for loaded in batches:
                batch = loaded.batch.to(plan.device, plan.torch_memory_format)
                with torch.inference_mode(), plan.arithmetic():
                    made = network.lead(batch.images).to("cpu", torch.float16)
                ids = batch.ids.cpu()
                if maps is None:
                    maps = torch.zeros(len(pictures), *made.shape[1:], dtype=torch.float16)
                if targets is None:
                    targets = torch.zeros(len(pictures), *batch.targets.shape[1:])
                maps[ids], targets[ids] = made, batch.targets.cpu()
                faults.update({number_of(pictures, fault): fault for fault in loaded.faults})
            assert maps is not None
            found.append(maps)
    finally:
        network.train(training)
    assert targets is not None
    return Remembered(tuple(found), targets, faults)


def number_of(pictures: Pictures, fault: str) -> int:
    """The number of the picture that a fault names."""
    return next(number for number, sample in enumerate(pictures.samples) if fault.startswith(f"{sample.name}: "))


def requests(epochs: Epochs, view: int, side: int) -> Iterator[list[Request]]:
    """Asks for one view of all pictures, in their order; its transforms are as strong as in the epoch of that number."""
    clock: Clock = epochs.clock(min(epochs.updates - 1, view * epochs.updates_per_epoch))
    for start in range(0, epochs.samples, BATCH):
        numbers = range(start, min(start + BATCH, epochs.samples))
        yield [Request(number, seed_of(epochs.seed, view, number), clock, side) for number in numbers]
