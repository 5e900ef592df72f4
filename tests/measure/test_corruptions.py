import csv
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from paretina.data.pictures import read_pictures
from paretina.data.sources.arrays import from_arrays
from paretina.measure import corruptions
from paretina.measure.corruptions import KINDS, STRENGTHS, corrupt, corrupted_accuracy, judged, kinds_named
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan
from paretina.model.blueprint import Preprocessing

every_kind = pytest.mark.parametrize("kind", KINDS)


def picture(rows=48, columns=48):
    """Stripes, a slope and an edge in different colours, all levels between 20 and 235."""
    down, across = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    stripes = 0.5 + 0.5 * np.sin(25 * across + 9 * down)
    channels = np.stack([0.7 * stripes + 0.3 * down, down * (across > 0.4), 0.5 * across + 0.5 * (down > 0.5)])
    return torch.from_numpy((20 + 215 * channels).astype(np.uint8))


def distortion(one, other):
    return (one.float() - other.float()).square().mean().item()


def test_there_are_fifteen_kinds_in_four_groups():
    assert len(KINDS) == 15
    groups = [kind.group for kind in KINDS.values()]
    assert {group: groups.count(group) for group in groups} == {"noise": 3, "blur": 4, "weather": 4, "digital": 4}


@every_kind
def test_distortion_grows_with_strength(kind):
    image = picture(112, 112)
    found = [distortion(corrupt(image, kind, strength, 3), image) for strength in STRENGTHS]
    assert found[0] > 10
    assert all(later > 1.03 * earlier for earlier, later in itertools.pairwise(found))


@every_kind
def test_no_strength_leaves_the_picture(kind):
    image = picture()
    same = corrupt(image, kind, 0)
    assert torch.equal(same, image)
    assert same.data_ptr() != image.data_ptr()
    # JPEG rounds its colours even at quality 100
    assert distortion(corrupt(image, kind, 1e-4), image) < 2


@every_kind
@pytest.mark.parametrize("shape", [(48, 48), (37, 53), (64, 31), (1, 1), (1, 40), (3, 2)])
def test_size_and_type_are_kept(kind, shape):
    image = picture(*shape)
    before = image.clone()
    found = corrupt(image, kind, 3)
    assert (found.shape, found.dtype) == (image.shape, torch.uint8)
    assert found.is_contiguous()
    assert torch.equal(image, before)


@every_kind
def test_a_picture_is_corrupted_the_same_way_each_time(kind):
    image = picture(20, 20)
    assert torch.equal(corrupt(image, kind, 2, 5, 1), corrupt(image, kind, 2, 5, 1))
    # in memory with its channels last, as it comes from a file
    last = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(corrupt(last, kind, 2, 5, 1), corrupt(image, kind, 2, 5, 1))


DRAWN = [kind for kind in KINDS if kind not in ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg")]


@pytest.mark.parametrize("kind", DRAWN)
def test_pictures_and_seeds_have_their_own_noise(kind):
    image = picture()
    found = [corrupt(image, kind, 2, *which) for which in ((0, 0), (1, 0), (0, 1))]
    assert all(distortion(one, other) > 0 for one, other in ((found[0], found[1]), (found[0], found[2]), (found[1], found[2])))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in DRAWN])
def test_the_others_have_nothing_random(kind):
    image = picture(20, 20)
    assert torch.equal(corrupt(image, kind, 2, 0, 0), corrupt(image, kind, 2, 7, 9))


@pytest.mark.parametrize("kind", ["defocus_blur", "motion_blur", "zoom_blur", "elastic", "snow", "frost", "fog", "contrast"])
def test_strength_means_the_same_at_every_size(kind):
    small, large = (
        np.mean([distortion(corrupt(picture(side, side), kind, 2, number), picture(side, side)) for number in range(4)])
        for side in (80, 240)
    )
    assert small == pytest.approx(large, rel=0.25)


def test_what_was_asked_wrongly_is_refused():
    image = picture(4, 4)
    with pytest.raises(ValueError, match=r"no corruption 'frosty'; did you mean 'frost'\?"):
        corrupt(image, "frosty", 1)
    with pytest.raises(ValueError, match="must be in 0 to 3, got 4"):
        corrupt(image, "frost", 4)
    with pytest.raises(ValueError, match="must not be negative, got picture=-1, seed=0"):
        corrupt(image, "frost", 1, -1)


# --- by hand ------------------------------------------------------------------------------------------------------------


def grey(level, side=224):
    return torch.full((3, side, side), level, dtype=torch.uint8)


@pytest.mark.parametrize("side", [56, 224])
def test_noise_has_the_power_that_its_card_says(side):
    share = side / 224
    change = (corrupt(grey(128, side), "gaussian_noise", 1).float() - 128) / 255
    assert change.mean().item() == pytest.approx(0, abs=0.003)
    assert change.std().item() == pytest.approx(0.08 * math.sqrt(share), rel=0.03)
    # as many photons as levels are bright: the variance is the mean, in units of a photon
    counted = corrupt(grey(102, side), "shot_noise", 1).float() / 255
    assert counted.mean().item() == pytest.approx(0.4, abs=0.003)
    assert counted.var().item() == pytest.approx(0.4 * share / 60, rel=0.05)
    changed = corrupt(grey(128, side), "impulse_noise", 3)
    assert (changed != 128).float().mean().item() == pytest.approx(0.27 * share, rel=0.05)
    assert set(changed.unique().tolist()) == {0, 128, 255}


def test_photons_are_counted_as_poisson_does():
    table = corruptions.photon_counts(7.5)
    for level in (1, 40, 255):
        mean = 7.5 * level / 255
        for place in range(0, table.shape[1], 97):
            count, below = 0, math.exp(-mean)
            while below < (place + 0.5) / table.shape[1]:
                count += 1
                below += math.exp(-mean) * mean**count / math.factorial(count)
            assert table[level, place] == count
    assert not table[0].any()


def test_many_photons_are_noise_of_the_same_power():
    few, many = (
        corruptions.shot_noise(np.full((3, 224, 224), 0.5, np.float32), (variance,), np.random.default_rng(0))
        for variance in (1 / 999, 1 / 1001)
    )
    assert few.std() == pytest.approx(many.std(), rel=0.02)


def test_black_has_no_photons():
    assert not corrupt(grey(0, 32), "shot_noise", 3).any()


@pytest.mark.parametrize("kind", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic", "pixelate", "contrast"])
def test_nothing_happens_to_an_even_picture(kind):
    assert torch.equal(corrupt(grey(90, 40), kind, 3), grey(90, 40))


@pytest.mark.parametrize("kind", ["defocus_blur", "motion_blur"])
def test_blurs_are_plain_convolutions(kind):
    image = picture(20, 33)
    pixels = image.numpy().astype(np.float32) / 255
    kernel = corruptions.disc(2.5) if kind == "defocus_blur" else corruptions.line(7.0, 0.6)
    assert kernel.sum() == pytest.approx(1)
    reach = len(kernel) // 2
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    slow = np.zeros_like(pixels)
    for row in range(len(kernel)):
        for column in range(len(kernel)):
            # a convolution turns the kernel around
            slow += kernel[-1 - row, -1 - column] * padded[:, row : row + 20, column : column + 33]
    np.testing.assert_allclose(corruptions.blurred(pixels, kernel), slow, atol=1e-5)


def test_a_soft_blur_is_a_gaussian():
    dot = np.zeros((1, 41, 41), np.float32)
    dot[0, 20, 20] = 1
    spread = corruptions.softened(dot, 2.0)[0]
    places = np.arange(-20, 21)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert (spread.sum(0) * places**2).sum() == pytest.approx(4, rel=0.05)
    np.testing.assert_allclose(spread, spread.T, atol=1e-7)
    assert corruptions.softened(dot, 0.0) is dot


def test_a_line_lies_in_its_direction():
    level, upright = corruptions.line(6.0, 0.0), corruptions.line(6.0, math.pi / 2)
    np.testing.assert_allclose(level.T, upright, atol=1e-12)
    assert (level.sum(1) > 1e-9).sum() == 1
    assert (level.sum(0) > 1e-9).sum() == 7


def test_brightness_by_hand():
    # value 100 rises by 0.3 of 255 to 176.5, the other channels in the same ratio; white stays, black becomes grey
    image = torch.tensor([[[100, 255, 0]], [[50, 255, 0]], [[20, 255, 0]]], dtype=torch.uint8)
    found = corrupt(image, "brightness", 2)
    assert found[:, 0].T.tolist() == [[177, 88, 35], [255, 255, 255], [77, 77, 77]]


def test_contrast_by_hand():
    # the mean is 100; 0.6 of the contrast goes: 100 +- 0.4 * 50
    image = torch.tensor([[[50, 150]]] * 3, dtype=torch.uint8)
    assert corrupt(image, "contrast", 1)[0, 0].tolist() == [80, 120]


def test_pixelate_makes_blocks():
    # at 224 pixels and strength 3 a block has 4 pixels
    image = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    blocks = corrupt(image, "pixelate", 3).unflatten(1, (56, 4)).unflatten(3, (56, 4))  # c row place column place
    assert torch.equal(blocks, blocks[:, :, :1, :, :1].expand_as(blocks))
    means = image.float().unflatten(1, (56, 4)).unflatten(3, (56, 4)).mean((2, 4))
    assert (blocks[:, :, 0, :, 0].float() - means).abs().max() <= 1


def test_zoom_leaves_the_centre_where_it_is():
    image = grey(0, 65)
    image[:, 32, 32] = 255
    row, column = divmod(int(corrupt(image, "zoom_blur", 3)[0].argmax()), 65)
    assert (row, column) == (32, 32)


def test_glass_takes_pixels_from_nearby():
    # without the blur, each pixel is one of those at most two away: 2.4 pixels, rounded
    ramp = np.broadcast_to(np.arange(224, dtype=np.float32) / 255, (3, 224, 224))
    found = corruptions.glass_blur(np.ascontiguousarray(ramp), (2.4, 0.0), np.random.default_rng(0))
    steps = np.rint((found - ramp) * 255)
    assert set(np.unique(steps)) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert np.array_equal(found[0], found[2])


def test_frost_grows_from_the_border():
    image = grey(60)
    changed = (corrupt(image, "frost", 1).float() - 60).abs().mean(0)
    inner = changed[75:149, 75:149].mean()
    assert changed[:20].mean() > 2 * inner


# --- names --------------------------------------------------------------------------------------------------------------


def test_kinds_by_name_and_group():
    assert kinds_named("all") == tuple(KINDS)
    assert kinds_named("noise, jpeg") == ("gaussian_noise", "shot_noise", "impulse_noise", "jpeg")
    with pytest.raises(ValueError, match="'nose'; did you mean 'noise'"):
        kinds_named("nose")
    with pytest.raises(ValueError, match="shot_noise is named twice"):
        kinds_named("noise,shot_noise")


# --- accuracy -----------------------------------------------------------------------------------------------------------


class Bright(nn.Module):
    """Says whether a picture is brighter than grey."""

    def forward(self, images):
        assert not self.training
        mean = images.float().mean((1, 2, 3))
        return torch.stack((128 - mean, mean - 128), 1)


def evaluation(batch=4, order=None):
    """Eight even pictures, the first four dark (class 0), the others bright."""
    levels = [10, 20, 30, 40, 200, 210, 220, 230]
    images = np.stack([np.full((16, 16, 3), level, np.uint8) for level in levels])
    collection = from_arrays(images, np.arange(8) // 4, split=["val"] * 8)
    samples = collection.split("val")
    pictures = read_pictures(collection, samples if order is None else [samples[i] for i in order])
    return Evaluation(pictures, Preprocessing(crop=1.0), 16, 2, Plan(), batch=batch)


def test_accuracy_falls_where_the_corruption_hides_the_class():
    # at strength 3 brightness lifts a level of 10 or more by 127: 10 -> 137 and so on, all four dark ones are taken for bright
    found = corrupted_accuracy(Bright(), evaluation(), ["brightness", "contrast"])
    assert found.clean.value == 100
    assert found.by_kind() == {"brightness": (100.0, 100.0, 50.0), "contrast": (100.0, 100.0, 100.0)}
    assert found.error == pytest.approx(50 / 6)
    assert found.ratio is None
    assert found.lost == pytest.approx(50 / 6)
    low, high = found.lost_interval
    assert low < found.lost < high
    worst = next(row for row in found.rows if row.kind == "brightness" and row.strength == 3)
    assert (worst.lost, worst.group) == (50.0, "weather")
    assert worst.lost_low < 50 < worst.lost_high <= 100


@pytest.mark.slow
def test_accuracy_does_not_depend_on_batch_and_order():
    kinds = ["impulse_noise", "snow"]
    network = Bright()
    first = corrupted_accuracy(network, evaluation(3), kinds)
    assert first == corrupted_accuracy(network, evaluation(8), kinds)
    assert first == corrupted_accuracy(network, evaluation(8, range(7, -1, -1)), kinds)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    network = Bright().train(training)
    corrupted_accuracy(network, evaluation(), ["contrast"], [1])
    assert network.training == training


def test_figures_by_hand():
    # clean 3 of 4; the two corruptions 2 and 1 of 4: errors 25, 50, 75
    right = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.bool)
    found = judged(right, [("fog", 1), ("fog", 3)])
    assert found.clean.value == 75
    assert [(row.top1, row.lost) for row in found.rows] == [(50.0, 25.0), (25.0, 50.0)]
    assert (found.error, found.lost, found.ratio) == (62.5, 37.5, 2.5)
    # per picture 1/2, 1/2, 1, -1/2 lost: mean 3/8, standard deviation sqrt((1 + 1 + 25 + 49) / 64 / 3), t of 3 degrees 3.182446
    half = 100 * 3.182446 * math.sqrt(76 / 64 / 3) / 2
    assert found.lost_interval == pytest.approx((max(-100, 37.5 - half), min(100, 37.5 + half)))


def test_a_single_picture_has_no_interval_of_what_is_lost():
    found = judged(torch.tensor([[True], [False]]), [("fog", 1)])
    assert (found.lost, found.lost_interval, found.rows[0].lost_low) == (100.0, None, None)
    assert "[" not in list(found.table())[-1]


def test_what_was_found_is_written(tmp_path):
    found = corrupted_accuracy(Bright(), evaluation(), ["fog", "contrast"], [1, 3])
    data = found.to_dict()
    assert data["corruption_error"] == found.error
    assert [(row["kind"], row["strength"]) for row in data["rows"]] == [
        ("fog", 1),
        ("fog", 3),
        ("contrast", 1),
        ("contrast", 3),
    ]
    found.write_csv(tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", newline="") as file:
        assert [float(row["top1"]) for row in csv.DictReader(file)] == [row.top1 for row in found.rows]
    lines = list(found.table())
    assert lines[0].split() == ["top-1,", "%", "strength", "1", "strength", "3", "lost"]
    assert lines[2].split() == ["contrast", "100.0", "100.0", "0.0"]


def test_says_how_far_it_is_and_what_could_not_be_asked():
    said = []
    corrupted_accuracy(Bright(), evaluation(), ["fog"], [1], say=said.append)
    assert said == ["corrupted 4 of 8 pictures in 1 way", "corrupted 8 of 8 pictures in 1 way"]
    with pytest.raises(ValueError, match="no corruption 'fogg'; did you mean 'fog'"):
        corrupted_accuracy(Bright(), evaluation(), ["fogg"])
    with pytest.raises(ValueError, match="the strengths are 1, 2, 3, got 5"):
        corrupted_accuracy(Bright(), evaluation(), ["fog"], [5])
    with pytest.raises(ValueError, match="once, and one at least"):
        corrupted_accuracy(Bright(), evaluation(), ["fog", "fog"])
    with pytest.raises(ValueError, match="once, and one at least"):
        corrupted_accuracy(Bright(), evaluation(), [])
    with pytest.raises(ValueError, match="the split is empty"):
        corrupted_accuracy(Bright(), evaluation(order=[]), ["fog"])
