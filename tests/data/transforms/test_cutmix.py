import pytest
import torch

from paretina.clock import END, START
from paretina.data.batch import Batch
from paretina.data.beta import beta
from paretina.data.transforms.cutmix import CutMix, rectangle, share_kept
from paretina.data.transforms.mix_or_cut import MixOrCut
from paretina.data.transforms.mixup import MixUp
from paretina.schedules import Linear


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def opposites(count=2, height=8, width=8):
    """Black pictures of class 0 and white ones of class 1, in turn."""
    white = torch.arange(count) % 2
    images = (white * 255).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, height, width)
    return Batch((images,), torch.eye(2)[white], torch.arange(count))


@pytest.mark.parametrize(
    ("side", "nominal", "centre", "rows", "columns", "kept"),
    [
        (224, 0.75, (112, 112), (56, 168), (56, 168), 0.75),
        (224, 0.75, (0, 0), (0, 56), (0, 56), 0.9375),
        (224, 0.75, (112, 20), (56, 168), (0, 76), 0.830357),
        (32, 0.64, (16, 16), (7, 25), (7, 25), 0.683594),
        (7, 0.5, (3, 3), (1, 5), (1, 5), 0.673469),
        (224, 1.0, (5, 5), (5, 5), (5, 5), 1.0),
        (8, 0.0, (4, 4), (0, 8), (0, 8), 0.0),
    ],
)
def test_rectangles_by_hand(side, nominal, centre, rows, columns, kept):
    found = rectangle(nominal, *centre, side, side)
    assert found == (slice(*rows), slice(*columns))
    assert share_kept(*found, side, side) == pytest.approx(kept, abs=1e-6)


def test_sides_follow_a_picture_that_is_not_square():
    assert rectangle(0.75, 10, 40, 20, 80) == (slice(5, 15), slice(20, 60))


@pytest.mark.parametrize(("alpha", "mean"), [(1.0, 0.6823), (0.2, 0.705), (0.5, 0.692)])
def test_keeps_more_than_was_drawn(alpha, mean):
    # without the recount the mean would be 0.5
    count, source = 6000, generator()
    drawn = beta(alpha, count, source).tolist()
    centres = torch.randint(224, (count, 2), generator=source).tolist()
    kept = torch.tensor(
        [share_kept(*rectangle(k, row, column, 224, 224), 224, 224) for k, (row, column) in zip(drawn, centres, strict=True)]
    )
    # three standard errors; the deviation is 0.188 for alpha 1 and below 0.35 for the others
    assert kept.mean() == pytest.approx(mean, abs=0.008 if alpha == 1 else 0.014)
    if alpha == 1:
        assert kept.std() == pytest.approx(0.188, abs=0.006)
        assert (kept < 0.5).float().mean() == pytest.approx(0.174, abs=0.015)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 16)])
def test_white_share_of_the_picture_is_the_share_of_the_target(height, width):
    shares = set()
    for seed in range(40):
        mixed = CutMix()(opposites(height=height, width=width), START, generator(seed))
        assert mixed.images.dtype == torch.uint8
        # sides are powers of two, so nothing is rounded
        assert torch.equal(mixed.images.float().mean((1, 2, 3)) / 255, mixed.targets[:, 1])
        shares.add(mixed.targets[0, 1].item())
    assert len(shares) > 8


def test_mean_of_the_targets_has_the_recount():
    # 400 batches of two; in half of them both pictures are their own partners and nothing is seen
    foreign = [CutMix()(opposites(2, 64, 64), START, generator(seed)).targets[0, 1].item() for seed in range(400)]
    assert sum(foreign) / 200 == pytest.approx(1 - 0.68, abs=0.06)


@pytest.mark.parametrize("off", [{"alpha": 0.0}, {"probability": 0.0}])
def test_off_is_the_batch_itself(off):
    batch = opposites()
    assert all(CutMix(**off)(batch, START, generator(seed)) is batch for seed in range(10))


def test_alpha_follows_the_clock():
    batch, cutmix = opposites(), CutMix(alpha=Linear(start=0.0, end=1.0))
    assert cutmix(batch, START, generator()) is batch
    assert any(cutmix(batch, END, generator(seed)).targets[0, 1] > 0 for seed in range(5))


def test_refuses_views_of_different_sizes():
    batch = opposites()
    batch = Batch((batch.images, batch.images[:, :, :4, :4]), batch.targets, batch.ids)
    with pytest.raises(ValueError, match=r"sizes \[\(4, 4\), \(8, 8\)\]; use MixUp"):
        CutMix()(batch, START, generator())


def test_rows_sum_to_one_after_any_chain():
    batch = Batch((torch.rand(16, 3, 8, 8),), torch.eye(16), torch.arange(16))
    for seed in range(5):
        source, mixed = generator(seed), batch
        for mixer in (MixUp(), CutMix(), MixOrCut(), MixUp(alpha=1.0, per_image=True), CutMix()):
            mixed = mixer(mixed, START, source)
        assert (mixed.targets > 0).sum() > 32
        torch.testing.assert_close(mixed.targets.sum(1), torch.ones(16))
