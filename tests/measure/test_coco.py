"""Average precision of boxes, against cases that are known and against pycocotools."""

import numpy as np
import pytest
import torch

from paretina import packages
from paretina.measure.coco import SIZES, THRESHOLDS, as_coco, figures_in, precisions, resampled


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)


LEFT, RIGHT = (0.1, 0.1, 0.4, 0.5), (0.6, 0.5, 0.9, 0.9)


def test_all_found_is_1_and_nothing_found_is_0():
    truth = [boxes((*LEFT, 1, 0), (*RIGHT, 1, 1)), boxes()]
    right = [boxes((*LEFT, 0.9, 0), (*RIGHT, 0.4, 1)), boxes()]
    assert figures_in(precisions(right, truth, 2).by_class) == pytest.approx({"ap": 1, "ap50": 1, "ap75": 1})
    nothing = precisions([boxes(), boxes()], truth, 2)
    assert figures_in(nothing.by_class) == pytest.approx({"ap": 0, "ap50": 0, "ap75": 0})
    assert nothing.recall.tolist() == [0, 0]


def test_a_wrong_answer_before_a_right_one_halves_precision():
    truth = [boxes((*LEFT, 1, 0))]
    answers = [boxes((*RIGHT, 0.9, 0), (*LEFT, 0.5, 0))]
    assert figures_in(precisions(answers, truth, 1).by_class)["ap"] == pytest.approx(0.5)


def test_thresholds_ask_for_overlap():
    # the answer is the upper three fifths of the object: intersection over union 0.6
    truth, answers = [boxes((0.0, 0.0, 0.5, 1.0, 1, 0))], [boxes((0.0, 0.0, 0.5, 0.6, 1.0, 0))]
    found = precisions(answers, truth, 1).by_class[0]
    assert found.tolist() == pytest.approx([float(limit < 0.61) for limit in THRESHOLDS])


def test_a_region_that_is_ignored_is_neither_found_nor_made_up():
    truth = [boxes((*LEFT, 1, 0), (*RIGHT, 0.5, 0))]
    answers = [boxes((*RIGHT, 0.9, 0), (*LEFT, 0.5, 0))]
    assert figures_in(precisions(answers, truth, 1).by_class)["ap"] == pytest.approx(1)


def test_a_class_without_an_object_is_not_in_the_mean():
    found = precisions([boxes((*LEFT, 0.9, 0))], [boxes((*LEFT, 1, 0))], 3)
    assert np.isnan(found.by_class[1:]).all()
    assert figures_in(found.by_class)["ap"] == pytest.approx(1)
    assert all(np.isnan(value) for value in figures_in(precisions([boxes()], [boxes()], 2).by_class).values())


def random_pictures(count=12, classes=3):
    generator = torch.Generator().manual_seed(0)
    truth, answers = [], []
    for _ in range(count):
        objects = torch.rand(4, 6, generator=generator) * 0.5
        objects[:, 2:4] = objects[:, :2] + 0.1 + objects[:, 2:4]
        objects[:, 4] = (torch.rand(4, generator=generator) > 0.2).float() * 0.5 + 0.5
        objects[:, 5] = torch.randint(classes, (4,), generator=generator)
        near = objects.repeat(2, 1)
        near[:, :4] += 0.08 * torch.randn(8, 4, generator=generator)
        near[:, 4] = torch.rand(8, generator=generator)
        truth.append(objects)
        answers.append(near)
    return answers, truth


def test_with_weights_of_1_it_is_what_pycocotools_counts():
    from pycocotools.cocoeval import COCOeval

    answers, truth = random_pictures()
    judge = COCOeval(as_coco(truth, 3, scored=False), as_coco(answers, 3, scored=True), "bbox")
    judge.params.areaRng, judge.params.areaRngLbl, judge.params.maxDets = [[0, 1e10]], ["all"], [100]
    judge.evaluate()
    found = precisions(answers, truth, 3)
    for number in range(3):
        matches = judge.evalImgs[number * len(answers) : (number + 1) * len(answers)]
        np.testing.assert_allclose(resampled(matches, np.ones((1, len(answers))))[0], found.by_class[number], atol=1e-9)
    assert 0.05 < figures_in(found.by_class)["ap"] < 0.95


def test_a_weight_of_2_is_the_picture_twice():
    from pycocotools.cocoeval import COCOeval

    answers, truth = random_pictures(count=3, classes=1)
    judge = COCOeval(as_coco(truth, 1, scored=False), as_coco(answers, 1, scored=True), "bbox")
    judge.params.areaRng, judge.params.areaRngLbl, judge.params.maxDets = [[0, 1e10]], ["all"], [100]
    judge.evaluate()
    weighed = resampled(judge.evalImgs, np.array([[2.0, 0.0, 1.0]]))[0]
    copies = [0, 0, 2]
    twice = precisions([answers[number] for number in copies], [truth[number] for number in copies], 1, 0)
    np.testing.assert_allclose(weighed, twice.by_class[0], atol=0.02)  # equal scores may stand in another order


SIDE = 200


@pytest.fixture
def of_all_sizes():
    """Random objects of three sizes at 200 pixels, and answers near them."""
    generator = torch.Generator().manual_seed(3)
    truth, answers = [], []
    for _ in range(10):
        objects = torch.zeros(6, 6)
        sides = torch.tensor([20.0, 28.0, 50.0, 70.0, 110.0, 140.0])[:, None] / SIDE
        objects[:, :2] = torch.rand(6, 2, generator=generator) * (1 - sides)
        objects[:, 2:4] = objects[:, :2] + sides
        objects[:, 4] = (torch.rand(6, generator=generator) > 0.15).float() * 0.5 + 0.5
        objects[:, 5] = torch.randint(2, (6,), generator=generator)
        near = objects.repeat(2, 1)
        near[:, :4] += 0.02 * torch.randn(12, 4, generator=generator)
        near[:, 4] = torch.rand(12, generator=generator)
        truth.append(objects)
        answers.append(near)
    return answers, truth


def test_figures_by_size_are_the_summary_of_pycocotools(of_all_sizes):
    from pycocotools.cocoeval import COCOeval

    answers, truth = of_all_sizes
    found = precisions(answers, truth, 2, side=SIDE)
    judge = COCOeval(as_coco(truth, 2, False, SIDE), as_coco(answers, 2, True, SIDE), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    assert figures_in(found.by_class)["ap"] == pytest.approx(judge.stats[0])
    assert [found.by_size[name] for name in ("small", "medium", "large")] == pytest.approx(judge.stats[3:6])
    assert len({round(value, 3) for value in found.by_size.values()}) == 3
    for name, value in found.by_size.items():
        low, high = np.quantile(found.drawn_by_size[name], [0.025, 0.975])
        assert low < value < high


def test_resamples_of_one_size_count_as_pycocotools_with_weights_of_1(of_all_sizes):
    from pycocotools.cocoeval import COCOeval

    answers, truth = of_all_sizes
    judge = COCOeval(as_coco(truth, 2, False, SIDE), as_coco(answers, 2, True, SIDE), "bbox")
    judge.params.areaRng, judge.params.areaRngLbl, judge.params.maxDets = [list(SIZES["medium"])], ["medium"], [100]
    judge.evaluate()
    shares = [resampled(judge.evalImgs[start : start + 10], np.ones((1, 10)))[0].mean() for start in (0, 10)]
    assert np.mean(shares) == pytest.approx(precisions(answers, truth, 2, 0, SIDE).by_size["medium"])


def test_a_size_without_an_object_has_no_figure():
    truth = [boxes((0.1, 0.1, 0.3, 0.3, 1, 0), (0.0, 0.0, 1.0, 1.0, 0.5, 0))]
    found = precisions(truth, truth, 1, side=100)
    assert found.by_size == pytest.approx({"small": 1.0})
    assert precisions(truth, truth, 1, side=300).by_size.keys() == {"medium"}
    assert precisions(truth, truth, 1).by_size == {}


def test_pycocotools_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'paretina\[detect\]'"):
        precisions([boxes()], [boxes()], 1)
