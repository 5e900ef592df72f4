import json
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from paretina import verbs
from paretina.cli.train import interrupted
from paretina.report import read_run
from paretina.run import Run, command_line, free_folder, write_aside
from paretina.verbs.checks import check_place, model_file


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", {"verb": "train"})


def state_of(run, step, text="whole"):
    with run.new_state(step) as folder:
        (folder / "state.json").write_text(text)


def states(run):
    return sorted(path.name for path in (run.path / "state").iterdir())


# --- what was asked ---------------------------------------------------------------------------------------------------


def test_what_was_asked_is_there_from_the_start(run):
    assert run.asked() == {"verb": "train"}
    assert run.result() is None
    assert run.last_state() is None
    assert list(run.lines()) == []


def test_a_directory_holds_one_run(run):
    with pytest.raises(ValueError, match="already contains a run; choose another --output, or continue with --resume"):
        Run.create(run.path, {"verb": "other"})
    assert run.asked() == {"verb": "train"}


def test_a_directory_in_which_a_process_trains_is_not_offered_to_be_continued(run):
    with run.held():
        for start in (lambda: Run.create(run.path, {"verb": "train"}), lambda: check_place(run.path, None)):
            with pytest.raises(
                ValueError, match=r"another process is training in .* right now; choose another --output, or wait"
            ):
                start()
    with pytest.raises(ValueError, match="already contains a run"):
        Run.create(run.path, {"verb": "train"})
    with pytest.raises(ValueError, match="holds a run already"):
        check_place(run.path, None)


def test_a_directory_that_was_made_but_not_begun_can_be_used(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".asked.json.1234").write_text('{"verb": "tr')  # a process was killed while it wrote
    assert Run.create(tmp_path / "run", {"verb": "train"}).asked() == {"verb": "train"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no asked.json in it"),
        ("{", "cannot be read"),
        ("[]", "does not describe a run"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_directory_without_a_run_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "asked.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=said):
        Run.open(tmp_path)


def test_free_folder_counts_up(tmp_path):
    names = [free_folder(tmp_path / "runs", "photos").name for _ in range(3)]
    assert names == ["photos-1", "photos-2", "photos-3"]


# --- the log ----------------------------------------------------------------------------------------------------------


def test_each_line_has_event_step_and_attempt(run):
    run.log("train", 3, **{"train/loss": 0.1 + 0.2})
    assert list(run.lines()) == [{"event": "train", "step": 3, "attempt": 0, "train/loss": 0.1 + 0.2}]


def test_each_opening_is_one_attempt_more(run):
    assert Run.open(run.path).attempt == 0  # nothing was logged, so nothing was attempted
    run.log("train", 1)
    assert Run.open(run.path).attempt == 1
    Run.open(run.path).log("train", 1)
    assert Run.open(run.path).attempt == 2


def test_a_line_cut_short_by_a_kill_does_not_spoil_the_next(run):
    run.log("train", 1)
    with open(run.path / "log.jsonl", "a") as file:
        file.write('{"event": "train", "step": 2, "att')
    again = Run.open(run.path)
    again.log("note", 1, message="line\u2028feed\nand é")
    assert [(line["step"], line["attempt"]) for line in run.lines()] == [(1, 0), (1, 1)]
    assert [*run.lines()][1]["message"] == "line\u2028feed\nand é"


@pytest.mark.parametrize("cut", range(1, 12))
def test_any_cut_of_the_log_can_be_read(run, cut):
    run.log("train", 1)
    run.log("train", 2)
    whole = (run.path / "log.jsonl").read_bytes()
    (run.path / "log.jsonl").write_bytes(whole[: len(whole) * cut // 12])
    assert [line["step"] for line in run.lines()] in ([], [1])


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_old_or_new_and_never_half(run, monkeypatch):
    run.write("result.json", {"status": "old"})

    def full_disk(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        run.write("result.json", {"status": "new"})
    assert run.result() == {"status": "old"}


def test_numbers_come_back_as_they_were(run):
    given = {"status": "done", "metrics": {"val/top1": 100 / 3, "temperature": 1e-300}}
    run.write("result.json", given)
    assert run.result() == given


def test_a_written_file_leaves_nothing_beside_it(tmp_path):
    write_aside(tmp_path / "a.json", b"1")
    write_aside(tmp_path / "a.json", b"2")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"2"


# --- state ------------------------------------------------------------------------------------------------------------


def test_a_new_state_replaces_the_old_one(run):
    state_of(run, 5)
    state_of(run, 12)
    assert states(run) == ["000000012"]
    assert run.last_state() == run.path / "state" / "000000012"


def test_the_newest_state_counts_where_an_old_one_was_not_removed(run):
    state_of(run, 12)
    (run.path / "state" / "000000005").mkdir()
    (run.path / "state" / "000000009").mkdir()
    assert run.last_state().name == "000000012"


def test_a_state_that_was_not_finished_does_not_count(run):
    state_of(run, 5)
    with suppress(RuntimeError), run.new_state(9) as folder:
        (folder / "state.json").write_text("half")
        raise RuntimeError("the disk is full")
    assert run.last_state().name == "000000005"
    assert (run.last_state() / "state.json").read_text() == "whole"
    state_of(run, 10)
    assert states(run) == ["000000010"]  # the half one is gone too


def test_a_state_of_the_same_step_is_never_missing_while_it_is_replaced(run, monkeypatch):
    state_of(run, 5, "first")
    seen = []

    def watched(name):
        true = getattr(os, name)

        def call(*given, **named):
            seen.append((run.last_state() is not None) and (run.last_state() / "state.json").exists())
            return true(*given, **named)

        return call

    for name in ("rename", "unlink", "rmdir", "fsync"):
        monkeypatch.setattr(os, name, watched(name))
    state_of(run, 5, "second")
    monkeypatch.undo()
    assert seen
    assert all(seen)
    assert states(run) == ["000000005"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only Linux tells which file a number stands for")
def test_a_state_is_on_the_disk_before_it_gets_its_name(run, monkeypatch):
    done = []

    def watched(name):
        true = getattr(os, name)

        def call(target, *others):
            done.append((name, os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(target)))
            return true(target, *others)

        return call

    for name in ("fsync", "rename"):
        monkeypatch.setattr(os, name, watched(name))
    state_of(run, 5)
    monkeypatch.undo()
    (named,) = [at for at, (name, _) in enumerate(done) if name == "rename"]
    aside = done[named][1]
    assert {target for _, target in done[:named]} == {aside, f"{aside}/state.json"}
    assert done[named + 1 :] == [("fsync", str(run.path / "state"))]


def test_a_kill_at_any_call_leaves_a_whole_state(tmp_path):
    """Ends a process at its n-th call that touches the disk, for every n, while it replaces the state of step 5 by 6."""
    script = """
import os, sys
from pathlib import Path
from paretina.run import Run
run, last = Run(Path(sys.argv[1])), int(sys.argv[2])
calls = 0
def counted(true):
    def call(*given, **named):
        global calls
        calls += 1
        if calls == last:
            os._exit(9)
        return true(*given, **named)
    return call
for name in ("rename", "replace", "mkdir", "fsync", "open", "unlink", "rmdir", "scandir"):
    setattr(os, name, counted(getattr(os, name)))
with run.new_state(6) as folder:
    (folder / "state.json").write_text("whole")
    (folder / "tensors.safetensors").write_text("whole")
print(calls)
"""
    kept = set()
    for n in range(1, 40):
        run = Run(tmp_path / str(n))
        run.path.mkdir()
        with run.new_state(5) as folder:
            (folder / "state.json").write_text("whole")
            (folder / "tensors.safetensors").write_text("whole")
        code = subprocess.run([sys.executable, "-c", script, str(run.path), str(n)], capture_output=True).returncode
        last = run.last_state()
        assert {path.name: path.read_text() for path in last.iterdir()} == {
            "state.json": "whole",
            "tensors.safetensors": "whole",
        }
        kept.add(last.name)
        if code == 0:
            break
    assert n > 8
    assert kept == {"000000005", "000000006"}
    assert states(run) == ["000000006"]


# --- one process at a time ------------------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from paretina.run import Run
with Run(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_belongs_to_one_process_until_that_ends(run):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=r"another process is using .*run; wait until it is done, or stop it"), run.held():
        pass
    other.kill()  # no chance to clean up
    other.communicate()
    with run.held():
        assert run.log("note", 0, message="mine") is None


def test_a_run_that_is_held_cannot_be_held_again_and_leaves_nothing_behind(run):
    before = sorted(run.path.iterdir())
    with run.held(), pytest.raises(ValueError, match="another process is using"), Run(run.path).held():
        pass
    assert sorted(run.path.iterdir()) == before
    with suppress(ZeroDivisionError), run.held():
        1 / 0  # noqa: B018
    with run.held():
        pass


@pytest.mark.parametrize("verb", ["frontier", "time"])
def test_the_directory_of_a_study_is_no_run(tmp_path, verb):
    (tmp_path / "asked.json").write_text(json.dumps({"verb": verb, "data": "photos"}))
    (tmp_path / "report.html").write_text("the page of the study")
    for read in (Run.open, read_run, model_file, lambda path: verbs.resume(path)):
        with pytest.raises(ValueError, match=f"is not a run but belongs to `paretina {verb}`") as refused:
            read(tmp_path)
        assert ("paretina frontier --resume" in str(refused.value)) == (verb == "frontier")
    run = Run.create(tmp_path / "run", {"verb": "train"})
    assert verbs.report([tmp_path, run.path], tmp_path / "comparison.html").left_out.keys() == {str(tmp_path)}
    assert (tmp_path / "report.html").read_text() == "the page of the study"


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        ("/bin/paretina", "paretina train 'my photos'"),
        ("/lib/paretina/__main__.py", "paretina train 'my photos'"),
        ("/lib/pytest/__main__.py", ""),
        ("my_script.py", ""),
    ],
)
def test_the_command_of_this_process(monkeypatch, program, wanted):
    monkeypatch.setattr(sys, "argv", [program, "train", "my photos"])
    assert command_line() == wanted


def test_an_interruption_between_checkpoints_says_what_will_be_repeated(run):
    assert "interrupted at once: no checkpoint was saved yet, so it will start over; resume with" in str(
        interrupted(run.path, "")
    )
    state_of(run, 40)
    said = str(interrupted(run.path, ""))
    assert "interrupted at once: updates since the last checkpoint (update 40) will be repeated; resume with" in said
    assert str(interrupted(run.path, "stopped after 3")).startswith("interrupted: stopped after 3; resume with")
