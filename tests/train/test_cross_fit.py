import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from paretina.train.cross_fit import cross_fitted, fold_numbers

NAMES = [f"{number}.jpg" for number in range(60)]
LABELS = [number % 3 for number in range(60)]


def test_each_class_is_spread_evenly():
    folds = fold_numbers(NAMES, LABELS, 4)
    for label in range(3):
        assert torch.bincount(folds[torch.tensor(LABELS) == label]).tolist() == [5, 5, 5, 5]


def test_the_order_of_the_pictures_does_not_matter_and_the_seed_does():
    folds = dict(zip(NAMES, fold_numbers(NAMES, LABELS, 5).tolist(), strict=True))
    back = dict(zip(NAMES[::-1], fold_numbers(NAMES[::-1], LABELS[::-1], 5).tolist(), strict=True))
    assert folds == back
    assert folds != dict(zip(NAMES, fold_numbers(NAMES, LABELS, 5, seed=1).tolist(), strict=True))


def test_copies_stay_together_whatever_their_labels():
    groups = [NAMES[:7], [NAMES[10], NAMES[20]], NAMES[30:34]]
    folds = dict(zip(NAMES, fold_numbers(NAMES, LABELS, 5, groups).tolist(), strict=True))
    assert all(len({folds[name] for name in group}) == 1 for group in groups)
    counts = np.bincount(list(folds.values()))
    assert counts.min() >= 10
    assert counts.max() <= 14


@pytest.mark.parametrize("folds", [1, 4])
def test_too_few_pictures_are_refused(folds):
    with pytest.raises(ValueError, match="copies counted once"):
        fold_numbers(NAMES[:9], LABELS[:9], folds, [NAMES[:7]])


def test_no_picture_is_judged_by_a_fit_to_it():
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(60, 8, generator=generator), torch.tensor(LABELS)
    folds = fold_numbers(NAMES, LABELS, 5)
    found = cross_fitted(features, labels, 3, folds)
    assert found.sum(1).tolist() == pytest.approx([1.0] * 60)
    changed = labels.clone()
    changed[0] = 2 - changed[0]
    again = cross_fitted(features, changed, 3, folds)
    assert torch.equal(found[folds == folds[0]], again[folds == folds[0]])
    assert not torch.equal(found[folds != folds[0]], again[folds != folds[0]])


def test_about_as_sure_as_logistic_regression_of_scikit_learn():
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor(LABELS)
    features = torch.randn(60, 4, generator=generator) + 2 * torch.eye(4)[:3][labels]
    folds = fold_numbers(NAMES, LABELS, 5)
    found = cross_fitted(features, labels, 3, folds)
    theirs = np.zeros((60, 3))
    for fold in range(5):
        held = (folds == fold).numpy()
        fitted = LogisticRegression(C=1.0).fit(features.numpy()[~held], labels.numpy()[~held])
        theirs[held] = fitted.predict_proba(features.numpy()[held])
    assert (found.argmax(1).numpy() == theirs.argmax(1)).mean() > 0.9
