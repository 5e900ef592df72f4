import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from paretina.measure.judges.mean_precision import MeanPrecision
from paretina.measure.thresholds import best_threshold, best_thresholds, cross_chosen


def drawn(n=200, seed=0):
    random = np.random.default_rng(seed)
    there = random.random((n, 3)) < [0.5, 0.1, 0.3]
    there[~there.any(1), 0] = True
    logits = random.normal(size=(n, 3)) + 1.5 * there - [0.0, 3.0, -2.0]
    return torch.tensor(logits, dtype=torch.float32), torch.tensor(there)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.35, 0.6, 0.9]), st.booleans()), min_size=12, max_size=40))
def test_no_other_threshold_has_a_better_f1(pairs):
    shares = torch.tensor([share for share, _ in pairs], dtype=torch.float64)
    there = torch.tensor([yes for _, yes in pairs])
    found = best_threshold(shares, there)
    if min(int(there.sum()), int((~there).sum())) < 5:
        assert found == 0.5
        return
    best = max(f1_score(there, shares > cut, zero_division=0.0) for cut in (0.0, 0.15, 0.25, 0.5, 0.7))
    assert f1_score(there, shares > found, zero_division=0.0) == pytest.approx(best)


def test_of_equally_good_ones_it_is_half_way_and_nearest_to_one_half():
    shares = torch.tensor([0.9] * 5 + [0.2] * 5)
    assert best_threshold(shares, torch.tensor([True] * 5 + [False] * 5)) == pytest.approx(0.55)


def test_pictures_are_judged_by_thresholds_of_the_other_half():
    logits, there = drawn()
    shares = logits.sigmoid()
    found = cross_chosen(shares, there)
    assert torch.equal(found[0], best_thresholds(shares[1::2], there[1::2]))
    assert torch.equal(found[1], best_thresholds(shares[::2], there[::2]))
    # what a picture is labelled with changes nothing about its own thresholds
    changed = there.clone()
    changed[0] = ~changed[0]
    assert torch.equal(cross_chosen(shares, changed)[::2], found[::2])


def test_figures_as_scikit_learn_and_better_than_at_one_half():
    logits, there = drawn(400)
    tally = MeanPrecision().start(3)
    tally.add(logits, there.float(), torch.arange(len(logits)))
    judged = tally.judged(("a", "b", "c"))
    decided = logits.sigmoid() > cross_chosen(logits.sigmoid(), there)
    for name in ("macro", "micro"):
        assert judged.metrics[f"val/f1_{name}"] == pytest.approx(100 * f1_score(there, logits > 0, average=name))
        tuned = judged.metrics[f"val/f1_{name}_tuned"]
        assert tuned == pytest.approx(100 * f1_score(there, decided, average=name))
        assert judged.metrics[f"val/f1_{name}_tuned_low"] < tuned < judged.metrics[f"val/f1_{name}_tuned_high"]
    assert judged.metrics["val/f1_macro_tuned"] > judged.metrics["val/f1_macro"] + 5
    assert judged.thresholds == tuple(best_thresholds(logits.sigmoid(), there).tolist())
    assert any("chosen on every other picture" in note for note in judged.notes)


def test_given_thresholds_are_judged_as_they_are():
    logits, there = drawn()
    tally = MeanPrecision(thresholds=(0.3, 0.1, 0.8)).start(3)
    tally.add(logits, there.float(), torch.arange(len(logits)))
    wanted = f1_score(there, logits.sigmoid() > torch.tensor([0.3, 0.1, 0.8]), average="macro")
    judged = tally.judged(("a", "b", "c"))
    assert judged.metrics["val/f1_macro_tuned"] == pytest.approx(100 * wanted)
    assert judged.notes[-1].endswith("are at the thresholds that the model file has for each class")


def test_thresholds_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\]"):
        MeanPrecision(thresholds=(1.5,))
    with pytest.raises(ValueError, match="has 1 numbers for 2 classes"):
        MeanPrecision(thresholds=(0.5,)).check(("a", "b"))
