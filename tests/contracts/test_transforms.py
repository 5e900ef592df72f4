"""What every transform must satisfy, run over the examples of each file in the folder."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision import tv_tensors

from covering import covering
from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.transform import BatchTransform, ImageTransform, Look, ManyTransform, Sight, Transform
from paretina.data.transforms.erase import RandomErasing
from paretina.data.transforms.squash import Squash
from paretina.model.tasks.places import Places
from paretina.schedules import Constant
from paretina.spec import modules_in

FOUND = [example for module in modules_in("paretina.data.transforms") for example in getattr(module, "EXAMPLES", ())]
MIDDLE = Clock(5, 10, 10.0)
SIZE = 16

every_transform = pytest.mark.parametrize("transform", FOUND, ids=repr)
every_image_transform = pytest.mark.parametrize("transform", [t for t in FOUND if isinstance(t, ImageTransform)], ids=repr)
every_batch_transform = pytest.mark.parametrize("transform", [t for t in FOUND if isinstance(t, BatchTransform)], ids=repr)


def picture(height, width):
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator)


def transformed(transform, image, seed, clock=MIDDLE):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return transform(image, SIZE, clock)


def batch_of(count, views=1, whole=True):
    generator = torch.Generator().manual_seed(count)
    pictures = tuple(torch.randint(256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator) for _ in range(views))
    targets = torch.eye(5)[torch.arange(count) % 5] * 0.9 + 0.02
    return Batch(pictures if whole else tuple(p.float() / 255 for p in pictures), targets, torch.arange(count))


def mixed(transform, batch, seed, clock=MIDDLE):
    return transform(batch, clock, torch.Generator().manual_seed(seed))


def test_some_of_both_kinds_are_found():
    assert {isinstance(transform, BatchTransform) for transform in FOUND} == {True, False}


@every_transform
def test_survives_json(transform):
    read = Transform.from_json(transform.to_json())
    assert read == transform
    assert type(read) is type(transform)
    assert hash(read) == hash(transform)


@every_image_transform
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (7, 1), (3, 40), (40, 23), (SIZE, SIZE)])
def test_gives_a_picture_of_the_old_or_the_asked_size(transform, height, width):
    for seed in range(10):
        result = transformed(transform, picture(height, width), seed)
        assert result.dtype == torch.uint8
        assert result.shape in {(3, height, width), (3, SIZE, SIZE)}


@every_image_transform
def test_same_seed_gives_same_picture_and_the_input_stays(transform):
    image = picture(20, 30)
    for seed in range(10):
        results = []
        for other in (1, 2):
            random.seed(other)
            np.random.seed(other)
            results.append(transformed(transform, image, seed))
        assert torch.equal(*results)
        assert torch.equal(image, picture(20, 30))


@every_image_transform
def test_changes_some_picture(transform):
    image = picture(20, 30)
    results = (transformed(transform, image, seed) for seed in range(40))
    assert any(result.shape != image.shape or not torch.equal(result, image) for result in results)


@every_image_transform
def test_mirrors_only_if_it_says_so(transform):
    image = picture(SIZE, SIZE)
    mirrored = any(torch.equal(transformed(transform, image, seed), image.flip(-1)) for seed in range(40))
    assert mirrored == transform.MIRRORS


def apart(transform, seed, height, width):
    """Where two pictures come out different that differ in a square, one black there and the other white, and the square.

    Colours may change, also those of the whole picture with the square, but only a little elsewhere. None for another size.
    """
    generator = torch.Generator().manual_seed(seed)
    row, column = (int(torch.randint(side - 5, (), generator=generator)) for side in (height, width))
    there = torch.zeros(height, width, dtype=torch.bool)
    there[row : row + 5, column : column + 5] = True
    black, white = picture(height, width) // 4 + 90, picture(height, width) // 4 + 90
    black[:, there], white[:, there] = 0, 255
    results = [transformed(transform, image, seed).float() for image in (black, white)]
    if results[0].shape[1:] != there.shape:
        return None
    distance = (results[0] - results[1]).abs().sum(0)
    return distance > max(distance.max() / 2, 30), there


@every_image_transform
def test_moves_pixels_only_if_it_says_so(transform):
    moved = []
    for seed in range(40):
        found = apart(transform, seed, 20, 30)
        # sharpening reaches one pixel beyond the square
        moved.append(found is None or bool((found[0] & (F.max_pool2d(found[1][None].float(), 3, 1, 1)[0] == 0)).any()))
    assert any(moved) == transform.MOVES


MANY = [t for t in FOUND if isinstance(t, ManyTransform)]
every_many = pytest.mark.parametrize("transform", MANY, ids=repr)


def drawn_for(transform, seeds, clocks):
    found = []
    with torch.random.fork_rng():
        for seed, clock in zip(seeds, clocks, strict=True):
            torch.manual_seed(seed)
            found.append(transform.draw(clock))
    return found


PICTURES = ((1, 1), (1, 7), (7, 1), (3, 40), (23, 17), (SIZE, SIZE), (130, 131))


@pytest.mark.parametrize(("transform", "picture_size", "masks"), covering(MANY, PICTURES, (False, True), each=4), ids=repr)
def test_many_become_what_each_becomes_alone(transform, picture_size, masks):
    height, width = picture_size
    # more than go through an operation at once where pictures are large, and clocks of several updates
    count = 40 if height < 100 else 12
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=generator)
    images[::5] //= 9  # dark ones
    images[1] = 77  # and one without any content
    images = tv_tensors.Mask(images) if masks else images
    before = images.clone()
    clocks = [Clock(number % 11, 10, 10.0) for number in range(count)]
    together = transform.many(images, drawn_for(transform, range(count), clocks), SIZE)
    assert together.dtype == torch.uint8
    for number in range(count):
        # a picture as it is kept in memory, row by row
        image = images[number].as_subclass(torch.Tensor).permute(1, 2, 0).contiguous().permute(2, 0, 1)
        image = tv_tensors.Mask(image) if masks else image
        assert torch.equal(transformed(transform, image, number, clocks[number]), together[number])
    assert torch.equal(images, before)


@every_many
def test_what_is_fixed_draws_nothing_and_asks_for_no_time(transform):
    with torch.random.fork_rng():
        before = torch.get_rng_state()
        clocks = [Clock(update, 10, 10.0) for update in (0, 3, 10)]
        same = all(transform.draw(clock) is None for clock in clocks) and torch.equal(torch.get_rng_state(), before)
    assert same == transform.FIXED


def test_most_recipes_have_only_transforms_of_many():
    assert {type(each).__name__ for each in MANY} >= {"Squash", "RandomShift", "HorizontalFlip", "RandAugment"}


@pytest.mark.parametrize(
    "transform", [t for t in FOUND if isinstance(t, ImageTransform) and t.MOVES and issubclass(Places, t.TASKS)], ids=repr
)
def test_a_transform_that_moves_takes_a_mask_along(transform):
    overlaps = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        row, column = (int(torch.randint(2, side - 12, (), generator=generator)) for side in (24, 30))
        mask = torch.zeros(3, 24, 30, dtype=torch.uint8)
        mask[:, row : row + 10, column : column + 10] = 7
        views = []
        for colour in ((200, 40, 40), (40, 40, 200)):
            image = torch.where(mask == 7, torch.tensor(colour, dtype=torch.uint8)[:, None, None], picture(24, 30) // 4 + 90)
            # a mask beside it changes nothing, not even what is drawn next
            after = RandomErasing(probability=Constant(value=1.0), area=(0.01, 0.02), fill="noise")
            alone, beside, seen = (Sight(image, each, seed, MIDDLE) for each in (None, mask, mask))
            with torch.random.fork_rng(devices=[]):
                Look((transform, Squash(), after))([alone], SIZE)
                Look((transform, Squash(), after))([beside], SIZE)
                Look((transform, Squash()))([seen], SIZE)
            assert torch.equal(alone.image, beside.image)
            assert torch.equal(beside.mask, seen.mask)
            view, moved = seen.image, seen.mask
            views.append(view.float())
        assert set(moved.unique().tolist()) <= {0, 7, 255}
        assert torch.equal(moved[0], moved[1])
        distance = (views[0] - views[1]).abs().sum(0)
        there, said = distance > max(distance.max() / 2, 30), moved[0] == 7
        if there.sum() >= 12:
            overlaps.append(float((there & said).sum() / (there | said).sum()))
    assert len(overlaps) >= 5
    assert sorted(overlaps)[len(overlaps) // 2] > 0.8  # strong colours hide the square in some


@pytest.mark.parametrize(
    "transform", [t for t in FOUND if isinstance(t, BatchTransform) and issubclass(Places, t.TASKS)], ids=repr
)
def test_what_is_said_of_a_pixel_is_mixed_as_what_is_said_of_a_picture(transform):
    batch = batch_of(6)
    targets = torch.zeros(6, 4, SIZE, SIZE).scatter_(1, (batch.images[:, :1] // 64).long(), 1.0)
    dense, plain = replace(batch, targets=targets), replace(batch, targets=targets[:, :, 3, 5])
    for seed in range(10):
        result = mixed(transform, dense, seed)
        assert result.targets.shape == targets.shape
        torch.testing.assert_close(result.targets.sum(1), torch.ones(6, SIZE, SIZE))
        assert torch.equal(result.targets[:, :, 3, 5], mixed(transform, plain, seed).targets)


@every_batch_transform
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_keeps_shapes_and_the_sum_of_targets(transform, count, whole):
    batch = batch_of(count, views=2, whole=whole)
    for seed in range(10):
        result = mixed(transform, batch, seed)
        assert [view.shape for view in result.views] == [view.shape for view in batch.views]
        assert torch.equal(result.ids, batch.ids)
        assert result.targets.min() >= 0
        torch.testing.assert_close(result.targets.sum(1), torch.ones(count))
        for view in result.views:
            if view.is_floating_point():
                assert 0 <= view.min() <= view.max() <= 1


@every_batch_transform
def test_same_seed_gives_same_batch_and_the_input_stays(transform):
    batch, before = batch_of(6), batch_of(6)
    for seed in range(10):
        first, second = mixed(transform, batch, seed), mixed(transform, batch, seed)
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.targets, second.targets)
    assert torch.equal(batch.images, before.images)
    assert torch.equal(batch.targets, before.targets)


@every_batch_transform
def test_changes_some_batch(transform):
    batch = batch_of(6)
    assert any(not torch.equal(mixed(transform, batch, seed).images, batch.images) for seed in range(20))


@every_batch_transform
def test_mixes_only_if_it_says_so(transform):
    batch = batch_of(6)
    changed = any(not torch.equal(mixed(transform, batch, seed).targets, batch.targets) for seed in range(20))
    assert changed == transform.MIXES


@every_batch_transform
def test_treats_all_views_alike(transform):
    batch = batch_of(6)
    doubled = replace(batch, views=(batch.images, batch.images))
    for seed in range(10):
        first, second = mixed(transform, doubled, seed).views
        assert torch.equal(first, second)
        assert torch.equal(first, mixed(transform, batch, seed).images)


@every_batch_transform
def test_draws_from_the_given_generator_only(transform):
    others = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    for seed in range(5):
        mixed(transform, batch_of(6), seed)
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == others


@every_batch_transform
def test_keeps_the_memory_format(transform):
    batch = batch_of(6).to("cpu", torch.channels_last)
    for seed in range(10):
        assert mixed(transform, batch, seed).images.is_contiguous(memory_format=torch.channels_last)
