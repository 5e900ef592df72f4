"""Schedules at the figures that papers and released code give."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from paretina.clock import Clock
from paretina.schedules import Constant, Cosine, Drawn, Exponential, Linear, Staged, Warmup

quickly = settings(deadline=None, derandomize=True, max_examples=100, database=None)


def at(epoch, epochs, per_epoch=100):
    """The clock at an epoch of a run."""
    return Clock(round(epoch * per_epoch), round(epochs * per_epoch), float(epochs))


def test_constant_and_line_by_hand():
    assert Constant(value=0.1)(at(3, 10)) == 0.1
    assert [Linear(start=1, end=3)(at(epoch, 10)) for epoch in (0, 5, 10)] == [1.0, 2.0, 3.0]


def test_cosine_falls_by_half_in_the_middle_and_ends_exactly():
    cosine = Cosine(start=0.4, end=0.1)
    assert cosine(at(0, 10)) == 0.4
    assert cosine(at(5, 10)) == pytest.approx(0.25)
    assert cosine(at(10, 10)) == 0.1
    # a third of the way: cos(60 degrees) = 1/2, so three quarters are left
    assert cosine(at(1, 3)) == pytest.approx(0.1 + 0.3 * 0.75)


@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 0), (1, 0.08), (2.5, 0.2), (5, 0.4), (62.5, 0.2), (100, 0.029116), (119, 7.5e-5), (120, 0)]
)
def test_warmup_and_cosine_have_the_figures_of_the_sheet(epoch, rate):
    schedule = Warmup(epochs=5, then=Cosine(start=0.4))
    # the sheet gives five digits, and two for the last rate
    assert schedule(at(epoch, 120)) == pytest.approx(rate, rel=1e-2 if epoch == 119 else 2e-5, abs=1e-12)


def test_staircase_has_fallen_when_its_warmup_ends():
    schedule = Warmup(epochs=5, then=Exponential(start=0.256), rebase=False)
    assert schedule(Clock(4999, 350_000, 350.0)) == pytest.approx(0.256, rel=1e-3)
    assert schedule(Clock(5000, 350_000, 350.0)) == pytest.approx(0.9409 * 0.256)


def test_rebased_staircase_starts_at_the_end_of_its_warmup():
    schedule = Warmup(epochs=5, then=Exponential(start=0.256))
    assert schedule(at(5, 350)) == 0.256
    assert schedule(at(7.3, 350)) == 0.256
    assert schedule(at(7.4, 350)) == pytest.approx(0.97 * 0.256)


def test_staircase_ends_at_the_figure_of_the_sheet():
    last = Exponential(start=1.0)(Clock(218_948, 218_949, 350.0))
    assert last == pytest.approx(0.01208, abs=5e-6)  # .97 ** 145


def test_staircase_falls_exactly_at_its_borders():
    staircase = Exponential(start=1.0, factor=0.5, epochs=2.4)
    for step in range(20):
        update = 24 * step  # ten updates an epoch
        assert staircase(Clock(update, 480, 48.0)) == 0.5**step
        assert staircase(Clock(update + 23, 480, 48.0)) == 0.5**step


def test_smooth_decay_meets_the_staircase_at_its_borders():
    smooth, staircase = (Exponential(start=0.016, smooth=smooth) for smooth in (True, False))
    for epoch in (0, 2.4, 24):
        assert smooth(at(epoch, 48)) == pytest.approx(staircase(at(epoch, 48)))
    assert smooth(at(1.2, 48)) == pytest.approx(0.016 * 0.97**0.5)


@pytest.mark.parametrize("given", [{"epochs": 0}, {"epochs": -1}, {"factor": 0}, {"factor": -0.5, "smooth": True}])
def test_decay_refuses_what_has_no_meaning(given):
    with pytest.raises(ValueError, match="Exponential needs epochs > 0 and factor > 0"):
        Exponential(start=1, **given)


def test_share_caps_the_warmup_of_a_short_run():
    schedule = Warmup(epochs=5, then=1.0)
    assert [schedule(at(epoch, 10)) for epoch in (1, 2, 3)] == [0.5, 1.0, 1.0]
    assert Warmup(epochs=5, then=1.0, share=0.5)(at(2, 10)) == pytest.approx(0.4)


def test_warmup_reaches_the_other_schedule_in_one_update():
    schedule = Warmup(epochs=2, then=Linear(start=1, end=0))
    values = [schedule(Clock(update, 100, 20.0)) for update in range(101)]
    assert values[:11] == [update / 10 for update in range(11)]
    assert values[10:] == pytest.approx([1 - update / 90 for update in range(91)])


@pytest.mark.parametrize("epochs", [0, 1e-9])
def test_warmup_of_no_update_is_no_warmup(epochs):
    cosine = Cosine(start=1)
    schedule = Warmup(epochs=epochs, then=cosine)
    assert [schedule(Clock(i, 10, 1.0)) for i in range(11)] == pytest.approx([cosine(Clock(i, 10, 1.0)) for i in range(11)])


@pytest.mark.parametrize("given", [{"epochs": -1}, {"epochs": 1, "share": 0}, {"epochs": 1, "share": 1.1}])
def test_warmup_refuses_what_has_no_meaning(given):
    with pytest.raises(ValueError, match="Warmup needs epochs >= 0 and 0 < share <= 1"):
        Warmup(then=1.0, **given)


@pytest.mark.parametrize(
    ("start", "end", "values"),
    [
        (128.0, 300.0, [128, 185.33, 242.67, 300]),
        (5.0, 15.0, [5, 8.333, 11.667, 15]),
        (0.1, 0.3, [0.1, 0.1667, 0.2333, 0.3]),
        (128.0, 380.0, [128, 212, 296, 380]),
        (0.0, 0.2, [0, 0.0667, 0.1333, 0.2]),
        (0.1, 0.4, [0.1, 0.2, 0.3, 0.4]),
        (5.0, 25.0, [5, 11.67, 18.33, 25]),
        (0.0, 0.5, [0, 0.1667, 0.3333, 0.5]),
    ],
)
def test_stages_have_the_values_of_the_sheet(start, end, values):
    assert Staged.between(start, end).values == pytest.approx(values, abs=0.005 if end > 1 else 5e-5)


def test_stages_change_at_the_epochs_of_the_sheet():
    staged = Staged(values=(0, 1, 2, 3))
    stages = [staged(Clock(epoch, 350, 350.0)) for epoch in range(351)]
    assert [stages.index(stage) for stage in range(4)] == [0, 88, 175, 263]
    assert stages == sorted(stages)


@quickly
@given(some.integers(1, 10), some.integers(1, 300_000), some.data())
def test_stages_are_equally_long(count, updates, data):
    update = data.draw(some.integers(0, updates - 1) | some.integers(0, count - 1).map(lambda i: i * updates // count))
    assert Staged(values=range_of(count))(Clock(update, updates, 1.0)) == update * count // updates


def range_of(count):
    return tuple(float(i) for i in range(count))


@quickly
@given(some.floats(-1e3, 1e3), some.floats(-1e3, 1e3), some.integers(1, 9))
def test_stages_between_two_values_end_exactly_and_never_turn_back(start, end, stages):
    values = Staged.between(start, end, stages).values
    assert len(values) == stages
    assert values[-1] == end
    if stages > 1:
        assert values[0] == start
    assert list(values) == pytest.approx(sorted(values, reverse=start > end))


def test_one_stage_is_plain_training_at_the_end_value():
    assert Staged.between(128.0, 300.0, 1)(at(3, 10)) == 300.0


def test_no_stage_is_refused():
    with pytest.raises(ValueError, match="at least one stage, got stages=0"):
        Staged.between(1.0, 2.0, 0)
    with pytest.raises(ValueError, match="at least one value, got none"):
        Staged(values=())


def test_falling_schedules_never_rise():
    for schedule in (Cosine(start=1), Exponential(start=1), Linear(start=1, end=0), Warmup(epochs=0, then=Cosine(start=1))):
        values = [schedule(Clock(update, 97, 7.0)) for update in range(98)]
        assert all(later <= now for now, later in itertools.pairwise(values))
        assert math.isclose(values[0], 1)


def test_drawn_values_are_those_given_and_last_as_long_as_asked():
    drawn = Drawn(values=(1.0, 2.0, 3.0), every=2.0)
    found = [drawn(Clock(update, 400, 40.0)) for update in range(400)]
    assert set(found) == {1.0, 2.0, 3.0}
    assert all(len(set(found[start : start + 20])) == 1 for start in range(0, 400, 20))
    assert found == [drawn(Clock(update, 400, 40.0)) for update in range(400)]


def test_drawn_anew_at_each_update_and_otherwise_for_another_seed():
    values = tuple(float(i) for i in range(10))
    first, second = ([Drawn(values=values, seed=seed)(Clock(i, 200, 2.0)) for i in range(200)] for seed in (0, 1))
    assert first != second
    assert len({tuple(first[i : i + 3]) for i in range(0, 198, 3)}) > 50


def test_schedules_of_one_seed_draw_the_same_place():
    small, large = Drawn(values=(1.0, 2.0, 3.0)), Drawn(values=(10.0, 20.0, 30.0))
    assert all(10 * small(Clock(i, 50, 1.0)) == large(Clock(i, 50, 1.0)) for i in range(50))


def test_nothing_to_draw_from_is_refused():
    with pytest.raises(ValueError, match="Drawn needs at least one value"):
        Drawn(values=())
