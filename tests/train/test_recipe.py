import re
from dataclasses import replace

import pytest
import torch

from paretina.clock import Clock
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.mixup import MixUp
from paretina.schedules import Constant, Linear, Staged
from paretina.spec import decode, encode, put
from paretina.train.evaluated import Evaluated
from paretina.train.learning import Learning
from paretina.train.optimizers.sgd import SGD
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.train.recipes.plain import RECIPE as PLAIN
from paretina.train.starting import Starting
from tiny import row, tiny_blueprint

HALFWAY = Clock(5, 10, 10.0)
BLUEPRINT = tiny_blueprint(row(1, 8, 1), row(3, 16, 2))


# --- stochastic depth -------------------------------------------------------------------------------------------------


def test_open_rates_are_those_of_efficientnet():
    # 16 blocks, block i of N gets 0.2 * i / N: 0, 0.0125, 0.025 ... 0.1875
    rates = StochasticDepth(rate=Constant(value=0.2)).rates(16, HALFWAY)
    assert rates[:3] == pytest.approx([0.0, 0.0125, 0.025])
    assert rates[-1] == pytest.approx(0.1875)
    assert rates == pytest.approx([0.0125 * i for i in range(16)])


def test_closed_rates_reach_the_last_block():
    rates = StochasticDepth(rate=Constant(value=0.3), ends="closed").rates(4, HALFWAY)
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_uniform_rates_are_the_same_everywhere():
    for ends in ("open", "closed"):
        assert StochasticDepth(rate=Constant(value=0.2), shape="uniform", ends=ends).rates(5, HALFWAY) == [0.2] * 5


@pytest.mark.parametrize("ends", ["open", "closed"])
def test_a_single_block_is_never_dropped(ends):
    assert StochasticDepth(ends=ends).rates(1, HALFWAY) == [0.0]


def test_rates_follow_the_clock():
    depth = StochasticDepth(rate=Linear(start=0.0, end=0.4))
    assert depth.rates(2, HALFWAY) == pytest.approx([0.0, 0.1])  # open: half of 0.2


# --- what varies inside a network -------------------------------------------------------------------------------------


def rates_in(network):
    return [round(float(residual.rate), 6) for residual in network.residuals()]


def test_rates_reach_each_block_by_its_number_also_where_a_block_has_no_residual():
    # the four blocks are numbered 0 to 3; the second one changes the shape and has nothing to drop
    network = BLUEPRINT.build()
    recipe = Recipe(stochastic_depth=StochasticDepth(rate=Constant(value=0.4)))
    logged = recipe.set_rates(network, HALFWAY)
    assert [residual.number for residual in network.residuals()] == [0, 2, 3]
    assert rates_in(network) == [0.0, 0.2, 0.3]
    assert logged == {"schedule/dropout": 0.0, "schedule/stochastic_depth": 0.4}


def test_dropout_follows_the_clock():
    network = BLUEPRINT.build()
    recipe = Recipe(dropout=Linear(start=0.0, end=0.5))
    assert recipe.set_rates(network, HALFWAY) == {"schedule/dropout": 0.25}
    assert [float(dropout.rate) for dropout in network.dropouts()] == [0.25]


def test_a_recipe_without_stochastic_depth_drops_no_branch():
    network = BLUEPRINT.build()
    Recipe().set_rates(network, HALFWAY)
    assert rates_in(network) == [0.0, 0.0, 0.0]
    assert not any(residual.active for residual in network.residuals())


def test_rates_reach_what_an_objective_adds_but_not_what_does_not_learn():
    # a second network with two blocks of its own, as co-training has one, and a target that follows, as BYOL has one
    short = replace(BLUEPRINT, stages=(replace(BLUEPRINT.stages[1], depth=2),))
    learner = torch.nn.ModuleDict({"network": BLUEPRINT.build(), "peer": short.build(), "target": BLUEPRINT.build()})
    learner["target"].requires_grad_(False)
    Recipe(stochastic_depth=StochasticDepth(rate=Constant(value=0.4)), dropout=Constant(value=0.3)).set_rates(learner, HALFWAY)
    assert rates_in(learner["network"]) == [0.0, 0.2, 0.3]
    assert rates_in(learner["peer"]) == [0.2]  # the first of its two blocks changes the shape
    assert rates_in(learner["target"]) == [0.0, 0.0, 0.0]
    dropped = [float(dropout.rate) for name in ("network", "peer", "target") for dropout in learner[name].dropouts()]
    assert dropped == pytest.approx([0.3, 0.3, 0.0])


@pytest.mark.parametrize("rate", [1.0, 1.5, -0.1])
def test_a_rate_that_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match=r"^Recipe\.dropout must stay "):
        Recipe(dropout=Constant(value=rate))


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "train", "test"),
    [
        (Recipe(), 64, 64),  # those of the blueprint
        (Recipe(size=96), 96, 96),
        (Recipe(size=96, test=Evaluated(size=128)), 96, 128),
        (Recipe(size=Staged(values=(32.0, 48.0))), 48, 48),  # the last training size
        (Recipe(size=Linear(start=32.0, end=64.5)), 48, 64),
    ],
)
def test_training_and_test_size(recipe, train, test):
    assert round(recipe.sizes(64)(HALFWAY)) == train
    assert recipe.final_size(64) == test


def test_the_two_kinds_of_transforms_keep_their_order():
    recipe = Recipe(transforms=(MixUp(), HorizontalFlip(), RandomResizedCrop()))
    assert recipe.image_transforms() == (HorizontalFlip(), RandomResizedCrop())
    assert recipe.batch_transforms() == (MixUp(),)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch_size", 0), ("accumulate", 0)],
)
def test_numbers_that_must_be_above_zero(field, value):
    with pytest.raises(ValueError, match=rf"Recipe.{field} must be above 0, got {value}"):
        replace(PLAIN, **{field: value})


def test_epochs_below_zero_are_refused():
    with pytest.raises(ValueError, match=r"Recipe.epochs must be at least 0, got -1.0"):
        replace(PLAIN, epochs=-1.0)


def test_more_parts_than_pictures_are_refused():
    with pytest.raises(ValueError, match="a batch of 4 pictures cannot be split into accumulate=5 parts"):
        Recipe(batch_size=4, accumulate=5)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("norm_momentum", "0", "Starting.norm_momentum is a fraction in (0, 1], got 0.0"),
        ("norm_momentum", "1.5", "Starting.norm_momentum is a fraction in (0, 1], got 1.5"),
        ("max_damaged", "-0.1", "Recipe.max_damaged is a fraction in [0, 1], got -0.1"),
        ("max_damaged", "1.1", "Recipe.max_damaged is a fraction in [0, 1], got 1.1"),
        ("pixel_share", "0", "Recipe.pixel_share is a fraction in (0, 1], got 0.0"),
        ("evaluate_every", "0", "Evaluated.every (evaluate_every) is a number of epochs, above 0, got 0.0"),
        ("test_size", "0", "Evaluated.size (test_size) is a side in pixels, at least 1, got 0"),
        ("test_crop", "1.2", "Evaluated.crop (test_crop) is a fraction in (0, 1], got 1.2"),
        ("lr_decay", "1.5", "Learning needs 0 < lr_decay <= 1 and classifier_lr > 0, got 1.5, 1.0"),
        ("classifier_lr", "0", "Learning needs 0 < lr_decay <= 1 and classifier_lr > 0, got 1.0, 0.0"),
        ("frozen_stride", "-1", "Learning.frozen_stride must be at least 0, got -1"),
        ("trainable_stages", "-1", "Learning.trainable_stages is a number of last stages, 0 or more, got -1"),
    ],
)
def test_numbers_without_meaning_are_refused(path, value, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        put(Recipe(), path, value)


def test_a_change_by_path_reaches_every_depth():
    recipe = put(Recipe(), "stochastic_depth", "on")
    recipe = put(recipe, "stochastic_depth.rate", "0.3")
    recipe = put(recipe, "objective.terms.CrossEntropy.smoothing", "0")
    assert recipe.stochastic_depth.rates(2, HALFWAY) == pytest.approx([0.0, 0.15])
    assert recipe.objective.terms[0].smoothing == Constant(value=0.0)
    assert put(recipe, "stochastic_depth", "off").stochastic_depth is None


# --- what was written down earlier ------------------------------------------------------------------------------------


def test_the_names_of_an_earlier_release_lead_to_the_same_recipe():
    fields = {
        "zero_gamma": True,
        "norm_momentum": 0.05,
        "bound_norm_memory": False,
        "classifier_rate": 3.0,
        "rate_decay": 0.5,
        "tail": 2,
        "steady": True,
        "frozen": ["stem"],
        "frozen_stride": 4,
        "pixels": 0.5,
        "test_size": 96,
        "test_fit": "squash",
        "test_crop": 0.9,
        "evaluate_every": 2.0,
        "keep": "best",
        "optimizer": {"kind": "SGD", "rate": 0.3, "scale_rate": False, "rate_batch": 64},
    }
    wanted = Recipe(
        start=Starting(zero_gamma=True, norm_momentum=0.05, bound_norm_memory=False),
        learning=Learning(
            classifier_lr=3.0,
            lr_decay=0.5,
            trainable_stages=2,
            freeze_norm_statistics=True,
            frozen=("stem",),
            frozen_stride=4,
        ),
        pixel_share=0.5,
        test=Evaluated(size=96, fit="squash", crop=0.9, every=2.0, keep="best"),
        optimizer=SGD(lr=Constant(value=0.3), scale_lr=False, lr_batch=64),
    )
    assert decode(Recipe, {"kind": "Recipe", "version": 1, **fields}) == wanted


def test_a_recipe_of_an_earlier_release_leaves_out_what_it_left_out_then():
    old = {"kind": "Recipe", "batch_size": 64, "evaluate_every": 1.0, "max_damaged": 0.01, "steady": False}
    assert not decode(Recipe, old).start.bound_norm_memory
    assert decode(Recipe, old).updates(127).updates_per_epoch == 1
    assert decode(Recipe, encode(Recipe(batch_size=64))).updates(127).updates_per_epoch == 2
    assert decode(Recipe, {"kind": "Recipe", "batch_size": 64}).updates(127).updates_per_epoch == 2  # written by hand
