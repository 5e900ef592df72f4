"""Norm sets are separate: what one use learns and sees, no other one does."""

import pytest
import torch

from paretina.model.activations.pointwise import ReLU
from paretina.model.blueprint import Initialisation
from paretina.model.build import initialise
from paretina.model.norms.proxy import ProxyNorm
from paretina.model.norms.switched import Switched, switch, switched


def fresh(norm, activation=None):
    torch.manual_seed(0)
    unit = norm.make(8, activation)
    with torch.no_grad():
        initialise(unit, Initialisation())
    return unit


def test_each_use_has_its_own_statistics_and_parameters():
    unit = fresh(Switched(count=3)).train()
    switch(unit, 1)
    unit(3 * torch.randn(6, 8, 5, 5) + 2).square().sum().backward()
    moved = [not torch.equal(each.running_mean, torch.zeros(8)) for each in unit.units]
    learnt = [each.weight.grad is not None for each in unit.units]
    assert moved == learnt == [False, True, False]


def test_it_is_the_norm_of_the_use():
    unit = fresh(Switched(count=2), ReLU()).eval()
    with torch.no_grad():
        unit.units[1].running_mean.fill_(1.0)
        x = torch.randn(2, 8, 3, 3)
        first = unit(x)
        switch(unit, 1)
        torch.testing.assert_close(unit(x), unit.units[1](x))
        assert not torch.allclose(unit(x), first)
        assert [each.chosen for _, each in switched(unit)] == [1]


def test_a_norm_with_a_gain_keeps_it():
    unit = fresh(Switched(norm=ProxyNorm(), count=2), ReLU())
    x = torch.randn(2, 8, 3, 3)
    assert unit.apart
    centred, gain = unit.parts(x)
    torch.testing.assert_close(unit(x), centred * gain)
    torch.testing.assert_close(unit(x), unit.centred(x) * unit.gain())


def test_a_count_out_of_range_is_refused():
    with pytest.raises(ValueError, match="between 1 and 16"):
        Switched(count=0)
