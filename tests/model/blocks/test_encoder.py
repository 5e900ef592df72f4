"""The transformer block against torch's own attention, on tokens and on maps."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paretina.model.activations.pointwise import GELU
from paretina.model.blocks.encoder import Encoder
from paretina.model.blueprint import any_kit


def made(width=12, width_out=None, stride=1, **fields):
    torch.manual_seed(0)
    return Encoder(**fields).make(width, width_out or width, stride, any_kit(activation=GELU())).eval()


def test_attention_is_that_of_torch():
    block, x = made(head_width=4), torch.randn(2, 5, 12)
    own = block.attention.body
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    theirs.load_state_dict(
        {
            "in_proj_weight": own.project_in.weight,
            "in_proj_bias": own.project_in.bias,
            "out_proj.weight": own.project_out.weight,
            "out_proj.bias": own.project_out.bias,
        }
    )
    with torch.no_grad():
        normed = F.layer_norm(x, (12,), own.norm.weight, own.norm.bias, 1e-6)
        torch.testing.assert_close(own(x), theirs(normed, normed, normed, need_weights=False)[0])


def test_perceptron_sees_each_token_alone():
    block, x = made(head_width=4), torch.randn(2, 5, 12)
    norm, first, _, last = block.perceptron.body
    with torch.no_grad():
        wanted = x + last(F.gelu(first(norm(x))))
        torch.testing.assert_close(block.perceptron(x), wanted)
        torch.testing.assert_close(block.perceptron(x[:, 2:3]), wanted[:, 2:3])


def test_places_of_a_map_are_its_tokens():
    block, x = made(head_width=4), torch.randn(2, 12, 2, 3)
    with torch.no_grad():
        tokens = block(x.flatten(2).transpose(1, 2))
        assert block(x).shape == x.shape
        torch.testing.assert_close(block(x)[:, :, 1, 0], tokens[:, 3])


def test_starts_as_nothing_where_the_last_layers_are_zero():
    block, x = made(), torch.randn(2, 5, 12)
    with torch.no_grad():
        for residual in (block.attention, block.perceptron):
            assert isinstance(residual.last_norm, nn.Linear)
            residual.last_norm.weight.zero_()
            residual.last_norm.bias.zero_()
        assert torch.equal(block(x), x)


@pytest.mark.parametrize(("width", "heads"), [(192, 3), (200, 3), (20, 1)])
def test_there_are_as_many_heads_as_fit(width, heads):
    attention = made(width).attention.body
    assert attention.heads == heads
    assert attention.project_in.weight.shape == (3 * heads * 64, width)


def test_hidden_width_is_a_multiple():
    assert made(expand=3).perceptron.body[1].weight.shape == (36, 12)


def test_only_what_adapts_has_a_convolution():
    assert not [m for m in made().modules() if isinstance(m, nn.Conv2d)]
    assert [m.kernel_size for m in made(8, 12).modules() if isinstance(m, nn.Conv2d)] == [(1, 1)]
    assert [m.kernel_size for m in made(12, 12, stride=2).modules() if isinstance(m, nn.Conv2d)] == [(3, 3)]


def test_a_head_has_a_width():
    with pytest.raises(ValueError, match="of at least 1, got Encoder"):
        Encoder(head_width=0)
