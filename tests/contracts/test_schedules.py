"""What every schedule must satisfy."""

import math

import pytest

from paretina.clock import END, START, Clock
from paretina.schedules import Exponential, Linear, Schedule, Warmup
from paretina.spec import modules_in

EXAMPLES = [example for module in modules_in("paretina.schedules") for example in getattr(module, "EXAMPLES", ())]
every_schedule = pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)


@every_schedule
@pytest.mark.parametrize("updates", [1, 7, 400])
@pytest.mark.parametrize("epochs", [0.01, 1.0, 350.0])
def test_is_finite_over_the_whole_run(schedule, updates, epochs):
    values = [schedule(Clock(update, updates, epochs)) for update in range(updates + 1)]
    assert all(type(value) is float and math.isfinite(value) for value in values)


@every_schedule
@pytest.mark.parametrize("clock", [START, END, Clock(0, 0, 1.0), Clock(0, 0, 0.0), Clock(0, 5, 0.0)], ids=repr)
def test_is_finite_at_the_ends_and_in_runs_of_nothing(schedule, clock):
    assert math.isfinite(schedule(clock))


@every_schedule
def test_has_no_memory(schedule):
    clocks = [Clock(update, 50, 10.0) for update in range(51)]
    forward = [schedule(clock) for clock in clocks]
    assert [schedule(clock) for clock in reversed(clocks)] == forward[::-1]


@every_schedule
def test_hardly_depends_on_how_finely_the_run_is_cut(schedule):
    # at the same epoch of the same run, batches of half the size are at twice the update
    for epoch in (0.5, 3.3, 7.7):
        coarse, fine = (schedule(Clock(round(n * epoch), 10 * n, 10.0)) for n in (1000, 2000))
        assert fine == pytest.approx(coarse, rel=1e-2)


def test_examples_are_schedules():
    assert EXAMPLES
    assert all(isinstance(example, Schedule) for example in EXAMPLES)


@every_schedule
def test_another_peak_keeps_the_shape(schedule):
    clocks = [Clock(update, 200, 40.0) for update in range(201)]
    before = [schedule(clock) for clock in clocks]
    peaked = schedule.with_peak(2.5)
    factor = 2.5 / max(before) if not isinstance(schedule, Warmup) else 2.5 / schedule.then(START)
    assert [peaked(clock) for clock in clocks] == pytest.approx([factor * value for value in before])
    assert type(peaked) is type(schedule)


def test_a_schedule_without_a_peak_says_so():
    with pytest.raises(ValueError, match="rises to the end, so its peak depends on the epochs"):
        Exponential(start=0.1, factor=1.1).with_peak(1.0)
    with pytest.raises(ValueError, match="never rises above zero"):
        Linear(start=0.0, end=-1.0).with_peak(1.0)
