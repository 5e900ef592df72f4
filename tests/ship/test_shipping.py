"""The commands on a small trained model: ship, predict, evaluate, embed, explain, card."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

from covering import few
from paretina.cli import main
from paretina.model.family import networks
from paretina.model.weights import About, load_model, save_model
from paretina.model.wirings.dropped_tokens import DroppedTokens
from paretina.ship.format import format_named

COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}

TINY = ["--model", "resnet18", "--device", "cpu", "model.stem.width=8", "model.stages.*.width=8", "model.stages.*.depth=1"]
TINY += ["size=32", "batch_size=6", "precision=float32", "workers=0", "epochs=8", "--weights", "none", "seed=1"]


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="paretina")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, f"{result.exit_code}: {result.output}"
    return result.stdout, result.stderr


def document(*arguments, code=0):
    return json.loads(run(*arguments, "--json", code=code)[0])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run, its ONNX file, what was said of that, and the trained network before any; `shipped` makes the other formats."""
    home = tmp_path_factory.mktemp("shipped")
    rng = np.random.default_rng(0)
    for split, each in (("train", 14), ("val", 8)):
        for name, colour in COLOURS.items():
            (home / "photos" / split / name).mkdir(parents=True)
            for number in range(each):
                noise = rng.integers(0, 50, (24 + 3 * number, 30, 3))
                picture = PIL.Image.fromarray((noise + np.array(colour)).astype(np.uint8))
                picture.save(home / "photos" / split / name / f"{number}.png")
    before = os.getcwd()
    os.chdir(home)
    try:
        run("train", home / "photos", *TINY, "--output", home / "run")
        shutil.copy(home / "run" / "model.safetensors", home / "before.safetensors")
        shipped(home, "model.onnx")
        yield home
    finally:
        os.chdir(before)


FORMATS = {"model.onnx": "onnx", "model.ovz": "openvino", "model.pt2": "torch-export"}


def shipped(home, file):
    """A file of the run, made when it is first asked for."""
    if not (home / file).exists():
        out, _ = run("ship", home / "run", "--to", FORMATS[file], "--out", home / file, "--seconds", "0.2")
        (home / f"{FORMATS[file]}.txt").write_text(out)
    return home / file


def test_says_that_it_is_the_same_and_how_fast(home):
    out = (home / "onnx.txt").read_text()
    assert "24 validation pictures: the same answer for 100.00 %" in out
    assert "norms folded" in out
    assert "times" in out.splitlines()[-1]
    assert "onnxruntime" in out.splitlines()[-1]


def test_figures_are_in_the_file(home):
    header = format_named("onnx").header(home / "model.onnx")
    assert header.gate["verdict"] == "passed"
    assert header.gate["n"] == 24
    assert header.gate["largest"] < 5e-3
    assert header.about.classes == tuple(COLOURS)
    assert header.about.metrics["val/top1"] == load_model(home / "run" / "model.safetensors")[1].metrics["val/top1"]


@pytest.mark.parametrize("file", few(list(FORMATS)))
def test_predicts_the_same_from_every_format(home, file):
    wanted = document("predict", home / "run", home / "photos" / "val")
    found = document("predict", shipped(home, file), home / "photos" / "val", "--trust")
    for one, other in zip(wanted["predictions"], found["predictions"], strict=True):
        assert one["name"] == other["name"]
        assert one["answers"][0]["class"] == other["answers"][0]["class"]
        assert one["answers"][0]["probability"] == pytest.approx(other["answers"][0]["probability"], abs=5e-3)
    assert found["runtime"].split()[0] in ("onnxruntime", "openvino", "torch")
    assert found["throughput_img_s"] > 0


def test_a_file_that_can_run_code_must_be_trusted(home):
    for command in ("predict", "evaluate"):
        assert "--trust" in run(command, shipped(home, "model.pt2"), home / "photos", code=2)[1]


def test_pictures_below_the_threshold_are_rejected(home):
    found = document("predict", home / "model.onnx", home / "photos" / "val", "--reject", "1.0")
    assert all(each["rejected"] for each in found["predictions"])
    found = document("predict", home / "model.onnx", home / "photos" / "val", "--reject", "0.01")
    assert not any(each["rejected"] for each in found["predictions"])
    text, _ = run("predict", home / "model.onnx", home / "photos" / "val" / "red" / "0.png", "--reject", "1")
    assert "rejected: " in text
    assert "in (0, 1]" in run("predict", home / "model.onnx", home / "photos", "--reject", "2", code=2)[1]


def test_damaged_pictures_are_named_and_skipped(home, tmp_path):
    shutil.copy(home / "photos" / "val" / "red" / "0.png", tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"hello")
    found = document("predict", home / "model.onnx", tmp_path)
    assert [each["name"] for each in found["predictions"]] == [str(tmp_path / "good.png")]
    assert list(found["damaged"]) == [str(tmp_path / "bad.png")]


def test_evaluates_a_shipped_file_as_its_model(home):
    wanted = document("evaluate", home / "run", home / "photos")
    found = document("evaluate", home / "model.onnx", home / "photos")
    assert found["top1"] == wanted["top1"]
    assert found["n"] == 24
    assert found["runtime"].startswith("onnxruntime")
    for option in (["--resolution", "64"], ["--corruptions", "noise"], ["--ood", home / "photos"], ["--device", "cuda"]):
        run("evaluate", home / "model.onnx", home / "photos", *option, code=2)


def test_compares_two_files_picture_by_picture(home):
    found = document("evaluate", home / "model.onnx", home / "photos", "--against", home / "run", "--max-loss", "20")
    assert found["against"]["gained"]["value"] == 0
    assert found["against"]["verdict"] == "passed"
    text, error = run("evaluate", home / "model.onnx", home / "photos", "--against", home / "run", "--max-loss", "0.1", code=3)
    assert "+0.00 points" in text
    assert "pictures are needed" in error


def test_a_model_that_forgot_does_not_pass(home, tmp_path):
    network, about = load_model(home / "run" / "model.safetensors")
    network.head.classifier.weight.data.neg_()
    save_model(tmp_path / "worse.safetensors", network, about)
    error = run("evaluate", tmp_path / "worse.safetensors", home / "photos", "--against", home / "run", code=3)[1]
    assert "failed: top-1 changed by -" in error


@pytest.mark.slow
def test_a_file_that_is_not_its_network_fails_and_names_where(home, tmp_path, monkeypatch):
    """A format whose writer changes the weights of the second stage, in silence."""
    onnx = format_named("onnx")
    write = type(onnx).write

    def spoiled(self, whole, path, header, calibration=None):
        with torch.no_grad():
            inner = getattr(whole.network, "inner", whole.network)
            next(iter(inner.stages[1].parameters())).add_(3.0)
        return write(self, whole, path, header, calibration)

    monkeypatch.setattr(type(onnx), "write", spoiled)
    error = run("ship", home / "run", "--to", "onnx", "--out", tmp_path / "bad.onnx", "--seconds", "0", code=3)[1]
    assert "departs first in: stages.1" in error
    assert (tmp_path / "bad.onnx").exists()
    assert onnx.header(tmp_path / "bad.onnx").gate["verdict"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize(("to", "suffix"), [("onnx", "onnx"), ("openvino", "ovz")])
def test_int8_is_smaller_and_says_what_it_loses(home, tmp_path, to, suffix):
    path = tmp_path / f"small.{suffix}"
    found = document("ship", home / "run", "--to", to, "--precision", "int8", "--out", path, "--max-loss", "25")
    assert found["gate"]["verdict"] == "passed"
    assert any("training pictures" in step for step in found["steps"])
    known = ("int8", "float32") if to == "onnx" else ("int8", "float32", "bfloat16")  # onnx has no bfloat16
    assert found["against_floats"]["recommended"] in known
    timed = [name for name in found["against_floats"]["timing"] if name.endswith("_p50_ms")]
    assert {name.removesuffix("_p50_ms") for name in timed} == set(known)
    assert format_named(to).header(path).precision == "int8"
    assert format_named(to).open(path).run(torch.zeros(1, 3, 40, 40, dtype=torch.uint8)).shape == (1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["openvino", "torch-export"])
def test_bfloat16_keeps_the_answers(home, tmp_path, to):
    path = tmp_path / f"half{format_named(to).SUFFIX}"
    found = document("ship", home / "run", "--to", to, "--precision", "bfloat16", "--out", path, "--seconds", "0")
    assert found["gate"]["agreement"] > 0.95
    assert format_named(to).header(path).precision == "bfloat16"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--to", "onx"], "did you mean 'onnx'"),
        (["--to", "onnx", "--precision", "int9"], "did you mean 'int8'"),
        (["--to", "onnx", "--precision", "bfloat16"], "onnx is written in float32, int8"),
        (["--to", "onnx", "--out", "x.pt2"], "ends with .onnx"),
        (["--to", "onnx", "--pictures", "0"], "at least 1"),
        (["--to", "onnx", "--max-loss", "-1"], "at least 0"),
        (["--to", "onnx", "--data", "nowhere"], "nowhere"),
    ],
)
def test_slips_are_told_before_anything_is_done(home, words, says):
    assert says in run("ship", home / "run", *words, code=2)[1]


def test_a_file_is_not_overwritten(home):
    assert "exists already" in run("ship", home / "run", "--to", "onnx", "--out", home / "model.onnx", code=2)[1]


@pytest.mark.slow
def test_a_model_without_its_run_needs_data(home, tmp_path):
    shutil.copy(home / "run" / "model.safetensors", tmp_path / "alone.safetensors")
    words = ["ship", tmp_path / "alone.safetensors", "--to", "torch-export", "--out", tmp_path / "alone.pt2", "--seconds", "0"]
    assert "--data" in run(*words, code=2)[1]
    run(*words, "--data", home / "photos")


def test_embeds_and_finds_what_is_alike(home, tmp_path):
    words = [home / "photos" / "val", "--out", tmp_path / "f.npz", "--csv", tmp_path / "near.csv", "--neighbours", "2"]
    found = document("embed", home / "run", *words)
    with np.load(tmp_path / "f.npz") as file:
        names, features = file["names"], file["features"]
    assert features.shape == (24, found["width"])
    assert [each["name"] for each in found["pictures"]] == list(names)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    alike = unit @ unit.T - 3 * np.eye(24)
    for number, each in enumerate(found["pictures"]):
        best = each["neighbours"][0]
        assert best["cosine"] == pytest.approx(alike[number].max(), abs=1e-5)
        assert best["name"] != each["name"]
    assert (tmp_path / "near.csv").read_text().startswith("name,neighbour_1,cosine_1,neighbour_2,cosine_2\n")
    other = document("embed", home / "model.onnx", home / "photos" / "val", "--out", tmp_path / "g.npz")
    with np.load(tmp_path / "g.npz") as file:
        assert np.allclose(file["features"], features, atol=1e-2)
    assert other["width"] == found["width"]


@pytest.mark.parametrize("words", [["--neighbours", "-1"], ["--out", "x.csv"], ["--device", "tpu"]])
def test_slips_of_embed_are_told(home, words):
    run("embed", home / "run", home / "photos", *words, code=2)


def test_explains_pictures_at_their_own_size(home, tmp_path):
    pictures = [home / "photos" / "val" / name / "3.png" for name in COLOURS]
    found = document("explain", home / "run", *pictures, "--beside", home / "model.onnx", "--out", tmp_path / "maps")
    assert len(found["pictures"]) == 6
    for each in found["pictures"]:
        with PIL.Image.open(each["file"]) as overlay, PIL.Image.open(each["name"]) as picture:
            assert overlay.size == picture.size
    with PIL.Image.open(found["sheet"]) as sheet:
        assert sheet.width == 2 * 224
    assert found["methods"] == {str(home / "run" / "model.safetensors"): "cam", str(home / "model.onnx"): "occlusion"}


@pytest.mark.slow
def test_a_network_that_drops_tokens_is_explained_too(home, tmp_path):
    vit = networks()["vit_tiny"].blueprint
    stage = replace(vit.stages[0], depth=3, wiring=DroppedTokens(keep=0.5, after=(1, 2)))
    net = replace(vit, resolution=64, classes=len(COLOURS), stages=(stage,)).build()
    save_model(tmp_path / "vit.safetensors", net, About(classes=tuple(sorted(COLOURS)), origin="made for a test", name="vit"))
    picture = home / "photos" / "val" / "red" / "3.png"
    found = document("explain", tmp_path / "vit.safetensors", picture, "--out", tmp_path / "auto")
    assert list(found["methods"].values()) == ["occlusion"]
    kept = document("explain", tmp_path / "vit.safetensors", picture, "--method", "kept-tokens", "--out", tmp_path / "kept")
    assert Path(kept["pictures"][0]["file"]).read_bytes() != Path(found["pictures"][0]["file"]).read_bytes()
    said = run("explain", home / "run", picture, "--method", "kept-tokens", "--out", tmp_path / "none", code=1)[1]
    assert "this network drops no tokens" in said


@pytest.mark.slow
def test_measures_whether_maps_are_true(home, tmp_path):
    found = document("explain", home / "run", home / "photos" / "val" / "red", "--out", tmp_path / "m", "--faithful")
    (figures,) = found["faithfulness"].values()
    assert figures["n"] == 8
    assert set(figures["methods"]) == {"cam", "random"}
    for name in ("deletion", "insertion"):
        assert 0 <= figures["methods"]["cam"][name]["value"] <= 1
    text, _ = run("explain", home / "run", home / "photos" / "val" / "red", "--out", tmp_path / "n", "--faithful")
    assert "deletion (low)" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--method", "gradcam"], "did you mean 'grad-cam'"),
        (["--class", "reed"], "did you mean 'red'"),
        (["--beside", "nowhere.safetensors"], "nowhere"),
    ],
)
def test_slips_of_explain_are_told(home, tmp_path, words, says):
    assert says in run("explain", home / "run", home / "photos" / "val", *words, "--out", tmp_path / "o", code=2)[1]
    assert not (tmp_path / "o").exists()


def test_explains_into_new_directories_only(home, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    error = run("explain", home / "run", home / "photos" / "val", "--out", tmp_path / "full", code=2)[1]
    assert "not empty" in error


@pytest.mark.parametrize("file", ["run", "model.onnx"])
def test_a_card_says_what_the_file_knows(home, tmp_path, file):
    import yaml

    source = home / file
    if file == "model.onnx":  # beside the model that it was made of
        source = tmp_path / "model.onnx"
        shutil.copy(home / "model.onnx", source)
        for name in ("model.safetensors", "result.json", "asked.json"):
            shutil.copy(home / "run" / name, tmp_path / name)
    text, _ = run("card", source)
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["library_name"] == "paretina"
    assert facts["pipeline_tag"] == "image-classification"
    top1 = load_model(home / "run" / "model.safetensors")[1].metrics["val/top1"]
    assert facts["model-index"][0]["results"][0]["metrics"][0]["value"] == pytest.approx(top1, abs=1e-3)
    assert "blue, green, red" in body
    assert "Trained on photos" in body
    assert "parameters" in body
    assert "42 training and 24 validation pictures" in body
    missed = [
        row["class"] for row in json.loads((home / "run" / "result.json").read_text())["per_class"] if row["recall"] < 100
    ]
    assert ("No validation picture of any class was missed" in body) == (not missed)
    assert all(f"| {name} |" in body for name in missed)
    assert ("onnxruntime" in body) == (file == "model.onnx")
    run("card", source, "--out", tmp_path / "CARD.md")
    assert (tmp_path / "CARD.md").read_text() == text
    assert "exists already" in run("card", source, "--out", tmp_path / "CARD.md", code=2)[1]


def test_a_card_of_a_file_alone_invents_nothing(home, tmp_path):
    network, _ = load_model(home / "run" / "model.safetensors")
    save_model(tmp_path / "alone.safetensors", network, About(("a|b", "c\n# d", "e")))
    text, _ = run("card", tmp_path / "alone.safetensors")
    assert "license" not in text.split("---\n")[1]
    assert "model-index" not in text
    assert "a\\|b, c \\# d, e" in text
    assert "The training data is unknown" in text
    assert "No licence is recorded" in text


def test_the_trained_network_is_unchanged(home):
    assert (home / "run" / "model.safetensors").read_bytes() == (home / "before.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_page_classifies_without_this_library(home, tmp_path, runtime):
    """The code of docs/shipping.md, word for word, in a process that never imports this library."""
    page = (Path(__file__).parents[2] / "docs" / "shipping.md").read_text()
    blocks = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f"import {runtime}\n" in block]
    code = blocks[0]  # tests/ship/test_detectors.py runs that for boxes
    shutil.copy(home / "model.onnx", tmp_path / "photos.onnx")
    shutil.copy(shipped(home, "model.ovz"), tmp_path / "photos.ovz")
    shutil.copy(home / "photos" / "val" / "green" / "2.png", tmp_path / "a.png")
    (tmp_path / "alone.py").write_text(
        code + "import sys\nassert 'paretina' not in sys.modules and 'torch' not in sys.modules\n"
    )
    found = subprocess.run([sys.executable, "alone.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    (wanted,) = document("predict", home / "run", tmp_path / "a.png", "--top", "1")["predictions"]
    name, share, _ = found.stdout.rsplit(maxsplit=2)
    assert name == wanted["answers"][0]["class"]
    assert float(share) == pytest.approx(100 * wanted["answers"][0]["probability"], abs=0.6)


@pytest.mark.slow
def test_measures_files_beside_their_network(home):
    words = [home / "run", home / "model.onnx", shipped(home, "model.ovz"), "--no-training", "--batch", "1", "--time", "1s"]
    found = document("measure", *words)
    plain, onnx, openvino = found["models"]
    assert plain["cost"]["macs"] == onnx["cost"]["macs"] == openvino["cost"]["macs"]
    assert [each["timing"]["plan"].get("runtime", "torch") for each in found["models"]] == ["torch", "onnxruntime", "openvino"]
    assert onnx["timing"]["latency"]["p50_ms"] > 0
    assert any("onnxruntime" in note for note in onnx["notes"])
    error = run("measure", home / "model.onnx", "--resolution", "64", code=2)[1]
    assert "no other resolution" in error
    assert "--trust" in run("measure", shipped(home, "model.pt2"), code=2)[1]


@pytest.mark.slow
def test_only_what_training_held_out_is_judged(home, tmp_path):
    """In a folder without splits most pictures were trained on."""
    flat = tmp_path / "flat"
    for name in COLOURS:
        (flat / name).mkdir(parents=True)
        for split in ("train", "val"):
            for path in (home / "photos" / split / name).iterdir():
                shutil.copy(path, flat / name / f"{split}-{path.name}")
    run("train", flat, *TINY, "--output", tmp_path / "run")
    held = json.loads((tmp_path / "run" / "result.json").read_text())["data"]["val"]
    found = document("ship", tmp_path / "run", "--to", "onnx", "--out", tmp_path / "a.onnx", "--seconds", "0")
    assert found["gate"]["n"] == held < 66
    found = document("evaluate", tmp_path / "a.onnx", flat, "--against", tmp_path / "run", "--max-loss", "30")
    assert found["n"] == held
    assert any("only the pictures that training held out" in note for note in found["notes"])
    whole = document("evaluate", tmp_path / "a.onnx", flat, "--against", tmp_path / "run", "--max-loss", "30", "--split", "all")
    assert whole["n"] == 66


def test_a_table_says_what_was_rejected(home, tmp_path):
    run("predict", home / "model.onnx", home / "photos" / "val", "--reject", "1", "--csv", tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0].startswith("name,predicted,confidence,rejected,")
    assert all(line.split(",")[3] == "1" for line in lines[1:])


def test_a_shipped_file_is_not_shipped_again(home, tmp_path):
    error = run("ship", home / "model.onnx", "--to", "openvino", "--out", tmp_path / "a.ovz", code=2)[1]
    assert "is shipped already" in error
