"""The tables and the page say what the result has."""

import json
import re

import pytest

from paretina.report.scale_page import charts_of, csv_rows, in_order, read_result, text_tables, write_scale


def row(name, mean=None, ratio=2.0, **fields):
    usual = {
        "name": name,
        "label": f"{name}-2x",
        "shares": [0.0, 1.0, 0.0],
        "single": "",
        "times": 2.0,
        "ratio": ratio,
        "ratio_ends": None,
        "within": True,
        "same_as": None,
        "depth": 1.0,
        "width": 1.4,
        "resolution": 16,
        "divisor": 8,
        "depths": [1],
        "widths": [24],
        "macs": 2_000_000,
        "params": 5000,
        "activations": 700,
        "latency_ms": [1.5, 1.4, 1.6],
        "top1": {} if mean is None else {"0": mean - 1, "1": mean + 1},
        "train_top1": None if mean is None else 99.5,
        "train_s": 3.0,
        "updates": 10,
        "error": None,
        "mean": mean,
        "interval": None if mean is None else {"value": mean, "low": mean - 2, "high": mean + 2},
    }
    return {**usual, **fields}


@pytest.fixture
def result():
    candidates = [
        row("width", 80.0, single="width"),
        row("<fast>", 82.5),
        row("depth", 79.0, 1.7, within=False, single="depth"),
        row("uniform", same_as="<fast>-2x"),
        row("resolution", error="it cannot be reached", ratio=None, macs=None, width=None, latency_ms=None),
    ]
    family = [
        {**each, "file": f"networks/small-{each['label']}.json"}
        for each in (*candidates[:2], row("<fast>", 84.0, 4.0, label="<fast>-4x"))
    ]
    decision = {
        "leader": "<fast>",
        "winner": "<fast>",
        "best_single_dimension": "width",
        "gain": {"value": 2.5, "low": 1.5, "high": 3.5},
        "by_reward": "width",
        "said": [],
    }
    return {
        "base": {"name": "small", "resolution": 16, "row": row("base", 75.0, 1.0)},
        "cost": "macs",
        "times": [2.0, 4.0],
        "tolerance": 0.05,
        "seeds": [0, 1],
        "epochs": 3.0,
        "candidates": candidates,
        "decision": decision,
        "family": family,
        "notes": ["depth is not compared"],
    }


def test_the_table_has_costs_accuracies_and_what_is_not_comparable(result):
    lines = text_tables(result)
    assert lines[0].startswith("small at 2 times its multiply-adds, 3 epochs, 2 seeds")
    found = {line.split()[0]: line for line in lines if line.strip()}
    assert re.search(r"82\.50\s+80\.50 to 84\.50\s+99\.5", next(line for line in lines if line.startswith("<fast>")))
    assert "1.70x !" in found["depth"]
    assert "= <fast>-2x" in found["uniform"]
    assert found["resolution"].endswith("failed")
    assert "winner: <fast>" in lines
    assert any(line.endswith("networks/small-<fast>-4x.json") for line in lines)
    assert [each["name"] for each in in_order(result["candidates"])] == ["<fast>", "width", "depth", "uniform", "resolution"]


def test_no_winner_is_said(result):
    result["decision"]["winner"] = None
    assert "no clear winner; the most accurate: <fast>" in text_tables(result)


def test_where_nothing_is_compared_there_is_neither_a_winner_nor_a_family_of_none(result):
    result["decision"] |= {"winner": None, "leader": None, "by_reward": None}
    said = "\n".join(text_tables(result))
    assert "no winner: no network of the asked cost was trained, so nothing is compared" in said
    assert "\nthe single dimensions, as files for --model:" in said
    assert "None" not in said
    assert "by accuracy and latency" not in said


def test_curves_begin_at_the_base_and_rise_with_the_cost(result):
    curves = {curve.label: curve for curve in charts_of(result)[0].curves}
    assert set(curves) == {"width", "<fast>"}
    points = [tuple(map(float, each.split())) for each in re.findall(r"[\d.]+ [\d.]+", curves["<fast>"].path)]
    assert len(points) == 3  # the base, twice and four times the cost
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[0][1] > points[1][1] > points[2][1]  # downwards is less accurate
    # four times is twice as far as two times, on the logarithmic axis
    assert points[2][0] - points[1][0] == pytest.approx(points[1][0] - points[0][0], abs=0.3)
    candidates = charts_of(result)[1]
    assert {mark.title.split(":")[0] for mark in candidates.marks} == {"width", "<fast>", "depth"}


def test_the_page_is_one_offline_file_with_the_figures(result, tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(result))
    page = write_scale(tmp_path).read_text()
    assert "&lt;fast&gt;" in page
    assert "<fast>" not in page
    assert "depth is not compared" in page
    assert "+2.50 points" in page
    assert not re.search(r'(src|href)="https?://', page)
    assert page.count('<figure class="chart">') == 3
    table = (tmp_path / "scale.csv").read_text().splitlines()
    assert len(table) == 1 + len(csv_rows(result)) == 8
    assert table[0].startswith("name,label,shares")


def test_a_study_without_result_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no result of a scaling study"):
        read_result(tmp_path)
