"""ConvNeXt's block against the sum that the paper writes, its memory format, and its inference form."""

import copy

import pytest
import torch
import torch.nn.functional as F

from paretina.model.activations.pointwise import GELU
from paretina.model.blocks.convnext import ConvNeXt, ConvNeXtBody, Downsample
from paretina.model.blueprint import any_kit
from paretina.model.layers import Residual
from paretina.torch_internals import TorchDispatchMode


def made(block, width_in=6, width_out=6, stride=1):
    """A block all of whose parameters count."""
    torch.manual_seed(0)
    module = block.make(width_in, width_out, stride, any_kit(activation=GELU())).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5)
    return module


def maps(width=6, side=8):
    return torch.randn(2, width, side, side, generator=torch.Generator().manual_seed(1))


def slow(body, x):
    """The branch of the block, with 1x1 convolutions and a norm written out."""
    x = F.conv2d(x, body.spatial.weight, body.spatial.bias, padding=body.spatial.weight.shape[-1] // 2, groups=x.shape[1])
    x = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    x = x * body.norm.weight.view(-1, 1, 1) + body.norm.bias.view(-1, 1, 1)
    x = F.gelu(F.conv2d(x, body.expand.weight[:, :, None, None], body.expand.bias))
    return F.conv2d(x, body.project.weight[:, :, None, None], body.project.bias) * body.scale.weight.view(-1, 1, 1)


@pytest.mark.parametrize("block", [ConvNeXt(), ConvNeXt(expand=2, kernel=3)], ids=repr)
def test_is_the_sum_of_the_map_and_its_branch(block):
    module, x = made(block), maps()
    with torch.no_grad():
        torch.testing.assert_close(module(x), x + slow(module.body, x), atol=1e-4, rtol=1e-4)


def test_first_use_is_a_norm_and_patches_before_a_block():
    module, x = made(ConvNeXt(), 6, 10, 2), maps()
    downsample, block = module
    assert isinstance(downsample, Downsample)
    assert isinstance(block, Residual)
    with torch.no_grad():
        normed = F.layer_norm(x.permute(0, 2, 3, 1), (6,), downsample.norm.weight, downsample.norm.bias, 1e-6)
        patches = F.conv2d(normed.permute(0, 3, 1, 2), downsample.conv.weight, downsample.conv.bias, stride=2)
        torch.testing.assert_close(module(x), block(patches), atol=1e-4, rtol=1e-4)


def test_a_rest_at_the_edge_is_not_dropped():
    module, x = made(ConvNeXt(), 6, 10, 2), maps(side=9)
    changed = x.clone()
    changed[:, 0, 8] += 1.0
    with torch.no_grad():
        assert not torch.equal(module(x), module(changed))


def test_starts_nearly_as_the_identity():
    block = ConvNeXt(layer_scale=0.25).make(6, 6, 1, any_kit())
    with torch.no_grad():
        block.body.scale.reset_parameters()
    assert block.last_norm is block.body.scale
    assert block.body.scale.weight.tolist() == [0.25] * 6


class Copies(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("clone", "copy_", "_to_copy", "contiguous"):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("stride", [1, 2])
def test_copies_nothing_on_channels_last_maps(stride):
    block, x = made(ConvNeXt(), stride=stride), maps()
    with torch.no_grad(), Copies() as copies:
        out = block(x.to(memory_format=torch.channels_last))
    assert len(copies.found) == 1  # that of the input above
    assert out.is_contiguous(memory_format=torch.channels_last)


def bodies(module):
    return [child for child in module.modules() if isinstance(child, ConvNeXtBody)]


@pytest.mark.parametrize("stride", [1, 2])
def test_folded_gives_the_same(stride):
    block = made(ConvNeXt(), 6, 10 if stride == 2 else 6, stride)
    folded = copy.deepcopy(block)
    for body in bodies(folded):
        body.fold()
    with torch.no_grad():
        wanted = block(maps())
        assert (folded(maps()) - wanted).abs().max() < 1e-5 * wanted.abs().max()
    # norm (2 * width) and layer scale (width) are gone
    fewer = 3 * wanted.shape[1]
    assert sum(p.numel() for p in folded.parameters()) == sum(p.numel() for p in block.parameters()) - fewer
    assert folded.state_dict().keys() < block.state_dict().keys()


def test_folding_twice_is_folding_once():
    body = made(ConvNeXt()).body
    body.fold()
    once = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    body.fold()
    assert all(torch.equal(once[name], tensor) for name, tensor in body.state_dict().items())


def test_folded_products_are_rounded_once():
    body = made(ConvNeXt()).body.half()
    wanted = (body.expand.weight.double() * body.norm.weight.double()).half()
    body.fold()
    assert torch.equal(body.expand.weight, wanted)


@pytest.mark.parametrize(
    ("fields", "message"), [({"kernel": 4}, "only with an odd kernel, got kernel=4"), ({"expand": 0}, "expand >= 1")]
)
def test_what_has_no_meaning_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ConvNeXt(**fields)
