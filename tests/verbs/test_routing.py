"""A network that chooses its image size, through the commands: a chain of two runs, one model file, sizes in all results."""

import functools
import json
import re

import pytest
import torch
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.measure.cost import cost
from paretina.model.assemblies.route import Routed
from paretina.model.weights import load_model
from paretina.run import Run
from paretina.spec import decode
from paretina.train import training
from paretina.train.asked import Asked
from paretina.train.objectives.routing import Costed, Routing
from paretina.train.routes import COSTED, RouteBudget, check_routes, route_budget, sizes_named
from tiny import noise_npz

FIELDS = {"epochs": 2, "batch_size": 16, "threads": 1, "workers": 0, "objective__weight": 5.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return noise_npz(tmp_path_factory.mktemp("data") / "noise.npz", 48, 24, side=28, contrast=60)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "routed"
    said = []
    found = verbs.train(
        data, "resnet8_w16_s2", "plain", "none", "cpu", place, routes="14,20,28", budget="macs=0.6x", say=said.append, **FIELDS
    )
    assert [text.partition(":")[0] for text in said if text.startswith("stage")] == ["stage 1 of 2", "stage 2 of 2"]
    return found


def asked_of(run):
    return decode(Asked, Run(run).asked()["asked"])


def test_pictures_are_given_at_the_largest_size_and_a_dry_run_is_of_the_first_stage(data):
    words = ["train", data, "--model", "resnet8_w16_s2", "--weights", "none", "--device", "cpu", "--recipe", "plain"]
    words += ["--routes", "14,28", "epochs=10", "batch_size=16", "workers=0", "--dry-run"]
    found = CliRunner().invoke(main, [*words, "size=40"])
    assert found.exit_code == 2
    assert "the largest of the sizes to choose from, 28 pixels, and the fields ask for 40" in " ".join(found.output.split())
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 0, found.output
    assert "7 epochs, 21 updates of 16 pictures" in found.output
    assert "the second, for the choice, has 10 epochs" in found.output


# --- the chain ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_both_stages_are_runs_and_the_second_starts_from_the_first(run):
    first, second = asked_of(run.path / "sizes"), asked_of(run.path)
    assert (first.recipe.objective.stage, second.recipe.objective.stage) == ("sizes", "routes")
    assert (first.recipe.epochs, second.recipe.epochs) == (pytest.approx(1.4), 2.0)
    assert second.weights == str((run.path / "sizes" / "model.safetensors").absolute())
    assert [(rate.network, rate.factor) for rate in second.recipe.learning.part_rates] == [("predictor", 0.1)]
    assert first.recipe.learning.part_rates == ()
    assert second.recipe.objective.share == 0.6
    before, after = (load_model(path / "model.safetensors")[0] for path in (run.path / "sizes", run.path))
    assert before.model.shares == (0.0, 0.0, 1.0)
    assert not torch.equal(before.predictor.head.classifier.weight, after.predictor.head.classifier.weight)
    assert before.predictor.head.classifier.weight.abs().sum() == 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
def test_an_interrupted_chain_ends_as_an_uninterrupted_one(stage, run, data, tmp_path, monkeypatch):
    place, calls = tmp_path / "run", []

    def stopped(*given, **named):
        calls.append(1)
        return training_train(*given, **named, **({"stop_after": 3} if len(calls) == stage else {}))

    training_train = training.train
    monkeypatch.setattr(training, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        verbs.train(data, "resnet8_w16_s2", "plain", "none", "cpu", place, routes="14,20,28", budget="macs=0.6x", **FIELDS)
    assert (place / "asked.json").exists() == (stage == 2)
    monkeypatch.setattr(training, "train", training_train)
    found = verbs.continue_routed(place)
    for part in ("sizes/model.safetensors", "model.safetensors"):
        wanted, got = (load_model(path / part)[0].state_dict() for path in (run.path, found.path))
        assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items()), part
    assert found.result()["metrics"] == run.result()["metrics"]


@pytest.mark.slow
def test_what_cannot_begin_leaves_nothing_behind(data, tmp_path):
    place = tmp_path / "run"
    train = functools.partial(verbs.train, data, "resnet8_w16_s2", "plain", "none", "cpu", place, routes="14,28", **FIELDS)
    for budget, said in (("macs=0.1x", "cannot meet the budget macs=0.1x"), ("macs=9G", r"cannot meet the budget macs=9e\+09")):
        with pytest.raises(verbs.MisuseError, match=said):
            train(budget=budget)
        words = ["train", data, "--model", "resnet8_w16_s2", "--weights", "none", "--routes", "14,28", "--budget", budget]
        dry = CliRunner().invoke(main, [*words, "--device", "cpu", "--dry-run"], prog_name="paretina")
        assert dry.exit_code == 2
        assert said.partition("=")[0] in " ".join(dry.stderr.split())
    with pytest.raises(verbs.MisuseError, match="it runs at 14, 28 pixels"):
        train(size=14)
    with pytest.raises(ValueError, match="cannot be split into accumulate=1000 parts"):
        train(accumulate=1000)
    assert not place.exists()


@pytest.mark.slow
def test_another_run_is_not_written_over(run, data):
    with pytest.raises(
        verbs.MisuseError, match=rf"holds a training in two stages already.* paretina train --resume {re.escape(str(run.path))}"
    ):
        verbs.train(data, "resnet8_w16_s2", output=run.path, routes="14,28")
    with pytest.raises(verbs.MisuseError, match="so there are no stages to continue"):
        verbs.continue_routed(run.path / "sizes")
    assert verbs.continue_routed(run.path).path == run.path


# --- one file, in all commands --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_result_has_the_sizes_that_were_taken(run):
    result, model = run.result(), load_model(run.path / "model.safetensors")[0].model
    taken = result["routes"]
    assert isinstance(model, Routed)
    assert taken["sizes"] == [14, 20, 28] == list(model.sizes)
    assert sum(taken["pictures"]) == 24
    assert taken["shares"] == pytest.approx([count / 24 for count in taken["pictures"]])
    assert model.shares == pytest.approx(taken["shares"])
    assert result["cost"]["macs"] == taken["macs"] == cost(model).macs
    assert [route["share"] for route in result["cost"]["routes"]] == pytest.approx(taken["shares"])


@pytest.mark.slow
def test_evaluation_reports_the_sizes_and_the_controls(run, data):
    found = verbs.evaluate(run.path, data, device="cpu", routes=True)
    assert found.accuracy.top1 == pytest.approx(run.result()["metrics"]["val/top1"])
    assert json.loads(json.dumps(found.routes.to_dict())) == run.result()["routes"]
    own, *fixed, chance, oracle = found.choices.choices
    assert own.top1.value == pytest.approx(found.accuracy.top1)
    assert own.macs == pytest.approx(found.routes.macs, abs=100)
    assert [each.name for each in fixed] == ["always 14", "always 20", "always 28"]
    each = [route["macs"] for route in run.result()["cost"]["routes"]]
    assert [one.macs for one in fixed] == pytest.approx(each)
    wanted = sum(share * one.top1.value for share, one in zip(own.shares, fixed, strict=True))
    assert chance.top1.value == pytest.approx(wanted)
    assert oracle.top1.value >= max(one.top1.value for one in (*fixed, own))
    assert set(found.to_dict()) >= {"routes", "choices"}
    assert verbs.evaluate(run.path, data, device="cpu").choices is None


@pytest.mark.slow
def test_a_network_of_one_size_has_no_choice_to_compare(data, tmp_path):
    plain = verbs.train(data, "resnet8_w16_s2", "plain", "none", "cpu", tmp_path / "run", epochs=0.5, batch_size=16)
    with pytest.raises(verbs.MisuseError, match="--routes is for a network that chooses its image size"):
        verbs.evaluate(plain.path, data, routes=True)
    assert "routes" not in plain.result()
    assert plain.result()["cost"]["routes"] == []


@pytest.mark.slow
def test_commands_print_the_sizes(run, data):
    said = r"sizes of 24 pictures: 14 \d+ %, 20 \d+ %, 28 \d+ %; [\d.]+ M MACs each, [\d.]+ of the network at 28 pixels"
    for arguments in (["train", "--resume", str(run.path)], ["evaluate", str(run.path), data, "--routes"]):
        found = CliRunner().invoke(main, arguments)
        assert found.exit_code == 0, found.output
        assert re.search(said, found.output), found.output
    assert "by chance, as often" in found.output
    shown = CliRunner().invoke(main, ["show", str(run.path)])
    assert (
        "chooses one of 3 sizes for each picture; counted as often as the validation pictures of its training took them:"
        in shown.output
    )


@pytest.mark.slow
def test_the_page_has_the_sizes(run):
    page = (run.path / "report.html").read_text()
    assert '<section id="routes">' in page
    taken = run.result()["routes"]
    for size, count in zip(taken["sizes"], taken["pictures"], strict=True):
        assert f'<td class="number">{size}</td><td class="number">{count}</td>' in page
    assert '<section id="routes">' in (run.path / "sizes" / "report.html").read_text()


@pytest.mark.slow
def test_pictures_are_answered_and_embedded_alone_as_together(run, tmp_path):
    import PIL.Image

    names = []
    for number in range(4):
        names.append(tmp_path / f"{number}.png")
        image = torch.randint(256, (30 + number, 34, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
        PIL.Image.fromarray((image // 4 + 40 * number).numpy()).save(names[-1])
    together = verbs.predict(run.path, names, device="cpu").predictions
    for name, both in zip(names, together, strict=True):
        (alone,) = verbs.predict(run.path, [name], device="cpu").predictions
        assert [each[0] for each in alone.answers] == [each[0] for each in both.answers]
        assert [each[1] for each in alone.answers] == pytest.approx([each[1] for each in both.answers], abs=1e-4)
    assert verbs.embed(run.path, names, device="cpu").features.shape == (4, 64)


@pytest.mark.slow
def test_it_is_not_shipped(run):
    for to in ("onnx", "torch-export"):
        with pytest.raises(ValueError, match="chooses an image size for each picture while it runs"):
            verbs.ship(run.path, to)


@pytest.mark.slow
def test_fine_tuning_says_that_nothing_holds_the_cost_down(run, data, tmp_path):
    said = []
    further = verbs.finetune(run.path, data, device="cpu", output=tmp_path / "run", epochs=0.5, batch_size=16, say=said.append)
    notes = [*said, *further.result()["data"]["notes"]]
    assert any(text.startswith("nothing in this recipe holds down what the sizes cost") for text in notes)
    assert "routes" in further.result()


# --- what is asked --------------------------------------------------------------------------------------------------------


def test_sizes_and_budgets_are_read():
    assert sizes_named("112, 168,224") == (112, 168, 224)
    assert route_budget("macs=0.6x") == RouteBudget("macs", share=0.6)
    assert route_budget("macs = 1.2G") == RouteBudget("macs", amount=1.2e9)
    assert route_budget("bytes_moved=3e6").amount == 3e6
    assert Costed.__args__ == COSTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("168,112", "larger than the one before it, got 168,112; write 112,168"),
        ("168,168", "give two that differ"),
        ("224", "nothing to choose from with one size, 224"),
        ("112,x", "whole numbers of pixels"),
        ("0,28", "whole numbers of pixels"),
        ("", "whole numbers of pixels"),
        (",".join(map(str, range(1, 18))), "16 sizes at most"),
    ],
)
def test_sizes_that_are_none_are_refused(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        sizes_named(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mac=0.6x", "there is no cost 'mac' to limit; did you mean 'macs'?"),
        ("0.6x", "a budget looks like macs=0.6x"),
        ("macs=x", "a budget looks like macs=0.6x"),
        ("macs=-1", "a budget looks like macs=0.6x"),
        ("macs=0.6y", "a budget looks like macs=0.6x"),
        ("macs=1e999", "a budget looks like macs=0.6x"),
    ],
)
def test_budgets_that_are_none_are_refused(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        route_budget(text)


def test_options_and_fields_do_not_meet():
    assert check_routes(None, None, {"epochs": "1"}) == {"epochs": "1"}
    own = check_routes("14,28", None, {"epochs": "1"})
    assert json.loads(own["assembly"])["sizes"] == [14, 28]
    assert own["objective.share"] == "0.6"
    assert check_routes("14,28", "macs=2M", {})["objective.amount"] == "2000000.0"
    with pytest.raises(ValueError, match="--budget is what the sizes of --routes may cost"):
        check_routes(None, "macs=0.6x", {})
    for name in ("objective", "recipe.objective", "assembly", "assembly.sizes", "objective.share"):
        with pytest.raises(ValueError, match=f"--routes sets {re.escape(name)}, which is also given"):
            check_routes("14,28", None, {name: "1"})


def test_terms_of_the_recipe_stay(data):
    fields = check_routes("14,28", None, {"objective.terms.CrossEntropy.smoothing": "0.3"})
    choice = verbs.ask(data, "resnet8_w16_s2", "plain", "none", "cpu", fields=fields)
    assert isinstance(choice.asked.recipe.objective, Routing)
    assert choice.asked.recipe.objective.terms[0].smoothing.value == 0.3
    assert choice.asked.assembled().resolution == 28
