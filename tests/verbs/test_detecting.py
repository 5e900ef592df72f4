"""Boxes from the first command to the last: what is chosen, trained, evaluated, written and refused."""

import base64
import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.cli.evaluate import figure_lines
from paretina.data.sources.cells import Cells
from paretina.data.sources.coco import Coco
from paretina.data.sources.ignoring import Ignoring
from paretina.data.sources.several import Set, Several
from paretina.measure.cost import cost
from paretina.measure.judges.box_precision import BoxPrecision
from paretina.model.family import network_named
from paretina.model.heads.faster_rcnn import FasterHead
from paretina.model.heads.fcos import FcosHead
from paretina.model.heads.pyramid import PyramidHead
from paretina.model.heads.retina import RetinaHead
from paretina.model.tasks.boxes import EVERY, Boxes
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
NO_LARGER = (
    "no object is medium (32 x 32 to 96 x 96 pixels) or large (96 x 96 pixels and more), so AP is not said for these sizes"
)
DATA = Cells(looks=("bright",), train=8, val=4, size=40, labels="boxes")


def quick(**more):
    return {name.replace(".", "__"): value for name, value in {**QUICK, **more}.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("boxes") / "run"
    return verbs.train(DATA, "resnet8_w16_s2", weights="none", device="cpu", output=path, **quick())


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """A folder of COCO with cats and dogs, a cat on the left and a dog on the right of each picture."""
    place = tmp_path_factory.mktemp("boxes") / "animals"
    (place / "images").mkdir(parents=True)
    for number in range(8):
        picture = PIL.Image.new("RGB", (40, 40), (90, 90, 90 + number))
        picture.paste((220, 40, 40), (4, 8, 16, 30))
        picture.paste((40, 40, 220), (24, 8, 36, 30))
        picture.save(place / "images" / f"{number}.png")
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(8)]
    left, right = [4, 8, 12, 22], [24, 8, 12, 22]
    pairs = ((1, left), (2, right))
    objects = [{"image_id": n, "category_id": label, "bbox": box} for n in range(8) for label, box in pairs]
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (place / "annotations.json").write_text(json.dumps({"images": images, "annotations": objects, "categories": names}))
    return place


def test_objects_of_a_class_to_ignore_are_neither_found_nor_missed(animals, tmp_path):
    found = verbs.train(
        str(animals),
        "resnet8_w16_s2",
        weights="none",
        device="cpu",
        output=tmp_path / "run",
        ignore=["dog"],
        **quick(epochs="1"),
    )
    result = found.result()
    assert result["classes"] == ["cat"]
    assert result["boxes"]["objects"] == result["data"]["val"]
    said = "ignored 1 class (dog), whose objects are neither to be found nor missed"
    assert said in " ".join(found.asked()["notes"] + result["data"]["notes"])
    again = verbs.evaluate(found.path, str(animals), device="cpu")
    assert again.judged.metrics["val/ap"] == pytest.approx(result["metrics"]["val/ap"], abs=1e-3)
    assert again.judged.details["boxes"]["objects"] == result["boxes"]["objects"]
    with pytest.raises(MisuseError, match=r"there is no class 'dgo' to ignore, did you mean 'dog'|no class 'dgo' to ignore"):
        verbs.ask(str(animals), "resnet8_w16_s2", weights="none", device="cpu", ignore=["dgo"])


def test_what_is_found_where_a_class_is_ignored_is_no_mistake(animals):
    collection = Ignoring(source=Coco(path=str(animals)), classes=("cat",)).open()
    target = collection.target(collection.split("val")[0])
    assert collection.classes == ("dog",)
    assert target[:, 4].tolist() == [EVERY, 0]
    assert target[:, 5].tolist() == [0, 1]
    tally = BoxPrecision().start(1)
    answers = torch.zeros(1, 1, 3, 5)
    answers[0, 0, 0] = torch.tensor([0.1, 0.2, 0.4, 0.75, 0.9])  # the cat
    answers[0, 0, 1] = torch.tensor([0.6, 0.2, 0.9, 0.75, 0.5])
    tally.add(answers, Boxes().targets([target], 1), torch.tensor([0]))
    assert tally.quick()["ap"] == pytest.approx(100)
    tally.add(answers, Boxes().targets([target[1:]], 1), torch.tensor([0]))
    assert tally.quick()["ap"] == pytest.approx(50)


def test_a_region_of_a_class_that_is_not_learned_is_ignored_for_all_classes():
    tally = BoxPrecision().start(3)
    label = torch.tensor([[0.0, 0, 0.5, 1, EVERY, 0], [0.6, 0.6, 0.9, 0.9, 2, 1]])
    answers = torch.zeros(1, 3, 2, 5)
    answers[0, 2, 0] = torch.tensor([0.1, 0.2, 0.4, 0.75, 0.9])
    answers[0, 2, 1] = torch.tensor([0.6, 0.6, 0.9, 0.9, 0.5])
    tally.add(answers, Boxes().targets([label], 3), torch.tensor([0]))
    assert tally.quick()["ap"] == pytest.approx(100)
    assert tally.judged(("a", "b", "c")).details["boxes"]["objects"] == 1


def test_several_sets_of_boxes_are_one_source(animals):
    one, two = Set(name="a", source=Coco(path=str(animals))), Set(name="b", source=Coco(path=str(animals), most=7))
    source = Several(sets=(one, two))
    assert source.boxed()
    found = source.open()
    assert found.task == Boxes(most=100)
    assert found.classes == ("cat", "dog")
    assert {sample.name.partition("/")[0] for sample in found.split("val")} == {"a", "b"}
    assert [found.target(sample)[:, 4].tolist() for sample in found.split("val")] == [[0, 1]] * len(found.split("val"))
    assert Ignoring(source=source, classes=("dog",)).open().target(found.split("val")[-1])[:, 4].tolist() == [0, EVERY]
    masks = Several(sets=(Set(name="a", source=Cells(train=2, val=1)), Set(name="b", source=Cells(train=1, val=1))))
    assert masks.asked_for("detect").boxed()
    assert masks.asked_for("classify") is None
    mixed = replace(two, source=Ignoring(source=two.source, classes=("dog",)))
    with pytest.raises(ValueError, match=r"of the same kind and classes, and those of b \(objects, each with a box: cat\)"):
        Several(sets=(one, mixed)).open()


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
    assert "the head is now FcosHead, since each object has a box" in choice.said
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


def test_a_detector_is_no_teacher(run):
    with pytest.raises(MisuseError, match=r"the task of .*objects, each with a box; distilling is for classes of pictures or"):
        verbs.distill(run.path, DATA, "resnet8_w16_s2")
    with pytest.raises(ValueError, match="one class a picture, and this data has objects, each with a box; name other"):
        verbs.data_more(DATA, "resnet8_w16_s2")


def test_a_run_has_the_figures_of_coco(run):
    result = run.result()
    assert {"val/ap", "val/ap50", "val/ap75", "val/ar", "val/loss"} <= set(result["metrics"])
    assert [each["name"] for each in result["boxes_per_class"]] == ["cell"]
    assert {"val/ap_small", "val/ap_small_low", "val/ap_small_high"} <= set(result["metrics"])
    assert not {"val/ap_medium", "val/ap_large"} & set(result["metrics"])
    assert NO_LARGER in result["data"]["notes"]
    assert result["shown"]["title"] == "AP of boxes"
    with (run.path / "predictions.csv").open() as file:
        assert list(csv.DictReader(file).fieldnames) == ["name", "objects", "answers", "found"]
    page = (run.path / "report.html").read_text()
    assert "AP, below 32 x 32 pixels" in page
    assert "no object is medium" in page
    assert re.search(r'href="#boxes".*<section id="boxes">.*Classes of objects.*<td>cell</td>', page, re.DOTALL)


def test_the_report_shows_objects_and_answers_in_the_colours_of_their_classes(run, animals, tmp_path):
    shown = json.loads((run.path / "overlays.json").read_text())
    page = (run.path / "report.html").read_text()
    assert len(shown) == min(8, run.result()["data"]["val"])
    assert all(each["picture"] in page for each in shown)
    assert page.count("objects and answer") == len(shown)
    assert "with a score of at least 0.5" in page
    assert '<i class="swatch" style="background:#e69f00"></i>cell' in page
    two = verbs.train(
        str(animals), "resnet8_w16_s2", weights="none", device="cpu", output=tmp_path / "two", **quick(epochs="1", size="40")
    )
    (first, *_) = json.loads((two.path / "overlays.json").read_text())
    picture = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(first["picture"].partition(",")[2]))))
    assert picture.shape == (40, 84, 3)
    truth = picture[:, :40].reshape(-1, 3).tolist()
    for colour in ([230, 159, 0], [86, 180, 233]):  # a cat and a dog, of which both are in each picture
        assert truth.count(colour) > 40
    page = (two.path / "report.html").read_text()
    assert page.index("background:#e69f00") < page.index("</i>cat") < page.index("background:#56b4e9") < page.index("</i>dog")


def test_one_picture_has_no_interval(run):
    found = verbs.evaluate(run.path, replace(DATA, val=1), device="cpu").judged.metrics
    assert found["val/ap"] is not None
    assert (found["val/ap_low"], found["val/ap_high"]) == (None, None)


def test_the_model_file_gives_the_same_figures_again(run):
    found = verbs.evaluate(run.path, DATA, device="cpu")
    assert NO_LARGER in found.notes
    assert re.search(r"AP, below 32 x 32 pixels +\d+\.\d %  \[", "\n".join(figure_lines(found)))
    again = found.judged.metrics
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
