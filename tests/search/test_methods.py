"""Methods that are compared by name alone, at equal epochs and in equal time."""

import json

import pytest
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.search.ablation import methods
from paretina.search.ablation.methods import in_equal_time, methods_for
from paretina.spec import kinds
from paretina.train.objective import Objective, Term
from tiny import noise_npz, row, tiny_blueprint

TABLE = tiny_blueprint(row(2, 16, 1), row(2, 16, 2))
FIELDS = {"size": 16, "epochs": 4, "batch_size": 6, "workers": 0, "precision": "float32"}


@pytest.fixture
def base(tmp_path):
    data = noise_npz(tmp_path / "noise.npz", 24, 6)
    return verbs.ask(data, TABLE, "plain", "none", "cpu", fields=FIELDS).asked


@pytest.mark.slow
def test_those_that_fit_are_found(base):
    found = methods_for(base)
    assert {switch.title for switch in found.switches} >= {"Cosub", "MixSKD", "CoTraining", "TamperedCrossEntropy"}
    assert not found.refused
    for switch in found.switches:
        assert switch(base) != base


def test_every_method_says_how_it_is_switched_on_or_not_at_all(base):
    for kind in (*kinds(Objective).values(), *kinds(Term).values()):
        assert all("=" in field for field in kind.switched_on(base.recipe))


def test_those_that_do_not_fit_say_why(base, tmp_path):
    one_stage = verbs.ask(noise_npz(tmp_path / "n.npz", 24, 6), tiny_blueprint(), "plain", "none", "cpu", fields=FIELDS).asked
    found = methods_for(one_stage)
    assert "the network has one stage" in found.refused["MixSKD"]
    assert "MixSKD" not in {switch.title for switch in found.switches}


@pytest.mark.slow
def test_equal_time_is_fewer_epochs_of_what_is_slower(base, monkeypatch):
    class Estimate:
        updates_per_epoch = 4

        def __init__(self, seconds):
            self.update_s = seconds

    monkeypatch.setattr(
        methods.estimate,
        "rehearse",
        lambda asked, updates: Estimate(2.0 if type(asked.recipe.objective).__name__ == "Cosub" else 1.0),
    )
    said = []
    found = {switch.title: switch for switch in in_equal_time(base, methods_for(base).switches, said.append)}
    assert found["Cosub in equal time"].fields[-1] == "epochs=2"
    assert "TamperedCrossEntropy in equal time" not in found  # it would be the same run
    assert any("TamperedCrossEntropy: an update takes as long" in text for text in said)
    assert any("Cosub: an update takes 2.00 times as long, so 2 epochs fit" in text for text in said)


@pytest.mark.slow
def test_a_busy_moment_of_the_machine_changes_no_epochs(base, monkeypatch):
    class Estimate:
        updates_per_epoch = 4

        def __init__(self, seconds):
            self.update_s = seconds

    calls = iter(range(1000))
    # the first rehearsals are four times as slow, as on a machine that is busy then
    monkeypatch.setattr(methods.estimate, "rehearse", lambda asked, updates: Estimate(4.0 if next(calls) < 2 else 1.0))
    said = []
    assert in_equal_time(base, methods_for(base).switches, said.append) == ()
    assert len(said) == len(methods_for(base).switches)
    assert in_equal_time(base, (), said.append) == ()


def test_the_plan_abridges_values_of_many_parts():
    from paretina.cli.ablate import abridged

    long = '[{"kind":"Squash"},{"kind":"RandomShift"},{"kind":"HorizontalFlip"}]'
    assert abridged(f"transforms={long}") == 'transforms=[{"kind":"Squash"},{"k...nd":"HorizontalFlip"}]'
    assert abridged("views=[{},{}]") == "views=[{},{}]"
    assert abridged("lr=0.01") == "lr=0.01"


@pytest.mark.slow
def test_the_command_lists_them(tmp_path):
    data = noise_npz(tmp_path / "noise.npz", 24, 6)
    words = ["ablate", "plain", data, "--model", "resnet8_w16_s2", "--weights", "none", "--methods", "--dry-run", "--json"]
    words += ["--output", str(tmp_path / "study"), "size=16", "model.resolution=16", "epochs=4"]
    ended = CliRunner().invoke(main, words, prog_name="paretina")
    assert ended.exit_code == 0, ended.output
    names = {row["name"] for row in json.loads(ended.stdout)["variants"]}
    assert {"base", "Cosub", "MixSKD", "CoTraining"} <= names
