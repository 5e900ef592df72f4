"""Classifiers are trained further on masks, with the same seeds; what cannot be compared is refused before anything is done."""

import json
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from paretina.cli.transfer import transfer
from paretina.data.source import innermost
from paretina.model.blocks.resnet import Basic
from paretina.model.blueprint import Stage
from paretina.model.weights import About, load_model, save_model
from paretina.search.transfer import run as transferring
from paretina.search.transfer.study import read_study
from paretina.train.recipe import Recipe
from tiny import noise_npz, tiny_blueprint

NETWORK = tiny_blueprint(Stage(block=Basic(), depth=1, width=8, stride=2), Stage(block=Basic(), depth=1, width=16, stride=2))
QUICK = ("--workers", "1", "--device", "cpu", "epochs=1", "batch_size=4", "workers=0", "threads=1", "precision=float32")


def classifier(place, top1=None, seed=0, network=NETWORK):
    torch.manual_seed(seed)
    metrics = {} if top1 is None else {"val/top1": top1, "val/top1_low": top1 - 2, "val/top1_high": top1 + 2}
    place.parent.mkdir(parents=True, exist_ok=True)
    save_model(place, network.build().eval(), About(classes=("a", "b", "c"), metrics=metrics, origin="trained on noise"))
    return place


@pytest.fixture
def pair(tmp_path):
    return classifier(tmp_path / "poor.safetensors", 50.0), classifier(tmp_path / "good.safetensors", 75.0, seed=1)


@pytest.fixture
def masks(tmp_path):
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "masks"):
            (tmp_path / "cells" / kind / split).mkdir(parents=True)
        for number in range(count):
            mask = np.zeros((16, 16), np.uint8)
            mask[4:12, 4:12] = 1
            picture = (random.integers(0, 60, (16, 16, 3)) + 150 * mask[..., None]).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "cells" / "images" / split / f"{number}.png")
            Image.fromarray(mask).save(tmp_path / "cells" / "masks" / split / f"{number}.png")
    return tmp_path / "cells"


@pytest.fixture
def untrained(monkeypatch):
    """What was trained; the figure is a number by backbone and seed."""
    calls = []

    def train(folder, given):
        calls.append(given["run"])
        name, _, seed = given["run"].partition("/")
        value = {"poor": 40.0, "good": 45.0}.get(name, 50.0) + int(seed)
        figure = {"key": "iou", "title": "mean IoU", "unit": "%"}
        found = {"metrics": {"val/iou": value}, "on_train": 60.0, "pictures": 2, "macs": 10, "params": 5, "updates": 1}
        return {"run": given["run"], "figure": figure, "value": value, "time_s": 1.0, **found}

    monkeypatch.setattr(transferring, "train", train)
    return calls


def ran(*words, code=0):
    result = CliRunner().invoke(click.Group("paretina", {"transfer": transfer}), ["transfer", *map(str, words)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_backbones_are_trained_alike_and_compared(pair, masks, tmp_path):
    out = tmp_path / "out"
    found = json.loads(ran(masks, *pair, "--seeds", "2", *QUICK, "-o", out, "--json").stdout)
    assert found["figure"] == {"key": "iou", "title": "mean IoU", "unit": "%"}
    assert [(row["name"], row["top1"], len(row["values"])) for row in found["backbones"]] == [
        ("poor", 50.0, 2),
        ("good", 75.0, 2),
    ]
    assert found["verdict"]["best_classifier"] == "good"
    assert found["backbones"][0]["macs"] == found["backbones"][1]["macs"]
    for name, file in zip(("poor", "good"), pair, strict=True):
        for seed in (0, 1):
            run = out / "runs" / name / str(seed)
            asked = json.loads((run / "asked.json").read_text())["asked"]
            assert (asked["weights"], asked["recipe"]["seed"]) == (str(file), seed)
            assert json.loads((run / "result.json").read_text())["metrics"]["val/iou"] == pytest.approx(
                found["backbones"][("poor", "good").index(name)]["values"][str(seed)]
            )
    page = (out / "report.html").read_text()
    assert "Mean IoU against accuracy" in page
    assert (out / "transfer.csv").read_text().splitlines()[1].startswith("good,")


def test_options_become_the_settings_of_the_study(pair, masks, tmp_path, untrained):
    out = tmp_path / "out"
    said = ran(masks, *pair, "--seeds", "2", "--task", "segment", *QUICK, "head=UNetHead", "-o", out).stdout
    study = read_study(out)
    assert [each.asked.model.head.__class__.__name__ for each in study.backbones] == ["UNetHead"] * 2
    assert [each.asked.recipe.batch_size for each in study.backbones] == [4, 4]
    assert untrained == ["poor/0", "good/0", "poor/1", "good/1"]
    lines = said.splitlines()
    assert lines[0] == "2 backbones on cells, 1 epoch, 2 seeds"
    assert lines[2].split()[:4] == ["backbone", "top-1", "%", "95"]
    assert lines[3].startswith("good")
    assert ran("--resume", out, "--workers", "1").stdout == said
    assert len(untrained) == 4


def test_a_dry_run_lists_the_trainings_and_leaves_nothing(pair, masks, tmp_path, untrained):
    words = [*pair, "--seeds", "2", "epochs=3", "-o", tmp_path / "out", "--dry-run"]
    said = ran(masks, *words).stdout
    assert said.startswith(f"4 trainings on {masks.name}: 2 backbones with 2 seeds each, 3 epochs at ")
    found = json.loads(ran(masks, *words, "--json").stdout)
    assert (found["seeds"], found["epochs"], len(found["backbones"])) == ([0, 1], 3, 2)
    assert all(f"{each['top1']:.2f}" in said and each["file"] in said for each in found["backbones"])
    assert not (tmp_path / "out").exists()
    assert not untrained


def test_backbones_that_differ_in_the_head_alone_are_one(pair, masks, tmp_path):
    network, about = load_model(pair[0])
    with torch.no_grad():
        network.head.classifier.weight.add_(1.0)
    save_model(tmp_path / "again.safetensors", network, about)
    words = ["--dry-run", "epochs=3"]
    said = ran(masks, *pair, tmp_path / "again.safetensors", *words).output
    assert "poor and again are one backbone: their weights differ in the head alone" in " ".join(said.split())
    assert "are one backbone" not in ran(masks, *pair, *words).output


def test_an_interrupted_study_says_how_to_resume(pair, masks, tmp_path, untrained, monkeypatch):
    def interrupted(folder, given):
        raise KeyboardInterrupt

    good = transferring.train
    monkeypatch.setattr(transferring, "train", interrupted)
    error = ran(masks, *pair, *QUICK, "-o", tmp_path / "out", code=1).exception
    assert error.code == 130
    assert f"paretina transfer --resume {tmp_path / 'out'}" in str(error)
    monkeypatch.setattr(transferring, "train", good)
    assert "2 backbones on cells" in ran("--resume", tmp_path / "out", "--workers", "1").stdout


def test_an_accuracy_can_be_given_or_measured(pair, masks, tmp_path, untrained):
    unknown = classifier(tmp_path / "unknown.safetensors", seed=2)
    error = str(ran(masks, pair[0], unknown, *QUICK, code=1).exception)
    assert f"{unknown}@82.5" in error
    assert "--accuracy-on" in error
    found = json.loads(ran(masks, pair[0], f"{unknown}@82.5", *QUICK, "-o", tmp_path / "one", "--json").stdout)
    assert [row["top1"] for row in found["backbones"]] == [50.0, 82.5]
    assert any("on different pictures" in note for note in found["notes"])
    noise = noise_npz(tmp_path / "noise.npz", 3, 12)
    words = (masks, pair[0], unknown, *QUICK, "--accuracy-on", noise, "-o", tmp_path / "two", "--json")
    found = json.loads(ran(*words).stdout)
    assert [row["measured_on"] for row in found["backbones"]] == ["12 pictures of noise.npz"] * 2
    assert all(row["top1_low"] < row["top1"] < row["top1_high"] for row in found["backbones"] if 0 < row["top1"] < 100)
    assert not any("on different pictures" in note for note in found["notes"])
    assert "leave one out" in str(ran(masks, pair[0], f"{unknown}@82.5", *QUICK, "--accuracy-on", noise, code=1).exception)


def test_files_of_one_name_are_told_apart(masks, tmp_path, untrained):
    files = [classifier(tmp_path / folder / "net.safetensors", 50.0 + at) for at, folder in enumerate("ab")]
    found = json.loads(ran(masks, *files, *QUICK, "-o", tmp_path / "out", "--json").stdout)
    assert [row["name"] for row in found["backbones"]] == ["net", "net+"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--task", "segmnt"), "did you mean 'segment'"),
        (("--time-limit", "30"), "has no unit"),
        (("--time-limit", "30m", "epochs=3"), "leave one out"),
        (("seed=3",), "see --seeds"),
        (("epoch=3",), "epochs"),
        (("epochs=0",), "epochs=0 makes no update"),
        (("--cluster", "auto", "--workers", "2"), "for this machine alone"),
        (("--recipe", "segmnt"), "did you mean 'segment'"),
        (("head=UNetHaed",), "did you mean 'UNetHead'"),
        (("--accuracy-on", "clipat"), "did you mean 'clipart'"),
    ],
)
def test_slips_are_refused_before_anything_is_done(pair, masks, tmp_path, words, said, untrained):
    words = [str(masks), *map(str, pair), *words, "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(click.Group("paretina", {"transfer": transfer}), ["transfer", *words])
    assert result.exit_code != 0
    assert said in f"{result.output} {result.exception}"
    assert not (tmp_path / "out").exists()
    assert not untrained


def test_backbones_that_cannot_be_compared_are_named(pair, masks, tmp_path, untrained):
    assert "there is no model file" in str(ran(masks, pair[0], tmp_path / "no.safetensors", code=1).exception)
    assert "is given twice" in str(ran(masks, pair[0], pair[0], code=1).exception)
    assert "accuracy as a classifier in percent, from 0 to 100" in str(ran(masks, pair[0], f"{pair[1]}@abc", code=1).exception)
    assert "accuracy as a classifier in percent, from 0 to 100" in str(ran(masks, pair[0], f"{pair[1]}@824", code=1).exception)
    assert "`paretina train DATA --model resnet18` makes" in str(ran(masks, pair[0], "resnet18", code=1).exception)
    assert "two or more backbones" in ran(masks, pair[0], code=2).output
    assert "from 0 to 100" in str(ran(masks, pair[0], f"{pair[1]}@820", code=1).exception)
    large = classifier(tmp_path / "large.safetensors", 60.0, network=replace(NETWORK, resolution=32))
    error = str(ran(masks, pair[0], large, *QUICK, code=1).exception)
    assert "poor 16, large 32 pixels" in error
    assert "size=SIZE" in error
    found = json.loads(ran(masks, pair[0], large, *QUICK, "size=32", "-o", tmp_path / "out", "--json").stdout)
    assert len(found["backbones"]) == 2


def test_what_a_directory_holds_is_said(pair, masks, tmp_path, untrained):
    wrong = ran("--resume", tmp_path, "--seeds", "2", "epochs=3", code=2).output
    assert "leave out --seeds, epochs=3" in wrong
    assert "holds no transfer study" in str(ran("--resume", tmp_path, code=1).exception)
    ran(masks, *pair, *QUICK, "-o", tmp_path / "out")
    again = str(ran(masks, *pair, *QUICK, "-o", tmp_path / "out", code=1).exception)
    assert "a transfer already" in again
    assert "paretina transfer --resume" in again


def test_moved_data_is_found_again(pair, masks, tmp_path, untrained):
    from paretina.data.named import source_named

    ran(masks, *pair, *QUICK, "-o", tmp_path / "out")
    moved = masks.rename(tmp_path / "moved")
    study = read_study(tmp_path / "out", source_named(str(moved)))
    assert {Path(innermost(each.asked.data).path) for each in study.backbones} == {moved}
    assert isinstance(study.asked.recipe, Recipe)
