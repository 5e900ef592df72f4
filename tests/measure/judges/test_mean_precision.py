import csv
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from paretina.measure.judges.mean_precision import MeanPrecision, average_precision, write_shares
from paretina.model.tasks.any_of import ABSENT


def tally(logits, targets):
    found = MeanPrecision().start(len(targets[0]))
    found.add(torch.tensor(logits), torch.tensor(targets), torch.arange(len(targets)))
    return found


def drawn(pictures=60, classes=4, levels=None):
    """Logits that know a little, and labels; few levels make ties."""
    random = np.random.default_rng(0)
    there = random.random((pictures, classes)) < [0.5, 0.2, 0.7, 0.1]
    logits = random.normal(size=(pictures, classes)) + there
    if levels:
        logits = np.round(logits * levels) / levels
    there[~there.any(1), 0] = True  # a row of zeros says nothing
    return torch.tensor(logits, dtype=torch.float32), there


def test_by_hand():
    # of the first class pictures come in the order 0 (has it), 1 (not), 2 (has it): (1 + 2/3) / 2; the second is put first: 1
    found = tally([[3.0, -1.0], [2.0, 4.0], [1.0, -2.0]], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).quick()
    assert found["map"] == pytest.approx(100 * (5 / 6 + 1) / 2)
    # named: the first class in all three, of which two have it; the second in picture 1 alone, rightly
    assert found["f1_macro"] == pytest.approx(100 * (4 / 5 + 1) / 2)


def test_the_loss_is_the_mean_over_pictures_and_classes():
    found = tally([[0.0, math.log(3.0)]], [[1.0, 1.0]]).quick()
    assert found["loss"] == pytest.approx((math.log(2.0) + math.log(4 / 3)) / 2)


@pytest.mark.parametrize("levels", [None, 2])
def test_as_scikit_learn_also_with_ties(levels):
    logits, there = drawn(levels=levels)
    found = tally(logits.tolist(), there.astype(float).tolist())
    rows = found.judged(("a", "b", "c", "d")).details["per_class"]
    for i, row in enumerate(rows):
        assert row["average_precision"] == pytest.approx(100 * average_precision_score(there[:, i], logits[:, i]))
        assert row["f1"] == pytest.approx(100 * f1_score(there[:, i], logits[:, i] > 0))
        assert row["n"] == there[:, i].sum()


def test_drawn_twice_is_there_twice():
    logits, there = drawn(20, 4, 2)
    weights = torch.tensor(np.random.default_rng(1).integers(0, 3, 20), dtype=torch.float64)
    twice = np.repeat(np.arange(20), weights.int().numpy())
    found = average_precision(logits[:, 0], torch.tensor(there[:, 0]), weights[None])
    assert found.item() == pytest.approx(average_precision_score(there[twice, 0], logits[twice, 0]))


def test_intervals_hold_their_figures_and_shrink_with_more_pictures():
    few, many = (tally(logits.tolist(), there.astype(float).tolist()) for logits, there in (drawn(40), drawn(400)))
    widths = []
    for found in (few, many):
        metrics = found.judged(("a", "b", "c", "d")).metrics
        for name in ("map", "f1_macro"):
            assert metrics[f"val/{name}_low"] < metrics[f"val/{name}"] < metrics[f"val/{name}_high"]
        widths.append(metrics["val/map_high"] - metrics["val/map_low"])
    assert widths[1] < 0.7 * widths[0]


def test_classes_that_no_picture_has_do_not_count_and_are_named():
    found = tally([[3.0, -1.0], [2.0, -4.0]], [[1.0, 0.0], [ABSENT, ABSENT]]).judged(("a", "b"))
    assert found.metrics["val/map"] == 100.0
    assert found.details["per_class"][1] == {
        "class": "b",
        "n": 0,
        "average_precision": None,
        "f1": None,
        "threshold": 0.5,
        "f1_tuned": None,
    }
    assert "1 of 2 classes are in no picture and do not count in the mean precision: b" in found.notes


def test_without_any_label_there_is_nothing_to_judge():
    with pytest.raises(ValueError, match="no pictures with labels to evaluate"):
        tally([[1.0, 2.0]], [[0.0, 0.0]]).judged(("a", "b"))


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        tally([[1.0, float("nan")]], [[1.0, 0.0]]).judged(("a", "b"))


def test_the_table_has_a_column_for_each_class(tmp_path):
    shares = torch.tensor([[0.75, 0.25], [0.5, 0.125]])
    write_shares(tmp_path / "a.csv", ["x.png", "y.png"], shares, ("cat", "dog"), torch.tensor([[True, True], [False, False]]))
    with (tmp_path / "a.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["name", "labels", "predicted", "cat", "dog"],
            ["x.png", "cat; dog", "cat", "0.750000", "0.250000"],
            ["y.png", "", "", "0.500000", "0.125000"],
        ]
