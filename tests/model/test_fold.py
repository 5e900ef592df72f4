"""Inference form of every family, and what it refuses."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.measure.cost import cost
from paretina.model.blueprint import Chain
from paretina.model.build import Network
from paretina.model.family import networks
from paretina.model.fold import Folded, fold, fold_module, scale_and_shift
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.norms.group import GroupNorm
from paretina.model.roles import BATCH_NORMS
from paretina.model.weights import About, save_model
from tiny import GROWING, row, tiny_blueprint, with_own_statistics

TINY = tiny_blueprint(
    row(2, 8, 1), row(1, 16, 2), resolution=32, head=PoolHead(width=24), norm=BatchNorm(eps=1e-2), padding="same", classes=5
)


def cut(blueprint):
    """Every row of the table, but of few blocks and for small images."""
    stages = tuple(replace(row, depth=min(row.depth, 2 if row.wiring == Chain() else 3)) for row in blueprint.stages)
    return replace(blueprint, stages=stages, resolution=64, classes=5)


FIRST = {network.family: network.blueprint for network in reversed(networks().values())}


def randomised(blueprint):
    """In evaluation, with statistics and scales that count."""
    torch.manual_seed(0)
    network = blueprint.build().eval()
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias")):
                tensor.uniform_(-0.2, 0.2)
            elif name.endswith(("table", "positions", "token")):
                tensor.normal_()
    return network


def images(size=64):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def batch_norms(network):
    return [name for name, module in network.named_modules() if isinstance(module, BATCH_NORMS)]


def is_pooled(network, name):
    """Whether a norm follows a max pool and not a convolution."""
    return any(type(module).__name__ == "MaxPool2d" for module in network.get_submodule(name.rpartition(".")[0]).children())


def is_first(network, name):
    """Whether a norm begins a residual branch or the head, so that no convolution stands before it."""
    around, _, own = name.rpartition(".")
    return name == "head.norm" or (around.endswith(".body") and own == "0")


@pytest.mark.parametrize("family", FIRST)
def test_every_family_gives_the_same_logits_without_batch_norm(family):
    network, given = randomised(cut(FIRST[family])), images()
    if family in GROWING:
        # in float64, since the last bits of a sum may decide its sign
        given = given.double()
        network = with_own_statistics(network.double(), given)
    with torch.no_grad():
        wanted = network(given)
        folded = fold(network)
        found = folded(given)
        assert torch.equal(network(given), wanted)  # it was a copy
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
    pooled = {name for name, module in network.named_modules() if name.endswith(".norm") and is_pooled(network, name)}
    first = {name for name in batch_norms(network) if is_first(network, name)}
    assert set(batch_norms(folded)) == pooled | first  # a scale below zero does not commute with a maximum
    assert not any(parameter.requires_grad for parameter in folded.parameters())


@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_borders_stay_exact(padding):
    # odd and even sizes: where a map is padded, the shift must not be padded with it
    network = randomised(replace(TINY, padding=padding)).double()
    folded = fold(network)
    with torch.no_grad():
        for size in (32, 35):
            x = images(size).double()
            for wanted, found in zip(network.borders(x)[0], folded.borders(x)[0], strict=True):
                torch.testing.assert_close(found, wanted)


def test_norms_that_depend_on_the_image_stay():
    network = randomised(replace(TINY, norm=GroupNorm(groups=2)))
    with torch.no_grad():
        assert torch.equal(fold(network)(images()), network(images()))


def test_a_norm_by_hand():
    norm = nn.BatchNorm2d(1, eps=1.0)
    norm.running_mean.fill_(4.0)
    norm.running_var.fill_(3.0)
    norm.weight.data.fill_(6.0)
    norm.bias.data.fill_(1.0)
    # 6 (x - 4) / sqrt(3 + 1) + 1 = 3 x - 11
    scale, shift = scale_and_shift(norm)
    assert (scale.item(), shift.item()) == (3.0, -11.0)
    norm = nn.BatchNorm2d(1, eps=1.0, affine=False)
    norm.running_mean.fill_(4.0)
    norm.running_var.fill_(3.0)
    assert [value.item() for value in scale_and_shift(norm)] == [0.5, -2.0]


def test_a_norm_without_statistics_is_refused():
    with pytest.raises(ValueError, match="depends on the batch"):
        scale_and_shift(nn.BatchNorm2d(1, track_running_stats=False))


def test_a_convolution_keeps_the_bias_that_it_had():
    network = randomised(TINY)
    unit = network.stem
    unit.conv.bias = nn.Parameter(torch.randn(8))
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        wanted = unit(x)
        fold_module(unit)
        torch.testing.assert_close(unit(x), wanted)


class Told(nn.Module):
    """Writes down when it was folded."""

    def __init__(self, name, calls, inner=None):
        super().__init__()
        self.name, self.calls, self.inner = name, calls, inner

    def __deepcopy__(self, memo):
        return Told(self.name, self.calls, copy.deepcopy(self.inner, memo))

    def fold(self):
        self.calls.append((self.name, self.training, torch.is_grad_enabled()))


def test_modules_fold_themselves_once_from_the_inside_on_a_copy_in_evaluation():
    calls = []
    network = TINY.build().train()
    network.head.dropout = Told("outer", calls, Told("inner", calls))
    fold(network)
    assert calls == [("inner", False, False), ("outer", False, False)]
    assert network.training
    assert batch_norms(network)


def test_never_trains():
    folded = fold(TINY.build())
    assert not folded.training
    assert folded.eval() is folded
    with pytest.raises(RuntimeError, match="train the original network"):
        folded.train()
    assert not any(module.training for module in folded.modules())


def test_does_not_become_a_model_file(tmp_path):
    network = TINY.build()
    about = About(classes=tuple("abcde"))
    save_model(tmp_path / "whole.safetensors", network, about)
    with pytest.raises(RuntimeError, match="save the original network"):
        save_model(tmp_path / "folded.safetensors", fold(network), about)
    assert not (tmp_path / "folded.safetensors").exists()


def test_live_tensors_are_there_for_those_who_trace():
    folded = fold(TINY.build())
    state = folded.state_dict(keep_vars=True)
    assert all(state[name] is parameter for name, parameter in folded.named_parameters())


def test_can_be_counted():
    network = TINY.build()
    whole, folded = cost(network), cost(fold(network))
    assert folded.macs == whole.macs
    assert [row.name for row in folded.stages] == [row.name for row in whole.stages]
    # scale and shift of each norm became one bias
    norms = sum(module.num_features for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    assert folded.params == whole.params - norms
    assert folded.weight_bytes == 4 * folded.params
    assert cost(fold(TINY.build("meta"))) == folded


def test_keeps_what_a_network_can_do():
    network = randomised(TINY)
    folded = fold(network)
    assert isinstance(folded, Network)
    assert folded.blueprint is network.blueprint or folded.blueprint == network.blueprint
    assert folded.blocks == network.blocks == 3
    with torch.no_grad():
        assert folded.features(images()).keys() == network.features(images()).keys()
        torch.testing.assert_close(folded.embedding(images()), network.embedding(images()), atol=1e-5, rtol=1e-4)
        assert isinstance(copy.deepcopy(folded), Folded)


def test_keeps_the_precision_of_the_weights():
    assert {parameter.dtype for parameter in fold(TINY.build().bfloat16()).parameters()} == {torch.bfloat16}


def test_is_not_folded_twice():
    with pytest.raises(ValueError, match="is already folded"):
        fold(fold(TINY.build()))


def test_refuses_what_it_does_not_know():
    class Pair(Network):
        pass

    network = TINY.build()
    pair = Pair(network.blueprint, network.normalise, network.stem, [*network.stages], network.head)
    with pytest.raises(TypeError, match="only Paretina networks can be folded, got Pair"):
        fold(pair)
