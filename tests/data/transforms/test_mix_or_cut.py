import pytest
import torch

from paretina.clock import START
from paretina.data.batch import Batch
from paretina.data.transforms.mix_or_cut import MixOrCut


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


BATCH = Batch((torch.randint(256, (8, 3, 8, 8), dtype=torch.uint8, generator=generator()),), torch.eye(8), torch.arange(8))


def deeds(transform, count=400):
    """How often a batch was left alone, blended (its pictures become floats) and cut."""
    found = {"none": 0, "mixup": 0, "cutmix": 0}
    for seed in range(count):
        result = transform(BATCH, START, generator(seed))
        found["none" if result is BATCH else "mixup" if result.images.is_floating_point() else "cutmix"] += 1
    return found


def test_share_goes_to_cutmix():
    assert deeds(MixOrCut(share=0.25)) == {"none": 0, "mixup": pytest.approx(300, abs=26), "cutmix": pytest.approx(100, abs=26)}


@pytest.mark.parametrize(("share", "only"), [(0.0, "mixup"), (1.0, "cutmix")])
def test_share_at_its_ends_leaves_one(share, only):
    assert deeds(MixOrCut(share=share), 20)[only] == 20


def test_probability_is_that_of_mixing_at_all():
    found = deeds(MixOrCut(probability=0.5))
    assert found == {
        "none": pytest.approx(200, abs=30),
        "mixup": pytest.approx(100, abs=26),
        "cutmix": pytest.approx(100, abs=26),
    }


def test_a_mixer_without_alpha_leaves_its_batches_alone():
    found = deeds(MixOrCut(mixup_alpha=0.0), 100)
    assert found["mixup"] == 0
    assert found["none"] == pytest.approx(50, abs=15)


def test_off_is_the_batch_itself():
    assert deeds(MixOrCut(probability=0.0), 10)["none"] == 10
