import base64
import csv
import hashlib
import html
import json
import re

import pytest

from paretina.data.sources.shapes import Shapes
from paretina.measure.pareto import rank_correlation
from paretina.measure.plan import Plan
from paretina.model.families.resnet import R18
from paretina.report.frontier_page import correlations, cost_lines, markdown, write_frontier
from paretina.search.frontier.begin import begin, write_once
from paretina.search.frontier.candidates import Candidate
from paretina.search.frontier.standing import Budget, Halving, read_standing, recommend, with_budgets
from paretina.train.asked import Asked
from paretina.train.recipe import Recipe

# name: right answers of 100, milliseconds, millions of multiply-adds, rung
ROWS = {
    "small": (60, 1.0, 10, 1),
    "middle": (70, 2.0, 40, 1),
    "slow": (72, 8.0, 30, 1),
    "large": (80, 9.0, 90, 1),
    "bad": (40, 5.0, 50, 0),
}
FAILED = "</script><script>alert('out of memory')"


def finished(run, correct, epochs, macs):
    run.mkdir(parents=True)
    (run / "asked.json").write_text(json.dumps({"recipe": {"epochs": epochs}, "verb": "train"}))
    result = {
        "status": "done",
        "confusion": [[correct, 100 - correct], [0, 0]],
        "metrics": {"val/top1": float(correct)},
        "time_s": 10.0 * epochs,
        "cost": {"macs": macs * 10**6, "weight_bytes": 4_000_000},
    }
    (run / "result.json").write_text(json.dumps(result))
    answers = "".join(f"{place},{int(place < correct)}\n" for place in range(100))
    (run / "predictions.csv").write_text(f"name,correct\n{answers}")


def stands(folder):
    names = (*ROWS, "broken")
    asked = [
        Asked(data=Shapes(), model=R18, model_name=name, recipe=Recipe(), recipe_name="plain", plan=Plan()) for name in names
    ]
    candidates = [Candidate(each.model_name, each, ("--model", each.model_name)) for each in asked]
    begin(folder, "my/photos", candidates, Halving(seconds=60.0, rungs=2, least=4), "a machine", (Budget("latency_ms", 5.0),))
    for rung in range(2):
        entered = [name for name, row in ROWS.items() if row[3] >= rung]
        epochs = dict.fromkeys(entered, 3.0)
        write_once(
            folder / "rungs" / f"{rung}.json",
            {"rung": rung, "names": entered, "epochs": epochs, "seconds": None, "stopped": ""},
        )
        for name in entered:
            finished(folder / "runs" / name / f"rung-{rung}", ROWS[name][0], 3.0, ROWS[name][2])
            done = {"run": f"rung-{rung}", "spent_s": 12.0, "alone": True, "machine": "m"}
            write_once(folder / "runs" / name / f"rung-{rung}.json", done)
    write_once(folder / "runs" / "broken" / "failed.json", {"stage": "rehearse", "error": FAILED})
    costs = {name: {"latency_ms": [ms, 0.9 * ms, 1.1 * ms], "throughput": [900 / ms] * 3} for name, (_, ms, *_) in ROWS.items()}
    write_once(folder / "timed" / "1" / "result.json", {"disturbed": False, "others_cores": 0.0, "costs": costs})
    return read_standing(folder)


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    return stands(tmp_path_factory.mktemp("frontier") / "out")


@pytest.fixture
def own(tmp_path):
    """For tests that change its files."""
    return stands(tmp_path / "out")


@pytest.fixture(scope="module")
def page(standing):
    return write_frontier(standing)[0].read_text()


def figures(page):
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)[1])


# --- tables -----------------------------------------------------------------------------------------------------------


def test_csv_has_a_row_a_candidate(standing):
    _, path, _ = write_frontier(standing)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["name"] for row in rows] == ["small", "middle", "slow", "large", "bad", "broken"]
    by_name = {row["name"]: row for row in rows}
    assert [by_name[name]["status"] for name in ("large", "bad", "broken")] == ["finalist", "stopped early", "failed"]
    assert by_name["middle"]["latency_ms_low"] == "1.8"
    assert by_name["middle"]["train_seconds"] == "60.0"
    assert by_name["middle"]["epochs"] == "6.0"
    assert by_name["broken"]["failed"] == FAILED
    assert by_name["broken"]["top1"] == ""
    assert [name for name, row in by_name.items() if row["on_front_latency_ms"] == "1"] == ["small", "middle", "slow", "large"]
    assert [name for name, row in by_name.items() if row["on_front_macs"] == "1"] == ["small", "slow", "large"]


def test_markdown_says_what_has_to_be_known(standing):
    text = markdown(standing)
    assert text.startswith("# Accuracy against latency of one picture on photos\n")
    assert "| large | 80.0 |" in text
    assert "1 of 6 candidates were stopped early" in text
    assert "Of the front by macs, 3 of 3 are on the front by latency_ms; there alone: middle." in text
    assert "middle, within latency_ms <= 5: top-1 70.0 %" in text
    assert "paretina train my/photos --model middle" in text


def test_correlations_are_of_more_with_more(standing):
    found = {(each["counted"], each["measured"]): each for each in correlations(standing)}
    macs, ms = [row[2] for row in ROWS.values()], [row[1] for row in ROWS.values()]
    rho, ended = rank_correlation(macs, ms)
    for measured in ("latency_ms", "throughput"):
        assert found["macs", measured]["rho"] == pytest.approx(rho)
        assert found["macs", measured]["interval"] == pytest.approx(ended._asdict())
    assert ("weight_bytes", "latency_ms") not in found  # all weigh the same, so there is no order
    assert ("macs", "train_seconds") not in found  # an epoch took each the same time


def test_an_exact_correlation_has_no_interval(standing):
    timed = standing.folder / "timed" / "1" / "result.json"
    costs = {name: {"latency_ms": [float(row[2])] * 3} for name, row in ROWS.items()}
    timed.write_text(json.dumps({"disturbed": False, "others_cores": 0.0, "costs": costs}))
    found = read_standing(standing.folder)
    (pair,) = (each for each in correlations(found) if (each["counted"], each["measured"]) == ("macs", "latency_ms"))
    assert (pair["rho"], pair["interval"]) == (1.0, None)
    assert "with latency of one picture over 5 candidates: 1.00 [–]." in markdown(found)
    row = r"<td>latency of one picture</td><td class=.number.>1\.00</td><td class=.number.>–</td>"
    assert re.search(row, write_frontier(found)[0].read_text())


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_runs_only_its_own_script_and_asks_for_nothing(page):
    allowed = re.search(r"script-src 'sha256-([^']+)'", page)[1]
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(script) == 1
    assert base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode() == allowed
    assert "default-src 'none'" in page
    outside = re.findall(r"""(?:src|href)=["']?(\w+:[^"' >]+)|url\(([^)]+)\)""", page)
    assert not outside


def test_the_plots_have_the_figures_with_their_intervals(page):
    drawn = figures(page)
    assert drawn["cost"] == "latency_ms"
    assert drawn["budgets"] == {"latency_ms": 5.0}
    assert list(drawn["axes"]) == ["latency_ms", "throughput", "train_seconds", "weight_bytes", "macs"]
    assert drawn["axes"]["throughput"]["better"] == "high"
    by_name = {entry["name"]: entry for entry in drawn["entries"]}
    assert "broken" not in by_name
    assert by_name["middle"]["costs"]["latency_ms"] == [2.0, 1.8, 2.2]
    assert by_name["middle"]["top1"][0] == 70.0
    assert by_name["bad"]["status"] == "stopped early"
    assert by_name["bad"]["share"] is None
    assert by_name["small"]["share"] == 1.0


def test_every_cost_has_a_plot_and_the_counted_front_stands_beside_the_measured(page):
    plots = re.findall(r'class="canvas" data-cost="(\w+)"(?: data-other="(\w+)")?', page)
    assert [cost for cost, other in plots if not other] == list(figures(page)["axes"])
    assert [pair for pair in plots if pair[1]] == [("macs", "latency_ms"), ("latency_ms", "macs")]


def test_tables_show_that_they_scroll(page):
    tables = page.count("<table>")
    assert len(re.findall(r'<div class="scroll" tabindex="0" role="region" aria-label="[^"]+"><table>', page)) == tables == 2
    assert "var(--beyond), transparent) right" in page


def test_what_comes_from_files_is_escaped(page):
    assert "alert('out" not in page
    assert html.escape(FAILED, quote=True).replace("&#x27;", "&#39;") in page


def test_the_page_shows_the_recommendation_and_the_way_to_repeat_it(page, standing):
    assert "Recommended within latency_ms &lt;= 5: middle" in page
    assert "<pre>paretina train my/photos --model middle</pre>" in page
    write_frontier(with_budgets(standing, (Budget("latency_ms", 0.5),)))
    assert "No candidate keeps latency_ms &lt;= 0.5." in (standing.folder / "report.html").read_text()


def test_the_runtime_of_each_candidate_is_shown_with_the_way_to_its_file(own):
    assert "Runtime" not in write_frontier(own)[0].read_text()
    asked = {**own.asked, "runtimes": ["eager", "openvino"]}
    (own.folder / "asked.json").write_text(json.dumps(asked))
    timed = own.folder / "timed" / "1" / "result.json"
    session = json.loads(timed.read_text())
    costs = {name: {"eager": values} for name, values in session.pop("costs").items()}
    costs["large"]["openvino"] = {"latency_ms": [4.5, 4.4, 4.6], "throughput": [300.0, 290.0, 310.0]}
    timed.write_text(json.dumps({**session, "runtimes": costs, "untimed": {"bad": {"openvino": "<no operator>"}}}))
    found = read_standing(own.folder)
    html_path, csv_path, _ = write_frontier(found)
    page, place = html_path.read_text(), found.folder / "full" / "large"
    assert "Recommended within latency_ms &lt;= 5: large" in page
    command = f"paretina train my/photos --model large --output {place}"
    assert f"<pre>{command}\nparetina ship {place} --to openvino</pre>" in page
    assert page.count(f"paretina ship {place}") == 1
    assert "timed in: openvino (OpenVINO, from the shipped file in float32)" in page
    assert "bad was not timed in openvino: &lt;no operator&gt;" in page
    assert {entry["name"]: entry["runtime"] for entry in figures(page)["entries"]}["large"] == "openvino"
    assert {row["name"]: row["runtime"] for row in csv.DictReader(csv_path.read_text().splitlines())} == {
        **dict.fromkeys(ROWS, "eager"),
        "large": "openvino",
        "broken": "",
    }
    text = markdown(found)
    assert "| large | 80.0 | 71.1 to 86.7 | 6 | openvino | 4.5 ms" in text
    assert f"then make the file that was timed: paretina ship {place} --to openvino" in text
    lines = cost_lines(recommend(found, found.budgets))
    assert "latency of one picture: 4.5 ms (4.4 to 4.6)" in lines
    assert lines[-1].startswith("in eager: latency of one picture: 9 ms (8.1 to 9.9), throughput: 100 pictures/s")


def test_each_candidate_links_to_the_report_of_its_last_run(page, standing):
    assert (standing.folder / "runs" / "large" / "rung-1" / "report.html").is_file()
    assert '<a href="runs/large/rung-1/report.html">large</a>' in page


def test_the_same_frontier_gives_the_same_page(own):
    page = write_frontier(own)[0].read_text()
    assert write_frontier(read_standing(own.folder))[0].read_text() == page


def test_operators_that_the_macs_lack_are_noted(own):
    assert not any("MACs do not include" in note for note in own.notes())
    run = own.folder / "runs" / "large" / "rung-1"
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "cost": {**result["cost"], "uncounted": ["aten::mv"]}}))
    found = read_standing(own.folder)
    assert "large: the MACs do not include aten::mv: there is no formula for what is multiplied there" in found.notes()
    assert "large: the MACs do not include aten::mv" in write_frontier(found)[0].read_text()
