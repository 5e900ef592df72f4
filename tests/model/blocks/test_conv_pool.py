import torch
from torch import nn

from paretina.model.blocks.conv_pool import ConvPool
from paretina.model.blueprint import any_kit


def test_pools_between_the_convolution_and_its_norm():
    module = ConvPool().make(4, 6, 2, any_kit()).eval()
    with torch.no_grad():
        module.norm.weight.uniform_(-1.0, 1.0)
        x = torch.rand(2, 4, 12, 12)
        wanted = module.norm.activation(nn.functional.batch_norm(
            nn.functional.max_pool2d(nn.functional.conv2d(x, module.conv.weight, padding=1), 2),
            module.norm.running_mean, module.norm.running_var, module.norm.weight, module.norm.bias,
        ))  # fmt: skip
        assert torch.equal(module(x), wanted)


def test_the_last_pixel_of_an_odd_side_counts():
    module = ConvPool().make(1, 1, 2, any_kit()).eval()
    with torch.no_grad():
        module.conv.weight.zero_()[:, :, 1, 1] = 1.0
        x = torch.zeros(1, 1, 5, 5)
        x[..., 4, 4] = 1.0
        out = module(x)
    assert out.shape == (1, 1, 3, 3)
    assert out[0, 0, 2, 2] > 0.99
    assert out.sum() == out[0, 0, 2, 2]


def test_without_a_stride_it_is_a_plain_unit():
    module = ConvPool().make(4, 6, 1, any_kit())
    assert not [each for each in module.modules() if isinstance(each, nn.MaxPool2d)]
    assert module(torch.rand(2, 4, 5, 5)).shape == (2, 6, 5, 5)
