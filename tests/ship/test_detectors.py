"""The commands on small trained detectors: ship, predict, evaluate, measure, serve, and the code of the page."""

import io
import json
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
import yaml
from click.testing import CliRunner
from fastapi.testclient import TestClient

from covering import few
from paretina import verbs
from paretina.cli import main
from paretina.data.pictures import read_pictures
from paretina.data.sources.cells import Cells
from paretina.model.heads.faster_rcnn import FasterHead
from paretina.model.heads.fcos import FcosHead
from paretina.model.heads.retina import RetinaHead
from paretina.model.weights import load_model, save_model
from paretina.serve.app import Bounds, application
from paretina.ship.box_gate import compared_boxes
from paretina.ship.format import format_named
from paretina.ship.gate import LIMITS
from paretina.verbs.answering import answering
from paretina.verbs.checks import MisuseError
from paretina.verbs.evaluating import inference_plan
from paretina.verbs.serving import served_of

DATA = Cells(looks=("bright",), train=12, val=4, size=40, labels="boxes")
HEADS = {"fcos": FcosHead(width=32, finest=4), "retina": RetinaHead(width=16, anchor=2.0)}
SUFFIXES = {"onnx": ".onnx", "openvino": ".ovz", "torch-export": ".pt2"}
FIELDS = {"epochs": 25, "size": 32, "batch_size": 4, "workers": 0, "seed": 1, "lr": 1e-2, "precision": "float32"}


class Home:
    """Runs and shipped files, made when they are first asked for."""

    def __init__(self, path):
        self.path, self.said = path, {}
        collection = DATA.open()
        (path / "pictures").mkdir()
        for number, sample in enumerate(collection.split("val")[:2]):
            pixels = collection.image(sample).permute(1, 2, 0).numpy()
            PIL.Image.fromarray(pixels).resize((60, 44)).save(path / "pictures" / f"{number}.png")

    def run(self, head):
        path = self.path / head
        if not path.exists():
            verbs.train(
                DATA, "resnet8_w16_s2", weights="none", device="cpu", output=path, head=HEADS[head], **FIELDS
            )  # fmt: skip
        return path

    def file(self, head, format):
        path = self.path / f"{head}{SUFFIXES[format]}"
        if not path.exists():
            self.said[path] = verbs.ship(self.run(head), format, out=path, seconds=0.2)
        return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("detectors"))


def called(*words, code=0):
    ended = CliRunner().invoke(main, [str(word) for word in words], prog_name="paretina")
    assert ended.exit_code == code, ended.output
    return ended


FILES = [(head, format) for head in HEADS for format in SUFFIXES]


@pytest.mark.slow
@pytest.mark.parametrize(("head", "format"), FILES)
def test_a_shipped_file_finds_the_same_boxes(home, head, format):
    file = home.file(head, format)
    wanted = verbs.predict(home.run(head), [home.path / "pictures"], score=0.05, device="cpu").to_dict()
    found = verbs.predict(file, [home.path / "pictures"], score=0.05, trust=True).to_dict()
    assert found.keys() == wanted.keys()
    for one, other in zip(found["predictions"], wanted["predictions"], strict=True):
        assert one.keys() == other.keys()
        assert one["objects"] == other["objects"] > 0
        assert [box["class"] for box in one["boxes"]] == [box["class"] for box in other["boxes"]]
        corners = [[[box[side] for side in ("left", "top", "right", "bottom", "score")] for box in each["boxes"]]
                   for each in (one, other)]  # fmt: skip
        np.testing.assert_allclose(*corners, atol=0.011)  # which are rounded to 0.01 pixels
    # the very boxes, as shares
    shares = [opened.logits(pictures, plan)[0] for opened, pictures, plan in both(home, head, file)]
    torch.testing.assert_close(*shares, atol=1e-3, rtol=0)


def both(home, head, file):
    collection = DATA.open()
    pictures = read_pictures(collection, collection.split("val"))
    for path in (home.run(head), file):
        yield answering(path, trust=True), pictures, inference_plan("cpu")


@pytest.mark.slow
@pytest.mark.parametrize(("head", "format"), few(FILES))
def test_the_comparison_is_in_the_file(home, head, format):
    file = home.file(head, format)
    header = format_named(format).header(file)
    assert header.gate["verdict"] == "passed"
    assert header.gate["n"] == 4
    assert header.gate["agreement"] == 1.0
    assert header.gate["largest"] < LIMITS["float32"].largest
    assert header.gate["boxes"] > 0
    assert header.gate["ap_before"] == pytest.approx(header.gate["ap_after"], abs=0.5)
    assert header.gate["ap_before"] > 0
    assert header.gate["timing"]["after_p50_ms"] > 0
    assert sum(header.boxes.levels) == {"fcos": 8 * 8 + 4 * 4, "retina": 9 * 4 * 4}[head]
    assert header.cost["macs"] > 0


@pytest.mark.slow
def test_its_card_is_that_of_a_detector(home):
    ap = load_model(home.run("fcos") / "model.safetensors")[1].metrics["val/ap"]
    for file in (home.run("fcos"), home.file("fcos", "onnx")):
        text = verbs.card(file)
        assert "A network that finds objects (objects, each with a box)" in text
        facts = yaml.safe_load(text.split("---")[1])
        assert (facts["pipeline_tag"], facts["tags"][0]) == ("object-detection", "object-detection")
        (results,) = facts["model-index"][0]["results"]
        assert results["task"] == {"type": "object-detection"}
        (metric,) = results["metrics"]
        assert (metric["type"], metric["value"]) == ("mean_average_precision", pytest.approx(ap, abs=1e-3))
        assert f"| average precision at IoU 0.5 to 0.95 | {ap:.4g} % |" in text
    assert "scores and boxes differ by" in text
    assert "from pixels to boxes" in text


@pytest.mark.slow
def test_evaluates_and_measures_as_its_model(home):
    file = home.file("fcos", "onnx")
    wanted, found = verbs.evaluate(home.run("fcos"), DATA, device="cpu"), verbs.evaluate(file, DATA)
    figures = [each.to_dict() for each in (found, wanted)]
    assert figures[0].keys() == figures[1].keys()
    assert figures[0]["runtime"].startswith("onnxruntime")
    for name, value in wanted.judged.metrics.items():
        assert found.judged.metrics[name] == pytest.approx(value, abs=0.5), name
    document = json.loads(
        called("measure", home.run("fcos"), file, "--no-training", "--batch", "1", "--time", "0.5s", "--json").stdout
    )
    plain, onnx = document["models"]
    assert plain["cost"]["macs"] == onnx["cost"]["macs"]
    assert plain.keys() == onnx.keys()
    assert onnx["timing"]["latency"]["p50_ms"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("shipped", [False, True])
def test_serves_boxes(home, shipped):
    file = home.file("fcos", "onnx") if shipped else home.run("fcos")
    picture = home.path / "pictures" / "0.png"
    (wanted,) = verbs.predict(file, [picture], score=0.1, device="auto").to_dict()["predictions"]
    with TestClient(application(served_of(answering(file)), Bounds())) as client:
        found = client.post("/predict?score=0.1&heat=true", content=picture.read_bytes()).json()
        assert found == {name: wanted[name] for name in ("answers", "objects", "boxes")}
        assert found["objects"] > 2
        assert client.post("/predict?score=0.1&top=2", content=picture.read_bytes()).json()["boxes"] == found["boxes"][:2]
        assert client.post("/predict?score=2", content=picture.read_bytes()).status_code == 422
        sent = [("pictures", ("a.png", io.BytesIO(picture.read_bytes()), "image/png"))]
        (several,) = client.post("/predict/batch?score=0.1", files=sent).json()["pictures"]
        assert several == {"name": "a.png", **found}
        usual = client.post("/predict", content=picture.read_bytes()).json()["boxes"]
        assert usual == [box for box in found["boxes"] if box["score"] >= 0.3]
        assert client.get("/model").json()["classes"] == ["cell"]


@pytest.mark.slow
def test_the_page_finds_boxes_without_this_library(home, tmp_path):
    """The code of docs/shipping.md, word for word, in a process that never imports this library."""
    page = (Path(__file__).parents[2] / "docs" / "shipping.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if '["boxes"]' in block)
    shutil.copy(home.file("fcos", "onnx"), tmp_path / "cars.onnx")
    shutil.copy(home.path / "pictures" / "1.png", tmp_path / "a.png")
    (tmp_path / "alone.py").write_text(
        code + "import sys\nassert 'paretina' not in sys.modules and 'torch' not in sys.modules\n"
    )
    found = subprocess.run([sys.executable, "alone.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    wanted = verbs.predict(home.run("fcos"), [tmp_path / "a.png"], device="cpu").predictions[0].boxes
    lines = [line.split() for line in found.stdout.splitlines()]
    assert len(lines) == len(wanted) > 0
    for (name, *numbers), box in zip(lines, wanted, strict=True):
        assert name == box.label
        corners = [box.score, box.left, box.top, box.right, box.bottom]
        np.testing.assert_allclose([float(each) for each in numbers], corners, atol=0.06)


@pytest.mark.slow
def test_bfloat16_is_measured(home, tmp_path):
    shipped = verbs.ship(home.run("fcos"), "torch-export", "bfloat16", out=tmp_path / "a.pt2", seconds=0.0)
    assert shipped.gate.n == 4
    assert 1e-4 < shipped.gate.largest < 0.5
    assert shipped.gate.ap_after == pytest.approx(shipped.gate.ap_before, abs=15)


@pytest.mark.slow
def test_a_network_that_finds_other_boxes_does_not_pass(home, tmp_path):
    """The file is that of another network than the one that it is compared with."""
    network, about = load_model(home.run("fcos") / "model.safetensors")
    with torch.no_grad():
        network.head.classifier.detector.head.regression_head.bbox_reg.bias.add_(1.0)
    collection = DATA.open()
    pictures = read_pictures(collection, collection.split("val"))
    running = format_named("onnx").open(home.file("fcos", "onnx"))
    gate = compared_boxes(network.eval(), about, running, pictures, LIMITS["float32"], 0.0, "here")
    assert gate.verdict == "failed"
    assert gate.moved > 0
    assert gate.agreement < 1


@pytest.mark.slow
def test_what_cannot_be_shipped_is_refused(home, tmp_path):
    run = home.run("fcos")
    with pytest.raises(ValueError, match=r"int8 is for one class a picture; .* ship it in float32"):
        verbs.ship(run, "onnx", "int8", out=tmp_path / "a.onnx")
    with pytest.raises(MisuseError, match=r"--max-loss is for a loss of top-1, and .* finds boxes"):
        verbs.ship(run, "onnx", max_loss=1.0, out=tmp_path / "a.onnx")
    with pytest.raises(MisuseError, match="--point-estimate is for a loss of top-1"):
        verbs.ship(run, "onnx", point_estimate=True, out=tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="objects, each with a box; it has no features"):
        verbs.embed(run, [home.path / "pictures"], tmp_path / "a.npz")
    network, about = load_model(run / "model.safetensors")
    other = replace(network.blueprint, head=FasterHead(width=8, finest=4, hidden=16)).build()
    save_model(tmp_path / "a.safetensors", other, about)
    ended = called("ship", tmp_path / "a.safetensors", "--to", "onnx", "--data", "cells", code=1)
    assert "finds boxes by FasterHead" in ended.output
    assert not (tmp_path / "a.onnx").exists()
