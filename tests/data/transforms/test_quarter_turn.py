import torch

from paretina.clock import START
from paretina.data.transforms.quarter_turn import QuarterTurn
from paretina.schedules import Constant


def turned(image, count=200, **fields):
    torch.manual_seed(0)
    return [QuarterTurn(**fields)(image, 4, START) for _ in range(count)]


def test_all_four_turns_are_drawn_and_none_is_mirrored():
    image = torch.arange(48, dtype=torch.uint8).view(3, 4, 4)
    wanted = [image.rot90(turns, (1, 2)) for turns in range(4)]
    found = turned(image)
    counts = [sum(torch.equal(each, one) for each in found) for one in wanted]
    assert sum(counts) == 200
    assert min(counts) > 30


def test_a_picture_that_is_not_square_is_only_turned_around():
    image = torch.arange(24, dtype=torch.uint8).view(3, 4, 2)
    assert {torch.equal(each, image) or torch.equal(each, image.flip(1, 2)) for each in turned(image)} == {True}


def test_never_turns_at_probability_zero():
    image = torch.arange(48, dtype=torch.uint8).view(3, 4, 4)
    assert all(torch.equal(each, image) for each in turned(image, probability=Constant(value=0.0)))
