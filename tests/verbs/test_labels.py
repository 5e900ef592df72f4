"""Labels as they are: rare, several, ignored, in groups, and wrong, from the command line."""

import csv
import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

from covering import few
from paretina import verbs
from paretina.cli import main
from paretina.cli.evaluate import hardest
from paretina.model.weights import load_model
from paretina.run import Run
from paretina.serve.app import Served
from paretina.train import training
from paretina.verbs import labelling
from paretina.verbs.answering import answering
from paretina.verbs.revising import read_corrections
from paretina.verbs.serving import served_of

EVIL, COMMAS, BREAK, TURNED = "<script>alert(1)</script>", 'a, "b"', "line\nbreak", "\u202eright to left"
COLOURS = {COMMAS: (0, 0, 200), BREAK: (0, 200, 0), EVIL: (200, 0, 0), TURNED: (200, 200, 0), "unknown": (110, 110, 110)}
COUNTS = {COMMAS: 18, BREAK: 8, EVIL: 8, TURNED: 8, "unknown": 8}
FOLDERS = {EVIL: EVIL.replace("/", "∕")}
"""A file name cannot hold a slash."""

TINY = ["--model", "resnet18", "--weights", "none", "--device", "cpu", "model.stem.width=4", "model.stages.*.width=4"]
TINY += ["model.stages.*.depth=1", "size=32", "batch_size=8", "precision=float32", "workers=0", "epochs=1"]


def name_of(kind):
    return FOLDERS.get(kind, kind)


def run(*arguments, code=0):
    """What a command prints on standard output and standard error, after it ended with that code."""
    result = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="paretina")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, f"{result.exit_code}: {result.output}"
    return result.stdout, result.stderr


def picture(random, colour):
    return PIL.Image.fromarray((random.integers(0, 50, (16, 16, 3)) + np.array(colour)).astype(np.uint8))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with photos/, of which two training pictures have the wrong label."""
    home = tmp_path_factory.mktemp("labels")
    random = np.random.default_rng(0)
    for kind, colour in COLOURS.items():
        for split, count in (("train", COUNTS[kind]), ("val", 3)):
            folder = home / "photos" / split / name_of(kind)
            folder.mkdir(parents=True)
            for number in range(count):
                picture(random, colour).save(folder / f"{number}.png")
    for number, (label, colour) in enumerate(((EVIL, COLOURS[COMMAS]), (COMMAS, COLOURS[BREAK]))):
        picture(random, colour).save(home / "photos" / "train" / name_of(label) / f"wrong-{number}.png")
    pairs = [("class", "parent"), *((name_of(kind), "cold" if kind in (COMMAS, BREAK) else "warm") for kind in COLOURS)]
    with (home / "tree.csv").open("w", newline="") as file:
        csv.writer(file).writerows(pairs)
    return home


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)


@pytest.fixture(scope="module")
def features_by_colour():
    """In place of a trained network: the mean colour of a picture, so that the truth is known."""

    def by_colour(network, pictures, plan, size, classes=None):
        return torch.stack([pictures.image(number).float().mean((1, 2)) / 255 for number in range(len(pictures))])

    return by_colour


@pytest.fixture
def seen(monkeypatch, features_by_colour):
    network = SimpleNamespace(model=SimpleNamespace(resolution=32))
    monkeypatch.setattr(labelling, "feature_network", lambda model, source: (network, "colours", []))
    monkeypatch.setattr(labelling, "features", features_by_colour)
    monkeypatch.setattr(labelling, "check_side", lambda model, side: None)


WRONG = {f"train/{name_of(EVIL)}/wrong-0.png": (name_of(EVIL), COMMAS), f"train/{COMMAS}/wrong-1.png": (COMMAS, BREAK)}


# --- wrong labels -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("seen")
def test_wrong_labels_are_found_said_and_written(home):
    said, noted = run("data", "labels", "photos", "--csv", "labels.csv", "--html", "labels.html")
    lines = said.splitlines()
    assert lines[0] == "67 pictures of 5 classes, features of colours at 32 pixels, 5 folds"
    assert re.match(r"linear classifiers that did not see them agree with 9\d\.\d % of the labels \(", lines[1])
    assert lines[2].startswith("labels that are likely wrong: 2 (3.0 %); estimated in all: ")
    assert "line\\nbreak" in said
    assert "\u202e" not in said + noted
    assert lines[-2:] == ["table: labels.csv", "page: labels.html"]
    with (home / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["picture"]: (row["given"], row["suggested"]) for row in rows} == WRONG
    assert all(0 < float(row["confidence"]) <= 1 and row["keep"] == "" for row in rows)
    page = (home / "labels.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 2
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert "\u202e" not in page


@pytest.mark.slow
@pytest.mark.usefixtures("seen")
def test_a_class_of_a_few_pictures_is_neither_suggested_nor_doubted(tmp_path):
    shutil.copytree("photos", tmp_path / "photos")
    random = np.random.default_rng(1)
    for split, colour in (("train", COLOURS[EVIL]), ("val", COLOURS[COMMAS])):
        (tmp_path / "photos" / split / "rare").mkdir()
        picture(random, colour).save(tmp_path / "photos" / split / "rare" / "0.png")
    said, noted = run("data", "labels", tmp_path / "photos", "--csv", tmp_path / "found.csv")
    assert "classes with fewer than 5 pictures, to which and from which no label is suggested: 'rare'" in said + noted
    with (tmp_path / "found.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert "rare" not in {row["given"] for row in rows} | {row["suggested"] for row in rows}


@pytest.mark.slow
@pytest.mark.usefixtures("seen")
def test_as_json():
    found = json.loads(run("data", "labels", "photos", "--json")[0])
    assert {each["picture"] for each in found["suspects"]} == set(WRONG)
    assert found["pictures"] == 67
    assert found["top1_low"] < found["top1"] <= found["top1_high"]
    assert {(pair["given"], pair["suggested"]) for pair in found["pairs"]} == set(WRONG.values())
    alone = json.loads(run("data", "labels", "photos", "--split", "val", "--folds", "3", "--json")[0])
    assert alone["pictures"] == 15
    assert alone["suspects"] == []


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["photo"], 2, "there is no folder 'photo'"),
        (["photos", "--split", "vall"], 2, "there is no split 'vall'"),
        (["photos", "--csv", "nowhere/a.csv"], 2, "there is no folder nowhere"),
        (["photos", "--folds", "60"], 1, "60 folds need at least 120 pictures with labels that can be read, got 67"),
        (["photos", "--fold", "3"], 2, "No such option '--fold'"),
    ],
)
def test_what_cannot_be_looked_for(arguments, code, said):
    assert said in "".join(run("data", "labels", *arguments, code=code))


def test_a_network_without_weights_and_a_file_that_is_none_are_refused(home):
    assert "no weights of resnet101 are on this machine" in run("data", "labels", "photos", "-m", "resnet101", code=1)[1]
    (home / "x.safetensors").write_text("no")
    assert "is not a model file" in run("data", "labels", "photos", "-m", "x.safetensors", code=1)[1]


# --- corrected labels ---------------------------------------------------------------------------------------------------


def corrections(path, *rows, columns=("picture", "given", "suggested", "confidence", "keep")):
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.mark.slow
def test_a_run_learns_from_corrected_labels_stores_them_and_is_resumed_and_evaluated_exactly(home):
    first, second = WRONG
    file = corrections(
        "fix.csv",
        (first, name_of(EVIL), COMMAS, "0.9", ""),
        (second, COMMAS, "-", "0.8", "no"),
        (f"train/{COMMAS}/0.png", COMMAS, BREAK, "0.5", "yes"),
        (f"val/{COMMAS}/0.png", COMMAS, BREAK, "0.5", ""),
    )
    choice = verbs.ask("photos", "resnet18", None, "none", "cpu", fields=fields(), relabel=file)
    os.remove(file)
    with pytest.raises(KeyboardInterrupt):
        training.train(choice.asked, home / "stopped", stop_after=2)
    notes = Run.open(home / "stopped").asked()["notes"]
    assert "corrected labels: 1 changed, 1 picture left out" in notes
    said, _ = run("train", "--resume", "stopped")
    assert "on 15 validation pictures" in said
    whole = training.train(choice.asked, home / "whole")
    for name in ("model.safetensors", "predictions.csv"):
        assert (whole.path / name).read_bytes() == (home / "stopped" / name).read_bytes()
    result = whole.result()
    assert result["data"]["train"] == 51
    evaluated = json.loads(run("evaluate", "whole", "photos", "--json")[0])
    assert evaluated["top1"] == pytest.approx(result["metrics"]["val/top1"])
    assert evaluated["n"] == 15
    with (whole.path / "predictions.csv").open(newline="", encoding="utf-8") as table:
        labels = {row["name"]: row["label"] for row in csv.DictReader(table)}
    assert labels[f"val/{COMMAS}/0.png"] == COMMAS


def fields():
    return dict(each.split("=", 1) for each in TINY if "=" in each)


def test_validation_pictures_only_when_asked():
    file = corrections("val.csv", (f"val/{COMMAS}/0.png", COMMAS, BREAK, "0.5", ""))
    for val, label in ((False, COMMAS), (True, BREAK)):
        choice = verbs.ask("photos", "resnet18", None, "none", "cpu", relabel=file, relabel_val=val)
        found = choice.asked.data.open()
        own = next(each for each in found.split("val") if each.name == f"val/{COMMAS}/0.png")
        assert found.classes[own.label] == label


ROW = (f"train/{COMMAS}/0.png", COMMAS, BREAK, "0.5", "")


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        ([ROW, ROW], None, "line 5: 'train/a, \"b\"/0.png' is in line 3 already; leave one out"),
        ([("train/nix.png", COMMAS, BREAK, "", "")], None, "there is no picture 'train/nix.png' in the data"),
        ([("0.png", COMMAS, BREAK, "", "")], None, "there is no picture '0.png' in the data; did you mean '"),
        ([(*ROW[:2], "unknwon", "", "")], None, "there is no class 'unknwon' in the data; did you mean 'unknown'?"),
        ([(ROW[0], "unknown", BREAK, "", "")], None, "in the data, not 'unknown'; the file is for other labels"),
        ([(*ROW[:4], "perhaps")], None, "keep is yes, to keep the given label, or no or empty; got 'perhaps'"),
        ([ROW[:3]], None, "it should have 5 cells"),
        ([("a", "b")], ("picture", "label"), "has no column 'suggested', only picture, label"),
        ([], ("picture;suggested",), "only picture;suggested; it seems to be separated by ';': write commas"),
        ([("a", "b", "c")], ("picture", "suggested", "givn"), "has a column 'givn'; did you mean 'given'?"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(rows, columns, said):
    file = corrections("bad.csv", *rows, **({"columns": columns} if columns else {}))
    found = " ".join(run("train", "photos", *TINY, "--relabel", file, code=2)[1].split("\n"))
    assert said.replace("\n", " ") in found
    assert found.startswith("error: bad.csv")


def test_a_file_that_is_none_is_said():
    assert "there is no file nix.csv with corrected labels" in run("train", "photos", *TINY, "--relabel", "nix.csv", code=2)[1]
    Path("bytes.csv").write_bytes(b"picture,suggested\n\xff\xfe,a\n")
    assert "bytes.csv is not a CSV file in UTF-8" in run("train", "photos", *TINY, "--relabel", "bytes.csv", code=2)[1]
    assert "name the file with --relabel" in run("train", "photos", *TINY, "--relabel-val", code=2)[1]


def test_only_two_columns_are_needed_and_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "few.csv"
    path.write_bytes("\ufeffpicture,suggested\na.png,cat\nb.png,\n".encode())
    found = read_corrections(path)
    assert [(each.picture, each.given, each.label) for each in found] == [("a.png", None, "cat"), ("b.png", None, "")]


# --- rare, ignored and grouped classes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(home):
    """A run without the class unknown, with groups."""
    before = os.getcwd()
    os.chdir(home)
    try:
        run("train", "photos", *TINY, "--ignore", "unknown", "--hierarchy", "tree.csv", "-o", "plain")
    finally:
        os.chdir(before)
    return home / "plain"


def test_an_ignored_class_is_in_neither_model_nor_figures(plain):
    _, about = load_model(plain / "model.safetensors")
    assert "unknown" not in about.classes
    assert len(about.classes) == 4
    found = json.loads(run("evaluate", "plain", "photos", "--json")[0])
    assert found["n"] == 12
    assert any(
        note.startswith("ignored 1 class (unknown): pictures left out: 8 of 52 in train, 3 of 15 in val")
        for note in found["notes"]
    )
    assert found["top1"] == pytest.approx(Run(plain).result()["metrics"]["val/top1"])


def test_other_data_is_evaluated_without_a_class_when_asked(plain, tmp_path):
    shutil.copytree("photos", tmp_path / "others")
    said = run("evaluate", "plain", tmp_path / "others", code=2)[1]
    assert "the model does not know the class 'unknown'" in said
    assert "12 pictures (val)" in run("evaluate", "plain", tmp_path / "others", "--ignore", "unknown")[0]
    assert "did you mean 'unknown'" in run("evaluate", "plain", tmp_path / "others", "--ignore", "unknwon", code=1)[1]
    # a class of the data that comes before others which the model has in another order
    first = sorted(each.name for each in (tmp_path / "others" / "val").iterdir())[0]
    fewer = ("evaluate", "plain", tmp_path / "others", "--ignore", "unknown", "--ignore", first)
    assert "9 pictures (val)" in run(*fewer)[0]


def test_groups_are_in_text_json_report_and_predictions(plain, tmp_path):
    said = run("evaluate", "plain", "photos")[0]
    assert re.search(
        r"^level 1, 2 groups +\d+\.\d %  \[\d+\.\d to \d+\.\d\]  by the likeliest class \d+\.\d %$", said, re.MULTILINE
    )
    assert re.search(r"^hierarchical distance +\d\.\d+    \[", said, re.MULTILINE)
    found = json.loads(run("evaluate", "plain", "photos", "--json")[0])["hierarchy"]
    assert set(found["levels"][0]["groups"]) == {"cold", "warm"}
    result = Run(plain).result()
    assert result["hierarchy"]["levels"] == found["levels"]
    assert result["metrics"]["val/level1"] == pytest.approx(found["levels"][0]["accuracy"]["value"])
    page = (plain / "report.html").read_text("utf-8")
    assert "Level 1, 2 groups" in page
    assert "<script>alert" not in page
    (answer,) = json.loads(run("predict", "plain", f"photos/val/{COMMAS}/0.png", "--top", "4", "--json")[0])["predictions"]
    shares = {each["class"]: each["probability"] for each in answer["answers"]}
    cold = shares[COMMAS] + shares[BREAK]
    assert answer["groups"][0]["probability"] == pytest.approx(max(cold, 1 - cold), abs=1e-5)
    lost = tmp_path / "lost.png"
    lost.write_bytes(b"")
    run("predict", "plain", f"photos/val/{COMMAS}/0.png", lost, "--csv", tmp_path / "groups.csv", code=1)
    with (tmp_path / "groups.csv").open(newline="", encoding="utf-8") as file:
        row, without = csv.DictReader(file)
    assert row["group_1"] == answer["groups"][0]["group"]
    assert float(row["group_1_confidence"]) == pytest.approx(answer["groups"][0]["probability"], abs=1e-5)
    assert (without["group_1"], bool(without["error"])) == ("", True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class,parent\nunknown,x\n", "has no parent of the class"),
        ("klass,parent\nunknown,x\n", "its first line must be class,parent"),
    ],
)
def test_groups_that_do_not_fit_are_refused_before_training(text, said):
    Path("bad-tree.csv").write_text(text)
    found = run("train", "photos", *TINY, "--hierarchy", "bad-tree.csv", code=2)[1]
    assert said in found
    assert "bad-tree.csv" in found


def test_logits_are_adjusted_afterwards(plain):
    _, about = load_model(plain / "model.safetensors")
    counts = dict(zip(about.classes, about.counts, strict=True))
    assert counts[COMMAS] == 19
    picture = f"photos/val/{COMMAS}/0.png"
    answers = []
    for tau in (0.0, 2.0):
        found = verbs.predict(plain, [picture], top=4, logit_adjustment=tau)
        answers.append(dict(found.predictions[0].answers))
    before, after = (torch.tensor([found[name] for name in about.classes]).log() for found in answers)
    shifted = before - 2.0 * (torch.tensor(about.counts) / sum(about.counts)).log()
    assert after.exp().tolist() == pytest.approx(shifted.softmax(0).tolist(), rel=1e-4)
    _, noted = run("evaluate", "plain", "photos", "--logit-adjustment", "1")
    assert "logits are adjusted by the frequencies of the classes in training, with the factor 1" in noted
    assert "at least 0, usually 1, got -1" in run("evaluate", "plain", "photos", "--logit-adjustment", "-1", code=2)[1]


@pytest.mark.parametrize("way", few(["sampling", "weights", "effective", "logits"]))
def test_ways_to_treat_rare_classes(way):
    run("train", "photos", *TINY, "--imbalance", way, "-o", f"way-{way}")
    found = Run(Path(f"way-{way}"))
    recipe = found.asked()["recipe"]
    terms = {term["kind"]: term for term in recipe["objective"]["terms"]}
    if way == "sampling":
        assert recipe["sampling"]["kind"] == "Balanced"
    else:
        (term,) = (each for name, each in terms.items() if name != "CrossEntropy")
        assert "CrossEntropy" not in terms
        assert sorted(term["counts"]) == [8.0, 8.0, 8.0, 9.0, 19.0]
        assert found.asked()["asked"]["recipe"]["objective"]["terms"] == recipe["objective"]["terms"]
    said = run("predict", found.path, f"photos/val/{COMMAS}/0.png", "--logit-adjustment", "1", code=2)[1]
    assert "answers as if all classes were equally frequent already; leave logit_adjustment out" in said


def test_a_way_and_a_field_that_it_sets_exclude_each_other():
    said = run("train", "photos", *TINY, "--imbalance", "sampling", "sampling=Shuffled", code=2)[1]
    assert "it sets sampling, and sampling=Shuffled is given too; leave one out" in said
    said = run("train", "photos", *TINY, "--imbalance", "weigths", code=2)[1]
    assert "'weigths' is not one of 'sampling', 'weights', 'effective', 'logits'" in said
    said = run("train", "photos", *TINY, "objective.terms.AdjustedCrossEntropy=on", code=2)[1]
    assert "add objective.terms.CrossEntropy=off" in said


def test_resuming_takes_none_of_these():
    said = run("train", "--resume", "plain", "--ignore", "unknown", "--imbalance", "weights", code=2)[1]
    assert "leave out --imbalance, --ignore" in said


# --- several labels a picture -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(home):
    """A run on pictures with several labels, from the command line, and its kind of source."""
    path = Path(__file__).parent.parent / "train" / "task_kinds.py"
    spec = importlib.util.spec_from_file_location("labels_task_kinds", path)
    if "several_kinds" not in sys.modules:
        known = [module for module in sys.modules.values() if getattr(module, "__file__", None) == str(path)]
        module = known[0] if known else importlib.util.module_from_spec(spec)
        if not known:
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        sys.modules["several_kinds"] = module
    before = os.getcwd()
    os.chdir(home)
    try:
        text = 'data={"kind": "Drawing", "train": 48, "val": 40}'
        said = run("train", text, *TINY, "-o", "several")
    finally:
        os.chdir(before)
    return sys.modules["several_kinds"], said


def test_the_loss_and_the_figures_are_those_of_several_labels(several):
    _, (said, noted) = several
    assert "the loss is BinaryCrossEntropy in place of CrossEntropy, without its label smoothing" in noted
    assert said.startswith("mean average precision ")
    assert [term["kind"] for term in Run(Path("several")).asked()["recipe"]["objective"]["terms"]] == ["BinaryCrossEntropy"]
    metrics = Run(Path("several")).result()["metrics"]
    rows = Run(Path("several")).result()["per_class"]
    page = (Path("several") / "report.html").read_text("utf-8")
    assert '<section id="labels">' in page
    for row in rows:
        assert f"<td>{row['class']}</td>" in page
        assert f'<td class="number">{row["threshold"]:.2f}</td>' in page
    worst = sorted((row for row in rows if row["average_precision"] < 100), key=lambda row: row["average_precision"])
    said = [f"{row['class']} AP {row['average_precision']:.1f} % ({row['n']} pictures)" for row in worst]
    assert hardest({"per_class": rows}) == ([f"hardest classes: {', '.join(said)}"] if said else [])
    card = verbs.card("several")
    assert "| class | AP % | pictures |" in card
    for row in rows:
        assert f"| {row['class']} | {row['average_precision']:.1f} | {row['n']} |" in card
    kind = sys.modules["several_kinds"].Drawing(train=12, val=6)
    with pytest.raises(ValueError, match=r"leave it out \(--imbalance logits asks for it\), or weigh the classes"):
        verbs.train(kind, "resnet8_w16_s2", "scratch", "none", "cpu", "never", imbalance="logits", planning="default", size=16)
    for name in ("map", "f1_macro", "f1_micro", "f1_macro_tuned", "f1_micro_tuned"):
        assert metrics[f"val/{name}_low"] <= metrics[f"val/{name}"] <= metrics[f"val/{name}_high"]


def test_thresholds_are_in_the_model_file_and_decide_what_is_predicted_and_served(several, tmp_path):
    kinds, _ = several
    _, about = load_model(Path("several/model.safetensors"))
    assert len(about.thresholds) == 3
    assert any(each != 0.5 for each in about.thresholds)
    drawn = kinds.Drawing().open()
    for number in (3, 5):
        image = drawn.both(drawn.split("train")[number])[0]
        PIL.Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    with torch.inference_mode():
        found = verbs.predict("several", [tmp_path], csv=tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for prediction, row in zip(found.predictions, rows, strict=True):
        above = {name for name, limit in zip(about.classes, about.thresholds, strict=True) if float(row[name]) > limit}
        assert {name for name, _ in prediction.answers} == above == set(filter(None, row["predicted"].split("; ")))
    served = served_of(answering("several"))
    assert isinstance(served, Served)
    assert served.thresholds == about.thresholds
    assert served.about["thresholds"] == list(about.thresholds)


def test_thresholds_are_never_judged_on_the_pictures_that_they_were_chosen_on(several):
    kinds, _ = several
    own = verbs.evaluate("several", kinds.Drawing(train=48, val=40))
    metrics = Run(Path("several")).result()["metrics"]
    assert own.judged.metrics["val/f1_macro_tuned"] == pytest.approx(metrics["val/f1_macro_tuned"])
    assert any("chosen on every other picture" in note for note in own.notes)
    other = verbs.evaluate("several", kinds.Drawing(train=10, val=30))
    assert any("at the thresholds that the model file has" in note for note in other.notes)
    assert any("if these are among them, F1 at these thresholds is too high" in note for note in other.notes)


def test_what_needs_one_class_a_picture_says_so(several, tmp_path):
    kinds, _ = several
    PIL.Image.new("RGB", (18, 18)).save(tmp_path / "a.png")
    said = run("explain", "several", tmp_path / "a.png", "--out", tmp_path / "out", code=1)[1]
    assert "the task of several/model.safetensors is several labels a picture; explain is for one class a picture" in said
    with pytest.raises(
        ValueError, match="labels are looked at where each picture has one class; this data has several labels a picture"
    ):
        verbs.data_labels(kinds.Drawing(), model="several")
    with pytest.raises(ValueError, match="these pictures have several labels a picture"):
        verbs.probe("several", kinds.Drawing())
    with pytest.raises(verbs.MisuseError, match="groups of classes are for one class a picture"):
        verbs.ask(kinds.Drawing(), "resnet18", None, "none", "cpu", hierarchy="tree.csv")
    for name, more in (("--logit-adjustment", {"logit_adjustment": 1.0}), ("--hierarchy", {"hierarchy": "tree.csv"})):
        with pytest.raises(ValueError, match=f"{name} needs a model with one class per picture"):
            verbs.evaluate("several", kinds.Drawing(), **more)
