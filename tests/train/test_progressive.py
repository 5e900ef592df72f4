from dataclasses import dataclass, field
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from paretina.clock import END, START, Clock
from paretina.data.transform import View
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.cutmix import CutMix
from paretina.data.transforms.erase import RandomErasing
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.mix_or_cut import MixOrCut
from paretina.data.transforms.mixup import MixUp
from paretina.data.transforms.randaugment import RandAugment
from paretina.schedules import Constant, Cosine, Linear, Schedule, Warmup
from paretina.train.asked import recipe_named
from paretina.train.fields import RISES
from paretina.train.optimizers.adamw import AdamW
from paretina.train.progressive import Progressive, progressive_named
from paretina.train.recipe import Recipe
from paretina.traits import traits

STRONG = Recipe(
    epochs=350.0,
    transforms=(
        RandomResizedCrop(),
        RandAugment(magnitude=Constant(value=15.0)),
        MixUp(alpha=Constant(value=0.2)),
        CutMix(probability=Constant(value=0.6)),
        RandomErasing(probability=Constant(value=0.3)),
    ),
    dropout=Constant(value=0.3),
)


def even(**fields):
    """With stages of equally many epochs, as in the paper."""
    return Progressive(length="epochs", **fields)


def stages(schedule, count=4):
    return [schedule(Clock(2 * i + 1, 2 * count, 350.0)) for i in range(count)]


def by_kind(recipe):
    return {type(transform).__name__: transform for transform in recipe.transforms}


def test_the_papers_schedule_of_s_follows_from_two_sizes():
    risen = even(start=128, end=300, step=1)(STRONG)
    assert stages(risen.size) == [128, 185, 243, 300]
    found = by_kind(risen)
    assert stages(found["RandAugment"].magnitude) == pytest.approx([5, 8.3333, 11.6667, 15], abs=1e-3)
    assert stages(found["MixUp"].alpha) == pytest.approx([0, 0.0667, 0.1333, 0.2], abs=1e-4)
    assert stages(found["CutMix"].probability) == pytest.approx([0, 0.2, 0.4, 0.6])
    assert stages(found["RandomErasing"].probability) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert stages(risen.dropout) == pytest.approx([0.1, 0.1667, 0.2333, 0.3], abs=1e-4)
    assert found["RandomResizedCrop"] == RandomResizedCrop()


def test_stages_begin_where_the_epochs_say():
    size = even(start=128, end=300)(STRONG).size
    borders = [epoch for epoch in range(1, 350) if size(Clock(epoch, 350, 350.0)) != size(Clock(epoch - 1, 350, 350.0))]
    assert borders == [88, 175, 263]


def test_the_end_is_the_recipe_itself():
    risen = even(start=64, end=96)(STRONG)
    assert risen.size(END) == 96
    assert risen.final_size(224) == 96
    assert [stages(getattr(t, name))[-1] for t, name in ((by_kind(risen)["RandAugment"], "magnitude"),)] == [15.0]
    assert risen.dropout(END) == 0.3


def test_constant_regularisation_moves_the_size_alone():
    risen = even(start=64, end=96, regularisation="constant")(STRONG)
    assert stages(risen.size) == [64, 72, 88, 96]
    assert (risen.transforms, risen.dropout) == (STRONG.transforms, STRONG.dropout)


def test_random_sizes_take_their_strengths_with_them():
    drawn = even(start=64, end=160, sizes="random", step=1)(STRONG)
    clocks = [Clock(update, 40, 4.0) for update in range(40)]
    pairs = {(drawn.size(clock), round(by_kind(drawn)["RandAugment"].magnitude(clock), 2)) for clock in clocks}
    assert pairs == {(64, 5.0), (96, 8.33), (128, 11.67), (160, 15.0)}
    assert drawn.final_size(224) == 160


def test_inner_sizes_are_rounded_and_outer_ones_are_not():
    assert stages(even(start=50, end=99, step=16)(Recipe()).size) == [50, 64, 80, 99]


def test_what_is_switched_off_stays_off():
    risen = even(start=64, end=96)(Recipe())
    assert risen.dropout == Constant(value=0.0)
    assert even(start=64, end=96)(Recipe(transforms=(MixOrCut(probability=Constant(value=0.0)),))).transforms == (
        MixOrCut(probability=Constant(value=0.0)),
    )


def test_what_a_single_view_gets_rises_too():
    recipe = Recipe(views=(View(), View(transforms=(RandAugment(magnitude=9.0), HorizontalFlip()))))
    first, second = even(start=64, end=96)(recipe).views
    assert first == View()
    assert stages(second.transforms[0].magnitude) == pytest.approx([3, 5, 7, 9])
    assert second.transforms[1] == HorizontalFlip()


def test_a_strength_that_a_transform_names_itself_rises():
    @dataclass(frozen=True, kw_only=True)
    class TrialNoise(RandomErasing):
        spread: Schedule = field(default=Constant(value=4.0), metadata=traits(rises=0.5))

    (noise,) = even(start=64, end=96)(Recipe(transforms=(TrialNoise(),))).transforms
    assert stages(noise.spread) == pytest.approx([2, 8 / 3, 10 / 3, 4])
    assert stages(noise.probability)[0] == 0  # as its base says


def test_a_strength_with_a_schedule_of_its_own_is_refused():
    recipe = Recipe(transforms=(RandAugment(magnitude=Linear(start=0.0, end=5.0)),))
    with pytest.raises(ValueError, match=r"transforms\.RandAugment\.magnitude already has a schedule"):
        even(start=64, end=96)(recipe)
    assert even(start=64, end=96, regularisation="constant")(recipe).transforms == recipe.transforms


@pytest.mark.parametrize("wrong", [{"start": 96, "end": 96}, {"start": 0, "end": 96}, {"start": 64, "end": 96, "stages": 1}])
def test_what_does_not_rise_is_refused(wrong):
    with pytest.raises(ValueError, match="Progressive needs"):
        Progressive(**wrong)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("96:160", Progressive(start=96, end=160)),
        ("96:160:3", Progressive(start=96, end=160, stages=3)),
        ("96:160:random", Progressive(start=96, end=160, sizes="random")),
        ("96:160:3:constant:random", Progressive(start=96, end=160, stages=3, regularisation="constant", sizes="random")),
    ],
)
def test_a_word_on_the_command_line(text, wanted):
    assert progressive_named(text) == wanted


@pytest.mark.parametrize("text", ["96", "96:", "a:b", "96:160:fast", "96:160:random:rising", "1:2:3:4"])
def test_a_wrong_word_is_shown_the_right_form(text):
    with pytest.raises(ValueError, match=f"expected START:END.*got .*'{text}'"):
        progressive_named(text)


@pytest.mark.parametrize(
    ("name", "sizes", "magnitudes", "mixing", "dropout"),
    [
        ("efficientnetv2-s", [128, 185, 243, 300], [5, 8.333, 11.667, 15], [0, 0, 0, 0], [0.1, 0.1667, 0.2333, 0.3]),
        ("efficientnetv2-m", [128, 212, 296, 380], [5, 10, 15, 20], [0, 0.0667, 0.1333, 0.2], [0.1, 0.2, 0.3, 0.4]),
        (
            "efficientnetv2-l",
            [128, 212, 296, 380],
            [5, 11.667, 18.333, 25],
            [0, 0.1667, 0.3333, 0.5],
            [0.1, 0.2333, 0.3667, 0.5],
        ),
        ("efficientnetv2-s-code", [171, 214, 257, 300], [5, 6.667, 8.333, 10], [0, 0, 0, 0], [0.2] * 4),
        ("efficientnetv2-m-code", [192, 256, 320, 384], [5, 8.333, 11.667, 15], [0, 0.0667, 0.1333, 0.2], [0.3] * 4),
        ("efficientnetv2-l-code", [192, 256, 320, 384], [5, 10, 15, 20], [0, 0.1667, 0.3333, 0.5], [0.4] * 4),
    ],
)
def test_presets_follow_the_paper_and_the_released_code(name, sizes, magnitudes, mixing, dropout):
    recipe = recipe_named(name)
    found = by_kind(recipe)
    assert [round(size) for size in stages(recipe.size)] == sizes
    assert stages(found["RandAugment"].magnitude) == pytest.approx(magnitudes, abs=1e-3)
    assert stages(recipe.dropout) == pytest.approx(dropout, abs=1e-4)
    mixer = found["MixOrCut"] if name.endswith("code") else found["MixUp"]
    assert stages(mixer.mixup_alpha if name.endswith("code") else mixer.alpha) == pytest.approx(mixing, abs=1e-4)
    if name.endswith("code"):
        assert mixer.cutmix_alpha == mixer.mixup_alpha
    assert recipe.size(START) == sizes[0]


# --- stages by cost, and the learning rate ------------------------------------------------------------------------------


def test_stages_are_equally_expensive():
    size = Progressive(start=64, end=128, stages=3)(STRONG).size
    sides = [size(Clock(update, 1000, 100.0)) for update in range(1000)]
    spent = {side: sides.count(side) * side**2 for side in set(sides)}
    assert set(spent) == {64, 96, 128}
    assert max(spent.values()) < 1.01 * min(spent.values())


def rates(recipe, count=100):
    return [recipe.optimizer.lr(Clock(update, count, 10.0)) for update in range(count)]


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_the_rate_is_held_until_the_last_stage_and_is_zero_at_the_end(warmup):
    lr = Warmup(epochs=warmup, then=Cosine(start=0.1)) if warmup else Cosine(start=0.1)
    risen = Progressive(start=64, end=128, stages=3)(Recipe(epochs=10.0, optimizer=AdamW(lr=lr)))
    found = rates(risen)
    sizes = [risen.size(Clock(update, 100, 10.0)) for update in range(100)]
    last = sizes.index(128)
    assert found[int(10 * warmup) : last] == pytest.approx([0.1] * (last - int(10 * warmup)))
    assert found[last:] == sorted(found[last:], reverse=True)
    assert found[-1] < 0.1 / (100 - last) * 1.5
    assert found[:3] == pytest.approx([0.0, 0.01, 0.02] if warmup else [0.1] * 3)


def test_a_restarted_rate_is_at_its_peak_where_a_stage_begins():
    risen = Progressive(start=64, end=128, stages=2, length="epochs", lr="restarted")(
        Recipe(epochs=10.0, optimizer=AdamW(lr=Cosine(start=0.1)))
    )
    found = rates(risen)
    assert found[0] == found[50] == 0.1
    assert found[:50] == pytest.approx(found[50:])
    assert found[49] < 0.001


def test_a_kept_rate_and_random_sizes_leave_the_recipe_its_schedule():
    for rise in (Progressive(start=64, end=128, lr="kept"), Progressive(start=64, end=128, sizes="random")):
        assert rise(STRONG).optimizer == STRONG.optimizer


def test_words_behind_the_sizes_set_what_they_are_for():
    assert progressive_named("64:96:3:epochs:restarted:constant") == Progressive(
        start=64, end=96, stages=3, length="epochs", lr="restarted", regularisation="constant"
    )
    with pytest.raises(ValueError, match=r"got twice, held and kept in '64:96:held:kept'"):
        progressive_named("64:96:held:kept")
    with pytest.raises(ValueError, match=r"held is for .*rising sizes, and '64:96:random:held' asks for random ones"):
        progressive_named("64:96:random:held")


def test_the_words_behind_the_sizes_are_all_values_of_the_fields():
    hints = get_type_hints(Progressive)
    assert {name: set(get_args(hints[name])) for name in RISES} == {name: set(words) for name, words in RISES.items()}
    assert {name for name, hint in hints.items() if get_origin(hint) is Literal} == set(RISES)
