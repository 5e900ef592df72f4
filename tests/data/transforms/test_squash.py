import torch

from paretina.clock import START
from paretina.data.transforms.squash import Squash


def test_keeps_both_ends():
    image = torch.zeros(3, 8, 32, dtype=torch.uint8)
    image[:, :, :8] = 100
    image[:, :, 24:] = 200
    row = Squash(interpolation="bilinear")(image, 8, START)[0, 4]
    assert (row[0].item(), row[4].item(), row[7].item()) == (100, 0, 200)


def test_keeps_a_picture_that_fits():
    image = torch.randint(256, (3, 8, 8), dtype=torch.uint8)
    assert torch.equal(Squash()(image, 8, START), image)
