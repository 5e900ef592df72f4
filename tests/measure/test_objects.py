import numpy as np
import pytest

from paretina.measure.objects import THRESHOLDS, components, counted, objects_of


def boxes(*given, side=12):
    """A mask with numbered boxes: top, left, rows, columns."""
    found = np.zeros((side, side), np.int32)
    for number, (top, left, rows, columns) in enumerate(given, 1):
        found[top : top + rows, left : left + columns] = number
    return found


def test_equal_masks_match_at_every_threshold():
    truth = boxes((0, 0, 3, 3), (5, 5, 4, 4))
    found = counted(truth, truth[:] * 7)
    assert found["matched"].tolist() == [2] * len(THRESHOLDS)
    assert found["seg"] == 2.0
    assert (found["missed"], found["made_up"], found["splits"]) == (0, 0, 0)


def test_by_hand():
    # a 4 x 4 object of which 4 x 3 is found: IoU 12 / 16 = 0.75; one that is missed; and one that is made up
    truth = boxes((0, 0, 4, 4), (8, 8, 2, 2))
    answer = boxes((0, 0, 4, 3), (8, 0, 2, 2))
    found = counted(truth, answer)
    assert found["matched"].tolist() == [1 if t <= 0.75 else 0 for t in THRESHOLDS]
    assert (found["objects"], found["answers"]) == (2, 2)
    assert found["seg"] == pytest.approx(0.75)
    assert (found["missed"], found["made_up"], found["splits"]) == (1, 1, 0)


def test_one_answer_over_two_objects_is_to_be_split():
    truth = boxes((0, 0, 4, 4), (0, 5, 4, 4))
    found = counted(truth, boxes((0, 0, 4, 9)))
    assert (found["missed"], found["made_up"], found["splits"]) == (0, 0, 1)
    assert found["matched"].sum() == 0  # each is 16 / 36
    assert found["seg"] == pytest.approx(2 * 16 / 36)


def test_exactly_half_covered_is_missed():
    found = counted(boxes((0, 0, 4, 4)), boxes((0, 0, 4, 2)))
    assert (found["missed"], found["made_up"], found["seg"]) == (1, 1, 0.0)
    assert found["matched"].tolist() == [1] + [0] * 9  # 8 / 16


def test_two_halves_of_an_object_match_it_once():
    found = counted(boxes((0, 0, 4, 4)), boxes((0, 0, 4, 2), (0, 2, 4, 2)))
    assert found["matched"][0] == 1


@pytest.mark.parametrize("empty", ["truth", "answer", "both"])
def test_nothing_to_match(empty):
    some, none = boxes((0, 0, 2, 2)), np.zeros((12, 12), np.int32)
    truth, answer = (none if empty in ("truth", "both") else some), (none if empty in ("answer", "both") else some)
    found = counted(truth, answer)
    assert found["matched"].tolist() == [0] * 10
    assert (found["objects"], found["answers"]) == (empty == "answer", empty == "truth")
    assert (found["missed"], found["made_up"]) == (empty == "answer", empty == "truth")


def test_components_fill_holes_and_leave_out_small_ones():
    there = boxes((0, 0, 5, 5), (8, 8, 1, 2)) > 0
    there[2, 2] = False
    found = components(there, smallest=3)
    assert found.max() == 1
    assert (found > 0).sum() == 25
    assert components(there, smallest=2).max() == 2
    assert (components(there, fill=False) > 0).sum() == 26


def test_diagonal_neighbours_are_two():
    assert components(np.eye(2, dtype=bool)).max() == 2


def test_a_number_that_is_given_again_is_several_objects():
    mask = boxes((0, 0, 2, 2), (5, 5, 2, 2)).astype(np.uint8)
    mask[mask == 2] = 1
    assert objects_of(mask).max() == 1  # one object in two parts
    mask[11, 11] = 254
    assert len(np.unique(objects_of(mask))) == 4
