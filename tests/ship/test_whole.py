"""Pixels of any size to the network's input, as the training pipeline makes it."""

import pytest
import torch

from paretina.data.preprocess import preprocess
from paretina.model.blueprint import Preprocessing
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.ship.steps import in_inference_form
from paretina.ship.whole import Resize, Whole
from tiny import row, tiny_blueprint

SHAPES = ((1, 1), (3000, 40), (37, 53), (500, 375), (64, 64), (20, 10), (2, 300))


def pixels(rows, columns, batch=1):
    generator = torch.Generator().manual_seed(rows * 7919 + columns)
    return torch.randint(0, 256, (batch, 3, rows, columns), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("fit", ["crop", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", SHAPES)
def test_resizes_as_training_does(fit, interpolation, shape):
    preprocessing = Preprocessing(fit=fit, interpolation=interpolation, crop=0.875)
    images = pixels(*shape)
    wanted = preprocess(images, preprocessing, 64).float()
    found = Resize(preprocessing, 64)(images)
    apart = (found - wanted).abs()
    assert apart.max() <= 1  # a sum within rounding of a half
    assert (apart > 0).float().mean() < 1e-3
    assert torch.equal(found, found.round())


@pytest.mark.parametrize("crop", [1.0, 0.95, 0.9, 0.7, 0.29, 224 / 256])
def test_cuts_the_same_square(crop):
    preprocessing = Preprocessing(crop=crop, interpolation="bilinear")
    for side in range(1, 130):
        images = pixels(side, side + side % 3)
        wanted = preprocess(images, preprocessing, 8).float()
        assert (Resize(preprocessing, 8)(images) - wanted).abs().max() <= 1, side


def test_upscaling_is_antialiased_as_in_training():
    preprocessing = Preprocessing(fit="squash")
    images = pixels(7, 5)
    assert torch.equal(Resize(preprocessing, 33)(images), preprocess(images, preprocessing, 33).float())


def whole(task, **fields):
    network = tiny_blueprint(row(1, 8, 2), resolution=16, classes=4, **fields).build().eval()
    return network, Whole(in_inference_form(network)[0], task)


@pytest.mark.parametrize("task", [OneOf(), AnyOf()], ids=lambda task: type(task).__name__)
def test_ends_with_what_the_task_makes_of_logits(task):
    network, shipped = whole(task)
    images = pixels(40, 30, batch=3)
    with torch.inference_mode():
        shares, features = shipped(images)
        wanted = network(preprocess(images, network.model.preprocessing, 16))
        embedding = network.embedding(preprocess(images, network.model.preprocessing, 16))
    assert torch.allclose(shares, task.probabilities(wanted), atol=1e-3)
    assert torch.allclose(features, embedding, atol=1e-2)
    assert shipped.outputs == ("probabilities", "features")


def test_a_mask_has_no_features():
    assert Whole(tiny_blueprint(row(1, 8, 2), classes=4).build(), Places()).outputs == ("probabilities",)
