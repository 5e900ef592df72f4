import json
from dataclasses import replace

import numpy as np
import pytest

from paretina import verbs
from paretina.data.sources.arrays import Arrays
from paretina.measure.plan import Plan
from paretina.train import own_pictures
from paretina.train.asked import Asked
from paretina.train.estimate import rehearse
from paretina.train.recipe import Recipe
from paretina.train.resolve import prepare
from paretina.train.training import train

SHORT = Recipe(epochs=2.0, batch_size=10)


@pytest.fixture
def data(tmp_path, arrays):
    """12 pictures to train on and 27 to validate on."""
    images, labels = arrays(39, 18)
    path = tmp_path / "numbers.npz"
    np.savez(path, images=images, labels=labels, split=["train"] * 12 + ["val"] * 27, classes=["red", "green", "blue"])
    return Arrays(path=str(path))


def asked(tiny, data, recipe=SHORT):
    return Asked(data=data, model=tiny, recipe=recipe, plan=Plan(workers=0))


@pytest.mark.slow
def test_it_is_what_evaluate_finds_on_the_training_split(tiny, data, tmp_path):
    run = train(asked(tiny, data), tmp_path / "run")
    own = run.result()["on_train"]
    assert own["pictures"] == 12
    assert own["value"] == pytest.approx(verbs.evaluate(run.path, data, split="train", device="cpu").accuracy.top1)


@pytest.mark.slow
def test_a_network_that_learns_its_pictures_shows_it(tiny, data, tmp_path):
    run = train(asked(tiny, data, replace(SHORT, epochs=120.0, batch_size=6)), tmp_path / "run")
    assert run.result()["on_train"]["value"] == 100.0


def test_no_more_are_looked_at_than_there_are_to_validate_on_and_they_are_spread(tiny, tmp_path, arrays, monkeypatch):
    images, labels = arrays(39, 18)
    path = tmp_path / "more.npz"
    np.savez(path, images=images, labels=labels, split=["train"] * 30 + ["val"] * 9, classes=["red", "green", "blue"])
    prepared = prepare(asked(tiny, Arrays(path=str(path))))
    assert own_pictures.looked_at(prepared) == [0, 3, 6, 10, 13, 16, 20, 23, 26]
    monkeypatch.setattr(own_pictures, "MOST", 2)
    assert own_pictures.looked_at(prepared) == [0, 15]


def test_the_time_for_it_is_in_the_estimate(tiny, data):
    found = rehearse(prepare(asked(tiny, data)))
    assert found.own_s == pytest.approx(found.evaluate_s * 12 / 27)
    assert found.total_s == pytest.approx(found.updates * found.update_s + found.evaluations * found.evaluate_s + found.own_s)


def test_the_run_its_page_and_the_table_of_runs_say_it(tiny, data, tmp_path):
    run = train(asked(tiny, data), tmp_path / "runs" / "one")
    own = json.loads((run.path / "result.json").read_text())["on_train"]
    verbs.report([run.path])
    assert f"{own['value']:.1f} % on 12 of its training pictures" in (run.path / "report.html").read_text()
    (listed,) = verbs.runs(tmp_path / "runs").runs
    assert listed.row["on_train"] == own["value"]
