"""Our networks against timm's and torchvision's, on moved weights.

Affine parameters and running statistics are randomised, so that every branch counts. Tensors are moved in order: both sides
name them differently but own them in the order of the forward pass.
"""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision

from covering import few
from paretina.model.family import network_named, networks


def randomise(module):
    for child in module.modules():
        if isinstance(child, torch.nn.BatchNorm2d):
            child.weight.data.uniform_(0.5, 1.5)
            child.bias.data.uniform_(-0.2, 0.2)
            child.running_mean.uniform_(-0.2, 0.2)
            child.running_var.uniform_(0.5, 1.5)


def move(theirs, ours):
    source = [t for name, t in theirs.state_dict().items()]
    target = ours.state_dict()
    assert [t.shape for t in source] == [t.shape for t in target.values()]
    ours.load_state_dict(dict(zip(target, source, strict=True)))


def largest_error(theirs, ours, resolution):
    torch.manual_seed(0)
    dtype = next(ours.parameters()).dtype
    images = torch.rand(2, 3, resolution, resolution, dtype=dtype)
    preprocessing = ours.blueprint.preprocessing
    mean, std = (torch.tensor(v, dtype=dtype).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    inputs = (images - mean) / std
    with torch.no_grad():
        if dtype == torch.float64:  # what the preprocessing rounds in float32 would be magnified too
            torch.testing.assert_close(ours.normalise(images), inputs, atol=1e-5, rtol=1e-5)
            ours.normalise, images = torch.nn.Identity(), inputs
        wanted = theirs.eval()(inputs)
        return ((ours.eval()(images) - wanted).abs().max() / wanted.abs().max()).item()


def theirs_named(name):
    """timm's network of the same definition, without weights."""
    if name.startswith("resnet"):
        return timm.create_model(name, zero_init_last=False)
    return timm.create_model(f"tf_{name}")


SMALL = [
    "efficientnet_b0",
    "efficientnet_lite0",
    "efficientnetv2_b0",
    "resnet18",
    "resnet50",
    "resnet18d",
    "resnet50c",
    "resnet50d",
]
ALL = [n for n in networks() if not n.endswith("a") and n not in SMALL and not n.startswith(("resnet18c", "resnet34c"))]


def check(name, resolution, dtype=torch.float32):
    torch.manual_seed(1)
    theirs = theirs_named(name)
    randomise(theirs)
    ours = network_named(name).blueprint.build()
    move(theirs, ours)
    theirs, ours = theirs.to(dtype), ours.to(dtype)
    assert largest_error(theirs, ours, resolution) < 1e-5


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("resolution", [64, 75])
def test_equals_timm(name, resolution):
    check(name, resolution)


@pytest.mark.large
@pytest.mark.parametrize("name", ALL)
def test_equals_timm_large(name):
    if not timm.is_model(name if name.startswith("resnet") else f"tf_{name}"):
        pytest.skip("timm has no such network")
    # with random norms, a hundred layers magnify the rounding of float32 until nothing can be told
    check(name, 96, torch.float64)


@pytest.mark.parametrize(("name", "padding"), few([("efficientnet_b0", "symmetric"), ("resnet34", "symmetric")]))
def test_equals_torchvision(name, padding):
    torch.manual_seed(1)
    theirs = torchvision.models.get_model(name, weights=None)
    randomise(theirs)
    blueprint = replace(network_named(name).blueprint, padding=padding)
    blueprint = replace(blueprint, norm=replace(blueprint.norm, eps=1e-5))
    ours = blueprint.build()
    move(theirs, ours)
    assert largest_error(theirs, ours, 64) < 1e-5


@pytest.mark.slow
def test_a_single_perturbed_tensor_is_noticed():
    torch.manual_seed(1)
    ours = replace(network_named("resnet18d").blueprint, resolution=32, classes=10).build().eval()
    randomise(ours)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        wanted = ours(images)
        for name, tensor in ours.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            before = tensor.clone()
            tensor.mul_(1.5).add_(0.1)
            assert (ours(images) - wanted).abs().max() > 1e-5 * wanted.abs().max(), f"{name} has no effect"
            tensor.copy_(before)
