"""`paretina runs`: a folder of runs as a table, and two runs side by side."""

import csv
import json
import os
import shutil
from pathlib import Path

import filelock
import pytest
import torch
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.cli.report import main_cell, table
from paretina.cli.runs import number, result, spelled
from paretina.report import read_run
from paretina.report.runs import COLUMNS
from paretina.train import training
from paretina.train.objectives.supervised import Supervised
from tiny import noise_npz, tiny_blueprint

FIELDS = {"epochs": 2, "batch_size": 6, "size": 16, "workers": 0, "precision": "float32", "seed": 3}


def asked(data, **fields):
    return verbs.ask(data, model=tiny_blueprint(), device="cpu", fields={**FIELDS, **fields}).asked


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with two finished runs, an interrupted and a failed one, a study, and what is left of another."""
    home = tmp_path_factory.mktemp("home")
    data = noise_npz(home / "noise.npz", 24, 9, contrast=60)
    for name, fields in {"first": {}, "second": {"seed": 4, "epochs": 3}}.items():
        training.train(asked(data, **fields), home / "runs" / name)
    with pytest.raises(KeyboardInterrupt):
        training.train(asked(data, **{"test.every": 0.5}), home / "runs" / "deep" / "stopped", stop_after=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Supervised, "make", broken(Supervised.make))
        with pytest.raises(FloatingPointError):
            training.train(asked(data), home / "runs" / "failed")
    (home / "runs" / "study").mkdir()
    (home / "runs" / "study" / "asked.json").write_text(json.dumps({"verb": "frontier"}))
    shutil.copytree(home / "runs" / "first", home / "runs" / "study" / "inside")
    shutil.copytree(home / "runs" / "first", home / "runs" / "damaged")
    (home / "runs" / "damaged" / "asked.json").write_text("{")
    shutil.copytree(home / "runs" / "first", home / "runs" / "headless")
    (home / "runs" / "headless" / "asked.json").unlink()
    (home / "runs" / "nothing").mkdir()
    (home / "runs" / "loop").symlink_to(home / "runs")
    return home


def broken(make):
    """An objective whose loss is not finite."""

    def made(self, *args, **kwargs):
        module = make(self, *args, **kwargs)
        forward = module.forward
        module.forward = lambda *inner: {name: loss * torch.nan for name, loss in forward(*inner).items()}
        return module

    return made


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)


def run(*words, code=0, width=None):
    result = CliRunner().invoke(main, ["runs", *words], prog_name="paretina", env={"COLUMNS": str(width)} if width else None)
    assert result.exit_code == code, result.output
    return result


def rows(*words):
    return {row["run"]: row for row in json.loads(run(*words, "--json").stdout)["runs"]}


def test_each_run_has_its_row():
    found = rows()
    assert sorted(found) == ["deep/stopped", "failed", "first", "second", "study/inside"]
    result = json.loads(Path("runs/first/result.json").read_text())
    first = found["first"]
    assert tuple(first) == tuple(COLUMNS)
    assert (first["state"], first["data"], first["size"], first["seed"]) == ("finished", "noise.npz", 16, 3)
    assert (first["epochs"], first["planned"]) == (2, 2)
    assert first["value"] == result["metrics"]["val/top1"]
    assert (first["low"], first["high"]) == (result["metrics"]["val/top1_low"], result["metrics"]["val/top1_high"])
    assert (first["macs"], first["params"]) == (result["cost"]["macs"], result["cost"]["params"])
    assert first["time_s"] == result["time_s"]
    assert first["error"] is None


def test_states_and_progress():
    found = rows()
    assert {name: row["state"] for name, row in found.items()} == {
        "deep/stopped": "interrupted",
        "failed": "failed",
        "first": "finished",
        "second": "finished",
        "study/inside": "finished",
    }
    assert found["failed"]["error"].startswith("FloatingPointError: loss is nan at step 0")
    assert (found["deep/stopped"]["epochs"], found["deep/stopped"]["planned"]) == (pytest.approx(1.0, abs=0.3), 2.0)
    assert found["deep/stopped"]["value"] is not None
    assert found["deep/stopped"]["low"] is None


def test_a_run_that_another_process_works_on_is_running(tmp_path, home):
    shutil.copytree(home / "runs" / "deep", tmp_path / "runs")
    with filelock.FileLock(tmp_path / "runs" / "stopped" / ".lock"):
        assert rows(str(tmp_path / "runs"))["stopped"]["state"] == "running"
    (tmp_path / "runs" / "stopped" / ".lock").touch()  # as a process that was killed leaves it
    assert rows(str(tmp_path / "runs"))["stopped"]["state"] == "interrupted"


def test_a_failed_run_that_was_resumed_has_not_failed(tmp_path, home):
    shutil.copytree(home / "runs" / "failed", tmp_path / "failed")
    assert read_run(tmp_path / "failed").failure
    training.resume(tmp_path / "failed")
    record = read_run(tmp_path / "failed")
    assert (record.failure, record.finished) == ("", True)
    assert record.train[0]["step"] == 1


def test_damaged_runs_are_named_and_no_more():
    result = run()
    assert "left out: runs/damaged/asked.json is damaged" in result.stderr
    assert "left out: runs/headless is not a run directory: asked.json is missing" in result.stderr
    document = json.loads(run("--json").stdout)
    assert set(document["damaged"]) == {"runs/damaged", "runs/headless"}
    assert document["studies"] == ["runs/study"]


@pytest.mark.parametrize("content", ["[]", '{"metrics": 3}', '{"status": "done", "metrics": {}, "cost": 1}'])
def test_a_result_of_another_form_is_not_fatal(content, tmp_path, home):
    shutil.copytree(home / "runs" / "first", tmp_path / "first")
    (tmp_path / "first" / "result.json").write_text(content)
    document = json.loads(run(str(tmp_path), "--json").stdout)
    assert len(document["runs"]) + len(document["damaged"]) == 1
    run(str(tmp_path))


@pytest.mark.parametrize("width", [80, 120])
def test_text_fits_the_terminal(width, tmp_path, home):
    shutil.copytree(home / "runs", tmp_path / "runs", symlinks=True)
    (tmp_path / "runs" / "first").rename(tmp_path / "runs" / f"a-very-long-name-of-a-run-{'x' * 90}-1")
    for words in ([], ["--compare", str(home / "runs" / "first"), str(home / "runs" / "second")]):
        lines = run(str(tmp_path / "runs"), *words, width=width).stdout.splitlines()
        assert max(map(len, lines)) <= width
        assert lines
    ended = run(str(tmp_path / "runs"), width=width)
    text, (dropped,) = ended.stdout, [line for line in ended.stderr.splitlines() if "left out, since" in line]
    assert f"the terminal is {width} columns wide: " in dropped
    assert "--csv FILE" in dropped
    assert ("data" in dropped) == (width < 120)
    assert "a-very-long" in text
    assert "..." in text
    assert " to " in text
    header = text.splitlines()[0].split()
    assert {"run", "state", "top-1", "epochs", "model"} <= set(header)
    assert ("data" in header) == (width == 120)


def test_names_are_whole_where_the_text_goes_elsewhere(tmp_path, home, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    shutil.copytree(home / "runs", tmp_path / "runs", symlinks=True)
    long = f"a-very-long-name-of-a-run-{'x' * 190}-1"
    (tmp_path / "runs" / "first").rename(tmp_path / "runs" / long)
    text = run(str(tmp_path / "runs")).stdout
    assert long in text
    assert {"data", "took"} <= set(text.splitlines()[0].split())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"metric": "top-1", "unit": "%", "value": 74.44, "low": 70.0, "high": 79.0}, "top-1 74.4 % [70.0 to 79.0]"),
        ({"metric": "mean AP", "unit": "%", "value": 0.84, "low": None, "high": None}, "mean AP 0.8 %"),
        ({"metric": "loss", "unit": "", "value": 2.5, "low": None, "high": None}, "loss 2.500"),
        ({"metric": "loss", "unit": "", "value": None, "low": None, "high": None}, "-"),
    ],
)
def test_a_figure_has_its_unit(row, said):
    assert result(row, named=True) == said
    assert "%" not in result(row, named=False)  # it is in the title


def test_values_are_spelled_as_they_are_given():
    assert [spelled(value) for value in (None, True, False, 0.1, 1.0, "on", 3)] == ["-", "on", "off", "0.1", "1", "on", "3"]
    assert [number(value) for value in (None, 0.12345, 77.654, 77654.3, -1234567.0)] == [
        *("-", "0.1235", "77.65", "77,654", "-1,234,567"),
    ]


def test_sorted_by_any_field():
    assert list(rows("--sort", "seed"))[-1] == "second"
    assert next(iter(rows("--sort", "-seed"))) == "second"
    assert list(rows("--sort", "-macs"))[-2:] == ["deep/stopped", "failed"]  # which have none
    values = [row["value"] for row in rows("--sort", "-top1").values()]
    assert values[0] == max(value for value in values if value is not None)
    assert next(iter(rows("--sort", "epochs"))) == "failed"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["state=finished"], {"first", "second", "study/inside"}),
        (["seed=4"], {"second"}),
        (["recipe.epochs=3"], {"second"}),
        (["batch_size=6", "state=fail*"], {"failed"}),
        (["run=study/*"], {"study/inside"}),
        (["macs=none"], {"deep/stopped", "failed"}),
        (["seed=many"], set()),
    ],
)
def test_chosen_by_fields(filters, found):
    assert set(rows(*(word for text in filters for word in ("--filter", text)))) == found


def test_nothing_that_matches_is_said():
    assert "there are no runs that match in runs" in run("--filter", "seed=99").stdout
    os.makedirs("empty", exist_ok=True)
    assert run("empty").stdout == "there are no runs in empty\n"


def test_csv_has_all_columns(tmp_path):
    run("--csv", str(tmp_path / "out.csv"), "--sort", "run")
    with open(tmp_path / "out.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["run"] for row in table] == ["deep/stopped", "failed", "first", "second", "study/inside"]
    assert list(table[0]) == list(COLUMNS)


def test_two_runs_side_by_side_with_the_difference_over_the_same_pictures():
    found = json.loads(run("--compare", "first", "second", "--json").stdout)
    assert found["settings"] == {"recipe.epochs": [2.0, 3.0], "recipe.seed": [3, 4]}
    assert found["pictures"] == 9
    metrics = found["metrics"]["val/top1"]
    assert found["gained"]["value"] == pytest.approx(metrics[1] - metrics[0])
    assert found["gained"]["low"] < found["gained"]["value"] < found["gained"]["high"]
    text = run("--compare", "first", "second").stdout
    assert "recipe.seed" in text
    assert "over the same 9 pictures" in text


def test_runs_on_other_pictures_have_no_difference(tmp_path, home):
    shutil.copytree(home / "runs" / "second", tmp_path / "other")
    lines = (tmp_path / "other" / "predictions.csv").read_text().splitlines(keepends=True)
    (tmp_path / "other" / "predictions.csv").write_text("".join(lines[:-1]))
    found = json.loads(run("--compare", "first", str(tmp_path / "other"), "--json").stdout)
    assert (found["gained"], found["pictures"]) == (None, 0)
    assert "not judged on the same pictures" in run("--compare", "first", str(tmp_path / "other")).stdout


def test_an_unfinished_run_can_be_compared():
    found = json.loads(run("--compare", "first", "deep/stopped", "--json").stdout)
    assert found["gained"] is None
    assert found["metrics"]["val_ema/top1"][0] is None
    assert found["metrics"]["val_ema/top1"][1] is not None


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["run"], "there is no folder run; did you mean 'runs'?"),
        (["--sort", "vale"], "no run has 'vale'; did you mean 'value'?"),
        (["--filter", "modle=x"], "no run has 'modle'; did you mean 'model'?"),
        (["--filter", "model"], "--filter takes FIELD=VALUE"),
        (["--compare", "first", "secnd"], "there is no run secnd"),
        (["--compare", "first", "second", "--sort", "run"], "leave out --sort"),
        (["--compare", "first", "damaged"], "is damaged"),
        (["--csv", "gone/out.csv"], "there is no folder gone"),
        (["--srot", "run"], "--sort"),
    ],
)
def test_a_slip_is_refused(words, error):
    assert error in run(*words, code=2).stderr


def test_a_run_directory_is_listed_alone():
    assert list(rows("runs/first")) == ["first"]


def test_the_text_of_a_report_has_the_main_figure_of_any_task():
    found = {"key": "iou", "title": "mean IoU", "unit": "%", "value": 46.68, "low": 41.6, "high": None}
    assert main_cell(found) == "mean IoU 46.7 %"
    assert main_cell({**found, "high": 50.52}) == "mean IoU 46.7 % [41.6 to 50.5]"
    assert main_cell({**found, "value": None}) == "-"
    rows = [
        {
            "run": name,
            "size": 32,
            "epochs": 1,
            "params": 10,
            "macs": 10,
            "uncounted": [],
            "copies": 0,
            "time_s": 1.0,
            "status": "done",
        }
        | {"figure": figure, "top1": 70.0, "top1_low": None, "top1_high": None}
        | {"balanced": 60.0, "balanced_low": None, "balanced_high": None}
        for name, figure in (("a", {**found, "key": "top1", "title": "top-1"}), ("b", found))
    ]
    assert "main figure" in next(table(rows))
    assert "top-1, %" in next(table(rows[:1]))
