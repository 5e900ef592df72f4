import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.tiny import noise_npz

from covering import few
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.inner_split import InnerSplit
from paretina.measure.plan import Plan
from paretina.model.family import network_named
from paretina.model.network_file import read_network
from paretina.report.search_page import read_search, summary_lines
from paretina.search.architecture import run as running
from paretina.search.architecture.ceilings import Ceiling, ceiling_of
from paretina.search.architecture.procedure import procedure_named
from paretina.search.architecture.rewards import Plain, Soft, TwoObjectives
from paretina.search.architecture.run import work
from paretina.search.architecture.spaces.around import AroundNetwork
from paretina.search.architecture.spaces.recipe import AroundRecipe
from paretina.search.architecture.study import SearchStudy, begin, digest_of, give_time, read_study
from paretina.search.engines.here import Here
from paretina.spec import decode
from paretina.train.asked import Asked, choose, read_config, recipe_named

RESNET8 = replace(network_named("resnet8_w16_s2").blueprint, resolution=16)


@pytest.fixture
def data(tmp_path):
    return noise_npz(tmp_path / "noise.npz", 60, 12)


@pytest.fixture
def study(data):
    return study_on(data)


def study_on(data, **fields):
    base = Asked(data=Arrays(path=data), model=RESNET8, recipe=recipe_named("plain"), plan=Plan(threads=1))
    base = replace(base, recipe=replace(base.recipe, epochs=4.0))
    usual = {
        "name": "around:resnet8_w16_s2",
        "space": AroundNetwork(network=RESNET8, size=16, vary=("width", "depth")),
        "base": base,
        "procedure": procedure_named("evolution"),
        "reward": Plain(),
        "budgets": (Ceiling(cost="macs", limit=1.2e6),),
        "target": Ceiling(cost="macs", limit=1.2e6),
        "classes": 3,
        "trials": 12,
        "seeds": 2,
    }
    return SearchStudy(**{**usual, **fields})


@pytest.fixture
def calls(monkeypatch):
    """The trainings that were carried out, in place of which wider networks are simply better."""
    done = []

    def train_one(folder, given):
        done.append(given)
        asked = decode(Asked, given["asked"])
        widths = sum(stage.width for stage in asked.model.stages) if hasattr(asked.model, "stages") else 100
        accuracy = min(0.99, 0.3 + widths / 1000 + 0.001 * asked.recipe.seed)
        return {
            "accuracy": accuracy,
            "correct": round(accuracy * 100_000),
            "pictures": 100_000,
            "epochs": asked.recipe.epochs,
            "updates": 10,
            "time_s": 1.0,
            "update_s": 0.1,
            "run": given["run"],
        }

    def time_networks(folder, given):
        return {"latency_ms": {name: [1.0, 0.9, 1.1] for name in given["models"]}, "disturbed": False}

    monkeypatch.setattr(running, "train_one", train_one)
    monkeypatch.setattr(running, "time_networks", time_networks)
    return done


def begun(tmp_path, study, name="study"):
    begin(tmp_path / name, study, "noise.npz")
    return tmp_path / name


def arm(found, name):
    return [one for one in found["tried"] if one["arm"] == name]


@pytest.mark.slow
def test_control_and_search_have_equal_budgets_and_nothing_over_budget_is_trained(tmp_path, study, calls):
    found = work(begun(tmp_path, study), Here(1))
    assert [len(arm(found, name)) for name in ("control", "search")] == [6, 6]
    assert max(one["costs"]["macs"] for one in found["tried"]) <= 1.2e6
    assert found["rejected"]["control"] > 0
    assert found["best_so_far"]["search"][-1][0] == 6
    bests = [value for _, value in found["best_so_far"]["search"]]
    assert bests == sorted(bests)


@pytest.mark.slow
def test_trials_are_judged_on_training_pictures_and_finalists_on_validation_pictures(tmp_path, study, calls):
    found = work(begun(tmp_path, study), Here(1))
    trials = [decode(Asked, given["asked"]) for given in calls if given["run"].startswith("trial-")]
    full = [decode(Asked, given["asked"]) for given in calls if given["run"].startswith("full-")]
    assert {type(asked.data) for asked in trials} == {InnerSplit}
    assert {asked.data for asked in full} == {study.base.data}
    assert {asked.recipe.epochs for asked in trials} == {1.0}
    assert {(asked.recipe.epochs, asked.recipe.seed) for asked in full} == {(4.0, 0), (4.0, 1)}
    assert len(full) == 2 * len(found["finalists"])
    assert {row["chosen_for"] for row in found["finalists"]} >= {"search", "control", "first"}
    inner = trials[0].data.open()
    assert {sample.name for sample in inner.split("val")} <= {sample.name for sample in study.base.data.open().split("train")}


def test_the_best_by_reward_is_found_and_is_a_file_that_model_takes(tmp_path, study, calls):
    folder = begun(tmp_path, study)
    found = work(folder, Here(1))
    rows = [row for row in found["finalists"] if row["name"] != "first"]
    best = max(rows, key=lambda row: row["top1"])
    assert found["found"]["finalist"] == best["name"]
    assert decode(type(study.base.recipe), read_config(folder / "recipe.json")["recipe"]) == study.base.recipe
    read = read_network(folder / "found.json")
    assert read.name == found["found"]["name"]
    widths = [stage.width for stage in read.blueprint.stages]
    assert best["top1"] == pytest.approx(100 * (0.3 + sum(widths) / 1000 + 0.0005))
    from paretina import verbs

    asked = verbs.ask("shapes", str(folder / "found.json"), "plain", "none", "cpu").asked
    assert asked.model == read.blueprint


def test_an_interrupted_study_continues_exactly(tmp_path, study, calls, monkeypatch):
    whole = work(begun(tmp_path, study, "whole"), Here(1))
    names = [given["run"] for given in calls]
    calls.clear()
    folder, plain, left = begun(tmp_path, study, "cut"), running.train_one, [7]

    def interrupted(place, given):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return plain(place, given)

    monkeypatch.setattr(running, "train_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work(folder, Here(1))
    monkeypatch.setattr(running, "train_one", plain)
    again = work(folder, Here(1))
    assert [given["run"] for given in calls] == names  # each once
    for key in ("tried", "finalists", "found", "rejected", "best_so_far"):
        assert again[key] == whole[key]


@pytest.mark.parametrize("together", few([1, 2]))
@pytest.mark.parametrize("by", few(["random", "halving", "tpe"]))
def test_every_procedure_spends_its_budget(tmp_path, data, calls, by, together):
    if by == "tpe":
        pytest.importorskip("optuna")
    study = study_on(data, procedure=procedure_named(by))
    object.__setattr__(study, "workers", together)
    found = work(begun(tmp_path, study), Here(1))
    used = sum(one["share"] for one in arm(found, "search"))
    assert used == pytest.approx(12 if by == "random" else 6)
    assert bool(arm(found, "control")) == (by != "random")


def test_without_control_all_trials_are_the_searchs_own(tmp_path, data, calls):
    found = work(begun(tmp_path, study_on(data, control=False)), Here(1))
    assert len(arm(found, "search")) == 12
    assert found["against_random"] is None


@pytest.mark.slow
def test_a_soft_reward_prefers_the_cheaper_of_two_like_networks(tmp_path, data, calls):
    soft = work(begun(tmp_path, study_on(data, reward=Soft(w=-5.0), budgets=()), "soft"), Here(1))
    plain = work(begun(tmp_path, study_on(data, budgets=()), "plain"), Here(1))

    def macs(found):
        return next(row["costs"]["macs"] for row in found["finalists"] if row["name"] == found["found"]["finalist"])

    assert macs(soft) < macs(plain)


def test_the_calibrated_exponent_comes_from_the_control(tmp_path, data, calls):
    found = work(begun(tmp_path, study_on(data, reward=Soft(w=None), budgets=())), Here(1))
    assert -1 < found["reward"]["w"] <= 0
    assert found["reward"]["w"] != -0.07
    assert "from the front of the control" in " ".join(found["notes"])
    one = arm(found, "control")[0]
    share = one["costs"]["macs"] / 1.2e6
    assert one["values"][0] == pytest.approx(one["accuracy"] / 100 * share ** found["reward"]["w"], rel=1e-3)


def test_two_objectives_give_a_front(tmp_path, data, calls):
    found = work(begun(tmp_path, study_on(data, reward=TwoObjectives(), budgets=())), Here(1))
    able = arm(found, "search")
    finalists = [row["name"] for row in found["finalists"] if row["chosen_for"] in ("search", "front")]
    for name in finalists:
        mine = next(one for one in able if one["name"] == name)
        assert not any(
            other["accuracy"] >= mine["accuracy"] and other["costs"]["macs"] < mine["costs"]["macs"] for other in able
        )


def test_a_space_without_any_point_in_the_budget_is_refused_with_the_least_seen(tmp_path, data, calls, monkeypatch):
    monkeypatch.setattr(running, "MOST_MISSES", 20)
    study = study_on(data, budgets=(Ceiling(cost="params", limit=10.0),))
    with pytest.raises(ValueError, match=r"none of 20 points .* params <= 10; the least seen was params=\d+"):
        work(begun(tmp_path, study), Here(1))
    assert not calls


@pytest.mark.slow
def test_a_recipe_is_searched_without_costs(tmp_path, data, calls):
    study = study_on(
        data, name="recipe:plain", space=AroundRecipe(), budgets=(), target=None, procedure=procedure_named("halving")
    )
    found = work(begun(tmp_path, study), Here(1))
    assert set(found["found"]["point"]) == {"lr", "weight_decay", "strength", "epochs"}
    assert "file" not in found["found"]
    folder = next(path.parent for path in tmp_path.rglob("recipe.json"))
    line = summary_lines({**read_search(folder), "directory": str(folder)})[-1]
    words = shlex.split(line)
    fields = read_config(Path(words[words.index("--config") + 1]))
    model = read_network(words[words.index("--model") + 1]).blueprint
    asked = choose(data, model, recipe_named("fast"), Plan(threads=1), "none", fields=fields).asked
    best = next(one for one in found["tried"] if one["name"] == found["found"]["finalist"])
    wanted = study.space.asked(best["point"], study.base).recipe
    assert asked.recipe == wanted
    assert asked.model == study.base.model


@pytest.fixture
def second_each(monkeypatch):
    """Every piece of work takes a second, and a full training two."""
    monkeypatch.setattr(running, "find_pace", lambda folder, given: {"epoch_s": 1.0, "fixed_s": 0.0, "updates_per_epoch": 1.0})
    monkeypatch.setattr(running.SearchWork, "spent_s", property(lambda self: float(len(self.took))))


@pytest.mark.slow
def test_time_ends_the_trials_and_leaves_the_finalists_what_is_left(tmp_path, data, calls, second_each):
    found = work(begun(tmp_path, study_on(data, trials=100, seconds=40.0, timing_s=0.1)), Here(1))
    # six tenths of 40 s, at 1 s each, of which one went into timing updates
    assert [len(arm(found, name)) for name in ("control", "search")] == [12, 11]


@pytest.mark.slow
def test_a_search_without_time_for_its_least_says_how_much_it_needs_and_is_tried_again(tmp_path, data, calls, second_each):
    folder = begun(tmp_path, study_on(data, trials=None, seconds=8.0, timing_s=0.1))
    said = r"a trial takes about 1 s and a full training about 5 s, .* --resume \S+ --time-limit 1m"
    with pytest.raises(ValueError, match=said):
        work(folder, Here(1))
    assert not calls
    with pytest.raises(ValueError, match="can only be raised"):
        give_time(folder, 5.0)
    give_time(folder, 60.0)
    assert read_study(folder).seconds == 60.0
    assert work(folder, Here(1))["status"] == "done"


def test_a_search_whose_time_is_over_is_refused_before_anything_is_timed(tmp_path, data, calls, monkeypatch):
    monkeypatch.setattr(running.SearchWork, "spent_s", property(lambda self: 50.0))
    said = r"50 s of the time limit of 60 s are over, .* in the first 36 s; .* --time-limit 4m"
    with pytest.raises(ValueError, match=said):
        work(begun(tmp_path, study_on(data, seconds=60.0)), Here(1))
    assert not calls


def test_a_search_without_a_time_limit_gets_none(tmp_path, study):
    with pytest.raises(ValueError, match="no time limit but ends after its trials"):
        give_time(begun(tmp_path, study), 60.0)


def test_a_table_that_takes_too_long_is_refused_with_the_time_that_it_needs(tmp_path, data, calls, monkeypatch):
    limit = Ceiling(cost="latency_ms", limit=1000.0)
    folder = begun(tmp_path, study_on(data, seconds=60.0, budgets=(limit,), target=limit))
    monkeypatch.setattr(running, "make_table", lambda folder, given: {"needs_s": 4 * given["within_s"], "units": 99})
    with pytest.raises(ValueError, match=r"about 60 s .*99 units .* 25 % of the time limit of 60 s; .* --time-limit 5m"):
        work(folder, Here(1))
    assert not calls


@pytest.mark.slow
def test_what_failed_is_done_again_when_a_failed_search_is_resumed(tmp_path, study, calls, monkeypatch):
    plain = running.train_one

    def fails(folder, given):
        raise ValueError("the disk is full")

    folder = begun(tmp_path, study)
    monkeypatch.setattr(running, "train_one", fails)
    with pytest.raises(ValueError, match="the disk is full"):
        work(folder, Here(1))
    monkeypatch.setattr(running, "train_one", plain)
    assert work(folder, Here(1))["status"] == "done"


@pytest.mark.slow
def test_without_a_whole_trial_the_longest_ones_decide(tmp_path, data, calls, second_each):
    study = study_on(data, procedure=procedure_named("halving"), trials=100, seconds=50.0, timing_s=0.1)
    found = work(begun(tmp_path, study), Here(1))
    assert {one["share"] for one in arm(found, "search")} == {1 / 9}
    best = max(arm(found, "search"), key=lambda one: one["accuracy"])
    assert best["name"] in {row["name"] for row in found["finalists"]}
    said = " ".join(summary_lines({**found, "data": "", "model": ""}))
    assert "no candidate had a whole trial" in said
    assert "a ninth of a trial" in said


def test_a_failed_candidate_is_told_and_the_others_continue(tmp_path, study, calls, monkeypatch):
    plain = running.train_one

    def fails(folder, given):
        if given["run"].startswith("trial-") and len(calls) == 2:
            calls.append(given)
            raise ValueError("this one cannot be trained")
        return plain(folder, given)

    monkeypatch.setattr(running, "train_one", fails)
    found = work(begun(tmp_path, study), Here(1))
    failed = [one for one in found["tried"] if one["error"]]
    assert [one["error"] for one in failed] == ["this one cannot be trained"]
    assert failed[0]["values"] is None
    assert len(found["tried"]) == 12


def test_two_points_that_mean_the_same_are_one_training(study):
    asked = study.space.first(study.base)
    assert digest_of(asked) == digest_of(replace(asked, model_name="x", recipe_name="y"))
    assert digest_of(asked) != digest_of(replace(asked, recipe=replace(asked.recipe, seed=1)))


def test_a_study_survives_json_and_a_directory_is_begun_once(tmp_path, study):
    folder = begun(tmp_path, study)
    assert read_study(folder) == study
    with pytest.raises(ValueError, match="is not empty"):
        begin(folder, study, "noise.npz")
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="holds no search"):
        read_study(tmp_path / "other")
    (tmp_path / "other" / "asked.json").write_text(json.dumps({"verb": "frontier"}))
    with pytest.raises(ValueError, match="belongs to `paretina frontier`"):
        read_study(tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latenc_ms=3", "did you mean 'latency_ms'"),
        ("train_seconds=3", "not known before a network is trained"),
        ("macs=none", "needs a number above 0, such as macs=2e7"),
        ("macs=-1", "needs a number above 0"),
    ],
)
def test_wrong_budgets(text, message):
    with pytest.raises(ValueError, match=message):
        ceiling_of(text)


@pytest.mark.slow
def test_a_whole_study_with_real_trainings_and_timings(tmp_path, data):
    study = study_on(data, trials=4, seeds=1, finalists=1, timing_s=0.1)
    study = replace(study, budgets=(Ceiling(cost="latency_ms", limit=1000.0),), target=Ceiling(cost="latency_ms", limit=1000.0))
    folder = begun(tmp_path, study)
    found = work(folder, Here(1))
    assert found["table"]["units"] > 20
    assert np.isfinite(found["table"]["error"])
    assert all(row["latency_ms"][0] > 0 and row["top1"] is not None for row in found["finalists"])
    assert all(one["costs"]["latency_ms"] > 0 for one in found["tried"])
    models = {path.parent.name for path in (folder / "runs").glob("*/model.safetensors")}
    assert models == {run for row in found["finalists"] for run in row["runs"]}
    again = work(folder, Here(1))
    assert again["finalists"] == found["finalists"]
