import pytest
import torch

from paretina.model.quantisers.dorefa import Dorefa, rounded_weight_by_mean, rounded_weight_by_row
from paretina.model.rounding import levels

WEIGHT = torch.tensor([-1.0, -0.2, 0.1, 0.6])


def test_weights_of_two_bits_by_hand():
    scale = 2 * WEIGHT.tanh().abs().mean()
    assert scale.item() == pytest.approx(0.797844, abs=1e-6)
    found = rounded_weight_by_mean(WEIGHT, 2)
    assert found.tolist() == pytest.approx([-0.398922, -0.132974, 0.132974, 0.398922], abs=1e-6)
    assert (found / scale).tolist() == pytest.approx([-1 / 2, -1 / 6, 1 / 6, 1 / 2], abs=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_there_are_as_many_levels_as_the_bits_have_and_zero_is_none(bits):
    found = rounded_weight_by_mean(torch.linspace(-3, 3, 4001), bits).unique()
    assert len(found) == 2**bits
    assert (found != 0).all()


def test_a_level_stays_on_its_level():
    x = torch.linspace(-0.5, 1.5, 301)
    for bits in (1, 2, 3, 4, 8):
        assert torch.equal(levels(levels(x, bits), bits), levels(x, bits))


def test_inputs_are_cut_at_ten_and_rounded_on_the_way():
    rounding = Dorefa(activations=4).make("inner", (4, 4, 3, 3))
    x = torch.tensor([-1.0, 0.0, 0.2, 0.4, 5.0, 10.0, 30.0])
    assert (rounding.input(x) * 1.5).tolist() == pytest.approx([0, 0, 0, 1, 8, 15, 15], abs=1e-5)
    assert torch.equal(rounding.input(rounding.input(x)), rounding.input(x))


def test_gradients_pass_inside_the_range_and_stop_outside():
    x = torch.tensor([-1.0, 0.3, 9.0, 11.0], requires_grad=True)
    Dorefa().make("inner", (1,)).input(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]
    weight = WEIGHT.clone().requires_grad_()
    rounded_weight_by_mean(weight, 2).sum().backward()
    inside = (WEIGHT.tanh().abs() < WEIGHT.tanh().abs().mean()).float()
    torch.testing.assert_close(weight.grad, inside * (1 - WEIGHT.tanh() ** 2))
    assert inside.tolist() == [0, 1, 1, 0]


def test_each_row_of_the_classifier_has_its_own_scale():
    weight = torch.randn(3, 40, generator=torch.Generator().manual_seed(0)) / 10
    found, bent = rounded_weight_by_row(weight, 8), weight.tanh()
    centred = bent - bent.mean(1, keepdim=True)
    assert (found - centred).abs().max() <= 1.001 * centred.abs().max() / 255
    assert found.abs().amax(1).tolist() == pytest.approx(centred.abs().amax(1).tolist())
    scaled = weight * torch.tensor([[1.0], [0.1], [1.0]])
    assert torch.equal(rounded_weight_by_row(scaled, 8)[[0, 2]], found[[0, 2]])


def test_an_empty_tensor_of_zeros_stays_finite():
    for rule in (rounded_weight_by_mean, rounded_weight_by_row):
        assert rule(torch.zeros(2, 3), 2).abs().max() < 1e-30


def test_bits_by_place():
    quantiser = Dorefa(weights=2, activations=4)
    assert [quantiser.bits_at(place) for place in ("first", "inner", "last")] == [(8, None), (2, 4), (8, None)]
    with pytest.raises(ValueError, match=r"Dorefa.weights must be 1 to 8 bits, got 9"):
        Dorefa(weights=9)
