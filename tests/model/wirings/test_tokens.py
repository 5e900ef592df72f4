"""Tokens and positions around blocks that do nothing, and positions for other sizes against timm's."""

from dataclasses import replace

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from paretina.model.blocks.encoder import Encoder
from paretina.model.blocks.resnet import Basic
from paretina.model.blueprint import Initialisation, any_kit
from paretina.model.build import initialise, materialise
from paretina.model.roles import roles
from paretina.model.wirings.tokens import Tokens


def made(size=(2, 3), width_in=8, width_out=8, stride=1, depth=2, idle=True, **fields):
    torch.manual_seed(0)
    kit = replace(any_kit(), size=size)
    with torch.device("meta"):
        run = Tokens(**fields).make(Encoder(head_width=4), depth, width_in, width_out, stride, kit).eval()
    materialise(run)
    with torch.no_grad():
        initialise(run, Initialisation())
        for block in run.blocks if idle else ():
            for residual in (block.attention, block.perceptron):
                residual.last_norm.weight.zero_()
                residual.last_norm.bias.zero_()
    return run


@pytest.mark.parametrize("distilled", [False, True])
def test_each_place_and_token_has_its_position(distilled):
    run, x = made(distilled=distilled), torch.randn(2, 8, 2, 3)
    with torch.no_grad():
        places, extras = run(x)
    first = 2 if distilled else 1
    assert run.positions.shape == (1, first + 6, 8)
    torch.testing.assert_close(places[:, :, 1, 2], x[:, :, 1, 2] + run.positions[:, first + 5])
    torch.testing.assert_close(extras["class_token"], (run.class_token[0] + run.positions[0, :1]).expand(2, -1))
    assert ("distillation_token" in extras) == distilled
    if distilled:
        torch.testing.assert_close(
            extras["distillation_token"], (run.distillation_token[0] + run.positions[0, 1:2]).expand(2, -1)
        )


def test_tokens_and_places_see_each_other():
    run, x = made(idle=False), torch.randn(1, 8, 2, 3)
    changed = x.clone()
    changed[:, 0, 0, 0] += 1.0
    with torch.no_grad():
        (places, extras), (others, other) = run(x), run(changed)
    assert not torch.allclose(extras["class_token"], other["class_token"])
    assert not torch.allclose(places[:, :, 1, 2], others[:, :, 1, 2])


@pytest.mark.parametrize("distilled", [False, True])
@pytest.mark.parametrize("size", [(6, 6), (3, 5), (2, 2)])
def test_positions_for_another_size_are_timms(size, distilled):
    run = made(size=(4, 4), distilled=distilled)
    first = 2 if distilled else 1
    with torch.no_grad():
        wanted = resample_abs_pos_embed(run.positions, list(size), num_prefix_tokens=first)
        torch.testing.assert_close(run.positions_for(size), wanted)
        assert run.positions_for((4, 4)) is run.positions
        places, _ = run(torch.zeros(1, 8, *size))
        torch.testing.assert_close(places.flatten(2).transpose(1, 2), wanted[:, first:])


def test_positions_keep_their_precision():
    assert made(size=(4, 4)).bfloat16().positions_for((5, 5)).dtype == torch.bfloat16


@pytest.mark.parametrize(("width_in", "stride"), [(8, 2), (6, 1), (6, 2)])
def test_adapts_the_map_before_it_becomes_tokens(width_in, stride):
    run = made(size=(5, 6), width_in=width_in, stride=stride)
    size = (-(-5 // stride), -(-6 // stride))
    assert run.size == size
    assert run(torch.randn(2, width_in, 5, 6))[0].shape == (2, 8, *size)


def test_tokens_and_positions_have_roles_of_their_own():
    found = {name: owned.role for name, owned in roles(made(distilled=True)).items() if "." not in name}
    assert found == {"class_token": "token", "distillation_token": "token", "positions": "table"}


def test_refuses_blocks_that_want_maps():
    with pytest.raises(ValueError, match=r"Tokens joins .* Encoder, got Basic"):
        Tokens().make(Basic(), 1, 8, 8, 1, any_kit())
