"""Tasks are done once, by whatever engine, and survive what happens to their processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import sample_tasks
from paretina.run import TakenError
from paretina.search.engines.here import Here
from paretina.search.tasks import ATTEMPTS, StudyTask, engine, outcome_of, path_of, sole
from sample_tasks import broken, dies_at_first, noted, refused


def tasks(count, do=noted):
    return [StudyTask(f"t{at}", do, {"name": f"t{at}", "value": at}) for at in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once_whatever_is_asked_again(tmp_path, workers):
    said = []
    found = Here(workers).run(tasks(5), tmp_path, said.append)
    assert {name: outcome.value["twice"] for name, outcome in found.items()} == {f"t{at}": 2 * at for at in range(5)}
    assert list(found) == [f"t{at}" for at in range(5)]
    assert len(said) == 5
    again = Here(workers).run(tasks(7), tmp_path)
    assert len(again) == 7
    assert sorted((tmp_path / "calls.txt").read_text().split()) == [f"t{at}" for at in range(7)]
    others = {outcome.value["pid"] != os.getpid() for outcome in found.values()}
    assert others == {workers > 1}


@pytest.mark.slow
def test_a_refusal_is_an_outcome_and_a_bug_stops_the_study(tmp_path):
    found = Here(1).run([StudyTask("no", refused), *tasks(1)], tmp_path)
    assert found["no"].error == "this network cannot be trained"
    assert found["t0"].error is None
    with pytest.raises(KeyError, match="a bug"):
        Here(1).run([StudyTask("bug", broken)], tmp_path)
    assert not path_of(tmp_path, "bug").exists()
    with pytest.raises(KeyError, match="a bug"):
        Here(2).run([StudyTask("bug", broken), StudyTask("no2", refused)], tmp_path)


@pytest.mark.slow
def test_a_killed_process_costs_its_task_an_attempt(tmp_path):
    found = Here(2).run([StudyTask("weak", dies_at_first, {"name": "weak", "times": 1}), *tasks(3)], tmp_path)
    assert found["weak"].value == {"times": 1}
    assert all(found[f"t{at}"].error is None for at in range(3))
    # one that was at work beside it is lost with the processes, and made again
    assert set((tmp_path / "calls.txt").read_text().split()) == {"t0", "t1", "t2"}


@pytest.mark.slow
def test_what_always_dies_is_given_up_and_the_rest_is_done(tmp_path):
    found = Here(2).run([StudyTask("dead", dies_at_first, {"name": "dead", "times": 99}), *tasks(4)], tmp_path)
    assert f"ended {ATTEMPTS} times" in found["dead"].error
    assert [found[f"t{at}"].error for at in range(4)] == [None] * 4


@pytest.mark.slow
def test_timings_come_last_and_here(tmp_path):
    found = Here(2).run([StudyTask("time", noted, {"name": "time", "value": 0}, alone=True), *tasks(3)], tmp_path)
    assert found["time"].value["pid"] == os.getpid()
    assert (tmp_path / "calls.txt").read_text().split()[-1] == "time"


def test_names_are_file_names_and_their_own(tmp_path):
    with pytest.raises(ValueError, match="file name"):
        StudyTask("../x", noted)
    with pytest.raises(ValueError, match="two tasks are called t0"):
        Here(1).run([*tasks(1), *tasks(1)], tmp_path)
    with pytest.raises(ValueError, match="at least one worker"):
        engine(workers=0)


def test_a_damaged_outcome_is_named(tmp_path):
    Here(1).run(tasks(1), tmp_path)
    path_of(tmp_path, "t0").write_text('{"value": 1}')
    with pytest.raises(ValueError, match=r"t0\.json is damaged; remove it"):
        outcome_of(tmp_path, "t0")
    assert outcome_of(tmp_path, "t1") is None


def test_one_process_works_on_a_study(tmp_path):
    with sole(tmp_path):
        code = (
            "import sys; from pathlib import Path; from paretina.search.tasks import sole\nwith sole(Path(sys.argv[1])): pass"
        )
        ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
        assert ran.returncode == 1
        assert "another process is working on" in ran.stderr
    with sole(tmp_path):
        pass
    assert issubclass(TakenError, ValueError)


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_no_file(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; import sample_tasks as t\n"
        "from paretina.search.engines.here import Here; from paretina.search.tasks import StudyTask\n"
        "if __name__ == '__main__':\n"
        "    folder = Path(sys.argv[1])\n"
        "    try: Here(2).run([StudyTask('w', t.waits), StudyTask('v', t.waits)], folder)\n"
        "    except KeyboardInterrupt: print('interrupted')"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    words = [sys.executable, str(script), str(tmp_path), os.path.dirname(sample_tasks.__file__)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for _ in range(600):
        if (tmp_path / "begun").exists():
            break
        time.sleep(0.1)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=50)
    assert out == "interrupted\n", err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("tasks/*.json"))


# --- Ray ----------------------------------------------------------------------------------------------------------------


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r'pip install "paretina\[ray\]"'):
        engine("auto")
    with pytest.raises(ValueError, match="for this machine alone"):
        engine("auto", workers=2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_nodes_lose_a_process_each_and_one_is_lost_altogether(tmp_path):
    """Run in a process of its own: Ray leaves threads and files behind."""
    script = os.path.join(os.path.dirname(__file__), "on_two_nodes.py")
    path = os.pathsep.join([os.path.dirname(sample_tasks.__file__), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, script, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": path}
    ran = subprocess.run(words, capture_output=True, text=True, timeout=400, check=False, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # Ray's own words can come behind it
    told = json.loads(next(line for line in reversed(ran.stdout.splitlines()) if line.startswith("{")))
    assert told["errors"] == []
    assert told["done"] == told["asked"]
    assert told["nodes"] == 2
    assert told["after_loss"] == told["late"]
    assert told["alone_cores"] == 2
