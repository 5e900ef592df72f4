"""Boxes from the first command to the last: what is chosen, trained, evaluated, written and refused."""

import csv
import json

import PIL.Image
import pytest
import torch
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.data.sources.cells import Cells
from paretina.measure.cost import cost
from paretina.model.family import network_named
from paretina.model.heads.faster_rcnn import FasterHead
from paretina.model.heads.fcos import FcosHead
from paretina.model.heads.pyramid import PyramidHead
from paretina.model.heads.retina import RetinaHead
from paretina.model.tasks.boxes import Boxes
from paretina.model.weights import About, load_model, save_model
from paretina.verbs.checks import MisuseError

SIDE = 32
QUICK = {
    "epochs": "2",
    "batch_size": "4",
    "size": str(SIDE),
    "workers": "0",
    "head.width": "32",
}
DATA = Cells(looks=("bright",), train=8, val=4, size=40, labels="boxes")


def quick(**more):
    return {name.replace(".", "__"): value for name, value in {**QUICK, **more}.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("boxes") / "run"
    return verbs.train(DATA, "resnet8_w16_s2", weights="none", device="cpu", output=path, **quick())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures that are not square."""
    place = tmp_path_factory.mktemp("boxes") / "pictures"
    place.mkdir()
    collection = DATA.open()
    for number, sample in enumerate(collection.split("val")[:2]):
        pixels = collection.image(sample).permute(1, 2, 0).numpy()
        PIL.Image.fromarray(pixels).resize((60, 40)).save(place / f"{number}.png")
    return place


def called(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="paretina")


def test_the_task_chooses_labels_head_and_recipe():
    choice = verbs.ask("cells", "resnet8_w16_s2", weights="none", device="cpu", task="detect")
    assert choice.asked.data == Cells(labels="boxes")
    assert choice.asked.model.head == FcosHead()
    assert choice.asked.recipe_name == "detect"
    other = verbs.ask("cells", "resnet8_w16_s2", weights="none", device="cpu", task="segment")
    assert other.asked.model.head == PyramidHead()
    fields = {"head": "FasterHead", "head.proposals": "50"}
    given = verbs.ask("cells", "resnet8_w16_s2", weights="none", device="cpu", task="detect", fields=fields)
    assert given.asked.model.head == FasterHead(proposals=50)


def test_auto_chooses_for_boxes():
    asked = verbs.ask("cells", device="cpu", weights="none", task="detect").asked
    assert (asked.recipe_name, asked.model.head) == ("detect", FcosHead())


def test_data_without_boxes_is_refused():
    with pytest.raises(MisuseError, match="--task detect is for pictures with boxes, and shapes has a class for each picture"):
        verbs.ask("shapes", "resnet8_w16_s2", task="detect")
    with pytest.raises(MisuseError, match="--imbalance is not for objects with boxes"):
        verbs.ask("cells", "resnet8_w16_s2", task="detect", imbalance="weights")


@pytest.mark.parametrize("head", [RetinaHead(width=16, anchor=2.0), FasterHead(width=8, hidden=16, proposals=40, anchor=2.0)])
def test_the_other_heads_are_trained_by_the_same_command(head, tmp_path):
    fields = quick(epochs="1", head=head)
    del fields["head__width"]
    found = verbs.train(DATA, "resnet8_w16_s2", weights="none", device="cpu", output=tmp_path / "run", **fields)
    network, about = load_model(found.path / "model.safetensors")
    assert network.blueprint.head == head
    assert about.task == Boxes()
    assert found.result()["status"] == "done"


def test_a_run_has_the_figures_of_coco(run):
    result = run.result()
    assert {"val/ap", "val/ap50", "val/ap75", "val/ar", "val/loss"} <= set(result["metrics"])
    assert [each["name"] for each in result["boxes_per_class"]] == ["cell"]
    assert result["shown"]["title"] == "AP of boxes"
    with (run.path / "predictions.csv").open() as file:
        assert list(csv.DictReader(file).fieldnames) == ["name", "objects", "answers", "found"]
    assert "AP" in (run.path / "report.html").read_text()


def test_the_model_file_gives_the_same_figures_again(run):
    again = verbs.evaluate(run.path, DATA, device="cpu").judged.metrics
    before = run.result()["metrics"]
    assert again["val/ap"] == pytest.approx(before["val/ap"], abs=1e-3)
    assert again["val/loss"] == pytest.approx(before["val/loss"], abs=1e-4)
    # the labels of the source follow the model
    assert verbs.evaluate(run.path, Cells(looks=("bright",), train=8, val=4, size=40), device="cpu").judged.metrics[
        "val/ap"
    ] == pytest.approx(before["val/ap"], abs=1e-3)


def test_boxes_are_written_in_pixels_of_the_picture(run, folder, tmp_path):
    found = verbs.predict(run.path, [folder], csv=tmp_path / "a.csv", overlays=tmp_path / "drawn", score=0.0, device="cpu")
    assert len(found.predictions) == 2
    first = found.predictions[0]
    assert first.objects == len(first.boxes) > 0
    scores = [box.score for box in first.boxes]
    assert scores == sorted(scores, reverse=True)
    assert max(box.right for box in first.boxes) > 40.0  # of 60 columns
    for box in first.boxes:
        assert 0 <= box.left <= box.right <= 60.001
        assert 0 <= box.top <= box.bottom <= 40.001
    assert {"class", "score", "left", "top", "right", "bottom"} == set(found.to_dict()["predictions"][0]["boxes"][0])
    with (tmp_path / "a.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(each.objects for each in found.predictions)
    assert float(lines[0]["score"]) == pytest.approx(scores[0])
    with PIL.Image.open(tmp_path / "drawn" / "0.png") as image:
        assert image.size == (60, 40)
    none = verbs.predict(run.path, [folder], csv=tmp_path / "b.csv", score=1.0, device="cpu")
    assert [each.boxes for each in none.predictions] == [(), ()]
    with (tmp_path / "b.csv").open() as file:
        assert [line["class"] for line in csv.DictReader(file)] == ["", ""]


def test_the_command_predicts_and_prints(run, folder, tmp_path):
    shown = called("predict", run.path, folder, "--score", "0.0", "--json")
    assert shown.exit_code == 0, shown.output
    assert len(json.loads(shown.stdout)["predictions"]) == 2
    assert "object" in called("predict", run.path, folder).stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"masks": "x"}, "finds boxes, and --masks is for a class for each pixel"),
        ({"flips": True}, "--flips averages probabilities, and .* finds boxes"),
        ({"score": 2.0}, r"score is in \[0, 1\], got 2"),
    ],
)
def test_what_does_not_fit_boxes_is_refused(options, said, run, folder):
    with pytest.raises(MisuseError, match=said):
        verbs.predict(run.path, [folder], device="cpu", **options)


def test_a_score_is_for_boxes_only(folder, tmp_path):
    classifier = network_named("resnet8_w16").blueprint.build()
    save_model(tmp_path / "a.safetensors", classifier, About(classes=tuple(map(str, range(1000)))))
    with pytest.raises(MisuseError, match="finds no boxes, and --score is for these"):
        verbs.predict(tmp_path / "a.safetensors", [folder], score=0.5, device="cpu")


def test_the_weights_of_a_classifier_go_into_the_backbone(tmp_path):
    torch.manual_seed(1)
    classifier = network_named("resnet8_w16_s2").blueprint.build()
    save_model(tmp_path / "a.safetensors", classifier, About(classes=tuple(map(str, range(1000)))))
    choice, _ = verbs.ask_further(tmp_path / "a.safetensors", DATA, device="cpu")
    assert choice.asked.recipe_name == "detect"
    found = verbs.start(
        verbs.ask(
            DATA, "resnet8_w16_s2", weights=str(tmp_path / "a.safetensors"), device="cpu", fields={**QUICK, "lr": "1e-9"}
        ),
        tmp_path / "run",
    )
    network, _ = load_model(found.path / "model.safetensors")
    torch.testing.assert_close(network.stem.conv.weight, classifier.stem.conv.weight, atol=1e-5, rtol=0)
    assert "head" in " ".join(found.asked()["notes"])


def test_the_cost_of_finding_is_counted(run):
    network, _ = load_model(run.path / "model.safetensors")
    counted = cost(network.model)
    assert counted.stages[-1].name == "head"
    assert counted.stages[-1].macs > 0
    assert counted.uncounted == ()
    assert counted.params == sum(each.numel() for each in network.parameters())


def test_installed_weights_of_a_classifier_are_taken_for_boxes():
    choice = verbs.ask(DATA, "efficientnet_lite0", device="cpu", fields={"size": "64"})
    start, said = choice.asked.start()
    assert start is not None, said
