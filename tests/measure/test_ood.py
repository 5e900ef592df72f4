import csv
import math

import numpy as np
import pytest
import torch

from paretina.measure.ood import auroc, known_scores, measure_ood, newcombe, passing_share


def scores(seed, count, shift=0.0, digits=None):
    found = torch.from_numpy(np.random.default_rng(seed).normal(shift, 1, count))
    return found if digits is None else (found * 10**digits).round() / 10**digits


def slow_auroc(known, unknown):
    """Every pair, one after the other."""
    won = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in known.tolist() for b in unknown.tolist())
    return won / (len(known) * len(unknown))


# --- scores -------------------------------------------------------------------------------------------------------------


def test_scores_by_hand():
    # probabilities 3/4 and 1/4; sum of exponentials 3 + 1
    found = known_scores(torch.tensor([[math.log(3), 0.0]]))
    assert found["probability"].item() == pytest.approx(0.75)
    assert found["entropy"].item() == pytest.approx(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert found["energy"].item() == pytest.approx(math.log(4))


def test_scores_survive_extreme_logits():
    found = known_scores(torch.tensor([[2000.0, 0.0], [0.0, -3000.0]]))
    assert found["probability"].tolist() == [1.0, 1.0]
    assert found["entropy"].tolist() == [0.0, 0.0]
    assert found["energy"].tolist() == [2000.0, 0.0]


def test_only_the_energy_changes_with_a_constant_on_all_logits():
    logits = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 3.0]])
    one, other = known_scores(logits), known_scores(logits + 5)
    torch.testing.assert_close(one["probability"], other["probability"])
    torch.testing.assert_close(one["entropy"], other["entropy"])
    torch.testing.assert_close(one["energy"] + 5, other["energy"])


# --- AUROC --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [None, 0])
@pytest.mark.parametrize("sizes", [(30, 50), (7, 3), (2, 2)])
def test_agrees_with_counting_pairs_and_with_scikit_learn(sizes, digits):
    pytest.importorskip("sklearn")
    from sklearn.metrics import roc_auc_score

    known, unknown = scores(0, sizes[0], 0.7, digits), scores(1, sizes[1], 0.0, digits)
    found = auroc(known, unknown).value
    assert found == pytest.approx(slow_auroc(known, unknown))
    labels = [1] * len(known) + [0] * len(unknown)
    assert found == pytest.approx(roc_auc_score(labels, torch.cat((known, unknown)).numpy()))


def test_known_and_unknown_in_each_others_place_are_its_complement():
    known, unknown = scores(0, 20, 0.5), scores(1, 30)
    one, other = auroc(known, unknown), auroc(unknown, known)
    assert tuple(one) == pytest.approx((1 - other.value, 1 - other.high, 1 - other.low))


def test_the_variance_is_delongs():
    known, unknown = scores(0, 9, 0.8, 1), scores(1, 12, 0.0, 1)

    def won(a, b):
        return 1.0 if a > b else 0.5 if a == b else 0.0

    pairs = np.array([[won(a, b) for b in unknown.tolist()] for a in known.tolist()])
    deviation = math.sqrt(pairs.mean(1).var(ddof=1) / 9 + pairs.mean(0).var(ddof=1) / 12)
    found = auroc(known, unknown)
    slope = deviation / (found.value * (1 - found.value))
    odds = math.log(found.value / (1 - found.value))
    for end, side in ((found.low, -1), (found.high, 1)):
        assert math.log(end / (1 - end)) == pytest.approx(odds + side * 1.959964 * slope, rel=1e-5)


def test_nothing_tells_constants_apart():
    found = auroc(torch.ones(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64))
    assert found.value == 0.5
    assert found.low <= 0.5 <= found.high


def test_a_perfect_separation_still_has_an_interval():
    known, unknown = torch.arange(10.0) + 100, torch.arange(10.0)
    found, reverse = auroc(known, unknown), auroc(unknown, known)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.7 < found.low < 0.95
    assert tuple(reverse) == pytest.approx((0.0, 0.0, 1 - found.low))
    assert auroc(known.repeat(20), unknown.repeat(20)).low > found.low


def test_newcombes_ends_are_where_the_truth_becomes_surprising():
    # (value - truth)^2 = z^2 V(truth) at both ends
    value, known, unknown = 0.8, 20, 35
    found = newcombe(value, known, unknown)
    for truth in (found.low, found.high):
        count = (known + unknown) / 2 - 1
        spread = truth * (1 - truth) * (1 + count * (1 - truth) / (2 - truth) + count * truth / (1 + truth))
        assert (value - truth) ** 2 == pytest.approx(1.959964**2 * spread / (known * unknown), rel=1e-5)


def test_intervals_cover_the_truth():
    # normal scores one apart: the chance is Phi(1 / sqrt 2), and of the unknown Phi(1.644854 - 1) lie above the threshold
    truth, share = 0.5 * (1 + math.erf(0.5)), 0.5 * (1 + math.erf(0.644854 / math.sqrt(2)))
    inside = {"auroc": 0, "share": 0}
    for seed in range(200):
        known, unknown = scores(2 * seed, 60, 1.0), scores(2 * seed + 1, 80)
        one, other = auroc(known, unknown), passing_share(known, unknown, seed=seed)
        inside["auroc"] += one.low <= truth <= one.high
        inside["share"] += other.low <= share <= other.high
    assert 0.91 <= inside["auroc"] / 200 <= 0.99
    # so few known pictures leave the threshold open, and the interval errs on the safe side
    assert inside["share"] / 200 >= 0.93


# --- FPR ----------------------------------------------------------------------------------------------------------------


def test_passing_share_by_hand():
    # 95 % of 20 are 19, so the threshold is the second lowest, 2; of the unknown 2 and 7 reach it
    known = torch.arange(1.0, 21.0)
    found = passing_share(known, torch.tensor([0.0, 1.5, 2.0, 7.0]))
    assert found.value == 0.5
    assert 0 <= found.low < 0.5 < found.high <= 1


@pytest.mark.parametrize("sizes", [(20, 15), (41, 40), (7, 30), (100, 100)])
def test_passing_share_is_the_least_that_passes(sizes):
    known, unknown = scores(0, sizes[0], 1.0, 1), scores(1, sizes[1], 0.0, 1)
    thresholds = [at for at in known.tolist() if (known >= at).double().mean().item() >= 0.95 - 1e-12]
    expected = min((unknown >= at).double().mean().item() for at in thresholds)
    assert passing_share(known, unknown).value == pytest.approx(expected)


def test_where_none_passes_the_interval_says_that_some_might():
    found = passing_share(torch.arange(100.0) + 100, torch.arange(50.0))
    assert found.value == found.low == 0
    assert 0.01 < found.high < 0.15


def test_few_known_pictures_do_not_say_where_the_threshold_lies():
    # that none of 20 lies below the true threshold has a chance of 0.95^20 = 36 %
    found = passing_share(torch.arange(20.0) + 100, torch.arange(50.0))
    assert found.value == 0
    assert found.high > 0.8


# --- the whole ----------------------------------------------------------------------------------------------------------


def logits(seed, count, sharpness):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, sharpness, (count, 4))).float()


def test_confident_answers_are_told_from_faint_ones(tmp_path):
    found = measure_ood(logits(0, 60, 4.0), logits(1, 40, 0.5))
    assert (found.known, found.unknown) == (60, 40)
    assert [each.score for each in found.scores] == ["probability", "entropy", "energy"]
    assert all(each.auroc.low > 0.6 for each in found.scores)
    data = found.to_dict()
    assert data["scores"][0]["auroc"] == found.scores[0].auroc.value
    assert data["scores"][2]["fpr95_high"] == found.scores[2].passing.high
    found.write_csv(tmp_path / "ood.csv")
    with open(tmp_path / "ood.csv", newline="") as file:
        assert [row["score"] for row in csv.DictReader(file)] == ["probability", "entropy", "energy"]
    lines = list(found.table())
    assert lines[0].startswith("60 known against 40 unknown pictures")
    assert lines[2].startswith(f"probability of the answer  {found.scores[0].auroc.value:.3f}  [")
    assert measure_ood(logits(0, 60, 4.0), logits(1, 40, 0.5)) == found


def test_the_same_pictures_on_both_sides_are_not_told_apart():
    same = logits(0, 30, 1.0)
    assert all(each.auroc.value == 0.5 for each in measure_ood(same, same).scores)


def test_what_cannot_be_judged_is_refused():
    good = logits(0, 5, 1.0)
    with pytest.raises(ValueError, match="at least two known and two unknown pictures are needed, got 5 and 1"):
        measure_ood(good, good[:1])
    with pytest.raises(ValueError, match="got 4 and 3 classes"):
        measure_ood(good, good[:, :3])
    bad = good.clone()
    bad[2, 1] = math.nan
    with pytest.raises(ValueError, match="1 of 5 scores of unknown pictures are not finite"):
        measure_ood(good, bad)
