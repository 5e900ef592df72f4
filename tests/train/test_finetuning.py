import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from covering import few
from paretina import verbs
from paretina.clock import START
from paretina.data.preprocess import preprocess
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.shapes import Shapes
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.activations.pointwise import HardSwish
from paretina.model.blueprint import Preprocessing
from paretina.model.weights import load_model
from paretina.schedules import Constant
from paretina.train.asked import Asked
from paretina.train.evaluated import Evaluated
from paretina.train.finetuning import Learned, aligned, as_tested, go_on, learned, trained
from paretina.train.recipe import Recipe
from paretina.train.training import train

PLAN = Plan(workers=0)


@pytest.fixture(scope="module")
def before(tmp_path_factory, tiny, arrays):
    """A finished run at 16 pixels, and where its data is."""
    folder = tmp_path_factory.mktemp("before")
    images, labels = arrays(39, 70)
    np.savez(folder / "a.npz", images=images, labels=labels, split=["train"] * 30 + ["val"] * 9, classes=["r", "g", "b"])
    other = labels % 2
    np.savez(folder / "b.npz", images=images, labels=other, split=["train"] * 30 + ["val"] * 9, classes=["odd", "even"])
    recipe = Recipe(epochs=1.0, batch_size=10, transforms=(Squash(),), test=Evaluated(fit="squash"))
    asked = Asked(data=Arrays(path=str(folder / "a.npz")), model=tiny, recipe=recipe, plan=PLAN)
    return folder, train(asked, folder / "run").path


def run_further(before, tmp_path, **wanted):
    choice, notes = go_on(before[1], PLAN, **wanted)
    run = train(choice.asked, tmp_path / "further")
    return run, notes, load_model(before[1] / "model.safetensors")[0], load_model(run.path / "model.safetensors")[0]


def changed(one, other):
    new = other.state_dict()
    counters = "num_batches_tracked"  # weights to start from come without them
    return {name for name, old in one.state_dict().items() if not name.endswith(counters) and not torch.equal(old, new[name])}


def test_at_another_size_only_the_head_learns(before, tmp_path):
    run, notes, old, new = run_further(before, tmp_path, resolution=48)
    assert changed(old, new) == {"head.classifier.weight", "head.classifier.bias"}
    assert new.blueprint.resolution == 48
    assert notes == ()
    asked = run.asked()
    assert (asked["verb"], asked["recipe_name"]) == ("finetune", "test-resolution")
    assert asked["recipe"]["transforms"] == [{"kind": "Squash", "interpolation": "bicubic"}]
    assert asked["recipe"]["epochs"] == 2.0


@pytest.mark.slow
def test_a_longer_tail_learns_without_moving_its_statistics(before, tmp_path):
    _, _, old, new = run_further(before, tmp_path, resolution=48, fields={"trainable_stages": "1"})
    found = changed(old, new)
    assert "stages.1.0.spatial.conv.weight" in found
    assert {name.partition(".")[0] + name.partition(".")[2][:2] for name in found} == {"stages1.", "headcl"}
    assert not [name for name in found if "running" in name]


def test_a_tail_longer_than_the_network_is_refused(before, tmp_path):
    with pytest.raises(ValueError, match="the network has 2 stages, so trainable_stages=3 cannot learn"):
        run_further(before, tmp_path, resolution=48, fields={"tail": "3"})


def test_other_data_gets_a_new_last_layer(before, tmp_path):
    fields = {"epochs": "1", "frozen_stride": "0", "frozen": '["stem"]', "transforms": '[{"kind": "Squash"}]'}
    run, _, old, new = run_further(before, tmp_path, data=str(before[0] / "b.npz"), fields=fields)
    assert new.blueprint.classes == 2
    assert torch.equal(new.stem.conv.weight, old.stem.conv.weight)
    assert not torch.equal(new.stages[1][0].expand.conv.weight, old.stages[1][0].expand.conv.weight)
    assert run.asked()["recipe_name"] == "finetune"
    assert load_model(run.path / "model.safetensors")[1].classes == ("odd", "even")


def test_the_same_data_may_have_as_many_damaged_pictures_as_before(before, tmp_path):
    folder, run = before
    more = shutil.copytree(run, tmp_path / "run")
    asked = json.loads((more / "asked.json").read_text())
    asked["asked"]["recipe"]["max_damaged"] = 0.25
    (more / "asked.json").write_text(json.dumps(asked))
    same = str(folder / "a.npz")
    for wanted in ({"resolution": 48}, {"data": same}):
        choice, _ = go_on(more, PLAN, **wanted)
        assert choice.asked.recipe.max_damaged == 0.25
        assert choice.origin("recipe.max_damaged") == str(more)
    assert go_on(more, PLAN, data=same, fields={"max_damaged": 0.5})[0].asked.recipe.max_damaged == 0.5
    assert go_on(more, PLAN, data=same, recipe=Recipe())[0].asked.recipe.max_damaged == 0.01
    assert go_on(more, PLAN, data=str(folder / "b.npz"))[0].asked.recipe.max_damaged == 0.01


def test_without_an_aim_there_is_nothing_to_do(before):
    with pytest.raises(ValueError, match="give other data to fine-tune on"):
        go_on(before[1], PLAN)


def test_a_bare_file_needs_data(before, tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes((before[1] / "model.safetensors").read_bytes())
    assert trained(file).side == 16
    with pytest.raises(ValueError, match="does not state its training data"):
        go_on(file, PLAN, resolution=48)


def test_a_run_knows_its_training_size_and_data(before):
    found = trained(before[1])
    assert (found.side, found.data) == (16, Arrays(path=str(before[0] / "a.npz")))


@pytest.fixture
def copied(tmp_path, tiny):
    """A finished run on data of which each picture is there three times, split by names alone as in earlier releases."""
    pictures = np.random.default_rng(0).integers(0, 256, (9, 18, 18, 3), np.uint8)
    np.savez(tmp_path / "c.npz", images=np.tile(pictures, (3, 1, 1, 1)), labels=np.arange(27) % 3)
    recipe = Recipe(epochs=0.2, batch_size=10, transforms=(Squash(),))
    source = Arrays(path=str(tmp_path / "c.npz"), copies="anywhere")
    return source, train(Asked(data=source, model=tiny, recipe=recipe, plan=PLAN), tmp_path / "run").path


def test_the_data_of_a_run_keeps_the_split_of_the_run(copied, monkeypatch):
    source, run = copied
    assert go_on(run, PLAN, resolution=48)[0].asked.data == source
    monkeypatch.chdir(run.parent)
    assert go_on(run, PLAN, data="c.npz")[0].asked.data == source
    again = learned(run, Arrays(path="c.npz"))
    assert (again.source, again.split) == (source, "val")
    assert again.warning.startswith("warning: ")
    assert learned(run / "model.safetensors", Arrays(path="c.npz")) == again


def test_other_data_is_as_it_is(copied, tmp_path):
    _, run = copied
    other = Arrays(path=str(tmp_path / "other.npz"))
    assert learned(run, other) == Learned(other)
    assert learned(run, Shapes()) == Learned(Shapes())
    shutil.copy(run / "model.safetensors", tmp_path / "model.safetensors")
    assert learned(tmp_path / "model.safetensors", copied[0]) == Learned(copied[0])


def test_sizes_that_lie_differently_are_warned_of(before):
    (said,) = go_on(before[1], PLAN, resolution=50)[1]
    assert said.startswith("warning: 50 is 18 modulo 32, but the network was trained at 16, which is 16: its feature maps")
    assert said.endswith("48 or 80 would fit")


@pytest.mark.parametrize(("side", "resolution"), [(160, 224), (176, 240), (196, 260), (204, 300), (252, 380), (328, 456)])
def test_published_pairs_of_half_and_full_size_lie_alike(side, resolution):
    assert aligned(side, resolution) is None


def test_the_published_misprint_is_found():
    assert "228 or 260" not in (aligned(192, 260) or "")
    assert "256 or 288 would fit" in (aligned(192, 260) or "")


@pytest.mark.parametrize(
    "preprocessing", [Preprocessing(crop=0.875), Preprocessing(crop=1.0, interpolation="bilinear"), Preprocessing(fit="squash")]
)
def test_training_pictures_are_prepared_as_in_the_test(preprocessing):
    image = torch.randint(0, 256, (3, 37, 52), dtype=torch.uint8)
    transform = as_tested(preprocessing)
    assert isinstance(transform, Squash if preprocessing.fit == "squash" else CentreCrop)
    assert torch.equal(transform(image, 24, START), preprocess(image, preprocessing, 24))


def test_rates_fall_from_head_to_stem(tiny):
    torch.manual_seed(0)
    recipe = replace(Recipe(), learning=replace(Recipe().learning, lr_decay=0.5, classifier_lr=3.0))
    learner = recipe.objective.make(tiny.build(), None)
    rates = {}
    for group in recipe.learning.groups(learner, recipe.optimizer):
        for parameter in group["params"]:
            rates[id(parameter)] = group["rate_factor"]
    network = learner.result()
    assert {rates[id(p)] for p in network.head.classifier.parameters()} == {3.0}
    assert {rates[id(p)] for p in network.stages[1].parameters()} == {0.5}
    assert {rates[id(p)] for p in network.stages[0].parameters()} == {0.25}
    assert {rates[id(p)] for p in network.stem.parameters()} == {0.125}


def test_half_the_pixels_keep_the_remainder():
    recipe = Recipe(pixel_share=0.5)
    assert [recipe.final_size(side) for side in (224, 240, 260, 300, 456)] == [160, 176, 196, 204, 328]
    assert recipe.final_size(40) == 40
    assert Recipe(pixel_share=0.5, size=Constant(value=99.0)).final_size(224) == 99


# --- sizes and fields -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "trained_at", "tested_at"),
    few(
        [
            ({}, 16, 16),
            ({"size": "24"}, 24, 24),
            ({"size": "24", "test_size": "32"}, 24, 32),
            ({"test_size": "24"}, 16, 24),
            ({"resolution": "24"}, 24, 24),
            ({"edits.Scale": "on", "edits.Scale.resolution": "24"}, 24, 24),
        ]
    ),
)
def test_the_size_that_is_asked_for_is_trained_tested_and_saved(before, tmp_path, fields, trained_at, tested_at):
    run, _, _, new = run_further(before, tmp_path, data=str(before[0] / "b.npz"), fields={"epochs": "0.3", **fields})
    assert {line["size"] for line in run.lines() if line["event"] == "train"} == {trained_at}
    assert new.blueprint.resolution == tested_at
    found = verbs.evaluate(run.path, str(before[0] / "b.npz"))
    assert found.resolution == tested_at
    assert found.accuracy.to_dict()["nll"] == run.result()["metrics"]["val/nll"]


def test_a_recipe_with_sizes_of_its_own_gives_way_to_those_of_the_model(before):
    recipe = Recipe(size=Constant(value=40.0), test=Evaluated(size=48), transforms=(Squash(),))
    assert go_on(before[1], PLAN, data=str(before[0] / "b.npz"), recipe=recipe)[0].asked.sides() == {16}
    assert go_on(before[1], PLAN, resolution=48, recipe=recipe)[0].asked.sides() == {48}


@pytest.mark.parametrize("fields", [{"size": "24"}, {"test_size": "24"}, {"resolution": "24"}])
def test_two_sizes_of_the_test_are_refused(before, fields):
    with pytest.raises(ValueError, match="--resolution 48 trains and tests at 48 pixels, but the fields test at 24"):
        go_on(before[1], PLAN, resolution=48, fields=fields)
    fields = {"size": "24", "test_size": "48"}
    assert go_on(before[1], PLAN, resolution=48, fields=fields)[0].asked.sides() == {24, 48}


def test_pictures_are_prepared_in_training_as_in_the_test_that_is_asked_for(before):
    def transforms(**fields):
        return go_on(before[1], PLAN, resolution=48, fields=fields)[0].asked.recipe.transforms

    assert transforms() == (Squash(),)
    assert transforms(test_fit="crop", test_crop="0.5") == (CentreCrop(share=0.5),)
    assert transforms(**{"model.preprocessing.interpolation": "bilinear"}) == (Squash(interpolation="bilinear"),)
    assert transforms(transforms='[{"kind": "CentreCrop", "share": 0.75}]') == (CentreCrop(share=0.75),)


# --- after a change of the network --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_changed_network_learns_from_the_one_before(before, tmp_path):
    fields = {"teacher": str(before[1]), "model.activation": "HardSwish", "epochs": "1"}
    run, _, old, new = run_further(before, tmp_path, recipe="recover", fields=fields)
    assert new.blueprint.activation == HardSwish()
    assert new.blueprint.preprocessing == old.blueprint.preprocessing
    asked = run.asked()
    assert asked["recipe"]["transforms"][0] == {"kind": "Squash", "interpolation": "bicubic"}  # as it was tested
    assert any("activation SiLU instead of HardSwish" in note for note in asked["notes"])
    assert {line["event"] for line in run.lines()} >= {"train", "val"}
    assert any("loss_Distill" in line or "Distill" in str(line) for line in run.lines() if line["event"] == "train")


@pytest.mark.slow
def test_the_swapped_network_starts_with_all_weights(before, tmp_path):
    fields = {"teacher": str(before[1]), "model.activation": "ReLU6", "epochs": "1", "lr": "1e-9", "average": "off"}
    _, _, old, new = run_further(before, tmp_path, recipe="recover", fields=fields)
    assert torch.allclose(old.stem.conv.weight, new.stem.conv.weight, atol=1e-6)
    assert torch.allclose(old.head.classifier.weight, new.head.classifier.weight, atol=1e-6)


@pytest.mark.parametrize("name", ["recover", "quantised"])
def test_a_recipe_that_learns_from_a_teacher_asks_for_one(before, tmp_path, name):
    with pytest.raises(ValueError, match="set one in the recipe: teacher=FILE"):
        run_further(before, tmp_path, recipe=name)


@pytest.mark.slow
def test_training_for_int8_leaves_a_float_network_with_the_same_statistics(before, tmp_path):
    run, _, old, new = run_further(before, tmp_path, recipe="quantised", fields={"teacher": str(before[1]), "epochs": "2"})
    assert run.asked()["data"] == json.loads((before[1] / "asked.json").read_text())["data"]
    found = changed(old, new)
    assert "stem.conv.weight" in found
    assert not [name for name in found if "running" in name]
    assert set(new.state_dict()) == set(old.state_dict())


def test_a_recipe_with_a_test_of_its_own_keeps_its_resizing(before):
    choice, _ = go_on(before[1], PLAN, data=str(before[0] / "b.npz"))
    assert choice.asked.recipe.transforms[0] == Squash()
    given = {"teacher": str(before[1]), "transforms": '[{"kind": "CentreCrop"}]'}
    assert go_on(before[1], PLAN, recipe="recover", fields=given)[0].asked.recipe.transforms == (CentreCrop(),)
