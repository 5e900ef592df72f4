import json
import re

import pytest

from paretina.model.family import network_named
from paretina.report.search_page import beat, contours, points_said, summary_lines, tables_of, tried_chart, write_search
from paretina.spec import encode

BLUEPRINT = encode(network_named("resnet8_w16_s2").blueprint)
WIDER = {**BLUEPRINT, "stages": [{**stage, "width": 2 * stage["width"]} for stage in BLUEPRINT["stages"]]}


def trial(arm, at, accuracy, macs, error=None):
    known = None if error else accuracy
    return {
        "arm": arm,
        "at": at,
        "name": f"{arm}{at}".ljust(10, "0"),
        "point": {"width.1": 1.0, "depth.1": 2},
        "share": 1.0,
        "costs": {"macs": macs, "params": 1000.0, "activations": 10.0, "weight_bytes": 4000.0},
        "values": None if error else [accuracy / 100],
        "accuracy": known,
        "accuracy_low": None if error else accuracy - 5,
        "accuracy_high": None if error else accuracy + 5,
        "error": error,
    }


def finalist(name, why, scores, macs, trial_accuracy):
    mean = sum(scores) / len(scores)
    return {
        "name": name,
        "chosen_for": why,
        "point": None if name == "first" else {"width.1": 1.0},
        "trial": trial_accuracy,
        "scores": scores,
        "top1": mean,
        "interval": [mean, mean - 2, mean + 2],
        "costs": {"macs": macs, "params": 1000.0},
        "latency_ms": [1.5, 1.4, 1.6],
        "holds": macs <= 2e6,
        "values": [mean / 100],
        "runs": [],
        "error": None,
        "file": f"networks/{name}.json",
    }


def result(**changes):
    found = {
        "status": "done",
        "space": "around:resnet8_w16_s2",
        "size": 3e5,
        "by": "evolution",
        "reward": {"kind": "Soft", "w": -0.07},
        "reward_word": "soft",
        "budgets": ["macs <= 2e+06"],
        "target": {"kind": "Ceiling", "cost": "macs", "limit": 2e6},
        "share": 0.25,
        "seeds": 2,
        "seed": 0,
        "tried": [
            trial("control", 1, 50.0, 1.0e6),
            trial("control", 2, 55.0, 1.8e6),
            trial("search", 1, 52.0, 1.2e6),
            trial("search", 2, 60.0, 1.9e6),
            trial("search", 3, 0.0, 1.9e6, "the loss is <nan>"),
        ],
        "rejected": {"control": 7, "search": 3},
        "best_so_far": {"control": [[1, 0.5], [2, 0.55]], "search": [[1, 0.52], [2, 0.60]]},
        "table": None,
        "prediction": None,
        "finalists": [
            finalist("search2000", "search", [70.0, 72.0], 1.9e6, 60.0),
            finalist("control200", "control", [65.0, 66.9], 1.8e6, 55.0),
            finalist("first", "first", [68.0, 69.0], 2.5e6, None),
        ],
        "found": {
            "name": "around-resnet8-search",
            "finalist": "search2000",
            "point": {"width.1": 1.0},
            "top1": 71.0,
            "file": "found.json",
            "model": WIDER,
            "first": BLUEPRINT,
        },
        "against_random": {"name": "s", "other": "c", "points": 5.05, "interval": [5.05, 4.4, 5.7], "clear": True},
        "against_first": {"name": "s", "other": "first", "points": 2.5, "interval": [2.5, -3.9, 8.9], "clear": False},
        "agreement": None,
        "pairs": 2,
        "spent_s": 100.0,
        "notes": ["one note with <b> in it"],
        "directory": "runs/x",
        "data": "photos/",
    }
    return {**found, **changes}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(result()))
    (tmp_path / "asked.json").write_text(json.dumps({"verb": "search", "command": "paretina search", "data": "photos/"}))
    return tmp_path


def test_the_summary_names_what_was_tried_rejected_and_found():
    text = "\n".join(summary_lines(result()))
    assert "control: 2 candidates in 2 trials, 7 rejected before training; best reward 55.0 %" in text
    assert "search:  3 candidates in 3 trials, 3 rejected before training, 1 failed; best reward 60.0 %" in text
    assert "best by reward" in text
    assert re.search(r"first +what it began with +– +68\.50 .*misses the budget", text)
    assert "paretina train photos/ --model runs/x/found.json" in text
    assert "the search beat random search: +5.05 points [+4.40, +5.70]" in text
    assert "a rank correlation needs 4 finalists, not 2" in text


def test_it_says_plainly_where_search_did_not_beat_random():
    unclear = {"name": "s", "other": "c", "points": 0.4, "interval": [0.4, -2.0, 2.8], "clear": False}
    text = beat(result(against_random=unclear))
    assert "the search did not beat random search: +0.40 points [-2.00, +2.80]" in text
    assert "the search did not beat random search" in beat(result(against_random=None))
    only = [one for one in result()["tried"] if one["arm"] == "search"]
    alone = result(tried=only, against_random=None, best_so_far={"control": [], "search": [[1, 0.5]]})
    assert "no random search beside it" in beat(alone)


def test_best_so_far_is_compared_after_equally_many_trials():
    lines = {"control": [[1, 0.5], [2, 0.55]], "search": [[1, 0.4], [2, 0.5], [3, 0.9]]}
    assert "after 2 trials each, the search was behind random search" in beat(result(best_so_far=lines))


def test_the_page_is_offline_and_escapes_what_it_shows(folder):
    text = write_search(folder).read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "the loss is &lt;nan&gt;" in text
    assert "one note with &lt;b&gt; in it" in text
    for part in ("Trials: accuracy in short trainings", "Finalists, trained in full", "Best reward so far", "random search"):
        assert part in text
    assert text.count("<svg") == 3
    assert write_search(folder).read_text() == text  # the same each time


def test_contours_join_equal_rewards():
    found = result()
    plot = tried_chart(found, "macs")
    assert plot.curves[0].label == "reward 60.2 %"  # 60 % at 0.95 of the target
    # along the contour of the best trial its own mark lies on the line
    mark = next(mark for mark in plot.marks if "60.0" in mark.title)
    points = [tuple(map(float, each.split())) for each in re.findall(r"[\d.]+ [\d.]+", plot.curves[0].path)]
    nearest = min(points, key=lambda point: abs(point[0] - mark.x))
    assert abs(nearest[1] - mark.y) < 15
    assert not contours(result(reward_word="accuracy"), plot, [{"cost": 1.0}, {"cost": 2.0}])


def test_the_rows_of_the_found_network_stand_beside_the_first():
    rows = tables_of(result())
    assert [name for name, *_ in rows] == ["image", "stem", "1", "2", "3", "head"]
    assert [differs for *_, differs in rows] == [False, False, True, True, True, False]
    assert "width 32" in rows[2][1]
    assert "width 16" in rows[2][2]


def test_an_unfinished_search_has_no_page(tmp_path):
    with pytest.raises(ValueError, match="paretina search --resume"):
        write_search(tmp_path)


def test_reasons_come_before_verdicts():
    one = {"name": "s", "other": "c", "points": 14.29, "interval": None, "clear": False}
    text = beat(result(against_random=one))
    assert text.index("of one seed, which says nothing about chance") < text.index("+14.29 points")
    assert "give --seeds 2 or more" in text
    tied = [{**each, "values": [0.5]} for each in result()["tried"]]
    assert beat(result(tried=tied)).startswith("all trials came out the same, so they say nothing")
    settings = {key: value for key, value in result()["found"].items() if key not in ("file", "model", "first")}
    found = result(against_random=None, found=settings)
    found["finalists"][0]["name"] = found["tried"][1]["name"]  # the best of the control
    del found["finalists"][1]
    assert "both ended at the same settings" in beat(found)
    found["finalists"][0]["name"] = "another"
    assert "no candidate of random search was trained in full" in beat(found)


def test_it_says_on_stdout_that_the_start_is_better():
    worse = {"name": "s", "other": "first", "points": -14.29, "interval": None, "clear": False}
    found = result(against_first=worse, budgets=[])
    found["finalists"][2]["holds"] = True
    lines = summary_lines(found)
    assert "what was found is worse than what the search began with: keep that, unless what was found is cheaper" in lines
    better = summary_lines(result())
    assert not any("keep that" in line for line in better)


def test_the_train_line_repeats_what_the_finalists_were_trained_with():
    found = result()
    found["found"]["config"] = "recipe.json"
    line = "paretina train photos/ --model runs/x/found.json --weights none --config runs/x/recipe.json"
    assert f"  {line}" in summary_lines(found)


def test_units_are_said_once(folder):
    text = write_search(folder).read_text()
    assert "MMACs" not in text
    assert "macs, MACs" not in text
    assert text.count('<button type="button">MACs</button>') == 2  # of finalists and of trials
    assert "300,000" in text  # points of the space
    assert points_said(4.2e12) == "about 1e12"
    one_seed = result()
    for row in one_seed["finalists"]:
        row["interval"] = None
    assert "95 %" not in "\n".join(summary_lines(one_seed))


def test_lengths_of_trials_are_in_words(folder):
    found = result()
    found["tried"][0]["share"] = 1 / 9
    (folder / "result.json").write_text(json.dumps(found))
    text = write_search(folder).read_text()
    assert "a ninth of a trial" in text
    assert "a whole trial" in text
    assert "1 of 2 trials" not in text
    assert "in trainings as long as 1.1 trials together" in "\n".join(summary_lines(found))
