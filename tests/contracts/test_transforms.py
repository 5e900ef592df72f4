"""What every transform must satisfy, run over the examples of each file in the folder."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.transform import BatchTransform, ImageTransform, Transform
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
