"""The unit of MobileNetV1."""

import pytest
import torch
import torch.nn.functional as F

from paretina.measure.cost import params_of
from paretina.model.blocks.separable import Separable
from paretina.model.blueprint import any_kit
from paretina.model.norms.batch import BatchNorm


def made(width_in, width_out, stride=1, kernel=3):
    torch.manual_seed(0)
    return Separable(kernel=kernel).make(width_in, width_out, stride, any_kit(norm=BatchNorm(eps=0.0)))


def test_by_hand():
    # one channel of ones, kernel of ones: 4 neighbours count in a corner, 6 at an edge, 9 inside; then times 2 and -2
    block = made(1, 2).eval()
    with torch.no_grad():
        block.depthwise.conv.weight.fill_(1.0)
        block.pointwise.conv.weight.copy_(torch.tensor([2.0, -2.0]).view(2, 1, 1, 1))
        out = block(torch.ones(1, 1, 3, 3))
    assert out[0, 0].tolist() == [[8, 12, 8], [12, 18, 12], [8, 12, 8]]
    assert not out[0, 1].any()  # an activation ends the block


@pytest.mark.parametrize("stride", [1, 2])
def test_convolves_each_channel_alone_and_then_mixes_them(stride):
    block = made(4, 6, stride, kernel=5).eval()
    x = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        kernels = block.depthwise.conv.weight
        alone = [F.conv2d(x[:, i : i + 1], kernels[i : i + 1], stride=stride, padding=2) for i in range(4)]
        mixed = torch.einsum("oi,bihw->bohw", block.pointwise.conv.weight[:, :, 0, 0], torch.cat(alone, 1).relu())
        torch.testing.assert_close(block(x), mixed.relu())


def test_has_the_parameters_of_the_formula():
    assert params_of(made(32, 64)) == 9 * 32 + 2 * 32 + 32 * 64 + 2 * 64


@pytest.mark.parametrize("kernel", [-1, 0, 4])
def test_an_even_kernel_is_refused(kernel):
    with pytest.raises(ValueError, match=f"Separable keeps the image size only with an odd kernel, got kernel={kernel}"):
        Separable(kernel=kernel)
