"""A network, a data set and a recipe that are small enough to be trained hundreds of times."""

import functools

import numpy as np
import pytest

from paretina.data.sources.arrays import from_arrays
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.mixup import MixUp
from paretina.schedules import Constant, Linear
from paretina.train.average import Average
from paretina.train.clipping import ClipNorm
from paretina.train.recipe import Recipe, StochasticDepth
from tiny import row, tiny_blueprint

CLASSES = 3


@pytest.fixture(scope="session")
def tiny():
    """Four blocks in two stages, 16 pixels."""
    return tiny_blueprint(row(2, 8, 1), row(2, 16, 2), classes=CLASSES)


@functools.cache
def pictures_and_labels(count, side):
    """Noise whose brightness tells the class, more or less."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    images = random.random((count, side, side, 3)) * 170 + 40 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


@pytest.fixture(scope="session")
def arrays():
    """How to make pictures and labels."""
    return pictures_and_labels


@pytest.fixture(scope="session")
def collection():
    """30 pictures to train on, 9 to validate on."""
    images, labels = pictures_and_labels(39, 18)
    return from_arrays(images, labels, ["red", "green", "blue"], split=["train"] * 30 + ["val"] * 9)


@pytest.fixture(scope="session")
def everything():
    """A recipe with everything on that draws random numbers or keeps a state; 9 updates of 10 pictures in 3 epochs."""
    return Recipe(
        epochs=3.0,
        batch_size=10,
        accumulate=2,
        transforms=(RandomResizedCrop(smallest=Constant(value=0.5)), HorizontalFlip(), MixUp()),
        size=Linear(start=12.0, end=18.0),
        stochastic_depth=StochasticDepth(rate=Linear(start=0.1, end=0.5)),
        dropout=Constant(value=0.2),
        clip=ClipNorm(),
        average=Average(decay=Constant(value=0.7), share=None),
        seed=3,
    )


@pytest.fixture
def npz(tmp_path, arrays):
    images, labels = arrays(39, 18)
    path = tmp_path / "numbers.npz"
    np.savez(path, images=images, labels=labels, split=["train"] * 30 + ["val"] * 9, classes=["red", "green", "blue"])
    return path
