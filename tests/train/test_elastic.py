"""Several processes under torchrun: one that is lost, one that fails, and another number of them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tiny import noise_npz

SMALL = ["--model", "resnet8_w16_s2", "--weights", "none", "--recipe", "plain", "--device", "cpu", "epochs=30", "batch_size=8"]
SMALL += ["size=16", "workers=0", "threads=1", "test.every=1", "model.stem.width=8", "model.stages.*.width=8"]


def torchrun(*arguments, restarts=0, processes=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["--max-restarts", str(restarts), "-m", "paretina", "train", *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)


def ended(process, code=0):
    said = process.communicate(timeout=240)[1]
    assert (process.returncode == 0) == (code == 0), said[-3000:]
    return said


def workers_of(process):
    """The processes that torchrun has started, by rank."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            words = (place / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            continue
        rank = next((word.removeprefix(b"RANK=") for word in words if word.startswith(b"RANK=")), None)
        if parent == process.pid and rank is not None:
            found[int(rank)] = int(place.name)
    return found


def wait_for(run, pattern, process):
    until = time.monotonic() + 200
    while time.monotonic() < until and process.poll() is None:
        log = run / "log.jsonl"
        # the line of an evaluation comes before its checkpoint
        if log.exists() and re.search(pattern, log.read_text()) and any((run / "state").glob("[0-9]*")):
            return
        time.sleep(0.05)
    pytest.fail(f"{pattern} did not appear: {process.poll()}")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return noise_npz(tmp_path_factory.mktemp("ranks") / "noise.npz", 48, 9, contrast=40)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    ended(torchrun(data, *SMALL, "-o", run))
    return run


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the processes in /proc")
def test_a_lost_process_is_started_again_and_the_end_is_the_same(data, whole, tmp_path):
    run = tmp_path / "run"
    process = torchrun(data, *SMALL, "-o", run, restarts=2)
    wait_for(run, '"event": "val"', process)
    os.kill(workers_of(process)[1], signal.SIGKILL)
    said = ended(process)
    assert "torchrun has started the processes again, so the run continues from its last checkpoint" in said
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the processes in /proc")
def test_a_lost_process_ends_the_job_and_its_checkpoint_is_whole(data, whole, tmp_path):
    run = tmp_path / "run"
    process = torchrun(data, *SMALL, "-o", run)
    wait_for(run, '"event": "val"', process)
    os.kill(workers_of(process)[1], signal.SIGKILL)
    said = ended(process, code=1)
    assert "SIGKILL" in said
    assert "gloo" not in said  # the other process says in words that this one is lost
    ended(torchrun("--resume", run))
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the processes in /proc")
def test_another_number_of_processes_continues_and_says_that_it_is_not_exact(data, tmp_path):
    run = tmp_path / "run"
    process = torchrun(data, *SMALL, "-o", run)
    wait_for(run, '"event": "val"', process)
    os.kill(workers_of(process)[1], signal.SIGKILL)
    ended(process, code=1)
    said = ended(torchrun("--resume", run, processes=1))
    assert "resumed by 1 process, begun by 2" in said
    result = json.loads((run / "result.json").read_text())
    assert result["epochs"] == 30


@pytest.mark.slow
def test_an_error_of_one_process_is_a_sentence(tmp_path):
    said = ended(torchrun(tmp_path / "missing", *SMALL, "-o", tmp_path / "run"), code=1)
    assert said.split("Traceback")[0].startswith("error: there is no folder")  # then torchrun says which process failed


STARTED = "import sys, time; time.sleep(float(sys.argv[1])); from paretina.train.ranks import Ranks; Ranks.start('cpu')"


@pytest.mark.slow
def test_processes_that_start_again_do_not_look_for_those_that_are_gone():
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    shared |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "OMP_NUM_THREADS": "1"}
    for attempt, wait in ("0", "0"), ("1", "5"):  # the second time the first process comes long after the other
        environment = {**os.environ, **shared, "TORCHELASTIC_RESTART_COUNT": attempt}
        started = [
            subprocess.Popen([sys.executable, "-c", STARTED, wait if rank == "0" else "0"], env={**environment, "RANK": rank})
            for rank in ("0", "1")
        ]
        assert [process.wait(timeout=240) for process in started] == [0, 0]
