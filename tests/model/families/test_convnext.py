"""ConvNeXt against the counts of its paper."""

from dataclasses import replace

import pytest
import torch

from paretina.measure.cost import cost
from paretina.model.families.convnext import TINY


def test_tiny_has_the_published_parameters_in_each_stage():
    assert [stage.params for stage in cost(TINY).stages] == [4896, 237888, 992256, 11112960, 15470592, 770536]


def test_tiny_has_the_published_macs_at_384_pixels():
    assert cost(TINY, 384).macs == pytest.approx(13.0923e9, rel=0.001)


def test_maps_are_channels_last_from_the_stem_on():
    small = replace(TINY, resolution=64, classes=3, stages=tuple(replace(stage, depth=1) for stage in TINY.stages))
    with torch.no_grad():
        maps, _ = small.build().eval().borders(torch.rand(2, 3, 64, 64))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)
