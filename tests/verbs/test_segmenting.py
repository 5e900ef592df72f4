"""Masks from the first command to the last: what is chosen, trained, evaluated, drawn and shipped."""

import csv
import json
import re

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

from covering import few
from paretina import verbs
from paretina.cli import main
from paretina.data.sources.folder import Folder
from paretina.data.sources.masks import Masks
from paretina.model.family import network_named
from paretina.model.heads.pool import PoolHead
from paretina.model.heads.pyramid import PyramidHead
from paretina.model.heads.unet import UNetHead
from paretina.model.tasks.instances import Instances
from paretina.model.tasks.places import Places
from paretina.model.weights import About, load_model, save_model
from paretina.train.resolve import prepare
from paretina.verbs.answering import answering
from paretina.verbs.checks import MisuseError
from paretina.verbs.serving import served_of

SIDE = 32
QUICK = {
    "epochs": "4",
    "batch_size": "5",
    "size": str(SIDE),
    "workers": "0",
    "lr": "0.01",
    "head.finest": "1",
    "head.width": "16",
}


def drawn(folder, count=15, deep=True):
    """Bright and dark discs on grey; masks number them, or say which they are."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:36, :40]
    for number in range(count):
        image, mask = random.integers(90, 150, (36, 40, 3)), np.zeros((36, 40), np.uint16)
        for each, left in enumerate((9, 29)):
            disc = (rows - random.integers(9, 27)) ** 2 + (columns - left) ** 2 < random.integers(16, 49)
            image[disc], mask[disc] = (230, 20)[each], each + 1
        PIL.Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{number:02d}.png")
        PIL.Image.fromarray(mask if deep else mask.astype(np.uint8)).save(folder / "masks" / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("masks") / "cells")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("masks") / "run"
    fields = {name.replace(".", "__"): value for name, value in QUICK.items()}
    return verbs.train(str(data), "resnet8_w16", weights="none", device="cpu", output=path, **fields)


def opened(path):
    with PIL.Image.open(path) as image:
        image.load()
        return image


def called(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="paretina")


# --- what is chosen ----------------------------------------------------------------------------------------------------------


def test_a_folder_of_masks_is_known_and_gets_a_head_and_a_recipe(data):
    choice = verbs.ask(str(data), "resnet8_w16", weights="none", device="cpu")
    assert isinstance(choice.asked.data, Masks)
    assert choice.asked.model.head == PyramidHead()
    assert choice.asked.recipe_name == "segment"


def test_a_head_that_is_given_stays(data):
    fields = {"head": "UNetHead", "head.width": "4"}
    assert verbs.ask(str(data), "resnet8_w16", weights="none", device="cpu", fields=fields).asked.model.head == UNetHead(
        width=4
    )
    assert verbs.ask(str(data), "universal_segmenter_quarter", device="cpu").asked.model.head.aspp


def test_the_task_decides_where_a_folder_can_be_read_in_two_ways(data):
    # images/ and masks/ can be classes too
    found = verbs.ask(str(data), "resnet8_w16", weights="none", device="cpu", task="classify").asked
    assert isinstance(found.data, Folder)
    assert found.model.head == network_named("resnet8_w16").blueprint.head
    with pytest.raises(MisuseError, match=r"there is no task 'segmant'; did you mean 'segment'\?"):
        verbs.ask(str(data), "resnet8_w16", task="segmant")
    with pytest.raises(MisuseError, match="--task segment is for folders, and shapes has a class for each picture"):
        verbs.ask("shapes", "resnet8_w16", task="segment")


def test_auto_chooses_a_head_and_a_size_for_pixels(data):
    asked = verbs.ask(str(data), device="cpu", weights="none").asked
    assert (asked.recipe_name, asked.model_name) == ("segment", "resnet18_w16")
    assert asked.model.head.DENSE
    assert asked.final_size() % 32 == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"imbalance": "sampling"}, "--imbalance sampling is for one class a picture.*--imbalance weights"),
        ({"relabel": "x.csv"}, "--relabel is for one class a picture"),
        ({"hierarchy": "x.csv"}, "--hierarchy is for one class a picture"),
    ],
)
def test_what_is_for_classes_of_pictures_is_refused(options, said, data):
    with pytest.raises(MisuseError, match=said):
        verbs.ask(str(data), "resnet8_w16", weights="none", device="cpu", **options)


def test_fields_of_the_loss_that_imbalance_brings_can_be_set():
    fields = {"objective.terms.WeightedCrossEntropy.w0": "10", "objective.terms.WeightedCrossEntropy.sigma": "3"}
    asked = ["cells", "resnet8_w16", None, "none", "cpu"]
    (term,) = verbs.ask(*asked, task="segment", imbalance="weights", fields=fields).asked.recipe.objective.terms
    assert (term.w0, term.sigma, term.by) == (10, 3, "inverse")
    with pytest.raises(MisuseError, match=r"WeightedCrossEntropy\.by=none is given too; leave one out"):
        verbs.ask(*asked, task="segment", imbalance="weights", fields={"objective.terms.WeightedCrossEntropy.by": "none"})
    with pytest.raises(MisuseError, match="WeightedCrossEntropy"):
        verbs.ask(*asked, task="segment", fields=fields)


@pytest.mark.slow
def test_class_weights_are_counted_in_pixels(data):
    choice = verbs.ask(str(data), "resnet8_w16", weights="none", device="cpu", imbalance="weights", fields=QUICK)
    term = prepare(choice.asked).recipe.objective.terms[0]
    weights = term.by_class()
    assert sum(term.counts) == pytest.approx(11)  # training pictures
    assert float((weights * torch.tensor(term.counts)).sum()) == pytest.approx(11, rel=1e-5)
    assert weights[0] < weights[1]  # most pixels are background


# --- weights of classifiers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", few(["train", "finetune"]))
def test_the_weights_of_a_classifier_go_into_the_backbone(verb, data, tmp_path):
    torch.manual_seed(1)
    classifier = network_named("resnet8_w16").blueprint.build()
    save_model(tmp_path / "a.safetensors", classifier, About(classes=tuple(map(str, range(1000)))))
    if verb == "train":
        choice = verbs.ask(str(data), "resnet8_w16", weights=str(tmp_path / "a.safetensors"), device="cpu", fields=QUICK)
    else:
        choice, _ = verbs.ask_further(tmp_path / "a.safetensors", str(data), device="cpu", fields=QUICK)
    assert choice.asked.recipe_name == "segment"
    dense = choice.asked.assembled().build()
    prepared = prepare(choice.asked)
    from paretina.train.starting import first_values

    network = prepared.model.build()
    loaded = first_values(network, prepared.start, prepared.collection.classes)
    assert (loaded.new, loaded.left) == (("head",), ("head",))
    for name, tensor in classifier.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(network.state_dict()[name], tensor), name
    # and back: the weights of a segmenter into a classifier
    save_model(tmp_path / "b.safetensors", dense, About(classes=tuple(map(str, range(1000))), task=Places()))
    again, _ = verbs.ask_further(tmp_path / "b.safetensors", "shapes", device="cpu", fields={"size": "32"})
    assert (again.asked.recipe_name, again.asked.model.head) == ("finetune", PoolHead())


# --- a run -------------------------------------------------------------------------------------------------------------------


def test_a_run_learns_and_says_what_its_logits_mean(run):
    metrics = run.result()["metrics"]
    assert metrics["val/pixel_accuracy"] > 70
    assert {f"val/{name}" for name in ("ap", "ap50", "ap75", "seg", "det", "iou", "dice")} <= metrics.keys()
    assert load_model(run.path / "model.safetensors")[1].task == Instances()
    assert run.result()["objects"]["objects"] == 8
    with (run.path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["objects"] for row in rows] == ["2"] * 4


def test_the_report_shows_answers_and_classes(run):
    page = verbs.report([run.path]).written[0].read_text()
    shown = json.loads((run.path / "overlays.json").read_text())
    assert len(shown) == 4
    assert page.count("picture, mask and answer") == 4
    assert shown[0]["picture"] in page
    legend = page[page.index('<div class="legend">', page.index("Some answers")) :]
    assert legend.index("#e69f00") < legend.index("</i>inside") < legend.index("#56b4e9") < legend.index("</i>border")
    assert "</i>background" not in page
    assert re.search(r"Classes of pixels.*background.*inside.*border", page, re.DOTALL)


def test_other_masks_without_splits_are_judged_whole(run, tmp_path):
    found = verbs.evaluate(run.path, str(drawn(tmp_path / "other", 7)), device="cpu")
    assert (found.split, found.n) == ("all", 7)


def test_evaluate_finds_what_the_run_found(run, data):
    ended = called("evaluate", run.path, data, "--device", "cpu")
    assert ended.exit_code == 0, ended.output
    for title in ("AP at IoU 0.5 to 0.95", "AP at IoU 0.5 ", "SEG", "DET", "mean IoU", "mean Dice", "pixel accuracy"):
        assert title in ended.output
    assert f"{run.result()['metrics']['val/seg']:.1f} %" in ended.output


def test_predict_writes_masks_and_overlays_of_the_size_of_the_picture(run, data, tmp_path):
    given = (data / "images" / "00.png", data / "images" / "01.png")
    ended = called(
        "predict", run.path, *given, "--masks", tmp_path / "m", "--overlays", tmp_path / "o", "--csv", tmp_path / "a.csv"
    )
    assert ended.exit_code == 0, ended.output
    counts = [int(found) for found in re.findall(r"(\d+) objects?", ended.output)]
    for number, count in enumerate(counts):
        mask = opened(tmp_path / "m" / f"0{number}.png")
        assert mask.size == (40, 36)
        assert mask.mode.startswith("I")
        assert int(np.asarray(mask).max()) == count
        assert opened(tmp_path / "o" / f"0{number}.png").size == (40, 36)
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["objects"]) for row in rows] == counts
    assert sum(float(rows[0][name]) for name in ("background", "inside", "border")) == pytest.approx(1.0)


def test_predict_never_writes_over_a_picture(run, data, tmp_path):
    before = (data / "images" / "00.png").read_bytes()
    ended = called("predict", run.path, data / "images" / "00.png", "--masks", data / "images")
    assert ended.exit_code == 2
    assert "would write over the picture" in ended.output
    assert (data / "images" / "00.png").read_bytes() == before
    ended = called("predict", run.path, data / "images", "--masks", tmp_path / "x", "--overlays", tmp_path / "x")
    assert "--masks and --overlays are two folders" in ended.output


def test_a_classifier_writes_no_masks(tmp_path):
    torch.manual_seed(0)
    save_model(tmp_path / "a.safetensors", network_named("resnet8_w16").blueprint.build(), About(tuple(map(str, range(1000)))))
    PIL.Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(MisuseError, match="--masks is for a class for each pixel"):
        verbs.predict(tmp_path / "a.safetensors", [tmp_path / "a.png"], masks=tmp_path / "m")


def test_serve_says_that_it_is_for_whole_pictures(run):
    with pytest.raises(ValueError, match="serve is for classes of whole pictures"):
        served_of(answering(run.path))


@pytest.mark.slow
def test_a_shipped_file_gives_the_same_masks(run, data, tmp_path):
    pytest.importorskip("onnxruntime")
    ended = called("ship", run.path, "--to", "onnx", "--out", tmp_path / "a.onnx", "--seconds", "0")
    assert ended.exit_code == 0, ended.output
    picture = data / "images" / "00.png"
    for model, folder in ((run.path, "a"), (tmp_path / "a.onnx", "b")):
        assert called("predict", model, picture, "--masks", tmp_path / folder).exit_code == 0
    assert (tmp_path / "a" / "00.png").read_bytes() == (tmp_path / "b" / "00.png").read_bytes()
    wanted, found = (verbs.evaluate(model, str(data)).to_dict() for model in (run.path, tmp_path / "a.onnx"))
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, abs=0.5), name


@pytest.mark.slow
def test_classes_keep_their_numbers_in_masks(tmp_path):
    data = drawn(tmp_path / "cells", 10, deep=False)
    (data / "classes.txt").write_text("ground\nbright\ndark\n")
    fields = {name.replace(".", "__"): value for name, value in QUICK.items()}
    run = verbs.train(str(data), "resnet8_w16", weights="none", device="cpu", output=tmp_path / "run", **fields)
    found = verbs.predict(run.path, [data / "images"], masks=tmp_path / "m", device="cpu")
    assert {name for name, _ in found.predictions[0].answers} == {"ground", "bright", "dark"}
    mask = opened(tmp_path / "m" / "00.png")
    assert mask.mode == "P"
    share = dict(found.predictions[0].answers)["bright"]
    assert (np.asarray(mask) == 1).mean() == pytest.approx(share)
