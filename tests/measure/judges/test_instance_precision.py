import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from paretina.measure.judges.instance_precision import InstancePrecision
from paretina.model.tasks.instances import BORDER, INSIDE, Instances


def tally(answers, masks, smallest=1, prepared=True):
    """Answers that are sure, (picture, row, column) of classes, and masks of object numbers with 255 for what is not known."""
    masks = torch.tensor(np.array(masks), dtype=torch.uint8)
    logits = F.one_hot(torch.tensor(np.array(answers)), 3).movedim(-1, 1).float() * 10
    found = InstancePrecision(smallest=smallest).start(3)
    if prepared:
        found.prepare(len(masks), lambda number: (torch.zeros(3, *masks.shape[1:], dtype=torch.uint8), masks[number]))
    found.add(logits, Instances(border=1).targets(list(masks), 3), torch.arange(len(masks)))
    return found


def picture(*boxes, side=16):
    found = np.zeros((side, side), np.int64)
    for number, (top, left, rows, columns) in enumerate(boxes, 1):
        found[top : top + rows, left : left + columns] = number
    return found


TRUTH = picture((0, 0, 4, 4), (8, 8, 2, 2))
ANSWER = (picture((0, 0, 4, 3), (8, 0, 2, 2)) > 0) * INSIDE


def test_by_hand():
    found = tally([ANSWER], [TRUTH]).quick()
    # one of two is found at up to 0.75, which is 6 of 10 thresholds: 1 / (2 + 2 - 1)
    assert found["ap50"] == pytest.approx(100 / 3)
    assert found["ap75"] == pytest.approx(100 / 3)
    assert found["ap"] == pytest.approx(100 / 3 * 6 / 10)
    assert found["seg"] == pytest.approx(75.0 / 2)
    # one is to be added and one to be deleted: (10 + 1) of the 20 that an empty answer costs
    assert found["det"] == pytest.approx(100 * (1 - 11 / 20))


def test_one_picture_has_no_interval():
    found = tally([ANSWER], [TRUTH]).judged(("background", "inside", "border")).metrics
    assert found["val/ap50"] == pytest.approx(100 / 3)
    assert {found[f"val/{name}_{end}"] for name in ("ap", "seg", "iou") for end in ("low", "high")} == {None}


def test_objects_of_all_pictures_count_alike():
    empty = np.zeros_like(TRUTH)
    found = tally([ANSWER, empty], [TRUTH, picture((0, 0, 3, 3))]).judged(("background", "inside", "border"))
    assert found.metrics["val/ap50"] == pytest.approx(100 / 4)
    assert found.details["objects"] == {"objects": 3, "answers": 2, "missed": 2, "made_up": 1, "splits": 0}
    assert found.metrics["val/seg_low"] <= found.metrics["val/seg"] <= found.metrics["val/seg_high"]


def test_an_answer_far_off_is_not_below_zero():
    many = picture(*((row, column, 1, 1) for row in range(0, 16, 2) for column in range(0, 16, 2)))
    assert tally([(many > 0) * INSIDE], [picture((1, 1, 1, 1))]).quick()["det"] == 0.0


def test_unknown_pixels_are_no_objects():
    mask = TRUTH.copy()
    mask[8:] = 255
    answer = (TRUTH > 0) * INSIDE
    found = tally([answer], [mask])
    assert found.quick()["ap"] == 100.0
    assert found.judged(("a", "b", "c")).details["objects"]["answers"] == 1


def test_small_objects_of_the_answer_are_left_out():
    answer = (TRUTH > 0) * INSIDE
    answer[15, 0] = INSIDE
    assert tally([answer], [TRUTH], smallest=1).quick()["ap50"] == pytest.approx(200 / 3)
    assert tally([answer], [TRUTH], smallest=2).quick()["ap50"] == 100.0


def test_pictures_without_objects():
    empty = np.zeros_like(TRUTH)
    found = tally([empty], [empty]).judged(("a", "b", "c"))
    assert found.metrics["val/ap"] is None
    assert found.metrics["val/pixel_accuracy"] == 100.0
    assert "no object in any mask" in found.notes[0]


def test_without_masks_the_targets_say_what_is_an_object():
    answer = (TRUTH > 0) * INSIDE
    assert tally([answer], [TRUTH], prepared=False).quick()["ap"] == 100.0


def test_can_be_sent_to_another_process():
    found = tally([ANSWER], [TRUTH])
    assert pickle.loads(pickle.dumps(found)).quick() == found.quick()
    other = InstancePrecision(smallest=1).start(3)
    assert other.with_all([found]).quick() == found.quick()


def test_the_border_is_around_objects_and_between_those_that_touch():
    mask = torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask[0, 2:6, 1:4], mask[0, 2:6, 4:7] = 1, 2
    found = Instances(border=1).targets(list(mask), 3)[0].argmax(0)
    # the columns next to the other object, and a ring of one pixel without its corners
    assert found[3].tolist() == [BORDER, INSIDE, INSIDE, BORDER, BORDER, INSIDE, INSIDE, BORDER]
    assert found[1].tolist() == [0, BORDER, BORDER, BORDER, BORDER, BORDER, BORDER, 0]
    assert found[0].tolist() == [0] * 8
