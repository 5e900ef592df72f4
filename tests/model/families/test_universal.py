from dataclasses import replace

import pytest
import torch

from paretina.measure.cost import cost
from paretina.model.edits.channels import Channels
from paretina.model.family import network_named
from paretina.model.norms.batch import BatchNorm

PAPER = Channels(count=1)(replace(network_named("universal_segmenter").blueprint, classes=3))


def test_in_one_channel_and_three_classes_it_is_the_network_of_the_paper():
    assert cost(PAPER).params == 11_375_683
    assert cost(PAPER).macs == pytest.approx(21.98e9, rel=1e-3)
    assert cost(PAPER, 512).macs == pytest.approx(77.88e9, rel=1e-3)


def test_widths_and_strides_are_those_of_the_paper():
    assert PAPER.feature_widths == {1: 32, 2: 64, 4: 128, 8: 256, 16: 512}


@pytest.mark.parametrize("change", [{}, {"norm": BatchNorm()}, {"head": {"aspp": False}}, {"head": {"enlarge": "bilinear"}}])
def test_gives_a_class_for_each_pixel_whatever_is_chosen(change):
    table = replace(network_named("universal_segmenter_quarter").blueprint, classes=3, resolution=32)
    table = replace(
        table, **{name: replace(table.head, **value) if name == "head" else value for name, value in change.items()}
    )
    torch.manual_seed(0)
    network = table.build().eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, 32, 48)).shape == (2, 3, 32, 48)


def test_without_aspp_it_has_fewer_parameters():
    assert cost(replace(PAPER, head=replace(PAPER.head, aspp=False))).params < 11_375_683
