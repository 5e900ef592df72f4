"""A queue that joins requests into batches: pictures of one size that wait at the same time go through the network together."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Shares = Callable[[Tensor], Tensor]
"""Raw pictures of one size, (batch, channel, row, column) of uint8, to probabilities."""


class FullError(Exception):
    """The queue is full; the request may be tried again later."""


class LateError(Exception):
    """The answer did not come in time."""


BATCH_PIXELS = 16_000_000
"""Pixels that go through the network together at most, but for a single picture."""

CLOSING_S = 20.0
"""Seconds that waiting pictures may still take when the server ends; what waits longer is refused."""


@dataclass
class Waiting:
    """A picture that waits for its probabilities, or a job that waits for its turn alone."""

    image: Tensor | None
    job: Callable[[], Any] | None
    answer: "asyncio.Future[Any]"


@dataclass
class Figures:
    """What the queue has done so far.

    Attributes:
        answered: pictures.
        refused: pictures for which there was no room.
        late: pictures whose answer came too late.
        failed: pictures that the network failed on.
        batches: number of batches by their size.
        seconds: of the network, all batches together.
    """

    answered: int = 0
    refused: int = 0
    late: int = 0
    failed: int = 0
    batches: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0


class BatchQueue:
    """
    Attributes:
        most: pictures that wait at most.
        batch: pictures that go through the network together at most.
        wait_s: how long a picture waits for others of its size, in seconds; 0 for not at all.
        late_s: seconds after which an answer is too late.
        most_pixels: of all pictures that are decoded, wait or are computed at the same time.
    """

    def __init__(
        self,
        shares: Shares,
        most: int = 64,
        batch: int = 16,
        wait_s: float = 0.0,
        late_s: float = 30.0,
        most_pixels: int = 100_000_000,
    ) -> None:
        self.shares = shares
        self.most_pixels, self.pixels = most_pixels, 0
        self.most, self.batch, self.wait_s, self.late_s = most, batch, wait_s, late_s
        self.waiting: deque[Waiting] = deque()
        self.figures = Figures()
        self.filled = asyncio.Event()
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="network")
        self.task: asyncio.Task[None] | None = None
        self.busy = 0
        self.closing = False

    def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.work())

    @property
    def depth(self) -> int:
        """Pictures that wait or are being computed."""
        return len(self.waiting) + self.busy

    @contextmanager
    def room(self, pixels: int) -> Iterator[None]:
        """Context that holds room for a picture, from before it is decoded until it is answered.

        Raises:
            FullError: there is none; a single picture always has.
        """
        if self.closing or (self.pixels and self.pixels + pixels > self.most_pixels):
            self.figures.refused += 1
            raise FullError
        self.pixels += pixels
        try:
            yield
        finally:
            self.pixels -= pixels

    async def ask(self, image: Tensor) -> Tensor:
        """The probabilities of one picture.

        Raises:
            FullError: too many wait already, or the server is closing.
            LateError: the answer did not come in time.
        """
        found: Tensor = await self.queued(image, None)
        return found

    async def do(self, job: Callable[[], Any]) -> Any:
        """What a job gives that is done in its turn, in the thread of the network; raises as `ask`."""
        return await self.queued(None, job)

    async def queued(self, image: Tensor | None, job: Callable[[], Any] | None) -> Any:
        if self.closing or len(self.waiting) >= self.most:
            self.figures.refused += 1
            raise FullError
        mine = Waiting(image, job, asyncio.get_running_loop().create_future())
        self.waiting.append(mine)
        self.filled.set()
        try:
            return await asyncio.wait_for(mine.answer, self.late_s)
        except TimeoutError:
            self.figures.late += 1
            raise LateError from None

    async def work(self) -> None:
        """Takes batches until the queue is closed and empty."""
        loop = asyncio.get_running_loop()
        while True:
            if not self.waiting:
                if self.closing:
                    return
                self.filled.clear()
                await self.filled.wait()
                continue
            if self.wait_s and len(self.waiting) < self.batch and not self.closing:
                await asyncio.sleep(self.wait_s)
            chosen = self.take()
            if not chosen:
                continue
            self.busy = len(chosen)
            began = time.monotonic()
            job = chosen[0].job
            found: Any
            try:
                if job is not None:
                    found = [await loop.run_in_executor(self.pool, job)]
                else:
                    images = torch.stack([each.image for each in chosen if each.image is not None])
                    found = await loop.run_in_executor(self.pool, self.shares, images)
            except Exception as error:  # a network that fails on one batch goes on with the next
                self.figures.failed += len(chosen)
                for each in chosen:
                    if not each.answer.done():
                        each.answer.set_exception(RuntimeError(str(error)))
            else:
                self.figures.answered += 0 if job is not None else len(chosen)
                for each, answer in zip(chosen, found, strict=True):
                    if not each.answer.done():
                        each.answer.set_result(answer)
            if job is None:
                self.figures.batches[len(chosen)] += 1
            self.figures.seconds += time.monotonic() - began
            self.busy = 0

    def take(self) -> list[Waiting]:
        """The next pictures of one size, the oldest first; those that nobody waits for any more are dropped."""
        while self.waiting and self.waiting[0].answer.done():
            self.waiting.popleft()
        if not self.waiting:
            return []
        first = self.waiting[0].image
        if first is None:
            return [self.waiting.popleft()]
        shape = first.shape
        batch = max(1, min(self.batch, BATCH_PIXELS // (shape[-1] * shape[-2])))
        chosen: list[Waiting] = []
        left: deque[Waiting] = deque()
        for each in self.waiting:
            if each.answer.done():
                continue
            if each.image is not None and each.image.shape == shape and len(chosen) < batch:
                chosen.append(each)
            else:
                left.append(each)
        self.waiting = left
        return chosen

    async def close(self, seconds: float = CLOSING_S) -> None:
        """Answers pictures that wait, takes nothing more; jobs, and pictures that would take longer, are refused."""
        self.closing = True
        self.refuse(jobs_only=True)
        self.filled.set()
        if self.task is not None:
            done, _ = await asyncio.wait({self.task}, timeout=seconds)
            if not done:
                self.refuse(jobs_only=False)
                await self.task
        self.pool.shutdown()

    def refuse(self, jobs_only: bool) -> None:
        for each in self.waiting:
            if not each.answer.done() and (each.job is not None or not jobs_only):
                each.answer.set_exception(FullError())
