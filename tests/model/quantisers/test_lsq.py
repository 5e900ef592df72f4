import math

import pytest
import torch

from paretina.model.quantisers.lsq import Lsq, first_step, rounded_to_steps
from paretina.model.rounding import slowed

NINE = torch.linspace(-1, 1, 9)


def test_first_step_and_its_gradient_by_hand():
    assert first_step(NINE, 1).item() == pytest.approx(1.11111, abs=1e-5)
    step = torch.tensor(1.0, requires_grad=True)
    slowed(step, 1 / math.sqrt(9 * 1)).backward()
    assert step.grad.item() == pytest.approx(1 / 3)


def test_gradient_of_the_step():
    # inside the range round(x / step) - x / step, beyond it the end of the range
    x, step = torch.tensor([-3.0, -0.3, 0.2, 5.0]), torch.tensor(0.5, requires_grad=True)
    rounded_to_steps(x, step, -2, 1).sum().backward()
    wanted = (-2 + (-1 + 0.6) + (0 - 0.4) + 1) / math.sqrt(4 * 1)
    assert step.grad.item() == pytest.approx(wanted)


def test_gradients_pass_inside_the_range_and_stop_outside():
    x = torch.tensor([-3.0, -0.3, 0.2, 5.0], requires_grad=True)
    rounded_to_steps(x, torch.tensor(0.5), -2, 1).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]


def test_what_lies_on_the_steps_stays():
    step = torch.tensor(0.3)
    once = rounded_to_steps(NINE, step, -4, 3)
    assert torch.equal(rounded_to_steps(once, step, -4, 3), once)
    assert torch.equal(once, (NINE / step).round().clamp(-4, 3) * step)


def test_steps_begin_with_the_first_batch_and_stay():
    rounding = Lsq(weights=4, activations=4).make("inner", (4, 3))
    weight, x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.rand(5, 3)
    with torch.no_grad():
        before = rounding.both(x, weight)
    assert rounding.weight_step == rounding.input_step == 0
    after = rounding.both(x, weight)
    assert rounding.weight_step.item() == pytest.approx(2 * weight.abs().mean().item() / math.sqrt(7))
    assert rounding.input_step.item() == pytest.approx(2 * x.mean().item() / math.sqrt(15))
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(one, two)
    steps = [step.item() for step in rounding.parameters()]
    rounding.both(100 * x, 100 * weight)
    assert [step.item() for step in rounding.parameters()] == steps


def test_a_channel_with_a_step_of_its_own_is_as_well_rounded_at_any_size():
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    factors = torch.tensor([1.0, 0.125, 8.0, 1.0]).view(4, 1, 1, 1)  # powers of two, so that floats are exact
    each = Lsq(per_channel=True).make("inner", tuple(weight.shape))
    whole = Lsq().make("inner", tuple(weight.shape))
    assert torch.equal(each.weight(weight * factors), each.weight(weight) * factors)
    assert not torch.allclose(whole.weight(weight * factors), whole.weight(weight) * factors)
    assert each.scales(4) == 4
    assert whole.scales(4) == 1


def test_signed_inputs_keep_what_is_below_zero():
    x = torch.tensor([-1.0, -0.5, 0.5, 1.0])
    assert Lsq(activations=8).make("inner", (1,)).input(x).tolist()[:2] == [0, 0]
    found = Lsq(activations=8, signed=True).make("inner", (1,)).input(x)
    assert found.tolist() == pytest.approx(x.tolist(), abs=0.07)  # half a step of 0.133


def test_one_bit_is_refused():
    with pytest.raises(ValueError, match="with one bit no step is above zero; Dorefa has one bit"):
        Lsq(weights=1)
    with pytest.raises(ValueError, match="2 to 8 bits with signed=true"):
        Lsq(activations=1, signed=True)
