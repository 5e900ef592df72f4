"""The transforms of BYOL's views: blur, grey, solarised."""

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from paretina.clock import START
from paretina.data.transforms.blur import GaussianBlur
from paretina.data.transforms.grayscale import Grayscale
from paretina.data.transforms.jitter import ColorJitter
from paretina.data.transforms.solarize import Solarize
from paretina.schedules import Constant

ALWAYS, NEVER = Constant(value=1.0), Constant(value=0.0)


def picture(side=40):
    return torch.randint(256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_blur_is_in_proportion_to_the_side():
    blur = GaussianBlur(probability=ALWAYS, sigma=(2.0, 2.0))
    assert torch.equal(blur(picture(224), 224, START), F.gaussian_blur(picture(224), [23, 23], [2.0, 2.0]))
    assert torch.equal(blur(picture(112), 112, START), F.gaussian_blur(picture(112), [11, 11], [1.0, 1.0]))


def test_blur_never_vanishes_and_takes_the_smallest_picture():
    blur = GaussianBlur(probability=ALWAYS)
    assert not torch.equal(blur(picture(16), 16, START), picture(16))
    assert blur(picture(1), 1, START).shape == (3, 1, 1)


def test_grey_has_three_equal_channels():
    grey = Grayscale(probability=ALWAYS)(picture(), 40, START)
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])


def test_bright_pixels_are_inverted():
    image = torch.tensor([0, 100, 127, 128, 200, 255], dtype=torch.uint8).expand(3, 1, 6)
    assert Solarize(probability=ALWAYS)(image, 6, START)[0, 0].tolist() == [0, 100, 127, 127, 55, 0]


@pytest.mark.parametrize("kind", [GaussianBlur, Grayscale, Solarize, ColorJitter])
def test_a_share_of_the_pictures_is_changed(kind):
    assert kind(probability=NEVER)(picture(), 40, START) is not None
    assert torch.equal(kind(probability=NEVER)(picture(), 40, START), picture())
    torch.manual_seed(0)
    changed = [not torch.equal(kind(probability=Constant(value=0.5))(picture(), 40, START), picture()) for _ in range(200)]
    assert 70 < sum(changed) < 130


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: GaussianBlur(sigma=(0.0, 1.0)), "GaussianBlur.sigma must be two numbers above 0 in rising order"),
        (lambda: GaussianBlur(sigma=(2.0, 1.0)), "in rising order"),
        (lambda: Solarize(threshold=256), "a grey level, 0 to 255, got 256"),
        (lambda: Grayscale(probability=Constant(value=1.5)), "Grayscale.probability must stay"),
        (lambda: ColorJitter(probability=Constant(value=-1.0)), "ColorJitter.probability must stay"),
    ],
)
def test_ranges(make, said):
    with pytest.raises(ValueError, match=said):
        make()
