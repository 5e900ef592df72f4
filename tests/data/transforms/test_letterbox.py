import torch

from paretina.clock import START
from paretina.data.transforms.letterbox import Letterbox


def test_puts_bars_above_and_below_a_wide_picture():
    image = torch.full((3, 2, 8), 7, dtype=torch.uint8)
    boxed = Letterbox(fill="white")(image, 8, START)
    assert boxed[0, :, 0].tolist() == [255, 255, 255, 7, 7, 255, 255, 255]


def test_puts_bars_beside_a_tall_picture():
    image = torch.full((3, 8, 2), 7, dtype=torch.uint8)
    boxed = Letterbox(fill="black")(image, 4, START)
    assert boxed[0, 0].tolist() == [0, 7, 0, 0]


def test_keeps_a_picture_that_fits():
    image = torch.randint(256, (3, 8, 8), dtype=torch.uint8)
    assert torch.equal(Letterbox()(image, 8, START), image)
