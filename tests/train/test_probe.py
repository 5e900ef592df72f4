import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from paretina.data.decode import DecodeError
from paretina.data.pictures import Pictures, read_pictures
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan
from paretina.measure.statistics import wilson
from paretina.train import probe
from paretina.train.probe import Axes, features, fit_probe, parts


def clouds(count, width, classes, apart=1.0, seed=0):
    """Samples around one point a class, along axes of very different lengths, far from the origin."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    points = random.normal(size=(classes, width))
    samples = apart * points[labels] + random.normal(size=(count, width)) * 2
    samples = (samples @ (random.normal(size=(width, width)) * np.arange(1, width + 1) ** -0.5)) + 7
    return torch.tensor(samples, dtype=torch.float32), torch.tensor(labels)


# --- the answer -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [150, 30], ids=["more samples", "more features"])
@pytest.mark.parametrize("classes", [2, 5])
def test_it_is_the_logistic_regression_of_scikit_learn(count, classes):
    samples, labels = clouds(count, 40, classes)
    found = fit_probe(samples, labels, classes)
    scaled = (samples.double() - samples.double().mean(0)) * found.scale
    assert float(scaled.square().sum(1).mean()) == pytest.approx(1, rel=1e-5)
    # scikit-learn gives two classes one row instead of two, w = w1 - w0, of which the penalty of both is half
    strength = 1 / found.penalty * (2 if classes == 2 else 1)
    other = LogisticRegression(C=strength, tol=1e-9, max_iter=10_000).fit(scaled.numpy(), labels.numpy())
    own = found.weight.double() / found.scale
    bias = found.bias.double() + found.weight.double() @ samples.double().mean(0)
    if classes == 2:
        own, bias = own[1:] - own[:1], bias[1:] - bias[:1]
    np.testing.assert_allclose(own, other.coef_, rtol=2e-3, atol=2e-3 * abs(other.coef_).max())
    np.testing.assert_allclose(bias - bias.mean() * (classes > 2), other.intercept_, rtol=2e-3, atol=2e-3)
    others, _ = clouds(200, 40, classes, seed=1)
    answers = other.predict(((others.double() - samples.double().mean(0)) * found.scale).numpy())
    assert float((found(others).argmax(1).numpy() == answers).mean()) >= 0.995


def test_the_scale_and_the_place_of_the_features_do_not_matter():
    samples, labels = clouds(100, 20, 3)
    one, two = fit_probe(samples, labels, 3), fit_probe(samples * 1000 + 300, labels, 3)
    assert one.penalty == two.penalty
    torch.testing.assert_close(one(samples).softmax(1), two(samples * 1000 + 300).softmax(1), atol=1e-2, rtol=1e-2)


def test_the_same_samples_give_the_same_bits():
    samples, labels = clouds(100, 30, 4)
    one, two = fit_probe(samples, labels, 4), fit_probe(samples, labels, 4)
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(one.bias, two.bias)
    assert torch.equal(one.cross_validated.right, two.cross_validated.right)


@pytest.mark.parametrize(
    ("count", "width", "classes"),
    [(2, 8, 2), (3, 8, 3), (7, 30, 5), (101, 16, 100), (40, 1, 2), pytest.param(300, 16, 100, marks=pytest.mark.slow)],
)
def test_few_samples_and_many_classes(count, width, classes):
    samples, labels = clouds(count, width, classes, apart=4.0)
    found = fit_probe(samples, labels, classes)
    assert found.weight.shape == (classes, width)
    assert found.weight.isfinite().all()
    assert found.bias.isfinite().all()
    assert len(found.cross_validated.samples) == count


def test_a_class_of_one_sample_is_learned_and_counts_as_missed_where_it_is_held_out():
    samples, labels = clouds(60, 10, 3, apart=5.0)
    labels[labels == 2] = 0
    samples[0] += 300
    labels[0] = 2
    found = fit_probe(samples, labels, 3)
    assert found(samples).argmax(1)[0] == 2
    assert not found.cross_validated.right[0]


def test_a_class_without_samples_is_never_the_answer():
    samples, labels = clouds(60, 10, 3, apart=0.1)
    found = fit_probe(samples, labels * 2, 6)
    anything = torch.randn(1000, 10) * torch.logspace(-2, 4, 1000)[:, None]
    assert set(found(anything).argmax(1).tolist()) <= {0, 2, 4}


def test_a_single_class_is_always_the_answer_and_nothing_is_held_out():
    samples, _ = clouds(9, 4, 3)
    found = fit_probe(samples, torch.ones(9, dtype=torch.int64), 3)
    assert found(samples).argmax(1).tolist() == [1] * 9
    assert found.cross_validated is None
    assert fit_probe(samples[:1], torch.tensor([2]), 3)(samples).argmax(1).tolist() == [2] * 9


def test_samples_that_are_all_equal_give_the_shares_of_the_classes():
    found = fit_probe(torch.ones(8, 5), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]), 2)
    torch.testing.assert_close(found(torch.ones(1, 5)).softmax(1), torch.tensor([[0.75, 0.25]]), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("samples", "labels", "said"),
    [
        (torch.ones(0, 3), torch.ones(0, dtype=torch.int64), "a probe needs samples to be fitted to, got none"),
        (torch.ones(2, 3), torch.tensor([0, 4]), "labels must lie in 0 to 3, got 0 to 4"),
        (torch.ones(2, 3), torch.tensor([-1, 0]), "labels must lie in 0 to 3, got -1 to 0"),
        (torch.tensor([[1.0, 2.0], [1.0, torch.nan]]), torch.tensor([0, 1]), "the features of sample 1 are not finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(samples, labels, said):
    with pytest.raises(ValueError, match=said):
        fit_probe(samples, labels, 4)


# --- cross-validation -----------------------------------------------------------------------------------------------------


def test_each_sample_is_held_out_once_and_each_class_in_all_parts():
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 3)
    held = parts(labels, 0)
    assert sorted(torch.cat(held).tolist()) == list(range(63))
    assert {len(part) for part in held} == {12, 13}
    for part in held:
        assert torch.bincount(labels[part], minlength=3)[:2].tolist() == [10, 2]
    assert [part.tolist() for part in parts(labels, 1)] != [part.tolist() for part in held]


def test_of_many_samples_a_fifth_is_held_out():
    (held,) = parts(torch.arange(6000) % 7, 0)
    assert len(held) == 1200


def test_held_out_answers_are_those_of_probes_that_did_not_see_the_sample():
    random = torch.Generator().manual_seed(0)
    samples, labels = torch.randn(60, 100, generator=random), torch.arange(60) % 2
    found = fit_probe(samples, labels, 2)  # noise, which a probe of a hundred features knows by heart
    own = found.cross_validated
    assert own.samples.tolist() == list(range(60))
    assert own.top1.value < 75
    assert own.top1 == tuple(100 * share for share in wilson(int(own.right.sum()), 60))
    assert found.penalty > 0.3  # little is to be had from noise


def test_the_penalty_is_the_one_that_does_best_on_others():
    samples, labels = clouds(3200, 30, 3, apart=0.7)
    samples, others, labels, truth = samples[:200], samples[200:], labels[:200], labels[200:]
    found = fit_probe(samples, labels, 3)
    assert probe.PENALTIES[-1] < found.penalty < probe.PENALTIES[0]
    axes = Axes.of(samples)
    fit = probe.Fit(axes.turned(samples), labels, 3, axes.lengths)
    loss = {
        each: torch.nn.functional.cross_entropy(fit.logits(axes.turned(others), each), truth).item()
        for each in (probe.PENALTIES[0], found.penalty, probe.PENALTIES[-1])
    }
    assert min(loss, key=loss.get) == found.penalty


# --- features -------------------------------------------------------------------------------------------------------------


def test_features_are_what_the_last_layer_is_given_in_evaluation(tiny, collection):
    network = tiny.build().train()
    pictures = read_pictures(collection, collection.split("val"))
    found = features(network, pictures, Plan(), 16)
    assert found.shape == (9, 16)
    assert network.training
    network.eval()
    caught = []
    hook = network.head.classifier.register_forward_hook(lambda _, given, __: caught.append(given[0]))
    logits, _ = Evaluation(pictures, tiny.preprocessing, 16, 3, Plan()).run(network)
    hook.remove()
    assert torch.equal(found, torch.cat(caught))
    torch.testing.assert_close(network.head.classifier(found), logits)
    assert not torch.equal(features(network, pictures, Plan(), 12), found)


def test_a_picture_that_is_gone_has_no_features(tiny, collection, monkeypatch):
    pictures = read_pictures(collection, collection.split("val"))
    image = Pictures.image

    def gone(self, index):
        if index == 4:
            raise DecodeError("4: gone")
        return image(self, index)

    monkeypatch.setattr(Pictures, "image", gone)
    found = features(tiny.build(), pictures, Plan(), 16)
    assert found.isnan().all(1).tolist() == [number == 4 for number in range(9)]
    assert found[[0, 1, 2, 3, 5, 6, 7, 8]].isfinite().all()
