"""What every task must satisfy, run over the examples of each file in the folder."""

import pytest
import torch

from paretina.measure.judge import judge_of
from paretina.model.task import OF_BOXES, Task
from paretina.spec import modules_in

FOUND = [example for module in modules_in("paretina.model.tasks") for example in getattr(module, "EXAMPLES", ())]
CLASSES = 4

every_task = pytest.mark.parametrize("task", FOUND, ids=repr)

SHAPES = {
    0: [torch.tensor(2), torch.tensor(0), torch.tensor(-1)],
    1: [torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros(4)],
    2: [torch.full((6, 5), n, dtype=torch.uint8) for n in (2, 0, 255)],
    OF_BOXES: [
        torch.tensor([[0.1, 0.2, 0.3, 0.4, 2, 1], [0.0, 0.0, 1.0, 1.0, 0, 0]]),
        torch.zeros(0, 6),
        torch.tensor([[0.0, 0.0, 0.0, 0.0, -1, 0]]),
    ],
}
"""What a source can say of three pictures, of which the last has no label, by the form of a target."""


def taken(task):
    """What of these a task takes.

    Raises:
        AssertionError: it refuses all of them.
    """
    found = []
    for given in SHAPES.values():
        try:
            found.append((given, task.targets(given, CLASSES)))
        except ValueError as error:
            assert task.WORDS in str(error)  # noqa: PT017
    assert found, f"{task} takes none of the shapes"
    return found


@every_task
def test_targets_are_floats_with_the_classes_on_axis_1(task):
    for _, targets in taken(task):
        assert targets.dtype == torch.float32
        assert targets.shape[:2] == (3, CLASSES)
        assert targets.ndim == (4 if task.DENSE or task.BOXES else 2)
        assert task.DENSE or targets.shape[2:] == task.places(6)
        assert bool(((targets >= 0) & (targets <= 1)).all())


@every_task
def test_what_is_not_known_is_a_row_of_zeros(task):
    for _, targets in taken(task):
        assert not targets[2].any()


@every_task
def test_the_target_of_a_picture_does_not_depend_on_the_others(task):
    for given, targets in taken(task):
        alone = torch.cat([task.targets([each], CLASSES) for each in given])
        assert torch.equal(alone, targets)


@every_task
def test_no_pictures_have_no_targets(task):
    assert task.targets([], CLASSES).shape[:2] == (0, CLASSES)


@every_task
def test_answers_and_probabilities_belong_to_the_logits(task):
    shape = (3, CLASSES, 5, 6) if task.DENSE else (3, CLASSES, *task.places(8))
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    answer = task.answer(logits)
    assert len(answer) == 3
    if task.BOXES:  # an answer is a list, and scores are probabilities already
        assert answer.shape == (3, task.most, 6)
        assert torch.equal(answer[..., 4], task.probabilities(logits)[..., 4].amax(1))
        return
    assert answer.shape[2 if answer.shape[1:2] == (CLASSES,) else 1 :] == logits.shape[2:]
    try:
        probabilities = task.probabilities(logits)
    except TypeError:
        return  # of a task whose logits mean nothing
    assert probabilities.shape == logits.shape
    assert bool(((probabilities >= 0) & (probabilities <= 1)).all())
    assert torch.equal(probabilities.argmax(1), logits.argmax(1))


@every_task
def test_its_judge_is_there_and_judges_it(task):
    assert isinstance(task, judge_of(task).TASK)


@every_task
def test_equal_tasks_are_one_value(task):
    # a model and data are compared by it
    assert Task.from_json(task.to_json()) == task
