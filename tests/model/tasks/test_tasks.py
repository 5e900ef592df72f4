import pytest
import torch

from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places


def test_a_number_is_one_in_its_place_and_a_negative_one_is_nothing():
    found = OneOf().targets([torch.tensor(2), torch.tensor(-1)], 3)
    assert found.tolist() == [[0, 0, 1], [0, 0, 0]]


def test_probabilities_stay_what_they_are():
    rows = [torch.tensor([0.25, 0.75]), torch.zeros(2)]
    for task in (OneOf(), AnyOf()):
        assert task.targets(rows, 2).tolist() == [[0.25, 0.75], [0, 0]]


def test_255_is_no_class_of_a_pixel():
    found = Places().targets([torch.tensor([[0, 1], [255, 1]], dtype=torch.uint8)], 2)
    assert found.tolist() == [[[[1, 0], [0, 0]], [[0, 1], [0, 1]]]]


def test_without_labels_whatever_is_said_is_left_out():
    assert not Nothing().targets([torch.tensor(1), torch.ones(3)], 3).any()


def test_answers_by_hand():
    logits = torch.tensor([[2.0, 1.0, -1.0], [-3.0, -2.0, -1.0]])
    assert OneOf().answer(logits).tolist() == [0, 2]
    assert AnyOf().answer(logits).tolist() == [[True, True, False], [False, False, False]]
    assert Places().answer(logits[:, :, None, None]).tolist() == [[[0]], [[2]]]
    assert AnyOf().probabilities(torch.zeros(1, 2)).tolist() == [[0.5, 0.5]]
    with pytest.raises(TypeError, match="are not probabilities"):
        Nothing().probabilities(logits)


@pytest.mark.parametrize(
    ("task", "given", "said"),
    [
        (OneOf(), [torch.tensor(3)], r"class numbers lie in 0 to 2 \(with 3 classes\), got 3"),
        (OneOf(), [torch.tensor(1), torch.ones(3)], "all targets of a source have one shape"),
        (OneOf(), [torch.zeros(2, 2, dtype=torch.uint8)], r"takes targets of the shape \(\) .* or \[class\]"),
        (OneOf(), [torch.zeros(2)], "one probability for each of 3 classes, got 2"),
        (AnyOf(), [torch.tensor([0.0, 1.5, 0.0])], "probabilities lie in 0 to 1, got 0 to 1.5"),
        (AnyOf(), [torch.tensor([0.0, float("nan"), 0.0])], "probabilities lie in 0 to 1"),
        (AnyOf(), [torch.tensor(1)], r"takes targets of the shape \[class\]"),
        (Places(), [torch.zeros(2, 2, dtype=torch.int64)], "a mask has class indices as uint8"),
        (Places(), [torch.full((2, 2), 3, dtype=torch.uint8)], "class numbers lie in 0 to 2"),
    ],
)
def test_targets_that_do_not_fit_are_refused(task, given, said):
    with pytest.raises(ValueError, match=said):
        task.targets(given, 3)


def test_a_mask_has_no_room_for_more_classes():
    with pytest.raises(ValueError, match="room for 255 classes, got 256"):
        Places().targets([torch.zeros(2, 2, dtype=torch.uint8)], 256)
