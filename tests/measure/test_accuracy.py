import csv
import json
import math

import pytest
import torch
from sklearn import metrics

from covering import few
from paretina.measure import accuracy
from paretina.measure.accuracy import (
    calibration_error,
    chance_errors,
    checked,
    confident_mistakes,
    debiased,
    fit_temperature,
    measure_accuracy,
    write_predictions,
)

NAMES = tuple(f"class {i}" for i in range(7))


def answers_of(n=400, width=7, seed=0, sharpness=3.0, absent=()):
    """Logits that are often right, and their labels; the last classes are rarer."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.linspace(2.0, 0.5, width)
    for label in absent:
        shares[label] = 0.0
    labels = torch.multinomial(shares, n, replacement=True, generator=generator)
    logits = torch.randn(n, width, generator=generator)
    logits[torch.arange(n), labels] += 1.5
    return logits * sharpness, labels


def says(*probabilities):
    """Logits of these rows of probabilities."""
    return torch.tensor(probabilities).log()


def test_agrees_with_scikit_learn():
    logits, labels = answers_of()
    found = measure_accuracy(logits, labels, NAMES)
    chosen, chances = logits.argmax(1), logits.double().softmax(1)
    assert found.n == 400
    assert found.top1 == pytest.approx(100 * metrics.accuracy_score(labels, chosen))
    assert found.top5 == pytest.approx(100 * metrics.top_k_accuracy_score(labels, chances, k=5, labels=range(7)))
    assert found.balanced == pytest.approx(100 * metrics.balanced_accuracy_score(labels, chosen))
    assert found.f1_macro == pytest.approx(100 * metrics.f1_score(labels, chosen, average="macro"))
    assert found.nll == pytest.approx(metrics.log_loss(labels, chances, labels=range(7)))
    assert found.confusion == tuple(map(tuple, metrics.confusion_matrix(labels, chosen).tolist()))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(labels, chosen)
    for i, entry in enumerate(found.per_class):
        assert (entry.name, entry.n) == (NAMES[i], support[i])
        assert (entry.precision, entry.recall, entry.f1) == pytest.approx((100 * precision[i], 100 * recall[i], 100 * f1[i]))


def test_agrees_with_scikit_learn_where_classes_are_absent():
    logits, labels = answers_of(n=60, absent=(0, 6))
    logits[:, 6] = -50.0  # class 6 is never answered either, class 0 is
    chosen = logits.argmax(1)
    assert (chosen == 0).any()
    found = measure_accuracy(logits, labels, NAMES)
    assert found.balanced == pytest.approx(100 * metrics.recall_score(labels, chosen, labels=range(1, 6), average="macro"))
    assert found.f1_macro == pytest.approx(100 * metrics.f1_score(labels, chosen, average="macro"))
    assert found.per_class[0].recall is None
    assert found.per_class[0].precision == 0.0
    assert found.per_class[6].f1 is None
    assert found.notes == ("2 of 7 classes have no sample and do not count in the balanced accuracy: class 0, class 6",)


def test_by_hand():
    # answers a a a b to labels a a b b: recall 1 and 1/2, precision 2/3 and 1, F1 4/5 and 2/3
    found = measure_accuracy(says((0.9, 0.1), (0.8, 0.2), (0.6, 0.4), (0.3, 0.7)), torch.tensor([0, 0, 1, 1]), ("a", "b"))
    assert found.top1 == 75.0
    assert found.balanced == 75.0
    assert found.f1_macro == pytest.approx(100 * (4 / 5 + 2 / 3) / 2)
    assert found.confusion == ((2, 0), (1, 1))
    assert found.nll == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.4) + math.log(0.7)) / 4)
    # four samples in four bins: |1 - .9|, |1 - .8|, |0 - .6|, |1 - .7|
    assert found.ece == pytest.approx((0.1 + 0.2 + 0.6 + 0.3) / 4)


def test_errors_within_a_bin_cancel():
    # both answers lie in (9/15, 10/15]: one right and one wrong, mean confidence .62
    found = measure_accuracy(says((0.61, 0.39), (0.63, 0.37)), torch.tensor([0, 1]), ("a", "b"))
    assert found.ece == pytest.approx(0.62 - 0.5)


def test_a_border_belongs_to_the_lower_bin():
    # confidence 1/2 = 7.5 / 15 is no border; 1/3 = 5/15 is one, and shares its bin with .3, but not with .34
    half = torch.full((2, 3), 1 / 3).log()
    below = measure_accuracy(torch.cat([half, half]), torch.tensor([0, 1, 2, 0]), ("a", "b", "c"))
    assert below.ece == pytest.approx(0.5 - 1 / 3, abs=1e-6)


def test_of_equal_logits_the_first_class_leads(tmp_path):
    logits, labels = torch.zeros(3, 40), torch.tensor([0, 4, 5])
    names = tuple(map(str, range(40)))
    found = measure_accuracy(logits, labels, names)
    assert found.top1 == pytest.approx(100 / 3)
    assert found.top5 == pytest.approx(200 / 3)
    assert found.confusion[5][0] == 1
    write_predictions(tmp_path / "a.csv", ["x", "y", "z"], logits, labels, names)
    assert {line["predicted"] for line in csv.DictReader((tmp_path / "a.csv").read_text().splitlines())} == {"0"}


@pytest.mark.parametrize(("width", "given"), [(2, False), (5, False), (6, True)])
def test_top_five_needs_more_than_five_classes(width, given):
    logits, labels = answers_of(n=20, width=width)
    found = measure_accuracy(logits, labels, NAMES[:width])
    assert (found.top5 is not None) == given
    assert ("top5" in found.intervals) == given
    assert any("top-5 is left out" in note for note in found.notes) == (not given)


# --- temperature --------------------------------------------------------------------------------------------------------


def test_temperature_is_where_no_other_does_better():
    logits, labels = answers_of(n=300)
    best = fit_temperature(logits, labels)

    def loss(temperature):
        return torch.nn.functional.cross_entropy(logits.double() / temperature, labels).item()

    tried = torch.logspace(math.log10(0.05), math.log10(20.0), 2000, dtype=torch.float64).tolist()
    assert loss(best) <= min(map(loss, tried)) + 1e-12
    assert best == pytest.approx(min(tried, key=loss), rel=5e-3)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_temperature_follows_the_scale_of_the_logits(factor):
    logits, labels = answers_of(n=300)
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor * fit_temperature(logits, labels), rel=1e-5)


def test_temperature_of_known_probabilities_by_hand():
    # answers say 9 : 1 but are right 3 times in 4: log 9 / T = log 3
    logits = says(*[(0.9, 0.1)] * 8)
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    assert fit_temperature(logits, labels) == pytest.approx(2.0, rel=1e-6)


def test_temperature_stops_at_its_limits():
    right, wrong = says((0.9, 0.1), (0.8, 0.2)), torch.tensor([0, 0])
    assert fit_temperature(right, wrong) == 0.05
    assert fit_temperature(right, 1 - wrong) == 20.0
    assert any("stopped at its limit of 0.05" in note for note in measure_accuracy(right, wrong, ("a", "b")).notes)


def test_each_half_is_scaled_with_the_temperature_of_the_other():
    logits, labels = answers_of(n=101)
    logits[::2] *= 3.0
    even, odd = fit_temperature(logits[::2], labels[::2]), fit_temperature(logits[1::2], labels[1::2])
    assert even > 2 * odd
    scaled = logits.double().clone()
    scaled[::2] /= odd
    scaled[1::2] /= even
    found = measure_accuracy(logits, labels, NAMES)
    assert found.nll_scaled == pytest.approx(torch.nn.functional.cross_entropy(scaled, labels).item())
    assert found.temperature == pytest.approx(fit_temperature(logits, labels), rel=1e-6)


def test_scaling_mends_overconfidence():
    logits, labels = answers_of(n=1000, sharpness=4.0)
    found = measure_accuracy(logits, labels, NAMES)
    assert found.temperature > 2
    assert found.nll_scaled < 0.7 * found.nll
    assert found.ece_scaled < 0.5 * found.ece


# --- calibration by chance ------------------------------------------------------------------------------------------------


def drawn_answers(n, seed, temperature=1.0):
    """Logits whose probabilities, at that temperature, are those with which the labels are drawn."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2.2 * torch.randn(n, 10, generator=generator, dtype=torch.float64)
    logits[:, 0] += 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return logits / temperature, labels


def errors_of(n, rounds, temperature):
    found = []
    for seed in range(rounds):
        logits, labels = drawn_answers(n, seed, temperature)
        confidence, answers = logits.softmax(1).max(1)
        error = calibration_error(confidence, answers == labels).item()
        chance = chance_errors(confidence, seed)
        found.append((error, debiased(error, chance), chance.quantile(0.95).item(), chance.mean().item()))
    return torch.tensor(found).T


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rounds"), [(300, 400), (2000, 200)])
def test_a_calibrated_network_exceeds_the_limit_in_five_cases_of_a_hundred(monkeypatch, n, rounds):
    monkeypatch.setattr(accuracy, "RESAMPLES", 200)
    error, _, limit, mean = errors_of(n, rounds, 1.0)
    assert 0.02 < (error > limit).float().mean() < 0.085
    assert error.mean() == pytest.approx(mean.mean().item(), rel=0.05)


@pytest.mark.parametrize(("temperature", "truth"), few([(0.7, 0.1087), (0.5, 0.1897)]))
@pytest.mark.parametrize("n", few([300, 2000]))
def test_the_debiased_error_is_near_the_truth(monkeypatch, n, temperature, truth):
    """The truth is that of 400,000 samples."""
    monkeypatch.setattr(accuracy, "RESAMPLES", 100)
    error, without_chance, _, _ = errors_of(n, 60, temperature)
    assert without_chance.mean() == pytest.approx(truth, abs=0.012)
    assert (without_chance.mean() - truth).abs() < (error.mean() - truth).abs() + 0.004


def test_the_debiased_error_of_a_calibrated_network_is_near_nothing(monkeypatch):
    monkeypatch.setattr(accuracy, "RESAMPLES", 100)
    error, without_chance, _, _ = errors_of(300, 100, 1.0)
    assert error.mean() > 0.05
    assert without_chance.mean() < 0.025


def test_what_chance_gives_follows_its_seed_and_is_told():
    logits, labels = answers_of(n=200)
    found = measure_accuracy(logits, labels, NAMES)
    assert found == measure_accuracy(logits, labels, NAMES)
    assert 0 < found.ece_calibrated < found.ece_limit < 1
    said = found.to_dict()
    assert said["ece_limit"] == found.ece_limit
    assert "ece_low" not in said


# --- intervals ----------------------------------------------------------------------------------------------------------


def test_intervals_enclose_their_figures():
    logits, labels = answers_of(n=150)
    found = measure_accuracy(logits, labels, NAMES)
    assert set(found.intervals) == {"top1", "top5", "balanced", "f1_macro", "nll", "nll_scaled"}
    for name, (low, high) in found.intervals.items():
        assert low < getattr(found, name) < high


def test_interval_of_a_mean_is_that_of_its_standard_error():
    logits, labels = answers_of(n=500)
    found = measure_accuracy(logits, labels, NAMES)
    losses = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="none")
    low, high = found.intervals["nll"]
    assert high - low == pytest.approx(2 * 1.96 * (losses.std() / math.sqrt(500)).item(), rel=0.1)


@pytest.mark.slow
def test_resampling_of_balanced_accuracy_agrees_with_a_slow_one():
    logits, labels = answers_of(n=80)
    chosen, generator = logits.argmax(1), torch.Generator().manual_seed(5)
    values = []
    for _ in range(300):
        drawn = torch.randint(80, (80,), generator=generator)
        values.append(100 * metrics.recall_score(labels[drawn], chosen[drawn], average="macro", zero_division=0))
    low, high = measure_accuracy(logits, labels, NAMES).intervals["balanced"]
    assert high - low == pytest.approx(4 * torch.tensor(values).std().item(), rel=0.15)


def test_a_network_with_one_answer_has_an_interval_of_its_balanced_accuracy():
    labels = torch.arange(3).repeat_interleave(20)
    logits = torch.tensor([5.0, 0.0, 0.0]).repeat(60, 1)
    found = measure_accuracy(logits, labels, ("a", "b", "c"))
    # Wilson's interval of 0 of 20 ends at z² / (20 + z²) = 16.1 %, and that of 20 of 20 begins as far from its end
    arm = 100 * 1.95996**2 / (20 + 1.95996**2)
    low, high = found.intervals["balanced"]
    assert found.balanced == pytest.approx(100 / 3)
    assert low == pytest.approx(100 / 3 - arm / 3, abs=1e-3)
    assert high == pytest.approx(100 / 3 + math.sqrt(2) * arm / 3, abs=1e-3)
    low, high = found.intervals["f1_macro"]
    assert low < found.f1_macro - 1
    assert high > found.f1_macro + 1


def test_a_network_without_mistakes_has_intervals_too():
    labels = torch.arange(3).repeat_interleave(20)
    found = measure_accuracy(5.0 * torch.nn.functional.one_hot(labels).float(), labels, ("a", "b", "c"))
    assert found.intervals["balanced"] == pytest.approx((100 - 16.113 / math.sqrt(3), 100.0), abs=0.01)
    low, high = found.intervals["f1_macro"]
    assert (low, high) == pytest.approx((94.9, 100.0), abs=0.1)


@pytest.mark.slow
def test_intervals_of_balanced_accuracy_and_f1_cover_the_truth_of_a_network_with_nearly_one_answer(monkeypatch):
    monkeypatch.setattr(accuracy, "RESAMPLES", 100)
    shares = torch.tensor([[0.97, 0.02, 0.01], [0.96, 0.03, 0.01], [0.97, 0.01, 0.02]])  # of the answers to each class
    labels = torch.arange(3).repeat_interleave(20)
    recalls, named = shares.diagonal(), shares.sum(0)
    truth = {"balanced": 100 * recalls.mean().item(), "f1_macro": 100 * (2 * recalls / (1 + named)).mean().item()}
    covered, rounds = dict.fromkeys(truth, 0), 60
    for seed in range(rounds):
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.multinomial(shares[labels], 1, generator=generator)[:, 0]
        found = measure_accuracy(torch.nn.functional.one_hot(chosen, 3).float(), labels, ("a", "b", "c"))
        for name, value in truth.items():
            low, high = found.intervals[name]
            covered[name] += low <= value <= high
    assert all(count >= 0.93 * rounds for count in covered.values()), covered


def test_resampling_follows_its_seed():
    logits, labels = answers_of(n=50)
    first, again, other = (measure_accuracy(logits, labels, NAMES, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.intervals["nll"] != other.intervals["nll"]
    assert first.nll == other.nll


def test_resampling_in_parts_covers_every_part(monkeypatch):
    logits, labels = answers_of(n=3000)
    whole = measure_accuracy(logits, labels, NAMES).intervals["f1_macro"]
    small = measure_accuracy(logits[:30], labels[:30], NAMES).intervals["f1_macro"]
    assert (small[1] - small[0]) / (whole[1] - whole[0]) == pytest.approx(10, rel=0.5)


# --- what it refuses ----------------------------------------------------------------------------------------------------


def test_refuses_an_empty_split():
    with pytest.raises(ValueError, match="no samples"):
        measure_accuracy(torch.zeros(0, 7), torch.zeros(0, dtype=torch.long), NAMES)


def test_refuses_logits_that_are_not_finite():
    logits, labels = answers_of(n=10)
    logits[3, 2], logits[7, 0], logits[7, 1] = math.nan, math.inf, -math.inf
    with pytest.raises(ValueError, match="2 of 10 samples have logits that are not finite, the first is sample 3"):
        measure_accuracy(logits, labels, NAMES)


def test_refuses_what_does_not_fit_together():
    logits, labels = answers_of(n=10)
    with pytest.raises(ValueError, match="7 logits a sample and 6 classes"):
        measure_accuracy(logits, labels, NAMES[:6])
    with pytest.raises(ValueError, match="10 rows of logits and 9 labels"):
        checked(logits, labels[:9], 7)  # the annotations of the public function would speak first while tests run
    labels[4] = -1
    with pytest.raises(ValueError, match="must lie in 0 to 6, got -1 to"):
        measure_accuracy(logits, labels, NAMES)
    labels[4] = 7
    with pytest.raises(ValueError, match=r"must lie in 0 to 6, got \d to 7"):
        measure_accuracy(logits, labels, NAMES)


def test_a_single_sample_is_judged():
    found = measure_accuracy(says((0.75, 0.25)), torch.tensor([0]), ("a", "b"))
    assert (found.top1, found.temperature, found.nll_scaled) == (100.0, 1.0, pytest.approx(-math.log(0.75)))


def test_reduced_precision_is_judged_as_it_is():
    logits, labels = answers_of(n=50)
    rounded = logits.bfloat16()
    assert measure_accuracy(rounded, labels, NAMES) == measure_accuracy(rounded.float(), labels, NAMES)


# --- what it writes -----------------------------------------------------------------------------------------------------


def test_survives_json():
    logits, labels = answers_of(n=40, width=3)
    found = measure_accuracy(logits, labels, NAMES[:3])
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data == found.to_dict()
    assert (data["top1"], data["top5"], data["top5_low"]) == (found.top1, None, None)
    assert [data["nll_low"], data["nll_high"]] == list(found.intervals["nll"])
    assert [entry["class"] for entry in data["per_class"]] == list(NAMES[:3])
    assert sum(map(sum, data["confusion"])) == 40


def test_predictions_by_hand(tmp_path):
    classes, path = ("cat", "dog, small", "fox"), tmp_path / "predictions.csv"
    logits = says((0.7, 0.2, 0.1), (0.1, 0.3, 0.6))
    write_predictions(path, ['a,"b".jpg', "é\udcff.png"], logits, torch.tensor([0, 1]), classes)
    assert path.read_text(encoding="utf-8").splitlines() == [
        "name,label,predicted,correct,confidence,class_2,confidence_2,class_3,confidence_3",
        '"a,""b"".jpg",cat,cat,1,0.700000,"dog, small",0.200000,fox,0.100000',
        'é\\udcff.png,"dog, small",fox,0,0.600000,"dog, small",0.300000,cat,0.100000',
    ]


def test_predictions_without_labels_leave_their_columns_out(tmp_path):
    path = tmp_path / "predictions.csv"
    write_predictions(path, ["a"], torch.randn(1, 9), None, tuple("abcdefghi"))
    (line,) = csv.DictReader(path.read_text().splitlines())
    assert list(line)[:3] == ["name", "predicted", "confidence"]
    assert list(line)[-1] == "confidence_5"


def test_predictions_need_a_name_each(tmp_path):
    with pytest.raises(ValueError, match="got 1 name and 2 rows"):
        write_predictions(tmp_path / "a.csv", ["a"], torch.zeros(2, 2), None, ("a", "b"))


def test_confident_mistakes_come_most_confident_first():
    logits = says((0.6, 0.4), (0.9, 0.1), (0.2, 0.8), (0.7, 0.3), (0.1, 0.9))
    labels = torch.tensor([1, 1, 1, 0, 0])
    assert confident_mistakes(logits, labels, 2) == [1, 4]  # equally sure: the earlier first
    assert confident_mistakes(logits, labels, 9) == [1, 4, 0]
    assert confident_mistakes(logits, logits.argmax(1), 9) == []
