from dataclasses import replace

import pytest
import torch

from paretina.measure.cost import cost
from paretina.model.families.levit import S128, levit

SMALL = replace(levit(4, (8, 16, 24), (1, 2, 3), (1, 1, 1)), resolution=64, classes=3)


def test_is_smaller_by_its_strides():
    network = SMALL.build().eval()
    with torch.no_grad():
        features = network.features(torch.rand(2, 3, 64, 64))
    assert {stride: tuple(x.shape[1:]) for stride, x in features.items()} == {16: (8, 4, 4), 32: (16, 2, 2), 64: (24, 1, 1)}


def test_the_parts_are_as_published():
    *stages, head = cost(S128).stages
    assert [stage.output[1:] for stage in stages] == [(14, 14), (14, 14), (7, 7), (4, 4)]
    assert head.params == 771_536


def test_a_resolution_of_its_own_gives_tables_of_its_own():
    network = SMALL.build()
    with pytest.raises(ValueError, match=r"4 x 4 only, got 6 x 6; give images of 64 x 64 pixels, or .*resolution=SIDE"):
        network(torch.rand(2, 3, 96, 96))
    assert replace(SMALL, resolution=96).build().eval()(torch.rand(2, 3, 96, 96)).shape == (2, 3)


def test_offers_both_answers_for_distillation():
    network, images = SMALL.build().eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        label, teacher = network.head.both(*network.borders(images))
        torch.testing.assert_close(network(images), (label + teacher) / 2)
