"""Annotations are checked in tests: those with a shape, and those without."""

import pytest
import torch

from paretina.data.preprocess import preprocess
from paretina.model.family import network_named
from paretina.text import how_many


@pytest.mark.parametrize(
    "call",
    [
        lambda: preprocess(torch.zeros(3, 8, 8, dtype=torch.uint8), None, 8),
        lambda: how_many("3", "picture"),
        lambda: network_named(3),
    ],
    ids=["shape", "number", "name"],
)
def test_a_wrong_argument_is_refused(call):
    with pytest.raises(Exception, match="violates type hint"):
        call()


def test_a_wrong_shape_is_refused_between_arguments():
    network = network_named("resnet18").blueprint.build("meta")
    with pytest.raises(Exception, match="violates type hint"):
        network(torch.empty(3, 32, 32, device="meta"))
