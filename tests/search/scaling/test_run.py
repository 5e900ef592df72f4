"""A study trains every network once, says what it costs, and writes the family."""

import json
from dataclasses import replace

import pytest

from paretina.data.sources.arrays import Arrays
from paretina.data.sources.shapes import Shapes
from paretina.data.transforms.squash import Squash
from paretina.measure.cost import cost
from paretina.measure.plan import Plan
from paretina.model.blocks.resnet import Basic
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.network_file import read_network
from paretina.model.stems.conv import ConvStem
from paretina.search.engines.here import Here
from paretina.search.scaling import run as scaling
from paretina.search.scaling.run import corrected, off, work
from paretina.search.scaling.shares import CORNERS, NAMED, named
from paretina.search.scaling.solve import Rules
from paretina.search.scaling.study import ScalingStudy, asked_in, begin, read_study, settled
from paretina.search.tasks import TaskOutcome, kept
from paretina.spec import decode
from paretina.train.asked import Asked
from paretina.train.recipe import Recipe
from quick_costs import fake_cost, solve_quickly
from tiny import noise_npz, tiny_blueprint

BASE = tiny_blueprint(Stage(block=Basic(), depth=2, width=16, stride=2), stem=ConvStem(width=16))


@pytest.fixture
def asked(tmp_path):
    data = Arrays(path=noise_npz(tmp_path / "noise.npz", 12, 9))
    recipe = Recipe(epochs=1.0, batch_size=6, transforms=(Squash(),))
    return Asked(data=data, model=BASE, recipe=recipe, plan=Plan(threads=1, workers=0))


def study_of(asked, **fields):
    usual = {"times": (2.0,), "shares": (CORNERS["width"], CORNERS["depth"]), "seeds": (0,), "timing_s": 0.1}
    rules = Rules(tolerance=0.3, multiple=1, divisor=4)
    return ScalingStudy(name="small", base=settled(asked), asked=asked, **{"rules": rules, **usual, **fields})


@pytest.fixture
def untrained(monkeypatch):
    """What was trained; accuracies come from a table, and nothing is timed."""
    calls = []

    def train(folder, given):
        calls.append(given["run"])
        shares = given["run"].partition("-")[0]
        top1 = {"width": 60.0, "depth": 50.0, "resolution": 55.0, "uniform": 65.0}[shares]
        seed = given["asked"]["recipe"]["seed"]
        figures = {"top1": top1 + seed, "train_top1": 99.0, "pictures": 9, "epochs": 1.0, "updates": 2, "time_s": 1.0}
        return {"run": given["run"], **figures}

    def measure(folder, given):
        networks = {name: {"value": [1.0, 1.0, 1.0], "ratio": [1.0, 1.0, 1.0]} for name in given["networks"]}
        return {"networks": networks, "device": {}, "others_cores": 0.0, "disturbed": False}

    monkeypatch.setattr(scaling, "train", train)
    monkeypatch.setattr(scaling, "measure", measure)
    monkeypatch.setattr(scaling, "solve", solve_quickly)
    return calls


@pytest.mark.slow
def test_a_study_is_really_trained_and_its_family_can_be_built(asked, tmp_path):
    folder = tmp_path / "out"
    begin(folder, study_of(asked, seeds=(0, 1)))
    result = work(folder, Here(1))
    rows = {row["name"]: row for row in result["candidates"]}
    assert set(rows) == {"width", "depth"}
    for row in (result["base"]["row"], *rows.values()):
        assert set(row["top1"]) == {"0", "1"}
        assert 0 <= row["train_top1"] <= 100
        assert row["updates"] == 2
        assert row["latency_ms"][0] > 0
    assert result["decision"]["leader"] in ("width", "depth")
    for row in result["family"]:
        found = read_network(folder / row["file"])
        assert found.name == f"small-{row['label']}"
        assert cost(found.blueprint).macs == row["macs"]
        assert row["ratio"] == row["macs"] / result["base"]["row"]["macs"] <= 2.0
    assert json.loads((folder / "result.json").read_text()) == result
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["depth-2x", "width-1x", "width-2x"]


@pytest.mark.slow
def test_finished_tasks_are_not_done_again(asked, tmp_path, untrained, monkeypatch):
    folder = tmp_path / "out"
    begin(folder, study_of(asked, seeds=(0, 1)))
    good = scaling.train

    def interrupted(folder, given):
        if len(untrained) == 3:
            raise KeyboardInterrupt
        return good(folder, given)

    monkeypatch.setattr(scaling, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work(folder, Here(1))
    assert len(untrained) == 3
    monkeypatch.setattr(scaling, "train", good)
    result = work(folder, Here(1))
    assert len(untrained) == len(set(untrained)) == 6  # base, width and depth with two seeds
    assert result["decision"]["leader"] == "width"
    assert work(folder, Here(1)) == result
    assert len(untrained) == 6


def test_the_same_network_is_trained_once_and_what_misses_the_cost_is_told(asked, tmp_path, untrained):
    folder = tmp_path / "out"
    shares = (*CORNERS.values(), named("0.001/0.999/0"), named("resolution+cap17"))
    begin(folder, study_of(asked, shares=shares, rules=Rules(tolerance=0.03, multiple=1, divisor=4)))
    result = work(folder, Here(1))
    rows = {row["name"]: row for row in result["candidates"]}
    assert rows["d0.001-w0.999-r0"]["same_as"] == "width-2x"
    assert "cannot be reached" in rows["resolution+cap17"]["error"]
    apart = [name for name, row in rows.items() if row["ratio"] and not 1.94 <= row["ratio"] <= 2.0]
    assert apart
    notes = " ".join(result["notes"])
    assert all(name in notes for name in apart)
    assert "not within 3 %" in notes
    assert "resolution+cap17 is left out" in notes
    assert result["decision"]["leader"] not in apart


@pytest.mark.slow
def test_curves_train_the_winner_and_the_single_dimensions_at_every_multiple(asked, tmp_path, untrained):
    folder = tmp_path / "out"
    shares = (CORNERS["width"], CORNERS["depth"], NAMED["uniform"])
    begin(folder, study_of(asked, shares=shares, times=(4.0, 6.0), curves=True))
    result = work(folder, Here(1))
    assert result["decision"]["leader"] == "uniform"
    assert {run.split("/")[0] for run in untrained if "-6x" in run} == {"width-6x", "depth-6x", "uniform-6x"}
    at = {(row["name"], row["times"]): row["mean"] for row in result["family"]}
    assert len(at) == 6
    assert None not in at.values()


@pytest.mark.slow
def test_measured_costs_are_corrected_by_what_was_measured(asked, tmp_path, untrained, monkeypatch):
    folder, targets = tmp_path / "out", []

    def measure(folder, given):
        base = fake_cost(decode(Blueprint, given["networks"]["base"])).macs
        networks = {}
        for name, data in given["networks"].items():
            ratio = (fake_cost(decode(Blueprint, data)).macs / base) ** 2  # twice the MACs take four times as long
            networks[name] = {"value": [ratio, ratio, ratio], "ratio": [ratio, 0.99 * ratio, 1.01 * ratio]}
        targets.append(given["cost"])
        return {"networks": networks, "device": {}, "others_cores": 0.0, "disturbed": False}

    monkeypatch.setattr(scaling, "measure", measure)
    begin(folder, study_of(asked, cost="latency_ms", times=(4.0,), rules=Rules(tolerance=0.1, multiple=1, divisor=1)))
    result = work(folder, Here(1))
    rows = {row["name"]: row for row in result["candidates"]}
    assert targets.count("latency_ms") >= 3  # two sessions, and the latencies
    # of 4 times the latency, MACs must be twice those of the base
    macs = rows["width"]["macs"] / fake_cost(BASE).macs
    assert rows["width"]["ratio"] == pytest.approx(macs**2)
    assert abs(rows["width"]["ratio"] / 4 - 1) < abs(16 / 4 - 1) / 10
    assert rows["width"]["within"] == (abs(rows["width"]["ratio"] / 4 - 1) <= 0.1)


def test_a_correction_needs_a_difference_larger_than_the_interval():
    assert off((2.5, 2.4, 2.6), 2.0, 0.1)
    assert not off((2.5, 1.9, 3.0), 2.0, 0.1)
    assert not off((2.1, 2.09, 2.11), 2.0, 0.1)


def test_a_power_of_the_multiply_adds_is_met_at_once():
    assert corrected(4.0, 16.0, 4.0) == pytest.approx(2.0)
    assert corrected(4.0, 2.0, 4.0) == pytest.approx(16.0)
    assert corrected(4.0, 1.0, 4.0) == pytest.approx(64.0)  # the power is taken as 0.5 at least
    assert corrected(1.1, 50.0, 2.0) == 1.0  # nothing is smaller than the base


@pytest.mark.slow
def test_the_time_limit_sets_the_epochs_of_all(asked, tmp_path, untrained, monkeypatch):
    monkeypatch.setattr(scaling, "pace", lambda folder, given: {"epoch_s": 2.0, "fixed_s": 1.0, "updates_per_epoch": 2.0})
    begin(tmp_path / "out", study_of(asked, seeds=(0, 1), time_limit_s=100.0))
    # (0.9 * 100 - 6 * 1) / (6 * 2): three networks with two seeds
    assert work(tmp_path / "out", Here(1))["epochs"] == 7.0
    begin(tmp_path / "short", study_of(asked, time_limit_s=2.0))
    with pytest.raises(ValueError, match="too short: 3 networks with 1 seed need about 10 s"):
        work(tmp_path / "short", Here(1))


def test_a_refused_training_leaves_its_network_out(asked, tmp_path, untrained):
    folder = tmp_path / "out"
    begin(folder, study_of(asked))
    kept(folder, "train-depth-2x-0", TaskOutcome({}, "it cannot be trained", "here", 0.0))
    result = work(folder, Here(1))
    row = next(row for row in result["candidates"] if row["name"] == "depth")
    assert (row["error"], row["mean"]) == ("it cannot be trained", None)
    assert "depth is left out: it cannot be trained" in result["notes"]


def test_requests_that_cannot_be_scaled_are_refused(asked, tmp_path):
    with pytest.raises(ValueError, match="did you mean 'macs'"):
        study_of(asked, cost="mac")
    with pytest.raises(ValueError, match=r"above 1, got 0\.5"):
        study_of(asked, times=(0.5,))
    sized = replace(asked, recipe=replace(asked.recipe, test=replace(asked.recipe.test, size=24)))
    with pytest.raises(ValueError, match=r"model\.resolution=SIZE"):
        settled(sized)
    with pytest.raises(ValueError, match="from scratch"):
        settled(replace(asked, weights="some.safetensors"))
    assert settled(replace(asked, data=Shapes(per_class=1, val_per_class=1))).classes == 10
    with pytest.raises(ValueError, match="holds no scaling study"):
        asked_in(tmp_path)
    folder = tmp_path / "out"
    begin(folder, study_of(asked))
    assert read_study(folder) == study_of(asked)
    with pytest.raises(ValueError, match="is not empty"):
        begin(folder, study_of(asked))
