from dataclasses import replace

import pytest
import torch

from paretina.measure import choose_plan as module
from paretina.measure.choose_plan import settle, training_plan
from paretina.measure.machine import Device
from paretina.measure.plan import InferencePlan, Plan
from paretina.measure.tune import Judgement, Tried, Tuned

HERE = Device.here("cpu")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))


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


def test_without_tuning_the_default_plans_are_taken(tune_calls, steps):
    found = settle(steps(), HERE, "none", low=False)
    assert (found.inference, found.training) == (InferencePlan(), Plan())
    assert found.tuned == (None, None)
    assert not tune_calls


@pytest.mark.parametrize("shown", [True, False])
def test_the_default_is_below_float32_only_for_networks_that_were_shown_to_bear_it(steps, monkeypatch, shown):
    low = Plan(precision="bfloat16")
    monkeypatch.setattr(module, "default_plan", lambda device="auto": low)
    monkeypatch.setattr(module, "trains_low", lambda network: shown)
    assert settle(steps(), HERE, "none").training == (low if shown else Plan())


@pytest.mark.usefixtures("quiet")
def test_what_was_tuned_is_found_again_without_timing(tune_calls, steps):
    first = settle(steps(), HERE, "eager")
    assert first.inference == tune_calls[0][-1] or first.inference.threads is not None
    count = len(tune_calls)
    for how in ("eager", "none"):
        again = settle(steps(), HERE, how)
        assert (again.inference, again.training) == (first.inference, first.training)
        assert all(each.cached for each in again.tuned)
    assert len(tune_calls) == count


@pytest.mark.usefixtures("quiet")
def test_without_training_only_inference_is_tuned(tune_calls, steps):
    found = settle(steps(), HERE, "eager", training=False)
    assert found.tuned[0] is not None
    assert found.tuned[1] is None
    assert all(isinstance(plan, InferencePlan) for plans in tune_calls for plan in plans)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("batch", "calls"), [(8, 2), (32, 1)])
def test_fewer_threads_are_tried_only_where_a_whole_step_was_timed(tune_calls, steps, batch, calls):
    settle(steps(), replace(HERE, threads=2), "eager", training=False, batch=batch)  # steps of 8 images are timed here
    assert len(tune_calls) == calls


@pytest.mark.usefixtures("quiet")
def test_a_plan_for_training_is_found_from_a_blueprint_alone(tune_calls, tiny):
    found = training_plan(tiny, "cpu", batch=4, resolution=24)
    assert found.training == tune_calls[0][-1]
    assert found.tuned[0] is None
    assert len(tune_calls) == 1
    assert training_plan(tiny, "cpu", batch=4, resolution=24).tuned[1].cached
    assert len(tune_calls) == 1
    in_float32 = training_plan(tiny, "cpu", batch=4, resolution=24, low=False)
    assert in_float32.training.precision == "float32"


@pytest.mark.usefixtures("quiet")
def test_the_default_plan_asks_no_cache(tune_calls, steps):
    settle(steps(), HERE, "eager")
    found = settle(steps(), HERE, "none", use_cache=False)
    assert found.inference == InferencePlan()


def test_plans_found_in_company_are_not_kept(monkeypatch, tune_calls, tmp_path, steps):
    monkeypatch.setattr(module.Others, "used", lambda self: 1.5)
    found = settle(steps(), HERE, "eager")
    assert any(
        "other processes used 1.5 cores during the tuning for inference, so the plan was not cached" in note
        for note in found.notes
    )
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("quiet")
def test_compiling_is_tried_only_where_all_is_asked_for(monkeypatch, tune_calls, steps):
    monkeypatch.setattr(torch, "compile", lambda network, **settings: network)
    settle(steps(), HERE, "eager")
    assert not any(plan.compile for plans in tune_calls for plan in plans)
    settle(steps(), HERE, "full")
    assert any(plan.compile for plans in tune_calls for plan in plans)


@pytest.mark.usefixtures("quiet", "tune_calls")
def test_a_cached_plan_that_changes_the_answers_of_these_weights_is_not_taken(monkeypatch, opened, steps):
    settle(steps(opened(trained=True)), HERE, "eager")
    poor = Judgement(200, 0.5, 0.2, 0.9)
    monkeypatch.setattr(module, "lazily_judged", lambda *_: lambda plan: poor)
    found = settle(steps(opened(trained=True)), HERE, "none")
    assert found.inference == InferencePlan()
    assert "the cached plan changes the predictions of these weights, so it was not used: 50.0 % of 200" in found.notes[0]
