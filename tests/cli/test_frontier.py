import importlib.util
import json
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner

from paretina.cli import frontier as cli_frontier
from paretina.cli import main
from paretina.cli.engines import with_threads
from paretina.cli.frontier import frontier
from paretina.search.frontier import run as searching
from paretina.search.frontier.standing import read_standing
from paretina.system import cores


@pytest.fixture
def npz(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (20, 16, 16, 3), dtype=np.uint8)
    path = tmp_path / "noise.npz"
    np.savez(path, images=images, labels=np.arange(20) % 3, split=["train"] * 14 + ["val"] * 6)
    return path


@pytest.fixture
def worked(monkeypatch):
    """What was worked on; nothing is trained."""
    calls = []

    def work(folder, tools, data, listen, say, engine, make_tools):
        calls.append((folder, data))
        return read_standing(folder)

    monkeypatch.setattr(searching, "work", work)
    monkeypatch.setattr(cli_frontier, "show", lambda standing, written, as_json: calls.append((standing, as_json)))
    monkeypatch.setattr("paretina.report.frontier_page.write_frontier", lambda standing: ())
    return calls


def ran(*words, code=0):
    result = CliRunner().invoke(click.Group("paretina", {"frontier": frontier}), ["frontier", *map(str, words)])
    assert result.exit_code == code, result.output
    return result


def test_options_become_candidates_and_settings(npz, tmp_path, worked):
    words = ("--models", "resnet18,resnet34", "--sizes", "32,64", "--recipes", "plain", "--time", "1h30m", "--keep", "3")
    ran(npz, *words, "--cost", "macs", "--budget", "macs=1e9", "-o", tmp_path / "out", "--device", "cpu", "epochs=2")
    standing = worked[1][0]
    names = [entry.name for entry in standing.entries]
    assert names == ["resnet18-32-plain", "resnet18-64-plain", "resnet34-32-plain", "resnet34-64-plain"]
    assert (standing.halving.seconds, standing.halving.factor, standing.halving.cost) == (5400.0, 3.0, "macs")
    assert [str(budget) for budget in standing.budgets] == ["macs <= 1e+09"]
    assert standing.entries[0].candidate.asked.recipe.epochs == 2.0
    command = standing.entries[0].candidate.command("photos")
    assert command == (
        "paretina train photos --model resnet18 --recipe plain --weights auto epochs=2 resolution=32 --device cpu"
    )


def test_runtimes_are_kept_and_what_cannot_be_used_is_refused_before_anything_is_done(npz, tmp_path, worked, monkeypatch):
    words = (
        npz,
        "--models",
        "resnet18",
        "--sizes",
        "32,64",
        "--time",
        "60s",
        "--device",
        "cpu",
        "--runtimes",
        "eager,openvino",
    )
    ran(*words, "-o", tmp_path / "out")
    assert worked[1][0].runtimes == ("eager", "openvino")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "openvino" else found(name, *rest))
    for again in ((*words, "-o", tmp_path / "other"), ("--resume", tmp_path / "out", "--device", "cpu")):
        error = ran(*again, code=1).exception
        assert "the runtime openvino cannot be used" in str(error)
        assert "pip install 'paretina[openvino]'" in str(error)
        assert error.exit_code == 2
    assert not (tmp_path / "other").exists()
    assert len(worked) == 2


def test_a_resumed_frontier_keeps_its_runtimes(npz, tmp_path, worked):
    ran(npz, "--models", "resnet18", "--sizes", "32,64", "--time", "60s", "-o", tmp_path / "out")
    assert worked[1][0].runtimes == ("eager",)
    assert "leave out --runtimes" in ran("--resume", tmp_path / "out", "--runtimes", "openvino", code=2).output


def test_resume_needs_nothing_but_the_directory_and_may_have_another_budget(npz, tmp_path, worked):
    ran(npz, "--models", "resnet18", "--sizes", "32,64", "--time", "60s", "-o", tmp_path / "out")
    ran("--resume", tmp_path / "out", "--budget", "latency_ms=5", "--json")
    assert worked[2] == (tmp_path / "out", None)
    standing, as_json = worked[3]
    assert [str(budget) for budget in standing.budgets] == ["latency_ms <= 5"]
    assert as_json


def test_a_resumed_frontier_may_have_more_time(npz, tmp_path, worked):
    ran(npz, "--models", "resnet18", "--sizes", "32,64", "--time", "60s", "-o", tmp_path / "out")
    ran("--resume", tmp_path / "out", "--time", "2m")
    assert worked[3][0].halving.seconds == 120.0
    error = ran("--resume", tmp_path / "out", "--time", "90s", code=1).exception
    assert "can only be raised" in str(error)
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name the data"),
        (("DATA",), "with either --models or --candidates"),
        (("DATA", "--models", "resnet18", "--candidates", "x.yaml"), "with either --models or --candidates"),
        (("DATA", "--candidates", "x.yaml", "--sizes", "32"), "--sizes and --recipes need --models"),
        (("DATA", "--models", "resnet18,resnet34"), "--time-limit 30m"),
        (("DATA", "--models", "resnet18", "--time", "soon"), "--time-limit must be a time"),
        (("--resume", "x", "--rungs", "2", "seed=1"), "leave out --rungs, seed=1"),
    ],
)
def test_misuse_says_what_to_do(npz, words, message):
    assert message in ran(*(npz if word == "DATA" else word for word in words), code=2).output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--models", "resnet1", "--time", "5m"), "no network matches 'resnet1'"),
        (("--models", "resnet18", "--time", "5m"), "at least two candidates"),
        (("--models", "resnet18", "--sizes", "3x", "--time", "5m"), "whole numbers of pixels"),
        (("--models", "resnet18", "--time", "5m", "--cost", "time"), "there is no cost 'time'"),
        (("--models", "resnet18", "--time", "5m", "--budget", "latency=3"), "did you mean 'latency_ms'"),
        (("--models", "resnet18", "--time", "5m", "epoch=3"), "did you mean 'epochs'"),
        (("--models", "resnet18", "--time", "5m", "--runtimes", "eager,opnvino"), "did you mean 'openvino'"),
    ],
)
def test_words_that_mean_nothing_are_refused_before_anything_is_done(npz, tmp_path, words, message):
    error = ran(npz, *words, "-o", tmp_path / "out", code=1).exception
    assert message in str(error)
    assert error.exit_code == 2
    assert not (tmp_path / "out" / "asked.json").exists()


def test_energy_is_refused_where_no_counter_is(npz, tmp_path, monkeypatch):
    monkeypatch.setattr("paretina.measure.energy.counter_of", lambda device: None)
    error = ran(npz, "--models", "resnet*", "--time", "5m", "--cost", "energy_j", code=1).exception
    assert "no readable energy counter" in str(error)


def test_interrupted_it_says_how_to_go_on(npz, tmp_path, monkeypatch):
    def work(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(searching, "work", work)
    error = ran(npz, "--models", "resnet18", "--sizes", "32,64", "--time", "60s", "-o", tmp_path / "out", code=1).exception
    assert f"paretina frontier --resume {tmp_path / 'out'}" in str(error)
    assert error.code == 130


def test_a_budget_that_nobody_keeps_is_an_exit_code(tmp_path, npz, monkeypatch):
    monkeypatch.setattr(searching, "work", lambda folder, *_: read_standing(folder))
    monkeypatch.setattr("paretina.report.frontier_page.write_frontier", lambda standing: (tmp_path / "report.html",))
    words = ("--models", "resnet18", "--sizes", "32,64", "--time", "60s", "-o", tmp_path / "out", "--json")
    result = ran(npz, *words, "--budget", "latency_ms=5", code=1)
    assert "no candidate meets latency_ms <= 5" in str(result.exception)
    assert result.exception.exit_code == 3
    printed = result.stdout[result.stdout.index("{") :]
    assert json.loads(printed)["status"] == "unfinished"


@pytest.mark.parametrize(
    "command", [["frontier", "shapes", "--models", "resnet18", "--time", "1m"], ["ablate", "fast", "shapes", "-o", "out"]]
)
def test_a_cluster_without_ray_and_with_workers_is_refused(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    ended = CliRunner().invoke(main, [*command, "--cluster", "auto"])
    assert ended.exit_code == 2
    assert 'pip install "paretina[ray]"' in ended.output
    ended = CliRunner().invoke(main, [*command, "--cluster", "auto", "--workers", "2"])
    assert ended.exit_code == 2
    assert "--workers is for this machine alone" in ended.output


def test_workers_share_the_cores():
    assert with_threads({}, None) == {}
    assert with_threads({"epochs": "3"}, 2) == {"epochs": "3", "threads": max(1, cores() // 2)}
    assert with_threads({"threads": "1"}, 2) == {"threads": "1"}
