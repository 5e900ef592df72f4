import os

import pytest
import torch

from paretina.measure import device as module
from paretina.measure.device import Device, Others, Usage, available_bytes, usage


def written(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def others(*readings, cores=2):
    left = iter(readings)
    return Others(cores, lambda: next(left))


def test_a_device_says_what_a_timing_must_be_read_with():
    here = Device.here("cpu")
    assert here.to_dict()["torch"] == torch.__version__
    assert (here.kind, here.threads, here.cores) == ("cpu", torch.get_num_threads(), os.cpu_count())
    assert here.name
    here.wait()


def test_memory_is_the_least_of_what_the_system_and_the_container_leave(tmp_path):
    meminfo = {"proc/meminfo": "MemTotal:  9 kB\nMemAvailable:     4000 kB\n"}
    assert available_bytes(written(tmp_path / "a", meminfo)) == 4000 * 1024
    group = {"sys/fs/cgroup/memory.max": "3000000\n", "sys/fs/cgroup/memory.current": "1000000\n"}
    assert available_bytes(written(tmp_path / "b", meminfo | group)) == 2_000_000
    assert available_bytes(written(tmp_path / "c", meminfo | group | {"sys/fs/cgroup/memory.max": "max\n"})) == 4000 * 1024
    assert available_bytes(tmp_path / "nothing") is None


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
    ("cores", "used", "disturbed"),
    [(2, 0.05, False), (2, 0.2, True), (64, 2.0, False), (64, 4.0, True), (2, None, False)],
)
def test_a_large_machine_bears_more(cores, used, disturbed):
    assert others(Usage(0, 0, 0), cores=cores).disturbed(used) == disturbed


def test_busy_is_all_but_idle_and_waiting(tmp_path):
    # user nice system idle iowait irq softirq steal guest guest_nice
    root = written(tmp_path, {"proc/stat": "cpu  10 20 30 4000 5000 1 2 3 9 9\ncpu0 1 1\n"})
    found = usage(root)
    assert found.busy == pytest.approx((10 + 20 + 30 + 1 + 2 + 3) / os.sysconf("SC_CLK_TCK"))
    assert usage(tmp_path / "nothing").busy is None


def test_a_damaged_count_is_none(tmp_path):
    assert module.busy_seconds(written(tmp_path, {"proc/stat": "cpu ten\n"})) is None
