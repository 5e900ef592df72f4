import math

import pytest
import torch

from paretina.measure.judges.top_one import TopOne, quick_figures


def test_figures_by_hand():
    # answers 0, 1, 1 for labels 0, 1, 0: two of three; probabilities of the truth 3/4, 3/4, 1/4
    logits = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)], [0.0, math.log(3)]])
    found = quick_figures(logits, torch.tensor([0, 1, 0]))
    assert found == {"loss": pytest.approx((2 * math.log(4 / 3) + math.log(4)) / 3), "top1": pytest.approx(200 / 3)}


def test_top5_by_hand():
    logits = torch.arange(6.0).repeat(4, 1)  # class 5 first, class 0 last
    found = quick_figures(logits, torch.tensor([5, 1, 0, 3]))
    assert (found["top1"], found["top5"]) == (25.0, 75.0)


def test_the_label_of_a_mixed_row_is_its_largest_share():
    tally = TopOne().start(2)
    tally.add(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.4, 0.6], [0.1, 0.9]]), torch.tensor([1, 0]))
    ids, _, labels = tally.answers()
    assert ids.tolist() == [0, 1]
    assert labels.tolist() == [1, 1]
    assert tally.quick()["top1"] == 50.0
