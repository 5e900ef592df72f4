import pytest
import torch
from torch import nn

from paretina.clock import START
from paretina.train.optimizers.sgd import SGD


def run(spec, gradients, start=1.0):
    weight = nn.Parameter(torch.tensor([start]))
    optimizer = spec.make([{"params": [weight], "decayed": True}])
    seen = []
    for gradient in gradients:
        spec.set_rates(optimizer, START, 256)
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        seen.append(weight.item())
    return seen


def test_momentum_by_hand():
    # sums 1, 1.5, 1.75; steps .1 times these
    assert run(SGD(lr=0.1, momentum=0.5, nesterov=False), [1.0] * 3) == pytest.approx([0.9, 0.75, 0.575])


def test_nesterov_by_hand():
    # steps .1 (1 + .5 sum), sums 1, 1.5
    assert run(SGD(lr=0.1, momentum=0.5), [1.0] * 2) == pytest.approx([0.85, 0.675])


def test_weight_decay_enters_the_gradient():
    # gradient 1 + .2 * 2
    assert run(SGD(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.2), [1.0], start=2.0) == pytest.approx([1.86])


def test_refuses_momentum_out_of_range():
    with pytest.raises(ValueError, match="0 <= momentum < 1, got momentum=1"):
        SGD(lr=0.1, momentum=1.0)


def test_refuses_to_look_ahead_without_momentum():
    with pytest.raises(ValueError, match="set nesterov=False or momentum > 0"):
        SGD(lr=0.1, momentum=0.0)
