"""The whole way on tiny networks; a fake clock makes every step take as long as its images."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.data.sources.clipart import Clipart
from paretina.measure import models as module
from paretina.measure.device import Device
from paretina.measure.models import Opened, Steps, measure_models, open_model, pictures_for, settle, update
from paretina.measure.plan import InferencePlan, Plan
from paretina.measure.tune import Judgement, Tried, Tuned
from paretina.model.blueprint import Door
from paretina.model.families.resnet import R18
from paretina.model.family import Published
from paretina.model.weights import About, save_model
from paretina.ship.fold import fold

TINY = replace(R18, resolution=16, classes=3, stages=R18.stages[:1])
HERE = Device.here("cpu")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))


def opened(name="tiny", resolution=None, trained=False):
    torch.manual_seed(0)
    blueprint = replace(TINY, resolution=resolution or 16)
    return Opened(name, blueprint.build(), blueprint, blueprint.door, blueprint.resolution, 3, trained)


def foreign(name="other"):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, images):
            return self.network(images.float() / 255)

    return Opened(name, Scaled(), None, Door(), 16, 3, False)


def steps(of=None):
    return Steps(of or opened(), fold, "cpu", torch.get_num_threads())


# --- opening ------------------------------------------------------------------------------------------------------------


def test_a_model_file_is_opened_as_it_stands(tmp_path):
    made = opened().network
    save_model(tmp_path / "model.safetensors", made, About(classes=("a", "b", "c")))
    for place in (tmp_path, tmp_path / "model.safetensors"):
        found = open_model(str(place))
        assert found.trained
        assert (found.resolution, found.blueprint) == (16, TINY)
        assert torch.equal(found.network.head.classifier.weight, made.head.classifier.weight)
    assert open_model(str(tmp_path), 32).resolution == 32


@pytest.fixture
def known(monkeypatch):
    """A table of networks with one row, which is quicker than all families."""
    monkeypatch.setattr(module, "networks", lambda: {"resnet18": Published("resnet18", "resnet", TINY, params=0, macs=0.0)})


@pytest.mark.usefixtures("known")
def test_one_of_our_names_is_built_at_its_resolution():
    found = open_model("resnet18", 32)
    assert (found.resolution, found.blueprint.resolution, found.trained) == (32, 32, False)
    assert found.images(2).shape == (2, 3, 32, 32)
    assert torch.equal(found.images(2), found.images(2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet81", "there is no network and no model file 'resnet81'; did you mean 'resnet18'?"),
        ("zzz", "there is no network and no model file 'zzz'$"),
        ("nowhere/model.safetensors", "there is no model file nowhere/model.safetensors"),
        ("nowhere.safetensors", "there is no model file nowhere.safetensors"),
        ("jax:resnet18", "there is no network and no model file 'jax:resnet18'"),
    ],
)
@pytest.mark.usefixtures("known")
def test_what_is_not_there_is_named(name, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        open_model(name)


# --- steps --------------------------------------------------------------------------------------------------------------


def test_an_update_learns_and_keeps_no_gradient():
    network = opened().network.train()
    before = network.head.classifier.weight.clone()
    update(network, Plan(), opened().images(4))()
    assert not torch.equal(network.head.classifier.weight, before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_training_leaves_what_is_measured_in_inference_alone():
    made = steps()
    before = {name: tensor.clone() for name, tensor in made.opened.network.state_dict().items()}
    made.train(Plan())(4)()
    assert all(torch.equal(before[name], tensor) for name, tensor in made.opened.network.state_dict().items())


def test_copies_are_made_once_for_plans_that_differ_only_in_threads_and_batch():
    made = steps()
    first = made.prepared(InferencePlan())
    assert made.prepared(InferencePlan(threads=1, batch=8)) is first
    assert made.prepared(InferencePlan(fold=True)) is not first


def test_steps_run_with_the_threads_of_their_plan():
    made, seen = steps(), []
    made.prepared(InferencePlan()).register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    made.infer(InferencePlan(threads=2))(1)()
    made.infer(InferencePlan())(1)()
    assert seen == [2, made.threads]


def test_pictures_are_spread_over_the_split_and_seen_through_the_door():
    found = pictures_for(opened(), Clipart(), 5)
    assert found.shape == (5, 3, 16, 16)
    assert found.dtype == torch.uint8
    assert len({picture.sum().item() for picture in found}) == 5


def test_a_plan_is_judged_against_float32():
    made = steps(opened(trained=True))
    check = made.judged_on(made.opened.images(6))
    assert check(Plan()) == Judgement(6, 1.0, 0.0, 0.0)
    rounded = check(InferencePlan(precision="bfloat16"))
    assert rounded.n == 6
    assert 0 < rounded.worst < 0.1


# --- plans --------------------------------------------------------------------------------------------------------------


def tuned(plan, first=None):
    tried = tuple(Tried(each, 1.0, (1.0,)) for each in dict.fromkeys([first or InferencePlan(), plan]))
    return Tuned(plan, tried, 8, 1.0, 1.5)


@pytest.fixture
def tune_calls(monkeypatch):
    """Tuning that takes the last candidate, without timing anything."""
    calls = []

    def take_last(candidates, make, **settings):
        calls.append(tuple(candidates))
        make(candidates[-1], settings.get("least_batch", 1))()
        return tuned(candidates[-1], candidates[0])

    monkeypatch.setattr(module, "tune", take_last)
    return calls


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(module.Others, "used", lambda self: 0.0)


def test_without_tuning_the_default_plans_are_taken(tune_calls):
    found = settle(steps(), HERE, "none", low=False)
    assert (found.inference, found.training) == (InferencePlan(), Plan())
    assert found.tuned == (None, None)
    assert not tune_calls


@pytest.mark.usefixtures("quiet")
def test_what_was_tuned_is_found_again_without_timing(tune_calls):
    first = settle(steps(), HERE, "eager")
    assert first.inference == tune_calls[0][-1] or first.inference.threads is not None
    count = len(tune_calls)
    for how in ("eager", "none"):
        again = settle(steps(), HERE, how)
        assert (again.inference, again.training) == (first.inference, first.training)
        assert all(each.cached for each in again.tuned)
    assert len(tune_calls) == count


@pytest.mark.usefixtures("quiet")
def test_without_training_only_inference_is_tuned(tune_calls):
    found = settle(steps(), HERE, "eager", training=False)
    assert found.tuned[0] is not None
    assert found.tuned[1] is None
    assert all(isinstance(plan, InferencePlan) for plans in tune_calls for plan in plans)


@pytest.mark.usefixtures("quiet")
def test_a_plan_for_training_is_found_from_a_blueprint_alone(tune_calls):
    found = module.training_plan(TINY, "cpu", batch=4, resolution=24)
    assert found.training == tune_calls[0][-1]
    assert found.tuned[0] is None
    assert len(tune_calls) == 1
    assert module.training_plan(TINY, "cpu", batch=4, resolution=24).tuned[1].cached
    assert len(tune_calls) == 1
    in_float32 = module.training_plan(TINY, "cpu", batch=4, resolution=24, low=False)
    assert in_float32.training.precision == "float32"


def test_answers_that_come_in_pairs_are_both_learned():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(12, 3), nn.Linear(12, 3)

        def forward(self, images):
            x = images.float().flatten(1)
            return self.first(x), self.second(x)

    network = Pair()
    before = [tensor.clone() for tensor in (network.first.weight, network.second.weight)]
    update(network, Plan(), torch.full((2, 3, 2, 2), 255, dtype=torch.uint8))()
    assert not torch.equal(network.first.weight, before[0])
    assert not torch.equal(network.second.weight, before[1])


@pytest.mark.usefixtures("quiet")
def test_the_default_plan_asks_no_cache(tune_calls):
    settle(steps(), HERE, "eager")
    found = settle(steps(), HERE, "none", use_cache=False)
    assert found.inference == InferencePlan()


def test_plans_found_in_company_are_not_kept(monkeypatch, tune_calls, tmp_path):
    monkeypatch.setattr(module.Others, "used", lambda self: 1.5)
    found = settle(steps(), HERE, "eager")
    assert any("other processes used 1.5 cores while its plan for inference was looked for" in note for note in found.notes)
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("quiet")
def test_compiling_is_tried_only_where_all_is_asked_for(monkeypatch, tune_calls):
    monkeypatch.setattr(module.torch, "compile", lambda network, **settings: network)
    settle(steps(), HERE, "eager")
    assert not any(plan.compile for plans in tune_calls for plan in plans)
    settle(steps(), HERE, "full")
    assert any(plan.compile for plans in tune_calls for plan in plans)


@pytest.mark.usefixtures("quiet", "tune_calls")
def test_a_cached_plan_that_changes_the_answers_of_these_weights_is_not_taken(monkeypatch):
    settle(steps(opened(trained=True)), HERE, "eager")
    poor = Judgement(200, 0.5, 0.2, 0.9)
    monkeypatch.setattr(module, "lazily_judged", lambda *_: lambda plan: poor)
    found = settle(steps(opened(trained=True)), HERE, "none")
    assert found.inference == InferencePlan()
    assert "the cached plan changes the answers of these weights, so it was not taken: 50.0 % of 200" in found.notes[0]


# --- the whole ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def fake_clock(monkeypatch):
    """Every look at a clock is a hundredth of a second later, and memory is not looked at."""
    ticks = itertools.count()
    original = module.Turns

    def turns(**settings):
        return original(**{**settings, "clock": lambda: next(ticks) / 100})

    monkeypatch.setattr(module, "Turns", turns)
    monkeypatch.setattr(module, "measure_ceilings", lambda plan, **_: module.Ceilings(plan.precision, 100.0, 10.0))
    monkeypatch.setattr("paretina.measure.timing.peak_of", lambda run, device: None)


def measured(*names, **settings):
    made = {"tiny": opened, "other": foreign}
    settings = {"rounds": 2, "seconds": 1.0, "batch": 2, "use_cache": False, "fold": fold, **settings}
    return measure_models(names, "cpu", open_one=lambda name, size: made[name](name), **settings)


@pytest.mark.usefixtures("fake_clock")
def test_two_networks_side_by_side():
    found = measured("tiny", "other")
    ours, theirs = found.models
    assert [row.name for row in ours.stages] == ["stem", "stage 1", "head"]
    assert [row.name for row in theirs.stages] == ["0", "1", "2", "3", "4"]
    assert sum(row.macs for row in ours.stages) == 2 * ours.cost.macs
    assert sum(row.time_share for row in theirs.stages) == pytest.approx(1)
    assert ours.timing.plan.batch == 2
    assert (ours.timing.inference.batch, ours.timing.training.batch) == (2, 2)
    assert theirs.cost.params == 4 * 27 + 4 + 5 * 3
    assert len(found.table()) == 3
    assert len({len(line) for line in found.table()}) == 1
    assert math.isfinite(ours.timing.latency.p50.value)


@pytest.mark.usefixtures("fake_clock")
def test_the_result_is_plain_json_with_every_sample():
    data = json.loads(json.dumps(measured("tiny").to_dict()))
    assert data["device"]["torch"] == torch.__version__
    (model,) = data["models"]
    assert len(model["timing"]["latency"]["samples_ms"]) == 2
    assert model["timing"]["plan"]["kind"] == "InferencePlan"
    assert model["cost"]["intensity"] == pytest.approx(2 * model["cost"]["macs"] / model["cost"]["bytes_moved"])
    assert not model["trained"]


@pytest.mark.usefixtures("fake_clock")
def test_rows_have_equal_columns_whether_trained_or_not():
    with_training, without = measured("tiny"), measured("tiny", training=False)
    assert without.models[0].timing.training is None
    rows = replace(with_training, models=(*with_training.models, *without.models)).rows()
    assert rows[0].keys() == rows[1].keys()
    assert rows[0]["training_img_s"] > 0
    assert rows[1]["training_img_s"] is None
    assert not any(isinstance(value, list | dict | tuple) for row in rows for value in row.values())


def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match="name at least one network to measure"):
        measured()
    with pytest.raises(ValueError, match="tiny is named twice; name each network once"):
        measured("tiny", "tiny")
    with pytest.raises(ValueError, match="there is no device 'tpu'"):
        measure_models(["tiny"], "tpu")


def test_a_network_that_cannot_be_run_is_named():
    broken = replace(foreign("broken"), network=nn.Linear(5, 5))
    with pytest.raises(ValueError, match="broken at 16 pixels cannot be measured: "):
        measure_models(["broken"], "cpu", open_one=lambda name, size: broken)
