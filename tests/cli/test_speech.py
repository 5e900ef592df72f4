"""`--quiet` and `--log-format json`, of all commands that can take long."""

import json
import os
import shutil
import signal
import subprocess
import sys

import click
import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from paretina.cli import LONG, main
from paretina.cli.program import speech
from paretina.progress import SPEECH
from paretina.train import training

TINY = ["size=16", "batch_size=6", "workers=0", "precision=float32", "epochs=1", "model.stages.*.width=8", "model.stem.width=8"]
TRAIN = ["train", "photos", "--model", "resnet18", "--weights", "none", "--device", "cpu", *TINY]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home") / "photos"
    for split, each in {"train": 6, "val": 3}.items():
        for name, colour in {"blue": (0, 0, 200), "red": (200, 0, 0)}.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(each):
                noise = np.random.default_rng(number).integers(0, 50, (20, 20, 3))
                picture = (noise + np.array(colour)).astype(np.uint8)
                PIL.Image.fromarray(picture).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def inside(photos, tmp_path, monkeypatch):
    shutil.copytree(photos, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)


def run(*words):
    return CliRunner().invoke(main, [*words], prog_name="paretina")


def leaves(group, names):
    for name in names:
        command = group.commands[name]
        yield from leaves(command, command.commands) if isinstance(command, click.Group) else [command]


def test_every_long_command_has_the_options_and_a_document():
    for command in leaves(main, LONG):
        assert {"quiet", "log_format", "as_json"} <= {param.name for param in command.params}, command.name


@pytest.mark.slow
def test_quiet_prints_the_result_alone():
    usual, quiet = run(*TRAIN), run(*TRAIN, "--quiet")
    assert usual.exit_code == quiet.exit_code == 0, quiet.output
    assert "run directory" in usual.stderr
    assert quiet.stderr == ""
    assert quiet.stdout.splitlines()[-1].startswith("report: ")
    assert quiet.stdout.startswith("top-1 ")


def test_quiet_still_prints_errors():
    result = run("train", "photo", "-q")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: there is no folder 'photo'")


def test_json_lines_are_events_and_the_result_is_one():
    result = run(*TRAIN, "--log-format", "json")
    assert result.exit_code == 0, result.output
    events = [json.loads(text) for text in result.stderr.splitlines()]
    assert {"status", "start", "train", "val", "note"} <= {each["event"] for each in events}
    (last,) = [json.loads(text) for text in result.stdout.splitlines()]
    assert last["event"] == "result"
    assert last["result"]["status"] == "done"
    assert last["result"]["metrics"]["val/top1"] is not None
    assert speech() == SPEECH.get() == "text"


@pytest.mark.parametrize("words", [["--log-format", "json"], ["--log-format=json"]])
def test_an_error_is_an_event(words):
    result = run("train", "photos", "epoch=3", *words)
    assert result.exit_code == 2
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["event"] == "error"
    assert "there is no field 'epoch'" in found["error"]


def test_ctrl_c_is_an_event_that_says_how_to_go_on(monkeypatch):
    def stop(*args, listen, **rest):
        listen({"event": "start", "step": 0, "run": "runs/x"})
        raise KeyboardInterrupt("stopped after 3 of 9 updates")

    monkeypatch.setattr(training, "train", lambda asked, place, limit, listen, say, **rest: stop(listen=listen))
    result = run(*TRAIN, "--log-format", "json")
    assert result.exit_code == 130
    found = json.loads(result.stdout)
    assert (found["event"], found["resume"]) == ("error", "paretina train --resume runs/x")
    quiet = run(*TRAIN, "--quiet")
    assert quiet.exit_code == 130
    assert "paretina train --resume runs/x" in quiet.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--log-format", "jsn"], "'jsn' is not one of 'text', 'json'"),
        (["--quite"], "'--quiet'"),
        (["--quiet", "--log-format", "json"], "exclude each other"),
        (["--log-formt", "json"], "--log-format"),
    ],
)
def test_a_slip_is_refused(words, error):
    result = run(*TRAIN, *words)
    assert result.exit_code == 2
    assert error.lower() in result.output.lower()


def test_a_command_that_is_quick_has_no_such_option():
    result = run("models", "--quiet")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


@pytest.mark.slow
def test_a_pipe_gets_no_terminal_codes():
    environment = {**os.environ, "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
    words = [sys.executable, "-m", "paretina", *TRAIN]
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests are run in the background
    done = subprocess.run(words, capture_output=True, env=environment, check=True)
    assert b"\x1b" not in done.stdout + done.stderr
    assert b"run directory" in done.stderr
    assert signal.getsignal(signal.SIGINT) is before
