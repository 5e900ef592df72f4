import io
import math

import numpy as np
import PIL.Image
import pytest
import torch

from paretina.clock import START
from paretina.data.decode import CodedLevels, decode
from paretina.data.levels import (
    MARGIN,
    StoredLevels,
    WholeLevels,
    Window,
    copies_for,
    halved,
    halvings_for,
    level_place,
    stored_size,
    within,
)
from paretina.data.resize import resized, resized_alone
from paretina.data.transform import Look
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.letterbox import Letterbox
from paretina.data.transforms.squash import Squash

TURNS = {1: 0, 3: 180, 6: 270, 8: 90}
"""EXIF orientation by the degrees, counterclockwise, by which a viewer turns the picture."""


def slopes(height, width):
    """Red rises from left to right and green from top to bottom, from 20 to 235."""
    across = np.broadcast_to(np.linspace(20, 235, width)[None], (height, width))
    down = np.broadcast_to(np.linspace(20, 235, height)[:, None], (height, width))
    return np.stack([across, down, np.full((height, width), 128.0)], axis=2).round().astype(np.uint8)


def coded(pixels, turned=1, **options):
    file, exif = io.BytesIO(), PIL.Image.Exif()
    if turned != 1:
        exif[0x0112] = turned
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0, exif=exif, **options)
    return file.getvalue()


# --- which copy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "side", "margin", "halvings"),
    [
        # part / 2^n must be at least margin x side
        (375, 160, 1.0, 1),
        (375, 64, 1.0, 2),
        (375, 188, 1.0, 0),
        (256, 128, 1.0, 1),
        (255, 128, 1.0, 0),
        (287, 128, MARGIN, 0),
        (288, 128, MARGIN, 1),
        (575, 128, MARGIN, 1),
        (576, 128, MARGIN, 2),
        (72, 32, MARGIN, 1),
        (71, 32, MARGIN, 0),
        (512, 128, 2.0, 1),
        (511, 128, 2.0, 0),
        (1, 224, MARGIN, 0),
        (4000, 32, MARGIN, 6),
    ],
)
def test_the_smallest_copy_with_enough_pixels_is_taken(part, side, margin, halvings):
    assert halvings_for(part, side, margin) == halvings
    assert halvings == 0 or part / 2**halvings >= margin * side
    assert part / 2 ** (halvings + 1) < margin * side


@pytest.mark.parametrize(("size", "expected"), [(32, 3), (64, 2), (128, 1), (167, 0)])
def test_no_crop_asks_for_a_copy_that_is_not_there(size, expected):
    assert copies_for(375, 500, size) == expected
    assert copies_for(375, 500, None) == 0
    look = Look((RandomResizedCrop(),))
    found = {look.begin(375, 500, size, seed, START).halvings for seed in range(200)}
    assert max(found) == expected
    assert min(found) == 0 or size == 32


def test_the_crop_decides_and_not_the_picture():
    # a quarter of the area and all of it, of one picture
    quarter, whole = (RandomResizedCrop(smallest=share, largest=share, ratio=(1.0, 1.0)) for share in (0.25, 1.0))
    assert [Look((crop,)).begin(512, 512, 128, 0, START).halvings for crop in (quarter, whole)] == [0, 1]
    assert [Look((crop,)).begin(512, 512, 64, 0, START).halvings for crop in (quarter, whole)] == [1, 2]


@pytest.mark.parametrize(
    ("transform", "at_128", "at_64"),
    [(Squash(), 0, 1), (CentreCrop(), 0, 1), (CentreCrop(share=0.5), 0, 0), (Letterbox(), 1, 2)],
)
def test_what_always_shows_the_same_part_keeps_twice_its_pixels(transform, at_128, at_64):
    found = [Look((transform,)).begin(500, 520, size, 0, START).halvings for size in (128, 64)]
    assert found == [at_128, at_64]


def test_a_drawn_part_costs_no_draw_more_than_before():
    look = Look((RandomResizedCrop(),))
    torch.manual_seed(7)
    RandomResizedCrop().window(300, 400, 64, START)
    assert torch.equal(look.begin(300, 400, 64, 7, START).state, torch.get_rng_state())


# --- positions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", TURNS)
@pytest.mark.parametrize(("height", "width"), [(375, 500), (401, 333)])
def test_a_crop_shows_the_same_place_whatever_it_is_cut_from(height, width, turned):
    upright = slopes(height, width)
    stored = np.asarray(PIL.Image.fromarray(upright).rotate(-TURNS[turned], expand=True))
    levels = CodedLevels(coded(stored, turned), "a")
    assert (levels.height, levels.width) == (height, width)
    random = np.random.default_rng(0)
    for _ in range(12):
        rows, columns = (int(random.integers(96, side + 1)) for side in (height, width))
        window = Window(int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1)), rows, columns)
        for halvings in range(4):
            image = levels.level(halvings)
            assert image.shape[1:] == (math.ceil(height / 2**halvings), math.ceil(width / 2**halvings))
            part = window.halved(halvings, *image.shape[1:])
            found = resized_alone(part.of(image), 8, 8).float()
            # where the middle of each pixel of the result lies in the picture, by its levels, and where it should
            across = (found[0].mean(0) - 20) / 215 * (width - 1) + 0.5
            down = (found[1].mean(1) - 20) / 215 * (height - 1) + 0.5
            middles = (torch.arange(8) + 0.5) / 8
            # a pixel of the copy at the most, which is less than one of the result; levels are whole, so half of one more
            room = 2**halvings + 0.5 * max(height, width) / 215 + 1.0
            assert (across - window.left - columns * middles)[1:-1].abs().max() < room
            assert (down - window.top - rows * middles)[1:-1].abs().max() < room


@pytest.mark.parametrize("halvings", range(5))
def test_windows_are_divided_exactly_and_never_empty(halvings):
    step = 2**halvings
    assert Window(3 * step, 5 * step, 7 * step, 9 * step).halved(halvings, 100, 100) == Window(3, 5, 7, 9)
    rows, columns = math.ceil(375 / step), math.ceil(501 / step)
    whole = Window(0, 0, 375, 501).halved(halvings, rows, columns)
    assert (whole.height, whole.width) == tuple(
        (side + step // 2) // step for side in (375, 501)
    )  # most of a last pixel must be in the picture
    for top in range(375):
        found = Window(top, 500, 1, 1).halved(halvings, rows, columns)
        assert found.height == found.width == 1
        assert 0 <= found.top < rows
        assert 0 <= found.left < columns
        assert abs((found.top + 0.5) * step - (top + 0.5)) <= step


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9), (1, 5), (1, 1)])
def test_halves_are_rounded_up_and_stay_in_place(height, width):
    image = torch.from_numpy(slopes(height, width)).permute(2, 0, 1)
    half = halved(image)
    assert half.shape == (3, math.ceil(height / 2), math.ceil(width / 2))
    assert half.stride()[0] == 1
    wanted = torch.nn.functional.avg_pool2d(image.float()[None], 2, ceil_mode=True, count_include_pad=False)[0]
    assert (half[:, 1:-1, 1:-1] - wanted[:, 1:-1, 1:-1]).abs().numpy().max(initial=0) <= 4


def test_pictures_are_packed_in_their_form():
    image = torch.zeros(3, 300, 400, dtype=torch.uint8).permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert within(image, 150).shape == (3, 150, 200)
    assert within(image, 300) is image
    assert within(torch.zeros(3, 1, 90, dtype=torch.uint8), 2).shape == (3, 1, 90)


# --- the same wherever it comes from ------------------------------------------------------------------------------------


def noise(height, width, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return np.array(PIL.Image.fromarray(small).resize((width, height), PIL.Image.Resampling.BICUBIC))


@pytest.mark.parametrize("at_least", [None, 60, 200])
@pytest.mark.parametrize("turned", [1, 6])
def test_the_picture_itself_is_what_the_decoder_gives(at_least, turned):
    data = coded(noise(211, 307), turned)
    levels = CodedLevels(data, "a", at_least)
    whole = decode(data, "a", at_least)
    assert torch.equal(levels.level(0), whole)
    assert (levels.height, levels.width) == whole.shape[1:]
    if at_least == 60:  # reduced already: the copies are halves of it
        assert torch.equal(levels.level(1), halved(whole))
    else:  # what the decoder gives at half and at a quarter
        for halvings in (1, 2):
            assert torch.equal(levels.level(halvings), decode(data, "a", 211 // 2**halvings))
        assert torch.equal(levels.level(4), halved(decode(data, "a", 211 // 8)))


def test_other_formats_are_halved():
    file = io.BytesIO()
    PIL.Image.fromarray(noise(61, 83)).save(file, "PNG")
    levels = CodedLevels(file.getvalue(), "a", 16)
    assert torch.equal(levels.level(2), halved(halved(decode(file.getvalue(), "a"))))
    assert torch.equal(levels.level(2), WholeLevels(decode(file.getvalue(), "a")).level(2))


def test_stored_copies_lie_one_after_the_other():
    image = torch.from_numpy(noise(21, 34)).permute(2, 0, 1)
    wanted = [image, halved(image), halved(halved(image))]
    packed = torch.cat([torch.zeros(5, dtype=torch.uint8), *(each.permute(1, 2, 0).flatten() for each in wanted)])
    assert len(packed) == 5 + stored_size(21, 34, 2)
    assert level_place(5, 21, 34, 1) == (5 + 3 * 21 * 34, 11, 17)
    levels = StoredLevels(packed, 5, 21, 34)
    for halvings, each in enumerate(wanted):
        assert torch.equal(levels.level(halvings), each)
        assert levels.level(halvings).stride()[0] == 1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_one_picture_is_resized_to_the_same_bits_in_any_layout(interpolation):
    random = np.random.default_rng(0)
    whole = torch.from_numpy(noise(90, 120)).permute(2, 0, 1)
    for image in (whole, whole.contiguous()):
        for _ in range(40):
            rows, columns = (int(random.integers(1, side + 1)) for side in (90, 120))
            part = Window(int(random.integers(90 - rows + 1)), int(random.integers(120 - columns + 1)), rows, columns)
            side = int(random.choice([1, 7, 16, 33, rows]))
            wanted = resized(part.of(image), side, side, interpolation)
            found = resized_alone(part.of(image), side, side, interpolation)
            assert torch.equal(found, wanted)
            assert torch.equal(resized_alone(part.of(image), side, side, interpolation, any_layout=True), wanted)
