"""ConvNeXt against timm's and torchvision's, on moved weights that all count."""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision

from paretina.measure.cost import cost
from paretina.model.build import materialise
from paretina.model.families.convnext import NETWORKS, TINY

LIBRARIES = {
    "timm": lambda name: timm.create_model(name),
    "torchvision": lambda name: torchvision.models.get_model(name, weights=None),
}
PEERS = [
    pytest.param(
        network, peer, id=f"{peer.library}-{peer.name}", marks=() if network.name == "convnext_tiny" else pytest.mark.slow
    )
    for network in NETWORKS
    for peer in network.peers
]


@pytest.mark.parametrize(("network", "peer"), PEERS)
def test_equals_the_other_library(network, peer):
    torch.manual_seed(1)
    with torch.device("meta"):
        theirs = LIBRARIES[peer.library](peer.name).eval()
    theirs.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in theirs.parameters():  # norms, biases and layer scales count as much as kernels
            if parameter.dim() == 1 or parameter.shape[1:] == (1, 1):
                parameter.uniform_(-0.5, 1.0)
            else:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
    ours = network.blueprint.build("meta").eval()
    materialise(ours)
    source, target = theirs.state_dict(), ours.state_dict()
    names = peer.names(network.blueprint)
    assert names.keys() == target.keys()
    assert sorted(names.values()) == sorted(source)
    ours.load_state_dict({name: source[names[name]].reshape(tensor.shape) for name, tensor in target.items()})
    images = torch.rand(2, 3, 64, 64)
    door = network.blueprint.door
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (door.mean, door.std))
    with torch.no_grad():
        wanted = theirs((images - mean) / std)
        assert (ours(images) - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_tiny_has_the_published_parameters_in_each_stage():
    assert [stage.params for stage in cost(TINY).stages] == [4896, 237888, 992256, 11112960, 15470592, 770536]


def test_tiny_has_the_published_macs_at_384_pixels():
    assert cost(TINY, 384).macs == pytest.approx(13.0923e9, rel=0.001)


def test_maps_are_channels_last_from_the_stem_on():
    small = replace(TINY, resolution=64, classes=3, stages=tuple(replace(stage, depth=1) for stage in TINY.stages))
    with torch.no_grad():
        maps, _ = small.build().eval().borders(torch.rand(2, 3, 64, 64))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)
