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
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float16
from torch import Tensor

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.decode import DecodeError
from paretina.data.loader import LoadedBatch, evaluation_batches, training_batches, weighed
from paretina.data.pictures import Pictures
from paretina.data.sampler import Request, seed_of
from paretina.data.transform import Look
from paretina.measure.plan import Plan
from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.model.fold import fastest_form
from paretina.shapes import Features
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

    def features(self, network: Network, entry: int) -> Features:
        """The input of the last layer for the first view of each picture; NaN where it could not be read; on the CPU.

        Args:
            network: in evaluation mode, with the weights that the maps come from.
            entry: number of leading parts that the maps stand for.
        """
        known, key = KEPT.get(), (id(self.maps[0]), entry, features_digest(network))
        if known is not None and key in known:
            return cast(Features, known[key])
        device = next(network.parameters()).device
        form = fastest_form(network)
        before, form.entry = form.entry, entry
        try:
            with torch.inference_mode():
                parts = [form.embedding(part.to(device).float()).float().cpu() for part in self.maps[0].split(BATCH)]
        finally:
            form.entry = before
        rows = torch.cat(parts)
        rows[[*self.faults]] = torch.nan
        if known is not None:
            known[key] = rows  # as long as these maps, which are kept with it
        return rows

    def view(self, request: Request, epoch: int) -> int:
        return (epoch + request.index) % len(self.maps)

    def batches(self, requests: Iterator[list[Request]], updates_per_epoch: int) -> Iterator[LoadedBatch]:
        """The batches of a stream of requests, in its order, with maps in place of images."""
        for chosen in requests:
            good = [request for request in chosen if request.index not in self.faults]
            faults = tuple(self.faults[request.index] for request in chosen if request.index in self.faults)
            if not good:
                raise DecodeError(f"no picture of a batch can be read any more: {'; '.join(faults[:3])}")
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
    seed: int,
    side: int,
    views: int,
    plan: Plan,
    workers: int,
) -> Remembered:
    """Sends every view of every picture through the frozen parts.

    Args:
        network: with `entry` set, on the device of the plan.
        looks: the views that the recipe asks for, of which the first counts.
        seed: of the run, which the views follow from.
        side: of all images, in pixels.
    """
    training = network.training
    network.eval()
    key = (network.model, weights_digest(network), network.entry, pictures.samples, tuple(looks), seed, side, plan)
    known = KEPT.get()
    found: list[ViewMaps] = []
    try:
        for view in range(views):
            own = (*key[:4], side, plan) if view == 0 else (*key, view, views)
            seen = None if known is None else cast(ViewMaps | None, known.get(own))
            found.append(seen or seen_by(network, pictures, looks, seed, side, view, views, plan, workers))
            if known is not None:
                known[own] = found[-1]
    finally:
        network.train(training)
    faults = {number: fault for seen in found for number, fault in seen.faults.items()}
    weights = pictures.weights()
    targets = found[0].targets if weights is None else weighed(found[0].targets, weights)
    return Remembered(tuple(seen.maps for seen in found), targets, faults)


@dataclass(frozen=True)
class ViewMaps:
    """One view of all pictures.

    Attributes:
        maps: in the order of the pictures; zeros where one could not be read.
        targets: of each picture.
        faults: `name: reason` by number of the picture.
    """

    maps: Maps
    targets: Tensor
    faults: dict[int, str]


KEPT: ContextVar[dict[Any, ViewMaps | Features] | None] = ContextVar("KEPT", default=None)


@contextmanager
def maps_kept() -> Iterator[None]:
    """While it lasts, maps that were computed once are there for whoever wants the same: a pilot and the run after it."""
    token = KEPT.set({})
    try:
        yield
    finally:
        KEPT.reset(token)


def views_kept() -> int:
    """How many views of all pictures are kept for whoever wants the same."""
    return sum(isinstance(each, ViewMaps) for each in (KEPT.get() or {}).values())


def weights_digest(network: Network) -> int:
    """A checksum of the parts that lead to `entry`."""
    parts = [network.stem, *network.stages[: network.entry - 1]]
    return checksum(tensor for part in parts for tensor in part.state_dict().values())


def features_digest(network: Network) -> int:
    """A checksum of all that features depend on: the whole network but its last layer."""
    return checksum(tensor for name, tensor in network.state_dict().items() if not name.startswith("head.classifier."))


def checksum(tensors: Iterable[Tensor]) -> int:
    found = 0
    for tensor in tensors:
        found = zlib.crc32(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes(), found)
    return found


def seen_by(
    network: Network,
    pictures: Pictures,
    looks: Sequence[Look],
    seed: int,
    side: int,
    view: int,
    views: int,
    plan: Plan,
    workers: int,
) -> ViewMaps:
    """Sends one view of every picture through the frozen parts; the first one is the picture as evaluation sees it."""
    classes, preprocessing = network.model.classes, network.model.preprocessing
    leading = fastest_form(network)
    if view == 0:
        batches = evaluation_batches(pictures, preprocessing, side, classes, BATCH, workers)
    else:
        asked = requests(len(pictures), seed, view, views, side)
        batches = training_batches(pictures, looks[:1], asked, classes, workers)
    maps = targets = None
    faults: dict[int, str] = {}
    for loaded in batches:
        faults.update({number_of(pictures, fault): fault for fault in loaded.faults})
        if not len(loaded.batch):
            continue
        batch = loaded.batch.to(plan.device, plan.torch_memory_format)
        with torch.inference_mode(), plan.arithmetic():
            made = leading.lead(batch.images).to("cpu", torch.float16)
        ids = batch.ids.cpu()
        if maps is None or targets is None:
            maps = torch.zeros(len(pictures), *made.shape[1:], dtype=torch.float16)
            targets = torch.zeros(len(pictures), *batch.targets.shape[1:])
        maps[ids], targets[ids] = made, batch.targets.cpu()
    if maps is None or targets is None:
        raise ValueError("none of the training pictures can be read any more")
    return ViewMaps(maps, targets, faults)


def number_of(pictures: Pictures, fault: str) -> int:
    """The number of the picture that a fault names."""
    return next(number for number, sample in enumerate(pictures.samples) if fault.startswith(f"{sample.name}: "))


def requests(count: int, seed: int, view: int, views: int, side: int) -> Iterator[list[Request]]:
    """Asks for one view of all pictures, in their order; transforms that change over a run are as strong as at its share."""
    clock = Clock(view, views, float(views))
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        yield [Request(number, seed_of(seed, view, number), clock, side) for number in numbers]
