"""RegNetX against timm and torchvision on moved weights, and the rule against the tables that it made."""

import pytest
import timm
import torch
import torchvision

from paretina.model.families.regnet import NETWORKS, block_widths, regnetx
from paretina.model.family import network_named

SMALL = {"regnetx_002", "regnetx_004_tv", "regnet_x_400mf"}
PEERS = [
    pytest.param(network, peer, id=f"{peer.library}-{peer.name}", marks=() if peer.name in SMALL else pytest.mark.slow)
    for network in NETWORKS
    for peer in network.peers
]


def theirs_named(peer):
    if peer.library == "timm":
        return timm.create_model(peer.name)
    return torchvision.models.get_model(peer.name, weights=None)


def randomise(module):
    for child in module.modules():
        if isinstance(child, torch.nn.BatchNorm2d):
            child.weight.data.uniform_(0.5, 1.5)
            child.bias.data.uniform_(-0.2, 0.2)
            child.running_mean.uniform_(-0.2, 0.2)
            child.running_var.uniform_(0.5, 1.5)


@pytest.mark.parametrize(("network", "peer"), PEERS)
def test_equals_its_peer(network, peer):
    torch.manual_seed(1)
    theirs = theirs_named(peer).eval()
    randomise(theirs)
    ours = network.blueprint.build().eval()
    names, source = peer.names(network.blueprint), theirs.state_dict()
    target = {name: tensor for name, tensor in ours.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert list(names) == list(target)
    assert sorted(names.values()) == sorted(name for name in source if not name.endswith("num_batches_tracked"))
    for name, tensor in target.items():
        assert tensor.shape == source[names[name]].shape
        tensor.copy_(source[names[name]])
    images = torch.rand(2, 3, 64, 64)
    door = network.blueprint.door
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (door.mean, door.std))
    with torch.no_grad():
        # a deep network without training blows up the rounding of the door, which is no difference of networks
        normalised = ours.door(images)
        torch.testing.assert_close(normalised, (images - mean) / std)
        wanted = theirs(normalised)
        assert (ours(images) - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_widths_by_hand():
    # the line 24, 64, 104, 144 on the steps 24, 48, 96, 192; log2(64 / 24) is 1.4, nearer to one step than to two
    assert block_widths(4, 24, 40.0, 2.0) == [24, 48, 96, 192]
    # 5 * 3 = 15 is brought to a multiple of 8
    assert block_widths(2, 8, 7.0, 1.9) == [8, 16]


def test_blocks_of_equal_width_are_a_stage():
    stages = regnetx(4, 24, 12.0, 2.0, 8).stages  # 24, 36, 48, 60 on the steps 24, 48
    assert [(stage.depth, stage.width) for stage in stages] == [(1, 24), (3, 48)]


def test_a_stage_narrower_than_a_group_is_one_group():
    stages = network_named("regnetx_8_0gf").blueprint.stages
    assert [stage.width // stage.block.group_width for stage in stages] == [1, 2, 6, 16]


@pytest.mark.parametrize(
    ("name", "depths", "widths"),
    [
        ("200mf", (1, 1, 4, 7), (24, 56, 152, 368)),
        ("400mf", (1, 2, 7, 12), (32, 64, 160, 384)),
        ("400mf_tv", (1, 2, 7, 12), (32, 64, 160, 400)),
        ("600mf", (1, 3, 5, 7), (48, 96, 240, 528)),
        ("800mf", (1, 3, 7, 5), (64, 128, 288, 672)),
        ("1_6gf", (2, 4, 10, 2), (72, 168, 408, 912)),
        ("3_2gf", (2, 6, 15, 2), (96, 192, 432, 1008)),
        ("4_0gf", (2, 5, 14, 2), (80, 240, 560, 1360)),
        ("6_4gf", (2, 4, 10, 1), (168, 392, 784, 1624)),
        ("8_0gf", (2, 5, 15, 1), (80, 240, 720, 1920)),
        ("12gf", (2, 5, 11, 1), (224, 448, 896, 2240)),
        ("16gf", (2, 6, 13, 1), (256, 512, 896, 2048)),
        ("32gf", (2, 7, 13, 1), (336, 672, 1344, 2520)),
    ],
)
def test_the_rule_gives_the_published_tables(name, depths, widths):
    stages = network_named(f"regnetx_{name}").blueprint.stages
    assert tuple(stage.depth for stage in stages) == depths
    assert tuple(stage.width for stage in stages) == widths
