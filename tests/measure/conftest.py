"""Tiny networks that are measured."""

from dataclasses import replace

import pytest
import torch

from paretina.measure.opened import Opened, Steps
from paretina.model.families.resnet import R18
from paretina.model.fold import fold

TINY = replace(R18, resolution=16, classes=3, stages=R18.stages[:1])


@pytest.fixture
def tiny():
    """The blueprint of them all."""
    return TINY


@pytest.fixture
def opened():
    """Opens a network of three classes."""

    def make(name="tiny", resolution=None, trained=False):
        torch.manual_seed(0)
        blueprint = replace(TINY, resolution=resolution or 16)
        return Opened(name, blueprint.build(), blueprint, blueprint.preprocessing, blueprint.resolution, 3, trained)

    return make


@pytest.fixture
def steps(opened):
    """The steps of such a network."""
    return lambda of=None: Steps(of or opened(), fold, "cpu", torch.get_num_threads())
