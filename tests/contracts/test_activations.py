"""What every activation must satisfy; `test_networks.py` has what holds for all parts of a network."""

import pytest
import torch

from paretina.model.layers import overwriting
from paretina.spec import modules_in

EXAMPLES = [example for module in modules_in("paretina.model.activations") for example in getattr(module, "EXAMPLES", ())]
every_activation = pytest.mark.parametrize("activation", EXAMPLES, ids=repr)


def maps():
    return 4 * torch.randn(3, 8, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@every_activation
def test_treats_each_number_of_a_channel_alone(activation):
    module = activation.make(8).double()
    with torch.no_grad():
        torch.testing.assert_close(module(maps())[1:2, :, 2:3], module(maps()[1:2, :, 2:3]))


@every_activation
def test_is_the_same_with_and_without_gradients(activation):
    module = activation.make(8).double()
    with torch.no_grad():
        without = module(maps())
    torch.testing.assert_close(module(maps()), without)


@every_activation
def test_gradient_is_the_slope(activation):
    module = activation.make(8).double()
    assert torch.autograd.gradcheck(module, maps()[:1].requires_grad_())


@every_activation
@pytest.mark.parametrize("gradients", [True, False])
def test_leaves_its_input_as_it_is(activation, gradients):
    # a block that begins with it has a shortcut from the same map
    module, given = activation.make(8).double(), maps()
    with torch.set_grad_enabled(gradients):
        module(given)
    assert torch.equal(given, maps())


@every_activation
def test_gives_the_same_where_it_may_write_over_its_input(activation):
    with torch.no_grad():
        torch.testing.assert_close(overwriting(activation.make(8).double())(maps()), activation.make(8).double()(maps()))


@every_activation
def test_bends(activation):
    module = activation.make(8).double()
    with torch.no_grad():
        assert not torch.allclose(module(maps()) + module(-maps()), 2 * module(torch.zeros_like(maps())))


@every_activation
def test_large_numbers_stay_finite(activation):
    with torch.no_grad():
        assert activation.make(8)(torch.tensor([-1e4, 1e4]).expand(1, 8, 1, 2).clone()).isfinite().all()
