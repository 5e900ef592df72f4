from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from paretina.data.preprocess import preprocess
from paretina.model.blueprint import Preprocessing

DOOR = Preprocessing(crop=1.0)


def ramp(rows, columns):
    """A picture whose red tells the row and whose green tells the column."""
    image = torch.zeros(3, rows, columns, dtype=torch.uint8)
    image[0] = torch.arange(rows)[:, None]
    image[1] = torch.arange(columns)[None]
    return image


def noise(rows, columns):
    return torch.randint(0, 256, (3, rows, columns), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_picture_of_the_right_size_stays_as_it_is():
    image = noise(16, 16)
    assert torch.equal(preprocess(image, DOOR, 16), image)


@pytest.mark.parametrize(
    ("rows", "columns", "crop", "row", "column", "side"),
    [
        (20, 30, 1.0, 0, 5, 20),  # the middle of a wide picture
        (30, 20, 1.0, 5, 0, 20),
        (20, 20, 0.5, 5, 5, 10),
        (20, 25, 0.5, 5, 8, 10),  # 15 pixels to leave out: 8 before, 7 behind
        (21, 21, 0.5, 6, 6, 10),  # 10.5 pixels are 10; 11 to leave out: 6 before
    ],
)
def test_the_central_square_is_kept(rows, columns, crop, row, column, side):
    kept = preprocess(ramp(rows, columns), replace(DOOR, crop=crop), side)
    assert torch.equal(kept, ramp(rows, columns)[:, row : row + side, column : column + side])


def test_squashing_keeps_everything():
    image = torch.zeros(3, 8, 16, dtype=torch.uint8)
    image[:, :, 8:] = 200
    squashed = preprocess(image, replace(DOOR, fit="squash", crop=0.5, interpolation="bilinear"), 8)
    assert squashed.shape == (3, 8, 8)
    assert squashed[:, :, 0].unique().tolist() == [0]
    assert squashed[:, :, -1].unique().tolist() == [200]


@pytest.mark.parametrize(("name", "filter"), [("bilinear", PIL.Image.BILINEAR), ("bicubic", PIL.Image.BICUBIC)])
@pytest.mark.parametrize("size", [10, 16, 37])
def test_resizes_as_pillow_does(name, filter, size):
    image = noise(31, 29)
    preprocessing = Preprocessing(crop=0.9, interpolation=name)
    side = int(0.9 * 29)
    row, column = (31 - side + 1) // 2, (29 - side + 1) // 2
    photo = PIL.Image.fromarray(image.permute(1, 2, 0).numpy()).crop((column, row, column + side, row + side))
    wanted = np.asarray(photo.resize((size, size), filter), dtype=int)
    given = preprocess(image, preprocessing, size).permute(1, 2, 0).numpy()
    assert np.abs(given - wanted).max() <= 1


def test_the_two_interpolations_differ():
    assert not torch.equal(
        preprocess(noise(31, 31), replace(DOOR, interpolation="bilinear"), 16),
        preprocess(noise(31, 31), replace(DOOR, interpolation="bicubic"), 16),
    )


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 40), (3, 2)])
def test_the_smallest_pictures_come_through(rows, columns):
    image = preprocess(noise(rows, columns), Preprocessing(crop=0.5), 16)
    assert image.shape == (3, 16, 16)
    assert image.dtype == torch.uint8


@pytest.mark.parametrize("resolution", [224, 240, 260, 300, 380, 456, 528, 600])
def test_the_crop_of_the_efficientnets_is_theirs(resolution):
    # a picture of resolution + 32 pixels is cut to its resolution and not resized
    image = ramp(resolution + 32, resolution + 32)
    kept = preprocess(image, Preprocessing(crop=resolution / (resolution + 32)), resolution)
    assert torch.equal(kept, image[:, 16 : 16 + resolution, 16 : 16 + resolution])
