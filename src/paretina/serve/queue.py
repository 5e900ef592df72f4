"""A queue that joins requests into batches: pictures of one size that wait at the same time go through the network together."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor

Shares = Callable[[Tensor], Tensor]
"""Raw pictures of one size, (batch, channel, row, column) of uint8, to probabilities."""


class FullError(Exception):
    """The queue is full; the request may be tried again later."""


class LateError(Exception):
    """The answer did not come in time."""


@dataclass
class Waiting:
    image: Tensor
    answer: "asyncio.Future[Tensor]"
    since: float


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
    """

    def __init__(self, shares: Shares, most: int = 64, batch: int = 16, wait_s: float = 0.0, late_s: float = 30.0) -> None:
        self.shares = shares
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

    async def ask(self, image: Tensor) -> Tensor:
        """The probabilities of one picture.

        Raises:
            FullError: too many wait already, or the server is closing.
            LateError: the answer did not come in time.
        """
        if self.closing or len(self.waiting) >= self.most:
            self.figures.refused += 1
            raise FullError
        mine = Waiting(image, asyncio.get_running_loop().create_future(), time.monotonic())
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
            try:
                images = torch.stack([each.image for each in chosen])
                found = await loop.run_in_executor(self.pool, self.shares, images)
            except Exception as error:  # a network that fails on one batch goes on with the next
                self.figures.failed += len(chosen)
                for each in chosen:
                    if not each.answer.done():
                        each.answer.set_exception(RuntimeError(str(error)))
            else:
                self.figures.answered += len(chosen)
                for each, answer in zip(chosen, found, strict=True):
                    if not each.answer.done():
                        each.answer.set_result(answer)
            self.figures.batches[len(chosen)] += 1
            self.figures.seconds += time.monotonic() - began
            self.busy = 0

    def take(self) -> list[Waiting]:
        """The next pictures of one size, the oldest first; those that nobody waits for any more are dropped."""
        while self.waiting and self.waiting[0].answer.done():
            self.waiting.popleft()
        if not self.waiting:
            return []
        shape = self.waiting[0].image.shape
        chosen: list[Waiting] = []
        left: deque[Waiting] = deque()
        for each in self.waiting:
            if each.answer.done():
                continue
            if each.image.shape == shape and len(chosen) < self.batch:
                chosen.append(each)
            else:
                left.append(each)
        self.waiting = left
        return chosen

    async def close(self) -> None:
        """Answers what waits, takes nothing more."""
        self.closing = True
        self.filled.set()
        if self.task is not None:
            await self.task
        self.pool.shutdown()
