import math

import numpy as np
import pytest
import torch
from torch import nn

from paretina.data.pictures import read_pictures
from paretina.data.sources.arrays import from_arrays
from paretina.measure.evaluate import Evaluation, joined, quick_figures
from paretina.measure.memory import peak_mb
from paretina.measure.plan import Plan
from paretina.model.blueprint import Preprocessing


class Brightness(nn.Module):
    """Says how bright a picture is, and counts how often it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = 0
        self.frozen = nn.Dropout()

    def forward(self, images):
        assert not self.training
        self.asked += len(images)
        return images.float().mean((1, 2, 3))[:, None].repeat(1, 2)


def pictures(count=10):
    images = np.stack([np.full((8, 8, 3), 10 * n, np.uint8) for n in range(count)])
    collection = from_arrays(images, np.arange(count) % 2, split=["val"] * count)
    return read_pictures(collection, collection.split("val"))


def evaluation(batch=4, plan=Plan(), **changes):  # noqa: B008
    return Evaluation(pictures(), Preprocessing(crop=1.0), 8, 2, plan, batch=batch, **changes)


@pytest.mark.parametrize("batch", [1, 3, 10, 100])
def test_every_picture_is_answered_once_and_in_order(batch):
    logits, ids = evaluation(batch).run(Brightness())
    assert ids.tolist() == list(range(10))
    assert logits[:, 0].tolist() == [10.0 * n for n in range(10)]
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    network = Brightness().train(training)
    evaluation().run(network)
    assert network.training == training


def test_pictures_are_prepared_once(monkeypatch):
    made = evaluation()
    first = made.run(Brightness())
    monkeypatch.setattr("paretina.measure.evaluate.evaluation_batches", lambda *_: pytest.fail("they were prepared again"))
    second = made.run(Brightness())
    assert torch.equal(first[0], second[0])


def test_pictures_that_take_too_much_memory_are_prepared_again(monkeypatch):
    monkeypatch.setattr(Evaluation, "KEEP", 10 * 3 * 8 * 8 - 1)
    made = evaluation()
    first, second = made.run(Brightness()), made.run(Brightness())
    assert made.kept is None
    assert torch.equal(first[0], second[0])


def test_answers_of_low_precision_come_as_float32():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))

    class Wrapped(nn.Module):
        def forward(self, images):
            return linear(images.float())

    assert evaluation(plan=Plan(precision="bfloat16")).run(Wrapped())[0].dtype == torch.float32


def test_the_answers_of_all_ranks_come_into_the_order_of_the_split():
    parts = [evaluation(rank=rank, ranks=3).run(Brightness()) for rank in range(3)]
    logits, ids = joined(parts)
    assert ids.tolist() == list(range(10))
    assert logits[:, 0].tolist() == [10.0 * n for n in range(10)]


def test_figures_by_hand():
    # answers 0, 1, 1 for labels 0, 1, 0: two of three; probabilities of the truth 3/4, 3/4, 1/4
    logits = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)], [0.0, math.log(3)]])
    found = quick_figures(logits, torch.tensor([0, 1, 0]))
    assert found == {"loss": pytest.approx((2 * math.log(4 / 3) + math.log(4)) / 3), "top1": pytest.approx(200 / 3)}


def test_top5_by_hand():
    logits = torch.arange(6.0).repeat(4, 1)  # class 5 first, class 0 last
    found = quick_figures(logits, torch.tensor([5, 1, 0, 3]))
    assert (found["top1"], found["top5"]) == (25.0, 75.0)


def test_memory_is_that_of_a_process_that_holds_torch():
    assert 50 < peak_mb() < 1e6
    held = np.ones(8 << 20)  # 64 MB
    before = peak_mb()
    del held
    assert peak_mb() >= before  # a peak never falls
