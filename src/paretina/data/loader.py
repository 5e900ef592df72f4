"""Loads batches of pictures; the result does not depend on the number of workers."""

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info
from torchvision import tv_tensors

from paretina.data.batch import Batch
from paretina.data.borders import BetweenObjects
from paretina.data.boxes import are_boxes, moved, origins
from paretina.data.decode import DecodeError
from paretina.data.pictures import Pictures, memory_budget
from paretina.data.preprocess import preprocess
from paretina.data.resize import resized
from paretina.data.sampler import Request, seed_of
from paretina.data.transform import Beginning, Look, Sight, go_together
from paretina.model.blueprint import Preprocessing
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image, Images, Targets


@dataclass(frozen=True)
class LoadedBatch:
    """A batch from the workers, and the pictures of it that could not be read.

    Attributes:
        faults: `name: reason` for each picture that was left out.
        changed: `path: what` for each file that is not as it was when it was first read; its picture is in the batch, as it
            is now.
    """

    batch: Batch
    faults: tuple[str, ...]
    changed: tuple[str, ...] = ()

    def pin_memory(self) -> "LoadedBatch":
        """As `Batch.pin_memory`; the loader calls it in a thread of its own."""
        return replace(self, batch=self.batch.pin_memory())


Item = tuple[int, Tensor, tuple[Image, ...]] | str
"""Index, target and views of a picture, or why it cannot be read."""


def mask_beside(target: Tensor, image: Image) -> Image | None:
    """A per-pixel target in the form transforms take: three equal channels, as large as the picture; None for other targets.

    A picture may have been reduced while it was decoded. Beside boxes is a mask that shows where they go,
    `paretina.data.boxes`.
    """
    if are_boxes(target):
        return origins(image.shape[1], image.shape[2])
    if target.ndim != 2:
        return None
    mask = tv_tensors.Mask(target.expand(3, -1, -1))
    return mask if mask.shape == image.shape else resized(mask, *image.shape[1:])


def target_beside(target: Tensor, mask: Image | None, image: Image) -> Tensor:
    """The target of a picture after its transforms.

    Args:
        mask: what the transforms made of `mask_beside`.
        image: the picture before them.
    """
    if mask is None:
        return target
    return moved(target, mask, image.shape[1], image.shape[2]) if are_boxes(target) else mask[0]


def seen_by_network(pictures: Pictures, index: int, preprocessing: Preprocessing, size: int) -> tuple[Image, Tensor]:
    """A picture as it is preprocessed for evaluation, and its per-pixel target likewise, [row, column].

    Raises:
        DecodeError: one cannot be read any more.
    """
    image = pictures.image(index)
    mask = mask_beside(pictures.target(index), image)
    if mask is None:
        raise ValueError("there is a mask only where each pixel has a target")
    return preprocess(image, preprocessing, size), preprocess(mask, preprocessing, size)[0]


class FixedResults:
    """Results of deterministic first transforms, kept while there is room.

    Attributes:
        room: bytes that all of it may take; None before the first picture. Workers have none: each would fill its own.
    """

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.kept: dict[tuple[int, int], Image] = {}
        self.used = 0

    def find(self, view: int, index: int, side: int) -> Image | None:
        """A picture as a view begins, or None where that is not known at this side in pixels."""
        found = self.kept.get((view, index))
        return found if found is not None and found.shape[-1] == side else None

    def keep(self, view: int, index: int, image: Image) -> None:
        """Takes the place of the same picture at another size."""
        if self.room is None:
            self.room = memory_budget() if get_worker_info() is None else 0
        before = self.kept.get((view, index))
        more = image.numel() - (0 if before is None else before.numel())
        if self.used + more <= self.room:
            self.kept[view, index] = image.clone()
            self.used += more


class Transformed(Dataset[Item]):
    """Decodes, seeds and transforms pictures on request. What it keeps only saves time, so any worker can serve any request."""

    def __init__(self, pictures: Pictures, looks: Sequence[Look]) -> None:
        self.pictures = pictures
        self.looks = tuple(looks)
        self.remembered = FixedResults()

    def __getitem__(self, request: Request) -> Item:  # type: ignore[override]
        return self.__getitems__([request])[0]

    def __getitems__(self, requests: Sequence[Request]) -> list[Item]:
        """The items of one batch, which has one size; each item is what it would be alone."""
        with torch.random.fork_rng(devices=[]):
            read = [self.read(request) for request in requests]
            good = [each for each in read if not isinstance(each, str)]
            views = [self.view(number, good) for number in range(len(self.looks))] if good else []
        items: list[Item] = []
        place = 0
        for each in read:
            if isinstance(each, str):
                items.append(each)
                continue
            target = target_beside(each.target, views[0][place].mask, each.image)
            items.append((each.request.index, target, tuple(sights[place].image for sights in views)))
            place += 1
        return items

    def read(self, request: Request) -> "Raw | str":
        """Decodes a picture as far as its views need it, which is found from its size alone."""
        try:
            levels = self.pictures.levels(request.index)
            begun = tuple(
                look.begin(levels.height, levels.width, request.size, self.seed(request, number), request.clock)
                for number, look in enumerate(self.looks)
            )
            # one copy for all views, so that a file is decoded once
            most = self.pictures.copies(levels.height, levels.width)
            halvings = min((most, *(each.halvings for each in begun)))
            return Raw(request, levels.level(halvings), self.pictures.target(request.index), halvings, begun)
        except DecodeError as error:
            return str(error)

    def seed(self, request: Request, number: int) -> int:
        """The seed of a view; the first one draws as the only one of a plain run."""
        return seed_of(request.seed, number) if number and self.looks[number].own else request.seed

    def view(self, number: int, read: Sequence["Raw"]) -> list[Sight]:
        """One view of each picture; a mask moves with the first one."""
        look, size = self.looks[number], read[0].request.size
        sights = []
        for raw in read:
            mask = None if number else mask_beside(raw.target, raw.image)
            sights.append(Sight(raw.image, mask, self.seed(raw.request, number), raw.request.clock))
        if look.crop is None:
            behind = self.begin(number, sights, [raw.request.index for raw in read], look.side(size))
        else:
            behind = 1
            for raw, sight in zip(read, sights, strict=True):
                look.cut(sight, raw.begun[number], raw.halvings, size)
        look(sights, size, behind)
        return sights

    def begin(self, number: int, sights: Sequence[Sight], indices: Sequence[int], side: int) -> int:
        """Takes pictures through the first transform by memory; returns how many they have behind them."""
        fixed = self.looks[number].fixed
        # a picture that is read from its file each time may have become unreadable, and there was no room for pictures
        if fixed is None or not self.pictures.kept or any(sight.mask is not None for sight in sights):
            return 0
        new = []
        for sight, index in zip(sights, indices, strict=True):
            found = self.remembered.find(number, index, side)
            if found is None:
                new.append((sight, index))
            else:
                sight.image = found
        go_together(fixed, [sight for sight, _ in new], [None] * len(new), side)
        for sight, index in new:
            self.remembered.keep(number, index, sight.image)
        return 1


@dataclass(frozen=True)
class Raw:
    """A request, and what it asks for as it was read.

    Attributes:
        image: the picture, halved so many times.
        begun: what the first transform of each view has decided by the size of the picture.
    """

    request: Request
    image: Image
    target: Tensor
    halvings: int
    begun: tuple[Beginning, ...]


class Preprocessed(Dataset[Item]):
    """The pictures for evaluation, with the preprocessing of the network."""

    def __init__(self, pictures: Pictures, preprocessing: Preprocessing, size: int) -> None:
        self.pictures = pictures
        self.preprocessing = preprocessing
        self.size = size

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Item:
        try:
            image, target = self.pictures.image(index), self.pictures.target(index)
        except DecodeError as error:
            return str(error)
        mask = mask_beside(target, image)
        if mask is not None:
            target = target_beside(target, preprocess(mask, self.preprocessing, self.size), image)
        return index, target, (preprocess(image, self.preprocessing, self.size),)


@dataclass(frozen=True)
class Collate:
    """Stacks items into a batch; unreadable pictures are left out and named.

    Attributes:
        size: side in pixels of the images of an empty batch.
        weights: what the targets of each picture are multiplied by, in the order of their split; None for 1.
        pixels: gives what those of each pixel are multiplied by, of masks that number objects; None for 1.
        pictures: that the items are of, to find files that have changed; None to look for none.
        any_layout: whether a batch of pictures that are channels last in memory stays so; `Batch.to` decides in the end.
    """

    classes: int
    size: int = 0
    task: Task = field(default_factory=OneOf)
    weights: Tensor | None = field(default=None, compare=False)
    pixels: BetweenObjects | None = None
    any_layout: bool = False
    pictures: Pictures | None = field(default=None, compare=False)

    def stack(self, images: Sequence[Image]) -> Images:
        """One batch of pictures of one size; in a worker it is written where the training process will read it."""
        if self.any_layout and all(image.stride(0) == 1 for image in images):
            return cast(Tensor, default_collate([image.permute(1, 2, 0) for image in images])).permute(0, 3, 1, 2)
        return cast(Tensor, default_collate(list(images)))

    def __call__(self, items: Sequence[Item]) -> LoadedBatch:
        good = [item for item in items if not isinstance(item, str)]
        faults = tuple(item for item in items if isinstance(item, str))
        nothing = (torch.empty(0, 3, self.size, self.size, dtype=torch.uint8),)
        views = tuple(self.stack(view) for view in zip(*(views for _, _, views in good), strict=True)) if good else nothing
        targets = self.task.targets([target for _, target, _ in good], self.classes)
        ids = torch.tensor([index for index, _, _ in good], dtype=torch.int64)
        if self.pixels is not None and good:
            targets = targets * self.pixels([target for _, target, _ in good])[:, None]
        if self.weights is not None:
            targets = weighed(targets, self.weights[ids])
        changes = [] if self.pictures is None else [self.pictures.change(index) for index, _, _ in good]
        return LoadedBatch(Batch(views, targets, ids), faults, tuple(filter(None, changes)))


def weighed(targets: Targets, weights: Tensor) -> Targets:
    """Targets whose rows are multiplied by a weight for each picture."""
    return targets * weights.view(-1, *[1] * (targets.ndim - 1))


def training_batches(
    pictures: Pictures,
    looks: Sequence[Look],
    requests: Iterator[list[Request]],
    classes: int,
    workers: int,
    pinned: bool = False,
    pixels: BetweenObjects | None = None,
) -> Iterator[LoadedBatch]:
    """Yields the batches of a stream of requests, in order; the targets of pictures that weigh more or less are scaled.

    Args:
        pixels: gives what the targets of each pixel are scaled by.
        pinned: whether they are put into memory from which a GPU copies by itself.

    Raises:
        DecodeError: no picture of a batch can be read any more.
    """
    return with_pictures(
        DataLoader(
            Transformed(pictures, looks),
            batch_sampler=Stream(requests, pictures, looks),
            collate_fn=Collate(
                classes,
                task=pictures.collection.task,
                weights=pictures.weights(),
                pixels=pixels,
                any_layout=True,
                pictures=pictures,
            ),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=pinned,
            worker_init_fn=leave_signals,
            generator=torch.Generator(),  # otherwise it draws from the generator of the network
        )
    )


def with_pictures(batches: Iterable[LoadedBatch]) -> Iterator[LoadedBatch]:
    """The batches, each with at least one picture: an update on none would change the weights all the same.

    Raises:
        DecodeError: one has none.
    """
    for loaded in batches:
        if not len(loaded.batch):
            raise DecodeError(f"no picture of a batch can be read any more: {'; '.join(loaded.faults[:3])}")
        yield loaded


def evaluation_batches(
    pictures: Pictures,
    preprocessing: Preprocessing,
    size: int,
    classes: int,
    batch: int,
    workers: int,
    indices: Sequence[int] | None = None,
) -> Iterator[LoadedBatch]:
    """Yields the pictures (or those with the given indices) in order, preprocessed for evaluation.

    A batch is empty if none of its pictures can be read any more.
    """
    return iter(
        DataLoader(
            Preprocessed(pictures, preprocessing, size),
            sampler=range(len(pictures)) if indices is None else indices,  # type: ignore[arg-type]
            batch_size=batch,
            collate_fn=Collate(classes, size, pictures.collection.task, pictures=pictures),
            num_workers=workers,
            worker_init_fn=leave_signals,
            generator=torch.Generator(),
        )
    )


def leave_signals(_: int) -> None:
    """Ignores Ctrl-C, which reaches every process of a terminal: the training process stops its workers, by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Stream:
    """A batch sampler over an iterator of requests; DataLoader only needs its iterator.

    What goes to a worker is used some batches later, so the system is told here what will be read from a cache on the disk:
    the copies that images of the size of that update are made of, and not the whole pictures.
    """

    def __init__(self, requests: Iterator[list[Request]], pictures: Pictures, looks: Sequence[Look]) -> None:
        self.requests = requests
        self.pictures = pictures
        self.looks = looks

    def __iter__(self) -> Iterator[Any]:
        for asked in self.requests:
            for request in asked:
                self.pictures.will_need(request.index, max(look.side(request.size) for look in self.looks))
            yield asked
