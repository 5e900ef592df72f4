"""The switches between ResNet's block and ConvNeXt's: both ends against the blocks themselves."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.model.activations.pointwise import GELU
from paretina.model.blocks.convnext import ConvNeXt, LayerScale
from paretina.model.blocks.modern import ModernBottleneck
from paretina.model.blocks.resnet import Bottleneck
from paretina.model.blueprint import NormUnit, any_kit
from paretina.model.layers import Convolution
from paretina.model.norms.channel import ChannelNorm

SHAPES = [(16, 16, 1), (8, 16, 1), (16, 16, 2), (8, 16, 2)]
FINISHED = ModernBottleneck(
    expand=4.0, kernel=7, group_width=1, spatial="first", activations="one", norms="one", downsampling="separate"
)


def randomised(module):
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.3, 1.2)
                tensor *= torch.randn_like(tensor).sign() if tensor.dim() > 1 else 1.0
    return module.eval()


def maps(width):
    return torch.randn(2, width, 8, 8, generator=torch.Generator().manual_seed(0))


def close(one, other):
    return (one - other).abs().max() < 1e-5 * other.abs().max()


@pytest.mark.parametrize(("width_in", "width_out", "stride"), SHAPES)
@pytest.mark.parametrize("fields", [{}, {"shortcut": "pool"}, {"group_width": 2}], ids=repr)
def test_without_a_switch_it_is_the_bottleneck(width_in, width_out, stride, fields):
    torch.manual_seed(0)
    wanted = randomised(Bottleneck(**fields).make(width_in, width_out, stride, any_kit()))
    block = ModernBottleneck(**fields).make(width_in, width_out, stride, any_kit()).eval()
    block.load_state_dict(wanted.state_dict())
    with torch.no_grad():
        assert close(block(maps(width_in)), wanted(maps(width_in)))


@pytest.mark.parametrize(("width_in", "width_out", "stride"), SHAPES)
def test_with_all_switches_it_is_convnext(width_in, width_out, stride):
    torch.manual_seed(0)
    kit = any_kit(norm=ChannelNorm(eps=1e-6), activation=GELU())
    wanted = randomised(ConvNeXt().make(width_in, width_out, stride, kit))
    block = FINISHED.make(width_in, width_out, stride, kit).eval()
    state = wanted.state_dict()
    for name in list(state):
        if name.endswith("spatial.bias"):  # what the finished block alone does not have
            state.pop(name).zero_()
    # both own their tensors in the order of the forward pass
    pairs = zip(block.state_dict().items(), state.values(), strict=True)
    block.load_state_dict({name: tensor.view(own.shape) for (name, own), tensor in pairs})
    with torch.no_grad():
        assert close(block(maps(width_in)), wanted(maps(width_in)))


def kinds(body):
    """What stands in a branch, in order: convolutions by their kernels, norms, activations, layer scale."""
    names = []
    for module in body.modules():
        if isinstance(module, Convolution):
            names.append(f"{module.kernel_size[0]}x{module.kernel_size[0]}" + (" bias" if module.bias is not None else ""))
        elif isinstance(module, NormUnit):
            names.append("norm")
        elif isinstance(module, nn.ReLU):
            names.append("act")
        elif isinstance(module, LayerScale):
            names.append("scale")
    return names


PLAIN = ModernBottleneck(group_width=1)


@pytest.mark.parametrize(
    ("block", "wanted", "after"),
    [
        (PLAIN, ["1x1", "norm", "act", "3x3", "norm", "act", "1x1", "norm"], True),
        (replace(PLAIN, spatial="first"), ["3x3", "norm", "act", "1x1", "norm", "act", "1x1", "norm"], True),
        (replace(PLAIN, activations="one"), ["1x1", "norm", "3x3", "norm", "act", "1x1", "norm"], False),
        (
            replace(PLAIN, norms="one"),
            ["1x1 bias", "act", "3x3", "norm", "act", "1x1 bias", "scale"],
            True,
        ),
        (
            replace(PLAIN, spatial="first", activations="one", norms="one"),
            ["3x3", "norm", "1x1 bias", "act", "1x1 bias", "scale"],
            False,
        ),
    ],
    ids=repr,
)
def test_each_switch_moves_what_it_names(block, wanted, after):
    residual = block.make(16, 16, 1, any_kit())
    assert kinds(residual.body) == wanted
    assert (residual.after is not None) == after


def test_inverted_block_downsamples_where_the_paper_does():
    def spatial(block):
        (conv,) = (m for m in block.make(8, 16, 2, any_kit()).body.modules() if isinstance(m, Convolution) and m.groups > 1)
        return conv.in_channels, conv.stride

    middle = ModernBottleneck(expand=4.0, group_width=1)
    assert spatial(middle) == (64, (2, 2))  # behind the expansion of the large map
    assert spatial(replace(middle, spatial="first")) == (8, (2, 2))


@pytest.mark.parametrize("switches", [{}, {"norms": "one"}])
def test_zeroing_its_last_norm_leaves_the_shortcut(switches):
    torch.manual_seed(0)
    block = randomised(ModernBottleneck(activations="one", **switches).make(16, 16, 1, any_kit()))
    with torch.no_grad():
        block.last_norm.weight.zero_()
        if not switches:
            block.last_norm.bias.zero_()
        assert torch.equal(block(maps(16)), maps(16))


@pytest.mark.parametrize(
    ("fields", "width", "message"),
    [
        ({"kernel": 2}, 16, "only with an odd kernel, got kernel=2"),
        ({"expand": 0.0}, 16, "needs expand > 0 and group_width >= 0"),
        ({"group_width": -1}, 16, "needs expand > 0 and group_width >= 0"),
        ({}, 18, r"ModernBottleneck\(expand=0.25\) needs a width that gives an integer hidden width, got 18"),
        ({"group_width": 3}, 16, "whose width is a multiple of group_width=3, got 4"),
    ],
)
def test_what_cannot_be_made_is_refused(fields, width, message):
    with pytest.raises(ValueError, match=message):
        ModernBottleneck(**fields).make(width, width, 1, any_kit())
