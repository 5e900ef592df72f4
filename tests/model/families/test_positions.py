"""DeiT against timm's on images of another size, whose positions both interpolate."""

import timm
import torch

from paretina.model.family import network_named
from paretina.model.interop import from_state


def test_equals_timm_on_images_of_another_size():
    published = network_named("deit_tiny")
    (peer,) = published.peers
    torch.manual_seed(1)
    theirs = timm.create_model(peer.name, dynamic_img_size=True).eval()
    with torch.no_grad():
        for tensor in theirs.state_dict().values():
            tensor.add_(torch.empty_like(tensor).uniform_(-0.05, 0.05))
        theirs.pos_embed.normal_()
    ours = published.blueprint.build().eval()
    ours.load_state_dict(from_state(published, peer, theirs.state_dict()))
    images = torch.rand(1, 3, 128, 240)
    mean, std = (
        torch.tensor(value).view(3, 1, 1) for value in (ours.blueprint.preprocessing.mean, ours.blueprint.preprocessing.std)
    )
    with torch.no_grad():
        wanted = theirs((images - mean) / std)
        assert (ours(images) - wanted).abs().max() < 1e-5 * wanted.abs().max()
