"""What happens to a run from outside: one sentence, an exit code, and a checkpoint that leads to the same end."""

import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
from contextlib import contextmanager

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from paretina.cli import main
from paretina.data import pictures
from paretina.data.index_cache import IndexCache
from paretina.measure.evaluate import Evaluation
from paretina.run import Run, resumed_by
from paretina.train import training
from paretina.train.accidents import AccidentError, accidents_named
from paretina.train.journal import Journal

SMALL = ["--model", "resnet8_w16_s2", "--weights", "none", "--recipe", "plain", "--device", "cpu", "epochs=4", "batch_size=8"]
SMALL += ["size=16", "threads=1", "test.every=1", "model.stem.width=8", "model.stages.*.width=8"]
UPDATES = 12

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits and signals of POSIX")


def write_photos(folder):
    numbers = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6)):
        for name, colour in {"blue": (0, 0, 190), "red": (190, 0, 0)}.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = numbers.integers(0, 60, (24, 20, 3)) + np.array(colour)
                PIL.Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number}.png")


def none_kept(patch, folder):
    """Within a folder with photos/, of which no picture is kept in memory."""
    write_photos(folder / "photos")
    patch.chdir(folder)
    patch.setattr(pictures, "memory_budget", lambda: 0)
    patch.setattr(Evaluation, "KEEP", 0)
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    return none_kept(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """The model file of a run to which nothing happens."""
    with pytest.MonkeyPatch.context() as patch:
        folder = none_kept(patch, tmp_path_factory.mktemp("whole"))
        cli("train", "photos", *SMALL, "workers=0", "-o", "whole")
        return (folder / "whole" / "model.safetensors").read_bytes()


def cli(*arguments, code=0):
    """What a command says on standard error, after it has ended with that code."""
    result = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="paretina")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stderr


@contextmanager
def when(monkeypatch, step, happens, event="train"):
    """Something happens right behind a line of the log."""
    with monkeypatch.context() as patch:
        told = Journal.tell

        def tell(self, kind, at, **values):
            told(self, kind, at, **values)
            if kind == event and at >= step and not done:
                done.append(at)
                happens()

        done = []
        patch.setattr(Journal, "tell", tell)
        patch.setattr(Journal, "due", lambda self: True)
        yield
        assert done


def sentence(said):
    """The error, which is the only one, in one sentence."""
    assert "Traceback" not in said
    (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
    rest = said.partition(error)[2].strip()
    assert rest == "", rest
    return error


def resumed(home, wanted, run="run"):
    said = cli("train", "--resume", run)
    assert (home / run / "model.safetensors").read_bytes() == wanted
    assert not list((home / run).glob(".*"))
    return said


def no_room(size):
    """No file of this process can become larger; the limit of today is given back."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    return before


@pytest.fixture
def limited():
    """Ends the limit after the test, at the latest."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handled)


@pytest.mark.slow
def test_a_worker_that_is_killed(home, wanted, monkeypatch):
    def kill():
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
            child.join()

    with when(monkeypatch, 7, kill):
        said = sentence(cli("train", "photos", *SMALL, "workers=1", "-o", "run", code=1))
    assert "a process that reads pictures, " in said
    assert re.search(r"was killed \(Killed\), as the system does where memory runs out|ended unexpectedly", said)
    assert said.endswith("go on with: paretina train --resume run (continues after update 6)")
    assert "continues after update 6" in resumed(home, wanted)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "DataLoader worker (pid 7) is killed by signal: Killed. ",
            "was killed (Killed), as the system does where memory runs out; go",
        ),
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It", "(Bus error), as where shared memory runs out; go on"),
        ("DataLoader worker (pid 7) is killed by signal: Terminated. ", "7, was killed (Terminated); go on with: "),
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", "that reads pictures, 7, 8, ended unexpectedly; go on"),
        ("[/x/gloo/transport/tcp/pair.cc:561] Connection closed by peer", "another process of this job ended, and says why"),
    ],
)
def test_what_torch_says_of_lost_processes(tmp_path, text, said):
    run = Run.create(tmp_path / "run", {})
    with pytest.raises(AccidentError) as caught, accidents_named(run):
        raise RuntimeError(text)
    assert said in str(caught.value)
    assert str(caught.value).endswith("(no state was saved yet, so it starts over)")


def test_a_bug_stays_a_bug(tmp_path):
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), accidents_named(Run.create(tmp_path / "run", {})):
        raise RuntimeError("shapes differ")


def test_a_run_of_a_study_is_continued_by_the_study(tmp_path):
    Run.create(tmp_path / "study" / "runs" / "one", {})
    (tmp_path / "study" / "asked.json").write_text('{"verb": "search"}')
    assert resumed_by(tmp_path / "study" / "runs" / "one") == f"paretina search --resume {tmp_path / 'study'}"
    Run.create(tmp_path / "folds" / "fold-1", {})
    (tmp_path / "folds" / "folds.json").write_text("{}")
    assert resumed_by(tmp_path / "folds" / "fold-1") == f"paretina train --resume {tmp_path / 'folds'}"
    (tmp_path / "routed" / "sizes").mkdir(parents=True)
    (tmp_path / "routed" / "stages.json").write_text("{}")
    for place in ("routed/sizes", "routed"):
        assert resumed_by(tmp_path / place) == f"paretina train --resume {tmp_path / 'routed'}"


def test_an_index_that_cannot_be_cached_is_said(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "train.tar").write_bytes(b"")
    cached = IndexCache("shards", [tmp_path / "train.tar"])
    cached.keep({"numbers": np.arange(2)})
    assert cached.note.startswith(f"what was found in {tmp_path / 'train.tar'} cannot be cached in ")
    assert cached.note.endswith("so it is looked for again each time")


def test_a_disk_that_is_full_when_a_checkpoint_is_written(home, wanted, monkeypatch, limited):
    with when(monkeypatch, 5, lambda: no_room(20_000)):
        said = sentence(cli("train", "photos", *SMALL, "workers=0", "-o", "run", code=1))
    limited()
    assert "there is no room left to write run/state/.000000006." in said
    assert said.endswith("; make room, then go on with: paretina train --resume run (continues after update 3)")
    assert [path.name for path in (home / "run" / "state").iterdir()] == ["000000003"]
    resumed(home, wanted)


@pytest.mark.slow
def test_a_disk_that_is_full_when_the_log_is_written(home, wanted, monkeypatch, limited):
    with when(monkeypatch, 4, lambda: no_room((home / "run" / "log.jsonl").stat().st_size + 50)):
        said = sentence(cli("train", "photos", *SMALL, "workers=0", "-o", "run", code=1))
    limited()
    assert "there is no room left to write run/log.jsonl: " in said
    assert said.endswith("paretina train --resume run (continues after update 3)")
    resumed(home, wanted)


@pytest.mark.slow
def test_a_disk_that_is_full_when_the_model_is_written(home, wanted, monkeypatch, limited):
    with monkeypatch.context() as patch:
        save = training.save_results

        def full(*arguments):
            no_room(20_000)
            save(*arguments)

        patch.setattr(training, "save_results", full)
        said = sentence(cli("train", "photos", *SMALL, "workers=0", "-o", "run", code=1))
    limited()
    assert "there is no room left to write run/model.safetensors" in said
    assert said.endswith("go on with: paretina train --resume run (continues after update 12)")
    assert not (home / "run" / "model.safetensors").exists()
    resumed(home, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_of_pictures_that_vanishes(home, wanted, monkeypatch, workers):
    with when(monkeypatch, 3, lambda: (home / "photos").rename(home / "elsewhere"), "val"):
        said = sentence(cli("train", "photos", *SMALL, f"workers={workers}", "-o", "run", code=1).replace("note: left out", ""))
    assert "can no longer be read" in said or "no picture of a batch can be read any more" in said
    assert "No such file or directory" in said
    assert ".png" in said
    assert "; put the pictures back as they were, then go on with: paretina train --resume run (continues after update " in said
    gone = sentence(cli("train", "--resume", "run", code=2))
    assert "is not there; give its current location: paretina train DATA --resume run" in gone
    (home / "elsewhere").rename(home / "photos")
    resumed(home, wanted)


@pytest.mark.slow
def test_a_few_pictures_that_vanish_are_left_out_and_a_tenth_ends_the_run(home, monkeypatch):
    def vanish(count):
        for path in sorted((home / "photos" / "train" / "blue").iterdir())[:count]:
            path.unlink()

    with when(monkeypatch, 4, lambda: vanish(1)):
        said = cli("train", "photos", *SMALL, "workers=0", "-o", "few")
    assert said.count("left out, because it can no longer be read: train/blue/0.png: No such file or directory") == 1
    with when(monkeypatch, 4, lambda: vanish(6)):
        said = cli("train", "photos", *SMALL, "workers=0", "max_damaged=0", "-o", "many", code=1)
    assert "error: 4 of 35 pictures of the run can no longer be read, such as train/blue/" in said


@pytest.mark.slow
def test_a_file_that_changes_is_named_once(home, monkeypatch):
    file = home / "photos" / "train" / "blue" / "0.png"

    def change():
        PIL.Image.new("RGB", (20, 20)).save(file)

    with when(monkeypatch, 3, change, "val"):
        said = cli("train", "photos", *SMALL, "workers=1", "-o", "run")
    (note,) = [line for line in said.splitlines() if "changed during the run" in line]
    assert note.startswith(f"note: {file} changed during the run (it had ")
    assert "the picture is used as it is now, so the run is no longer the one that its settings" in note
    assert (home / "run" / "model.safetensors").is_file()


@pytest.mark.slow
def test_the_directory_of_the_run_is_removed_or_moved(home, wanted, monkeypatch):
    with when(monkeypatch, 4, lambda: shutil.rmtree(home / "run")):
        said = sentence(cli("train", "photos", *SMALL, "workers=0", "-o", "run", code=1))
    assert "the directory of the run, run, was removed or moved while the run went on" in said
    with when(monkeypatch, 4, lambda: (home / "run").rename(home / "moved")):
        said = sentence(cli("train", "photos", *SMALL, "workers=0", "-o", "run", code=1))
    assert said.endswith("go on with: paretina train --resume ITS-PLACE; if it was removed, start anew")
    resumed(home, wanted, "moved")
