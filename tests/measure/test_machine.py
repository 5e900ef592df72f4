import os

import pytest
import torch

from paretina.measure.machine import Device, Others
from paretina.system import Usage, cores


def others(*readings, count=2):
    left = iter(readings)
    return Others(count, lambda: next(left))


def test_a_device_says_what_a_timing_must_be_read_with():
    here = Device.here("cpu")
    assert here.to_dict()["torch"] == torch.__version__
    assert (here.kind, here.threads, here.cores) == ("cpu", torch.get_num_threads(), cores())
    assert here.name
    here.wait()


def test_memory_of_a_device_that_does_not_say_is_unknown():
    assert Device.here("cpu").free_bytes() != 0
    assert Device(**{**Device.here("cpu").to_dict(), "device": "mps"}).free_bytes() is None


# --- others -------------------------------------------------------------------------------------------------------------


def test_others_are_all_that_is_busy_and_not_us():
    # in 10 s, 15 s of processor time were used, 9 of them by us: 0.6 cores are others'
    watch = others(Usage(100, 50, 7), Usage(110, 65, 16))
    assert watch.used() == pytest.approx(0.6)


def test_rounding_never_makes_others_negative():
    assert others(Usage(0, 0, 0), Usage(10, 9.9, 10)).used() == 0


def test_no_time_says_nothing():
    assert others(Usage(1, 1, 1), Usage(1, 1, 1)).used() is None


def test_the_queue_stands_in_where_the_system_does_not_count(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (2.5, 0, 0))
    assert others(Usage(0, None, 0), Usage(10, None, 20)).used() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("count", "used", "disturbed"),
    [(2, 0.05, False), (2, 0.2, True), (64, 2.0, False), (64, 4.0, True), (2, None, False)],
)
def test_a_large_machine_bears_more(count, used, disturbed):
    assert others(Usage(0, 0, 0), count=count).disturbed(used) == disturbed
