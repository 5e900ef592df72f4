"""Loads batches of pictures; the result does not depend on the number of workers."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from paretina.data.batch import Batch
from paretina.data.decode import DecodeError
from paretina.data.pictures import Pictures
from paretina.data.preprocess import preprocess
from paretina.data.resize import resized
from paretina.data.sampler import Request, seed_of
from paretina.data.transform import Look
from paretina.model.blueprint import Preprocessing
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image


@dataclass(frozen=True)
class LoadedBatch:
    """A batch from the workers, and the pictures of it that could not be read.

    Attributes:
        faults: `name: reason` for each picture that was left out.
    """

    batch: Batch
    faults: tuple[str, ...]


Item = tuple[int, Tensor, tuple[Image, ...]] | str
"""Index, target and views of a picture, or why it cannot be read."""


def mask_beside(target: Tensor, image: Image) -> Image | None:
    """A per-pixel target in the form transforms take: three equal channels, as large as the picture; None for other targets.

    A picture may have been reduced while it was decoded.
    """
    if target.ndim != 2:
        return None
    mask = tv_tensors.Mask(target.expand(3, -1, -1))
    return mask if mask.shape == image.shape else resized(mask, *image.shape[1:])


class Transformed(Dataset[Item]):
    """Decodes, seeds and transforms a picture on request. Stateless, so any worker can serve any request."""

    def __init__(self, pictures: Pictures, looks: Sequence[Look]) -> None:
        self.pictures = pictures
        self.looks = tuple(looks)

    def __getitem__(self, request: Request) -> Item:  # type: ignore[override]
        try:
            image, target = self.pictures.image(request.index), self.pictures.target(request.index)
        except DecodeError as error:
            return str(error)
        mask = mask_beside(target, image)
        views = []
        with torch.random.fork_rng(devices=[]):
            for number, look in enumerate(self.looks):
                # the first view uses the same draws as the only view of a plain run
                torch.default_generator.manual_seed(seed_of(request.seed, number) if number and look.own else request.seed)
                view, moved = look.both(image, None if number else mask, request.size, request.clock)
                views.append(view)
                target = target if moved is None else moved[0]
        return request.index, target, tuple(views)


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
        target = target if mask is None else preprocess(mask, self.preprocessing, self.size)[0]
        return index, target, (preprocess(image, self.preprocessing, self.size),)


@dataclass(frozen=True)
class Collate:
    """Stacks items into a batch; unreadable pictures are left out and named.

    Attributes:
        size: side in pixels of the images of an empty batch; None if a batch must not be empty.
    """

    classes: int
    size: int | None = None
    task: Task = field(default_factory=OneOf)

    def __call__(self, items: Sequence[Item]) -> LoadedBatch:
        good = [item for item in items if not isinstance(item, str)]
        faults = tuple(item for item in items if isinstance(item, str))
        if not good and self.size is None:
            raise DecodeError(f"no picture of a batch can be read any more: {'; '.join(faults[:3])}")
        side = self.size or 0
        nothing = (torch.empty(0, 3, side, side, dtype=torch.uint8),)
        views = tuple(map(torch.stack, zip(*(views for _, _, views in good), strict=True))) if good else nothing
        targets = self.task.targets([target for _, target, _ in good], self.classes)
        ids = torch.tensor([index for index, _, _ in good], dtype=torch.int64)
        return LoadedBatch(Batch(views, targets, ids), faults)


def training_batches(
    pictures: Pictures, looks: Sequence[Look], requests: Iterator[list[Request]], classes: int, workers: int
) -> Iterator[LoadedBatch]:
    """Yields the batches of a stream of requests, in order."""
    return iter(
        DataLoader(
            Transformed(pictures, looks),
            batch_sampler=Stream(requests),
            collate_fn=Collate(classes, task=pictures.collection.task),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=leave_signals,
            generator=torch.Generator(),  # otherwise it draws from the generator of the network
        )
    )


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
            collate_fn=Collate(classes, size, pictures.collection.task),
            num_workers=workers,
            worker_init_fn=leave_signals,
            generator=torch.Generator(),
        )
    )


def leave_signals(_: int) -> None:
    """Ignores Ctrl-C, which reaches every process of a terminal: the training process stops its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Stream:
    """A batch sampler over an iterator of requests; DataLoader only needs its iterator."""

    def __init__(self, requests: Iterator[list[Request]]) -> None:
        self.requests = requests

    def __iter__(self) -> Iterator[Any]:
        return self.requests
