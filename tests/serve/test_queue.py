"""Requests that wait together are computed together, and nothing waits for ever."""

import asyncio

import pytest
import torch

from paretina.serve.queue import BatchQueue, FullError, LateError


class Network:
    """Gives each picture its first pixel, and remembers how many came together."""

    def __init__(self, gate=None, fails=False):
        self.sizes = []
        self.gate, self.fails = gate, fails

    def __call__(self, images):
        if self.gate is not None:
            self.gate.wait(10)
        self.sizes.append((len(images), tuple(images.shape[1:])))
        if self.fails:
            raise RuntimeError("broken")
        return images[:, 0, 0, :1].float()


def picture(value, rows=4):
    return torch.full((3, rows, 4), value, dtype=torch.uint8)


def served(network, go, **settings):
    async def whole():
        queue = BatchQueue(network, **settings)
        queue.start()
        try:
            return await go(queue), queue
        finally:
            await queue.close()

    return asyncio.run(whole())


def test_everyone_gets_their_own_answer_in_few_batches():
    network = Network()

    async def go(queue):
        return await asyncio.gather(*(queue.ask(picture(value)) for value in range(10)))

    found, queue = served(network, go, batch=4)
    assert [float(each) for each in found] == list(range(10))
    assert max(size for size, _ in network.sizes) == 4
    assert queue.figures.answered == 10
    assert sum(queue.figures.batches.values()) == len(network.sizes)
    assert queue.depth == 0


def test_only_pictures_of_one_size_go_together():
    network = Network()

    async def go(queue):
        return await asyncio.gather(*(queue.ask(picture(value, 4 + value % 2)) for value in range(8)))

    found, _ = served(network, go)
    assert [float(each) for each in found] == list(range(8))
    assert {shape for _, shape in network.sizes} == {(3, 4, 4), (3, 5, 4)}


def test_a_full_queue_refuses_and_goes_on():
    import threading

    gate = threading.Event()
    network = Network(gate)

    async def go(queue):
        asked = [asyncio.create_task(queue.ask(picture(value))) for value in range(20)]
        await asyncio.sleep(0.1)
        gate.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    found, queue = served(network, go, most=5, batch=1)
    refused = [each for each in found if isinstance(each, FullError)]
    assert len(refused) == queue.figures.refused >= 14
    assert queue.figures.answered == 20 - len(refused)


def test_late_answers_are_told_and_dropped():
    import threading

    gate = threading.Event()

    async def go(queue):
        asked = [asyncio.create_task(queue.ask(picture(value))) for value in range(3)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        gate.set()
        return found

    found, queue = served(Network(gate), go, late_s=0.1, batch=1)
    assert all(isinstance(each, LateError) for each in found)
    assert queue.figures.late == 3


def test_a_network_that_fails_does_not_stop_the_queue():
    network = Network(fails=True)

    async def go(queue):
        with pytest.raises(RuntimeError, match="broken"):
            await queue.ask(picture(1))
        network.fails = False
        return await queue.ask(picture(2))

    found, queue = served(network, go)
    assert float(found) == 2
    assert queue.figures.failed == 1


def test_jobs_have_their_turn_and_are_refused_at_the_end():
    async def whole():
        queue = BatchQueue(Network(), batch=1)
        queue.start()
        assert await queue.do(lambda: "done") == "done"
        assert queue.figures.answered == 0
        asked = [asyncio.create_task(queue.ask(picture(1))), asyncio.create_task(queue.do(lambda: "never"))]
        await asyncio.sleep(0)
        queue.refuse(jobs_only=True)
        found = await asyncio.gather(*asked, return_exceptions=True)
        await queue.close()
        return found

    answer, refused = asyncio.run(whole())
    assert float(answer) == 1
    assert isinstance(refused, FullError)


def test_large_pictures_go_alone():
    network = Network()

    async def go(queue):
        images = [torch.zeros(3, 3000, 4000, dtype=torch.uint8) for _ in range(3)]
        return await asyncio.gather(*(queue.ask(image) for image in images))

    served(network, go)
    assert [size for size, _ in network.sizes] == [1, 1, 1]


def test_a_single_picture_always_has_room():
    async def go(queue):
        with queue.room(1000), pytest.raises(FullError), queue.room(1):
            pass
        assert queue.pixels == 0

    served(Network(), go, most_pixels=100)


def test_closing_answers_what_waits_and_takes_nothing_more():
    async def whole():
        queue = BatchQueue(Network(), batch=1)
        queue.start()
        asked = [asyncio.create_task(queue.ask(picture(value))) for value in range(5)]
        await asyncio.sleep(0)
        await queue.close()
        with pytest.raises(FullError):
            await queue.ask(picture(9))
        return await asyncio.gather(*asked)

    assert [float(each) for each in asyncio.run(whole())] == list(range(5))
