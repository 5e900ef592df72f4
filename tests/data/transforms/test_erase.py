import math

import pytest
import torch

from paretina.clock import END, START
from paretina.data.transforms.erase import RandomErasing, rectangle
from paretina.schedules import Constant, Linear

ALWAYS = Constant(value=1.0)


def test_rectangles_lie_inside_and_keep_their_bounds():
    torch.manual_seed(0)
    drawn = [rectangle(40, 60, (0.05, 0.3), (0.5, 2.0)) for _ in range(500)]
    for top, left, rows, columns in drawn:
        assert 0 <= top <= top + rows <= 40
        assert 0 <= left <= left + columns <= 60
        # rounding moves each side by up to half a pixel
        assert 0.05 * 0.9 <= rows * columns / 2400 <= 0.3 * 1.1
        assert 0.5 * 0.9 <= rows / columns <= 2.0 * 1.1
    assert {top == 0 for top, *_ in drawn} == {top + rows == 40 for top, _, rows, _ in drawn} == {True, False}


def test_area_is_uniform_and_form_symmetrical():
    torch.manual_seed(0)
    drawn = [rectangle(200, 200, (0.02, 0.32), (1 / 3, 3.0)) for _ in range(1000)]
    areas = [rows * columns / 40_000 for *_, rows, columns in drawn]
    forms = [math.log(rows / columns) for *_, rows, columns in drawn]
    # three standard errors: sqrt(0.3^2 / 12 / 1000) and sqrt((2 ln 3)^2 / 12 / 1000)
    assert sum(areas) / 1000 == pytest.approx(0.17, abs=0.009)
    assert sum(forms) / 1000 == pytest.approx(0.0, abs=0.06)


def test_paints_grey_and_leaves_the_rest():
    image = torch.full((3, 20, 20), 7, dtype=torch.uint8)
    torch.manual_seed(0)
    erased = RandomErasing(probability=ALWAYS, area=(0.25, 0.25), ratio=(1.0, 1.0))(image, 20, START)
    assert (erased == 128).sum().item() == 3 * 100
    assert (erased == 7).sum().item() == 3 * 300


def test_noise_differs_from_pixel_to_pixel():
    image = torch.zeros(3, 20, 20, dtype=torch.uint8)
    torch.manual_seed(0)
    erased = RandomErasing(probability=ALWAYS, area=(0.25, 0.25), ratio=(1.0, 1.0), fill="noise")(image, 20, START)
    assert erased.unique().numel() > 100


def test_leaves_a_picture_in_which_nothing_fits():
    image = torch.full((3, 1, 30), 7, dtype=torch.uint8)
    torch.manual_seed(0)
    assert torch.equal(RandomErasing(probability=ALWAYS, area=(0.9, 1.0), ratio=(1.0, 1.0))(image, 30, START), image)


def test_follows_the_clock():
    image = torch.full((3, 20, 20), 7, dtype=torch.uint8)
    erasing = RandomErasing(probability=Linear(start=0.0, end=1.0))
    torch.manual_seed(0)
    assert all(erasing(image, 20, START) is image for _ in range(20))
    assert all(not torch.equal(erasing(image, 20, END), image) for _ in range(20))


@pytest.mark.parametrize("fields", [{"area": (0.0, 0.3)}, {"area": (0.3, 0.2)}, {"ratio": (-1.0, 3.0)}])
def test_refuses_impossible_bounds(fields):
    with pytest.raises(ValueError, match="in rising order"):
        RandomErasing(**fields)
