"""What the files beside this one must do; test_added.py runs this in a copy of the package that has them."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.data.batch import Batch
from paretina.model.blueprint import MapShape, any_kit
from paretina.model.family import network_named
from paretina.model.heads import dense
from paretina.model.weights import load_model
from paretina.run import Run
from paretina.train.objectives import simsiam
from paretina.train.training import train
from paretina.verbs import outline

WORDS = json.loads((Path(__file__).parent / "words.json").read_text())
"""By the name of each method, the words that switch it on."""
OPTIONS = ("--model", "tiny", "--recipe", "plain", "--weights", "none", "--device", "cpu")
FIELDS = ("epochs=2", "batch_size=10", "workers=0")
TABLE = replace(network_named("tiny").blueprint, classes=3)

spec = importlib.util.spec_from_file_location("task_kinds", Path(__file__).parent / "task_kinds.py")
task_kinds = sys.modules["task_kinds"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(task_kinds)
MASKS = "data=" + task_kinds.Drawing(task=task_kinds.Places()).to_json()
"""24 pictures to train on and 9 to validate on, with a mask each."""

every_objective = pytest.mark.parametrize("name", [name for name in WORDS if name != "PixelHead"])


def written(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def run_cli(*words):
    return CliRunner().invoke(main, ["train", *words], prog_name="paretina")


def asked_by(data, name):
    fields = dict(word.split("=", 1) for word in (*FIELDS, *WORDS[name]))
    return verbs.ask(str(data), "tiny", "plain", "none", "cpu", fields=fields).asked


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "numbers.npz"
    random, labels = np.random.default_rng(0), np.arange(39) % 3
    images = (random.random((39, 18, 18, 3)) * 170 + 40 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(path, images=images, labels=labels, split=["train"] * 30 + ["val"] * 9)
    return path


# --- what each computes, by hand ----------------------------------------------------------------------------------------------


def test_simsiam_wants_the_other_view_as_it_is():
    torch.manual_seed(0)
    learner = simsiam.SimSiam(hidden=16, width=8).make(TABLE.build(), None).train()
    first, second = written([1, 2], [3, 4]).requires_grad_(), written([5, 6], [7, 8])
    view = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    wanted = learner.wanted(Batch((view, view), torch.eye(3)[:2], torch.arange(2)), (first, second))
    assert [each.tolist() for each in wanted] == [first.tolist(), second.tolist()]
    assert not any(each.requires_grad for each in wanted)


def test_pixelhead_repeats_each_logit_for_the_pixels_that_it_stands_for():
    head = dense.PixelHead().make((MapShape(1, (2, 1), 2),), 2, any_kit())
    with torch.no_grad():
        head.classifier.conv.weight.copy_(torch.tensor([[[[1.0]]], [[[-2.0]]]]))
        head.classifier.conv.bias.copy_(torch.tensor([0.0, 1.0]))
    logits = head([torch.tensor([[[[3.0], [5.0]]]])], {})
    first = [[3.0, 3.0], [3.0, 3.0], [5.0, 5.0], [5.0, 5.0]]
    assert logits.tolist() == [[first, [[1 - 2 * value for value in row] for row in first]]]


# --- how each is switched on, and refused -------------------------------------------------------------------------------------

REFUSED = {
    (
        "SimSiam",
        "views=[]",
    ): "SimSiam compares two views of each picture, and the recipe makes 1; give it two: views='[{}, {}]'",
    ("SimSiam", "views=[{}, {}, {}]"): "the recipe makes 3; give it two",
    ("SimSiam", 'views=[{}, {"own": false}]'): "the second is the same as the first; set views.1.own=true",
    ("SimSiam", "assembly=Divide"): "SimSiam trains a single network, and the model is Ensemble; leave the assembly out",
}


@pytest.mark.parametrize(("name", "word"), REFUSED)
def test_is_refused_where_it_does_not_fit(name, word, data, tmp_path):
    run = tmp_path / "run"
    others = [other for other in WORDS[name] if not other.startswith(word.partition("=")[0])]
    ended = run_cli(str(data), *OPTIONS, *FIELDS, *others, word, "--output", str(run))
    assert ended.exit_code == 2, ended.output
    assert REFUSED[name, word] in " ".join(ended.stderr.split())
    assert not run.exists()


PIXELS_REFUSED = {
    ("masks", "head=PoolHead"): "needs 3 logits for each of 16 x 16 pixels",
    ("masks", "transforms.CutMix=on"): "CutMix is not for the task of this data, one class a pixel",
    ("masks", "objective.terms.BinaryCrossEntropy=on"): "BinaryCrossEntropy is not for",
    ("masks", "judge=TopOne"): "TopOne is not for the task of this data",
    ("masks", "size=15"): "needs 3 logits for each of 15 x 15 pixels",
    ("numbers", "head=PixelHead"): "needs 3 logits for each picture",
}


@pytest.mark.parametrize(("given", "word"), PIXELS_REFUSED, ids=lambda text: f"PixelHead-{text}")
def test_a_head_is_refused_where_it_does_not_fit(given, word, data, tmp_path):
    run = tmp_path / "run"
    words = [MASKS if given == "masks" else str(data), *OPTIONS, *FIELDS]
    ended = run_cli(*words, *([] if word.startswith("head") else WORDS["PixelHead"]), word, "--output", str(run))
    assert ended.exit_code == 1, ended.output
    assert PIXELS_REFUSED[given, word] in " ".join(ended.stderr.split())
    assert not run.exists()


def test_the_outline_of_the_package_is_not_used_any_more_and_a_new_one_knows_them():
    outline.read.cache_clear()
    assert outline.read() is None
    text = outline.text_of(outline.made())
    assert all(f'.{name}": ' in text for name in WORDS)


# --- whole runs ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """A run of the same recipe and model with each assembly that a method wants, by its words."""
    kept = {}

    def made(name):
        words = tuple(word for word in WORDS[name] if not word.startswith(("objective", "views")))
        if words not in kept:
            path = tmp_path_factory.mktemp("plain") / "run"
            ended = run_cli(str(data), *OPTIONS, *FIELDS, *words, "--output", str(path))
            assert ended.exit_code == 0, ended.output
            kept[words] = path
        return kept[words]

    return made


@pytest.mark.parametrize("name", ["PixelHead"])
def test_words_alone_train_a_class_for_each_pixel(name, tmp_path):
    words = (MASKS, *OPTIONS, *FIELDS, *WORDS[name], "lr=0.01")
    ended = run_cli(*words, "--output", str(tmp_path / "run"))
    assert ended.exit_code == 0, ended.output
    run = Run(tmp_path / "run")
    losses = [line["train/loss"] for line in run.lines() if line["event"] == "train"]
    # what no pixel says anything about would be log 3 at every update
    assert losses[-1] < losses[0]
    assert run.result()["shown"]["key"] == "iou"
    network, about = load_model(run.path / "model.safetensors")
    assert about.task == task_kinds.Places()
    assert network(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)).shape == (2, 3, 16, 16)

    fields = dict(word.split("=", 1) for word in (*FIELDS, *WORDS[name], "lr=0.01"))
    masks = task_kinds.Drawing(task=task_kinds.Places())
    with pytest.raises(KeyboardInterrupt):
        train(verbs.ask(masks, "tiny", "plain", "none", "cpu", fields=fields).asked, tmp_path / "cut", stop_after=4)
    ended = run_cli("--resume", str(tmp_path / "cut"))
    assert ended.exit_code == 0, ended.output
    for file in ("model.safetensors", "predictions.csv"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "run" / file).read_bytes()


@every_objective
def test_words_alone_train_another_network_than_without(name, data, tmp_path, plain):
    ended = run_cli(str(data), *OPTIONS, *FIELDS, *WORDS[name], "--output", str(tmp_path / "run"))
    assert ended.exit_code == 0, ended.output
    run, other = Run(tmp_path / "run"), Run(plain(name))
    first, second = ([line for line in each.lines() if line["event"] == "train"] for each in (run, other))
    assert run.result()["status"] == "done"
    assert first[-1]["train/loss"] != second[-1]["train/loss"]
    network, old = (load_model(each.path / "model.safetensors")[0] for each in (run, other))
    assert network.model == old.model
    same = [torch.equal(tensor, old.state_dict()[key]) for key, tensor in network.state_dict().items()]
    assert not any(same[i] for i, key in enumerate(network.state_dict()) if key.endswith("stages.0.0.body.0.conv.weight"))
    assert not all(same)

    with pytest.raises(KeyboardInterrupt):
        train(asked_by(data, name), tmp_path / "cut", stop_after=4)
    ended = run_cli("--resume", str(tmp_path / "cut"))
    assert ended.exit_code == 0, ended.output
    for file in ("model.safetensors", "predictions.csv"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "run" / file).read_bytes()
