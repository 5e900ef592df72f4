"""Training with nothing but data and a time limit, with real weights; takes a minute."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from paretina import verbs
from paretina.data.sources.table import Table
from paretina.run import Run
from paretina.verbs.checks import MisuseError


@pytest.fixture
def pictures(tmp_path):
    """48 pictures to train on, whose colour tells the class."""
    path = tmp_path / "colours.npz"
    labels = np.arange(60) % 3
    images = np.random.default_rng(0).integers(0, 100, (60, 48, 48, 3), dtype=np.uint8)
    images[np.arange(60), 8:40, 8:40, labels] += 120
    np.savez(path, images=images, labels=labels, split=["train"] * 48 + ["val"] * 12, classes=["red", "green", "blue"])
    return path


@pytest.mark.slow
def test_a_folder_and_a_time_are_enough(pictures, tmp_path):
    said = []
    run = verbs.train(str(pictures), device="cpu", output=tmp_path / "run", time_limit=30.0, say=said.append)
    result = Run.open(run.path).result()
    assert result["probe"]["top1"] >= 90
    assert result["metrics"]["val/top1"] >= result["probe"]["top1"] - 10
    assert said[0].startswith("data: 48 training pictures of 3 classes")
    assert said[1].startswith("network: efficientnet_lite")
    asked = Run.open(run.path).asked()
    assert asked["model_name"].startswith("efficientnet_lite")
    assert asked["recipe"]["start"]["head"] == "probe"


@pytest.mark.slow
def test_without_weights_a_small_network_is_trained(pictures, tmp_path):
    run = verbs.train(str(pictures), weights="none", device="cpu", output=tmp_path / "run", time_limit=25.0)
    assert Run.open(run.path).asked()["model_name"].startswith("resnet")
    assert "probe" not in Run.open(run.path).result()


def test_fields_of_the_data_are_set_before_it_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = ["pic,species"]
    for number in range(24):
        name, value = (("day", 200), ("night", 20))[number % 2]
        PIL.Image.fromarray(np.full((32, 32, 3), value + number, np.uint8)).save(f"{number}.png")
        rows.append(f"{number}.png,{name}")
    Path("table.csv").write_text("\n".join(rows))
    choice = verbs.ask("table.csv", weights="none", device="cpu", fields={"data.image": "pic", "data.label": "species"})
    assert choice.said[0].startswith("data: 18 training pictures of 2 classes")
    assert choice.asked.data == Table(path="table.csv", image="pic", label="species")
    with pytest.raises(MisuseError, match=r"Table has no field 'imge'; did you mean 'image'\?"):
        verbs.ask("table.csv", weights="none", device="cpu", fields={"data.imge": "pic"})
    assert verbs.ask("cells", weights="none", device="cpu", fields={"data.labels": "boxes"}).asked.recipe_name == "detect"
