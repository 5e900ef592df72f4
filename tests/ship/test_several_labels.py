"""A shipped file with several labels a picture is judged as its model is."""

import numpy as np
import PIL.Image
import pytest

from paretina import verbs

NAMES = ("red", "green", "blue")


@pytest.fixture
def table(tmp_path):
    """A CSV file of pictures with a bright patch for each label."""
    rng = np.random.default_rng(0)
    lines = ["path,label,split"]
    for number in range(40):
        pixels = rng.integers(0, 90, (24, 24, 3)).astype(np.uint8)
        there = [name for name in NAMES if rng.random() < 0.5] or ["red"]
        for name in there:
            at = 4 * NAMES.index(name)
            pixels[at : at + 12, :, NAMES.index(name)] += 120
        PIL.Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{'|'.join(there)},{'val' if number % 4 == 0 else 'train'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "labels.csv"


@pytest.mark.slow
def test_a_shipped_file_has_the_figures_of_its_model(table, tmp_path):
    fields = {"epochs": 4, "size": 24, "model__resolution": 24, "workers": 0, "batch_size": 8, "lr": 1e-2}
    run = verbs.train(str(table), "resnet8_w16_s2", weights="none", device="cpu", output=tmp_path / "run", **fields)
    verbs.ship(run.path, "onnx", out=tmp_path / "model.onnx", seconds=0.1)
    wanted = verbs.evaluate(run.path, str(table), device="cpu").judged.metrics
    found = verbs.evaluate(tmp_path / "model.onnx", str(table)).judged.metrics
    assert found == pytest.approx(wanted, abs=1e-3)
    assert wanted["val/map"] > 60
    assert {"val/f1_macro_tuned", "val/map_low", "val/loss"} <= wanted.keys()
