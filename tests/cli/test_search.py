import json
import os
import re
import signal

import click
import pytest
from click.testing import CliRunner
from tests.report.test_search_page import result
from tests.tiny import noise_npz

from covering import few
from paretina.cli import main
from paretina.search.architecture.space import narrowed_of
from paretina.search.architecture.study import begin, read_study
from paretina.verbs import searching


@pytest.fixture
def data(tmp_path):
    return noise_npz(tmp_path / "noise.npz", 60, 12)


@pytest.fixture
def worked(monkeypatch):
    """The directories that were worked on; nothing is trained."""
    calls = []

    def work(folder, engine, say, since):
        calls.append(folder)
        (folder / "result.json").write_text(json.dumps(result()))
        return result()

    monkeypatch.setattr(searching, "work", work)
    return calls


def ran(*words, code=0):
    given = CliRunner().invoke(main, ["search", *map(str, words)])
    assert given.exit_code == code, given.output
    return given.output


@pytest.mark.slow
def test_options_become_a_study(data, tmp_path, worked):
    words = (
        "around:resnet8_w16_s2",
        data,
        "--budget",
        "macs=2e6",
        "--time-limit",
        "30m",
        "--by",
        "halving",
        "--reward",
        "soft",
    )
    more = ("--vary", "width,depth", "--set", "depth.1=1,2", "--seeds", "3", "--recipe", "plain", "--width", "0.5")
    ran(*words, *more, "--trials", "9", "--no-control", "-o", tmp_path / "out", "--device", "cpu", "size=16", "epochs=3")
    study = read_study(tmp_path / "out")
    assert (study.seconds, study.trials, study.seeds, study.control) == (1800.0, 9, 3, False)
    assert [str(budget) for budget in study.budgets] == ["macs <= 2e+06"]
    assert study.target == study.budgets[0]
    assert (study.procedure.WORD, study.reward.WORD, study.classes) == ("halving", "soft", 3)
    assert (study.space.size, study.space.width, study.space.vary) == (16, 0.5, ("width", "depth"))
    assert study.space.narrowed == narrowed_of(["depth.1=1,2"])
    assert (study.base.recipe.epochs, study.base.recipe.size, study.base.plan.threads) == (3.0, None, 1)
    assert worked == [tmp_path / "out"]


@pytest.mark.slow
def test_a_space_has_the_size_of_the_pictures_unless_told(data, tmp_path, worked):
    ran("efficientnetv2", data, "--trials", "4", "--width", "0.25", "-o", tmp_path / "out")
    assert read_study(tmp_path / "out").space.size == 16


def test_around_a_recipe_halving_is_usual_and_the_model_is_named(data, tmp_path, worked):
    ran("recipe:plain", data, "--trials", "6", "--model", "plain4_w24_s2", "-o", tmp_path / "out", "size=16")
    study = read_study(tmp_path / "out")
    assert (study.procedure.WORD, study.base.model_name, study.base.recipe_name) == ("halving", "plain4_w24_s2", "plain")


def test_the_result_is_printed_as_text_and_as_json(data, tmp_path, worked):
    words = ("efficientnetv2", data, "--trials", "4", "--width", "0.25", "size=16")
    text = ran(*words, "-o", tmp_path / "a")
    assert "the search beat random search: +5.05 points" in text
    assert f"report: {tmp_path / 'a' / 'report.html'}" in text
    given = CliRunner().invoke(main, ["search", *words, "-o", str(tmp_path / "b"), "--json"])
    found = json.loads(given.stdout)
    assert found["directory"] == str(tmp_path / "b")
    assert found["found"]["name"] == "around-resnet8-search"


@pytest.mark.slow
def test_a_found_network_can_be_the_middle_of_the_next_search(data, tmp_path, worked):
    from paretina.model.family import network_named
    from paretina.model.network_file import write_network

    file = write_network(tmp_path / "found.json", "mine", network_named("plain4_w24_s2").blueprint)
    ran(f"around:{file}", data, "--trials", "4", "-o", tmp_path / "out", "size=16")
    assert read_study(tmp_path / "out").space.network == network_named("plain4_w24_s2").blueprint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name the space and the data"),
        (("mnasnet", "DATA"), "give --time-limit 30m, or --trials 40"),
        (("mnasnt", "DATA", "--trials", "4"), "did you mean 'mnasnet'"),
        (("around:resnet_18", "DATA", "--trials", "4"), "did you mean 'resnet18'"),
        (("mnasnet", "DATA", "--trials", "4", "--by", "evolutoin"), "did you mean 'evolution'"),
        (("mnasnet", "DATA", "--trials", "4", "--reward", "sof"), "did you mean 'soft'"),
        (("mnasnet", "DATA", "--trials", "4", "--reward", "soft"), "give its target"),
        (("mnasnet", "DATA", "--trials", "4", "--budget", "mac=1"), "did you mean 'macs'"),
        (("mnasnet", "DATA", "--trials", "4", "--budget", "macs=1", "--budget", "macs=2"), "given twice"),
        (("mnasnet", "DATA", "--trials", "4", "--set", "kernl=3"), "did you mean 'kernel'"),
        (("mnasnet", "DATA", "--trials", "4", "--set", "kernel=4"), "odd kernel"),
        (("mnasnet", "DATA", "--trials", "4", "--vary", "width"), "--vary is for a space around:NETWORK"),
        (("mnasnet", "DATA", "--trials", "4", "--model", "resnet18"), "--model is for a space around a recipe"),
        (
            ("mnasnet", "DATA", "--trials", "4", "--target", "macs", "--reward", "soft"),
            "--target 'macs' needs a number above 0",
        ),
        (("around:resnet18", "DATA", "--trials", "4", "--vary", "witdh"), "did you mean 'width'"),
        (("recipe:fast", "DATA", "--trials", "4", "--budget", "macs=1"), "decides nothing"),
        (("recipe:fsat", "DATA", "--trials", "4"), "did you mean 'fast'"),
        (("recipe:fast", "DATA", "--trials", "4", "--recipe", "fast"), "given twice"),
        (("mnasnet", "DATA", "--trials", "4", "epoch=3"), "did you mean 'epochs'"),
        (("mnasnet", "DATA", "--trials", "4", "size=big"), "whole number of pixels"),
        (("mnasnet", "DATA", "--trials", "4", "--time-limit", "30"), "has no unit"),
        (("mnasnet", "photos", "--trials", "4"), "there is no folder 'photos'"),
        (("--resume", "x", "--time-limit", "0s"), "time above 0"),
        (("--resume", "x", "--trials", "4", "seed=1"), "leave out --trials, seed=1"),
        (("--resume", "x"), "holds no search"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_done(data, tmp_path, worked, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    output = ran(*(data if word == "DATA" else word for word in words), code=2)
    assert message in " ".join(output.split())
    assert not worked
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_after_an_interruption_it_is_said_how_to_resume(data, tmp_path, monkeypatch):
    def interrupted(folder, engine, say, since):
        raise KeyboardInterrupt

    monkeypatch.setattr(searching, "work", interrupted)
    output = ran("efficientnetv2", data, "--trials", "4", "--width", "0.25", "-o", tmp_path / "out", code=130)
    assert f"paretina search --resume {tmp_path / 'out'}" in output


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_both_signals_say_how_to_resume_wherever_they_come(data, tmp_path, monkeypatch, number, code):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def work(folder, engine, say, since):
        os.kill(os.getpid(), number)
        raise AssertionError("it goes on")

    monkeypatch.setattr(searching, "work", work)
    ours = signal.getsignal(signal.SIGTERM)
    try:
        output = ran("efficientnetv2", data, "--trials", "4", "--width", "0.25", "-o", tmp_path / "out", code=code)
    finally:
        signal.signal(signal.SIGINT, before)
    assert f"paretina search --resume {tmp_path / 'out'}" in output
    assert signal.getsignal(signal.SIGTERM) == ours


@pytest.mark.slow
def test_more_time_is_given_with_resume(data, tmp_path, worked):
    ran("efficientnetv2", data, "--time-limit", "30m", "--width", "0.25", "-o", tmp_path / "out")
    ran("--resume", tmp_path / "out", "--time-limit", "1h")
    assert read_study(tmp_path / "out").seconds == 3600.0
    assert len(worked) == 2
    assert "can only be raised: " in " ".join(ran("--resume", tmp_path / "out", "--time-limit", "10m", code=2).split())


def test_what_is_refused_leaves_no_directory(tmp_path, monkeypatch, data):
    def refused(*_):
        raise ValueError("a picture is damaged")

    monkeypatch.setattr(searching, "prepare", refused)
    monkeypatch.chdir(tmp_path)
    assert "a picture is damaged" in ran("efficientnetv2", data, "--trials", "4", "--width", "0.25", code=2)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    few(
        [
            ("asked.json", '{"verb": "search"}', "holds a search already; .* paretina search --resume"),
            ("asked.json", '{"verb": "scale"}', "holds a scaling already; .* paretina scale --resume"),
            ("asked.json", '{"verb": "frontier"}', "holds a frontier already; .* paretina frontier --resume"),
            ("asked.json", '{"verb": "finetune"}', "holds a run already; .* paretina train --resume"),
            ("folds.json", '{"count": 3}', "holds folds already; .* paretina train --resume"),
            ("study.json", "{}", "holds a study of `paretina ablate` already; .* by the command that began it"),
            ("asked-selftraining.json", "{}", "holds a self-training already; .* by the command that began it"),
            ("notes.txt", "", "is not empty"),
        ]
    ),
)
def test_an_output_that_is_taken_is_continued_by_its_own_command(data, tmp_path, worked, name, text, said):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(text)
    output = ran("efficientnetv2", data, "--trials", "4", "--width", "0.25", "-o", tmp_path / "out", code=2)
    assert re.search(said, " ".join(output.split()))


def test_resume_needs_nothing_but_the_directory(data, tmp_path, worked):
    study = searching.study_of("efficientnetv2", data, trials=4, width=0.25)
    begin(tmp_path / "out", study, data)
    ran("--resume", tmp_path / "out")
    assert worked == [tmp_path / "out"]


def test_help_says_units_and_defaults():
    text = " ".join(ran("--help").split())
    assert "[evolution; halving around a recipe]" in text
    assert isinstance(main.commands["search"], click.Command)
