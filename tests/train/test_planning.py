"""The search for a plan is a stand-in here; that of `paretina.measure` has tests of its own."""

import json
from dataclasses import dataclass, replace

import pytest

from paretina.measure.choose_plan import Plans
from paretina.measure.plan import InferencePlan, Plan, trains_low
from paretina.measure.tune import Tried, Tuned
from paretina.model.activations.pointwise import GELU
from paretina.model.blocks.resnet import Basic
from paretina.model.family import network_named, networks
from paretina.model.norms.group import GroupNorm
from paretina.model.weights import About, save_model
from paretina.schedules import Linear
from paretina.train import planning as module
from paretina.train import training
from paretina.train.asked import choose
from paretina.train.planning import affordable, found_plan, with_safe_precision
from paretina.train.recipe import Recipe
from paretina.traits import methods_in, shown_low

EAGER = Plan(memory_format="contiguous")
COMPILED = replace(EAGER, compile=True)


def tuned(plan=EAGER, step_ms=100.0, compiled_ms=50.0, compile_s=10.0, **settings):
    tried = (Tried(EAGER, step_ms), Tried(COMPILED, compiled_ms, ready_s=compile_s))
    return Tuned(plan, tried, **{"batch": 4, "seconds": 3.0, "gain": 1.5, **settings})


@pytest.fixture
def asked(tiny, npz):
    return choose(str(npz), tiny, Recipe(epochs=1.0, batch_size=8), Plan(), "none").asked


@pytest.fixture
def searches(monkeypatch):
    """What was searched for, and what is found each time."""
    calls, found = [], {"none": None, "eager": tuned(), "full": tuned(COMPILED)}

    def search(blueprint, device, batch, resolution, tuning, low):
        calls.append((batch, resolution, tuning))
        result = found[tuning]
        return Plans(InferencePlan(), result.plan if result else Plan(), (None, result), ("a note",) if result else ())

    monkeypatch.setattr(module, "training_plan", search)
    return calls, found


def test_what_nothing_is_known_of_runs_as_it_was_asked_for(asked, tiny, searches):
    plan = replace(asked.plan, workers=0)
    assert found_plan(replace(asked, plan=plan), tiny, 100, "known", 1) == (plan, ())
    assert searches[0] == [(8, 16, "none")]


def test_what_was_found_earlier_is_taken_and_said(asked, tiny, searches):
    searches[1]["none"] = tuned(cached=True)
    plan, notes = found_plan(replace(asked, plan=Plan(workers=0, threads=2)), tiny, 100, "known", 1)
    assert plan == replace(EAGER, workers=0, threads=2)
    assert notes == ("execution plan: cpu float32 contiguous, from an earlier search", "a note")


def test_the_search_is_for_the_largest_image_and_the_batch_of_one_process(asked, tiny, searches):
    recipe = replace(asked.recipe, batch_size=64, accumulate=2, size=Linear(start=8, end=24))
    found_plan(replace(asked, recipe=recipe), tiny, 1000, "eager", 4)
    assert searches[0] == [(8, 24, "eager")]


def test_a_long_run_is_worth_trying_to_compile(asked, tiny, searches):
    def searched(epochs):
        searches[0].clear()
        plan, _ = found_plan(replace(asked, recipe=replace(asked.recipe, epochs=epochs)), tiny, 800, "eager", 1)
        return [tuning for *_, tuning in searches[0]], plan

    # 100 updates an epoch, each twice as large as what took 100 ms
    assert searched(59.0) == (["eager"], EAGER)
    assert searched(61.0) == (["eager", "full"], COMPILED)


def test_a_full_search_is_asked_for_at_once(asked, tiny, searches):
    plan, notes = found_plan(asked, tiny, 80, "full", 1)
    assert [tuning for *_, tuning in searches[0]] == ["eager", "full"]
    assert plan == EAGER
    assert notes[1] == "not compiled: compiling takes 10 s and would save 1 s in 10 steps"


@pytest.mark.parametrize(("sizes", "steps", "repaid"), [(1, 121, True), (1, 119, False), (2, 239, False), (2, 241, True)])
def test_compiling_must_save_what_it_costs_for_every_size(sizes, steps, repaid):
    plan, notes = affordable(tuned(COMPILED), batch=8, sizes=sizes, steps=steps)
    assert plan == (COMPILED if repaid else EAGER)
    assert bool(notes) != repaid


def test_the_plan_of_a_run_is_kept_and_gone_on_with(asked, searches, tmp_path):
    notes = []
    with pytest.raises(KeyboardInterrupt):
        training.train(asked, tmp_path / "run", planning="eager", say=notes.append, stop_after=2)
    saved = json.loads((tmp_path / "run" / "asked.json").read_text())
    assert saved["plan"]["memory_format"] == saved["asked"]["plan"]["memory_format"] == "contiguous"
    assert "execution plan: cpu float32 contiguous, found in 3 s" in saved["notes"]
    assert notes[0] == "searching for the fastest execution plan"
    searched = len(searches[0])
    assert training.resume(tmp_path / "run").result() is not None
    assert len(searches[0]) == searched


@pytest.mark.slow
def test_without_a_search_nothing_is_timed(asked, searches, tmp_path):
    training.train(asked, tmp_path / "run")
    assert searches[0] == []


@pytest.mark.parametrize(
    ("precision", "planning", "low"),
    [("float32", "known", False), ("bfloat16", "known", True), ("float32", "eager", True), ("float32", "full", True)],
)
def test_is_below_float32_by_itself_only_where_the_default_is(asked, tiny, monkeypatch, precision, planning, low):
    allowed = set()

    def search(*words):
        allowed.add(words[-1])
        return Plans(InferencePlan(), Plan(), (None, None), ())

    monkeypatch.setattr(module, "training_plan", search)
    found_plan(replace(asked, plan=Plan(precision=precision)), tiny, 100, planning, 1)
    assert allowed == {low}


LOW = Plan(precision="bfloat16", depthwise="float32")


@pytest.mark.parametrize(
    ("model", "fields", "precision"),
    [
        ("resnet18", {}, "bfloat16"),
        ("efficientnet_b0", {}, "float32"),
        ("efficientnet_b0", {"edits.Fuse": "on"}, "bfloat16"),
        ("regnetx_200mf", {}, "float32"),
        ("levit_128s", {}, "float32"),
        ("vit_tiny", {}, "float32"),
        ("efficientnet_b0", {"precision": "bfloat16"}, "bfloat16"),
        ("resnet18", {"objective.terms.Distill": "on"}, "float32"),  # of which nothing was shown
        ("efficientnet_b0", {"edits.Ghost": "on", "edits.Ghost.stages": "[99]"}, "bfloat16"),  # refused elsewhere
    ],
)
def test_trains_from_scratch_below_float32_where_that_was_shown_to_lose_nothing(npz, model, fields, precision):
    asked = with_safe_precision(choose(str(npz), model, "scratch", LOW, "none", fields=fields))
    assert asked.plan.precision == precision
    assert asked.plan == LOW or asked.plan == Plan()


def test_of_which_named_networks_all_pieces_were_shown():
    # regnetx too, but their convolutions have groups, see above
    low = {name for name, network in networks().items() if shown_low(methods_in(network.blueprint))}
    small = {name for name, network in networks().items() if network.family == "small"}
    assert low - small == {name for name in networks().keys() - small if name.startswith(("resnet", "regnetx"))}
    assert not [name for name in low if name.startswith(("resnet9", "convnext"))]  # they have blocks or norms of their own


def test_a_piece_of_which_nothing_was_shown_trains_in_float32():
    @dataclass(frozen=True, kw_only=True)
    class TrialBasic(Basic):
        """Inherits everything from a block of which it was shown."""

    resnet = network_named("resnet18").blueprint
    assert trains_low(resnet)
    first, *rest = resnet.stages
    assert not trains_low(replace(resnet, stages=(replace(first, block=TrialBasic()), *rest)))
    assert not trains_low(replace(resnet, activation=GELU()))
    assert not trains_low(replace(resnet, norm=GroupNorm()))


def test_what_was_given_of_the_plan_stays(npz):
    asked = with_safe_precision(
        choose(str(npz), "efficientnet_b0", "scratch", Plan(precision="bfloat16"), "none", fields={"depthwise": "float32"})
    )
    assert asked.plan == Plan(precision="float32", depthwise="float32")


def test_fine_tunes_in_float32(npz, tiny, tmp_path):
    choice = choose(str(npz), "resnet18", "finetune", LOW, "none")
    assert with_safe_precision(choice).plan == LOW
    start = tmp_path / "start.safetensors"
    save_model(start, choice.asked.model.build(), About(classes=tuple(map(str, range(1000)))))
    choice.asked = replace(choice.asked, weights=str(start))
    assert with_safe_precision(choice).plan == Plan()
