"""Channels that are taken out together: found from the blueprint, proven by value, beside torch-pruning's groups."""

from dataclasses import replace

import pytest
import torch
from tests.tiny import tiny_blueprint
from torch import nn

from covering import few
from paretina.data.batch import Batch
from paretina.model.blocks.convnext import ConvNeXt
from paretina.model.blocks.encoder import Encoder
from paretina.model.blocks.fused_mbconv import FusedMBConv
from paretina.model.blocks.ghost import Ghosted
from paretina.model.blocks.levit import Levit
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.resnet import Basic, Bottleneck
from paretina.model.blocks.separable import Separable
from paretina.model.blueprint import Stage
from paretina.model.edits.narrow import Narrow
from paretina.model.edits.scale import Scale
from paretina.model.heads.pool import PoolHead
from paretina.model.heads.token import TokenHead
from paretina.model.layers import Convolution
from paretina.model.norms.group import GroupNorm
from paretina.model.stems.conv import ConvStem
from paretina.model.wirings.tokens import Tokens
from paretina.search.pruning.channels import agree, any_values, channels_of, cut, silenced, with_widths
from paretina.search.pruning.importance import channel_scores, importance_named, importances, part_scores


def stage(block, depth=2, width=16, stride=2, **more):
    return Stage(block=block, depth=depth, width=width, stride=stride, **more)


NETWORKS = {
    "basic": tiny_blueprint(stage(Basic()), stage(Basic(), width=24)),
    "basic, one width": tiny_blueprint(stage(Basic(), width=8, stride=1), stage(Basic(), width=8, stride=1)),
    "bottleneck": tiny_blueprint(stage(Bottleneck()), stage(Bottleneck(squeeze=2, shortcut="pool"), width=32)),
    "grouped": tiny_blueprint(stage(Bottleneck(squeeze=1, group_width=8), width=32)),
    "inverted": tiny_blueprint(stage(MBConv(expand=4, kernel=3)), stage(MBConv(expand=1, kernel=3)), head=PoolHead(width=40)),
    "inverted, grouped": tiny_blueprint(stage(MBConv(expand=4, kernel=3, group_width=4))),
    "fused": tiny_blueprint(stage(FusedMBConv(expand=1)), stage(FusedMBConv(expand=4, squeeze=0.25))),
    "separable": tiny_blueprint(stage(Separable()), stage(Separable(), width=24)),
    "convnext": tiny_blueprint(stage(ConvNeXt()), stage(ConvNeXt(), width=24)),
    "levit": tiny_blueprint(stage(Levit(key=4, heads=2), stride=2)),
    "tokens": tiny_blueprint(stage(Encoder(head_width=8), wiring=Tokens()), head=TokenHead()),
    "group norm": tiny_blueprint(stage(MBConv(expand=4, kernel=3)), norm=GroupNorm(groups=4)),
}
every = pytest.mark.parametrize("name", NETWORKS)
every_few = pytest.mark.parametrize("name", few(list(NETWORKS), 3))


def half(channels):
    """Every other unit of every part of every group, but for widths that become equal by chance."""
    random = torch.Generator().manual_seed(5)
    found = {}
    for group in channels.groups:
        units = group.width // group.step
        for _ in group.parts:
            some = torch.randperm(units, generator=random)[: max(1, units // 2)].sort().values
            numbers = (some[:, None] * group.step + torch.arange(group.step)).flatten()
            found[group.name] = (*found.get(group.name, ()), numbers)
    return found


@every_few
def test_a_block_without_channels_answers_as_the_one_with_zeros_there(name):
    channels = channels_of(NETWORKS[name])
    network = any_values(channels.blueprint, signed=True)
    for group in channels.groups:
        if not group.hidden:
            continue
        kept = {group.name: half(channels)[group.name]}
        images = torch.rand(2, 3, 16, 16, dtype=torch.float64)
        small = cut(network, channels, kept).double()
        assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in network.parameters())
        if name != "group norm":  # which mixes channels, so that zeros count
            torch.testing.assert_close(small(images), silenced(network, channels, kept)(images))


@every_few
def test_names_and_classes_stay(name):
    channels = channels_of(NETWORKS[name])
    network = any_values(channels.blueprint, signed=True)
    for group in channels.groups:
        small = cut(network, channels, {group.name: half(channels)[group.name]})
        assert small.state_dict().keys() == network.state_dict().keys()
        assert small(torch.rand(1, 3, 16, 16)).shape == (1, 3)


@every
def test_most_channels_are_found(name):
    """Of each kind of network the hidden widths, and the borders where nothing else depends on them."""
    channels = channels_of(NETWORKS[name])
    places = {str(place) for group in channels.groups for place in group.places}
    blueprint = NETWORKS[name]
    hidden = [
        f"stage {number}, block {block + 1}"
        for number, row in enumerate(blueprint.stages, 1)
        for block in range(row.depth)
        if row.block.hidden_width(8, row.width)
    ]
    assert places >= set(hidden)
    if name not in ("levit", "tokens"):
        assert "stage 1" in places


def test_a_plain_shortcut_ties_maps():
    channels = channels_of(NETWORKS["basic, one width"])
    assert [group.name for group in channels.groups if not group.hidden] == ["stem and stage 1 and stage 2"]


def test_groups_of_a_convolution_go_as_a_whole():
    (hidden,) = {group.step for group in channels_of(NETWORKS["grouped"]).groups if group.hidden}
    assert hidden == 8


@pytest.mark.slow
def test_an_axis_of_the_right_size_by_chance_is_refused():
    """Half of the channels of a ghost module are made of the other half, though its output is as wide as any."""
    channels = channels_of(tiny_blueprint(stage(Ghosted(block=Basic())), stage(Basic(), width=24), head=PoolHead(width=32)))
    assert "stage 1" in channels.refused
    networks = [any_values(channels.blueprint, signed=True)]
    assert all(agree(networks, replace(channels, groups=(group,))) for group in channels.groups)


def test_channels_that_do_not_matter_prove_nothing():
    """Values of both signs can leave nothing behind a rectifier of a network of few channels; then others decide."""
    channels = channels_of(tiny_blueprint(stage(Basic(), width=4), stage(Basic(), width=4), stem=ConvStem(width=4)))
    assert channels.groups
    assert not channels.refused
    dead, alive = (any_values(channels.blueprint, signed=signed) for signed in (True, False))
    for name, tensor in dead.state_dict().items():
        if ".norm." in name and name.endswith(("weight", "bias")):
            tensor.zero_()
    assert not agree([dead], channels)
    assert agree([dead, alive], channels)


def test_nothing_to_take_out_is_said():
    with pytest.raises(ValueError, match=r"no channels can be taken out of this network \(tests\): stage 1, block 1: too few"):
        channels_of(
            tiny_blueprint(stage(Encoder(head_width=8, hidden=1), wiring=Tokens()), head=TokenHead(), stem=ConvStem(width=1))
        )


# --- the edit -----------------------------------------------------------------------------------------------------------------


def test_narrow_refuses_widths_that_add_a_layer():
    with pytest.raises(ValueError, match=r"would add the layer stages\.0\.0\.shortcut"):
        Narrow(widths=(12, 0)).edit(NETWORKS["basic, one width"])
    with pytest.raises(ValueError, match="would remove the layer"):
        Narrow(widths=(8,)).edit(tiny_blueprint(stage(Basic(), stride=1)))
    with pytest.raises(ValueError, match="has 1 entries, but there are 2 stages"):
        Narrow(widths=(8,)).edit(NETWORKS["basic"])


def test_a_narrowed_network_scales():
    narrow = with_widths(NETWORKS["basic"], {channels_of(NETWORKS["basic"]).groups[0].places[0]: 10})
    assert narrow.stages[0].wiring.hidden == (10, 0)
    scaled = Scale(depth=2.0, width=2.0)(narrow)
    assert scaled.stages[0].wiring.hidden == (24, 0, 0, 0)
    assert scaled.build("meta").blocks == 8


# --- what channels are worth --------------------------------------------------------------------------------------------------


def test_importances_are_known_by_name():
    assert list(importances()) == ["magnitude", "taylor"]
    with pytest.raises(ValueError, match="no importance 'taylr'; did you mean 'taylor'"):
        importance_named("taylr")


@pytest.mark.parametrize("name", few(["basic", "bottleneck"]))
def test_magnitude_is_that_of_torch_pruning(name, monkeypatch):
    torch_pruning = pytest.importorskip("torch_pruning")
    monkeypatch.setattr(Convolution, "overruns", lambda self, x: False)  # it follows the kernels of torch, not slices
    blueprint = NETWORKS[name]
    network = any_values(channels_of(blueprint).blueprint, signed=True).float()
    channels = channels_of(blueprint)
    ours = channel_scores(importance_named("magnitude"), network, channels)
    graph = torch_pruning.DependencyGraph().build_dependency(network, example_inputs=torch.rand(1, 3, 16, 16))
    compared = 0
    for group in channels.groups:
        for part, scores in zip(group.parts, ours[group.name], strict=True):
            layer = next(name[: -len(".weight")] for name, axis in part if axis == 0 and name.endswith("conv.weight"))
            module = network.get_submodule(layer)
            whole = graph.get_pruning_group(module, torch_pruning.prune_conv_out_channels, list(range(module.out_channels)))
            theirs = torch_pruning.importance.GroupMagnitudeImportance(p=2)(whole)
            torch.testing.assert_close(scores.float(), theirs, rtol=1e-4, atol=1e-5)
            compared += 1
    assert compared >= 6


def test_taylor_of_convolutions_is_that_of_torch_pruning(monkeypatch):
    torch_pruning = pytest.importorskip("torch_pruning")
    monkeypatch.setattr(Convolution, "overruns", lambda self, x: False)  # which four pictures do not
    channels = channels_of(NETWORKS["bottleneck"])
    network = any_values(channels.blueprint, signed=True).float()
    images, labels = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    batch = Batch((images,), nn.functional.one_hot(labels, 3).float(), torch.arange(4))
    worth = importance_named("taylor").weights(network, [batch])
    network.zero_grad()
    nn.functional.cross_entropy(network(images), batch.targets).backward()
    graph = torch_pruning.DependencyGraph().build_dependency(network, example_inputs=images)
    kernels = {name for name in worth if name.endswith(("conv.weight", "classifier.weight"))}  # theirs leaves norms out
    for group in channels.groups:
        for part in group.parts:
            layer = next(name[: -len(".weight")] for name, axis in part if axis == 0 and name.endswith("conv.weight"))
            module = network.get_submodule(layer)
            whole = graph.get_pruning_group(module, torch_pruning.prune_conv_out_channels, list(range(module.out_channels)))
            theirs = torch_pruning.importance.GroupTaylorImportance(normalizer=None)(whole)
            torch.testing.assert_close(part_scores(worth, kernels, part).float(), theirs, rtol=1e-3, atol=1e-6)


def test_taylor_needs_pictures():
    channels = channels_of(NETWORKS["basic"])
    with pytest.raises(ValueError, match="taylor needs training pictures"):
        importance_named("taylor").weights(any_values(channels.blueprint, signed=True).float(), [])
