"""Cross-validation, as verbs and on the command line."""

import csv
import io
import json
import re
import shutil

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from rich.console import Console

from paretina import verbs
from paretina.cli import main
from paretina.measure.plan import default_plan
from paretina.measure.statistics import clustered_share, wilson
from paretina.model.weights import load_model
from paretina.progress import Progress
from paretina.run import Run
from paretina.spec import decode
from paretina.train.asked import Asked
from paretina.train.finetuning import go_on
from paretina.verbs import MisuseError, folding

SMALL = ("model.stem.width=8", "model.stages.*.width=8", "epochs=2", "size=16", "batch_size=8", "workers=0")
WORDS = ("--model", "resnet8_w16_s2", "--weights", "none", "--device", "cpu")


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    root = tmp_path_factory.mktemp("folding") / "photos"
    random = np.random.default_rng(0)
    for label, kind in enumerate(("bad", "good")):
        for site in range(6):
            for number in range(3):
                path = root / kind / f"site{site}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = random.integers(0, 120, (16, 16, 3)) + 60 * label + 10 * site
                PIL.Image.fromarray(noise.astype(np.uint8)).save(path)
    return root


def ran(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


def shown_progress():
    console = Console(file=io.StringIO(), width=200)
    return Progress(console), console


def read(folder):
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


@pytest.fixture(scope="module")
def done(sites, tmp_path_factory):
    out = tmp_path_factory.mktemp("folds") / "cv"
    said = ran("train", sites, *WORDS, "--groups", "folder", "--folds", 3, "-o", out, *SMALL)
    assert said.exit_code == 0, said.output
    return out, said


def test_each_picture_is_answered_once_by_a_network_that_was_not_trained_on_it(done, sites):
    out, said = done
    rows = read(out)
    names = {str(path.relative_to(sites)) for path in sites.rglob("*.png")}
    assert sorted(row["name"] for row in rows) == sorted(names)
    homes = {}
    for row in rows:
        assert homes.setdefault(row["name"].split("/")[1], row["fold"]) == row["fold"]
    right = {name: [row["correct"] == "1" for row in rows if f"/{name}/" in row["name"]] for name in homes}
    share = clustered_share([(sum(each), len(each)) for each in right.values()])
    result = json.loads((out / "result.json").read_text())
    assert result["pooled"] == pytest.approx({"value": 100 * share.value, "low": 100 * share.low, "high": 100 * share.high})
    assert (result["groups"], result["pictures"]) == (6, 36)
    text = " ".join(said.stdout.split())
    pooled = f"top-1 {100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f}) on all 36 pictures"
    assert f"{pooled}; 95 % interval over 6 groups" in text
    assert len(re.findall(r"fold \d: top-1 \d+\.\d % on 12 pictures", text)) == 3
    assert "mean of 3 folds" in text


def test_all_folds_have_one_recipe_and_what_is_said_of_all_is_said_once(done):
    out, said = done
    asked = [decode(Asked, Run(out / f"fold-{number}").asked()["asked"]) for number in (1, 2, 3)]
    assert [each.data.number for each in asked] == [1, 2, 3]
    assert len({each.recipe for each in asked}) == len({each.plan for each in asked}) == 1
    assert said.stderr.count("starts from scratch") == 1
    assert said.stderr.count("run directory") == 1
    for number in (1, 2, 3):
        assert said.stderr.count(f"fold {number} of 3") == 1


@pytest.mark.slow
def test_each_fold_has_progress_of_its_own_and_says_nothing_that_was_not_requested(sites, tmp_path):
    lines, notes = [], []
    fields = {"model.stem.width": 8, "model.stages.*.width": 8, "epochs": 2, "size": 16, "batch_size": 8, "workers": 0}
    fields |= {"data.groups": "folder"}
    choice = verbs.ask(str(sites), "resnet8_w16_s2", device="cpu", fields=fields)
    verbs.cross_validate(choice, 2, tmp_path / "cv", listen=lines.append, say=notes.append)
    assert [note for note in notes if note.startswith("starts")] == [
        note for note in Run(tmp_path / "cv" / "fold-1").asked()["notes"] if note.startswith("starts")
    ]
    assert not any("as requested" in note for note in notes)
    begun = [(line["event"], line["run"]) for line in lines if line["event"] in ("start", "part")]
    cv = tmp_path / "cv"
    assert begun == [("start", str(cv)), ("part", str(cv / "fold-1")), ("part", str(cv / "fold-2"))]
    progress, console = shown_progress()
    values = []
    for line in lines:
        progress.listen(line)
        if line["event"] in ("part", "val"):
            values.append((line["event"], progress.value is None))
    assert [known for event, known in values if event == "part"] == [True, True]
    assert not any(known for event, known in values if event == "val")
    assert progress.run == str(cv)
    assert console.file.getvalue().count("run directory") == 1


def test_its_runs_are_listed_and_named(done):
    out, _ = done
    found = verbs.runs(out)
    assert [each.row["run"] for each in found.runs] == ["cv", "fold-1", "fold-2", "fold-3"]
    pooled = json.loads((out / "result.json").read_text())["pooled"]
    assert {name: found.runs[0].row[name] for name in ("value", "low", "high")} == pooled
    assert found.runs[0].row["state"] == "finished"
    said = ran("runs", out.parent)
    assert [line.split()[0] for line in said.stdout.splitlines()] == ["run", "cv", "cv/fold-1", "cv/fold-2", "cv/fold-3"]
    assert f"{pooled['value']:.1f} [{pooled['low']:.1f} to {pooled['high']:.1f}]" in said.stdout.splitlines()[1]
    assert not found.damaged
    assert {each.row["data"] for each in found.runs} == {"photos"}


def test_a_report_of_it_is_that_of_its_folds(done, tmp_path):
    out, _ = done
    said = ran("report", out)
    assert said.exit_code == 0, said.output
    written = [out / f"fold-{number}" / "report.html" for number in (1, 2, 3)]
    assert said.stdout.splitlines()[:4] == [str(path) for path in (*written, out / "comparison.html")]
    assert (out / "comparison.html").stat().st_size > 1000
    pooled = json.loads((out / "result.json").read_text())["pooled"]
    text = " ".join(said.stderr.split())
    assert f"{out} is a cross-validation: top-1 {pooled['value']:.1f} % ({pooled['low']:.1f} to {pooled['high']:.1f})" in text
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "folds.json").write_text('{"count": 3}')
    said = ran("report", begun)
    assert said.exit_code == 2
    assert "is a cross-validation that is not finished and not one run; none of its folds was begun" in said.output


def test_one_that_is_not_finished_is_listed_as_such_and_has_no_model(done, tmp_path):
    out, _ = done
    again = tmp_path / "cv"
    shutil.copytree(out, again)
    for name in ("result.json", "model.safetensors"):
        (again / name).unlink()
    shutil.rmtree(again / "fold-3")
    rows = {each["run"]: each for each in json.loads(ran("runs", tmp_path, "--json").stdout)["runs"]}
    assert (rows["cv"]["state"], rows["cv"]["value"]) == ("interrupted", None)
    assert rows["cv/fold-1"]["state"] == "finished"
    said = ran("evaluate", again, tmp_path)
    assert said.exit_code != 0
    assert f"is not finished, so there is no model in it; continue with: paretina train --resume {again}" in said.output
    said = ran("train", "--resume", again / "fold-1")
    assert said.exit_code == 0
    assert f"this is one fold of the cross-validation {again}, which is not finished" in said.stderr


def test_what_was_trained_on_all_folds_is_not_judged_as_new(done, sites):
    out, _ = done
    fields = {"learning.frozen_stride": 0, "epochs": 1}
    _, notes = go_on(out, default_plan("cpu"), str(sites), fields=fields)
    assert any(note.startswith("warning: for each of") and "the honest figure is" in note for note in notes), notes
    _, notes = go_on(out / "fold-1", default_plan("cpu"), str(sites), fields=fields)
    assert not any("trained on" in note for note in notes)
    with pytest.raises(MisuseError, match="averages the networks of a cross-validation, of whose pictures none was held out"):
        verbs.ship(out, "torch-export", out=out.parent / "a.pt2")


def test_where_one_run_is_needed_those_of_its_folds_are_named(done):
    out, _ = done
    said = ran("runs", "--compare", out / "fold-1", out)
    assert said.exit_code == 2
    text = " ".join(said.output.split())
    assert f"{out} is a cross-validation (top-1 " in text
    assert f"name one of the runs of its folds: {out / 'fold-1'}, {out / 'fold-2'}, {out / 'fold-3'}" in text


def test_the_folds_average_predicts(done, sites):
    out, _ = done
    network, about = load_model(out / "model.safetensors")
    assert len(network.networks()) == 3
    assert about.classes == ("bad", "good")
    said = ran("predict", out, sites / "bad" / "site0", "--json")
    assert said.exit_code == 0, said.output
    assert (
        len(json.loads(said.stdout)["predictions"] if isinstance(json.loads(said.stdout), dict) else json.loads(said.stdout))
        == 3
    )


@pytest.mark.slow
def test_the_average_on_its_own_pictures_is_said_to_have_learnt_them(done, sites, tmp_path):
    out, _ = done
    pooled = json.loads((out / "result.json").read_text())["pooled"]
    said = ran("evaluate", out, sites)
    assert said.exit_code == 0, said.output
    text = " ".join(said.stderr.split())
    assert "warning: for each of these pictures, all but one of the networks that are averaged were trained on it" in text
    honest = f"top-1 {pooled['value']:.1f} % ({pooled['low']:.1f} to {pooled['high']:.1f}) on all 36 pictures"
    assert f"the honest figure is that of the cross-validation: {honest}, in {out / 'result.json'}" in text
    assert "36 pictures (all)" in said.stdout
    part = verbs.evaluate(out / "model.safetensors", str(sites), split="val", device="cpu")
    assert any(note.startswith("warning: for each of these pictures") for note in part.notes)
    other = tmp_path / "photos"
    for number, path in enumerate(sorted(sites.rglob("*.png"))):
        copy = other / path.parent.parent.name / f"{number}.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert not [note for note in verbs.evaluate(out, str(other), device="cpu").notes if "averaged" in note]


@pytest.mark.slow
def test_an_interrupted_one_ends_as_one_that_was_not(done, sites, tmp_path, monkeypatch):
    out, _ = done
    began = folding.start
    starts = []

    def stopped(*arguments, **options):
        starts.append(arguments)
        if len(starts) == 2:
            raise KeyboardInterrupt("stopped")
        return began(*arguments, **options)

    monkeypatch.setattr(folding, "start", stopped)
    again = tmp_path / "cv"
    said = ran("train", sites, *WORDS, "--groups", "folder", "--folds", 3, "-o", again, *SMALL)
    assert said.exit_code == 130
    assert f"paretina train --resume {again}" in said.output
    monkeypatch.setattr(folding, "start", began)
    said = ran("train", "--resume", again, "--json")
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert found["run"] == str(again)
    for name in ("predictions.csv", "model.safetensors"):
        assert (again / name).read_bytes() == (out / name).read_bytes()
    for number in (1, 2, 3):
        name = f"fold-{number}/model.safetensors"
        assert (again / name).read_bytes() == (out / name).read_bytes()
    said = ran("train", "--resume", again)  # nothing is left to do
    assert said.exit_code == 0
    assert "mean of 3 folds" in said.output


@pytest.mark.slow
def test_pictures_without_groups_have_wilsons_interval(tmp_path):
    choice = verbs.ask(
        "shapes",
        "resnet8_w16_s2",
        "plain",
        "none",
        "cpu",
        fields={
            "data.per_class": 6,
            "data.val_per_class": 2,
            "data.size": 16,
            "epochs": 1,
            "model.resolution": 16,
            "workers": 0,
            "model.stem.width": 8,
            "model.stages.*.width": 8,
        },
    )
    found = verbs.cross_validate(choice, 2, tmp_path / "two")
    rows = read(tmp_path / "two")
    expected = wilson(sum(row["correct"] == "1" for row in rows), len(rows))
    assert found.pooled == pytest.approx(tuple(100 * each for each in expected))
    assert found.groups == 0
    assert any("95 % interval over pictures" in line for line in found.lines())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--folds", "1"), "1 is not in the range 2<=x<=100"),
        (("--fold", "3"), "--folds"),
        (("--group", "folder"), "--groups"),
        (("--folds", "3", "--groups", "foldr", "data.layout=classes"), "did you mean 'folder'"),
        (("--folds", "3", "--groups", "site(\\d", "data.layout=classes"), "no regular expression"),
        (("--groups", "folder", "data.groups=folder"), "leave one out"),
        (("--folds", "7", "--groups", "folder"), "too few for 7 folds"),
    ],
)
def test_what_cannot_be(sites, tmp_path, options, reason):
    said = ran("train", sites, *WORDS, *options, "-o", tmp_path / "run", *SMALL)
    assert said.exit_code in (1, 2)
    assert reason in " ".join(said.output.split())
    assert not (tmp_path / "run").exists()
    assert "run directory" not in said.output
    assert "Traceback" not in said.output


def test_a_place_that_is_taken_and_one_that_was_not_begun(done, sites, tmp_path):
    out, _ = done
    said = ran("train", sites, *WORDS, "--groups", "folder", "--folds", 3, "-o", out, *SMALL)
    assert said.exit_code == 2
    assert "--resume" in said.output or "not empty" in said.output
    assert "leave out DATA" in ran("train", sites, "--resume", out).output
    (tmp_path / "folds.json").write_text('{"count": 3}')
    with pytest.raises(MisuseError, match="before its first fold began"):
        verbs.continue_folds(tmp_path)
    (tmp_path / "folds.json").write_text("damaged")
    with pytest.raises(MisuseError, match="cannot be read"):
        verbs.continue_folds(tmp_path)


def test_a_dry_run_is_of_one_fold(sites):
    said = ran("train", sites, *WORDS, "--groups", "folder", "--folds", 3, "--dry-run", *SMALL)
    assert said.exit_code == 0, said.output
    assert "24 pictures to train on, 12 to validate on" in said.output
    assert "for each of 3 folds" in said.output
