import importlib.util
import itertools
import json
import re
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save, save_file

from covering import few
from paretina.data.decode import decode
from paretina.data.preprocess import preprocess
from paretina.model.blueprint import Preprocessing
from paretina.model.exported import EXPORT, exported_header, read_exported
from paretina.model.family import network_named, networks
from paretina.model.interop import import_weights, timm_preprocessing, torchvision_weights
from paretina.model.preprocessing import LINES, from_timm_config, from_torchvision_preset, in_words, timm_config
from paretina.model.weights import About, load_model, save_model
from paretina.verbs import export_weights

SIZE = 24

PREPROCESSINGS = [
    Preprocessing(fit=fit, crop=crop, interpolation=interpolation, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    for fit, crop, interpolation in itertools.product(("crop", "squash"), (1.0, 0.95, 0.6), ("bilinear", "bicubic"))
]
"""Every fit and interpolation, and shares for which 24 pixels stand in the middle of no whole number."""

every_preprocessing = pytest.mark.parametrize(
    "preprocessing",
    PREPROCESSINGS,
    ids=lambda preprocessing: f"{preprocessing.fit}-{preprocessing.crop:g}-{preprocessing.interpolation}",
)
every_library = pytest.mark.parametrize("library", LINES)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small network of both libraries in a file of each, by library, and the network of ours."""
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    network = replace(network_named("mobilenet_v2").blueprint, classes=3, resolution=SIZE).build().eval()
    about = About(("a", "b", "c"), name="mobilenet_v2", origin="drawn by lot")
    save_model(folder / "ours.safetensors", network, about)
    return {to: export_weights(folder / "ours.safetensors", to, folder / f"{to}.safetensors") for to in LINES}, network


def pictures():
    """Noise, in which every pixel counts: wide, tall, square, odd, and hardly larger than nothing."""
    for rows, columns in ((30, 95), (97, 31), (40, 40), (53, 41), (5, 2)):
        pixels = np.random.default_rng(rows).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        yield PIL.Image.fromarray(pixels)


def pasted(lines, picture, folder, **save):
    """What the lines leave behind when they are run where the picture is."""
    picture.save(folder / "picture.jpg", "png", **save)
    found = {}
    exec(compile(lines, "pasted", "exec"), found)
    return found


def ours(folder, preprocessing):
    return preprocess(decode((folder / "picture.jpg").read_bytes(), "picture"), preprocessing, SIZE)


# --- lines to paste -----------------------------------------------------------------------------------------------------------


@every_preprocessing
@every_library
def test_pasted_lines_see_what_we_see(library, preprocessing, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written, network = exported
    network.normalise.mean, network.normalise.std = preprocessing.mean, preprocessing.std
    network.normalise.reset_buffers()
    lines = LINES[library](written[library].name, 3, str(written[library].path), preprocessing, SIZE)
    seen = None
    for picture in pictures():
        seen = seen or pasted(lines, picture, tmp_path)
        picture.save("picture.jpg", "png")
        here, there = ours(tmp_path, preprocessing), seen["transform"](picture)
        # torchvision resizes with the same function; Pillow, with which timm does, rounds otherwise, here and there by a few
        # levels of 255 in noise
        apart = (
            there * torch.tensor(preprocessing.std)[:, None, None] + torch.tensor(preprocessing.mean)[:, None, None]
        ) * 255 - here
        assert apart.abs().max() < (0.01 if library == "torchvision" else 16)
        assert apart.abs().mean() < (0.01 if library == "torchvision" else 0.6)
        with torch.inference_mode():
            wanted, given = network(here[None]), seen["model"](there[None])
        spread = wanted.std()
        assert (given - wanted).abs().max() < (1e-3 if library == "torchvision" else 0.05) * spread


def test_another_preprocessing_would_be_noticed(exported, tmp_path, monkeypatch):
    """The bounds above are far below what a wrong fit, share or filter does."""
    monkeypatch.chdir(tmp_path)
    preprocessing, picture = PREPROCESSINGS[2], next(pictures())
    found = pasted(LINES["timm"]("mobilenetv2_100", 3, str(exported[0]["timm"].path), preprocessing, SIZE), picture, tmp_path)
    there = (
        found["transform"](picture) * torch.tensor(preprocessing.std)[:, None, None]
        + torch.tensor(preprocessing.mean)[:, None, None]
    ) * 255
    for other in (
        replace(preprocessing, fit="squash"),
        replace(preprocessing, crop=1.0),
        replace(preprocessing, interpolation="bicubic"),
    ):
        assert (there - ours(tmp_path, other)).abs().mean() > 2


@every_library
def test_what_the_command_prints_answers_as_the_model_file(library, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written, _ = exported
    found = pasted(written[library].lines, next(pictures()), tmp_path)
    preprocessing = network_named("mobilenet_v2").blueprint.preprocessing
    file = written[library].path.parent / "ours.safetensors"
    with torch.inference_mode():
        wanted = load_model(file)[0](ours(tmp_path, preprocessing)[None])
    torch.testing.assert_close(found["logits"], wanted, rtol=0, atol=0.05 * wanted.std().item())


@every_library
def test_pasted_lines_turn_pictures_upright(library, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    found = pasted(exported[0][library].lines, next(pictures()), tmp_path, exif=turned)
    assert found["picture"].size == (30, 95)
    assert np.array_equal(np.asarray(found["picture"]), decode((tmp_path / "picture.jpg").read_bytes(), "").permute(1, 2, 0))


@pytest.mark.parametrize("name", ["it's.safetensors", 'a "b".safetensors', "a\\b\n.safetensors", "grün 🙂.safetensors"])
@every_library
def test_the_name_of_a_file_is_pasted_whole(library, name, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = exported[0][library]
    (tmp_path / name).write_bytes(source.path.read_bytes())
    assert pasted(LINES[library](source.name, 3, name, Preprocessing(), SIZE), next(pictures()), tmp_path)["logits"].shape == (
        1,
        3,
    )


# --- the header of an exported file -------------------------------------------------------------------------------------------


@every_preprocessing
def test_a_preprocessing_is_the_same_after_timms_words_for_it(preprocessing):
    config = timm.data.resolve_data_config({}, pretrained_cfg=timm_config(preprocessing, SIZE))
    found, resolution, notes = from_timm_config(config)
    assert (found, resolution, notes) == (
        replace(preprocessing, crop=1.0) if preprocessing.fit == "squash" else preprocessing,
        SIZE,
        (),
    )


@pytest.mark.parametrize(
    ("library", "preprocessing", "named"),
    few(
        [
            ("timm", PREPROCESSINGS[3], None),
            ("timm", PREPROCESSINGS[-1], "timm:resnet18.a1_in1k"),  # whose own preprocessing is another
            ("torchvision", PREPROCESSINGS[-1], "torchvision:resnet18"),
            ("torchvision", PREPROCESSINGS[3], "resnet18"),
        ]
    ),
)
def test_what_was_exported_comes_back_with_preprocessing_and_classes(library, preprocessing, named, tmp_path):
    network = replace(network_named("resnet18").blueprint, classes=2, resolution=SIZE, preprocessing=preprocessing).build()
    about = About(("ça", "b"), licence="CC0-1.0", origin="trained on photos", name="resnet18")
    save_model(tmp_path / "ours.safetensors", network, about)
    there = export_weights(tmp_path / "ours.safetensors", library, tmp_path / "there.safetensors")
    found = import_weights(str(there.path), named, licence="CC0-1.0")
    assert found.network.blueprint == network.blueprint
    assert found.about == replace(about, origin="trained on photos, by way of there.safetensors")
    assert (found.notes, found.unsure) == ((f"read as {library}:resnet18", "pictures are prepared as its header says"), "")
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in found.network.state_dict().items())


def test_the_header_has_timms_keys():
    blueprint = replace(network_named("resnet18").blueprint, classes=2, resolution=SIZE, preprocessing=PREPROCESSINGS[-1])
    header = exported_header("timm", "resnet18", blueprint, About(("a", "b"), licence="MIT"))
    assert header["format"] == "pt"
    found = json.loads(header[EXPORT])
    wanted = {
        "library": "timm",
        "architecture": "resnet18",
        "num_classes": 2,
        "label_names": ["a", "b"],
        "input_size": [3, SIZE, SIZE],
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.25, 0.3],
        "interpolation": "bicubic",
        "crop_pct": 1.0,  # a picture that is squashed is squashed whole
        "crop_mode": "squash",
        "licence": "MIT",
    }
    assert {name: found[name] for name in wanted} == wanted


def written(path, description, classes=2):
    """A file of resnet18 with that description in its header."""
    state = torchvision.models.get_model("resnet18", num_classes=classes).state_dict()
    save_file(state, path, {"format": "pt", EXPORT: description if isinstance(description, str) else json.dumps(description)})
    return str(path)


OLD = {"architecture": "resnet18", "classes": ["a", "b"], "licence": "CC0-1.0", "origin": "trained on photos"}
NEW = json.loads(
    exported_header("timm", "resnet18", replace(network_named("resnet18").blueprint, classes=2), About(("a", "b")))[EXPORT]
)


def test_an_export_of_an_earlier_release_keeps_its_classes(tmp_path):
    path = written(tmp_path / "old.safetensors", OLD)
    with pytest.raises(ValueError, match="say whose weights are in"):
        import_weights(path)
    found = import_weights(path, "resnet18")
    assert (found.about.classes, found.about.licence, found.unsure) == (("a", "b"), "CC0-1.0", "")
    assert found.notes[1].startswith("the file does not say how pictures are preprocessed; it is done as our resnet18 does")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label_names": ["a", "a"]}, "must be different strings"),
        ({"label_names": "ab"}, "must be different strings"),
        ({"label_names": ["a"]}, "its header names 1 class, but its tensors have 2"),
        ({"preprocessing": {"kind": "Preprocessing", "crop": 7}}, "0 < crop <= 1"),
        ({"preprocessing": {"kind": "Preprocessing", "cropp": 1}}, "cropp"),
        ({"preprocessing": 5}, "its description is damaged"),
        ({"resolution": "many"}, "its description is damaged"),
        ({"resolution": 10**9}, "Blueprint.resolution must be between"),
        ({"resolution": 64.7}, "resolution must be a whole number, got 64.7"),
        ({"resolution": True}, "resolution must be a whole number, got True"),
        ({"licence": None}, "licence must be a text, got None"),
        ({"origin": ["a"]}, r"origin must be a text, got \['a'\]"),
        ({"label_names": ["a", "\ud800"]}, "its description is damaged"),
        ({"library": "jax"}, "there is no library 'jax'"),
        ({"architecture": "resnt18"}, "did you mean 'resnet18'"),
    ],
)
def test_a_header_that_cannot_be_is_refused(change, said, tmp_path):
    path = written(tmp_path / "weights.safetensors", {**NEW, **change})
    with pytest.raises(ValueError, match=said):
        import_weights(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000, '{"classes": ["a", "b"]}'])
def test_a_header_that_is_none_is_one_sentence(text, tmp_path):
    with pytest.raises(ValueError, match=r"weights.safetensors: its description is damaged") as caught:
        import_weights(written(tmp_path / "weights.safetensors", text))
    assert "\n" not in str(caught.value)


def test_a_file_that_says_itself_what_it_is_is_no_other(tmp_path):
    b0 = replace(network_named("efficientnet_b0").blueprint, classes=2)
    header = exported_header("timm", "tf_efficientnet_b0", b0, About(("a", "b")))
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save(timm.create_model("tf_efficientnet_b0", num_classes=2).state_dict(), header))
    assert import_weights(str(path), "efficientnet_b0").network.blueprint.padding == "same"
    for name in ("timm:efficientnet_b0", "torchvision:efficientnet_b0", "efficientnet_b1"):  # the first has the same tensors
        with pytest.raises(ValueError, match=f"is timm:tf_efficientnet_b0 according to its header, not {name}"):
            import_weights(str(path), name)


def test_other_files_say_nothing(tmp_path):
    save_file({"weight": torch.ones(1)}, tmp_path / "plain.safetensors")
    save_file({"weight": torch.ones(1)}, tmp_path / "timm.safetensors", {"format": "pt"})
    (tmp_path / "cut.safetensors").write_bytes(bytes(20))
    (tmp_path / "weights.pth").write_bytes(b"{}")
    assert [read_exported(path) for path in sorted(tmp_path.iterdir())] == [None] * 4


# --- files that do not say it -------------------------------------------------------------------------------------------------


TIMM = [peer for network in networks().values() for peer in network.peers if peer.library == "timm"]


def test_timms_networks_get_timms_preprocessing():
    for peer in TIMM:
        config = timm.get_pretrained_cfg(peer.name).to_dict()
        side = config.get("test_input_size", config["input_size"])[1]
        crop = config.get("test_crop_pct", config["crop_pct"])
        preprocessing, resolution, notes, name = timm_preprocessing(peer.name)
        assert name.partition(".")[0] == peer.name
        assert (resolution, preprocessing.interpolation) == (side, config["interpolation"]), name
        assert (preprocessing.mean, preprocessing.std) == (config["mean"], config["std"]), name
        if config.get("crop_mode", "center") == "center":
            assert (preprocessing.fit, preprocessing.crop) == ("crop", crop), name
        else:
            assert (preprocessing.fit, preprocessing.crop) == ("squash", 1.0)
            assert bool(notes) == (crop < 1), name


@pytest.mark.parametrize(
    ("named", "resolution", "preprocessing", "said"),
    [
        ("timm:resnet18", 288, Preprocessing(crop=1.0, interpolation="bicubic"), "as timm does for resnet18.a1_in1k"),
        (
            "timm:resnet18.tv_in1k",
            224,
            Preprocessing(crop=0.875, interpolation="bilinear"),
            "as timm does for resnet18.tv_in1k",
        ),
        ("timm:resnet18.a3_in1k", 224, Preprocessing(crop=0.95, interpolation="bicubic"), "as timm does for resnet18.a3_in1k"),
        (
            "torchvision:resnet18",
            224,
            Preprocessing(crop=0.875, interpolation="bilinear"),
            "torchvision does for resnet18.IMAGENET1K_V1",
        ),
        ("resnet18", 224, Preprocessing(interpolation="bilinear"), "our resnet18 does; .* such as --network timm:resnet18"),
    ],
)
def test_a_file_of_a_library_is_prepared_as_there(named, resolution, preprocessing, said, tmp_path):
    save_file(torchvision.models.get_model("resnet18", num_classes=2).state_dict(), tmp_path / "weights.safetensors")
    found = import_weights(str(tmp_path / "weights.safetensors"), named)
    assert (found.network.blueprint.resolution, found.network.blueprint.preprocessing) == (resolution, preprocessing)
    assert found.notes[1].startswith("the file does not say how pictures are preprocessed; it is done as ")
    assert re.search(said, found.notes[1])


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("timm:resnet18.a9_in1k", "timm has no weights 'a9_in1k' of resnet18; did you mean"),
        ("torchvision:resnet18.IMAGENET1K_V9", "torchvision has no weights 'IMAGENET1K_V9' of resnet18; did you mean"),
    ],
)
def test_a_tag_that_is_not_there_gets_the_near_one(named, said, tmp_path):
    save_file(torchvision.models.get_model("resnet18", num_classes=2).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=said):
        import_weights(str(tmp_path / "weights.safetensors"), named)


def test_without_timm_it_is_said_what_was_assumed(tmp_path, monkeypatch):
    save_file(torchvision.models.get_model("resnet18", num_classes=2).state_dict(), tmp_path / "weights.safetensors")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "timm" else real(name))
    found = import_weights(str(tmp_path / "weights.safetensors"), "timm:resnet18")
    assert found.network.blueprint.preprocessing == network_named("resnet18").blueprint.preprocessing
    assert found.notes[1] == (
        "the file does not say how pictures are preprocessed; it is done as our resnet18 does; timm has its own "
        'preprocessing, but is not installed: pip install "paretina[interop]"'
    )


def test_torchvisions_networks_get_torchvisions_preprocessing():
    """Beside torchvision's own transform, on a picture from which it cuts without rounding."""
    peers = [peer for network in networks().values() for peer in network.peers if peer.library == "torchvision"]
    for weights in {torchvision_weights(peer, "") for peer in peers}:
        preprocessing, side = from_torchvision_preset(weights)
        asked = weights.transforms()
        assert ([side], list(preprocessing.mean), list(preprocessing.std)) == (asked.crop_size, asked.mean, asked.std)
        assert round(side / preprocessing.crop) == asked.resize_size[0]
        assert (preprocessing.fit, preprocessing.interpolation) == ("crop", asked.interpolation.value)


def test_a_way_to_resize_that_is_not_known_is_said():
    config = {"input_size": (3, 32, 32), "crop_pct": 1.0, "crop_mode": "center", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    preprocessing, _, notes = from_timm_config({**config, "interpolation": "lanczos"})
    assert preprocessing.interpolation == "bicubic"
    assert notes == ("timm's interpolation 'lanczos' is not supported: bicubic is used",)


# --- words --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preprocessing", "said"),
    [
        (Preprocessing(), "central square of 87.5 % of the shorter side, resized to 24 x 24 pixels, bicubic, "),
        (Preprocessing(crop=1.0, interpolation="bilinear"), "central square, resized to 24 x 24 pixels, bilinear, "),
        (Preprocessing(crop=0.5, fit="squash"), "whole, squashed to 24 x 24 pixels, bicubic, "),
    ],
)
def test_preprocessing_in_words(preprocessing, said):
    assert in_words(preprocessing, SIZE) == said + "mean 0.485 0.456 0.406, std 0.229 0.224 0.225"
