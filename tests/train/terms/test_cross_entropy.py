import math

import pytest
import torch
import torch.nn.functional as F

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.schedules import Constant, Linear
from paretina.train.objective import Outputs
from paretina.train.terms.cross_entropy import CrossEntropy

Z = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
HALFWAY = Clock(5, 10, 10.0)


def loss(term, logits, targets, clock=HALFWAY):
    images = torch.zeros(len(logits), 3, 4, 4, dtype=torch.uint8)
    return term.make(None)(Outputs(logits), Batch((images,), targets, torch.arange(len(logits))), clock)


def hard(*labels):
    return F.one_hot(torch.tensor(labels), 4).float()


PLAIN, SMOOTH = CrossEntropy(smoothing=Constant(value=0.0)), CrossEntropy(smoothing=Constant(value=0.1))


def test_by_hand():
    # softmax(2, 1, 0, -1)[0] = 0.643914, and -ln 0.643914 = 0.440190
    assert loss(PLAIN, Z, hard(0)).item() == pytest.approx(0.440190, abs=1e-6)


def test_smoothing_spreads_over_all_classes():
    # the target is (0.925, 0.025, 0.025, 0.025), not (0.9, 0.0333, 0.0333, 0.0333), which would give 0.640190
    assert loss(SMOOTH, Z, hard(0)).item() == pytest.approx(0.590190, abs=1e-6)
    assert loss(SMOOTH, Z, hard(0)).item() == pytest.approx(F.cross_entropy(Z, torch.tensor([0]), label_smoothing=0.1).item())


def test_the_gradient_is_answer_minus_target():
    z = Z.clone().requires_grad_()
    loss(SMOOTH, z, hard(0)).backward()
    assert z.grad[0].tolist() == pytest.approx([-0.281086, 0.211883, 0.062144, 0.007059], abs=1e-6)


@pytest.mark.parametrize("term", [PLAIN, SMOOTH])
def test_a_row_of_zeros_says_nothing_and_weighs_nothing(term):
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    targets = hard(0, 3, 1, 2, 1)
    targets[[1, 4]] = 0.0
    assert loss(term, z, targets).item() == pytest.approx(loss(term, z[[0, 2, 3]], targets[[0, 2, 3]]).item())
    given = z.clone().requires_grad_()
    loss(term, given, torch.zeros(5, 4)).backward()
    assert given.grad.eq(0).all()


def test_is_the_mean_that_torch_has_to_the_bit():
    z = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.rand(64, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(loss(PLAIN, z, targets), F.cross_entropy(z, targets))


def test_the_lowest_loss_with_smoothing_is_the_entropy_of_the_target():
    # K = 1000, s = 0.1: 0.9001 for the true class and 0.0001 for the others
    classes = 1000
    target = torch.full((1, classes), 1e-4)
    target[0, 0] = 0.9001
    term, answer = CrossEntropy(), target.log()
    lowest = loss(term, answer, F.one_hot(torch.tensor([0]), classes).float()).item()
    assert lowest == pytest.approx(1.014848, abs=1e-5)
    worse = loss(term, answer * 1.1, F.one_hot(torch.tensor([0]), classes).float()).item()
    assert worse > lowest


def test_mixed_targets_are_mixed_losses():
    mixed = 0.3 * hard(0) + 0.7 * hard(2)
    apart = 0.3 * loss(PLAIN, Z, hard(0)) + 0.7 * loss(PLAIN, Z, hard(2))
    assert loss(PLAIN, Z, mixed).item() == pytest.approx(1.840190, abs=1e-6)
    assert apart.item() == pytest.approx(1.840190, abs=1e-6)


def test_smoothing_and_mixing_change_places():
    mixed = 0.3 * hard(0) + 0.7 * hard(2)
    smoothed_first = torch.tensor([[0.295, 0.025, 0.655, 0.025]])
    assert loss(SMOOTH, Z, mixed).item() == pytest.approx(1.850190, abs=1e-6)
    assert loss(PLAIN, Z, smoothed_first).item() == pytest.approx(1.850190, abs=1e-6)


def test_a_batch_is_the_mean_of_its_pictures():
    logits, labels = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), hard(0, 1, 2, 3, 0)
    alone = [loss(SMOOTH, logits[i : i + 1], labels[i : i + 1]).item() for i in range(5)]
    assert loss(SMOOTH, logits, labels).item() == pytest.approx(sum(alone) / 5, rel=1e-6)


def test_weight_and_smoothing_follow_the_clock():
    term = CrossEntropy(smoothing=Linear(start=0.0, end=0.2), weight=Linear(start=0.0, end=4.0))
    assert loss(term, Z, hard(0)).item() == pytest.approx(2 * 0.590190, abs=1e-6)
    assert loss(term, Z, hard(0), Clock(0, 10, 10.0)).item() == 0.0


def test_an_indifferent_answer_costs_the_logarithm_of_the_classes():
    for term in (PLAIN, SMOOTH):
        assert loss(term, torch.zeros(3, 4), hard(0, 1, 3)).item() == pytest.approx(math.log(4))
