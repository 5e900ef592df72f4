"""What `evaluate` judges by default on the very folder that a model was trained on, and what a probe alone is said to cost."""

import csv

import numpy as np
import PIL.Image
import pytest

from paretina import verbs
from tiny import tiny_blueprint

SMALL = {"size": 16, "epochs": 1, "batch_size": 8, "workers": 0, "precision": "float32"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    for number in range(20):
        for level, name in ((0, "dark"), (150, "light")):
            path = root / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(2 * number + level).integers(0, 60, (20, 20, 3))
            PIL.Image.fromarray((noise + level).astype(np.uint8)).save(path)
    verbs.train(str(root / "photos"), tiny_blueprint(), "plain", "none", "cpu", root / "run", planning="default", **SMALL)
    return root


def test_on_its_own_folder_a_model_is_judged_on_what_training_held_out(home):
    found = verbs.evaluate(home / "run", str(home / "photos"))
    held = len(verbs.ask(str(home / "photos"), "resnet18", "plain", "none", "cpu").asked.data.open().split("val"))
    assert found.split == "val"
    assert found.accuracy.n == held < 40
    assert any("only the pictures that training held out are judged; --split all" in note for note in found.notes)


def test_all_of_them_can_be_asked_for(home):
    found = verbs.evaluate(home / "run", str(home / "photos"), split="all")
    assert found.split == "all"
    assert found.accuracy.n == 40
    assert any("the model was trained on" in note for note in found.notes)


def test_all_splits_together_are_every_picture_once(home, tmp_path):
    for split, numbers in (("train", range(6)), ("val", range(6, 9)), ("test", range(9, 11))):
        for name in ("dark", "light"):
            (tmp_path / "parted" / split / name).mkdir(parents=True)
            for number in numbers:
                picture = (home / "photos" / name / f"{number}.png").read_bytes()
                (tmp_path / "parted" / split / name / f"{number % 2}-{number // 2}.png").write_bytes(picture)
    found = verbs.evaluate(home / "run", str(tmp_path / "parted"), split="all", csv=tmp_path / "all.csv")
    assert (found.split, found.accuracy.n) == ("all", 22)
    with open(tmp_path / "all.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert len({*names}) == 22
    assert {name.split("/")[0] for name in names} == {"train", "val", "test"}


def test_another_folder_is_judged_whole(home, tmp_path):
    for name in ("dark", "light"):
        (tmp_path / "new" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "new" / name / f"{number}.png").write_bytes((home / "photos" / name / f"{number}.png").read_bytes())
    assert verbs.evaluate(home / "run", str(tmp_path / "new")).accuracy.n == 6


def as_table(home, place, count):
    """The first pictures of the run in another table."""
    with (place / "new.csv").open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["path", "label"])
        write.writerows(
            [home / "photos" / name / f"{number}.png", name] for name in ("dark", "light") for number in range(count)
        )
    return place / "new.csv"


def as_arrays(home, place, count):
    files = [home / "photos" / name / f"{number}.png" for name in ("dark", "light") for number in range(count)]
    images, labels = [np.asarray(PIL.Image.open(file)) for file in files], [file.parent.name for file in files]
    classes, numbers = np.unique(labels, return_inverse=True)
    np.savez(place / "new.npz", images=images, labels=numbers, classes=classes)
    return place / "new.npz"


@pytest.mark.parametrize("made", [as_table, as_arrays])
def test_other_data_without_splits_are_judged_whole_whatever_they_are(home, tmp_path, made):
    place = str(made(home, tmp_path, 7))
    for split in (None, "all"):
        found = verbs.evaluate(home / "run", place, split=split)
        assert (found.split, found.accuracy.n) == ("all", 14)
    assert 0 < verbs.evaluate(home / "run", place, split="val").accuracy.n < 14


def test_what_is_generated_has_the_fields_of_the_run(tmp_path):
    fields = {"data.train": 2, "data.val": 3, "data.looks": '["bright", "dark"]', "data.size": 32}
    verbs.train("cells", "resnet8_w16_s2", "segment", "none", "cpu", tmp_path / "run", planning="default", **SMALL, **fields)
    found = verbs.evaluate(tmp_path / "run", "cells")
    assert found.n == 6
    assert 'cells is made as for the training of the model: looks=["bright", "dark"], train=2, val=3, size=32' in found.notes


def test_a_table_that_says_its_splits_keeps_them(home, tmp_path):
    place = as_table(home, tmp_path, 4)
    rows = place.read_text().splitlines()
    splits = ["split", *["train", "val"] * 4]
    place.write_text("".join(f"{row},{split}\n" for row, split in zip(rows, splits, strict=True)))
    found = verbs.evaluate(home / "run", str(place))
    assert (found.split, found.accuracy.n) == ("val", 4)


def test_on_its_own_table_a_model_is_judged_on_what_training_held_out(home, tmp_path):
    place = as_table(home, tmp_path, 20)
    verbs.train(str(place), tiny_blueprint(), "plain", "none", "cpu", tmp_path / "run", planning="default", **SMALL)
    found = verbs.evaluate(tmp_path / "run", str(place))
    assert found.split == "val"
    assert 0 < found.accuracy.n < 40
    assert any("only the pictures that training held out" in note for note in found.notes)
    assert verbs.evaluate(tmp_path / "run", str(place), split="all").accuracy.n == 40
