import pytest

from paretina.data.transforms.mixup import MixUp
from paretina.data.transforms.randaugment import RandAugment
from paretina.schedules import Constant, Linear, Staged, Warmup


def test_names_method_field_value_and_moment():
    with pytest.raises(ValueError, match=r"MixUp.probability must stay in \[0, 1\], but is 1.0625 at 53% of the run"):
        MixUp(probability=Linear(start=0.0, end=2.0))


def test_finds_a_stage_in_the_middle():
    with pytest.raises(ValueError, match=r"RandAugment.magnitude must stay at least 0, but is -1 at 25% of the run"):
        RandAugment(magnitude=Staged(values=(5.0, -1.0, 5.0, 5.0)))


def test_finds_the_peak_after_a_warmup():
    with pytest.raises(ValueError, match="probability"):
        MixUp(probability=Warmup(epochs=5.0, then=Linear(start=1.5, end=0.0)))


def test_lets_the_ends_of_the_range_pass():
    MixUp(alpha=Constant(value=0.0), probability=Linear(start=0.0, end=1.0))
