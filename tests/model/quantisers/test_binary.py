from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paretina.measure.cost import cost
from paretina.model.activations.pointwise import ReLU
from paretina.model.activations.rprelu import RPReLU
from paretina.model.blocks.encoder import Encoder
from paretina.model.blocks.resnet import Basic
from paretina.model.blueprint import Stage, any_kit
from paretina.model.fold import fold
from paretina.model.layers import Convolution
from paretina.model.quantisers.binary import Binary, signed_weight, signs, slope, thirds, weight_in_steps
from paretina.model.rounding import bits_of
from tiny import tiny_blueprint

WEIGHT = torch.tensor([[-1.0, -0.2, 0.1, 0.7], [0.0, 0.0, -4.0, 0.0]])
POINTS = [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]


def test_zero_is_above():
    found = signs(torch.tensor([-2.0, -1e-30, -0.0, 0.0, 1e-30, 3.0]))
    assert found.tolist() == [-1, -1, 1, 1, 1, 1]
    assert signs(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_what_the_released_code_computes_has_three_values():
    x = torch.tensor([-3.0, -0.6, -0.5, -0.4, 0.0, 0.4, 0.5, 0.6, 2.0])
    assert thirds(x).tolist() == [-1, -1, 0, 0, 0, 0, 0, 1, 1]
    assert Binary(ternary=True).make("inner", (1, 1)).input(x).tolist() == thirds(x).tolist()
    assert Binary().make("inner", (1, 1)).input(x).tolist() == [-1, -1, -1, -1, 1, 1, 1, 1, 1]
    assert Binary(ternary=True).bits_at("inner") == (1, 2)


@pytest.mark.parametrize(
    ("surrogate", "wanted"),
    [
        ("quadratic", [0, 0, 1, 2, 1, 0, 0]),
        ("clipped", [0, 1, 1, 1, 1, 1, 0]),
        # power 2: |x|^(-1/2) / 2, and up to 0.1 the slope of the line to zero, 0.1^(-1/2)
        ("reste", [0.408248, 0.5, 0.707107, 3.162278, 0.707107, 0.5, 0.408248]),
    ],
)
@pytest.mark.parametrize("ternary", [False, True])
def test_gradients_by_hand(surrogate, wanted, ternary):
    x = torch.tensor(POINTS, requires_grad=True)
    (Binary(gradient=surrogate, power=2.0, ternary=ternary).make("inner", (1, 1)).input(x) * 3).sum().backward()
    assert x.grad.tolist() == pytest.approx([3 * each for each in wanted], abs=1e-5)


def test_the_gradient_of_a_power_by_hand():
    x = torch.tensor([0.0, 0.05, 0.1, 0.125, 1.0, 1.5, 1.51])
    # power 3: x^(-2/3) / 3, so 4 / 3 at 1/8 and 1/3 at 1
    assert slope(x, "reste", 3.0).tolist() == pytest.approx([4.641589] * 3 + [4 / 3, 1 / 3, 1.5 ** (-2 / 3) / 3, 0], abs=1e-5)
    assert slope(x, "reste", 1.0).tolist() == [1, 1, 1, 1, 1, 1, 0]
    with pytest.raises(ValueError, match=r"Binary.power must be at least 1, got 0.5"):
        Binary(power=0.5)


def test_weights_are_signs_times_the_mean_of_their_row():
    assert signed_weight(WEIGHT).tolist() == [[-0.5, -0.5, 0.5, 0.5], [1, 1, -1, 1]]
    scaled = WEIGHT * torch.tensor([[3.0], [1.0]])
    assert torch.equal(signed_weight(scaled)[1], signed_weight(WEIGHT)[1])
    torch.testing.assert_close(signed_weight(signed_weight(WEIGHT)), signed_weight(WEIGHT))
    assert signed_weight(torch.zeros(2, 3)).abs().max() == 0
    # a depthwise weight has one scale for a kernel, so it stays one of signs
    depthwise = torch.randn(3, 1, 1, 7, generator=torch.Generator().manual_seed(0))
    assert all(len(row.abs().unique()) == 1 for row in signed_weight(depthwise).flatten(1))


def test_the_gradient_of_a_weight_passes_within_one():
    weight = WEIGHT.clone().requires_grad_()
    (Binary().make("inner", (2, 4)).weight(weight) * torch.arange(8.0).view(2, 4)).sum().backward()
    assert weight.grad.tolist() == [[0, 1, 2, 3], [4, 5, 0, 7]]


def test_a_layer_counts_bits_that_differ():
    """dot(a, w) = n - 2 popcount(a xor w), so what is computed here is what XNOR and popcount compute."""
    torch.manual_seed(0)
    with torch.no_grad():
        layer = any_kit(quantiser=Binary()).conv(64, 5, 3)
        nn.init.normal_(layer.weight)
        x = torch.randn(2, 64, 6, 6)
        # with the padding, which is a bit like all others
        patches = F.unfold(F.pad(x, (1, 1, 1, 1), value=1.0), 3).transpose(1, 2) >= 0  # image place bit
        kernels = layer.weight.flatten(1) >= 0
        differing = (patches[:, :, None] ^ kernels).sum(3)
        counted = (64 * 9 - 2 * differing).float() * layer.weight.abs().mean((1, 2, 3))
        torch.testing.assert_close(layer(x), counted.transpose(1, 2).unflatten(2, (6, 6)))


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(("stride", "same"), [(1, False), (2, False), (2, True)])
@pytest.mark.parametrize("kernel", [3, (1, 5), (3, 1)])
def test_edges_are_ones_or_zeros(size, stride, same, kernel):
    conv = Convolution(1, 1, kernel, stride, 1, bias=False, same=same)
    plain = conv(torch.ones(1, 1, size, size))
    for edge in ("one", "zero"):
        conv.rounding = Binary(edge=edge).make("inner", tuple(conv.weight.shape))
        nn.init.ones_(conv.weight)
        out = conv(torch.ones(1, 1, size, size))
        assert out.shape == plain.shape
        assert out.amax() == conv.weight.numel()
        assert (out.amin() == out.amax()) == (edge == "one")


def test_ends_have_8_bits_or_are_floats():
    blueprint = tiny_blueprint(Stage(block=Basic(), depth=1, width=8, stride=1), activation=RPReLU())
    words = {
        Binary(): ["8w", "1w1a", "1w1a", "8w"],
        Binary(float_ends=True): ["float", "1w1a", "1w1a", "float"],
        Binary(ternary=True): ["8w", "1w2a", "1w2a", "8w"],
        Binary(float_weights=True): ["8w", "1a", "1a", "8w"],
    }
    for quantiser, wanted in words.items():
        network = replace(blueprint, quantiser=quantiser).build()
        assert [str(each) for each in bits_of(network)] == wanted
        images = torch.rand(4, 3, 16, 16)
        network(images)  # statistics: before, many sums of signs are zero, and rounding decides to which side they fall
        torch.testing.assert_close(fold(network.eval())(images), network(images), atol=1e-3, rtol=1e-3)
    # with weights of floats nothing is counted in bits
    found = cost(replace(blueprint, quantiser=Binary(float_weights=True)))
    assert (found.bit_operations, found.float_macs) == (0, found.macs)


def test_rows_of_kept_layers_have_steps_of_their_own():
    weight = torch.tensor([[12.7, -0.06, 0.04], [0.0, 0.0, 0.0], [-1.27, 0.004, 0.006]])
    wanted = [12.7, -0.1, 0.0, 0.0, 0.0, 0.0, -1.27, 0.0, 0.01]
    assert weight_in_steps(weight, 8).flatten().tolist() == pytest.approx(wanted, abs=1e-6)
    torch.testing.assert_close(weight_in_steps(weight_in_steps(weight, 8), 8), weight_in_steps(weight, 8))


def test_what_cannot_be_is_refused():
    rectified = tiny_blueprint(Stage(block=Basic(), depth=1, width=8, stride=1), activation=ReLU())
    with pytest.raises(ValueError, match=r"ReLU, the activation of this network, leaves nothing below zero.*activation=RPReLU"):
        replace(rectified, quantiser=Binary()).build("meta")
    assert bits_of(replace(rectified, quantiser=Binary(ternary=True)).build("meta"))
    with pytest.raises(ValueError, match="Binary has 1 bit for weights and 1 for inputs, got weights=1, activations=4"):
        Binary(activations=4)
    tokens = tiny_blueprint(Stage(block=Encoder(head_width=4), depth=1, width=8, stride=1), activation=RPReLU())
    with pytest.raises(ValueError, match="RPReLU learns numbers for each channel of a map, but Encoder gives its activation"):
        tokens.build("meta")
