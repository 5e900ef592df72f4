"""What the files beside this one must do; test_added.py runs this in a copy of the package that has them."""

import copy
import importlib.util
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from paretina import verbs
from paretina.cli import main
from paretina.clock import START, Clock
from paretina.data.batch import Batch
from paretina.model.assemblies.divide import Divide
from paretina.model.blueprint import MapShape, any_kit
from paretina.model.family import network_named
from paretina.model.heads import dense
from paretina.model.weights import load_model
from paretina.run import Run
from paretina.schedules import Constant, Cosine
from paretina.train.objectives import byol, cosub, cotraining, mixskd
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


def test_byol_distances():
    first = byol.distance(written([1, 0], [3, 4]), written([1, 1], [4, 3]))
    second = byol.distance(written([0, 2], [1, 0]), written([1, 0], [3, 4]))
    assert (first + second).item() == pytest.approx(1.732893, abs=1e-6)
    assert byol.distance(written([1, 2]), written([10, 20])).item() == pytest.approx(0.0, abs=1e-6)


def test_byol_target_follows_as_the_schedule_says():
    found = [Cosine(start=0.996, end=1.0)(Clock(update, 1000, 1.0)) for update in (0, 250, 500, 750, 1000)]
    assert found == pytest.approx([0.996, 0.99658579, 0.998, 0.99941421, 1.0], abs=1e-8)

    torch.manual_seed(0)
    learner = byol.BYOL(hidden=16, width=8, decay=Constant(value=0.9)).make(TABLE.build(), None).train()
    before = copy.deepcopy(learner.target)
    with torch.no_grad():
        for parameter in learner.online.parameters():
            parameter.add_(torch.randn_like(parameter))
    learner.updated(START)
    for old, new, online in zip(before.parameters(), learner.target.parameters(), learner.online.parameters(), strict=True):
        torch.testing.assert_close(new - old, 0.1 * (online - old))
    assert not any(parameter.requires_grad for parameter in learner.target.parameters())
    assert all(module.training for module in learner.target.modules())


def test_byol_labels_change_the_classifier_alone():
    torch.manual_seed(0)
    learner = byol.BYOL(hidden=16, width=8).make(TABLE.build(), None).train()
    view = torch.randint(256, (6, 3, 16, 16), dtype=torch.uint8)
    losses = learner(Batch((view, view.flip(-1)), torch.eye(3)[torch.arange(6) % 3], torch.arange(6)), START)
    losses["classifier"].backward()
    assert {name for name, p in learner.named_parameters() if p.grad is not None} == {
        "online.network.head.classifier.weight",
        "online.network.head.classifier.bias",
    }


def test_cosub_losses():
    first, second = (x.requires_grad_() for x in (written([2, -1], [0, 1]), written([1, -2], [0.5, 0.5])))
    labels, peers = cosub.Cosub().parts(first, second, torch.eye(2))
    assert labels.item() == pytest.approx((0.361650 + 0.472086) / 2, abs=1e-6)
    assert peers.item() == pytest.approx((0.620306 + 0.607475) / 2, abs=1e-6)
    (0.5 * labels + 0.5 * peers).backward()
    torch.testing.assert_close(first.grad, written([0.001908, 0.026167], [0.023596, -0.010021]), atol=1e-6, rtol=0)


def test_cosub_that_says_the_same_twice_learns_nothing_from_itself():
    logits = written([2, -1], [0, 1]).requires_grad_()
    cosub.Cosub().parts(logits, logits, torch.eye(2))[1].backward()
    torch.testing.assert_close(logits.grad, torch.zeros(2, 2))


def test_mixskd_divergences():
    blend, mixed = written([1, 1, 0]), written([1, 0.5, 0])
    assert mixskd.divergence(mixed, blend, 3.0).item() == pytest.approx(0.0286242, abs=1e-6)
    assert mixskd.divergence(blend, mixed, 3.0).item() == pytest.approx(0.0281482, abs=1e-6)


def test_mixskd_gives_no_gradient_to_what_is_wanted():
    said, wanted = (x.requires_grad_() for x in (written([1, 0.5, 0]), written([1, 1, 0])))
    mixskd.divergence(said, wanted, 3.0).backward()
    assert said.grad.any()
    assert wanted.grad is None


def test_mixskd_has_nothing_to_learn_from_blends_of_one_picture_and_itself():
    # in evaluation, and with one picture everywhere, a blend is the picture
    torch.manual_seed(0)
    learner = mixskd.MixSKD().make(TABLE.build(), None).eval()
    view = torch.randint(256, (1, 3, 16, 16), dtype=torch.uint8).expand(4, -1, -1, -1)
    losses = learner(Batch((view,), torch.eye(3)[torch.zeros(4, dtype=torch.long)], torch.arange(4)), START)
    assert losses["features"].item() == pytest.approx(0.0, abs=1e-8)
    assert losses["branches"].item() == pytest.approx(0.0, abs=1e-5)
    assert losses["labels"].item() > 1.0


def test_cotraining_divergence():
    logits = written([[0.7, 0.2, 0.1]], [[0.3, 0.4, 0.3]]).log() + 5.0
    assert cotraining.divergence(logits).item() == pytest.approx(0.084294, abs=1e-6)
    assert cotraining.divergence(torch.stack((logits[0], logits[0]))).item() == pytest.approx(0.0, abs=1e-6)
    opposed = written([[100.0, 0.0]], [[0.0, 100.0]])
    assert cotraining.divergence(opposed).item() == pytest.approx(math.log(2), abs=1e-6)


def test_cotraining_weight_rises_in_a_line():
    weight = cotraining.CoTraining().weight
    assert [weight(Clock(epoch, 300, 300.0)) for epoch in (0, 10, 20, 40, 200)] == pytest.approx([0, 0.125, 0.25, 0.5, 0.5])


def test_cotraining_shows_each_network_its_own_view():
    torch.manual_seed(0)
    network = Divide()(TABLE).build()
    learner = cotraining.CoTraining(weight=Constant(value=0.0)).make(network, None).eval()
    first, second = torch.randint(256, (2, 4, 3, 16, 16), dtype=torch.uint8)
    targets, ids = torch.eye(3)[torch.arange(4) % 3], torch.arange(4)
    before = learner(Batch((first, first), targets, ids), START)["labels"]
    assert before.item() == pytest.approx(learner(Batch((first,), targets, ids), START)["labels"].item(), rel=1e-5)
    changed = learner(Batch((first, second), targets, ids), START)["labels"]
    nn.init.zeros_(network.members[1].head.classifier.weight)
    nn.init.zeros_(network.members[1].head.classifier.bias)
    alone = [learner(Batch((first, view), targets, ids), START)["labels"] for view in (first, second)]
    assert changed.item() != before.item()
    assert alone[0].item() == alone[1].item()


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
    ("BYOL", "views=[]"): "BYOL compares two views of each picture, and the recipe makes 1; give it two: views='[{}, {}]'",
    ("BYOL", "views=[{}, {}, {}]"): "the recipe makes 3; give it two",
    ("BYOL", 'views=[{}, {"own": false}]'): "the second is the same as the first; set views.1.own=true",
    ("BYOL", "assembly=Divide"): "BYOL trains a single network, and the model is Ensemble; leave the assembly out",
    ("Cosub", "stochastic_depth=none"): "Cosub compares two draws of stochastic depth, and the recipe has none; set",
    ("Cosub", "stochastic_depth.rate=0"): "nothing is ever dropped: it needs residual branches that learn",
    ("Cosub", "freeze_norm_statistics=on"): "nothing is ever dropped",
    ("Cosub", "views=[{}, {}]"): "Cosub learns from one view, and the recipe makes 2; leave views out",
    ("MixSKD", "transforms.MixUp=on"): "leave MixUp out: transforms.MixUp=off",
    ("MixSKD", "transforms.MixOrCut=on"): "leave MixOrCut out: transforms.MixOrCut=off",
    ("MixSKD", "assembly=Divide"): "MixSKD trains a single network",
    ("CoTraining", "assembly=none"): "CoTraining trains several networks side by side, and the model is Blueprint of 1; set",
    ("CoTraining", "assembly.count=4"): "each of the 4 networks its own view, or all of them one, and the recipe makes 2",
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
    ("masks", "transforms.CutMix=on"): "CutMix is not for the task of this data, Places",
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
