import pytest
import torch
import torch.nn.functional as F

from paretina.clock import START
from paretina.data.batch import Batch
from paretina.schedules import Constant
from paretina.train.objective import Outputs
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.tampered_cross_entropy import TamperedCrossEntropy

Z = torch.tensor([[2.0, 1.0, 0.0, -1.0]])


def loss(term, logits, targets):
    images = torch.zeros(len(logits), 3, 4, 4, dtype=torch.uint8)
    return term.make(None)(Outputs(logits), Batch((images,), targets, torch.arange(len(logits))), START)


def hard(*labels):
    return F.one_hot(torch.tensor(labels), 4).float()


def term(exponent, smoothing=0.0):
    return TamperedCrossEntropy(exponent=Constant(value=exponent), smoothing=Constant(value=smoothing))


def gradient(given):
    z = Z.clone().requires_grad_()
    loss(given, z, hard(0)).backward()
    return z.grad[0].tolist()


FLAT = {
    1.0: [0.643914, 0.236883, 0.087144, 0.032059],
    0.5: [0.455054, 0.276004, 0.167405, 0.101536],
    0.3: [0.370892, 0.274764, 0.203550, 0.150794],
    0.25: [0.349932, 0.272527, 0.212244, 0.165296],
}
"""The probabilities of Z to a power, divided by their sum."""


@pytest.mark.parametrize("exponent", FLAT)
def test_the_gradient_is_that_of_flattened_probabilities(exponent):
    first, *rest = FLAT[exponent]
    assert gradient(term(exponent)) == pytest.approx([first - 1, *rest], abs=1e-6)


def test_with_smoothing_by_hand():
    assert gradient(term(0.3, 0.1)) == pytest.approx([-0.554108, 0.249764, 0.178550, 0.125794], abs=1e-6)


@pytest.mark.parametrize("exponent", FLAT)
def test_the_value_is_that_of_cross_entropy(exponent):
    plain = loss(CrossEntropy(smoothing=Constant(value=0.1)), Z, hard(2))
    assert loss(term(exponent, 0.1), Z, hard(2)).item() == pytest.approx(plain.item(), abs=1e-6)


@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0])
def test_equals_another_way_to_compute_it(exponent):
    """Probabilities recomputed from the logits, as one would write the backward pass by hand; soft targets."""
    torch.manual_seed(0)
    z, targets = torch.randn(6, 4, requires_grad=True), torch.rand(6, 4).softmax(1)
    loss(term(exponent), z, targets).backward()
    p = z.detach().softmax(1) ** exponent
    torch.testing.assert_close(z.grad, (p / p.sum(1, keepdim=True) - targets) / 6)


def test_a_row_of_zeros_says_nothing_and_weighs_nothing():
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    targets = hard(0, 3, 1, 2, 1)
    targets[[1, 4]] = 0.0
    given = z.clone().requires_grad_()
    loss(term(0.3), given, targets).backward()
    assert given.grad[[1, 4]].eq(0).all()
    assert loss(term(0.3), z, targets).item() == pytest.approx(loss(term(0.3), z[[0, 2, 3]], targets[[0, 2, 3]]).item())
    assert loss(term(0.3), z, torch.zeros(5, 4)).item() == 0.0


def test_the_gradient_sums_to_zero():
    assert sum(gradient(term(0.3))) == pytest.approx(0.0, abs=1e-6)
