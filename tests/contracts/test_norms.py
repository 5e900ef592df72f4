"""What every norm must satisfy; `test_networks.py` has what holds for all parts of a network."""

import pytest
import torch

from paretina.model.activations.pointwise import GELU
from paretina.model.blueprint import Initialisation, NormUnit
from paretina.model.build import initialise
from paretina.model.roles import roles
from paretina.spec import modules_in

EXAMPLES = [example for module in modules_in("paretina.model.norms") for example in getattr(module, "EXAMPLES", ())]
every_norm = pytest.mark.parametrize("norm", EXAMPLES, ids=repr)
every_activation = pytest.mark.parametrize("activation", [None, GELU()], ids=repr)


def fresh(norm, activation):
    torch.manual_seed(0)
    unit = norm.make(8, activation)
    with torch.no_grad():
        initialise(unit, Initialisation())
    return unit


def maps():
    return 3 * torch.randn(6, 8, 7, 5, generator=torch.Generator().manual_seed(0)) + 2


@every_norm
@every_activation
@pytest.mark.parametrize("training", [True, False])
def test_is_its_centred_part_times_its_gain(norm, activation, training):
    unit = fresh(norm, activation).train(training)
    assert isinstance(unit, NormUnit)
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.uniform_(0.5, 1.5)
        centred, gain = unit.centred(maps()), unit.gain()
        assert centred.shape == maps().shape
        assert gain is None or gain.shape == (8, 1, 1)
        torch.testing.assert_close(unit(maps()), centred if gain is None else centred * gain)


@every_norm
def test_starts_by_centring_and_scaling_to_one(norm):
    with torch.no_grad():
        out = fresh(norm, None).train()(maps())
    assert out.mean().item() == pytest.approx(0, abs=1e-3)
    assert out.var(unbiased=False).item() == pytest.approx(1, abs=2e-3)


@every_norm
def test_a_larger_input_gives_the_same_output_in_training(norm):
    with torch.no_grad():
        unit = fresh(norm, None).train()
        torch.testing.assert_close(unit(10 * maps()), unit(maps()), atol=1e-3, rtol=1e-3)


@every_norm
@every_activation
def test_its_parameters_are_a_norms(norm, activation):
    assert {owned.role for owned in roles(fresh(norm, activation)).values()} <= {"norm", "proxy"}


@every_norm
def test_activation_comes_behind(norm):
    bare, whole = fresh(norm, None).train(), fresh(norm, GELU()).train()
    if whole.gain() is not None:
        pytest.skip("its gain belongs to norm and activation together")
    with torch.no_grad():
        torch.testing.assert_close(whole(maps()), torch.nn.functional.gelu(bare(maps())))


def test_a_gain_multiplies_what_is_centred():
    class Doubled(NormUnit):
        def centred(self, x):
            return x - 1

        def gain(self):
            return torch.full((8, 1, 1), 2.0)

    torch.testing.assert_close(Doubled()(maps()), 2 * (maps() - 1))
