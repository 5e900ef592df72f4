import torch

from paretina.clock import END, START
from paretina.data.transforms.shift import RandomShift
from paretina.schedules import Constant, Linear


def test_reaches_every_move_up_to_the_share_and_none_beyond():
    image = torch.zeros(3, 20, 40, dtype=torch.uint8)
    image[:, 10, 20] = 255
    found = set()
    for seed in range(300):
        torch.manual_seed(seed)
        row, column = (RandomShift()(image, 40, START)[0] == 255).nonzero()[0].tolist()
        found.add((row - 10, column - 20))
    assert {down for down, _ in found} == set(range(-2, 3))
    assert {right for _, right in found} == set(range(-4, 5))


def test_follows_the_clock():
    image = torch.randint(256, (3, 20, 20), dtype=torch.uint8)
    transform = RandomShift(share=Linear(start=0.0, end=0.5))
    torch.manual_seed(0)
    assert torch.equal(transform(image, 20, START), image)
    assert not torch.equal(transform(image, 20, END), image)


def test_whole_share_may_empty_the_picture_but_keeps_its_size():
    image = torch.full((3, 4, 4), 9, dtype=torch.uint8)
    for seed in range(50):
        torch.manual_seed(seed)
        assert RandomShift(share=Constant(value=1.0))(image, 4, START).shape == (3, 4, 4)
