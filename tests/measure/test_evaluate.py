import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from paretina.data.pictures import read_pictures
from paretina.data.sources.arrays import from_arrays
from paretina.data.sources.masks import Masks
from paretina.measure.evaluate import Evaluation
from paretina.measure.judges.held_out_loss import HeldOutLoss
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
    first, *others = [evaluation(rank=rank, ranks=3).tally(Brightness()) for rank in range(3)]
    ids, logits, labels = first.with_all(others).answers()
    assert ids.tolist() == list(range(10))
    assert logits[:, 0].tolist() == [10.0 * n for n in range(10)]
    assert labels.tolist() == [0, 1] * 5


def masked(folder):
    """Four pictures and their masks, decoded when they are asked for."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
        for number in range(4):
            value = 60 * number if kind == "images" else number % 2
            PIL.Image.new("L", (8, 8), value).save(folder / kind / f"{number}.png")
    collection = Masks(path=str(folder), labels="classes", val_share=1.0).open()
    return read_pictures(collection, collection.split("val"), budget=0)


class BrightPixels(nn.Module):
    def forward(self, images):
        return torch.stack((1 - images[:, 0].float(), images[:, 0].float()), 1)


def test_a_picture_that_is_gone_is_judged_and_not_drawn(tmp_path):
    made = Evaluation(masked(tmp_path / "cells"), Preprocessing(crop=1.0), 8, 2, Plan())
    before = made.tally(BrightPixels())  # which keeps the pictures as the network sees them
    gone = made.pictures.samples[1].name
    next((tmp_path / "cells" / "images").glob(f"{gone.rpartition('/')[2].partition('.')[0]}.*")).unlink()
    after = made.tally(BrightPixels())
    assert after.quick() == before.quick()
    assert (sorted(before.drawn), sorted(after.drawn)) == ([0, 1, 2, 3], [0, 2, 3])


def test_a_judge_by_loss_needs_something_that_learns():
    made = evaluation(judge=HeldOutLoss())
    with pytest.raises(ValueError, match="uses the training loss, which only a run has"):
        made.tally(Brightness())
    made.loss = lambda batch: batch.images.float().mean()
    network = Brightness()
    # four pictures of 0 to 30, four of 40 to 70, two of 80 and 90
    assert made.tally(network).quick() == {"loss": pytest.approx((4 * 15 + 4 * 55 + 2 * 85) / 10)}
    assert network.asked == 0


def test_the_network_is_left_as_it_was_where_an_answer_fails():
    network = Brightness().train()
    network.forward = lambda images: images / 0 + torch.empty(7)
    with pytest.raises(RuntimeError):
        evaluation().run(network)
    assert network.training


def test_memory_is_that_of_a_process_that_holds_torch():
    assert 50 < peak_mb() < 1e6
    held = np.ones(8 << 20)  # 64 MB
    before = peak_mb()
    del held
    assert peak_mb() >= before  # a peak never falls
