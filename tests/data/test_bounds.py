import pytest

from paretina.data.bounds import check_run
from paretina.data.transforms.mixup import MixUp
from paretina.data.transforms.randaugment import RandAugment
from paretina.schedules import Constant, Exponential, Linear, Staged, Warmup
from paretina.train.objectives.supervised import Supervised
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill


def test_names_method_field_value_and_moment():
    with pytest.raises(ValueError, match=r"MixUp.probability must stay in \[0, 1\], but is 1.0625 at 53 % of the run"):
        MixUp(probability=Linear(start=0.0, end=2.0))


def test_finds_a_stage_in_the_middle():
    with pytest.raises(ValueError, match=r"RandAugment.magnitude must stay at least 0, but is -1 at 25 % of the run"):
        RandAugment(magnitude=Staged(values=(5.0, -1.0, 5.0, 5.0)))


def test_finds_the_peak_after_a_warmup():
    with pytest.raises(ValueError, match="probability"):
        MixUp(probability=Warmup(epochs=5.0, then=Linear(start=1.5, end=0.0)))


def test_lets_the_ends_of_the_range_pass():
    MixUp(alpha=Constant(value=0.0), probability=Linear(start=0.0, end=1.0))


def test_open_ends_may_be_reached_at_the_end_which_no_update_sees():
    StochasticDepth(rate=Linear(start=0.0, end=1.0))
    with pytest.raises(ValueError, match=r"StochasticDepth.rate must stay in \[0, 1\), but is 1 at 0 % of the run"):
        StochasticDepth(rate=Linear(start=1.0, end=0.0))
    with pytest.raises(ValueError, match=r"Distill.temperature must stay above 0, but is 0 at 0 % of the run"):
        Distill(temperature=Linear(start=0.0, end=4.0))


def test_a_whole_recipe_is_looked_at_over_the_run_that_it_is_for():
    grows = Recipe(dropout=Exponential(start=0.3, factor=1.1, epochs=10.0))  # 0.44 after 32 epochs
    check_run(grows, 100.0)
    with pytest.raises(ValueError, match=r"Recipe.dropout must stay in \[0, 1\), but is .* at .*% of the run"):
        check_run(grows, 200.0)
    deep = Recipe(objective=Supervised(terms=(CrossEntropy(smoothing=Exponential(start=0.3, factor=1.1, epochs=10.0)),)))
    with pytest.raises(ValueError, match=r"CrossEntropy.smoothing must stay"):
        check_run(deep, 200.0)
    Recipe(dropout=Exponential(start=0.3, factor=1.1, epochs=10.0))  # afterwards the usual run counts again
