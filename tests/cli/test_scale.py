"""Options become a study; what cannot be done is refused before anything is trained."""

import json

import click
import pytest
from click.testing import CliRunner

from paretina.cli.scale import scale
from paretina.model.blocks.resnet import Basic
from paretina.model.blueprint import Stage
from paretina.model.network_file import read_network, write_network
from paretina.model.stems.conv import ConvStem
from paretina.search.scaling import run as scaling
from paretina.search.scaling.study import read_study
from quick_costs import solve_quickly
from tiny import noise_npz, tiny_blueprint


@pytest.fixture
def base(tmp_path):
    network = tiny_blueprint(Stage(block=Basic(), depth=2, width=16, stride=2), stem=ConvStem(width=16))
    return write_network(tmp_path / "small.json", "small", network)


@pytest.fixture
def npz(tmp_path):
    return noise_npz(tmp_path / "noise.npz", 12, 9)


@pytest.fixture
def untrained(monkeypatch):
    def train(folder, given):
        calls.append(given["run"])
        figures = {"top1": 60.0, "train_top1": 99.0, "pictures": 9, "epochs": 1.0, "updates": 2, "time_s": 1.0}
        return {"run": given["run"], **figures}

    def measure(folder, given):
        networks = {name: {"value": [1.0, 1.0, 1.0], "ratio": [1.0, 1.0, 1.0]} for name in given["networks"]}
        return {"networks": networks, "device": {}, "others_cores": 0.0, "disturbed": False}

    calls = []
    monkeypatch.setattr(scaling, "train", train)
    monkeypatch.setattr(scaling, "measure", measure)
    monkeypatch.setattr(scaling, "solve", solve_quickly)
    return calls


def ran(*words, code=0):
    result = CliRunner().invoke(click.Group("paretina", {"scale": scale}), ["scale", *map(str, words)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


QUICK = ("--workers", "1", "--multiple", "1", "--divisor", "4", "--tolerance", "0.3", "--device", "cpu")


@pytest.mark.slow
def test_options_become_the_settings_of_the_study(base, npz, tmp_path, untrained):
    out = tmp_path / "out"
    words = (base, npz, "--times", "2,3", "--shares", "0/0.5/0.5,uniform+late", "--seeds", "2", "--cap", "40", "--curves")
    result = ran(*words, *QUICK, "--json", "-o", out, "epochs=3", "batch_size=6")
    found = json.loads(result.stdout)
    assert found["directory"] == str(out)
    assert (found["times"], found["seeds"], found["epochs"]) == ([2.0, 3.0], [0, 1], 3.0)
    study = read_study(out)
    assert [each.name for each in study.shares] == [
        *("depth+cap40", "width+cap40", "resolution+cap40", "d0-w0.5-r0.5+cap40", "uniform+late+cap40")
    ]
    assert (study.name, study.curves, study.rules.divisor, study.asked.recipe.batch_size) == ("small", True, 4, 6)
    assert read_network(out / found["family"][0]["file"]).blueprint.classes == 3
    assert (out / "report.html").exists()


def test_the_table_is_printed_and_a_finished_study_prints_it_again(base, npz, tmp_path, untrained):
    out = tmp_path / "out"
    said = ran(base, npz, "--times", "2", "--shares", "width", "--seeds", "1", *QUICK, "-o", out, "epochs=1").stdout
    assert "small at 2 times its multiply-adds, 1 epoch, 1 seed" in said
    assert f"report: {out / 'report.html'}" in said
    count = len(untrained)
    assert ran("--resume", out, "--workers", "1").stdout == said
    assert len(untrained) == count


@pytest.mark.slow
def test_an_interrupted_study_says_how_to_resume(base, npz, tmp_path, monkeypatch, untrained):
    def interrupted(folder, given):
        raise KeyboardInterrupt

    good = scaling.train
    monkeypatch.setattr(scaling, "train", interrupted)
    words = (base, npz, "--times", "2", "--shares", "width", "--seeds", "1", *QUICK, "-o", tmp_path / "out", "epochs=1")
    error = ran(*words, code=1).exception
    assert error.code == 130
    assert f"paretina scale --resume {tmp_path / 'out'}" in str(error)
    monkeypatch.setattr(scaling, "train", good)
    assert "winner" in ran("--resume", tmp_path / "out", "--workers", "1").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cost", "macz"), "did you mean 'macs'"),
        (("--times", "two"), "numbers with commas"),
        (("--times", "0.5"), "above 1"),
        (("--shares", "fats"), "did you mean 'fast'"),
        (("--step", "0.3"), "divides 1"),
        (("--cap", "8"), "below the image size of the base"),
        (("--tolerance", "0.9"), "tolerance is a share"),
        (("--time-limit", "30"), "has no unit"),
        (("--time-limit", "30m", "epochs=3"), "leave one out"),
        (("seed=3",), "see --seeds"),
        (("size=32",), "model.resolution=SIZE"),
        (("epoch=3",), "epochs"),
        (("--cluster", "auto", "--workers", "2"), "for this machine alone"),
        (("--recipe", "scratsh"), "did you mean 'scratch'"),
    ],
)
def test_slips_are_refused_before_anything_is_done(base, npz, tmp_path, words, said, untrained):
    result = CliRunner().invoke(
        click.Group("paretina", {"scale": scale}), ["scale", str(base), npz, *words, "-o", str(tmp_path / "out")]
    )
    assert result.exit_code != 0
    assert said in f"{result.output} {result.exception}"
    assert not (tmp_path / "out").exists()
    assert not untrained


def test_bases_that_are_not_there_are_named(npz, tmp_path):
    for base, said in (
        ("resnet81", "there is no network named"),
        ("no.json", "there is no file"),
        ("a/b", "there is no model file"),
    ):
        assert said in str(ran(base, npz, code=1).exception)
    assert "name the base and the data" in ran(code=2).output
    wrong = ran("--resume", tmp_path, "--times", "2", "epochs=3", code=2).output
    assert "leave out --times" in wrong
    assert "holds no scaling study" in str(ran("--resume", tmp_path, code=1).exception)
