import csv
import json
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from paretina.cli.measure import measure
from paretina.cli.slips import CHECKS
from paretina.measure import compare as models
from paretina.measure.compare import Measured, MeasuredModel
from paretina.measure.cost import cost
from paretina.measure.machine import Device
from paretina.measure.plan import InferencePlan, Plan
from paretina.measure.roofline import Ceilings, roofline
from paretina.measure.timing import BatchTiming, Series, Timing
from paretina.model.families.resnet import R18
from paretina.verbs import opening

HERE = Device.here("cpu")
TINY = replace(R18, resolution=16, stages=R18.stages[:1])


@pytest.fixture
def program():
    return click.Group("paretina", {"measure": measure})


@pytest.fixture
def asked(monkeypatch):
    """What the command asks for; the answer is made up, so nothing is timed."""
    calls = {}

    def answer(names, device, resolution, batch, training, tuning, **settings):
        calls.update(settings, names=names, device=device, resolution=resolution, training=training, tuning=tuning, batch=batch)
        return Measured(HERE, tuple(map(made_up, names)), {"float32": Ceilings("float32", 100.0, 10.0)})

    monkeypatch.delitem(CHECKS, "measure")  # the names are made up too
    monkeypatch.setattr(models, "measure_models", answer)
    monkeypatch.setattr(opening, "open_any", lambda name, resolution, trust: name)
    return calls


def made_up(name):
    steps = BatchTiming(2, Series(((4.0, 4.0),)))
    counted = cost(TINY)
    timing = Timing(HERE, InferencePlan(batch=2), Plan(), Series(((3.0,),)), steps, None, 0.7, True)
    stages = roofline(counted, {row.name: 1.0 for row in counted.stages}, Ceilings("float32", 100.0, 10.0))
    return MeasuredModel(name, 16, counted, timing, stages, (None, None), False, ("a remark",))


def ran(program, *words, code=0):
    result = CliRunner().invoke(program, ["measure", *words])
    assert result.exit_code == code, result.output
    return result


def test_the_options_reach_what_measures(program, asked):
    ran(program, "a", "timm:b", "--resolution", "64", "--batch", "4", "--no-training", "--tune", "--time", "3s")
    assert (asked["names"], asked["resolution"], asked["batch"]) == (("a", "timm:b"), 64, 4)
    assert (asked["training"], asked["tuning"], asked["seconds"], asked["use_cache"]) == (False, "eager", 3.0, True)


def test_the_default_plan_asks_no_cache(program, asked):
    ran(program, "a", "--plan", "default")
    assert (asked["use_cache"], asked["tuning"]) == (False, "none")
    found = ran(program, "a", "--plan", "default", "--tune", "eager", code=2)
    assert "--plan default and --tune exclude each other; leave one out" in found.output


def test_people_see_tables_and_remarks(program, asked):
    found = ran(program, "a")
    assert "latency ms" in found.stdout
    assert "bound by" in found.stdout
    assert "3.00 [3.00, 3.00]" in found.stdout
    assert "note: a: a remark" in found.stderr
    assert "other processes used 0.7 cores during timing" in found.stderr
    assert "bound by" not in ran(program, "a", "b", "c").stdout
    assert "bound by" in ran(program, "a", "b", "c", "--stages").stdout


def test_programs_read_json_and_tables(program, asked, tmp_path):
    found = json.loads(ran(program, "a", "b", "--json", "--csv", str(tmp_path / "t.csv")).stdout)
    assert [model["name"] for model in found["models"]] == ["a", "b"]
    with open(tmp_path / "t.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["name"] for row in rows] == ["a", "b"]
    assert float(rows[0]["latency_p50_ms"]) == 3.0


def test_words_without_a_meaning_are_misuse(program, asked, tmp_path):
    assert "a is named twice" in ran(program, "a", "a", code=2).output
    for words, message in (
        (("a", "--device", "tpu"), "there is no device 'tpu'"),
        (("a", "--csv", str(tmp_path / "nowhere" / "t.csv")), "there is no folder"),
        (("a", "--data", "nowhere"), "there is no folder 'nowhere'"),
    ):
        error = CliRunner().invoke(program, ["measure", *words]).exception
        assert message in str(error)
        assert error.exit_code == 2
    assert not asked


def test_a_network_that_is_not_there_is_misuse(program):
    error = CliRunner().invoke(program, ["measure", "resnet81"]).exception
    assert "there is no network and no model file 'resnet81'; did you mean 'resnet18'?" in str(error)
    assert error.exit_code == 2
