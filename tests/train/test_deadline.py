"""A run's length follows what its updates really take."""

import pytest

from paretina.data.sampler import Epochs
from paretina.train.deadline import Deadline


def epochs(count):
    return Epochs(samples=640, batch=64, epochs=count, seed=0)  # ten updates an epoch


def made(seconds, at, planned=10.0, most=None):
    """Updates that a run makes, and when it is done, with the time of each update."""
    now = [0.0]
    deadline = Deadline(at, most, lambda: now[0])
    length = epochs(planned)
    deadline.begin(length)
    done = 0
    while done < length.updates:
        now[0] += seconds(done)
        done += 1
        fitted = deadline.refit(done, length) if done < length.updates else None
        length = fitted or length
    return done, now[0]


def test_a_run_that_is_on_time_stays_as_it_is():
    done, end = made(lambda update: 1.0, at=103.2)
    assert done == 100
    assert end <= 103.2


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.3, 3.0])
def test_an_estimate_that_is_wrong_is_made_good(factor):
    done, end = made(lambda update: factor, at=100.0)
    assert end <= 100.0
    assert end >= 90.0
    assert done == pytest.approx(100 / factor, rel=0.1)


def test_a_machine_that_becomes_slow_ends_in_time():
    _, end = made(lambda update: 0.5 if update < 60 else 2.0, at=100.0)
    assert 85.0 <= end <= 103.0


def test_a_slow_moment_does_not_end_the_run_early():
    done, _ = made(lambda update: 3.0 if 50 <= update < 60 else 1.0, at=125.0)
    assert done >= 90


def test_no_more_epochs_are_made_than_wanted():
    done, _ = made(lambda update: 0.1, at=100.0, most=10.0)
    assert done == 100


def test_late_in_a_run_it_does_not_become_longer_than_it_was_to_be():
    done, _ = made(lambda update: 1.0 if update < 65 else 0.01, at=103.2)
    assert done <= 103


def test_at_least_one_update_more_is_made():
    done, _ = made(lambda update: 50.0, at=60.0)
    assert 2 <= done <= 9
