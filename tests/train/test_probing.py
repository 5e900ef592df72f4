import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from paretina.data.decode import DecodeError
from paretina.data.pictures import Pictures
from paretina.data.sources.arrays import Arrays
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.assemblies.divide import Ensemble
from paretina.model.heads.distilled import DistilledHead
from paretina.model.heads.pool import PoolHead
from paretina.model.rows import start_small
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About, Loaded, Start, load_model, save_model
from paretina.report import read_run, write_report
from paretina.report.records import probe_said
from paretina.schedules import Constant
from paretina.search.ablation.study import settled
from paretina.search.frontier.candidates import Candidate, check_any
from paretina.spec import decode, encode
from paretina.train import probe, probing
from paretina.train.asked import Asked
from paretina.train.average import Average
from paretina.train.estimate import fit_to_time, rehearse
from paretina.train.evaluated import Evaluated
from paretina.train.learning import Learning
from paretina.train.optimizers.adamw import AdamW
from paretina.train.probe import features, fit_probe
from paretina.train.probing import labels_of
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.resolve import make_job, prepare
from paretina.train.starting import Starting, check_linear, check_probe
from paretina.train.training import resume, train

PROBE = Recipe(
    epochs=2.0,
    batch_size=10,
    transforms=(Squash(),),
    optimizer=AdamW(lr=Constant(value=1e-3)),
    size=Constant(value=12.0),
    start=Starting(head="probe"),
    average=Average(),
)


@pytest.fixture(scope="module", autouse=True)
def few_penalties():
    """Few penalties to choose from: noise that is no easier to tell apart with one than with another takes the longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "PENALTIES", probe.PENALTIES[::4])
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory, tiny):
    """A model file of 16 pixels that knows other classes."""
    torch.manual_seed(3)
    network = tiny.build()
    start_small(network)
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    save_model(path, network, About(("x", "y", "z"), licence="MIT", origin="nothing"))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory, arrays):
    images, labels = arrays(39, 18)
    path = tmp_path_factory.mktemp("data") / "numbers.npz"
    np.savez(path, images=images, labels=labels, split=["train"] * 30 + ["val"] * 9, classes=["red", "green", "blue"])
    return Arrays(path=str(path))


@pytest.fixture(scope="module")
def asked(tiny, data, weights):
    return Asked(data=data, model=tiny, recipe=PROBE, plan=Plan(workers=0), weights=str(weights))


@pytest.fixture(scope="module")
def whole(asked, tmp_path_factory):
    return train(asked, tmp_path_factory.mktemp("whole") / "run")


def with_recipe(asked, **changes):
    return replace(asked, recipe=replace(asked.recipe, **changes))


def same(one, two):
    for name in ("model.safetensors", "predictions.csv"):
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes()


def events(run, event):
    return [line for line in run.lines() if line["event"] == event]


# --- what a run begins with -----------------------------------------------------------------------------------------------


def test_the_head_begins_as_the_probe_of_the_training_pictures_at_the_size_of_the_weights(asked, whole, weights):
    prepared = prepare(asked)
    assert (prepared.probe_size, prepared.model.resolution) == (16, 12)
    network = load_model(weights)[0]
    seen = features(network, prepared.train, Plan(), 16)
    wanted = fit_probe(seen, torch.tensor(prepared.train.labels()), 3)
    found = probing.probed(prepared, Ranks())
    last = make_job(prepared, Ranks(), found.probe.give).learner.result().head.classifier
    assert torch.equal(last.weight, wanted.weight)
    assert torch.equal(last.bias, wanted.bias)
    val = features(network, prepared.val, Plan(), 16)
    right = int((wanted(val).argmax(1) == torch.tensor(prepared.val.labels())).sum())
    said = whole.result()["probe"]
    assert said["top1"] == pytest.approx(100 * right / 9)
    assert said["top1_low"] < said["top1"] <= said["top1_high"]
    own = wanted.cross_validated
    assert said["cross_validated"] == {
        "top1": own.top1.value,
        "top1_low": own.top1.low,
        "top1_high": own.top1.high,
        "n": 30,
    }
    assert (said["penalty"], said["size"]) == (wanted.penalty, 16)
    assert said["time_s"] > 0


def test_it_is_said_what_the_last_layer_starts_as(whole):
    notes = [line["message"] for line in events(whole, "note")]
    assert [note for note in notes if "the last layer" in note] == [
        "the last layer starts as a linear probe: a logistic regression on the features that the weights give the training "
        "pictures at their own 16 pixels"
    ]


@pytest.mark.slow
def test_two_runs_are_equal_bit_for_bit(asked, whole, tmp_path):
    same(train(asked, tmp_path / "again"), whole)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_without_a_second_probe(asked, whole, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "run", stop_after=2)
    monkeypatch.setattr("paretina.train.training.probed", None)
    run = resume(tmp_path / "run")
    same(run, whole)
    assert {**run.result()["probe"], "time_s": 0} == {**whole.result()["probe"], "time_s": 0}


@pytest.mark.slow
def test_a_run_killed_before_its_first_state_is_probed_again(asked, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "run", stop_after=2)
    for state in (tmp_path / "run" / "state").iterdir():
        state.rename(state.with_name(".half"))
    run = resume(tmp_path / "run")
    same(run, whole)
    assert len(events(run, "probe")) == 2


@pytest.mark.slow
def test_without_it_nothing_is_probed(asked, tmp_path, monkeypatch):
    monkeypatch.setattr("paretina.train.training.probed", None)
    run = train(with_recipe(asked, start=Starting(), epochs=0.34), tmp_path / "run")
    assert "probe" not in run.result()
    assert not events(run, "probe")


def test_what_was_asked_before_there_were_probes_has_none(asked):
    old = encode(with_recipe(asked, start=Starting()))
    del old["recipe"]["start"]["head"]
    assert decode(Asked, old).recipe.start.head == "small"


@pytest.mark.slow
def test_a_rehearsal_fits_no_probe_and_counts_its_time(asked, monkeypatch):
    monkeypatch.setattr(probing, "fit_probe", None)
    prepared = prepare(asked)
    plain = rehearse(prepare(with_recipe(asked, start=Starting())), 1)
    assert plain.probe_s == 0
    found = rehearse(prepared, 1)
    assert found.probe_s > 0
    assert found.total_s == pytest.approx(
        found.updates * found.update_s + found.evaluations * found.evaluate_s + found.own_s + found.probe_s
    )
    # the evaluation of 9 pictures at 12 pixels; the probe sees 39 at 16
    assert found.probe_s == pytest.approx(found.evaluate_s / 9 * 39 * (16 / 12) ** 2)


@pytest.mark.slow
def test_a_frozen_head_may_be_a_probe(asked, tmp_path):
    wanted = with_recipe(asked, learning=Learning(frozen=("head",)), average=None, epochs=0.34)
    run = train(wanted, tmp_path / "run")
    found = probing.probed(prepare(wanted), Ranks())
    assert torch.equal(load_model(run.path / "model.safetensors")[0].head.classifier.weight, found.probe.weight)


@pytest.mark.slow
def test_pictures_that_vanish_are_named(asked, tmp_path, monkeypatch):
    prepared, image = prepare(asked), Pictures.image

    def gone(self, index):
        if self.samples[index].name == prepared.train.samples[7].name:
            raise DecodeError("gone")
        return image(self, index)

    monkeypatch.setattr(Pictures, "image", gone)
    found = probing.probed(prepared, Ranks())
    assert found.faults == (f"{prepared.train.samples[7].name}: not there for the linear probe",)
    assert found.figures["cross_validated"]["n"] == 29


# --- no updates -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"test": Evaluated(keep="best")}, {"average": None}], ids=repr)
def test_a_run_without_updates_is_the_probe_at_the_size_of_the_weights(asked, weights, tmp_path, changes):
    wanted = with_recipe(asked, epochs=0.0, **changes)
    run = train(wanted, tmp_path / "run")
    network, about = load_model(run.path / "model.safetensors")
    assert network.model.resolution == 16
    found = probing.probed(prepare(wanted), Ranks()).probe
    assert torch.equal(network.head.classifier.weight, found.weight)
    stem = load_model(weights)[0].state_dict()
    assert all(torch.equal(stem[name], tensor) for name, tensor in network.state_dict().items() if "classifier" not in name)
    result = run.result()
    assert result["metrics"]["val/top1"] == pytest.approx(result["probe"]["top1"])
    assert result["chosen"] == "the weights that the run began with; it made no update"
    assert about.classes == ("red", "green", "blue")
    assert not events(run, "train")
    assert write_report(run.path).exists()
    assert read_run(run.path).finished
    json.dumps(result, allow_nan=False)


@pytest.mark.slow
def test_a_test_size_that_is_given_holds_without_updates_too(asked, tiny):
    given = with_recipe(asked, epochs=0.0, test=Evaluated(size=20))
    assert prepare(given).model.resolution == 20
    assert prepare(replace(with_recipe(asked, epochs=0.0), model=replace(tiny, resolution=24))).model.resolution == 24
    assert prepare(given).probe_size == 16


def test_no_updates_take_no_longer_than_the_probe(asked):
    prepared = prepare(with_recipe(asked, epochs=0.0))
    found = rehearse(prepared, 1)
    assert (found.updates, found.total_s) == (0, pytest.approx(found.evaluate_s + found.own_s + found.probe_s))
    kept, said = fit_to_time(prepared, 1.0)
    assert kept is prepared
    assert said == "no update is made, since epochs=0, whatever fits into the 1 s that are left"


# --- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "recipe", "said"),
    [
        (
            {"weights": "none"},
            {},
            r"^start.head=probe fits the last layer to the features of trained weights, and there",
        ),
        ({}, {"start": Starting(), "epochs": 0.0}, r"^epochs=0 trains nothing; .* is fitted, start.head=probe, or where a"),
    ],
)
def test_runs_that_cannot_begin_with_a_probe_are_refused_before_there_is_one(asked, tmp_path, changes, recipe, said):
    with pytest.raises(ValueError, match=said):
        train(replace(with_recipe(asked, **recipe), **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_networks_with_more_than_one_last_layer_have_no_probe(tiny):
    together = Ensemble(member=tiny, resolution=16, classes=3, preprocessing=tiny.preprocessing)
    with pytest.raises(ValueError, match=r"^start.head=probe needs .* one linear layer .*, Ensemble, ends with Ensembled"):
        check_linear(together)
    with pytest.raises(ValueError, match=r"this one, Blueprint, ends with TwoClassifiers: leave it out, start.head=small"):
        check_linear(replace(tiny, head=DistilledHead()))


def test_tasks_without_one_class_a_picture_have_no_probe(tiny):
    start = Start(tiny, {}, "", "", "weights from a file", ("a", "b", "c"))
    loaded = Loaded(start.rows(("a", "b", "c")))
    with pytest.raises(
        ValueError, match=r"^start.head=probe is for one class a picture; the task of this data is several labels a picture"
    ):
        check_probe(tiny, start, loaded, AnyOf(), 16)


def test_weights_without_the_parts_that_make_features_have_no_probe(tiny):
    start = Start(tiny, {}, "", "", "weights from a file", ("a", "b", "c"))
    loaded = Loaded(start.rows(("a", "b", "c")), new=("stages.1", "head"))
    with pytest.raises(ValueError, match=r"^start.head=probe needs .*, and weights from a file have no stages.1; leave it out"):
        check_probe(tiny, start, loaded, OneOf(), 16)
    wide = replace(tiny, head=PoolHead(width=24))  # whose head has more than the last layer
    with pytest.raises(ValueError, match=r"have no stages.1, head; leave it out"):
        check_probe(wide, start, loaded, OneOf(), 16)


@pytest.mark.parametrize("what", ["an ablation compares networks", "a frontier compares networks"])
def test_networks_that_are_not_trained_are_not_compared(asked, what):
    wanted = with_recipe(asked, epochs=0.0)
    with pytest.raises(ValueError, match=f"{what}, for which they have to be trained, and epochs=0 makes"):
        settled(wanted) if "ablation" in what else check_any([Candidate("a", wanted)])


# --- labels and words -----------------------------------------------------------------------------------------------------


def test_labels_are_the_likeliest_class_and_none_where_nothing_is_said(asked, monkeypatch):
    prepared = prepare(asked)
    assert labels_of(prepared.val, 3).tolist() == prepared.val.labels()
    said = [torch.tensor(row) for row in ([0.2, 0.7, 0.1], [0.0, 0.0, 0.0], [0.5, 0.1, 0.4])]
    monkeypatch.setattr(type(prepared.val), "target", lambda self, index: said[index % 3])
    assert labels_of(prepared.val, 3).tolist() == [1, -1, 0] * 3


def test_the_result_stands_beside_the_probe():
    result = {"probe": {"top1": 85.34}, "metrics": {"val/top1": 88.12}}
    assert probe_said({"recipe": {"epochs": 3.0}}, result) == "linear probe 85.3 %, trained 88.1 %"
    assert probe_said({"recipe": {"epochs": 0.0}}, result) == "linear probe 85.3 %, not trained any further"
    assert probe_said({"recipe": {"epochs": 3.0}}, {**result, "metrics": {}}) == "linear probe 85.3 %"
    assert probe_said({"recipe": {"epochs": 3.0}}, {"metrics": {"val/top1": 88.12}}) == ""


def test_the_report_says_it(whole):
    said = probe_said(whole.asked(), whole.result())
    assert said.startswith("linear probe ")
    assert f"<dd>{said}</dd>" in write_report(whole.path).read_text()
