import pytest
import torch
from torch import nn

from paretina.clock import START
from paretina.train.optimizers.adamw import AdamW


def after_one_step(spec, start, gradient):
    weight = nn.Parameter(torch.tensor([start]))
    optimizer = spec.make([{"params": [weight], "decayed": True}])
    spec.set_rates(optimizer, START, 32)
    weight.grad = torch.tensor([gradient])
    optimizer.step()
    return weight.item()


@pytest.mark.parametrize("gradient", [0.001, 1.0, 1000.0])
def test_first_step_is_the_rate_whatever_the_gradient(gradient):
    # so the rate is not scaled with the batch of 32 either
    assert after_one_step(AdamW(lr=0.1, weight_decay=0.0), 1.0, gradient) == pytest.approx(0.9, rel=1e-4)


def test_weight_decay_takes_no_part_in_the_gradient():
    # 2 (1 - .1 * .05) - .1
    assert after_one_step(AdamW(lr=0.1), 2.0, 1.0) == pytest.approx(1.89)


@pytest.mark.parametrize("wrong", [{"betas": (0.9, 1.0)}, {"betas": (-0.1, 0.9)}, {"eps": 0.0}])
def test_refuses_what_cannot_work(wrong):
    with pytest.raises(ValueError, match="AdamW needs betas in"):
        AdamW(lr=0.1, **wrong)
