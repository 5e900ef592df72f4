"""Teachers, learning without labels, judging features, ensembles and self-training, as a user calls them."""

import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from paretina import verbs
from paretina.cli import main
from paretina.measure.neighbours import recalls, voted
from paretina.model.assemblies.committee import Committee
from paretina.model.tasks.nothing import Nothing
from paretina.model.weights import load_model
from paretina.verbs.checks import MisuseError
from paretina.verbs.selftraining import SelfTrained, SelfTrainingRound, check_same, own_place
from tiny import row, tiny_blueprint

STUDENT = "resnet8_w16_s2"
TINY = ["--device", "cpu", "size=16", "model.resolution=16", "epochs=2", "batch_size=8", "workers=0", "precision=float32"]


def draw(path, level, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 60, (24, 24, 3))
    PIL.Image.fromarray((noise + level).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("learning")
    for split, count in (("train", 10), ("val", 6)):
        for number in range(count):
            draw(root / "photos" / split / "dark" / f"{number}.png", 0, number)
            draw(root / "photos" / split / "light" / f"{number}.png", 150, 50 + number)
    for number in range(12):
        draw(root / "loose" / f"{number}.png", 150 * (number % 2), 100 + number)
    fields = {"size": 16, "epochs": 6, "batch_size": 8, "workers": 0, "lr": 0.01, "precision": "float32"}
    for name, seed in (("teacher", 0), ("other", 1)):
        network = tiny_blueprint(row(1, 8 if seed else 16, 2))
        verbs.train(str(root / "photos"), network, "plain", "none", "cpu", root / name, planning="default", seed=seed, **fields)
    return root


def run(*words, code=0):
    ended = CliRunner().invoke(main, [str(word) for word in words], prog_name="paretina")
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    assert ended.exit_code == code, ended.output
    return ended


# --- distill ------------------------------------------------------------------------------------------------------------------


def test_a_student_learns_from_a_teacher(home, tmp_path):
    ended = run("distill", home / "teacher", "--model", STUDENT, *TINY, "--output", tmp_path / "run", "--json")
    said = json.loads(ended.stdout)
    assert "val/top1" in said["metrics"]
    asked = json.loads((tmp_path / "run" / "asked.json").read_text())
    assert asked["recipe_name"] == "distill"
    assert asked["recipe"]["teacher"].endswith("model.safetensors")


@pytest.mark.slow
def test_pictures_without_labels_are_judged_on_others(home, tmp_path):
    words = ["distill", home / "teacher", home / "loose", "--val", home / "photos", "--model", STUDENT, *TINY]
    ended = run(*words, "--output", tmp_path / "run")
    assert "12 of 12 training pictures have no label" in " ".join(ended.stderr.split())
    assert "top-1" in ended.stdout
    assert "on 12 validation pictures\n" in ended.stdout
    assert json.loads((tmp_path / "run" / "result.json").read_text())["on_train"] is None  # none of its pictures has a label


@pytest.mark.slow
def test_without_labelled_pictures_the_loss_is_judged(home, tmp_path):
    ended = run("distill", home / "teacher", home / "loose", "--model", STUDENT, *TINY, "--output", tmp_path / "run")
    assert "top-1" not in ended.stdout
    _, about = load_model(tmp_path / "run" / "model.safetensors")
    assert about.classes == ("dark", "light")
    # what the teacher's classes are, the student's are
    assert "dark" in run("predict", tmp_path / "run", home / "loose").stdout


def test_folders_that_are_not_the_teachers_classes_are_told(home, tmp_path):
    draw(tmp_path / "photos" / "dark" / "1.png", 0, 1)
    draw(tmp_path / "photos" / "lihgt" / "2.png", 150, 2)
    choice = verbs.ask_distilled(home / "teacher", str(tmp_path / "photos"), STUDENT, weights="none", device="cpu")
    assert type(choice.asked.data).__name__ == "Unlabelled"
    assert "are not the teacher's classes (no folder for light; folders lihgt)" in choice.said[0]


def with_masks(place):
    for number in range(4):
        draw(place / "images" / f"{number}.png", 150 * (number % 2), number)
        (place / "masks").mkdir(exist_ok=True)
        mask = np.zeros((24, 24), np.uint8)
        mask[:12] = 1 + number % 2
        PIL.Image.fromarray(mask).save(place / "masks" / f"{number}.png")
    return place


def as_table(place, home, classes):
    rows = [f"{path},{classes[path.parent.name]}" for path in sorted((home / "photos" / "train").glob("*/*.png"))]
    (place / "pictures.csv").write_text("\n".join(["path,label", *rows, ""]))
    return place / "pictures.csv"


def test_of_a_folder_with_masks_the_pictures_alone_are_learned_from(home, tmp_path):
    place = with_masks(tmp_path / "cells")
    student = verbs.ask_distilled(home / "teacher", str(place), STUDENT, weights="none", device="cpu")
    assert "has one class a pixel, unlike the teacher, so its labels are not used" in student.said[0]
    for choice in (student, verbs.ask_pretrained(str(place), STUDENT, device="cpu")):
        found = choice.asked.data.open()
        names = [sample.name for samples in found.splits.values() for sample in samples]
        assert len(names) == 4
        assert not any("masks" in name for name in names)
        assert found.image(found.split("train")[0]).shape == (3, 24, 24)
        assert found.task == Nothing()


def test_data_of_any_form_are_learned_from_with_the_labels_of_the_teacher_or_without(home, tmp_path):
    same = as_table(tmp_path, home, {"dark": "dark", "light": "light"})
    choice = verbs.ask_distilled(home / "teacher", str(same), STUDENT, weights="none", device="cpu")
    assert type(choice.asked.data).__name__ == "Table"
    other = as_table(tmp_path, home, {"dark": "night", "light": "day"})
    choice = verbs.ask_distilled(home / "teacher", str(other), STUDENT, weights="none", device="cpu")
    assert "has the classes day, night, unlike the teacher, so its labels are not used" in choice.said[0]
    made = verbs.distill(
        home / "teacher",
        str(other),
        STUDENT,
        weights="none",
        device="cpu",
        output=tmp_path / "run",
        epochs=1,
        size=16,
        workers=0,
    )
    with pytest.raises(MisuseError, match=r"training used the pictures of .*pictures.csv alone, .*its classes \(dark, light\)"):
        verbs.evaluate(made.path, str(other))
    found = choice.asked.data.open()
    assert found.classes == ("dark", "light")
    assert found.task == Nothing()
    assert {sample.label for samples in found.splits.values() for sample in samples} == {0}
    assert any(
        re.match(r"labels are not used: 20 pictures, of which \d are held out for the loss", note) for note in found.notes
    )


def test_a_teacher_of_pixels_needs_masks_and_learns_them(home, tmp_path):
    place = with_masks(tmp_path / "cells")
    quick = {"size": 16, "epochs": 1, "batch_size": 2, "workers": 0, "precision": "float32", "head.width": 8, "head.finest": 1}
    verbs.train(str(place), STUDENT, "segment", "none", "cpu", tmp_path / "teacher", planning="default", **quick)
    with pytest.raises(MisuseError, match=r"the teacher's answers are one class a pixel, and .*photos has no masks; name data"):
        verbs.ask_distilled(tmp_path / "teacher", str(home / "photos"), STUDENT, weights="none", device="cpu")
    made = verbs.distill(
        tmp_path / "teacher", str(place), STUDENT, weights="none", device="cpu", output=tmp_path / "run", **quick
    )
    assert "val/iou" in made.result()["metrics"]


def test_the_teacher_sees_the_same_part_in_more_pixels(home):
    choice = verbs.ask_distilled(
        home / "teacher", None, STUDENT, teacher_size=32, weights="none", device="cpu", fields={"size": 16}
    )
    recipe = choice.asked.recipe
    assert [(view.own, view.scale) for view in recipe.views] == [(True, 1.0), (False, 2.0)]
    assert recipe.objective.terms[0].view == 1


@pytest.mark.parametrize("name", ["answers.npz", "answers.csv", "logits.pt"])
def test_fixed_teachers_are_refused_with_the_reason(home, tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    ended = run("distill", tmp_path / name, home / "photos", "--model", STUDENT, code=2)
    assert "belong to other views of the pictures than the student's" in " ".join(ended.stderr.split())


def test_a_shipped_teacher_is_refused_with_the_reason(home, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"")
    ended = run("distill", tmp_path / "a.onnx", home / "photos", "--model", STUDENT, code=2)
    assert "prepares its own pixels" in " ".join(ended.stderr.split())


def test_the_student_must_be_named(home):
    ended = run("distill", home / "teacher", code=2)
    assert "--model" in ended.stderr


# --- pretrain and probe -------------------------------------------------------------------------------------------------------

BYOL = ["objective.hidden=8", "objective.width=4"]


@pytest.mark.slow
def test_pretrains_without_labels_then_probes_and_fine_tunes_on_a_share(home, tmp_path):
    words = ["pretrain", home / "loose", "--model", STUDENT, *TINY, *BYOL, "--output", tmp_path / "run"]
    ended = run(*words)
    assert "labels are not used" in " ".join(ended.stderr.split())
    found = json.loads(run("probe", tmp_path / "run", home / "photos", "--untrained", "--json").stdout)
    assert found["train"] == 20
    assert found["val"] == 12
    assert 0 <= found["linear_low"] <= found["linear"] <= found["linear_high"] <= 100
    assert set(found["recall"]) == {"1", "2", "4", "8"}
    assert found["untrained"]["linear"] is not None
    text = run("probe", tmp_path / "run", home / "photos").stdout
    assert f"linear classifier {found['linear']:.1f} %" in text
    ended = run("finetune", tmp_path / "run", home / "photos", "--labels", 0.5, *TINY, "--output", tmp_path / "tuned")
    assert "kept 10 of 20 training pictures" in " ".join(ended.stderr.split())


@pytest.mark.slow
def test_labels_are_watched_where_there_are_any(home, tmp_path):
    ended = run("pretrain", home / "photos", "--model", STUDENT, *TINY, *BYOL, "--output", tmp_path / "run")
    assert "top-1" in ended.stdout


def test_probing_needs_labels(home):
    ended = run("probe", home / "teacher", "data", code=2)
    assert "there is no folder 'data'" in ended.stderr


def test_votes_of_neighbours():
    known, labels = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    votes = voted(known, labels, torch.tensor([[2.0, 0.0], [0.0, 3.0]]), 2, 3)
    assert votes.argmax(1).tolist() == [0, 1]
    # the nearest has the weight 1
    assert votes[1, 1].item() == pytest.approx(1.0)


def test_recalls_by_hand():
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    assert recalls(features, torch.tensor([0, 0, 1, 1]))[1] == 100.0
    # each has the other class nearest, then one of its own
    crossed = recalls(features, torch.tensor([0, 1, 0, 1]))
    assert crossed[1] == 0.0
    assert crossed[4] == 100.0


# --- ensemble -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_ensemble_answers_with_the_mean(home, tmp_path):
    out = tmp_path / "both.safetensors"
    ended = run("ensemble", home / "teacher", home / "other", "--out", out)
    assert "2 networks" in ended.stdout
    network, about = load_model(out)
    assert isinstance(network.model, Committee)
    assert about.classes == ("dark", "light")
    images = torch.randint(256, (3, 3, 16, 16), dtype=torch.uint8)
    each = [load_model(home / name / "model.safetensors")[0](images) for name in ("teacher", "other")]
    torch.testing.assert_close(network(images), torch.stack(each).mean(0))
    assert "top-1" in run("evaluate", out, home / "photos").stdout
    run("distill", out, home / "photos", "--model", STUDENT, *TINY, "--output", tmp_path / "run")


def test_models_that_differ_are_named(home, tmp_path):
    network = tiny_blueprint(row(1, 8, 2))
    fields = {"size": 24, "model.resolution": 24, "epochs": 1, "workers": 0}
    verbs.train(str(home / "photos"), network, "plain", "none", "cpu", tmp_path / "larger", planning="default", **fields)
    ended = run("ensemble", home / "teacher", tmp_path / "larger", "--out", tmp_path / "a.safetensors", code=1)
    assert "differ in resolution: 24 and 16; the members of an ensemble must not" in " ".join(ended.stderr.split())
    assert not (tmp_path / "a.safetensors").exists()


def test_one_model_is_no_ensemble(home, tmp_path):
    ended = run("ensemble", home / "teacher", "--out", tmp_path / "a.safetensors", code=2)
    assert "needs two models or more, got 1" in ended.stderr


def test_evaluate_gives_recall_among_its_pictures_as_probe_does(home):
    found = verbs.evaluate(home / "teacher", str(home / "photos"), device="cpu", recall=True)
    probed = verbs.probe(home / "teacher", device="cpu")
    assert found.recall == probed.own.recall
    assert set(found.to_dict()["recall"]) == {"1", "2", "4", "8"}
    assert (
        "recall among the pictures: at 1 "
        in run("evaluate", home / "teacher", home / "photos", "--device", "cpu", "--recall").stdout
    )
    assert verbs.evaluate(home / "teacher", str(home / "photos"), device="cpu").recall is None


# --- selftrain ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("order", ["random", "fixed", pytest.param("greedy", marks=pytest.mark.slow)])
def test_rounds_are_trained_and_told(home, tmp_path, order):
    words = ["selftrain", home / "teacher", home / "loose", "--order", order, "--rounds", 2, *TINY[:2], *TINY[4:], "epochs=1"]
    words = [word for word in words if word != "epochs=2"]
    found = json.loads(run(*words, "--output", tmp_path / "out", "--json").stdout)
    assert len(found["rounds"]) == 2
    assert all(each["pseudo"] == 12 for each in found["rounds"])
    phases = {each["phase"] for each in found["rounds"]}
    assert phases <= ({"both"} if order == "fixed" else {"labelled", "pseudo"})
    assert json.loads((tmp_path / "out" / "selftrained.json").read_text()) == found


@pytest.mark.slow
def test_an_interrupted_self_training_continues_with_the_same_result(home, tmp_path):
    given = {"rounds": 3, "device": "cpu", "epochs": 1, "batch_size": 4, "threads": 1, "workers": 0, "seed": 1}
    whole = verbs.selftrain(home / "teacher", str(home / "loose"), output=tmp_path / "whole", **given)
    rounds = []

    def stop(line):
        if line["event"] == "start":
            rounds.append(line)
            if len(rounds) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verbs.selftrain(home / "teacher", str(home / "loose"), output=tmp_path / "out", listen=stop, **given)
    first = (tmp_path / "out" / "round-1" / whole.rounds[0].phase / "result.json").stat().st_mtime_ns
    assert not (tmp_path / "out" / "round-3").exists()
    with pytest.raises(MisuseError, match="holds a self-training with another order: random there, fixed here"):
        verbs.selftrain(home / "teacher", str(home / "loose"), order="fixed", output=tmp_path / "out", **given)
    again = verbs.selftrain(home / "teacher", str(home / "loose"), output=tmp_path / "out", **given)
    assert (tmp_path / "out" / "round-1" / whole.rounds[0].phase / "result.json").stat().st_mtime_ns == first
    assert [(each.phase, each.top1, each.pseudo) for each in again.rounds] == [
        (each.phase, each.top1, each.pseudo) for each in whole.rounds
    ]
    weights = [load_file(each.rounds[-1].run / "model.safetensors") for each in (whole, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_pictures_of_any_form_get_labels(home, tmp_path):
    table = as_table(tmp_path, home, {"dark": "night", "light": "day"})
    given = {"rounds": 1, "order": "fixed", "confidence": 0.0, "device": "cpu", "epochs": 1, "batch_size": 4, "workers": 0}
    for place, count in ((table, 20), (with_masks(tmp_path / "cells"), 4)):
        found = verbs.selftrain(home / "teacher", str(place), output=tmp_path / f"out-{count}", **given)
        assert found.rounds[0].pseudo == count


def test_without_an_output_other_arguments_get_the_next_directory(home, tmp_path):
    run_of = tmp_path / "teacher"
    asked = {"run": "r", "pictures": {"kind": "Unlabelled", "path": "loose"}, "order": "random"}
    other = {**asked, "pictures": {"kind": "Unlabelled", "path": "uneven", "classes": ["a"]}}
    first = own_place(run_of, asked)
    assert first == tmp_path / "teacher-selftrained"
    check_same(first, asked, None)
    assert own_place(run_of, asked) == first  # which is continued
    assert own_place(run_of, other) == tmp_path / "teacher-selftrained-2"
    with pytest.raises(MisuseError) as error:
        check_same(first, other, None)
    said = str(error.value)
    assert "holds a self-training with other pictures: loose there, uneven here" in said
    assert "{" not in said


def test_it_is_said_where_an_earlier_round_was_better():
    def round_of(phase, top1):
        return SelfTrainingRound(phase, Path(f"r/{phase}"), (top1, top1 - 1, top1 + 1), 12)

    text = "\n".join(SelfTrained((40.0, 39.0, 41.0), (round_of("pseudo", 47.6), round_of("labelled", 38.1))).lines())
    assert "round 1: trained on the pictures that it labelled itself, 12 pseudo-labels: top-1 47.6 %" in text
    assert "round 1, r/pseudo/model.safetensors, was better: top-1 47.6 % against 38.1 %" in text
    start = "\n".join(SelfTrained((50.0, 49.0, 51.0), (round_of("labelled", 38.1),)).lines())
    assert "the model that it began with, was better: top-1 50.0 % against 38.1 %" in start
    assert "was better" not in "\n".join(SelfTrained((30.0, 29.0, 31.0), (round_of("labelled", 38.1),)).lines())


@pytest.mark.parametrize("command", ["pretrain", "selftrain", "probe"])
def test_a_folder_that_cannot_be_used_is_misuse_with_every_command(home, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    words = {"pretrain": ["pretrain"], "selftrain": ["selftrain", home / "teacher"], "probe": ["probe", home / "teacher"]}
    found = CliRunner().invoke(main, [*map(str, words[command]), "empty"])
    assert found.exit_code == 2, found.output


def test_no_confident_label_is_said(home, tmp_path):
    with pytest.raises(ValueError, match=r"no picture has a label of 0\.9999 or more; lower --confidence"):
        verbs.selftrain(home / "teacher", str(home / "loose"), confidence=0.9999, output=tmp_path / "out", device="cpu")


@pytest.mark.parametrize(
    ("given", "said"),
    [({"order": "rondom"}, "there is no order 'rondom'; there are: random"), ({"confidence": 1.0}, "in [0, 1)")],
)
def test_wrong_requests_leave_nothing(home, tmp_path, given, said):
    with pytest.raises(MisuseError) as error:
        verbs.selftrain(home / "teacher", str(home / "loose"), output=tmp_path / "out", **given)
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()
