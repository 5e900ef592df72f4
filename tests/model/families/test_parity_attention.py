"""LeViT, ViT and DeiT against timm's, on weights that were moved by `Peer.names` and all count."""

import pytest
import timm
import torch

from paretina.model.build import materialise
from paretina.model.family import network_named, networks

SMALL = ("levit_128s", "vit_tiny", "deit_tiny_distilled")
NAMES = [name for name, network in networks().items() if network.family in ("levit", "vit", "deit")]
TABLES = ("attention_biases", "cls_token", "dist_token", "pos_embed")


def theirs_randomised(name, **options):
    """timm's network; norms, their statistics, biases, tables and tokens count as much as kernels."""
    torch.manual_seed(1)
    theirs = timm.create_model(name, **options).eval()
    with torch.no_grad():
        for path, tensor in theirs.state_dict().items():
            field = path.rpartition(".")[2]
            if field in TABLES:
                tensor.normal_()
            elif field == "running_var" or (field == "weight" and tensor.ndim == 1):
                tensor.uniform_(0.5, 1.5)
            elif field in ("bias", "running_mean"):
                tensor.uniform_(-0.2, 0.2)
    return theirs


def moved(theirs, published):
    (peer,) = published.peers
    ours = published.blueprint.build("meta").eval()
    materialise(ours)
    source, target = theirs.state_dict(), ours.state_dict()
    names = peer.names(published.blueprint)
    assert set(names) == {name for name in target if not name.endswith("num_batches_tracked")}
    assert set(names.values()) == {name for name in source if not name.endswith("num_batches_tracked")}
    assert len(set(names.values())) == len(names)
    found = {name: source[there].reshape(target[name].shape) for name, there in names.items()}
    ours.load_state_dict({**target, **found})
    return ours


def largest_error(theirs, ours, size):
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (ours.blueprint.door.mean, ours.blueprint.door.std))
    with torch.no_grad():
        wanted = theirs((images - mean) / std)
        return ((ours(images) - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in SMALL else pytest.mark.slow) for name in NAMES])
def test_equals_timm(name):
    published = network_named(name)
    theirs = theirs_randomised(published.peers[0].name)
    assert largest_error(theirs, moved(theirs, published), (224, 224)) < 1e-5


def test_equals_timm_on_images_of_another_size():
    published = network_named("deit_tiny")
    theirs = theirs_randomised(published.peers[0].name, dynamic_img_size=True)
    assert largest_error(theirs, moved(theirs, published), (128, 240)) < 1e-5
