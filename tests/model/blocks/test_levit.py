"""Attention with biases against slow loops, and what belongs to the size of the map."""

from dataclasses import replace

import pytest
import torch

from paretina.model.blocks.levit import BiasedAttention, Levit
from paretina.model.blueprint import any_kit
from paretina.model.families.levit import levit
from paretina.model.layers import Residual


def attention(size=(3, 4), stride=1, apart=False):
    torch.manual_seed(0)
    made = BiasedAttention(6, 5, 2, 3, 2, replace(any_kit(), size=size), stride=stride, apart=apart).eval()
    torch.nn.init.normal_(made.table)
    return made


def slow(made, x):
    """Place by place, head by head."""
    rows, columns = made.size
    parts = made.project_in(x)
    asked = made.query(x) if made.query is not None else None
    out = torch.empty(len(x), made.heads * made.value, *made.size_out)
    for image in range(len(x)):
        for head in range(made.heads):
            own = parts[image].chunk(made.heads)[head]
            if asked is None:
                queries, own = own[: made.key], own[made.key :]
            else:
                queries = asked[image].chunk(made.heads)[head]
            keys, values = own[: made.key], own[made.key :]
            for i in range(made.size_out[0]):
                for j in range(made.size_out[1]):
                    # without queries of its own, the stride is 1 and the query's place is (i, j) in both maps
                    scores = torch.empty(rows, columns)
                    for p in range(rows):
                        for q in range(columns):
                            distance = abs(made.stride * i - p) * columns + abs(made.stride * j - q)
                            scores[p, q] = queries[:, i, j] @ keys[:, p, q] / made.key**0.5 + made.table[head, distance]
                    shares = scores.flatten().softmax(0).view(rows, columns)
                    out[image, head * made.value : (head + 1) * made.value, i, j] = (values * shares).sum((1, 2))
    return made.project_out(made.activation(out))


@pytest.mark.parametrize(("stride", "apart"), [(1, False), (1, True), (2, True)])
def test_equals_the_slow_loops(stride, apart):
    made, x = attention(stride=stride, apart=apart), torch.randn(2, 6, 3, 4)
    with torch.no_grad():
        torch.testing.assert_close(made(x), slow(made, x))


@pytest.mark.parametrize("stride", [1, 2])
def test_inference_form_gives_the_same_and_has_no_table(stride):
    made, x = attention(stride=stride, apart=stride > 1), torch.randn(2, 6, 3, 4)
    with torch.no_grad():
        before = made(x)
        made.fold()
        assert torch.equal(made(x), before)
    assert "table" not in dict(made.named_parameters())
    assert made.gathered.shape == (2, made.size_out[0] * made.size_out[1], 12)


def test_refuses_a_map_of_another_size():
    with pytest.raises(ValueError, match=r"maps of 3 x 4 only, got 4 x 3; give .* 3 x 4 pixels, .*resolution=SIDE"):
        attention()(torch.randn(1, 6, 4, 3))


def test_tables_follow_the_size_of_the_map():
    network = levit(16, (128, 256, 384), (4, 6, 8), (1, 1, 1))
    tables = {
        resolution: [
            m.table.shape for m in replace(network, resolution=resolution).build("meta").modules() if hasattr(m, "table")
        ]
        for resolution in (224, 192)
    }
    # the second and the fourth shrink the map: their keys are still on the larger one
    assert tables[224] == [(4, 196), (8, 196), (6, 49), (16, 49), (8, 16)]
    assert tables[192] == [(4, 144), (8, 144), (6, 36), (16, 36), (8, 9)]


def test_only_a_block_that_keeps_the_shape_has_a_shortcut_around_its_attention():
    block, kit = Levit(key=4, heads=3), any_kit(size=6)
    assert isinstance(block.make(16, 16, 1, kit).attention, Residual)
    for width_out, stride in ((16, 2), (24, 1)):
        shrinking = block.make(16, width_out, stride, kit).attention
        assert isinstance(shrinking, BiasedAttention)
        assert (shrinking.heads, shrinking.value) == (4, 16)


def test_biases_start_at_zero():
    network = replace(levit(4, (8, 16, 16), (1, 1, 1), (1, 1, 1)), resolution=32, classes=2).build()
    assert not any(m.table.any() for m in network.modules() if isinstance(m, BiasedAttention))


def test_a_wider_block_has_more_heads_of_the_same_width():
    block = Levit(key=16, heads=4)
    assert block.widened(lambda width: round(1.5 * width)) == replace(block, heads=6)
    assert block.widened(lambda width: 1) == replace(block, heads=1)


def test_a_block_has_heads():
    with pytest.raises(ValueError, match="of at least 1, got Levit"):
        Levit(key=16, heads=0)
