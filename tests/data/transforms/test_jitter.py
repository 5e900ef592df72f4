import torch

from paretina.clock import END, START
from paretina.data.transforms.jitter import ColorJitter
from paretina.schedules import Constant, Linear

NONE = Constant(value=0.0)


def test_strength_zero_is_the_picture_itself():
    image = torch.randint(256, (3, 6, 6), dtype=torch.uint8)
    jitter = ColorJitter(brightness=Linear(start=0.0, end=0.4), contrast=NONE, saturation=NONE)
    assert jitter(image, 6, START) is image
    torch.manual_seed(0)
    assert not torch.equal(jitter(image, 6, END), image)


def test_brightness_stays_within_its_factors():
    image = torch.full((3, 2, 2), 100, dtype=torch.uint8)
    jitter = ColorJitter(brightness=Constant(value=0.3), contrast=NONE, saturation=NONE)
    torch.manual_seed(0)
    levels = [jitter(image, 2, START)[0, 0, 0].item() for _ in range(200)]
    assert 69 <= min(levels) < 80
    assert 120 < max(levels) <= 130


def test_saturation_leaves_grey_alone():
    image = torch.randint(256, (1, 6, 6), dtype=torch.uint8).expand(3, 6, 6)
    jitter = ColorJitter(brightness=NONE, contrast=NONE, saturation=Constant(value=0.9))
    assert (jitter(image, 6, START).int() - image.int()).abs().max() <= 1
