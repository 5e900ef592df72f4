"""Files that earlier releases wrote, kept in `tests/kept/`: they are read, evaluated, shown and continued.

A folder is a release, named by its day: a finished `run`, and one that was `stopped` after 4 of 6 updates. `pictures`
makes what both were trained on. `models/` has a model file of each kind of model; a release that changes what is
written adds its own.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from paretina import verbs
from paretina.model.blueprint import Model
from paretina.model.weights import load_model
from paretina.report.records import read_run
from paretina.run import Run
from paretina.spec import decode, encode, kinds
from paretina.train.asked import Asked
from paretina.train.training import resume

KEPT = Path(__file__).parent / "kept"
RELEASES = sorted(path.name for path in KEPT.iterdir() if (path / "run").is_dir())
every_release = pytest.mark.parametrize("release", RELEASES)


@pytest.fixture
def pictures(tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(33) % 3
    images = (random.random((33, 20, 20, 3)) * 170 + 40 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(
        tmp_path / "pictures.npz", images=images, labels=labels, split=["train"] * 24 + ["val"] * 9, classes=["a", "b", "c"]
    )
    return str(tmp_path / "pictures.npz")


def test_there_are_some():
    assert len(RELEASES) >= 2


@every_release
def test_what_was_asked_keeps_its_meaning_under_its_names_of_today(release):
    asked = decode(Asked, Run.open(KEPT / release / "run").asked()["asked"])
    recipe = asked.recipe
    assert (recipe.start.zero_gamma, recipe.start.norm_momentum) == (True, 0.2)
    assert (recipe.learning.classifier_lr, recipe.learning.lr_decay, recipe.learning.frozen_stride) == (2.0, 0.9, 0)
    assert (recipe.test.size, recipe.test.keep, recipe.test.fit) == (24, "best", "squash")
    assert "0.05" in recipe.optimizer.lr.to_json()
    assert asked.model.preprocessing.mean == (0.485, 0.456, 0.406)
    assert decode(Asked, encode(asked)) == asked


@every_release
def test_its_model_file_answers_as_it_did(release, pictures):
    run = KEPT / release / "run"
    wanted = json.loads((run / "result.json").read_text())["metrics"]
    found = verbs.evaluate(str(run / "model.safetensors"), pictures).to_dict()
    assert found["top1"] == wanted["val/top1"]
    assert found["nll"] == pytest.approx(wanted["val/nll"], rel=1e-4)


@every_release
def test_its_page_is_written(release, tmp_path):
    shutil.copytree(KEPT / release / "run", tmp_path / "run")
    (tmp_path / "run" / "log.jsonl").write_text("")
    assert read_run(tmp_path / "run").finished
    assert verbs.report([tmp_path / "run"])


@every_release
def test_a_stopped_run_is_continued_under_its_own_rules(release, tmp_path, pictures):
    shutil.copytree(KEPT / release / "stopped", tmp_path / "stopped")
    run = resume(tmp_path / "stopped", data=pictures)
    result, wanted = run.result(), json.loads((KEPT / release / "run" / "result.json").read_text())
    assert result["metrics"]["val/nll"] == pytest.approx(wanted["metrics"]["val/nll"], rel=1e-3)
    assert result["chosen"] == wanted["chosen"]


def test_there_is_a_model_file_of_each_kind_of_model():
    files = [KEPT / release / "run" / "model.safetensors" for release in RELEASES]
    found = {type(load_model(file)[0].model).__name__ for file in (*files, *(KEPT / "models").glob("*.safetensors"))}
    assert found == {kind.__name__ for kind in kinds(Model).values() if kind.__module__.startswith("paretina.")}
