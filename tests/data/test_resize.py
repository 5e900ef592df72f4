import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from paretina.data.resize import resized


def test_a_mask_takes_the_pixels_with_the_nearest_centres():
    # of 6 pixels the centres of two thirds are at 1.5 and 4.5, in the pixels 1 and 4; corners would give 0 and 3
    mask = tv_tensors.Mask(torch.arange(6, dtype=torch.uint8).expand(3, 6, 6))
    found = resized(mask, 2, 2)
    assert isinstance(found, tv_tensors.Mask)
    assert found[0].tolist() == [[1, 4], [1, 4]]
    assert resized(mask, 6, 12)[0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_mask_stays_on_its_picture():
    # what a picture has above the middle between dark and bright is where the mask says bright
    pixels = torch.zeros(3, 30, 30, dtype=torch.uint8)
    pixels[:, 7:20, 4:23] = 200
    for side in (7, 16, 21, 45):
        picture, mask = resized(pixels, side, side, "bilinear"), resized(tv_tensors.Mask(pixels), side, side)
        assert set(mask.unique().tolist()) == {0, 200}
        wrong = (picture[0] > 100) != (mask[0] > 100)
        assert int(wrong.sum()) <= 0.02 * side**2


def test_a_picture_is_as_torchvision_has_it():
    picture = torch.randint(256, (3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for name in ("bilinear", "bicubic"):
        expected = F.resize(picture, [9, 40], InterpolationMode(name), antialias=True)
        assert torch.equal(resized(picture, 9, 40, name), expected)
