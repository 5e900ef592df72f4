import pytest

from paretina.clock import START
from paretina.data.sources.shapes import Shapes
from paretina.measure.plan import Plan
from paretina.search.frontier.candidates import Candidate, candidate, distinct, grid, listed

PLAN = Plan()


def written(tmp_path, text):
    path = tmp_path / "list.yaml"
    path.write_text(text)
    return path


def test_grid_is_every_network_at_every_size_with_every_recipe():
    found = grid("shapes", PLAN, ["resnet18", "resnet50"], [64, 96], ["plain", "scratch"], fields={"epochs": "3"})
    assert [each.name for each in found[:3]] == ["resnet18-64-plain", "resnet18-64-scratch", "resnet18-96-plain"]
    assert len({each.name for each in found}) == 8
    first = found[0].asked
    assert (first.data, first.model_name, first.recipe_name) == (Shapes(), "resnet18", "plain")
    assert first.recipe.final_size(first.model.resolution) == 64
    assert first.recipe.epochs == 3.0


def test_a_size_is_one_that_the_network_is_built_for():
    (found,) = grid("shapes", PLAN, ["levit_128s"], [64], ["plain"])
    assert found.asked.model.resolution == 64
    assert found.words[-1] == "resolution=64"


def test_a_size_wins_over_the_sizes_of_a_progressive_recipe():
    sizes = {"size": '{"kind": "Linear", "start": 32, "end": 96}'}
    (found,) = grid("shapes", PLAN, ["resnet18"], [64], ["plain"], fields=sizes)
    assert found.name == "resnet18-64-plain"
    assert found.asked.recipe.sizes(64)(START) == 64


def test_size_and_recipe_are_chosen_where_they_are_not_told():
    (found,) = grid("shapes", PLAN, ["resnet18"])
    assert found.name == "resnet18-224-scratch"
    assert found.asked.recipe.size is None


def test_the_command_asks_for_the_same(tmp_path):
    from paretina import verbs
    from paretina.cli.program import taken_apart

    found = candidate("shapes", PLAN, "resnet18", "plain", "none", {"size": 96, "edits.Scale": "on", "edits.Scale.width": 0.5})
    command = found.command("my data")
    assert command.startswith("paretina train 'my data' --model resnet18 --recipe plain --weights none size=96")
    fields = found.words[6:]
    again = verbs.ask("shapes", "resnet18", "plain", "none", "cpu", fields=taken_apart(fields)).asked
    assert (again.model, again.recipe, again.edits) == (found.asked.model, found.asked.recipe, found.asked.edits)


def test_weights_are_looked_for_unless_told():
    found = candidate("shapes", PLAN, "efficientnet_lite0")
    assert (found.asked.weights, found.asked.recipe_name) == ("auto", "finetune")
    assert found.words[:6] == ("--model", "efficientnet_lite0", "--recipe", "finetune", "--weights", "auto")
    (found,) = grid("shapes", PLAN, ["efficientnet_lite0"], recipes=["scratch"])
    assert found.asked.weights == "none"


def test_a_candidate_survives_json():
    found = candidate("shapes", PLAN, "resnet18", "plain")
    assert Candidate.from_dict(found.to_dict()) == found


def test_what_was_given_as_a_value_has_no_command():
    assert Candidate("a", candidate("shapes", PLAN, "resnet18").asked).command("shapes") == ""


def test_a_list_holds_words_and_fields(tmp_path):
    text = """
    - model: resnet18
      recipe: plain
      size: 96
    - {name: wide, model: resnet18, recipe: plain, edits: {Scale: true}, edits.Scale.width: 1.5}
    """
    found = listed(written(tmp_path, text), "shapes", PLAN, fields={"epochs": 2})
    assert [each.name for each in found] == ["resnet18-96-plain", "wide"]
    assert found[1].asked.edits[0].width == 1.5
    assert [each.asked.recipe.epochs for each in found] == [2.0, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: resnet18", "must be a list of candidates"),
        ("[]", "must be a list of candidates"),
        ("- size: 96", "entry 1 has no model"),
        ("- {model: resnet18}\n- {model: resnet81}", "entry 2: .*did you mean 'resnet18'"),
        ("- {model: resnet18, epoch: 3}", "entry 1: .*did you mean 'epochs'"),
        ("- {model: resnet18, name: a/b}", "entry 1: a candidate's name becomes a directory.*'a/b'"),
        ("- {model: resnet18, model: resnet50}", "not YAML: model is given twice"),
        ("- {model: resnet18}\n- {model: resnet18}", "is given twice among the candidates"),
    ],
)
def test_a_wrong_list_says_what_is_wrong_where(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        listed(written(tmp_path, text), "shapes", PLAN)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*none\.yaml: No such file"):
        listed(tmp_path / "none.yaml", "shapes", PLAN)


def test_names_that_meet_get_numbers(tmp_path):
    text = "- {model: resnet18, epochs: 3}\n- {model: resnet18, epochs: 5}"
    assert [each.name for each in listed(written(tmp_path, text), "shapes", PLAN)] == [
        "resnet18-224-scratch",
        "resnet18-224-scratch-2",
    ]


def test_a_number_that_is_taken_is_refused():
    one, two, three = (candidate("shapes", PLAN, "resnet18", fields={"seed": seed}).asked for seed in range(3))
    with pytest.raises(ValueError, match="unique names"):
        distinct([Candidate("a", one), Candidate("a-2", two), Candidate("a", three)])
