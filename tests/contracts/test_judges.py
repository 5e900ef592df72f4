"""What every judge must satisfy, run over the examples of each file in the folder."""

import csv
import math
import pickle

import numpy as np
import pytest
import torch

from paretina.data.pictures import read_pictures
from paretina.data.sources.arrays import from_arrays
from paretina.model.task import Task
from paretina.model.tasks.boxes import Boxes
from paretina.run import Run
from paretina.spec import kinds, modules_in

FOUND = [example for module in modules_in("paretina.measure.judges") for example in getattr(module, "EXAMPLES", ())]
CLASSES = ("a", "b", "c", "d", "e", "f")
PICTURES = 12

every_judge = pytest.mark.parametrize("judge", FOUND, ids=repr)


def answers(judge, unlabelled=()):
    """Logits and targets of twelve pictures; those numbered have rows of zeros."""
    task = next(kind for kind in kinds(Task).values() if kind is judge.TASK)
    generator = torch.Generator().manual_seed(0)
    if task.BOXES:
        return boxes(unlabelled, generator)
    shape = (PICTURES, len(CLASSES), 4, 5) if task.DENSE else (PICTURES, len(CLASSES))
    logits = torch.randn(shape, generator=generator)
    if judge.LOSS:
        logits = torch.rand((), generator=generator).expand(shape)
    targets = torch.zeros(shape).scatter_(1, torch.randint(len(CLASSES), shape, generator=generator)[:, :1], 1.0)
    targets[list(unlabelled)] = 0.0
    return logits, targets


def boxes(unlabelled, generator):
    """Answers near the objects, and elsewhere; a few of the wrong class."""
    given = []
    for number in range(PICTURES):
        corners = torch.rand(3, 2, generator=generator) * 0.6
        sizes = 0.1 + 0.3 * torch.rand(3, 2, generator=generator)
        labels = torch.randint(len(CLASSES), (3, 1), generator=generator)
        kind = -1 if number in unlabelled else labels
        given.append(torch.cat((corners, corners + sizes, kind * torch.ones(3, 1), torch.ones(3, 1)), 1))
    targets = Boxes(most=8).targets(given, len(CLASSES))
    near = [each + torch.tensor([0.02, 0.02, 0.02, -0.02, 0.0, 0.0]) for each in given]
    logits = Boxes(most=8).targets([torch.cat((each[:, :4].clamp(0, 1), each[:, 4:].abs()), 1) for each in near], len(CLASSES))
    logits[..., 4] *= torch.rand(PICTURES, 1, 8, generator=generator)
    return logits, targets


def tally(judge, logits, targets, batches):
    """One tally of batches of these picture numbers."""
    found = judge.start(len(CLASSES))
    for ids in batches:
        found.add(logits[list(ids)], targets[list(ids)], torch.tensor(ids))
    return found


def all_of(judge):
    return tally(judge, *answers(judge), [range(PICTURES)])


@pytest.fixture(scope="module")
def pictures():
    images = np.zeros((PICTURES, 8, 8, 3), np.uint8)
    collection = from_arrays(images, np.arange(PICTURES) % len(CLASSES), CLASSES, split=["val"] * PICTURES)
    return read_pictures(collection, collection.split("val"))


def same(one, other):
    assert one.quick() == pytest.approx(other.quick(), rel=1e-6, nan_ok=True)
    first, second = one.judged(CLASSES), other.judged(CLASSES)
    assert first.metrics == pytest.approx(second.metrics, rel=1e-6)
    assert first.details == second.details
    assert first.notes == second.notes


@every_judge
def test_its_figures_have_a_key_a_loss_and_a_name(judge):
    found = all_of(judge)
    assert {found.KEY, "loss"} <= set(found.quick())
    assert found.shown() == {"key": found.KEY, "title": found.TITLE, "unit": found.UNIT}
    assert all(isinstance(value, float) for value in found.quick().values())
    judged = found.judged(CLASSES)
    assert judged.metrics[f"val/{found.KEY}"] == pytest.approx(found.quick()[found.KEY], rel=1e-5)
    assert all(value is None or math.isfinite(value) for value in judged.metrics.values())
    assert not {"status", "metrics", "classes", "task", "shown", "chosen", "data", "cost"} & set(judged.details)


@every_judge
def test_intervals_hold_their_figures(judge):
    metrics = all_of(judge).judged(CLASSES).metrics
    for key, value in metrics.items():
        low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
        assert (low is None) == (high is None)
        if low is not None:
            assert low <= value <= high


@every_judge
def test_the_tallies_of_ranks_are_one_tally_in_any_order(judge):
    logits, targets = answers(judge)
    whole = tally(judge, logits, targets, [range(PICTURES)])
    ranks = [tally(judge, logits, targets, [range(rank, PICTURES, 3)]) for rank in range(3)]
    same(ranks[0].with_all(ranks[1:]), whole)
    same(ranks[2].with_all([ranks[1], ranks[0]]), whole)


@every_judge
def test_some_of_its_pictures_are_judged_as_if_they_were_alone(judge):
    logits, targets = answers(judge, unlabelled=(3, 4))
    whole = tally(judge, logits, targets, [range(6), range(6, PICTURES)])
    before, some = whole.quick(), {1, 3, 5, 8, 11}
    alone = tally(judge, logits, targets, [sorted(some)])
    assert whole.only(some).quick() == pytest.approx(alone.quick(), rel=1e-6, nan_ok=True)
    first, second = whole.only(some).judged(CLASSES), alone.judged(CLASSES)
    assert first.metrics == pytest.approx(second.metrics, rel=1e-6)
    assert {**second.details, **first.details} == second.details  # what is known of the whole alone is left out
    assert whole.only(some).counted() in (4, 5)  # losses are of pictures without labels too
    assert whole.only(()).counted() == whole.only((3,)).counted() - judge.LOSS == 0
    assert whole.quick() == pytest.approx(before, nan_ok=True)
    assert whole.counted() == PICTURES - (0 if judge.LOSS else 2)


@every_judge
def test_tallies_stay_as_they_are_when_they_are_joined_and_travel(judge):
    logits, targets = answers(judge)
    first, second = (tally(judge, logits, targets, [half]) for half in (range(6), range(6, PICTURES)))
    before = first.quick(), second.quick()
    joined = pickle.loads(pickle.dumps(first)).with_all([pickle.loads(pickle.dumps(second))])
    assert (first.quick(), second.quick()) == before
    same(joined, tally(judge, logits, targets, [range(PICTURES)]))


@every_judge
def test_a_rank_without_pictures_changes_nothing(judge):
    whole = all_of(judge)
    same(judge.start(len(CLASSES)).with_all([whole]), whole)


@every_judge
def test_batches_of_any_size_give_the_same(judge):
    logits, targets = answers(judge)
    same(tally(judge, logits, targets, [range(5), range(5, 6), range(6, PICTURES)]), all_of(judge))


@pytest.mark.parametrize("judge", [judge for judge in FOUND if not judge.LOSS], ids=repr)
def test_a_row_of_zeros_is_not_counted(judge):
    logits, targets = answers(judge, unlabelled=(0, 7))
    known = [n for n in range(PICTURES) if n not in (0, 7)]
    same(tally(judge, logits, targets, [range(PICTURES)]), tally(judge, logits, targets, [known]))


@every_judge
def test_better_is_what_it_says(judge):
    found = judge.start(len(CLASSES))
    more, less = found.better(2.0, 1.0), found.better(1.0, 2.0)
    assert (more, less) == (found.RISES, not found.RISES)
    assert found.better(1.0, None)
    assert not found.better(1.0, 1.0)
    for than in (None, 1.0):
        assert not found.better(math.nan, than)


@every_judge
def test_writes_a_line_for_each_picture_that_counts(judge, pictures, tmp_path):
    found = all_of(judge)
    found.write(Run.create(tmp_path / "run", {}), pictures)
    with (tmp_path / "run" / "predictions.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == [sample.name for sample in pictures.samples]


@every_judge
def test_nothing_is_refused_in_clear_words(judge):
    with pytest.raises(ValueError, match="there are no"):
        judge.start(len(CLASSES)).judged(CLASSES)
