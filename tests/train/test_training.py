import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from covering import few
from paretina import verbs
from paretina.data import likeness
from paretina.data.decode import DecodeError
from paretina.data.source import Collection, Sample, Source
from paretina.data.sources.apart import Apart
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.fold import Fold
from paretina.data.sources.folder import Folder
from paretina.data.sources.inner_split import InnerSplit
from paretina.data.sources.part import Part
from paretina.data.sources.several import Set, Several
from paretina.data.sources.shapes import Shapes
from paretina.data.sources.unlabelled import Unlabelled
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.squash import Squash
from paretina.measure.machine import Others
from paretina.measure.plan import Plan
from paretina.model.blueprint import Preprocessing
from paretina.model.edits.scale import Scale
from paretina.model.family import network_named
from paretina.model.interop import Foreign
from paretina.model.preprocessing import in_words
from paretina.model.weights import About, load_model, save_model
from paretina.report import read_run, table, write_comparison, write_report
from paretina.schedules import Constant, Exponential, Linear, Warmup
from paretina.spec import decode, encode
from paretina.train import estimate, feasible, resolve, training
from paretina.train.asked import Asked
from paretina.train.average import Average
from paretina.train.clipping import AdaptiveClip
from paretina.train.estimate import ShortTimeError, fit_to_time, rehearse
from paretina.train.evaluated import Evaluated
from paretina.train.learning import Learning
from paretina.train.objective import Objective
from paretina.train.objectives.supervised import Supervised
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.resolve import opened, prepare
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill
from paretina.train.training import moved_to, resume, train

SHORT = Recipe(epochs=1.0, batch_size=10, transforms=(Squash(),))
TAUGHT = Supervised(terms=(CrossEntropy(), Distill()))


@pytest.fixture
def folder(tmp_path, arrays):
    """10 pictures to train on and 3 to validate on in each of 3 classes, as files."""
    images, labels = arrays(39, 18)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = tmp_path / "photos" / ("val" if number >= 30 else "train") / f"class{label}" / f"{number:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(place)
    return tmp_path / "photos"


def asked(tiny, data, recipe=SHORT, **changes):
    return Asked(data=data, model=tiny, recipe=recipe, plan=Plan(workers=0), **changes)


def notes(run):
    return [line["message"] for line in run.lines() if line["event"] == "note"]


# --- what a run leaves behind -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny, arrays):
    """A finished run: its data, what was asked, what was listened to and said, and the run."""
    folder = tmp_path_factory.mktemp("finished")
    images, labels = arrays(39, 18)
    path = folder / "numbers.npz"
    np.savez(path, images=images, labels=labels, split=["train"] * 30 + ["val"] * 9, classes=["red", "green", "blue"])
    wanted = asked(tiny, Arrays(path=str(path)), replace(SHORT, epochs=2.0), recipe_name="short")
    heard, said = [], []
    run = train(wanted, folder / "run", listen=heard.append, say=said.append)
    return path, wanted, heard, said, run


def test_a_finished_run_has_its_files(finished):
    run = finished[-1]
    assert {path.name for path in run.path.iterdir()} == {
        "asked.json",
        "log.jsonl",
        "mistakes.json",
        "model.safetensors",
        "predictions.csv",
        "result.json",
    }


def test_what_was_asked_says_everything(finished, tiny):
    path, wanted, _, _, run = finished
    found = run.asked()
    assert found["verb"] == "train"
    assert found["recipe_name"] == "short"
    assert found["data"] == {
        "kind": "Arrays",
        "version": 1,
        "path": str(path),
        "val_share": 0.2,
        "mirrors": True,
        "copies": "together",
        "moved": None,
    }
    assert found["model"]["classes"] == 3
    assert found["start"] is None
    assert {"paretina", "torch", "python", "cpu", "threads", "device"} <= set(found["environment"])
    resolved = replace(wanted, recipe=replace(wanted.recipe, decoding="crop"))
    assert training.decode(Asked, found["asked"]) == resolved


def test_the_result_is_that_of_the_model_file(finished):
    _path, wanted, _, _, run = finished
    result = run.result()
    network, about = load_model(run.path / "model.safetensors")
    pictures = prepare(wanted).val
    evaluation = resolve.Evaluation(pictures, network.model.preprocessing, network.model.resolution, 3, Plan())
    logits, ids = evaluation.run(network)
    labels = torch.tensor(pictures.labels())[ids]
    top1 = 100 * (logits.argmax(1) == labels).double().mean().item()
    assert result["metrics"]["val/top1"] == pytest.approx(top1)
    assert result["metrics"]["val/nll"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert about.metrics["val/top1"] == result["metrics"]["val/top1"]
    assert about.classes == ("red", "green", "blue")
    assert about.origin == "trained on numbers.npz, from scratch"
    assert np.array(result["confusion"]).sum() == 9
    assert np.trace(result["confusion"]) == round(top1 * 9 / 100)
    with open(run.path / "predictions.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9


def test_the_result_counts_the_data(finished):
    result = finished[-1].result()
    assert result["status"] == "done"
    assert (result["data"]["train"], result["data"]["val"], result["data"]["damaged"]) == (30, 9, [])
    assert result["classes"] == ["red", "green", "blue"]
    assert result["time_s"] > 0
    assert result["throughput_img_s"] > 0
    assert result["peak_mb"] > 0
    assert result["chosen"] == "the weights after the last update, 6; nothing was chosen on the validation data"


def test_whoever_listens_hears_the_log(finished):
    _, _, heard, said, run = finished
    logged = [{key: value for key, value in line.items() if key != "attempt"} for line in run.lines()]
    assert [line for line in heard if line["event"] != "start"] == logged
    assert "starts from scratch, as requested" in said


def test_every_file_is_strict_json(finished):
    def refuse(text):
        raise AssertionError(f"{text} is no JSON")

    run = finished[-1]
    for name in ("asked.json", "result.json", "mistakes.json"):
        json.loads((run.path / name).read_text(), parse_constant=refuse)
    for line in (run.path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_the_report_reads_it(finished, tmp_path):
    run = finished[-1]
    record = read_run(run.path)
    assert record.finished
    assert record.unreadable == 0
    assert [line["step"] for line in record.val] == [3, 6]
    result = run.result()["metrics"]
    assert record.metric("val/top1") == result["val/top1"]
    page = write_report(run.path).read_text()
    (run.path / "report.html").unlink()
    assert f"{result['val/top1']:.1f}" in page
    for word in ("red", "green", "blue", "CrossEntropy", "scratch"):
        assert word in page
    (row,) = table([run.path])
    assert row["status"] == "done"
    assert row["size"] == 16
    assert write_comparison([run.path, run.path], tmp_path / "both.html").exists()


# --- interrupted, resumed ---------------------------------------------------------------------------------------------


def test_an_interrupted_run_has_no_result_and_is_resumed_to_the_same_end(finished, tmp_path):
    _path, wanted, _, _, whole = finished
    with pytest.raises(KeyboardInterrupt, match="stopped after 2 of 6 updates"):
        train(wanted, tmp_path / "run", stop_after=2)
    assert not (tmp_path / "run" / "result.json").exists()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert not read_run(tmp_path / "run").finished
    assert write_report(tmp_path / "run").exists()
    run = resume(tmp_path / "run")
    for name in ("model.safetensors", "predictions.csv", "mistakes.json"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert run.result()["metrics"] == whole.result()["metrics"]
    assert read_run(run.path).attempts == 2


@pytest.mark.slow
def test_a_run_killed_before_its_first_state_starts_again(finished, tmp_path):
    _path, wanted, _, _, whole = finished
    with pytest.raises(KeyboardInterrupt):
        train(wanted, tmp_path / "run", stop_after=2)
    for state in (tmp_path / "run" / "state").iterdir():
        state.rename(state.with_name(".half"))
    run = resume(tmp_path / "run")
    assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_a_finished_run_is_not_trained_again(finished):
    run = finished[-1]
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    said = []
    again = resume(run.path, say=said.append)
    assert said == [f"{run.path} is finished already"]
    assert again.result() == run.result()
    assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before


def test_a_directory_with_a_run_is_not_overwritten(finished):
    _, wanted, _, _, run = finished
    before = (run.path / "asked.json").read_bytes()
    with pytest.raises(ValueError, match="already contains a run; choose another --output, or continue with --resume"):
        train(wanted, run.path)
    assert (run.path / "asked.json").read_bytes() == before


@pytest.mark.slow
def test_resuming_with_other_data_is_refused(tiny, folder, tmp_path):
    wanted = asked(tiny, Folder(path=str(folder)))
    with pytest.raises(KeyboardInterrupt):
        train(wanted, tmp_path / "run", stop_after=1)
    moved = folder / "train" / "class0" / "00.png"
    moved.rename(folder / "train" / "class1" / "00.png")
    moves = r"the class class0 had (\d+) and has (\d+), the class class1 had \d+ and has \d+: restore them, or start a new run"
    with pytest.raises(ValueError, match=r"the pictures are not those that .*run was trained on; " + moves):
        resume(tmp_path / "run")
    (folder / "train" / "class1" / "00.png").rename(moved.with_name("renamed.png"))
    with pytest.raises(ValueError, match=r"as many as there were have other names, labels or places: restore them"):
        resume(tmp_path / "run")
    moved.with_name("renamed.png").rename(moved)
    assert resume(tmp_path / "run").result()["status"] == "done"


def test_a_resumed_run_starts_from_what_it_started_from(tiny, npz):
    auto = asked(tiny, Arrays(path=str(npz)), model_name="efficientnet_lite0", weights="auto")
    lite = replace(auto, model=network_named("efficientnet_lite0").blueprint)
    assert lite.starts()
    assert resolve.as_started(lite, {"start": None}).weights == "none"  # its weights came later
    assert resolve.as_started(lite, {"start": {"weights": "a package"}}) == lite
    with pytest.raises(ValueError, match="the run started with a package, which are not on this machine any more"):
        resolve.as_started(auto, {"start": {"weights": "a package"}})
    assert resolve.as_started(replace(lite, weights="none"), {}) == replace(lite, weights="none")


def test_resuming_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="contains no run"):
        resume(tmp_path)


# --- damaged pictures -------------------------------------------------------------------------------------------------


# --- copies -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def noise(tmp_path):
    """Noise of two classes, each picture four times: nothing can be learned of it but by heart."""
    pictures = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    np.savez(tmp_path / "noise.npz", images=np.tile(pictures, (4, 1, 1, 1)), labels=np.arange(48) % 12 % 2)
    return tmp_path / "noise.npz"


def sides(samples):
    return {int(sample.name) % 12 for sample in samples}


@pytest.mark.slow
def test_copies_stay_on_one_side_and_the_run_says_which(tiny, noise, tmp_path):
    run = train(asked(tiny, Arrays(path=str(noise))), tmp_path / "run")
    data = decode(Asked, run.asked()["asked"]).data
    assert data.moved
    prepared = prepare(asked(tiny, data))
    assert sides(prepared.train.samples).isdisjoint(sides(prepared.val.samples))
    assert run.result()["data"]["copies"] == {
        "split": "val",
        "of": len(prepared.val),
        "equal": 0,
        "near": 0,
        "alike": 0,
        "warning": "",
        "note": "",
        "pairs": [],
    }
    assert not [note for note in notes(run) if note.startswith("warning")]
    assert table([run.path])[0]["copies"] == 0


@pytest.mark.slow
def test_copies_across_a_given_split_stand_wherever_the_accuracy_stands(tiny, noise, tmp_path):
    with np.load(noise) as file:
        held = ["val" if place < 6 else "train" for place in range(48)]
        np.savez(tmp_path / "given.npz", images=file["images"], labels=file["labels"], split=held)
    said = []
    run = train(asked(tiny, Arrays(path=str(tmp_path / "given.npz"))), tmp_path / "run", say=said.append)
    warning = "warning: 6 of 6 validation pictures are also in train (6 exact, 0 near): the accuracy is too high by it"
    assert f"{warning}; `paretina data check` names them" in said
    assert f"{warning}; `paretina data check` names them" in notes(run)
    copies = run.result()["data"]["copies"]
    assert (copies["of"], copies["equal"], copies["near"], copies["warning"]) == (6, 6, 0, warning)
    assert copies["pairs"][0] == {"name": "0", "train": "12", "kind": "equal"}
    assert f'<p class="warning">{warning.capitalize()}.</p>' in write_report(run.path).read_text()
    assert table([run.path])[0]["copies"] == 6
    assert "6 also in train" in write_comparison([run.path, run.path], tmp_path / "both.html").read_text()


@pytest.mark.slow
def test_a_resumed_run_keeps_its_split_whatever_is_thought_of_copies_by_then(tiny, noise, tmp_path, monkeypatch):
    wanted = asked(tiny, Arrays(path=str(noise)))
    with pytest.raises(KeyboardInterrupt):
        train(wanted, tmp_path / "run", stop_after=1)
    monkeypatch.setattr(likeness, "copies", lambda names, labels, looks: [])
    assert resume(tmp_path / "run").result()["data"]["copies"]["equal"] == 0
    assert sides(prepare(wanted).val.samples) & sides(prepare(wanted).train.samples)


@pytest.mark.slow
def test_a_run_of_an_earlier_release_keeps_its_split(tiny, noise, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(asked(tiny, Arrays(path=str(noise), copies="anywhere")), tmp_path / "run", stop_after=1)
    file = tmp_path / "run" / "asked.json"
    saved = json.loads(file.read_text())
    for data in (saved["data"], saved["asked"]["data"]):  # as it was written before there was such a choice
        for name in ("version", "copies", "moved"):
            del data[name]
    file.write_text(json.dumps(saved))
    copies = resume(tmp_path / "run").result()["data"]["copies"]
    assert copies["equal"] == copies["of"] > 0


def test_a_later_process_takes_the_split_of_the_first(tiny, noise, monkeypatch):
    wanted = asked(tiny, Arrays(path=str(noise)))
    first, collection = opened(wanted)
    monkeypatch.setattr(likeness, "looked_at", None)
    later = Ranks(rank=1, count=2)
    monkeypatch.setattr(training.Ranks, "start", lambda device: later)
    monkeypatch.setattr(Ranks, "from_first", lambda self, value: first.data)
    assert opened(wanted)[1].splits == collection.splits
    monkeypatch.setattr(Ranks, "from_first", lambda self, value: ValueError("there is no folder"))
    with pytest.raises(ValueError, match="there is no folder"):
        opened(wanted)


def damage(folder, *names):
    for name in names:
        path = folder / name
        path.write_bytes(path.read_bytes()[:60])


def test_damaged_pictures_are_named_left_out_and_counted(tiny, folder, tmp_path):
    damage(folder, "train/class0/03.png", "val/class1/31.png")
    recipe = replace(SHORT, max_damaged=0.06)  # 2 of 39 are 5.1 %
    said = []
    run = train(asked(tiny, Folder(path=str(folder)), recipe), tmp_path / "run", say=said.append)
    data = run.result()["data"]
    assert (data["train"], data["val"]) == (29, 8)
    assert [Path(one["name"]).name for one in data["damaged"]] == ["03.png", "31.png"]
    assert all(one["reason"] for one in data["damaged"])
    left_out = [text for text in notes(run) if "cannot be read" in text]
    assert left_out == [text for text in said if "cannot be read" in text]
    assert "03.png" in left_out[0]
    assert "31.png" in left_out[1]
    with open(run.path / "predictions.csv") as file:
        assert len(list(csv.DictReader(file))) == 8
    assert "03.png" in write_report(run.path).read_text()


def test_what_is_odd_about_pictures_is_noted(tiny, folder):
    for name in ("train/class0/03.png", "train/class0/04.png", "val/class1/31.png"):
        PIL.Image.fromarray(np.full((40, 40), 4000, np.uint16)).save(folder / name)
    prepared = prepare(asked(tiny, Folder(path=str(folder)), SHORT))
    (note,) = [text for text in prepared.notes if "16-bit values" in text]
    assert note.startswith("train/class0/03.png and 2 other pictures: 16-bit values, of which the picture uses 12: nothing")
    assert prepared.damaged == {}


def test_too_many_damaged_pictures_stop_the_run_before_it_starts_and_are_listed(tiny, folder, tmp_path):
    damage(folder, "train/class0/03.png", "val/class1/31.png")
    with pytest.raises(ValueError, match=r"2 of 39 pictures cannot be read, more than max_damaged=0.01 allows") as caught:
        train(asked(tiny, Folder(path=str(folder))), tmp_path / "run")
    assert "03.png" in str(caught.value)
    assert "31.png" in str(caught.value)
    assert "allow it with max_damaged=0.052" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_allowed_share_is_allowed(tiny, folder):
    damage(folder, "train/class0/03.png")
    assert len(prepare(asked(tiny, Folder(path=str(folder)), replace(SHORT, max_damaged=1 / 39))).damaged) == 1
    with pytest.raises(ValueError, match="1 of 39 pictures cannot be read"):
        prepare(asked(tiny, Folder(path=str(folder)), replace(SHORT, max_damaged=0.99 / 39)))


def test_a_long_list_of_damaged_pictures_is_cut_and_says_so(tiny, folder):
    paths = sorted(folder.rglob("*.png"))
    many = {f"copy{n:03d}": "broken" for n in range(70)}
    prepared = prepare(asked(tiny, Folder(path=str(folder))))
    with pytest.raises(ValueError, match="and 20 more"):
        feasible.check_damage({**prepared.damaged, **many}, len(paths) + 70, prepared.recipe.max_damaged)


@dataclass(frozen=True, kw_only=True)
class Fading(Source):
    """Pictures of which some become unreadable while the run continues."""

    GONE = set()

    def open(self):
        samples = [Sample(f"{n:02d}.png", n % 3) for n in range(39)]
        return FadingCollection(("a", "b", "c"), {"train": tuple(samples[:30]), "val": tuple(samples[30:])})


@dataclass(frozen=True)
class FadingCollection(Collection):
    def image(self, sample, at_least=None):
        if sample.name in Fading.GONE:
            raise DecodeError(f"{sample.name}: Input/output error")
        return torch.full((3, 18, 18), int(sample.name[:2]), dtype=torch.uint8)


@pytest.mark.slow
def test_pictures_that_vanish_in_mid_run_are_named_and_counted_and_do_not_end_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Fading, "GONE", set())
    monkeypatch.setattr("paretina.data.pictures.memory_budget", lambda: 0)

    def fade(line):
        if line["event"] == "train" and line["step"] == 1:
            Fading.GONE |= {"04.png", "38.png"}
        if line["event"] == "val" and line["step"] == 6:  # all of the last pictures that are shown
            Fading.GONE |= {f"{n}.png" for n in range(30, 39)}

    run = train(asked(tiny, Fading(), replace(SHORT, epochs=2.0)), tmp_path / "run", listen=fade)
    data = run.result()["data"]
    assert {one["name"]: one["reason"] for one in data["damaged"]} == {
        "04.png": "became unreadable during the run: Input/output error",
        "38.png": "became unreadable during the run: Input/output error",
    }
    told = [text for text in notes(run) if "can no longer be read" in text]
    assert sorted(told) == [
        f"left out, because it can no longer be read: {name}: Input/output error" for name in ("04.png", "38.png")
    ]
    assert np.array(run.result()["confusion"]).sum() == 8
    shown = json.loads((run.path / "mistakes.json").read_text())
    assert shown
    assert {one["picture"] for one in shown} == {""}
    assert write_report(run.path).exists()


# --- what is settled before the first update --------------------------------------------------------------------------


def test_a_source_without_mirrors_drops_flips_with_a_note(tiny, npz):
    recipe = replace(SHORT, transforms=(HorizontalFlip(), Squash()))
    prepared = prepare(asked(tiny, Arrays(path=str(npz), mirrors=False), recipe))
    assert prepared.recipe.transforms == (Squash(),)
    assert "left out HorizontalFlip: in this data a mirrored picture can belong to another class" in prepared.notes
    kept = prepare(asked(tiny, Arrays(path=str(npz)), recipe))
    assert kept.recipe.transforms == recipe.transforms
    assert not [note for note in kept.notes if "left out" in note]


def test_the_network_gets_the_classes_and_the_size_of_the_test(tiny, npz):
    prepared = prepare(
        asked(replace(tiny, classes=1000), Arrays(path=str(npz)), replace(SHORT, size=12, test=replace(SHORT.test, size=20)))
    )
    assert prepared.model == replace(tiny, classes=3, resolution=20)


def test_a_size_that_falls_to_zero_is_refused(tiny, npz):
    with pytest.raises(ValueError, match="images must have a side of 1 pixel or more at every update, got size=-20"):
        prepare(asked(tiny, Arrays(path=str(npz)), replace(SHORT, size=Linear(start=20.0, end=-20.0))))


def test_both_splits_need_pictures(tiny, tmp_path, arrays):
    images, labels = arrays(39, 18)
    np.savez(tmp_path / "a.npz", images=images, labels=labels, split=["train"] * 39)
    with pytest.raises(ValueError, match="needs pictures in both splits, got 39 to train on and 0 to validate on"):
        prepare(asked(tiny, Arrays(path=str(tmp_path / "a.npz"))))


def test_zero_gamma_starts_each_block_as_its_shortcut(tiny, npz):
    task = resolve.make_job(
        prepare(
            asked(tiny, Arrays(path=str(npz)), replace(SHORT, start=replace(SHORT.start, zero_gamma=True, norm_momentum=1.0)))
        ),
        training.Ranks(),
    )
    network = task.learner.result()
    assert len(network.residuals()) == 3
    for residual in network.residuals():
        assert not residual.last_norm.weight.any()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len([norm for norm in norms if not norm.weight.any()]) == 3
    assert {norm.momentum for norm in norms} == {1.0}


def test_zero_gamma_reaches_what_an_objective_adds(tiny, npz):
    @dataclass(frozen=True, kw_only=True)
    class TrialPair(Objective):
        def make(self, network, teacher):
            learner = Supervised().make(network, teacher)
            learner.peer, learner.target = tiny.build(), tiny.build().requires_grad_(False)
            return learner

    recipe = replace(SHORT, start=replace(SHORT.start, zero_gamma=True), objective=TrialPair())
    learner = resolve.make_job(prepare(asked(tiny, Arrays(path=str(npz)), recipe)), training.Ranks()).learner
    assert not any(residual.last_norm.weight.any() for residual in learner.peer.residuals())
    assert all(residual.last_norm.weight.all() for residual in learner.target.residuals())


# --- sizes and parts, before anything is trained ------------------------------------------------------------------------


@pytest.mark.slow
def test_an_edit_that_changes_the_resolution_changes_the_training_size(tiny, npz, tmp_path):
    wanted = asked(tiny, Arrays(path=str(npz)), replace(SHORT, epochs=0.3), edits=(Scale(resolution=24),))
    run = train(wanted, tmp_path / "run")
    assert {line["size"] for line in run.lines() if line["event"] == "train"} == {24}
    assert load_model(run.path / "model.safetensors")[0].blueprint.resolution == 24
    assert wanted.sides() == {24}
    assert rehearse(prepare(wanted)).update_s > 0


def test_sizes_that_follow_the_epochs_of_the_run_are_all_known(tiny):
    # doubles after each epoch, so that only a clock of the run's own length shows the last ones
    size = Exponential(start=8.0, factor=2.0, epochs=1.0)
    wanted = asked(tiny, Shapes(per_class=4), replace(SHORT, epochs=3.0, size=size, test=replace(SHORT.test, size=16)))
    assert wanted.sides() == {8, 16, 32, 64}  # 64 is what the clock says when the last update is over
    warm = Warmup(epochs=1.0, then=Constant(value=20.0), share=1.0)
    assert min(asked(tiny, Shapes(per_class=4), replace(SHORT, epochs=4.0, size=warm)).sides()) == 0


def test_sizes_late_in_a_run_are_checked_before_it_begins(npz):
    window = network_named("levit_128s").blueprint
    size = Exponential(start=32.0, factor=1 / 32, epochs=2.0)  # one pixel from the second epoch on
    with pytest.raises(ValueError, match="the network does not take images of 1 x 1 pixels"):
        prepare(asked(window, Arrays(path=str(npz)), replace(SHORT, epochs=3.0, size=size, test=replace(SHORT.test, size=32))))


def test_a_part_that_a_batch_norm_cannot_take_is_refused_before_there_is_a_run(npz, tmp_path):
    lite = network_named("efficientnet_lite0").blueprint
    wanted = asked(lite, Arrays(path=str(npz)), replace(SHORT, batch_size=3, accumulate=2, size=32))
    with pytest.raises(
        ValueError,
        match=r"from 1 picture of 32 x 32 pixels at a time with the objective Supervised \(batch_size=3, 30 pictures, cut",
    ):
        train(wanted, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_part_of_one_is_fine_where_nothing_is_taken_of_a_batch(npz, tiny):
    alone = replace(SHORT, batch_size=1)
    assert prepare(asked(tiny, Arrays(path=str(npz)), alone)).epochs.updates_per_epoch == 30  # its maps are larger than a pixel
    tokens = network_named("vit_tiny").blueprint
    assert prepare(asked(tokens, Arrays(path=str(npz)), replace(alone, size=32)))


@pytest.mark.slow
def test_parts_of_several_processes_are_counted(npz):
    lite = network_named("efficientnet_lite0").blueprint
    wanted = asked(lite, Arrays(path=str(npz)), replace(SHORT, batch_size=4, size=32))
    prepare(wanted, ranks=1)
    with pytest.raises(ValueError, match=r"cut into 3 parts \(processes times accumulate\)"):
        prepare(wanted, ranks=3)


def test_a_run_of_an_earlier_release_keeps_its_sizes_and_its_memory_when_it_is_resumed(tiny):
    wanted = asked(
        tiny, Shapes(per_class=4), replace(SHORT, start=replace(SHORT.start, norm_momentum=0.01)), edits=(Scale(resolution=24),)
    )
    saved = encode(wanted)
    saved["recipe"] = {  # as it was written then, with the defaults of all else
        **{name: value for name, value in saved["recipe"].items() if name in ("kind", "epochs", "batch_size", "transforms")},
        "norm_momentum": 0.01,
        "evaluate_every": 1.0,
        "max_damaged": 0.01,
        "steady": False,
    }
    old = resolve.as_started(decode(Asked, saved), {"start": None})
    assert (old.training_sides(), old.final_size()) == ({16}, 24)  # edits did not reach the size of the training
    assert old.recipe.start.notes(tiny.build("meta"), 3, 3) == ()
    assert wanted.recipe.start.notes(tiny.build("meta"), 3, 3)
    assert resolve.as_started(wanted, {"start": None}).sides() == {24}


# --- how the process is left --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_leaves_the_number_of_threads_as_it_was(tiny, npz, tmp_path):
    before, seen = torch.get_num_threads(), []
    short = replace(SHORT, epochs=0.1, batch_size=3)  # one update: on a busy machine threads wait for one another
    wanted = replace(asked(tiny, Arrays(path=str(npz)), short), plan=Plan(workers=0, threads=before + 1))
    train(
        wanted, tmp_path / "run", listen=lambda line: seen.append(torch.get_num_threads()) if line["event"] == "train" else None
    )
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
    rehearse(prepare(wanted), updates=1)
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_a_run_that_fails_leaves_the_number_of_threads_as_it_was(tiny, npz, tmp_path):
    before = torch.get_num_threads()
    wanted = replace(asked(tiny, Arrays(path=str(npz)), replace(SHORT, batch_size=3)), plan=Plan(workers=0, threads=before + 1))
    with pytest.raises(KeyboardInterrupt):
        train(wanted, tmp_path / "run", stop_after=1)
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_a_run_leaves_random_numbers_as_they_were_also_where_it_is_resumed(tiny, npz, tmp_path):
    wanted = asked(tiny, Arrays(path=str(npz)))
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    with pytest.raises(KeyboardInterrupt):
        train(wanted, tmp_path / "run", stop_after=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    resume(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


# --- what cannot be set up --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning": Learning(frozen=("stem", "stages.0", "stages.1", "head"))}, "there are no weights to start from"),
        ({"clip": AdaptiveClip(exclude=("tail",))}, "AdaptiveClip.exclude names 'tail'"),
        ({"dropout": Exponential(start=0.1, factor=2.0, epochs=20.0), "epochs": 100.0}, r"dropout must stay in \[0, 1\)"),
        ({"teacher": "gone.safetensors", "objective": TAUGHT}, "there is no model file gone.safetensors"),
    ],
)
def test_what_cannot_be_set_up_is_found_before_there_is_a_run(tiny, npz, tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        train(asked(tiny, Arrays(path=str(npz)), replace(SHORT, **changes)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_classes_is_found_before_there_is_a_run(finished, tiny, tmp_path, arrays):
    images, labels = arrays(39, 18)
    path = tmp_path / "other.npz"
    np.savez(path, images=images, labels=labels, split=["train"] * 30 + ["val"] * 9, classes=["a", "b", "c"])
    taught = replace(SHORT, teacher=str(finished[-1].path), objective=TAUGHT)
    with pytest.raises(ValueError, match="are not those of the data"):
        train(asked(tiny, Arrays(path=str(path)), taught), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    prepare(asked(tiny, Arrays(path=str(finished[0])), taught))  # the directory of a run is a teacher too


# --- compiled -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("average", few([None, Average(share=None, decay=Constant(value=0.5))]))
def test_what_is_judged_and_kept_is_never_the_compiled_network_of_the_training(tiny, npz, tmp_path, monkeypatch, average):
    # in place of the compiler: a call that answers wrongly in evaluation, as one of another network would
    compiled = []

    def compile(module, **settings):
        plain = module._call_impl
        module._compiled_call_impl = lambda *given, **more: plain(*given, **more) if module.training else -plain(*given, **more)
        compiled.append(module)

    monkeypatch.setattr(torch.nn.Module, "compile", compile)
    wanted = replace(asked(tiny, Arrays(path=str(npz)), replace(SHORT, average=average)), plan=Plan(workers=0, compile=True))
    run = train(wanted, tmp_path / "run")
    assert len(compiled) == 1
    metrics, found = run.result()["metrics"], verbs.evaluate(run.path / "model.safetensors", str(npz)).accuracy.to_dict()
    assert {name: metrics[f"val/{name}"] for name in ("top1", "nll", "ece")} == {n: found[n] for n in ("top1", "nll", "ece")}
    if average:
        last = [line for line in run.lines() if line["event"] == "val"][-1]
        assert last["val_ema/top1"] == pytest.approx(metrics["val/top1"])
        assert last["val_ema/loss"] == pytest.approx(metrics["val/nll"], rel=1e-4)


# --- starting from weights --------------------------------------------------------------------------------------------


def test_starting_from_a_model_file_takes_its_weights_and_its_origin(finished, tiny, npz, tmp_path):
    first = finished[-1].path / "model.safetensors"
    recipe = replace(
        SHORT, optimizer=replace(SHORT.optimizer, lr=Constant(value=0.0)), start=replace(SHORT.start, zero_gamma=True)
    )
    run = train(asked(tiny, Arrays(path=str(npz)), recipe, weights=str(first)), tmp_path / "run")
    wanted, given = (load_model(path)[0].state_dict() for path in (first, run.path / "model.safetensors"))
    for name, tensor in wanted.items():
        if "running" not in name and "tracked" not in name:
            assert torch.equal(given[name], tensor), name
    about = load_model(run.path / "model.safetensors")[1]
    assert about.origin == "trained on numbers.npz, starting from trained on numbers.npz, from scratch"
    assert run.asked()["start"]["weights"] == f"weights from {first}"
    assert "left out zero_gamma, which is for training from scratch" in notes(run)


def test_weights_of_another_network_are_refused(finished, tiny, npz, tmp_path):
    other = replace(tiny, stages=tiny.stages[:1])
    with pytest.raises(ValueError, match="the weights do not fit the network: "):
        train(asked(other, Arrays(path=str(npz)), weights=str(finished[-1].path / "model.safetensors")), tmp_path / "run")


WANTED = Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3, crop=0.75, fit="squash", interpolation="bilinear")


@pytest.fixture
def squashed(tmp_path, tiny):
    """A model file whose pictures are squashed."""
    about = About(("red", "green", "blue"), origin="trained on photos")
    save_model(tmp_path / "squashed.safetensors", replace(tiny, preprocessing=WANTED).build(), about)
    return str(tmp_path / "squashed.safetensors")


DEIT = network_named("deit_small").blueprint.preprocessing


@pytest.mark.parametrize(
    ("own", "name", "verb", "wanted"),
    few(
        [
            (DEIT, "deit_small", "train", WANTED),  # as the network is unless told
            (replace(DEIT, crop=0.5), "deit_small", "train", replace(WANTED, crop=0.5)),  # asked for
            (replace(DEIT, mean=(0.1,) * 3), "deit_small", "train", replace(WANTED, mean=(0.1,) * 3)),
            (
                Preprocessing(crop=0.5),
                "",
                "train",
                Preprocessing(mean=WANTED.mean, std=WANTED.std, crop=0.5),
            ),  # handed in as a blueprint
            (WANTED, "", "finetune", WANTED),
            (replace(WANTED, crop=0.875, fit="crop"), "", "finetune", replace(WANTED, crop=0.875, fit="crop")),
        ]
    ),
)
def test_pictures_are_prepared_as_the_weights_want_them_unless_told(own, name, verb, wanted, squashed, tiny, npz):
    model = replace(tiny, preprocessing=own)
    found = prepare(asked(model, Arrays(path=str(npz)), weights=squashed, model_name=name, verb=verb))
    assert found.model.preprocessing == wanted
    said = [note for note in found.notes if note.startswith("preprocessing is that of its weights: ")]
    assert len(said) == (own != wanted)
    recipe = replace(SHORT, test=replace(SHORT.test, fit="crop", crop=1.0))
    found = prepare(asked(model, Arrays(path=str(npz)), recipe, weights=squashed, model_name=name, verb=verb))
    assert found.model.preprocessing == replace(wanted, fit="crop", crop=1.0)


@pytest.mark.slow
def test_a_teacher_that_is_used_to_other_pictures_is_noted(squashed, tiny, npz, monkeypatch):
    def noted(recipe, **changes):
        model = replace(tiny, preprocessing=replace(WANTED, mean=(0.1,) * 3, crop=1.0), **changes)
        taught = {"objective": TAUGHT} if "teacher" in recipe else {}
        notes = prepare(asked(model, Arrays(path=str(npz)), replace(SHORT, **taught, **recipe))).notes
        return [
            note.partition(" gets the images of this run; its own preprocessing is: ")
            for note in notes
            if "gets the images" in note
        ]

    assert noted({}) == noted({"teacher": squashed}) == []
    text = f"whole, squashed to 16 x 16 pixels, {in_words(WANTED, 16).partition(', ')[2].partition(', ')[2]}"
    for recipe in ({"size": Constant(value=24.0)}, {"size": Linear(start=12.0, end=16.0)}, {"test": Evaluated(fit="crop")}):
        assert [(who, own) for who, _, own in noted({"teacher": squashed, **recipe})] == [(f"the teacher {squashed}", text)]
    monkeypatch.setattr(resolve, "load_teacher", lambda path, classes: tiny.build())  # what timm says of it is asked of no hub
    [(who, _, own)] = noted({"teacher": "timm:resnet18.tv_in1k"})
    assert who == "the teacher timm:resnet18.tv_in1k"
    assert own.startswith("central square of 87.5 % of the shorter side, resized to 224 x 224 pixels, bilinear, ")
    with pytest.raises(ValueError, match="timm has no network 'resnt18'; did you mean 'resnet18'"):
        noted({"teacher": "timm:resnt18"})


def test_a_teacher_must_know_the_same_classes(finished, tiny, tmp_path, arrays):
    images, labels = arrays(39, 18)
    np.savez(tmp_path / "b.npz", images=images, labels=labels, classes=["red", "green", "violet"])
    recipe = replace(SHORT, objective=TAUGHT, teacher=str(finished[-1].path / "model.safetensors"))
    with pytest.raises(ValueError, match=r"model.safetensors are not those of the data: red, green, blue"):
        train(asked(tiny, Arrays(path=str(tmp_path / "b.npz")), recipe), tmp_path / "run")


def test_a_teacher_is_learned_from_and_not_saved(finished, tiny, npz, tmp_path):
    teacher = finished[-1].path / "model.safetensors"
    before = teacher.read_bytes()
    recipe = replace(SHORT, objective=Supervised(terms=(Distill(),)), teacher=str(teacher))
    run = train(asked(tiny, Arrays(path=str(npz)), recipe), tmp_path / "run")
    line = [line for line in run.lines() if line["event"] == "train"][-1]
    assert line["train/loss/Distill"] == line["train/loss"] > 0
    assert teacher.read_bytes() == before
    given, other = (load_model(path)[0].state_dict() for path in (run.path / "model.safetensors", teacher))
    assert given.keys() == other.keys()


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_rehearsal_counts_and_leaves_nothing_behind(tiny, npz, tmp_path):
    prepared = prepare(asked(tiny, Arrays(path=str(npz)), replace(SHORT, epochs=4.0, accumulate=2)))
    estimate = rehearse(prepared)
    assert (estimate.updates, estimate.updates_per_epoch, estimate.evaluations) == (12, 3, 4)
    assert estimate.update_s > 0
    assert estimate.total_s == pytest.approx(12 * estimate.update_s + 4 * estimate.evaluate_s + estimate.own_s)
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.npz"]


@pytest.fixture
def clockwork(monkeypatch):
    """An update takes half a second and an evaluation two, whatever the machine."""
    real = rehearse

    def rehearsed(prepared, seconds):
        return replace(real(prepared, updates=1), update_s=0.5, evaluate_s=2.0, own_s=0.0)

    monkeypatch.setattr(estimate, "rehearse", rehearsed)
    monkeypatch.setattr(training.time, "monotonic", lambda: 0.0)


def test_a_time_limit_chooses_the_epochs(tiny, npz, clockwork):
    # an epoch takes 3 * 0.5 + 2 = 3.5 s; of 98 s 15 % are kept, and an evaluation: 81.3 / 3.5 = 23.23
    prepared, said = fit_to_time(prepare(asked(tiny, Arrays(path=str(npz)))), 100.0)
    assert prepared.recipe.epochs == 23.23
    assert said == "23.23 epochs fit into the 100 s that are left of the time limit (asked for: 1)"


def test_a_time_limit_can_lengthen_or_cut_a_recipe(tiny, npz, clockwork):
    prepared, _ = fit_to_time(prepare(asked(tiny, Arrays(path=str(npz)), replace(SHORT, epochs=300.0))), 15.0)
    assert prepared.recipe.epochs == pytest.approx((0.85 * 13 - 2) / 3.5, abs=0.01)


@pytest.mark.slow
def test_a_time_limit_in_which_nothing_fits_is_refused(tiny, npz, clockwork):
    prepared = prepare(asked(tiny, Arrays(path=str(npz))))
    # an epoch takes 3.5 s and another evaluation 2 s, which are 85 % of 6.5 s; the end takes 2 s
    with pytest.raises(ShortTimeError, match=r"an update takes 0.5 s, so nothing can be trained in 5 s; .* about 9 s") as short:
        fit_to_time(prepared, 5.0)
    assert short.value.needed_s == 9
    assert fit_to_time(prepared, short.value.needed_s)[0].recipe.epochs >= 1.0


@pytest.mark.slow
def test_what_the_time_limit_chose_is_what_is_asked(tiny, npz, tmp_path, monkeypatch):
    found = rehearse(prepare(asked(tiny, Arrays(path=str(npz)))), updates=1)
    monkeypatch.setattr(estimate, "rehearse", lambda prepared, seconds: replace(found, update_s=0.4, evaluate_s=0.1, own_s=0.0))
    monkeypatch.setattr(training.time, "monotonic", lambda: 0.0)
    run = train(asked(tiny, Arrays(path=str(npz)), replace(SHORT, epochs=50.0)), tmp_path / "run", time_limit=5.0)
    epochs = run.asked()["recipe"]["epochs"]
    assert epochs == pytest.approx((0.85 * 3 - 0.1) / 1.3, abs=0.01)
    assert run.asked()["asked"]["recipe"]["epochs"] == epochs
    assert any(text.startswith(f"{epochs:g} epochs fit into the ") for text in notes(run))


@pytest.mark.slow
def test_a_run_whose_length_was_fitted_is_resumed_to_the_same_end(finished, tmp_path, monkeypatch):
    """After its second update, a run of two epochs is made one and a half; a resumed one knows that from its state."""
    wanted = finished[1]

    def refit(self, done, epochs):
        return replace(epochs, epochs=1.5) if done == 2 and epochs.epochs == 2 else None

    monkeypatch.setattr(training.Deadline, "refit", refit)
    estimated = rehearse(prepare(wanted), updates=1)
    monkeypatch.setattr(
        estimate, "rehearse", lambda prepared, seconds: replace(estimated, update_s=1e-6, evaluate_s=0.0, own_s=0.0)
    )
    limit = {"time_limit": 1e6, "capped": True}
    assert wanted.recipe.epochs == 2
    whole = train(wanted, tmp_path / "whole", **limit)
    per_epoch = prepare(wanted).epochs.updates_per_epoch
    assert whole.result()["updates"] == round(1.5 * per_epoch)
    assert [line["epochs"] for line in whole.lines() if line["event"] == "fitted"] == [1.5]
    with pytest.raises(KeyboardInterrupt):
        train(wanted, tmp_path / "run", stop_after=3, **limit)
    run = resume(tmp_path / "run")
    assert run.result()["updates"] == whole.result()["updates"]
    assert run.result()["epochs"] == whole.result()["epochs"]
    assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_rehearsing_does_not_change_the_run(finished, tmp_path, monkeypatch):
    _, wanted, _, _, whole = finished
    rehearse(prepare(wanted), updates=1)
    torch.rand(100)
    run = train(wanted, tmp_path / "run")
    assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_runs_are_named_after_data_and_network(tiny, npz):
    assert training.run_name(asked(tiny, Arrays(path=str(npz)), model_name="resnet18")) == "numbers.npz-resnet18"
    assert training.run_name(asked(tiny, Arrays(path=str(npz)))) == "numbers.npz-model"
    assert training.run_name(asked(tiny, Arrays(path=str(npz))), "found-1a2b") == "numbers.npz-found-1a2b"


def test_data_that_is_made_of_other_data_has_the_name_of_these(tiny, npz):
    own = Arrays(path=str(npz))
    for source in (
        Part(source=own, share=0.1),
        InnerSplit(source=own),
        Fold(source=Part(source=own, share=0.5), count=3, number=1),
        Apart(train=Unlabelled(path="loose"), val=own),
        Several(sets=(Set(name="a", source=own), Set(name="b", source=Shapes()))),
    ):
        assert training.run_name(asked(tiny, source, model_name="resnet18")) == "numbers.npz-resnet18"
    assert training.data_word(Shapes()) == "shapes"


def test_a_saved_model_can_be_saved_again(finished, tmp_path):
    network, about = load_model(finished[-1].path / "model.safetensors")
    save_model(tmp_path / "again.safetensors", network, about)
    assert (tmp_path / "again.safetensors").read_bytes() == (finished[-1].path / "model.safetensors").read_bytes()


def test_a_network_of_timm_can_be_a_teacher(monkeypatch, tiny, collection):
    asked_for = []

    def stand_in(name):
        asked_for.append(name)
        torch.manual_seed(0)
        return Foreign(replace(tiny, classes=2).build(), tiny.preprocessing, 16, ("cat", "dog"))

    monkeypatch.setattr(resolve, "timm_model", stand_in)
    assert isinstance(resolve.load_teacher("timm:resnet18.a1_in1k", replace(collection, classes=("cat", "dog"))), Foreign)
    assert asked_for == ["resnet18.a1_in1k"]
    with pytest.raises(ValueError, match=r"the classes of the teacher timm:resnet18 are not those of the data: cat, dog"):
        resolve.load_teacher("timm:resnet18", replace(collection, classes=("cat", "cow")))


def test_a_part_of_data_that_was_moved_stays_a_part():
    inner = Folder(path="a", val_share=0.3)
    part = Part(source=inner, share=0.5, noise=0.1)
    assert moved_to(part, Folder(path="b")) == replace(part, source=replace(inner, path="b"))
    assert moved_to(part, Shapes()) == replace(part, source=Shapes())
    assert moved_to(inner, Arrays(path="c.npz")) == Arrays(path="c.npz")


class Busy(Others):
    """A machine whose other processes keep so many of its cores busy."""

    def __init__(self, busy, cores=4):
        super().__init__(cores)
        self.busy = busy

    def used(self):
        return self.busy


@pytest.mark.parametrize(
    ("plan", "threads", "busy", "warned"),
    [
        (Plan(), 4, 2.5, True),
        (Plan(), 1, 2.5, False),  # as with OMP_NUM_THREADS=1
        (Plan(threads=2), 1, 2.5, True),
        (Plan(threads=1), 4, 2.5, False),
        (Plan(), 4, 1.9, False),
        (Plan(), 4, None, False),
        (Plan(device="cuda"), 4, 4.0, False),
    ],
)
def test_warns_of_cores_that_are_shared(monkeypatch, plan, threads, busy, warned):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    said = training.shared_cores(plan, Busy(busy))
    assert bool(said) == warned
    assert all("2.5 of 4 cores" in text and "threads=1" in text for text in said)


def test_says_so_before_a_run(tmp_path, npz, tiny, monkeypatch):
    said = []
    monkeypatch.setattr(training, "Others", lambda: Busy(4.0))
    monkeypatch.setattr(training, "LEAST_WATCH_S", 0.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    asked = Asked(data=Arrays(path=str(npz)), model=tiny, recipe=SHORT, plan=Plan(workers=0))
    train(asked, tmp_path / "run", say=said.append)
    assert any(text.startswith("warning: other processes use") for text in said)
