"""What `evaluate` says of pictures that a model has seen in training, in whatever form and place they are given again."""

import csv
import shutil

import numpy as np
import PIL.Image
import pytest

from paretina import verbs
from paretina.model.weights import load_model
from paretina.verbs.seen import lineage, names_in
from tiny import tiny_blueprint

SMALL = {"size": 16, "epochs": 1, "batch_size": 8, "workers": 0, "precision": "float32"}
COPIES = "pictures are copies of those that the model was trained on"


def draw(folder, seed, count=20):
    for number in range(count):
        for level, name in ((0, "dark"), (150, "light")):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([seed, number, level]).integers(0, 60, (20, 20, 3))
            PIL.Image.fromarray((noise + level).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("seen")
    draw(root / "photos", 0)
    draw(root / "others", 1, 10)
    verbs.train(str(root / "photos"), tiny_blueprint(), "plain", "none", "cpu", root / "run", planning="default", **SMALL)
    verbs.finetune(root / "run", str(root / "others"), device="cpu", output=root / "further", epochs=1, batch_size=8, workers=0)
    with (root / "photos.csv").open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["path", "label"])
        write.writerows([path, path.parent.name] for path in sorted((root / "photos").rglob("*.png")))
    shutil.copytree(root / "photos", root / "copied")
    shutil.copytree(root / "photos", root / "elsewhere" / "photos")
    (root / "lone").mkdir()
    for name in ("run", "further"):
        shutil.copy(root / name / "model.safetensors", root / "lone" / f"{name}.safetensors")
    return root


def warned(found, text=COPIES):
    return [note for note in found.notes if note.startswith("warning") and text in note]


@pytest.fixture(scope="module")
def held(home):
    return verbs.evaluate(home / "run", str(home / "photos")).accuracy.n


@pytest.mark.parametrize("data", ["photos.csv", "copied", "elsewhere/photos"])
def test_the_same_pictures_in_another_form_or_place_are_found(home, held, data):
    found = verbs.evaluate(home / "run", str(home / data))
    assert found.accuracy.n == 40
    (note,) = warned(found)
    assert note.startswith(f"warning: {40 - held} of 40 {COPIES} ({40 - held} exact, 0 near)")


def test_other_pictures_are_not_warned_of(home, held):
    assert 0 < held < 40
    assert not warned(verbs.evaluate(home / "run", str(home / "others")), "")
    assert not warned(verbs.evaluate(home / "run", str(home / "photos")), "")


def test_joined_sets_are_looked_at_where_one_is_new(home, held):
    found = verbs.evaluate(home / "run", f"{home / 'photos'},{home / 'photos.csv'}")
    assert found.accuracy.n == held + 40
    assert warned(found, f"{40 - held} of 40 {COPIES}")


def test_a_file_alone_knows_joined_sets_by_name(home, held):
    for model in ("run", "further"):
        found = verbs.evaluate(home / "lone" / f"{model}.safetensors", f"{home / 'photos'},{home / 'copied'}")
        assert found.accuracy.n == held + 40
        assert any("of photos only the pictures that training held out are judged" in note for note in found.notes)
        assert any("of copied all pictures are judged, as of data that training did not have" in note for note in found.notes)


def test_what_the_weights_that_it_started_from_had_seen_counts_too(home, held):
    assert lineage(home / "further" / "model.safetensors")[1:] == [home / "run" / "model.safetensors"]
    found = verbs.evaluate(home / "further", str(home / "photos"))
    assert found.accuracy.n == held  # what the first training held out, and not all
    assert warned(verbs.evaluate(home / "further", str(home / "photos"), split="train"), "the model was trained on")
    assert warned(verbs.evaluate(home / "further", str(home / "copied")))
    origin = load_model(home / "further" / "model.safetensors")[1].origin
    assert names_in(origin) == {"photos", "others"}


def test_another_model_is_asked_what_it_has_seen(home, held):
    found = verbs.evaluate(home / "lone" / "run.safetensors", str(home / "copied"), against=home / "run", max_loss=100.0)
    (note,) = warned(found)
    assert note.endswith(f"(of {home / 'run' / 'model.safetensors'})")


def test_the_average_of_folds_says_what_it_was_cross_validated_on(home, tmp_path):
    paths = []
    for number in (1, 2):
        verbs.train(
            str(home / "others"), tiny_blueprint(), "plain", "none", "cpu", tmp_path / f"{number}", planning="default", **SMALL
        )
        paths.append(tmp_path / f"{number}")
    whole = verbs.ensemble(paths, tmp_path / "folds.safetensors", folds=True)
    found = verbs.evaluate(whole.path, str(home / "others"))
    assert (found.split, found.accuracy.n) == ("all", 20)
    assert warned(found, "the model was trained on data of this name")
    usual = verbs.evaluate(verbs.ensemble(paths, tmp_path / "usual.safetensors").path, str(home / "others"))
    assert usual.split == "val"
    assert 0 < usual.accuracy.n < 20


def test_the_folder_of_training_pictures_is_known_by_the_name_of_what_it_is_in(home, tmp_path):
    shutil.copytree(home / "others", tmp_path / "photos" / "train")
    found = verbs.evaluate(home / "lone" / "run.safetensors", str(tmp_path / "photos" / "train"))
    assert found.accuracy.n == 20
    assert warned(found, "the model was trained on data of this name")
