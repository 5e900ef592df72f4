"""Pictures of another number of channels."""

import json
from dataclasses import replace

import pytest
import torch

from paretina.model.blueprint import Blueprint, Preprocessing
from paretina.model.edits.channels import Channels
from paretina.model.families.efficientnet import B0
from paretina.model.stems.conv import ConvStem, DeepStem

TINY = replace(B0, resolution=32, classes=5, stages=B0.stages[:2])
GREY = replace(TINY, preprocessing=Preprocessing(mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2)))


def shapes(blueprint):
    return {name: tuple(tensor.shape) for name, tensor in blueprint.build("meta").state_dict().items()}


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize(
    ("stem", "first", "kernel"),
    [
        (ConvStem(width=8), "stem.conv.weight", 3),
        (ConvStem(width=8, kernel=7, pool=True), "stem.0.conv.weight", 7),
        (DeepStem(width=16, inner=(8, 8)), "stem.0.conv.weight", 3),
    ],
    ids=repr,
)
def test_nothing_but_the_preprocessing_and_the_first_convolution_changes(count, stem, first, kernel):
    base = replace(TINY, stem=stem)
    edited = Channels(count=count)(base)
    assert replace(edited, channels=3, preprocessing=base.preprocessing) == base
    assert shapes(edited) == shapes(base) | {first: (8, count, kernel, kernel)}


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_takes_pictures_of_that_many_channels(count, dtype):
    network = Channels(count=count)(TINY).build().eval()
    images = torch.randint(0, 2, (2, count, 32, 32)).to(dtype)
    assert network(images).shape == (2, 5)
    assert network.embedding(images).shape == (2, 1280)


def test_one_channel_sees_a_grey_picture_as_three_do():
    torch.manual_seed(0)
    three, one = GREY.build().eval(), Channels(count=1)(GREY).build().eval()
    state = three.state_dict()
    one.load_state_dict(state | {"stem.conv.weight": state["stem.conv.weight"].sum(1, keepdim=True)})
    grey = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(one(grey), three(grey.expand(2, 3, 32, 32)))


def test_the_preprocessing_gets_the_average():
    base = replace(TINY, preprocessing=Preprocessing(mean=(0.1, 0.2, 0.6), std=(0.2, 0.3, 0.7), crop=0.9))
    preprocessing = Channels(count=2)(base).preprocessing
    assert preprocessing.mean == pytest.approx((0.3, 0.3))
    assert preprocessing.std == pytest.approx((0.4, 0.4))
    assert preprocessing.crop == 0.9


def test_a_blueprint_written_without_channels_has_three():
    data = json.loads(TINY.to_json())
    del data["channels"]
    assert Blueprint.from_json(json.dumps(data)) == TINY


def test_the_same_number_is_refused():
    with pytest.raises(ValueError, match="changes nothing"):
        Channels(count=3)(TINY)


@pytest.mark.parametrize("count", [0, -1])
def test_no_channel_is_refused(count):
    with pytest.raises(ValueError, match=f"Channels needs a count of at least 1, got {count}"):
        Channels(count=count)


def test_a_preprocessing_for_another_number_is_refused():
    with pytest.raises(
        ValueError, match=r"preprocessing has statistics of 3 channels, but channels=4; the edit Channels\(count=4\)"
    ):
        replace(TINY, channels=4)


@pytest.mark.parametrize("mean", [(0.5, 0.5), ()])
def test_a_preprocessing_needs_one_mean_and_one_std_for_each_channel(mean):
    with pytest.raises(ValueError, match="Preprocessing needs one mean and one std for each channel"):
        Preprocessing(mean=mean, std=(0.5,) * 3 if mean else ())
