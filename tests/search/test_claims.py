import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paretina.search import claims as module
from paretina.search.claims import SILENT_S, DeviceLock, LoneClaims, Presence, SharedClaims, claiming, held

JOBS = [f"job-{number:02d}" for number in range(12)]

AT_WORK = """
import sys
from pathlib import Path
from paretina.search.claims import claiming

folder, do, jobs = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
with claiming(folder) as claims:
    print("ready", flush=True)
    sys.stdin.readline()
    while left := [job for job in jobs if not (folder / job).exists()]:
        job = claims.take("work", left)
        if job is None:
            continue
        print(job, flush=True)
        if do == "hang":
            sys.stdin.readline()
        if not (folder / job).exists():
            with open(folder / job, "a") as file:
                file.write(f"done by {claims.presence.name}\\n")
        claims.give_back("work", job, 1.0)
"""


def start(folder, do, *jobs):
    command = [sys.executable, "-c", AT_WORK, str(folder), do, *jobs]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_do_each_job_once(tmp_path):
    workers = [start(tmp_path, "work", *JOBS) for _ in range(2)]
    for worker in workers:
        go(worker)
    said = [worker.communicate()[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    for job in JOBS:
        assert (tmp_path / job).read_text().count("done by") == 1
    assert set(said[0]) | set(said[1]) == set(JOBS)
    with claiming(tmp_path) as claims:
        study = claims.study("work")
        trials = claims.storage.get_all_trials(study)
    completed = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert sorted(trial.number for trial in trials) == list(range(len(trials)))
    assert {trial.user_attrs["job"] for trial in completed} == set(JOBS)
    assert not [trial for trial in trials if not trial.state.is_finished()]


def test_the_job_of_a_killed_process_is_taken_by_another(tmp_path):
    worker = start(tmp_path, "hang", "only")
    go(worker)
    assert worker.stdout.readline() == "only\n"
    with claiming(tmp_path) as claims:
        assert claims.others() == 1
        assert claims.take("work", ["only"]) is None
        os.kill(worker.pid, signal.SIGKILL)
        worker.communicate()
        assert claims.others() == 0
        assert claims.take("work", ["only"]) == "only"
        claims.give_back("work", "only", 1.0)
        states = [trial.state.name for trial in claims.storage.get_all_trials(claims.study("work"))]
    assert states[0] == "FAIL"
    assert states[-1] == "COMPLETE"


# --- in one process ---------------------------------------------------------------------------------------------------


@pytest.fixture
def journal():
    """A storage that two claims of one process may share."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.storages.InMemoryStorage()


def shared(journal, folder, machine=None, now=lambda: 0.0):
    return SharedClaims(journal, Presence(folder, machine, now))


def test_what_one_has_the_other_does_not_get(tmp_path, journal):
    one, other = shared(journal, tmp_path), shared(journal, tmp_path)
    with one.presence.shown(None), other.presence.shown(None):
        assert one.take("rung", ["a", "b"]) == "a"
        assert other.take("rung", ["a", "b"]) == "b"
        assert other.take("rung", ["a", "b"]) is None
        assert other.take("elsewhere", ["a"]) == "a"
        one.give_back("rung", "a")
        assert other.take("rung", ["a"]) == "a"
        assert one.others() == other.others() == 1


def test_of_two_claims_at_the_same_moment_the_older_holds(tmp_path, journal):
    one, other = shared(journal, tmp_path), shared(journal, tmp_path)
    look = one.running
    calls = []

    def both_look_first(study):
        if not calls:
            calls.append(study)
            found = look(study)
            assert other.take("rung", ["a"]) == "a"
            return found
        return look(study)

    with one.presence.shown(None), other.presence.shown(None):
        one.running = both_look_first
        assert one.take("rung", ["a", "b"]) == "b"


def test_a_worker_of_another_machine_is_dead_when_it_is_silent_for_long(tmp_path, journal):
    seconds = [0.0]
    far, near = shared(journal, tmp_path, "far"), shared(journal, tmp_path, "near", lambda: seconds[0])
    with far.presence.shown(None), near.presence.shown(None):
        assert far.take("rung", ["a"]) == "a"
        assert near.take("rung", ["a"]) is None
        seconds[0] = SILENT_S - 1
        assert near.take("rung", ["a"]) is None
        far.presence.beat(1)
        seconds[0] = SILENT_S + 1
        assert near.take("rung", ["a"]) is None
        seconds[0] = 2 * SILENT_S + 2
        assert near.take("rung", ["a"]) == "a"
        far.give_back("rung", "a", 1.0)  # comes back, and must not take it away again
        assert far.take("rung", ["a"]) is None


def test_one_that_ends_leaves_no_sign(tmp_path, journal):
    one, other = shared(journal, tmp_path), shared(journal, tmp_path)
    with other.presence.shown(None):
        with one.presence.shown(None):
            one.take("rung", ["a"])
        assert not other.presence.alive(one.presence.name)
        assert other.take("rung", ["a"]) == "a"
        assert len(list(tmp_path.iterdir())) == 2


# --- without Optuna ---------------------------------------------------------------------------------------------------


def test_without_optuna_one_works_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "has_optuna", lambda: False)
    with claiming(tmp_path) as claims:
        assert isinstance(claims, LoneClaims)
        assert claims.take("rung", ["a", "b"]) == "a"
        claims.give_back("rung", "a", 1.0)
        assert claims.take("rung", []) is None
        assert claims.others() == 0
        with pytest.raises(ValueError, match=r"several need Optuna: pip install"), claiming(tmp_path):
            pass
        monkeypatch.setattr(module, "has_optuna", lambda: True)
        with pytest.raises(ValueError, match="another process is working"), claiming(tmp_path):
            pass


# --- the device -------------------------------------------------------------------------------------------------------


def free(path, mode):
    try:
        with held(path, mode | fcntl.LOCK_NB):
            return True
    except BlockingIOError:
        return False


def test_trainings_share_a_device_and_a_timing_has_it_alone(tmp_path):
    lock = DeviceLock("cuda:1", tmp_path)
    assert "cuda1" in Path(lock.lock).name
    with lock.shared(), lock.shared():
        assert not free(lock.lock, fcntl.LOCK_EX)
        assert free(lock.gate, fcntl.LOCK_EX)
    with lock.alone():
        assert not free(lock.lock, fcntl.LOCK_SH)
        assert not free(lock.gate, fcntl.LOCK_EX)
    assert free(lock.lock, fcntl.LOCK_EX)


def test_two_devices_do_not_hinder_each_other(tmp_path):
    with DeviceLock("cuda:0", tmp_path).alone(), DeviceLock("cuda:1", tmp_path).alone():
        pass
