import pytest
import torch

from paretina.clock import END, START
from paretina.data.transforms.flip import HorizontalFlip
from paretina.schedules import Constant, Linear

IMAGE = torch.arange(3, dtype=torch.uint8).expand(3, 2, 3)


def test_turns_left_into_right():
    assert HorizontalFlip(probability=Constant(value=1.0))(IMAGE, 3, START)[0].tolist() == [[2, 1, 0], [2, 1, 0]]


def test_never_flips_at_probability_zero_and_follows_the_clock():
    flip = HorizontalFlip(probability=Linear(start=0.0, end=1.0))
    assert all(torch.equal(flip(IMAGE, 3, START), IMAGE) for _ in range(20))
    assert all(torch.equal(flip(IMAGE, 3, END), IMAGE.flip(-1)) for _ in range(20))


def test_flips_about_as_often_as_asked():
    torch.manual_seed(0)
    flip = HorizontalFlip(probability=Constant(value=0.3))
    flips = sum(not torch.equal(flip(IMAGE, 3, START), IMAGE) for _ in range(1000))
    assert flips == pytest.approx(300, abs=60)


def test_refuses_a_probability_above_one():
    with pytest.raises(ValueError, match=r"HorizontalFlip.probability must stay in \[0, 1\], but is 50"):
        HorizontalFlip(probability=50.0)
