import numpy as np
import pytest
import torch
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues

from paretina.measure.label_errors import ConfidentJoint, label_errors


def noisy(n=600, classes=5, noise=0.15, sure=2.0, seed=0):
    """Probabilities that know the truth fairly well, and labels of which some are wrong; class sizes differ."""
    random = np.random.default_rng(seed)
    truth = random.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    logits = random.normal(size=(n, classes))
    logits[np.arange(n), truth] += sure
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.where(random.random(n) < noise, (truth + 1 + random.integers(0, classes - 1, n)) % classes, truth)
    return torch.tensor(shares), torch.tensor(labels), truth


def test_by_hand():
    # class a: mean of 0.9, 0.8, 0.2 is 0.633; class b: mean of 0.7, 0.6, 0.1 is 0.467
    shares = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6], [0.9, 0.1]])
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    found = ConfidentJoint.of(shares, labels)
    assert found.thresholds.tolist() == pytest.approx([19 / 30, 14 / 30])
    assert found.confident.tolist() == [0, 0, 1, 1, 1, 0]
    assert found.counts.tolist() == [[2, 1], [1, 2]]
    errors = label_errors(shares, labels)
    assert errors.numbers.tolist() == [5, 2]  # margins of 0.8 and 0.6
    assert errors.suggested.tolist() == [0, 1]
    assert errors.margins.tolist() == pytest.approx([-0.8, -0.6, 0.6, -0.4, -0.2, 0.8])
    assert errors.joint.flatten().tolist() == pytest.approx([1 / 3, 1 / 6, 1 / 6, 1 / 3])
    assert errors.wrong == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("noise", "sure"), [(0.05, 3.0), (0.15, 2.0), (0.3, 4.0)])
def test_the_confident_joint_is_that_of_cleanlab(seed, noise, sure):
    shares, labels, _ = noisy(noise=noise, sure=sure, seed=seed)
    found = ConfidentJoint.of(shares, labels)
    theirs, off = compute_confident_joint(labels.numpy(), shares.numpy(), calibrate=False, return_indices_of_off_diagonals=True)
    # of several confident classes theirs takes the likeliest of all, which need not be confident; the paper takes one that is
    reached = shares.double() >= found.thresholds - 1e-6
    odd = (reached.sum(1) > 1) & ~reached[torch.arange(len(labels)), shares.argmax(1)]
    assert np.abs(found.counts.numpy() - theirs).sum() <= 2 * int(odd.sum())
    ours = ((found.confident >= 0) & (found.confident != labels)).nonzero().flatten()
    assert set(ours.tolist()) ^ set(np.asarray(off).tolist()) <= set(odd.nonzero().flatten().tolist())


@pytest.mark.parametrize("seed", range(4))
def test_scaled_to_the_labels_it_is_that_of_cleanlab_to_within_rounding(seed):
    shares, labels, _ = noisy(seed=seed, sure=4.0)
    found = ConfidentJoint.of(shares, labels)
    theirs = compute_confident_joint(labels.numpy(), shares.numpy(), calibrate=True)
    assert np.abs(len(labels) * found.joint(labels).numpy() - theirs).max() <= 1.0
    assert float(found.joint(labels).sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("noise", "sure"), [(0.05, 3.0), (0.15, 2.0), (0.3, 4.0)])
def test_what_is_found_is_what_cleanlab_finds(seed, noise, sure):
    shares, labels, _ = noisy(noise=noise, sure=sure, seed=seed)
    theirs = find_label_issues(
        labels.numpy(),
        shares.numpy(),
        filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin",
        n_jobs=1,
        min_examples_per_class=0,
    )
    errors = label_errors(shares, labels)
    assert set(errors.numbers.tolist()) == set(theirs.tolist())
    # theirs ranks by the likeliest other class, also where another one is suggested, which is the confident one
    usual = set(errors.numbers[errors.suggested == shares[errors.numbers].argmax(1)].tolist())
    assert len(usual) > 0.9 * len(theirs)
    assert [each for each in errors.numbers.tolist() if each in usual] == [each for each in theirs.tolist() if each in usual]


def test_labels_that_were_made_wrong_are_found():
    shares, labels, truth = noisy(noise=0.1, sure=5.0)
    errors = label_errors(shares, labels)
    wrong = set(np.flatnonzero(truth != labels.numpy()).tolist())
    found = set(errors.numbers.tolist())
    assert len(found & wrong) / len(found) > 0.85
    assert len(found & wrong) / len(wrong) > 0.8
    assert errors.wrong == pytest.approx(len(wrong) / len(labels), abs=0.04)
    assert (errors.suggested.numpy() == truth[errors.numbers.numpy()]).mean() > 0.85


def test_a_class_without_labels_suggests_nothing_and_has_no_share():
    shares, labels, _ = noisy()
    wide = torch.cat((shares * 0.5, torch.full((len(labels), 1), 0.5, dtype=torch.float64)), 1)
    errors = label_errors(wide, labels)
    assert 5 not in errors.suggested
    assert not errors.joint[5].any()


@pytest.mark.parametrize(
    ("shares", "labels", "said"),
    [
        (torch.empty(0, 2), torch.empty(0, dtype=torch.long), "needs pictures with labels from 0 to 1"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([2]), "labels from 0 to 1"),
        (torch.tensor([[1.5, 0.5]]), torch.tensor([0]), r"probabilities in \[0, 1\]"),
        (torch.tensor([[float("nan"), 0.5]]), torch.tensor([0]), r"probabilities in \[0, 1\]"),
    ],
)
def test_what_says_nothing_is_refused(shares, labels, said):
    with pytest.raises(ValueError, match=said):
        label_errors(shares, labels)
