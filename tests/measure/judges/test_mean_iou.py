import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import jaccard_score

from paretina.measure.judges.mean_iou import MeanIoU
from paretina.model.tasks.places import Places


def tally(answers, masks, classes=3):
    """Answers that are sure, and masks with 255 for what is not known; both (picture, row, column)."""
    logits = F.one_hot(torch.tensor(answers), classes).movedim(-1, 1).float() * 10
    targets = Places().targets(list(torch.tensor(masks, dtype=torch.uint8)), classes)
    found = MeanIoU().start(classes)
    found.add(logits, targets, torch.arange(len(answers)))
    return found


ANSWERS = [[[0, 0, 1], [0, 1, 1]], [[0, 0, 0], [0, 0, 2]]]
MASKS = [[[0, 0, 0], [0, 1, 255]], [[0, 0, 0], [0, 0, 0]]]


def test_by_hand():
    # 11 pixels are known. Class 0: 10 of it, 8 named and all right, so 8 / 10. Class 1: 1 of it, 2 named: 1 / 2. Class 2: 0 / 1
    found = tally(ANSWERS, MASKS)
    assert found.quick()["iou"] == pytest.approx(100 * (0.8 + 0.5 + 0.0) / 3)
    assert found.quick()["pixel_accuracy"] == pytest.approx(100 * 9 / 11)
    judged = found.judged(("a", "b", "c"))
    assert judged.details["confusion"] == [[8, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert [row["n"] for row in judged.details["per_class"]] == [10, 1, 0]
    assert [row["iou"] for row in judged.details["per_class"]] == pytest.approx([80.0, 50.0, 0.0])


def test_the_loss_is_the_mean_over_known_pixels():
    # right: -log softmax(10, 0, 0)[0] = log(1 + 2 exp(-10)); wrong: that and 10
    right = math.log(1 + 2 * math.exp(-10))
    assert tally(ANSWERS, MASKS).quick()["loss"] == pytest.approx((9 * right + 2 * (right + 10)) / 11, rel=1e-5)


def test_as_scikit_learn():
    random = np.random.default_rng(0)
    masks = random.integers(0, 3, (5, 8, 8))
    answers = np.where(random.random((5, 8, 8)) < 0.7, masks, random.integers(0, 3, (5, 8, 8)))
    found = tally(answers, masks).quick()
    assert found["iou"] == pytest.approx(100 * jaccard_score(masks.ravel(), answers.ravel(), average="macro"))


def test_classes_that_occur_nowhere_do_not_count_and_are_named():
    found = tally([[[0, 1]]], [[[0, 1]]], classes=4).judged(("a", "b", "c", "d"))
    assert found.metrics["val/iou"] == 100.0
    assert found.notes == ("classes that occur neither in the masks nor in the answers do not count: c, d",)


def test_intervals_come_from_pictures():
    random = np.random.default_rng(0)
    masks = random.integers(0, 3, (12, 6, 6))
    right = random.random((12, 1, 1)) < 0.5  # a picture is right as a whole, or random
    found = tally(np.where(right, masks, random.integers(0, 3, (12, 6, 6))), masks).judged(("a", "b", "c")).metrics
    for name in ("iou", "pixel_accuracy"):
        assert found[f"val/{name}_low"] < found[f"val/{name}"] < found[f"val/{name}_high"]
    assert found["val/pixel_accuracy_high"] - found["val/pixel_accuracy_low"] > 20  # by pixels it would be 9


def test_one_picture_has_no_interval():
    found = tally(ANSWERS[:1], MASKS[:1]).judged(("a", "b", "c")).metrics
    assert (found["val/iou_low"], found["val/iou_high"]) == (None, None)
    assert found["val/iou"] > 0


def test_without_a_known_pixel_there_is_nothing_to_judge():
    with pytest.raises(ValueError, match="no pixels of a known class"):
        tally([[[0, 1]]], [[[255, 255]]]).judged(("a", "b", "c"))
