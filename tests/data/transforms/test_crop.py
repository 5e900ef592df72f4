from dataclasses import asdict

import pytest
import torch
from torchvision.transforms import v2

from paretina.clock import END, START
from paretina.data.transforms.crop import RandomResizedCrop, part
from paretina.schedules import Constant, Linear

RAMP = torch.arange(64, dtype=torch.uint8).mul(4).expand(3, 64, 64)
"""Brightness 4 x column, so that the range of levels tells the width of the crop."""


def width_seen(crop, clock, seed):
    torch.manual_seed(seed)
    levels = crop(RAMP, 64, clock).float()
    return (levels.max() - levels.min()).item() / 4


def test_everything_is_a_plain_resize():
    image = torch.randint(256, (3, 12, 12), dtype=torch.uint8)
    whole = RandomResizedCrop(smallest=Constant(value=1.0), ratio=(1.0, 1.0))
    assert torch.equal(whole(image, 12, START), image)


def test_smallest_follows_the_clock():
    # squares of area 1/4 to 1/4 have sides of 32, those of area 1 to 1 have 64
    crop = RandomResizedCrop(smallest=Linear(start=1.0, end=0.25), ratio=(1.0, 1.0), interpolation="bilinear")
    assert width_seen(crop, START, 0) == pytest.approx(63, abs=1)
    assert min(width_seen(crop, END, seed) for seed in range(40)) == pytest.approx(32, abs=4)


def test_area_is_drawn_between_its_bounds():
    crop = RandomResizedCrop(smallest=Constant(value=0.25), largest=0.36, ratio=(1.0, 1.0), interpolation="bilinear")
    widths = [width_seen(crop, START, seed) for seed in range(40)]
    assert min(widths) >= 30
    assert max(widths) <= 0.6 * 64
    assert max(widths) - min(widths) > 4


@pytest.mark.parametrize("seed", range(5))
def test_gives_the_pixels_of_torchvision(seed):
    image = torch.randint(256, (3, 41, 67), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    torch.manual_seed(seed)
    expected = v2.RandomResizedCrop(32, (0.1, 1.0), interpolation=v2.InterpolationMode.BICUBIC)(image)
    torch.manual_seed(seed)
    assert torch.equal(RandomResizedCrop(smallest=Constant(value=0.1))(image, 32, START), expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 90), (90, 2), (7, 12), (40, 41)])
@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (1.0, 1.0), (0.2, 0.3)])
def test_draws_the_part_that_torchvision_draws(height, width, ratio):
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for seed in range(20):
        torch.manual_seed(seed)
        wanted = v2.RandomResizedCrop(8, (0.08, 1.0), ratio).make_params([image])
        after = torch.get_rng_state()
        torch.manual_seed(seed)
        found = asdict(part((0.08, 1.0), ratio, height, width))
        assert found == {name: max(1, value) if name in ("height", "width") else value for name, value in wanted.items()}
        assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"largest": 1.5}, r"largest must be in \(0, 1\], got 1.5"),
        ({"smallest": 0.6, "largest": 0.5}, r"smallest must stay in \[0, 0.5\], but is 0.6"),
        ({"ratio": (2.0, 1.0)}, "ratio must be two positive numbers in rising order"),
    ],
)
def test_refuses_impossible_bounds(fields, message):
    with pytest.raises(ValueError, match=message):
        RandomResizedCrop(**fields)
