import pytest
import torch
from torch import nn

from paretina.clock import START
from paretina.train.optimizers.rmsprop_tf import RMSPropTF


def run(spec, gradients, rates=None, start=1.0):
    """The weight and the mean square after each step."""
    weight = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = spec.make([{"params": [weight], "decayed": True}])
    seen = []
    for i, gradient in enumerate(gradients):
        spec.set_rates(optimizer, START, 256)
        if rates:
            optimizer.param_groups[0]["lr"] = rates[i]
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        seen.append((weight.item(), optimizer.state[weight]["square"].item()))
    return seen


def test_three_steps_by_hand():
    weights, squares = zip(*run(RMSPropTF(lr=0.1), [0.1] * 3), strict=True)
    assert squares == pytest.approx((0.901, 0.8119, 0.73171))
    assert weights == pytest.approx((0.989471, 0.968903, 0.938710), abs=1e-6)


def test_torch_has_another_rule():
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = torch.optim.RMSprop([weight], lr=0.1, alpha=0.9, momentum=0.9, eps=1e-3)
    seen = []
    for _ in range(3):
        weight.grad = torch.tensor([0.1], dtype=torch.float64)
        optimizer.step()
        seen.append(weight.item())
    assert seen == pytest.approx([0.693466, 0.193314, -0.445296], abs=1e-6)


def test_a_lower_rate_does_not_shorten_the_step_under_way():
    (first, _), (second, _) = run(RMSPropTF(lr=0.0), [0.1, 0.1], rates=[0.1, 0.0])
    assert second - first == pytest.approx(0.9 * (first - 1.0))


def test_weight_decay_is_part_of_the_gradient_that_is_squared():
    # gradient .1 + .5 * 2 = 1.1
    plain = run(RMSPropTF(lr=0.1), [1.1], start=2.0)
    decayed = run(RMSPropTF(lr=0.1, weight_decay=0.5), [0.1], start=2.0)
    assert decayed == [pytest.approx(value) for value in plain]


def test_gradients_are_not_changed_by_the_step():
    spec = RMSPropTF(lr=0.1, weight_decay=0.5)
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    optimizer = spec.make([{"params": [weight], "decayed": True}])
    spec.set_rates(optimizer, START, 256)
    optimizer.step()
    assert torch.equal(weight.grad, torch.ones(3))


@pytest.mark.parametrize("wrong", [{"memory": 1.0}, {"momentum": -0.1}, {"eps": 0.0}])
def test_refuses_what_cannot_work(wrong):
    with pytest.raises(ValueError, match="RMSPropTF needs 0 <= memory < 1"):
        RMSPropTF(lr=0.1, **wrong)
