import fcntl
from pathlib import Path

from paretina.search.device_lock import DeviceLock, held


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
