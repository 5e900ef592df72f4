import os
import subprocess
import sys

import pytest

from paretina import system as module
from paretina.system import available_bytes, busy_seconds, cores, cpus, processes, running_children_seconds, usage

TICK = 1 / os.sysconf("SC_CLK_TCK")
MEMORY = {"proc/meminfo": "MemTotal:  9 kB\nMemAvailable:     4000 kB\n"}
LIMIT = {"sys/fs/cgroup/memory.max": "3000000\n", "sys/fs/cgroup/memory.current": "1000000\n"}


def written(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def process(number, parent, ticks, name="python"):
    fields = f"{number} ({name}) S {parent} 7 7 0 -1 4 10 0 0 0 {ticks} 1 2 3 20 0 1 0 99"
    return {f"proc/{number}/stat": fields}


# --- memory -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "left"),
    [
        (MEMORY, 4_096_000),
        (MEMORY | LIMIT, 2_000_000),
        (MEMORY | LIMIT | {"sys/fs/cgroup/memory.stat": "anon 5\ninactive_file 300000\n"}, 2_300_000),
        (MEMORY | LIMIT | {"sys/fs/cgroup/memory.max": "max\n"}, 4_096_000),
        (LIMIT | {"sys/fs/cgroup/memory.current": "4000000\n"}, 0),
        ({}, None),
    ],
)
def test_memory_is_the_least_of_what_the_system_and_the_container_leave(tmp_path, files, left):
    assert available_bytes(written(tmp_path, files)) == left


# --- processors ---------------------------------------------------------------------------------------------------------


def test_busy_is_all_but_idle_and_waiting(tmp_path):
    # user nice system idle iowait irq softirq steal guest guest_nice
    first = min(cpus())
    lines = ["cpu  99 99 99 99 99 99 99 99 99 99", f"cpu{first} 10 20 30 4000 5000 1 2 3 9 9", "intr 1 2"]
    root = written(tmp_path, {"proc/stat": "\n".join(lines)})
    assert usage(root).busy == pytest.approx((10 + 20 + 30 + 1 + 2 + 3) * TICK)
    assert usage(tmp_path / "nothing").busy is None


def test_only_processors_that_this_process_may_use_are_looked_at(tmp_path, monkeypatch):
    root = written(
        tmp_path, {"proc/stat": "cpu 9 9 9 9 9 9 9 9\n" + "".join(f"cpu{n} {10**n} 0 0 7 7 0 0 0\n" for n in range(12))}
    )
    monkeypatch.setattr(module, "cpus", lambda: frozenset({0, 2, 11}))
    assert busy_seconds(root) == pytest.approx((1 + 100 + 10**11) * TICK)


def test_a_damaged_count_is_none(tmp_path):
    assert busy_seconds(written(tmp_path, {"proc/stat": f"cpu{min(cpus())} ten\n"})) is None
    assert busy_seconds(written(tmp_path, {"proc/stat": "cpu 1 2 3 4 5 6 7 8\n"})) is None


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, 12),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, 12),
        ({"sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
        ({"sys/fs/cgroup/cpu.max": "10000 100000"}, 1),
        ({"sys/fs/cgroup/cpu.max": "9900000 100000"}, 12),
        ({"sys/fs/cgroup/cpu.max": "rubbish"}, 12),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 12),
        (
            {
                "proc/self/cgroup": "0::/jobs/ours",
                "sys/fs/cgroup/jobs/ours/cpu.max": "max 100000",
                "sys/fs/cgroup/jobs/cpu.max": "400000 100000",
            },
            4,
        ),
    ],
)
def test_cores_are_those_that_may_be_used_within_the_quota_of_the_container(tmp_path, monkeypatch, files, found):
    monkeypatch.setattr(module, "cpus", lambda: frozenset(range(20, 32)))
    assert cores(written(tmp_path, files)) == found


def test_processes_that_this_one_started_count_as_its_own(tmp_path):
    us = os.getpid()
    child, grandchild, stranger = us + 1, us + 2, us + 3
    files = process(us, 1, 1000) | process(child, us, 40, "a (b) c") | process(grandchild, child, 5) | process(stranger, 1, 70)
    root = written(tmp_path, {**files, "proc/99999999/stat": "torn"})
    assert set(processes(root)) == {(us, 1, 1006), (child, us, 46), (grandchild, child, 11), (stranger, 1, 76)}
    assert running_children_seconds(root) == pytest.approx((46 + 11) * TICK)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="this system has no /proc")
def test_what_a_child_uses_is_own_while_it_runs_and_when_it_has_ended():
    before = usage().own
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        assert usage().own - before >= 0.25
        child.communicate("\n")
    assert usage().own - before >= 0.25
