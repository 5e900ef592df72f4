import torch

from paretina.model.blueprint import any_kit
from paretina.model.stems.levit import LevitStem


def test_doubles_its_width_to_the_one_asked_for():
    stem = LevitStem(width=128).make(any_kit(channels=5))
    assert [(unit.conv.in_channels, unit.conv.out_channels) for unit in stem] == [(5, 16), (16, 32), (32, 64), (64, 128)]
    assert all(unit.conv.stride == (2, 2) for unit in stem)


def test_no_activation_is_behind_the_last_convolution():
    stem = LevitStem(width=16).make(any_kit()).eval()
    assert [unit.norm.activation is None for unit in stem] == [False, False, False, True]
    with torch.no_grad():
        assert (stem(torch.randn(2, 3, 32, 32)) < 0).any()
