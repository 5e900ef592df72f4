"""Compound scaling and its rounding."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from paretina.measure.cost import cost
from paretina.model.edits.scale import Round, Scale
from paretina.model.families.efficientnet import B0
from paretina.model.stems.conv import DeepStem
from paretina.spec import put

TINY = replace(B0, resolution=32, classes=5, stages=B0.stages[:3])
quickly = settings(deadline=None, derandomize=True, max_examples=100, database=None)


def widths(blueprint):
    return (blueprint.stem.width, *(stage.width for stage in blueprint.stages), blueprint.head.width)


def depths(blueprint):
    return tuple(stage.depth for stage in blueprint.stages)


def test_rounding_goes_up_where_a_tenth_would_be_lost():
    # B3's first stage, 16 * 1.2: the nearest multiple is 16, less than 0.9 of 19.2
    assert Round()(19.2) == 24
    assert Round(floor=0.0)(19.2) == 16


@pytest.mark.parametrize(
    ("width", "rounded"),
    [(0.1, 8), (8.0, 8), (8.8, 8), (9.0, 16), (11.9, 16), (12.0, 16), (17.7, 16), (17.8, 24), (20.0, 24), (1536.0, 1536)],
)
def test_rounding_by_hand(width, rounded):
    assert Round()(width) == rounded


@quickly
@given(some.floats(0.01, 1e4), some.floats(0.01, 1e4), some.integers(1, 32), some.sampled_from([0.0, 0.9]))
def test_rounding_gives_multiples_that_lie_near_and_never_fall(a, b, divisor, floor):
    rounding = Round(divisor=divisor, floor=floor)
    low, high = rounding(min(a, b)), rounding(max(a, b))
    assert low <= high
    for width, rounded in ((min(a, b), low), (max(a, b), high)):
        assert rounded % divisor == 0
        assert rounded >= max(divisor, floor * width)
        assert abs(rounded - width) <= divisor


@pytest.mark.parametrize("given", [{"divisor": 0}, {"floor": -0.1}, {"floor": 2.0}])
def test_rounding_refuses_what_has_no_meaning(given):
    with pytest.raises(ValueError, match="Round needs divisor >= 1 and 0 <= floor <= 1"):
        Round(**given)


def test_depth_alone_repeats_the_blocks():
    deep = Scale(depth=4.0)(TINY)
    assert depths(deep) == (4, 8, 8)
    assert replace(deep, stages=TINY.stages) == TINY  # nothing else has changed


def test_depth_is_rounded_up_but_not_by_a_rounding_error():
    assert depths(Scale(depth=1.1)(TINY)) == (2, 3, 3)
    deep = put(TINY, "stages.*.depth", 25)
    assert depths(Scale(depth=2.2)(deep)) == (55, 55, 55)  # 2.2 * 25 is 55.00000000000001
    assert depths(Scale(depth=0.01)(deep)) == (1, 1, 1)


def test_width_is_rounded_everywhere():
    # 32, 16, 24, 40 and 1280 times 1.2 are 38.4, 19.2, 28.8, 48 and 1536
    assert widths(Scale(width=1.2)(TINY)) == (40, 24, 32, 48, 1536)
    assert widths(Scale(width=1.2, round=Round(floor=0.0))(TINY)) == (40, 16, 32, 48, 1536)


def test_width_one_rounds_nothing():
    odd = put(TINY, "stages.*.width", 17)
    assert widths(Scale(width=1.0, depth=2.0)(odd)) == (32, 17, 17, 17, 1280)


def test_widths_that_a_stem_names_itself_are_scaled():
    deep = replace(TINY, stem=DeepStem(width=64, inner=(32, 48)))
    assert Scale(width=2.0)(deep).stem == DeepStem(width=128, inner=(64, 96))


def test_resolution_is_taken_as_it_is():
    assert Scale(resolution=47)(TINY) == replace(TINY, resolution=47)


@pytest.mark.parametrize(("given", "side"), [(600, 480), (480, 480), (300, 300), (None, 480)])
def test_resolution_never_exceeds_its_cap(given, side):
    # without a side of its own the cap holds for that of the blueprint
    capped = Scale(resolution=given, max_resolution=480)(replace(TINY, resolution=528))
    assert capped == replace(TINY, resolution=side)


def test_a_cap_leaves_width_and_depth_alone():
    scale = Scale(width=1.2, depth=1.4, resolution=300)
    assert replace(scale, max_resolution=480)(TINY) == scale(TINY)
    assert replace(scale, max_resolution=224)(TINY) == replace(scale(TINY), resolution=224)


@pytest.mark.parametrize("side", [0, -1])
def test_a_cap_below_one_pixel_is_refused(side):
    with pytest.raises(ValueError, match=f"Scale needs max_resolution >= 1, got {side}"):
        Scale(max_resolution=side)


def test_what_is_kept_stays():
    grown = Scale(width=2.0, depth=2.0)(TINY)
    kept = Scale(width=2.0, depth=2.0, keep=("stem", "head", "ends"))(TINY)
    assert widths(grown) == (64, 32, 48, 80, 2560)
    assert depths(grown) == (2, 4, 4)
    assert widths(kept) == (32, 32, 48, 80, 1280)
    assert depths(kept) == (1, 4, 2)


@pytest.mark.parametrize("scale", [Scale(), Scale(resolution=32), Scale(width=1.01, keep=("stem", "head", "ends"))], ids=repr)
def test_scaling_by_one_is_refused(scale):
    with pytest.raises(ValueError, match=r"changes nothing in this blueprint \(arXiv:1905.11946, table 1\); leave it out"):
        scale(TINY)


@pytest.mark.parametrize("given", [{"width": 0}, {"width": -1}, {"depth": 0}])
def test_factors_are_above_zero(given):
    with pytest.raises(ValueError, match="Scale needs width > 0 and depth > 0"):
        Scale(**given)


def test_a_resolution_that_no_network_has_is_refused():
    with pytest.raises(ValueError, match=r"Blueprint.resolution must be between"):
        Scale(resolution=0)(TINY)


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0), (0, 0.5, 0.5), (0.28, 0.29, 0.43)])
def test_cost_never_falls_when_the_network_grows(shares):
    depth, width, resolution = shares
    small = replace(TINY, stages=TINY.stages[:2])
    counts = [cost(small)]
    for s in (1.5, 4):
        grown = Scale(depth=s**depth, width=s ** (width / 2), resolution=round(32 * s ** (resolution / 2)))(small)
        counts.append(cost(grown))
    for less, more in itertools.pairwise(counts):
        assert less.macs <= more.macs
        assert less.params <= more.params
        assert less.activations <= more.activations
    assert counts[-1].macs > counts[0].macs
