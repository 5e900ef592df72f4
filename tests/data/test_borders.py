"""Weights of pixels between objects, against each pixel and each object in turn."""

import math

import numpy as np
import pytest
import torch

from paretina.data.borders import REACH, BetweenObjects, nearness


def by_hand(mask, sigma):
    """Equation 2 of Ronneberger et al. 2015 without w0, pixel by pixel."""
    places = [(row, column) for row in range(mask.shape[0]) for column in range(mask.shape[1])]
    numbers = [number for number in np.unique(mask) if number not in (0, 255)]
    found = np.zeros(mask.shape)
    for row, column in places:
        distances = []
        for number in numbers:
            inside = mask[row, column] == number
            others = [each for each in places if (mask[each] == number) != inside]
            distances.append(min(math.dist((row, column), each) for each in others))
        first, second = sorted(distances)[:2]
        found[row, column] = math.exp(-((first + second) ** 2) / (2 * sigma**2))
    return found


def drawn():
    mask = np.zeros((14, 17), np.uint8)
    mask[1:6, 1:6] = 3
    mask[1:5, 8:12] = 1  # two columns away
    mask[6:12, 2:7] = 7  # touches the first
    mask[9:13, 13:17] = 200  # at the edge
    mask[0, :4] = 255
    return mask


@pytest.mark.parametrize("sigma", [0.8, 2.0, 5.0])
def test_it_is_equation_2_at_each_pixel(sigma):
    mask = drawn()
    np.testing.assert_allclose(nearness(mask, sigma), by_hand(mask, sigma), atol=math.exp(-(REACH**2) / 2))


def test_it_is_largest_where_objects_touch():
    found = nearness(drawn(), 3.0)
    assert found[5, 3] == found[6, 3] == found.max() == pytest.approx(math.exp(-4 / 18))
    assert found[13, 10] < found[3, 6] < found.max()


@pytest.mark.parametrize("numbers", [(), (4,)])
def test_nothing_lies_between_fewer_than_two_objects(numbers):
    mask = np.zeros((6, 6), np.uint8)
    for number in numbers:
        mask[:] = number
    assert nearness(mask, 3.0).max() == 0
    mask[0, 0] = 0
    assert nearness(mask, 3.0).max() == 0


def test_weights_are_added_to_1():
    masks = [torch.from_numpy(drawn()), torch.zeros(14, 17, dtype=torch.uint8)]
    found = BetweenObjects(10.0, 3.0)(masks)
    assert found.shape == (2, 14, 17)
    assert bool((found[1] == 1).all())
    np.testing.assert_allclose(found[0].numpy(), 1 + 10 * nearness(drawn(), 3.0), rtol=1e-6)
