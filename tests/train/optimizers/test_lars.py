import pytest
import torch
from torch import nn

from paretina.clock import START
from paretina.schedules import Constant
from paretina.train.optimizers.lars import LARS


def stepped(spec, gradients, decayed=True):
    """The weight [3, 4] after each step."""
    weight = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = spec.make([{"params": [weight], "decayed": decayed}])
    seen = []
    for gradient in gradients:
        spec.set_rates(optimizer, START, 256)
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        assert weight.grad.tolist() == gradient
        seen.append(weight.tolist())
    return seen


SPEC = LARS(lr=Constant(value=1.0), weight_decay=Constant(value=0.01), trust=1e-3)


def test_one_step_by_hand():
    # along the weights: 0.001 * 5 / (1 + 0.05) times [0.63, 0.84]
    assert stepped(SPEC, [[0.6, 0.8]])[0] == pytest.approx([2.997, 3.996], abs=1e-9)
    # across: |[0.83, -0.56]| is 1.00125
    assert stepped(SPEC, [[0.8, -0.6]])[0] == pytest.approx([2.995855, 4.002797], abs=1e-6)


def test_momentum_is_outside_the_rate():
    first, second = stepped(SPEC, [[0.6, 0.8], [0.6, 0.8]])
    # the second step is 0.9 of the first and its own, which is a little shorter, as the weights are
    assert 3.0 - first[0] == pytest.approx(0.003)
    assert first[0] - second[0] == pytest.approx(0.9 * 0.003 + 0.003 * first[0] / 3.0)


def test_biases_and_norms_get_plain_sgd():
    first, second = stepped(SPEC, [[0.6, 0.8], [0.6, 0.8]], decayed=False)
    assert first == pytest.approx([2.4, 3.2])
    assert second == pytest.approx([2.4 - 1.9 * 0.6, 3.2 - 1.9 * 0.8])


@pytest.mark.parametrize("gradient", [[0.0, 0.0], [1e-30, 0.0]])
def test_norms_near_zero_leave_numbers(gradient):
    spec = LARS(lr=Constant(value=1.0))
    assert all(abs(value) < 10 for value in stepped(spec, [gradient])[0])


def test_a_tensor_of_zeros_can_leave_zero():
    weight = nn.Parameter(torch.zeros(2))
    optimizer = SPEC.make([{"params": [weight], "decayed": True}])
    SPEC.set_rates(optimizer, START, 256)
    weight.grad = torch.tensor([0.5, -0.5])
    optimizer.step()
    assert weight.tolist() == pytest.approx([-0.5, 0.5])


def test_ranges():
    with pytest.raises(ValueError, match=r"LARS needs 0 <= momentum < 1 and trust > 0, got momentum=1\.0, trust=0\.001"):
        LARS(lr=Constant(value=1.0), momentum=1.0)
    with pytest.raises(ValueError, match="trust=0"):
        LARS(lr=Constant(value=1.0), trust=0.0)
