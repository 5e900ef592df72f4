import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from paretina.data.operations import in_parts, mapped, mirrored, posterized, rotate, sharper, shifted, solarized

NOISE = np.random.default_rng(0).integers(0, 256, (5, 3, 5, 7), dtype=np.uint8)


def test_shifts_like_an_affine_map():
    moves = [(down, right) for down in (-6, -5, -2, 0, 3, 5, 6) for right in (-8, -7, -1, 0, 4, 7, 8)]
    image = torch.from_numpy(NOISE[0])
    gaps = np.array([[1, 2, 3]] * len(moves), dtype=np.uint8)
    found = shifted(np.stack([NOISE[0]] * len(moves)), moves, gaps)
    for (down, right), one in zip(moves, found, strict=True):
        wanted = F.affine(image, 0.0, [right, down], 1.0, [0.0, 0.0], fill=[1.0, 2.0, 3.0])
        assert torch.equal(torch.from_numpy(one), wanted)


def test_mirrors_those_that_are_asked_for():
    found = mirrored(NOISE, [True, False, False, True, False])
    for number, one in enumerate(found):
        assert np.array_equal(one, NOISE[number, ..., ::-1] if number in (0, 3) else NOISE[number])


def test_parts_hold_every_place_once_and_at_least_one_picture_each():
    for shape in ((1, 1), (28, 28), (224, 224), (4000, 4000)):
        parts = in_parts(list(range(100)), shape)
        assert [place for part in parts for place in part] == list(range(100))
        assert all(parts)
    assert len(in_parts(list(range(100)), (4000, 4000))) == 100
    assert len(in_parts(list(range(100)), (1, 1))) == 1


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterizes_each_to_its_own_bits(bits):
    found = posterized(NOISE, [bits, 8, 1, bits, 4])
    for number, own in enumerate((bits, 8, 1, bits, 4)):
        assert torch.equal(torch.from_numpy(found[number]), F.posterize(torch.from_numpy(NOISE[number]), own))


def test_solarizes_from_the_threshold_up():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, 1).repeat(4, 0)
    for own, one in zip((0, 100, 255, 256), solarized(levels, [0, 100, 255, 256]), strict=True):
        assert np.array_equal(one, np.where(levels[0] >= own, 255 - levels[0], levels[0]))


def test_a_picture_without_inner_pixels_cannot_be_sharpened():
    assert np.array_equal(sharper(NOISE[:, :, :2], [1.9] * 5), NOISE[:, :, :2])


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_quarter_turns_move_whole_pixels(interpolation):
    square = np.ascontiguousarray(NOISE[:4, :, :, :5])
    gaps = np.zeros((4, 3), dtype=np.uint8)
    found = mapped(square, [rotate(degrees) for degrees in (0.0, 90.0, 180.0, -90.0)], gaps, interpolation)
    for turns, (one, before) in enumerate(zip(found, square, strict=True)):
        assert np.array_equal(one, np.rot90(before, turns, (1, 2)))
