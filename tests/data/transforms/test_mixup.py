import pytest
import torch

from paretina.clock import END, START
from paretina.data.batch import Batch
from paretina.data.transforms.mixup import MixUp
from paretina.schedules import Constant, Linear


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def opposites(count=2, whole=False):
    """Black pictures of class 0 and white ones of class 1, in turn."""
    white = torch.arange(count) % 2
    images = white.view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    images = (images * 255).to(torch.uint8) if whole else images.float()
    return Batch((images,), torch.eye(2)[white], torch.arange(count))


@pytest.mark.parametrize("whole", [True, False])
def test_black_and_white_give_the_blend_itself(whole):
    blends = set()
    for seed in range(20):
        mixed = MixUp(alpha=Constant(value=1.0))(opposites(whole=whole), START, generator(seed))
        assert mixed.images.dtype == torch.float32
        torch.testing.assert_close(mixed.images.mean((1, 2, 3)), mixed.targets[:, 1], atol=1e-6, rtol=0)
        blends.add(round(mixed.targets[0, 1].item(), 3))
    assert len(blends) > 8


@pytest.mark.parametrize("off", [{"alpha": 0.0}, {"probability": 0.0}])
def test_off_is_the_batch_itself(off):
    batch = opposites(whole=True)
    assert all(MixUp(**off)(batch, START, generator(seed)) is batch for seed in range(10))


def test_alpha_follows_the_clock():
    batch = opposites()
    mixup = MixUp(alpha=Linear(start=0.0, end=1.0))
    assert mixup(batch, START, generator()) is batch
    assert any(mixup(batch, END, generator(seed)).targets[0, 1] > 0 for seed in range(5))


def test_mixes_as_many_batches_as_asked():
    batch, half = opposites(), MixUp(probability=Constant(value=0.25))
    mixed = sum(half(batch, START, generator(seed)) is not batch for seed in range(400))
    assert mixed == pytest.approx(100, abs=3 * (400 * 0.25 * 0.75) ** 0.5)


def test_one_blend_for_the_batch_or_one_for_each():
    batch = opposites(64)
    for per_image in (False, True):
        mixed = MixUp(alpha=Constant(value=1.0), per_image=per_image)(batch, START, generator()).targets
        foreign = torch.where(batch.targets.bool(), 0.0, mixed).sum(1)
        several = foreign[foreign > 0].unique().numel()
        assert (several > 1) == per_image


def test_mixing_smoothed_targets_is_smoothing_mixed_ones():
    batch = opposites(8)
    smoothed = Batch(batch.views, batch.targets * 0.9 + 0.05, batch.ids)
    first = MixUp()(smoothed, START, generator()).targets
    torch.testing.assert_close(first, MixUp()(batch, START, generator()).targets * 0.9 + 0.05)


def test_views_may_have_different_sizes():
    batch = opposites()
    batch = Batch((batch.images, batch.images[:, :, :2, :2]), batch.targets, batch.ids)
    for seed in range(5):
        large, small = MixUp()(batch, START, generator(seed)).views
        assert torch.equal(large[:, :, :2, :2], small)


def test_keeps_half_precision():
    batch = opposites()
    batch = Batch((batch.images.bfloat16(),), batch.targets, batch.ids)
    assert MixUp()(batch, START, generator()).images.dtype == torch.bfloat16
