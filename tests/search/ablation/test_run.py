import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from paretina.data.sources.arrays import Arrays
from paretina.data.sources.shapes import Shapes
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.measure.timing import Turns
from paretina.model.stems.conv import ConvStem
from paretina.report.ablation_page import advice
from paretina.run import Run
from paretina.search.ablation import run as ablate
from paretina.search.ablation.findings import Outcome, read_findings, read_state, without_effect
from paretina.search.ablation.run import inference, opened, run_study, write_state
from paretina.search.ablation.study import Rival, Study
from paretina.search.ablation.switches import switch_of
from paretina.search.ablation.verdicts import LEVEL, Price
from paretina.search.engines.here import Here
from paretina.search.tasks import carry_out, lost
from paretina.spec import encode
from paretina.train import estimate, training
from paretina.train.asked import Asked
from paretina.train.average import Average
from paretina.train.recipe import Recipe
from tiny import tiny_blueprint

TINY = tiny_blueprint(resolution=12)
RECIPE = Recipe(epochs=1.0, batch_size=10, transforms=(Squash(),), average=Average())
AVERAGE = switch_of("average")
FUSED = switch_of("edits.Fuse", True)
FREE = Price(most=None)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """20 pictures to train on, 9 to validate on, and a network of one block."""
    random = np.random.default_rng(0)
    labels = np.arange(29) % 3
    images = (random.random((29, 12, 12, 3)) * 170 + 40 * labels[:, None, None, None]).astype(np.uint8)
    path = tmp_path_factory.mktemp("ablate") / "numbers.npz"
    np.savez(path, images=images, labels=labels, split=["train"] * 20 + ["val"] * 9)
    return Asked(data=Arrays(path=str(path)), model=TINY, recipe=RECIPE, plan=Plan(workers=0))


@pytest.fixture
def study():
    """A study whose runs are made up, see `made_up`."""
    return Study(
        base=Asked(data=Shapes(per_class=4, val_per_class=1, size=16), model=TINY, recipe=RECIPE, plan=Plan()),
        switches=(AVERAGE,),
    )


def made_up(monkeypatch, top1):
    """Lets runs come out at once, with a top-1 that follows from what was asked; returns the list of what was."""
    asked_for = []

    def train(asked, folder, *_, **__):
        asked_for.append((folder.parent.name, asked.recipe.seed))
        score = top1(asked)
        if score is None:
            Run.create(folder, {})
            raise FloatingPointError("loss is nan at step 3")
        run = Run.create(folder, {"model": encode(asked.model), "environment": {"cpu": "made up"}})
        time_s = 10.0 if asked.recipe.average is None else 11.0
        run.log("train", 1, time_s=time_s)
        counts = {"train": 4500, "val": 1500}
        result = {"metrics": {"val/top1": score}, "time_s": time_s, "peak_mb": 500.0, "data": counts}
        run.write("result.json", {**result, "cost": {"macs": 100, "params": 10}, "status": "done"})
        return run

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(ablate, "fresh_peak", lambda device: True)
    return asked_for


def gaining(points):
    """The average gains so many points, more or less, while seeds are far apart."""

    def top1(asked):
        seed = asked.recipe.seed
        luck = (0.1, -0.1, 0.05, -0.05, 0.0)[seed % 5]
        return 70.0 + 3 * seed - (0 if asked.recipe.average else points + luck)

    return top1


# --- for real -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_workers_end_with_the_same_runs_as_one(tmp_path, base):
    study = Study(base=replace(base, plan=replace(base.plan, threads=1)), seeds=(0, 1), switches=(AVERAGE,))
    one = run_study(tmp_path / "one", study)
    said = []
    two = run_study(tmp_path / "two", study, say=said.append, engine=Here(2))
    assert two.done == one.done == 4
    assert sum(line.startswith(("1 of 4", "2 of 4", "3 of 4", "4 of 4")) for line in said) == 4
    for name in ("base", "average"):
        for seed in ("0", "1"):
            a, b = (load_file(tmp_path / each / "runs" / name / seed / "model.safetensors") for each in ("one", "two"))
            assert all(torch.equal(a[key], b[key]) for key in a)
    assert any("trained side by side" in note for note in two.notes)
    assert not any("trained side by side" in note for note in one.notes)


def test_a_run_whose_process_is_lost_counts_as_failed(tmp_path, study, monkeypatch):
    made_up(monkeypatch, gaining(1.0))

    class LosingOne(Here):
        def share(self, tasks, folder, say):
            for task in tasks:
                lost(folder, task) if task.name == "base-1" else carry_out(task, folder)

    found = run_study(tmp_path / "study", study, engine=LosingOne(2))
    assert any("failed with seed 1" in note for note in found.notes)


@pytest.mark.slow
def test_a_study_from_beginning_to_end(tmp_path, base, monkeypatch):
    """Two seeds and one switch, really trained; interrupted, continued, and the same as if it had not been."""
    monkeypatch.setattr(ablate.gc, "collect", lambda: 0)  # takes long in a process that holds all tests
    study = Study(base=base, seeds=(0, 1), switches=(AVERAGE,))
    heard = []

    def listen(line):
        heard.append(line)
        if line["event"] == "train" and len([each for each in heard if each["event"] == "start"]) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(tmp_path / "study", study, listen=listen)
    assert read_findings(tmp_path / "study").done == 2
    assert read_findings(tmp_path / "study").look is None
    said = []
    found = run_study(tmp_path / "study", study, say=said.append)
    assert [text.split(":")[0] for text in said if text.startswith("run")] == ["run 3 of 4", "run 4 of 4"]
    assert said[0] == "a verdict needs 3 pairs of runs, one for each seed, and this study has 2 seeds; give --seeds 3 or more"
    assert (found.done, found.runs, sorted(found.base)) == (4, 4, [0, 1])
    (finding,) = found.findings
    for seed, gain in zip(finding.seeds, finding.pairs.gain, strict=True):
        results = [Run(tmp_path / "study" / "runs" / name / str(seed)).result() for name in ("base", "average")]
        having, lacking = (result["metrics"]["val/top1"] for result in results)
        assert gain == having - lacking
    assert finding.verdict.verdict == "cannot tell yet"
    assert finding.verdict.more == 1
    assert advice(finding) == "at least 3 pairs are needed"
    assert finding.inference == (1.0, 1.0, 1.0)
    asked = json.loads((tmp_path / "study" / "runs" / "average" / "1" / "asked.json").read_text())
    assert (asked["recipe"]["average"], asked["recipe"]["seed"]) == (None, 1)
    whole = run_study(tmp_path / "whole", study)
    assert whole.base == found.base
    assert whole.findings[0].pairs.gain == finding.pairs.gain


@pytest.mark.slow
def test_epochs_are_fitted_once_and_rivals_train_as_long(tmp_path, base, monkeypatch):
    wider = replace(TINY, stem=ConvStem(width=16))
    study = Study(base=base, seeds=(0,), switches=(AVERAGE,), rivals=(Rival(name="resnet18", model=wider),), time_limit_s=60.0)
    pace = {8: 0.01, 16: 0.04}  # seconds an update, by the width of the stem
    monkeypatch.setattr(estimate, "fit_to_time", lambda prepared, seconds: (prepared_for(prepared, 5.0), "5 epochs fit"))
    found_pace = type("Estimate", (), {})

    def rehearse(prepared, updates):
        found = found_pace()
        found.update_s = pace[prepared.model.stem.width]
        return found

    monkeypatch.setattr(ablate, "rehearse", rehearse)
    monkeypatch.setattr(ablate, "fresh_peak", lambda device: True)
    epochs = {}
    monkeypatch.setattr(
        training, "train", lambda asked, folder, *_, **__: epochs.update({folder.parent.name: asked.recipe.epochs})
    )
    said = []
    run_study(tmp_path / "study", study, say=said.append)
    assert epochs == {"base": 5.0, "average": 5.0, "resnet18": 1.25}
    assert read_state(tmp_path / "study")["epochs"] == {"": 5.0, "resnet18": 1.25}
    assert said[1] == "5 epochs fit"
    monkeypatch.setattr(estimate, "fit_to_time", None)  # is known already
    run_study(tmp_path / "study", study)


def prepared_for(prepared, epochs):
    return replace(prepared, asked=replace(prepared.asked, recipe=replace(prepared.recipe, epochs=epochs)))


@pytest.mark.slow
def test_networks_that_differ_are_timed_in_turn(tmp_path, study, monkeypatch):
    study = replace(study, switches=(AVERAGE, FUSED), seeds=(0,))

    made_up(monkeypatch, gaining(1.0))
    plain_train = training.train

    def train(asked, folder, *rest, **more):
        blueprint = asked.model
        for edit in asked.edits:
            blueprint = edit(blueprint)
        return plain_train(replace(asked, model=blueprint), folder, *rest, **more)

    monkeypatch.setattr(training, "train", train)
    timed = []

    def count(self, steps):
        timed.append(len(steps))
        return Turns(rounds=2, seconds=0.01, clock=Ticks()).run_for_real(steps)

    monkeypatch.setattr(Turns, "run_for_real", Turns.run, raising=False)
    monkeypatch.setattr(Turns, "run", count)
    found = run_study(tmp_path / "study", study)
    by_name = {finding.switch.title: finding for finding in found.findings}
    assert by_name["average"].inference == (1.0, 1.0, 1.0)
    assert by_name["edits.Fuse"].inference.value > 0
    assert set(found.inference["ratios"]) == {"edits.fuse"}
    run_study(tmp_path / "study", study)
    assert timed == [2]
    assert inference(tmp_path / "study", replace(study, switches=(AVERAGE,)), {"epochs": {}, "inference": None}, print) is None


class Ticks:
    """A clock that continues by itself."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.001
        return self.now


# --- with made-up runs --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_finished_is_not_made_again_and_the_seeds_take_turns(tmp_path, study, monkeypatch):
    asked_for = made_up(monkeypatch, gaining(2.0))
    found = run_study(tmp_path, study)
    assert sorted(asked_for) == [(name, seed) for name in ("average", "base") for seed in range(5)]
    assert [seed for _, seed in asked_for] == sorted(seed for _, seed in asked_for)
    assert found.findings[0].pairs.gain == pytest.approx([2.1, 1.9, 2.05, 1.95, 2.0])
    assert found.findings[0].verdict.verdict == "worth it"
    assert found.findings[0].time.value == pytest.approx(1.1)
    shutil.rmtree(tmp_path / "runs" / "base" / "3")
    run_study(tmp_path, study)
    assert asked_for[10:] == [("base", 3)]


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path, study):
    (tmp_path / "letter.txt").write_text("dear ...")
    with pytest.raises(ValueError, match="is not empty and holds no study"):
        run_study(tmp_path, study)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_typo_is_found_before_anything_is_written(tmp_path, study):
    with pytest.raises(ValueError, match="did you mean 'dropout'"):
        run_study(tmp_path / "study", replace(study, switches=(AVERAGE, switch_of("droput=0"))))
    assert not (tmp_path / "study").exists()


def test_another_base_is_refused_and_named(tmp_path, study, monkeypatch):
    made_up(monkeypatch, gaining(1.0))
    run_study(tmp_path, study)
    other = replace(study, base=replace(study.base, recipe=replace(RECIPE, epochs=2.0)))
    with pytest.raises(ValueError, match=r"recipe\.epochs is 1\.0 there and 2\.0 here"):
        run_study(tmp_path, other)
    with pytest.raises(ValueError, match=r"time limit is None there and 9\.0 here"):
        run_study(tmp_path, replace(study, time_limit_s=9.0))


def test_a_study_of_an_earlier_release_goes_on_with_its_split(tmp_path, study):
    base = replace(study.base, data=Arrays(path="a.npz", val_share=0.3))
    older = replace(study, base=replace(base, data=Arrays(path="a.npz", val_share=0.3, copies="anywhere")))
    write_state(tmp_path, opened(tmp_path / "new", older)[1])
    assert opened(tmp_path, replace(study, base=base))[0].base == older.base
    with pytest.raises(ValueError, match=r"data\.val_share is 0\.3 there and 0\.2 here"):
        opened(tmp_path, replace(study, base=replace(base, data=Arrays(path="a.npz"))))


@pytest.mark.slow
def test_what_was_once_asked_stays_part_of_the_study(tmp_path, study, monkeypatch):
    made_up(monkeypatch, gaining(2.0))
    run_study(tmp_path, replace(study, seeds=(0, 1, 2), shares=(0.5,)))
    noisy = replace(study, seeds=(1, 3), switches=(switch_of("dropout=0.3", True),), noises=(0.2,))
    merged, _ = opened(tmp_path, noisy)
    assert [switch.title for switch in merged.switches] == ["average", "dropout=0.3"]
    assert (merged.seeds, merged.shares, merged.noises) == ((0, 1, 2, 3), (0.5,), (0.2,))
    found = run_study(tmp_path, noisy)
    assert [len(finding.seeds) for finding in found.findings] == [4, 4]
    renamed = replace(AVERAGE, fields=("average.decay=0.5",))
    with pytest.raises(ValueError, match="average is another switch in this study already"):
        opened(tmp_path, replace(study, switches=(renamed,)))


@pytest.mark.slow
def test_seeds_that_were_not_begun_can_be_given_up(tmp_path, study, monkeypatch):
    made_up(monkeypatch, lambda asked: 70.0 if asked.recipe.seed < 3 else (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_study(tmp_path, replace(study, seeds=tuple(range(9))))
    assert run_study(tmp_path, replace(study, seeds=(0, 1))).study.seeds == (0, 1, 2)


@pytest.mark.slow
def test_runs_that_diverge_are_named_and_not_tried_again(tmp_path, study, monkeypatch):
    asked_for = made_up(monkeypatch, lambda asked: None if asked.recipe.seed == 2 and not asked.recipe.average else 70.0)
    said = []
    found = run_study(tmp_path, study, say=said.append)
    assert "average, seed 2, failed: loss is nan at step 3" in said
    assert (found.done, found.runs) == (10, 10)
    assert found.findings[0].seeds == (0, 1, 3, 4)
    assert found.findings[0].verdict.why == "1 of its runs failed"
    assert any("average: failed with seed 2" in note for note in found.notes)
    run_study(tmp_path, study)
    assert len(asked_for) == 10


# --- looks --------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_looking_twice_at_the_same_runs_is_one_look(tmp_path, study, monkeypatch):
    made_up(monkeypatch, gaining(2.0))
    first, second = run_study(tmp_path, study), run_study(tmp_path, study)
    assert (first.look.number, first.look.level) == (second.look.number, second.look.level) == (1, LEVEL / 2)
    assert len(read_state(tmp_path)["looks"]) == 1


@pytest.mark.slow
def test_more_seeds_are_another_look_and_spend_less(tmp_path, study, monkeypatch):
    made_up(monkeypatch, gaining(0.05))
    first = run_study(tmp_path, study)
    assert first.findings[0].verdict.verdict == "cannot tell yet"
    later = run_study(tmp_path, replace(study, seeds=tuple(range(8))))
    assert (later.look.number, later.look.level, later.look.spent) == (2, LEVEL / 4, pytest.approx(0.75 * LEVEL))
    assert run_study(tmp_path, replace(study, seeds=tuple(range(8))), FREE).look.number == 3  # other prices, other questions


@pytest.mark.slow
def test_what_was_told_is_not_taken_back(tmp_path, study, monkeypatch):
    scores = gaining(2.0)
    made_up(monkeypatch, lambda asked: scores(asked) if asked.recipe.seed < 5 else 50.0 + (9 if asked.recipe.average else 0))
    assert run_study(tmp_path, study).findings[0].verdict.verdict == "worth it"
    later = run_study(tmp_path, replace(study, seeds=tuple(range(6)))).findings[0].verdict
    assert later.p_corrected > LEVEL / 4
    assert (later.verdict, later.why) == ("worth it", "verdict of an earlier look, with fewer runs")


@pytest.mark.slow
def test_a_last_look_spends_all_and_ends_the_study(tmp_path, study, monkeypatch):
    made_up(monkeypatch, gaining(0.05))
    run_study(tmp_path, study)
    last = run_study(tmp_path, study, final=True)
    assert (last.look.number, last.look.level, last.look.spent, last.look.final) == (1, LEVEL, LEVEL, True)
    asked_for = made_up(monkeypatch, gaining(0.05))
    with pytest.raises(ValueError, match="had its last look"):
        run_study(tmp_path, replace(study, seeds=tuple(range(8))))
    assert asked_for == []
    assert run_study(tmp_path, study).look.level == LEVEL


def test_no_verdict_before_every_run_is_there(tmp_path, study, monkeypatch):
    made_up(monkeypatch, gaining(2.0))
    run_study(tmp_path, study)
    made_up(monkeypatch, lambda asked: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_study(tmp_path, replace(study, seeds=tuple(range(6))))
    found = read_findings(tmp_path)
    assert (found.done, found.runs, found.look) == (10, 12, None)
    assert found.findings[0].verdict is None
    assert found.findings[0].gain.value == pytest.approx(2.0)


# --- laws ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_data_noise_and_networks_are_read_by_their_axes(tmp_path, study, monkeypatch):
    def top1(asked):
        share, noise = getattr(asked.data, "share", 1.0), getattr(asked.data, "noise", 0.0)
        wide = asked.model.stem.width == 16
        return 60.0 + 10 * np.log10(share) - 20 * noise + 4 * wide + asked.recipe.seed

    made_up(monkeypatch, top1)
    monkeypatch.setattr(ablate, "fitted", lambda study, known, say: {"wider": 2.0})
    monkeypatch.setattr(ablate, "inference", lambda *_: None)
    rival = Rival(name="wider", model=replace(TINY, stem=ConvStem(width=16)))
    found = run_study(tmp_path, replace(study, shares=(0.1, 0.5), noises=(0.0, 0.4), rivals=(rival,), seeds=(0, 1, 2)))
    base, wider = found.scalings
    assert (base.network, wider.network) == ("", "wider")
    assert list(base.points) == [450.0, 2250.0, 4500.0]
    assert base.points[450.0][0] == pytest.approx(51.0)
    assert base.laws[0].slope[0] == pytest.approx(10.0)
    assert [fall.points[0] for fall in found.noise.falls] == pytest.approx([0.0, 8.0])
    ((_, exchange),) = found.exchanges
    assert [gain for gain, _ in exchange.gains.values()] == pytest.approx([4.0, 4.0, 4.0])
    assert exchange.worth == pytest.approx(10**0.4)
    assert any("wider was trained for 2 epochs, for equal training time" in note for note in found.notes)
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_change_without_effect_is_told(study):
    def came_out(top1, nll):
        return Outcome(top1, 1.0, 1.0, 10, 10, 1, 1, "same", "machine", nll=nll)

    study = replace(study, seeds=(0, 1))
    base, other = (variant.name for variant in study.variants({}))
    found = {base: {0: came_out(50.0, 1.0), 1: came_out(60.0, 0.9)}, other: {0: came_out(50.0, 1.0), 1: came_out(60.0, 0.9)}}
    assert without_effect(study, {"epochs": {}}, found) == ["average"]
    found[other][1] = came_out(60.0, 0.91)
    assert without_effect(study, {"epochs": {}}, found) == []
