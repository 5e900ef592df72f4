"""Plans are timed by a clock that only their steps move."""

import json
from dataclasses import replace

import pytest
import torch

from paretina.measure import tune as module
from paretina.measure.plan import InferencePlan, Plan, default_plan
from paretina.measure.tune import (
    Judgement,
    Tuned,
    brief,
    compare_answers,
    compiled_forms,
    inference_candidates,
    repays,
    thread_candidates,
    training_candidates,
    tune,
)
from paretina.model.families.efficientnet import B0
from paretina.model.families.resnet import R18

FIRST, FAST, SLOW, BAD = Plan(), Plan(precision="bfloat16"), Plan(memory_format="contiguous"), Plan(precision="float16")
GOOD, POOR = Judgement(200, 1.0, 0.001, 0.002), Judgement(200, 0.9, 0.001, 0.002)


class Machine:
    """Steps that take so many seconds an image under each plan."""

    def __init__(self, **seconds):
        self.now, self.made, self.steps = 0.0, [], []
        self.seconds = {FIRST: 1.0, FAST: 0.5, SLOW: 2.0, BAD: 0.4} | {globals()[name]: s for name, s in seconds.items()}

    def make(self, plan, batch):
        if isinstance(self.seconds[plan], Exception):
            raise self.seconds[plan]
        self.made.append((plan, batch))

        def step():
            self.steps.append((plan, torch.get_num_threads()))
            self.now += self.seconds[plan] * batch

        return step

    def tune(self, *plans, **settings):
        return tune(plans, self.make, clock=lambda: self.now, **{"seconds": 1000.0, "rounds": 5, **settings})


def why(tuned):
    return {each.plan: each.why for each in tuned.tried}


# --- judging ------------------------------------------------------------------------------------------------------------


def logits(*rows):
    return torch.tensor(rows).log()


def test_judgement_by_hand():
    wanted = logits([0.7, 0.3], [0.4, 0.6])
    found = logits([0.72, 0.28], [0.55, 0.45])
    judgement = compare_answers(wanted, found)
    assert (judgement.n, judgement.agreement) == (2, 0.5)
    assert judgement.probability == pytest.approx((0.02 + 0.15) / 2)
    assert judgement.worst == pytest.approx(0.15)
    assert not judgement.passed


def test_equal_answers_agree_whatever_their_offset():
    wanted = torch.randn(5, 7)
    judgement = compare_answers(wanted, wanted + 3)
    assert judgement.agreement == 1
    assert judgement.worst == pytest.approx(0, abs=1e-6)
    assert judgement.passed


@pytest.mark.parametrize(
    ("agreement", "probability", "passed"), [(0.995, 0.01, True), (0.994, 0.0, False), (1.0, 0.0101, False)]
)
def test_the_limits_are_those_of_the_card(agreement, probability, passed):
    assert Judgement(200, agreement, probability, 0.5).passed == passed


def test_answers_that_are_not_finite_agree_with_nothing():
    wanted = logits([0.7, 0.3], [0.4, 0.6])
    found = wanted.clone()
    found[0, 1] = float("nan")
    assert compare_answers(wanted, found) == Judgement(2, 0.5, 0.5, 1.0)


def test_answers_must_be_to_the_same_pictures():
    with pytest.raises(ValueError, match=r"the logits must be for the same pictures, got \(0, 2\) and \(0, 2\)"):
        compare_answers(torch.empty(0, 2), torch.empty(0, 2))


# --- tuning -------------------------------------------------------------------------------------------------------------


def test_the_fastest_plan_wins_and_every_candidate_is_accounted_for():
    tuned = Machine().tune(FIRST, FAST, SLOW)
    assert tuned.plan == FAST
    assert tuned.gain == pytest.approx(2)
    assert [each.plan for each in tuned.tried] == [FIRST, FAST, SLOW]
    assert [each.step_ms for each in tuned.tried][:2] == [pytest.approx(1000), pytest.approx(500)]
    assert why(tuned) == {FIRST: "", FAST: "", SLOW: "more than three times as slow as the best"}


def test_what_is_a_third_slower_is_given_up_after_three_rounds():
    machine = Machine(SLOW=0.8)
    tuned = machine.tune(FIRST, FAST, SLOW)
    assert why(tuned)[SLOW] == "more than a third slower than the best"
    assert {each.plan: len(each.samples_ms) for each in tuned.tried} == {FIRST: 5, FAST: 5, SLOW: 3}


def test_noise_alone_changes_nothing():
    assert Machine(FAST=0.98).tune(FIRST, FAST).plan == FIRST
    assert Machine(FAST=0.98).tune(FIRST, FAST).gain == 1
    assert Machine(FAST=0.96).tune(FIRST, FAST).plan == FAST


def test_a_plan_that_changes_the_answers_is_refused_for_the_next_one():
    tuned = Machine(BAD=0.4, FAST=0.5).tune(FIRST, FAST, BAD, check={FAST: GOOD, BAD: POOR}.get)
    assert tuned.plan == FAST
    assert why(tuned)[BAD].startswith("changes the predictions: 90.0 % of 200 top-1 predictions agree with float32")
    assert {each.plan: each.judgement for each in tuned.tried} == {FIRST: None, FAST: GOOD, BAD: POOR}


def test_where_all_change_the_answers_the_first_stays():
    tuned = Machine().tune(FIRST, FAST, BAD, check=lambda plan: POOR)
    assert (tuned.plan, tuned.gain) == (FIRST, 1)


def test_only_plans_that_could_win_are_judged():
    asked = []
    Machine().tune(FIRST, FAST, SLOW, check=lambda plan: asked.append(plan) or GOOD)
    assert asked == [FAST]


def test_what_cannot_be_run_is_named_and_passed_over():
    tuned = Machine(BAD=RuntimeError("no kernel\n for half")).tune(FIRST, BAD, FAST)
    assert tuned.plan == FAST
    assert why(tuned)[BAD] == "no kernel for half"
    with pytest.raises(RuntimeError, match="broken"):
        Machine(FIRST=RuntimeError("broken")).tune(FIRST, FAST)


def test_fewer_images_are_timed_where_the_whole_batch_would_take_too_long():
    # a third of a sixth of the time is for one call: 1000 / 3 / 6 = 55 s, and an image takes one
    machine = Machine()
    assert machine.tune(FIRST, FAST, SLOW, batch=64).batch == 32
    assert machine.made[-1] == (SLOW, 32)
    assert Machine().tune(FIRST, FAST, SLOW, batch=20).batch == 20
    assert Machine().tune(FIRST, FAST, SLOW, batch=1).batch == 1
    assert Machine().tune(FIRST, batch=1, least_batch=2, seconds=0.1).batch == 2


def test_the_time_is_kept():
    machine = Machine(FIRST=1.0, FAST=1.0, SLOW=1.0, BAD=1.0)
    tuned = machine.tune(FIRST, FAST, SLOW, BAD, seconds=30.0, rounds=1000)
    assert 20 < tuned.seconds <= 30
    hurried = Machine().tune(FIRST, FAST, SLOW, seconds=3.0)
    assert hurried.plan == FIRST
    assert why(hurried) == {FIRST: "", FAST: "no time was left to try it", SLOW: "no time was left to try it"}


def test_each_plan_runs_with_its_threads_and_they_are_put_back():
    before = torch.get_num_threads()
    one, two = Plan(threads=1), Plan(threads=2)
    machine = Machine()
    machine.seconds |= {one: 1.0, two: 1.0}
    machine.tune(one, two)
    assert set(machine.steps) == {(one, 1), (two, 2)}
    assert torch.get_num_threads() == before


def test_there_must_be_a_candidate():
    with pytest.raises(ValueError, match="there are no plans to choose from"):
        Machine().tune()


def test_what_was_found_is_read_back():
    tuned = Machine().tune(FIRST, FAST, BAD, check={FAST: GOOD, BAD: POOR}.get)
    assert Tuned.from_dict(json.loads(json.dumps(tuned.to_dict()))) == tuned
    data = tuned.to_dict() | {"plan": Plan(threads=9).to_json()}
    with pytest.raises(ValueError, match="Plan must be a JSON object"):
        Tuned.from_dict(data)


# --- candidates ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def multiplies_bfloat16(monkeypatch):
    for place in (module, __import__("paretina.measure.plan", fromlist=["plan"])):
        monkeypatch.setattr(place, "cpu_flags", lambda: frozenset({"avx512_bf16"}))


def b0():
    return replace(B0, stages=B0.stages[:3]).build("meta")


@pytest.mark.usefixtures("multiplies_bfloat16")
def test_training_candidates_are_those_that_the_layers_call_for():
    found = training_candidates(b0(), "cpu")
    assert found[0] == default_plan("cpu")
    assert set(found) == {
        Plan(),
        Plan(memory_format="contiguous"),
        Plan(precision="bfloat16"),
        Plan(precision="bfloat16", depthwise="float32"),
    }
    plain = training_candidates(R18.build("meta"), "cpu")
    assert Plan(precision="bfloat16") in plain
    assert set(training_candidates(b0(), "cpu", low=False)) == {Plan(), Plan(memory_format="contiguous")}


@pytest.mark.usefixtures("multiplies_bfloat16")
def test_inference_begins_with_float32_as_the_network_stands():
    found = inference_candidates(b0(), "cpu", batch=4)
    assert found[0] == InferencePlan(batch=4)
    assert InferencePlan(batch=4, fold=True) in found
    assert InferencePlan(batch=4, fold=True, precision="bfloat16", weights="same") in found
    assert not any(plan.fold for plan in inference_candidates(b0(), "cpu", fold=False))
    foreign = inference_candidates(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), "cpu")
    assert not any(plan.fold or plan.weights == "same" for plan in foreign)


def test_without_hardware_for_it_nothing_is_below_float32(monkeypatch):
    monkeypatch.setattr(module, "cpu_flags", frozenset)
    assert {plan.precision for plan in inference_candidates(b0(), "cpu")} == {"float32"}


def test_fewer_threads_are_worth_trying_where_there_are_several():
    assert [plan.threads for plan in thread_candidates(Plan(), 8)] == [None, 4, 1]
    assert [plan.threads for plan in thread_candidates(Plan(), 2)] == [None, 1]
    assert thread_candidates(Plan(), 1) == (Plan(),)
    assert thread_candidates(Plan(device="cuda"), 8) == (Plan(device="cuda"),)


def test_a_plan_in_a_few_words():
    assert brief(Plan()) == "cpu float32 channels_last"
    assert brief(InferencePlan(precision="bfloat16", fold=True, threads=1)) == "cpu bfloat16 channels_last threads=1 fold"


def test_compiling_repays_itself_in_a_long_run():
    # 60 s to compile and 0.1 s saved a step: 720 steps with a fifth to spare
    assert repays(60.0, 0.5, 0.4, 721)
    assert not repays(60.0, 0.5, 0.4, 719)
    assert not repays(60.0, 0.4, 0.5, 10**6)


def test_compiled_forms_have_graphs_on_a_gpu_only():
    assert compiled_forms(Plan()) == (Plan(compile=True),)
    assert compiled_forms(Plan(device="cuda")) == (
        Plan(device="cuda", compile=True),
        Plan(device="cuda", compile=True, graphs=True),
    )
