"""Times are those of a clock that only the steps move."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from paretina.measure.machine import Device, Others, Usage
from paretina.measure.plan import InferencePlan, Plan
from paretina.measure.timing import (
    BatchTiming,
    Series,
    Subject,
    Turns,
    batches,
    best_batch,
    drawn_rounds,
    is_out_of_memory,
    largest_batch,
    quantiles,
    ratio,
    time_subjects,
    tried_batch,
)

HERE = Device.here("cpu")


class Machine:
    """A clock, and steps that move it.

    Attributes:
        slow: factor on all that takes time now, such as a machine that gets warm.
    """

    def __init__(self):
        self.now = 0.0
        self.slow = 1.0
        self.calls = []

    def clock(self):
        return self.now

    def step(self, name, seconds, noise=0.0, seed=0):
        draw = random.Random(seed)

        def run():
            self.calls.append(name)
            self.now += self.slow * seconds * (1 + noise * draw.random())

        return run

    def turns(self, **changes):
        return Turns(**{"clock": self.clock, **changes})


def series(*rounds):
    return Series(tuple(tuple(map(float, turn)) for turn in rounds))


# --- series -------------------------------------------------------------------------------------------------------------


def test_quantiles_by_hand():
    found = series([1, 2], [3, 4], [5])
    assert found.samples == (1, 2, 3, 4, 5)
    assert (found.n, found.p50.value) == (5, 3)
    assert found.p95 is None
    assert series(*([i] for i in range(1, 21))).p95.value == pytest.approx(19.05)


def test_quantiles_of_draws_are_those_of_the_samples_drawn():
    found = series([5, 1], [2], [9, 4, 3])
    drawn = drawn_rounds(3, 0)
    assert (drawn.sum(1) == 3).all()
    for share in (0.5, 0.95):
        for row, value in zip(drawn[:50], quantiles(found, drawn[:50], share), strict=True):
            samples = [sample for count, turn in zip(row, found.rounds, strict=True) for sample in turn * int(count)]
            assert value == pytest.approx(np.quantile(samples, share))


def test_an_interval_encloses_its_value_and_equal_samples_have_none():
    found = series(*([i, i + 1] for i in range(10)))
    assert found.p50.low <= found.p50.value <= found.p50.high
    assert series([2, 2], [2]).p50 == (2, 2, 2)


def test_intervals_come_from_rounds_since_samples_of_a_round_resemble_each_other():
    # five rounds with one value each, repeated: repetition must not narrow the interval
    once = series(*([v] for v in (1, 2, 3, 4, 5)))
    often = series(*([v] * 50 for v in (1, 2, 3, 4, 5)))
    assert often.p50.high - often.p50.low == once.p50.high - once.p50.low >= 2


def test_intervals_hold_the_median_of_the_source_about_as_often_as_they_say():
    draw, held = np.random.default_rng(0), 0
    for _ in range(60):
        found = series(*([value] for value in draw.lognormal(0.0, 0.3, 30)))
        held += found.p50.low <= 1.0 <= found.p50.high
    assert held >= 52  # of 60 at 95 %, 57 are expected and fewer than 52 very unlikely


@pytest.mark.parametrize("rounds", [(), ((1.0,), ())])
def test_a_series_has_samples(rounds):
    with pytest.raises(ValueError, match="needs at least one round, and each round a sample"):
        Series(rounds)


def test_ratios_are_taken_round_by_round():
    # the machine slows down tenfold, but in every round the first takes twice as long
    fast = series(*([2.0**i] for i in range(6)))
    slow = series(*([2.0 * 2.0**i] for i in range(6)))
    assert ratio(slow, fast) == (2, 2, 2)
    assert ratio(fast, slow).value == 0.5
    assert fast.p50.high / fast.p50.low > 2


def test_a_series_as_json_keeps_every_sample():
    data = json.loads(json.dumps(series([1, 2], [3]).to_dict()))
    assert data["samples_ms"] == [[1, 2], [3]]
    assert (data["n"], data["rounds"], data["p50_ms"], data["p95_ms"]) == (3, 2, 2, None)


# --- in turn ------------------------------------------------------------------------------------------------------------


def test_what_a_step_takes_is_measured():
    machine = Machine()
    found = machine.turns(rounds=3).run({"a": machine.step("a", 0.010), "b": machine.step("b", 0.030)})
    assert found["a"].p50.value == pytest.approx(10)
    assert found["b"].p50.value == pytest.approx(30)
    assert len(found["a"].rounds) == len(found["b"].rounds) == 3


def test_a_drift_hits_all_alike():
    machine = Machine()

    def drifting(name, seconds):
        step = machine.step(name, seconds)

        def run():
            step()
            machine.slow = 1 + machine.now / 5

        return run

    found = machine.turns(rounds=20).run({"a": drifting("a", 0.01), "b": drifting("b", 0.02)})
    assert found["a"].rounds[-1][0] > 1.5 * found["a"].rounds[0][0]
    assert ratio(found["b"], found["a"]).value == pytest.approx(2, rel=0.05)


def test_a_pause_does_not_move_the_median():
    machine = Machine()
    step = machine.step("a", 0.01)

    def paused():
        step()
        if len(machine.calls) == 60:
            machine.now += 0.2

    found = machine.turns(rounds=20).run({"a": paused})["a"]
    assert max(found.samples) == pytest.approx(210)
    assert found.p50.value == pytest.approx(10)


def test_the_order_changes_from_round_to_round_and_follows_the_seed():
    def order(seed):
        machine = Machine()
        machine.turns(rounds=6, seed=seed).run({name: machine.step(name, 1.0) for name in "abc"})
        timed = machine.calls[6:]  # behind two calls of each to get warm
        return [tuple(timed[i : i + 3]) for i in range(0, 18, 3)]

    found = order(0)
    assert all(sorted(each) == ["a", "b", "c"] for each in found)
    assert len(set(found)) > 1
    assert found == order(0) != order(1)


def test_calls_after_a_change_of_network_do_not_count():
    machine = Machine()
    cold = {"a": True}

    def step():
        # the first call of a turn finds empty caches
        machine.now += 0.05 if cold["a"] else 0.01
        cold["a"] = False

    def other():
        cold["a"] = True
        machine.now += 0.01

    found = machine.turns(rounds=5).run({"a": step, "b": other})
    assert set(np.round(found["a"].samples, 9)) == {10.0}


def test_very_fast_steps_are_timed_in_blocks():
    machine = Machine()
    found = machine.turns(rounds=2).run({"a": machine.step("a", 1e-5)})["a"]
    assert found.p50.value == pytest.approx(0.01)
    assert len(machine.calls) > 100 * found.n


def test_as_many_rounds_as_fit_into_the_time_and_at_least_five():
    machine = Machine()
    assert len(machine.turns(seconds=20.5).run({"a": machine.step("a", 1.0)})["a"].rounds) == 20
    assert len(machine.turns(seconds=0.5).run({"a": machine.step("a", 1.0)})["a"].rounds) == 5


def test_a_sample_ends_when_the_device_is_done():
    machine = Machine()

    def wait():
        machine.now += 0.004

    found = machine.turns(rounds=1, wait=wait).run({"a": machine.step("a", 0.001)})
    assert found["a"].p50.value == pytest.approx(5)


def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match="there is nothing to time"):
        Turns().run({})
    with pytest.raises(ValueError, match="rounds must be at least 1, got rounds=0"):
        Turns(rounds=0)
    with pytest.raises(ValueError, match="seconds must be above 0, got seconds=0"):
        Turns(seconds=0.0)


# --- batches ------------------------------------------------------------------------------------------------------------


def maker(machine, image_s, step_s, room=None):
    """Steps that cost something each, and something an image, and fit into memory up to some size."""

    def make(batch):
        if room is not None and batch > room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return machine.step(batch, step_s + batch * image_s)

    return make


def test_batches_grow_until_a_doubling_gains_nothing():
    # 1 ms an image and 9 ms a step: 100, 182, 308, 471, 640, 780, 877, 934, 966 images a second
    machine = Machine()
    found = batches(maker(machine, 0.001, 0.009), machine.turns(seconds=60.0), most=1 << 20)
    assert found[1] == pytest.approx(100)
    assert found[64] == pytest.approx(64 / 0.073)
    # 983 and 991 follow: the gains fall under 2 %
    assert max(found) == 1024
    assert best_batch(found) == 512


def test_the_smallest_of_equally_good_batches_is_taken():
    assert best_batch({1: 99.0, 2: 100.0, 4: 100.5}) == 1
    assert best_batch({1: 50.0, 2: 100.0, 4: 90.0}) == 2


def test_batches_stop_where_time_or_memory_ends():
    machine = Machine()
    assert max(batches(maker(machine, 1.0, 9.0), machine.turns(seconds=60.0))) == 1
    assert max(batches(maker(machine, 0.001, 0.1, room=16), machine.turns(seconds=60.0))) == 16
    assert max(batches(maker(machine, 0.001, 0.1), machine.turns(seconds=60.0), room=20)) == 16
    assert max(batches(maker(machine, 0.001, 0.1), machine.turns(seconds=60.0), most=8)) == 8


def test_too_little_memory_for_one_image_is_an_error():
    with pytest.raises(RuntimeError, match="out of memory"):
        batches(maker(Machine(), 1.0, 1.0, room=0), Machine().turns())


def test_other_errors_stay_errors():
    def broken(batch):
        raise RuntimeError("shapes cannot be multiplied")

    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert is_out_of_memory(MemoryError())
    for call in (lambda: batches(broken, Machine().turns()), lambda: tried_batch(broken, lambda: None, 8)):
        with pytest.raises(RuntimeError, match="shapes"):
            call()


@pytest.mark.parametrize("room", [0, 1, 2, 7, 100, 1000])
def test_the_largest_batch_is_found_by_trying(room):
    found = tried_batch(maker(Machine(), 1.0, 1.0, room=room), lambda: None, 1 << 14)
    assert found <= room
    assert room - found <= room // 8


def test_the_largest_batch_is_not_looked_for_beyond_its_limit():
    assert tried_batch(maker(Machine(), 1.0, 1.0), lambda: None, 64) == 64


@pytest.mark.parametrize(("peaks", "batch"), [((140.0, 180.0), 90), ((140.0, 140.0), None), ((None, 140.0), None)])
def test_on_a_cpu_the_largest_batch_is_extrapolated(monkeypatch, peaks, batch):
    # 100 MB and 10 MB an image, where 1000 MB are free
    left = iter(peaks)
    monkeypatch.setattr("paretina.measure.timing.peak_of", lambda run, device: next(left))
    monkeypatch.setattr(Device, "free_bytes", lambda self: 1000 << 20)
    found = largest_batch(maker(Machine(), 1.0, 1.0), HERE)
    assert (found.batch, found.how) == (batch, "extrapolated") if batch else found is None


# --- the whole ----------------------------------------------------------------------------------------------------------


def timed(machine, subjects, cores=0.0, **settings):
    readings = iter([Usage(0, 0, 0), Usage(10, 10 * cores, 0)])
    watch = Others(2, lambda: next(readings))
    turns = machine.turns(seconds=6.0, rounds=3)
    return time_subjects(subjects, HERE, turns, others=watch, memory=False, **settings)


def subject(machine, name, image_s=0.001, step_s=0.004, training=True):
    train = maker(machine, 3 * image_s, step_s) if training else None
    return Subject(name=name, plan=InferencePlan(), training_plan=Plan(), infer=maker(machine, image_s, step_s), train=train)


def test_one_image_the_best_batch_and_an_update_are_timed():
    machine = Machine()
    found = timed(machine, [subject(machine, "a"), subject(machine, "b", image_s=0.002)], training_batch=8)
    assert found["a"].latency.p50.value == pytest.approx(5)
    assert found["b"].latency.p50.value == pytest.approx(6)
    assert found["a"].inference.batch in found["a"].inference.tried
    assert found["a"].inference.img_s.value == pytest.approx(found["a"].inference.tried[found["a"].inference.batch])
    assert found["a"].training.step.p50.value == pytest.approx(4 + 8 * 3)
    assert found["b"].training.img_s.value == pytest.approx(8 / (0.004 + 8 * 0.006))
    assert not found["a"].disturbed


def test_a_batch_that_is_asked_for_is_taken():
    machine = Machine()
    found = timed(machine, [subject(machine, "a")], batch=6, training_batch=3)["a"]
    assert (found.inference.batch, found.training.batch, found.inference.tried) == (6, 3, {})


def test_updates_have_as_many_images_as_the_time_allows():
    machine = Machine()
    fast, slow = subject(machine, "fast"), subject(machine, "slow", image_s=0.05)
    found = timed(machine, [fast, slow])
    # five rounds in twice the two seconds of this phase leave 0.8 s, and an image takes 0.15
    assert (found["fast"].training.batch, found["slow"].training.batch) == (32, 4)


def test_training_can_be_left_out():
    machine = Machine()
    found = timed(machine, [subject(machine, "a", training=False)])["a"]
    assert found.training is None
    assert found.training_plan is None
    assert found.to_dict()["training"] is None


def test_times_with_company_are_marked():
    machine = Machine()
    found = timed(machine, [subject(machine, "a")], cores=0.5)["a"]
    assert found.disturbed
    assert found.others == pytest.approx(0.5)


def test_a_timing_as_json_names_its_device_and_plan():
    machine = Machine()
    data = json.loads(json.dumps(timed(machine, [subject(machine, "a")])["a"].to_dict()))
    assert data["device"]["name"] == HERE.name
    assert data["plan"]["kind"] == "InferencePlan"
    assert data["training_plan"]["kind"] == "Plan"
    # absent, not zero: nothing measured them
    assert data["inference"]["energy_j"] is data["inference"]["peak_mb"] is data["inference"]["largest_batch"] is None


def test_images_a_second_have_their_ends_the_right_way_round():
    found = BatchTiming(8, series([10], [20], [40])).img_s
    assert found.value == pytest.approx(400)
    assert found.low <= found.value <= found.high


def test_names_must_differ():
    machine = Machine()
    with pytest.raises(ValueError, match="each must have its own name, got a, a"):
        timed(machine, [subject(machine, "a"), subject(machine, "a")])
    with pytest.raises(ValueError, match="there is nothing to time"):
        timed(machine, [])


def test_plans_may_be_the_same_in_training_and_inference():
    machine = Machine()
    found = timed(machine, [replace(subject(machine, "a"), training_plan=None)])["a"]
    assert found.training_plan == found.plan
