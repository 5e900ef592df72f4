import json

import numpy as np
import pytest
from click.testing import CliRunner

from paretina.cli import main
from paretina.run import Run
from paretina.search.ablation import run as studies
from paretina.spec import encode
from paretina.train import training


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working folder with numbers.npz; training comes out at once."""
    images, labels = np.zeros((40, 8, 8), np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "numbers.npz", images=images, labels=labels)
    monkeypatch.chdir(tmp_path)

    def train(asked, folder, *_, **__):
        seed = asked.recipe.seed
        run = Run.create(folder, {"model": encode(asked.model), "environment": {}})
        run.log("train", 1)
        score = 70.0 + seed - (0 if asked.recipe.average else 2 + 0.1 * (seed % 2))
        data, cost = {"train": 32, "val": 800}, {"macs": 100, "params": 10}
        run.write("result.json", {"metrics": {"val/top1": score}, "time_s": 9.0, "peak_mb": 99.0, "data": data, "cost": cost})

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(studies, "fresh_peak", lambda device: True)
    return tmp_path


def run(*arguments, code=0):
    result = CliRunner().invoke(main, ["ablate", *arguments], prog_name="paretina")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


STUDY = ("scratch", "numbers.npz", "size=32", "--model", "resnet18", "--device", "cpu", "--output", "study")


def test_help_has_an_example():
    assert "paretina ablate finetune photos/" in run("--help")[0]


@pytest.mark.slow
def test_switches_are_judged_and_everything_is_written(home):
    out, err = run(*STUDY, "--switch", "average", "--add", "transforms.CutMix", "--seeds", "4", "--csv", "here.csv")
    lines = out.splitlines()
    assert lines[0].startswith("The baseline has ")
    assert lines[3].startswith("average")
    assert "worth it: it gains" in lines[3]
    assert "cannot tell yet" in lines[4]
    assert lines[-1] == "report: study/report.html"
    assert "run 12 of 12" in err
    written = {path.name for path in (home / "study").iterdir()}
    assert written == {"ablation.csv", "ablation.json", "ablation.md", "report.html", "runs", "study.json"}
    assert (home / "here.csv").read_text() == (home / "study" / "ablation.csv").read_text()


def test_json_is_one_document(home):
    found = json.loads(run(*STUDY, "--switch", "average", "--seeds", "3", "--final", "--price-train", "0.1", "--json")[0])
    assert found["look"] == {"number": 1, "level": 0.05, "spent": 0.05, "final": True}
    assert found["price"] == {"train": 0.1, "inference": 0.0, "memory": 0.0, "least": 0.0, "most": None}
    assert found["switches"][0]["verdict"]["n"] == 3


@pytest.mark.slow
def test_everything_that_the_recipe_has_is_left_out_unless_told(home):
    rows = json.loads(run(*STUDY, "--seeds", "2", "--dry-run", "--json")[0])
    names = [row["name"] for row in rows["variants"]]
    assert {"base", "average", "RandomShift", "MixOrCut", "label smoothing", "warm-up", "weight decay"} <= set(names)
    assert rows["runs"] == 2 * len(names)
    assert not (home / "study").exists()
    given = json.loads(run(*STUDY, "--switch", "average", "--defaults", "--dry-run", "--json")[0])
    assert [row["name"] for row in given["variants"]] == names


def test_data_and_noise_alone_have_no_switches(home):
    out, _ = run(*STUDY, "--data-fractions", "0.25,1", "--label-noise", "0,0.5", "--equal", "both", "--dry-run")
    assert [line.split("  ")[0].strip() for line in out.splitlines()] == [
        "base",
        "data 0.25",
        "data 0.25, equal epochs",
        "noise 0.5",
        "20 runs to make",
    ]


@pytest.mark.slow
def test_more_seeds_continue_a_study(home):
    run(*STUDY, "--switch", "average", "--seeds", "2")
    out, _ = run(*STUDY, "--switch", "average", "--seeds", "3", "--dry-run")
    assert "average  1 to run, 2 done  average=off" in out
    assert "run 3 of 6" not in run(*STUDY, "--switch", "average", "--seeds", "3")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--switch", "averge"), "did you mean 'average'"),
        (("--switch", "ema"), "write average=on"),
        (("--add", "edits.Fuze"), "did you mean 'Fuse'"),
        (("--models", "resnet19"), "did you mean 'resnet"),
        (("--data-fractions", "some"), "expected numbers with commas"),
        (("--data-fractions", "0"), "in (0, 1]"),
        (("--switch", "clip"), "changes nothing"),
        (("--csv", "nowhere/table.csv"), "there is no folder nowhere"),
        (("epochs",), "field=value"),
        (("epochs=3", "epochs=4"), "epochs is given twice"),
        (("--time-limit", "soon"), "--time-limit must be a time"),
        (("--epochs", "3"), "write it as a field: epochs=VALUE"),
        (("seed=3",), "seed does nothing here"),
        (("--switch", "dropout=0.1 dropout=0.2"), "dropout is given twice, as dropout=0.1 and as dropout=0.2"),
        (("--switch", "weights=nosuch"), "weights=nosuch: there is no model file nosuch"),
        (("--switch", "weights=atuo"), "did you mean 'auto'?"),
        (("--switch", "size=0"), "images must have a side of 1 pixel or more"),
        (("--resume", "x"), "run the same command again to resume an interrupted study"),
    ],
)
def test_a_slip_is_misuse_and_nothing_is_done(home, arguments, said):
    _, err = run(*STUDY, *arguments, code=2)
    assert said in err
    assert not (home / "study").exists()


@pytest.mark.slow
def test_another_base_in_the_same_place_is_misuse(home):
    run(*STUDY, "--switch", "average", "--seeds", "2")
    assert "holds a study of another baseline" in run(*STUDY, "epochs=3", "--switch", "average", code=2)[1]
    (home / "other").mkdir()
    (home / "other" / "letter.txt").write_text("dear ...")
    assert "is not empty" in run(*STUDY[:-1], "other", "--switch", "average", code=2)[1]


@pytest.mark.slow
def test_a_second_process_is_told_what_this_command_has(home, monkeypatch):
    run(*STUDY, "--switch", "average", "--seeds", "1")

    def resume(folder, *_, **__):
        with Run(folder).held():
            raise AssertionError(f"{folder} should be held by another process")

    monkeypatch.setattr(training, "resume", resume)
    folder = home / "study" / "runs" / "base" / "1"
    Run.create(folder, {})
    with Run(folder).held():
        _, err = run(*STUDY, "--switch", "average", "--seeds", "2", code=1)
    assert "another process is working on" in err
    assert "run the same command again" in err
    assert "--resume" not in err


@pytest.mark.slow
def test_after_an_interruption_the_same_command_goes_on(home, monkeypatch):
    real = training.train

    def interrupted(asked, folder, *rest, **more):
        if asked.recipe.seed == 1:
            raise KeyboardInterrupt
        return real(asked, folder, *rest, **more)

    monkeypatch.setattr(training, "train", interrupted)
    _, err = run(*STUDY, "--switch", "average", "--seeds", "3", code=130)
    assert "run the same command again to resume" in err
    monkeypatch.setattr(training, "train", real)
    out, err = run(*STUDY, "--switch", "average", "--seeds", "3")
    assert err.count("run ") == 4
    assert any(line.startswith("average") for line in out.splitlines())
