import pytest
import torch
import torch.nn.functional as F

from paretina.model.activations.rprelu import RPReLU
from paretina.model.blocks.bimlp import BiMlp, BinaryChannels, BinaryPlaces, MeanOfPools, ShiftedUnit, fitted
from paretina.model.blocks.wave import waves
from paretina.model.blueprint import any_kit
from paretina.model.quantisers.binary import Binary, signed_weight, signs
from paretina.model.rounding import bits_of

KIT = any_kit(activation=RPReLU(), quantiser=Binary(float_ends=True))


def settled(module):
    """In evaluation, with parameters and statistics that all count."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5)
        for name, buffer in module.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return module.eval()


def channels(*values):
    return torch.tensor(values).view(1, -1, 1, 1)


def test_shortcuts_repeat_channels_or_take_means_of_neighbours():
    assert fitted(channels(1.0, 2.0), 4).flatten().tolist() == [1, 2, 1, 2]
    assert fitted(channels(1.0, 3.0, 5.0, 9.0), 2).flatten().tolist() == [2, 7]
    x = torch.randn(2, 8, 3, 3)
    assert fitted(x, 8) is x
    torch.testing.assert_close(fitted(x, 2), sum(x[:, i::4] for i in range(4)) / 4)
    torch.testing.assert_close(fitted(fitted(x, 24).unflatten(1, (3, 8)).mean(1), 8), x)


def test_a_unit_by_its_formula():
    unit, x = settled(ShiftedUnit(4, 8, KIT)), torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        shifted = x + unit.shift.shift.view(1, 4, 1, 1)
        binary = F.conv2d(signs(shifted), signed_weight(unit.unit.conv.weight))
        y = unit.norm(binary) + shifted.repeat(1, 2, 1, 1)
        act = unit.activation
        y = y + act.before.view(1, 8, 1, 1)
        y = torch.where(y > 0, y, y * act.slope.view(1, 8, 1, 1)) + act.after.view(1, 8, 1, 1)
        torch.testing.assert_close(unit(x), y)


def test_places_are_the_sum_of_their_branches():
    module, x = settled(BinaryPlaces(8, 3, KIT)), torch.randn(2, 8, 5, 6)
    with torch.no_grad():
        each = [
            module.rows(waves(module.row_amplitude(x), module.row_phase(x))),
            module.columns(waves(module.column_amplitude(x), module.column_phase(x))),
            module.channel(x),
        ]
        shares = module.gates((sum(each) + x).mean((2, 3), keepdim=True)).view(2, 8, 3).softmax(2)
        mixed = sum(branch * shares[:, :, i, None, None] for i, branch in enumerate(each))
        torch.testing.assert_close(module(x), module.project(mixed + x))


def test_channels_start_as_the_mlp_alone():
    torch.manual_seed(0)
    module, x = BinaryChannels(8, 16, 3, KIT), torch.randn(4, 8, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(module(x), module.reduce(module.expand(x)))
        module.shares.copy_(torch.tensor([0.25, 0.5]))
        branches = module.rows(x), module.columns(x), module.reduce(module.expand(x))
        wanted = 0.25 * branches[0] + 0.5 * branches[1] + 0.25 * branches[2]
        torch.testing.assert_close(module(x), wanted)


def test_all_layers_of_the_branches_are_binary_and_what_adapts_is_kept():
    block = BiMlp().make(4, 8, 2, KIT)
    found = {each.name: str(each) for each in bits_of(block)}
    assert found.pop("adapt.conv") == "float"
    assert set(found.values()) == {"1w1a"}
    assert len(found) == 14
    eight = BiMlp().make(4, 8, 2, any_kit(activation=RPReLU(), quantiser=Binary()))
    assert str(bits_of(eight)[0]) == "8w"
    assert bits_of(BiMlp().make(4, 8, 2, any_kit())) == ()


def test_pools_by_hand():
    x = torch.arange(6.0).view(1, 1, 1, 6)
    # sides 2 and 3 begin at the pixel, a side of 5 one before it; a side of 1 reads every second
    for sides, wanted in (((1,), [0, 2, 4]), ((2,), [1, 3, 5]), ((3,), [2, 4, 5]), ((5,), [3, 5, 5]), ((1, 3), [1, 3, 4.5])):
        assert MeanOfPools(sides, 2)(x).flatten().tolist() == wanted
    negative = -torch.ones(1, 1, 5, 5)
    assert torch.equal(MeanOfPools((2, 3, 5, 7), 2)(negative), -torch.ones(1, 1, 3, 3))  # edges count for nothing


def test_widths_that_gates_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"BiMlp needs a width that is a multiple of 4.*got 10"):
        BiMlp().make(8, 10, 1, any_kit())
    with pytest.raises(ValueError, match="odd kernel"):
        BiMlp(kernel=4)
