"""The clock counts updates; epochs and progress follow from them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from paretina.clock import END, START, Clock


def test_progress_and_epoch_by_hand():
    clock = Clock(30, 120, 12.0)
    assert clock.progress == 0.25
    assert clock.epoch == 3.0


def test_the_ends_of_a_run():
    assert (START.progress, START.epoch) == (0.0, 0.0)
    assert (END.progress, END.epoch) == (1.0, 1.0)


def test_a_run_without_updates_is_over():
    assert Clock(0, 0, 3.0).progress == 1.0
    assert Clock(0, 0, 3.0).epoch == 3.0


def test_since_is_the_clock_of_the_rest_of_the_run():
    # 120 updates in 12 epochs: 5 epochs are 50 updates
    assert Clock(80, 120, 12.0).since(5.0) == Clock(30, 70, 7.0)
    assert Clock(80, 120, 12.0).since(0.0) == Clock(80, 120, 12.0)


def test_before_its_start_the_rest_of_the_run_waits_at_zero():
    assert Clock(20, 120, 12.0).since(5.0) == Clock(0, 70, 7.0)


def test_nothing_is_left_since_the_end_or_later():
    assert Clock(120, 120, 12.0).since(12.0) == Clock(0, 0, 0.0)
    assert Clock(120, 120, 12.0).since(99.0) == Clock(0, 0, 0.0)
    assert Clock(0, 0, 0.0).since(1.0) == Clock(0, 0, 0.0)


runs = some.tuples(some.integers(1, 10**6), some.floats(0.01, 1000)).flatmap(
    lambda run: some.builds(Clock, some.integers(0, run[0]), some.just(run[0]), some.just(run[1]))
)


@settings(deadline=None, derandomize=True, max_examples=100, database=None)
@given(runs, some.floats(0, 1000))
def test_every_clock_stays_within_its_run(clock, epochs):
    later = clock.since(epochs)
    assert 0 <= later.update <= later.updates <= clock.updates
    assert 0 <= later.progress <= 1
    assert 0 <= later.epoch <= later.epochs <= clock.epochs
    # what is left of the run is the same on both clocks, once it has begun
    if later.update:
        assert later.updates - later.update == clock.updates - clock.update
    assert later.epochs == pytest.approx(max(0.0, clock.epochs - epochs))
