"""On a system without POSIX's modules everything imports, and what needs them says so."""

import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from paretina import system
from paretina.cli import main
from paretina.data.pictures import fits_shared_memory
from paretina.measure import memory
from paretina.measure.machine import Others
from paretina.run import Run, sync_folder
from paretina.search import device_lock
from paretina.search.device_lock import DeviceLock
from paretina.search.tasks import sole

POSIX = ("fcntl", "grp", "posix", "pwd", "resource", "syslog", "termios")
"""Modules that Windows does not have; `posix` only as a name to import, since `os` is made of it here."""

FUNCTIONS = ("fork", "getloadavg", "sched_getaffinity", "statvfs", "sysconf", "getuid", "uname")
"""Functions of `os` that it does not have."""


@pytest.mark.slow
def test_every_module_imports_without_posix():
    code = f"""
import importlib, pkgutil, sys
import torch, torchvision, rich.live, click, scipy.special, scipy.optimize, PIL.Image, concurrent.futures.process
import multiprocessing.reduction, subprocess, filelock, jinja2, imagehash, torch._dynamo, torch.utils.data
{"".join(f"sys.modules[{name!r}] = None;" for name in POSIX)}
import os
{"".join(f"vars(os).pop({name!r}, None);" for name in FUNCTIONS)}
import paretina
failed = []
for found in pkgutil.walk_packages(paretina.__path__, "paretina."):
    if found.name != "paretina.__main__":
        try:
            importlib.import_module(found.name)
        except Exception as error:
            failed.append(f"{{found.name}}: {{type(error).__name__}}: {{error}}")
print("\\n".join(failed))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.strip() == ""


def test_a_study_says_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setattr(device_lock, "fcntl", None)
    lock = DeviceLock("cpu", tmp_path)
    for context in (lock.shared(), lock.alone(), sole(tmp_path / "study")):
        with pytest.raises(ValueError, match=r"need file locks .* run this command on Linux, on macOS or in WSL"), context:
            pass
    assert not (tmp_path / "study").exists()


def test_the_command_says_it_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(device_lock, "fcntl", None)
    monkeypatch.chdir(tmp_path)
    labels = np.arange(24) % 2
    images = np.zeros((24, 16, 16, 3), np.uint8) + (labels * 99).astype(np.uint8)[:, None, None, None]
    np.savez("data.npz", images=images, labels=labels, split=["train"] * 16 + ["val"] * 8, classes=["a", "b"])
    words = "frontier data.npz --models resnet18 --weights none --sizes 16,24 --time-limit 1m --device cpu batch_size=8"
    result = CliRunner().invoke(main, words.split(), prog_name="paretina")
    assert result.exit_code == 1
    assert "studies need file locks" in result.stderr
    assert "Traceback" not in result.output


def test_peak_memory_is_zero_where_it_is_unknown(monkeypatch):
    monkeypatch.setattr(memory, "resource", None)
    assert memory.peak_mb("cpu") == 0.0


def test_usage_of_the_machine_needs_no_proc(monkeypatch, tmp_path):
    for name in FUNCTIONS:
        monkeypatch.delattr(os, name, raising=False)
    assert system.busy_seconds(tmp_path) is None
    assert system.running_children_seconds(tmp_path) == 0.0
    found = system.usage(tmp_path)
    assert found.busy is None
    assert system.cores(tmp_path) == os.cpu_count()
    assert Others(read=lambda: system.usage(tmp_path)).used() is None
    assert fits_shared_memory(1 << 60)


def test_folders_that_cannot_be_synced_are_left_alone(monkeypatch, tmp_path):
    def denied(path, *rest):
        raise PermissionError(13, "denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", denied)
        sync_folder(tmp_path)


def test_states_are_synced_through_files_open_for_writing(monkeypatch, tmp_path):
    synced, fsync = [], os.fsync

    def noted(handle):
        import fcntl

        synced.append(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE)
        fsync(handle)

    run = Run.create(tmp_path / "run", {})
    monkeypatch.setattr(os, "fsync", noted)
    with run.new_state(3) as folder:
        (folder / "weights").write_bytes(b"x")
    assert synced[0] == os.O_RDWR
    assert (tmp_path / "run" / "state" / "000000003" / "weights").read_bytes() == b"x"
