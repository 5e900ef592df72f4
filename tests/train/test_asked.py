import json
import re
from dataclasses import replace
from typing import get_args

import pytest

from paretina.clock import Clock
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.clipart import Clipart
from paretina.data.sources.folder import Folder
from paretina.data.sources.shapes import Shapes
from paretina.data.transform import View
from paretina.data.transforms.mixup import MixUp
from paretina.measure.plan import Plan
from paretina.model.activations.pointwise import ReLU6
from paretina.model.blueprint import Assembly, Edit
from paretina.model.edits.scale import Scale
from paretina.model.family import network_named
from paretina.schedules import Constant, Cosine, Warmup
from paretina.spec import Spec, decode, encode, field_types, get, is_kind, is_spec, is_tuple, options, put
from paretina.train.asked import (
    Asked,
    assignment,
    change,
    choose,
    flattened,
    full_path,
    holds,
    read_config,
    recipe_named,
    recipes,
    source_named,
)
from paretina.train.average import Average
from paretina.train.fields import PARTS
from paretina.train.optimizers.adamw import AdamW
from paretina.train.optimizers.sgd import SGD
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.traits import places


@pytest.fixture
def choice():
    return choose("shapes", "resnet18", Recipe(), Plan(), "none")


# --- words ------------------------------------------------------------------------------------------------------------


def test_words_for_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    assert source_named("clipart") == Clipart()
    assert source_named("shapes") == Shapes()
    assert source_named("digits.npz") == Arrays(path="digits.npz")
    assert source_named("photos") == Folder(path="photos")
    assert source_named(Shapes(seed=4)) == Shapes(seed=4)


def test_a_folder_that_is_there_goes_before_a_built_in_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clipart").mkdir()
    assert source_named("clipart") == Folder(path="clipart")


def test_data_that_is_not_there_gets_the_near_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match="there is no folder 'cliparts', and no built-in data of that name; did you mean 'clipart'"
    ):
        source_named("cliparts")


def test_recipes_have_names_and_the_text_of_their_file():
    found = recipes()
    assert {"plain", "scratch", "finetune"} <= set(found)
    for name, (recipe, about) in found.items():
        assert isinstance(recipe, Recipe), name
        assert about, name
    assert recipe_named("plain") == found["plain"][0]
    with pytest.raises(ValueError, match="there is no recipe named 'plane'; did you mean 'plain'"):
        recipe_named("plane")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("epochs", "recipe.epochs"),
        ("optimizer.lr", "recipe.optimizer.lr"),
        ("transforms.MixUp.alpha", "recipe.transforms.MixUp.alpha"),
        ("precision", "plan.precision"),
        ("workers", "plan.workers"),
        ("stages.0.depth", "model.stages.0.depth"),
        ("resolution", "model.resolution"),
        ("recipe.epochs", "recipe.epochs"),
        ("data.path", "data.path"),
        ("edits.Scale", "edits.Scale"),
    ],
)
def test_short_names_reach_into_the_whole(name, path):
    assert full_path(name) == path


@pytest.mark.parametrize(("wrong", "near"), [("epoch", "epochs"), ("optimiser", "optimizer"), ("Batch_Size", "batch_size")])
def test_a_misspelt_name_gets_the_near_one(wrong, near):
    with pytest.raises(ValueError, match=f"there is no field {wrong!r}; did you mean {near!r}"):
        full_path(wrong)


def test_no_short_name_means_two_things():
    # otherwise one of the two could not be reached, in silence
    from paretina.model.blueprint import Blueprint
    from paretina.spec import field_map

    places = [set(field_map(spec)) for spec in (Recipe, Plan, Blueprint)]
    assert sum(map(len, places)) == len(set.union(*places))
    assert not set.union(*places) & set(PARTS)


def fields_of(spec, prefix=""):
    """Every field of a spec, and of those that stand in it by default, with its path and its type."""
    for place in places(spec, prefix):
        yield place.path, field_types(type(place.holder))[place.name]


LISTS = [(path, hint) for path, hint in fields_of(Recipe(views=(View(),)), "recipe.") if any(map(is_tuple, options(hint)))] + [
    ("edits", tuple[Edit, ...])
]
OPTIONAL = [
    (path, hint)
    for path, hint in (*fields_of(Recipe(), "recipe."), ("assembly", Assembly | None))
    if type(None) in options(hint) and any(map(is_spec, options(hint)))
]


def test_lists_and_optional_specs_of_a_recipe_are_found():
    assert {"recipe.transforms", "recipe.views", "recipe.objective.terms", "recipe.views.View.transforms"} <= dict(LISTS).keys()
    assert {"recipe.size", "recipe.average", "recipe.clip", "recipe.test.judge", "assembly"} <= dict(OPTIONAL).keys()


def examples_in(message, path):
    """The assignments that a message has as examples; a number is one of a schedule."""
    found = re.findall(rf"{re.escape(path)}[\w.]*=(?:'[^']*'|\w+)", message)
    return found or [f"{path}={number}" for number in re.findall(r"a number, such as ([\d.]+)", message)]


@pytest.mark.parametrize("text", ["on", "off", "true", "3", '{"kind": "View"}'])
@pytest.mark.parametrize(("path", "hint"), LISTS)
def test_what_is_no_list_gets_an_example_that_works(choice, path, hint, text):
    asked = put(choice.asked, "recipe.views", [{}])
    with pytest.raises(ValueError, match=rf"^{re.escape(path)} must be a list, such as .*got '{re.escape(text)}'$") as refusal:
        change(asked, path, text)
    examples = examples_in(str(refusal.value), path)
    kinds_by_name = is_spec(get_args(hint)[0]) and is_kind(get_args(hint)[0])
    assert len(examples) == 1 + kinds_by_name
    for example in examples:
        place, value = assignment(example)
        assert change(asked, place, value.strip("'")) != choice.asked


@pytest.mark.parametrize("path", dict(OPTIONAL))
def test_an_optional_spec_is_switched_on_or_says_how(choice, path):
    asked = put(choice.asked, path, None)
    try:
        text, examples = "", [f"{path}=on"] if change(asked, path, "on") else []
    except ValueError as error:
        text, examples = str(error), examples_in(str(error), path)
    assert text.startswith(path if text else "")
    assert examples
    for example in examples:
        place, value = assignment(example)
        assert get(change(asked, place, value.strip("'")), path) is not None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("views", "on", """views must be a list, such as views='[{"transforms": [{"kind": "AutoAugment"}]}]', got 'on'"""),
        ("edits", "on", """edits must be a list, such as edits='[{"kind": "Depthwise"}]' or edits.Depthwise=on, got 'on'"""),
        ("clip", "on", "clip: name one of AdaptiveClip, ClipNorm instead of 'on', such as clip=AdaptiveClip"),
        ("average", "yes", """average must be on, off or an object, such as average='{"decay": 0.1}', got 'yes'"""),
        ("judge", "on", "MeanIoU, MeanPrecision, TopOne instead of 'on', such as judge=Box"),
        # what has to be switched on first is called by its whole path
        ("objective.terms.Distill.weight", "1", "switch it on first (objective.terms.Distill=on)"),
        ("views.0.transforms", "on", "views.0.transforms must be a list, such as views.0.transforms='[{"),
        ("average.decay", "0.9", "average is off; switch it on first (average=on), then set 'decay' in it"),
    ],
)
def test_fields_are_called_as_they_were_given(choice, path, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        change(put(put(choice.asked, "recipe.views", [{}]), "recipe.average", None), path, value)


@pytest.mark.parametrize(
    ("text", "pair"),
    [("epochs=30", ("epochs", "30")), (" a.b = c ", ("a.b", "c")), ("x=a=b", ("x", "a=b")), ("teacher=", ("teacher", ""))],
)
def test_assignments(text, pair):
    assert assignment(text) == pair


@pytest.mark.parametrize("text", ["epochs", "=30", ""])
def test_what_is_no_assignment_says_so(text):
    with pytest.raises(ValueError, match="expected field=value, got"):
        assignment(text)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("epochs", "2.5", 2.5),
        ("epochs", "30", 30.0),
        ("batch_size", "16", 16),
        ("size", "160", Constant(value=160.0)),
        ("size", "none", None),
        ("threads", "2", 2),
        ("compile", "on", True),
        ("precision", "bfloat16", "bfloat16"),
        ("keep", "best", "best"),
        ("teacher", "runs/a/model.safetensors", "runs/a/model.safetensors"),
        ("average", "on", Average()),
        ("average", "off", None),
        ("stochastic_depth", "on", StochasticDepth()),
        ("activation", "ReLU6", ReLU6()),
        ("optimizer", '{"kind": "SGD", "rate": 0.1}', SGD(lr=Constant(value=0.1))),
        ("seed", 7, 7),
    ],
)
def test_values_from_text(choice, path, text, value):
    assert get(change(choice.asked, path, text), full_path(path)) == value


def test_methods_are_switched_on_and_off(choice):
    asked = change(choice.asked, "transforms.MixUp", "on")
    asked = change(asked, "transforms.MixUp.alpha", "0.4")
    assert asked.recipe.transforms[-1] == MixUp(alpha=Constant(value=0.4))
    assert change(asked, "transforms.MixUp", "off").recipe.transforms == choice.asked.recipe.transforms


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("transforms.MixUp.alpha", "0.4", r"has no MixUp; switch it on first \(transforms.MixUp=on\)"),
        ("transforms.Mixup", "on", "did you mean 'MixUp'"),
        ("transforms.MixUp", "off", "'MixUp' is not switched on here"),
        ("optimizer.rat", "0.1", "has no field 'rat'; did you mean 'rate'"),
        ("average.decay", "0.9", "is off; switch it on first"),
        ("batch_size", "2.5", "batch_size: must be a whole number, got 2.5"),
        ("epochs", "many", "epochs must be a number, got 'many'"),
        ("epochs", "-1", "must be at least 0"),
        ("precision", "float8", "cannot be 'float8'"),
        ("keep", "latest", "cannot be 'latest'"),
    ],
)
def test_values_that_do_not_fit_say_why(choice, path, value, said):
    before = choice.asked
    with pytest.raises(ValueError, match=said):
        choice.set(path, value, "command line")
    assert choice.asked == before
    assert choice.origins == {}


# --- given twice ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"lr": "0.1"}, {"lr.then.start": "0.2"}),
        ({"optimizer.weight_decay": "0.3"}, {"optimizer": '{"kind": "SGD", "rate": 0.3}'}),
        ({"optimizer": '{"kind": "SGD", "rate": 0.3}'}, {"lr": 0.1}),
        ({"lr": 0.1}, {"optimizer": {"kind": "SGD", "rate": 0.3}}),
        ({"epochs": "3"}, {"recipe": {}}),
        ({"transforms.MixUp": "on"}, {"transforms": []}),
        ({"stages.*.depth": "1"}, {"stages.0.depth": "2"}),
        ({"stages.*.block.kernel": "5"}, {"stages.1.block.kernel": "3"}),
        ({"size": "96"}, {"pixels": "0.5"}),
    ],
)
def test_what_takes_back_what_was_said_is_refused_with_both(tiny, first, second):
    with pytest.raises(ValueError, match=r"set the same field|both set the training size") as caught:
        choose(Shapes(), tiny, SLOPED, Plan(), "none", fields={**first, **second})
    for name in (*first, *second):
        assert f"{name}=" in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "SGD", "optimizer.momentum": "0.5", "lr": "0.1"},
        {"lr": "0.1", "optimizer": "SGD", "optimizer.momentum": "0.5"},
        {"optimizer.momentum": "0.5", "optimizer": "SGD"},
        {"lr": "0.1", "lr.epochs": "3"},
        {"lr.epochs": "3", "lr": "0.1"},
        {"average": "on", "average.decay": "0.5"},
        {"transforms.MixUp": "on", "transforms.MixUp.alpha": "0.4", "transforms.HorizontalFlip": "off"},
        {"optimizer": '{"kind": "SGD", "rate": 0.1}', "optimizer.momentum": "0.5"},
        {"edits.Scale": "on", "edits.Scale.width": "0.5"},
        {"stages.*.block": "MBConv", "stages.*.block.kernel": "5"},
        {"optimizer.scale_lr": "on", "lr": "0.1"},
        {"resolution": "32", "size": "16"},
    ],
    ids=str,
)
def test_a_kind_may_stand_before_what_is_in_it(tiny, fields):
    choice = choose(Shapes(), tiny, SLOPED, Plan(), "none", fields=fields)
    for path, value in fields.items():
        assert holds(choice.asked, path, value)


def test_a_field_by_two_names_is_refused_with_both():
    with pytest.raises(ValueError, match=r"recipe\.epochs is given twice, as epochs=3 and as recipe\.epochs=5; leave one out"):
        choose("shapes", "resnet18", SLOPED, Plan(), "none", fields={"epochs": 3, "recipe.epochs": 5})


# --- files ------------------------------------------------------------------------------------------------------------


def written(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_a_file_has_the_same_names(tmp_path):
    path = written(
        tmp_path,
        """
epochs: 2.5
batch_size: 16
optimizer.lr: 1e-2
recipe:
  dropout: 0.3
  optimizer: {weight_decay: 0.01}
transforms:
  MixUp: on
average: on
stochastic_depth: {kind: StochasticDepth, rate: 0.3}
clip: null
compile: false
precision: bfloat16
""",
    )
    recipe = (found := choose("shapes", "resnet18", Recipe(), Plan(), "none", path).asked).recipe
    assert (recipe.epochs, recipe.batch_size, recipe.dropout) == (2.5, 16, Constant(value=0.3))
    assert recipe.optimizer.lr == Warmup(epochs=1.0, then=Cosine(start=0.01))
    assert recipe.optimizer.weight_decay == Constant(value=0.01)
    assert recipe.transforms[-1] == MixUp()
    assert recipe.average == Average()
    assert recipe.stochastic_depth == StochasticDepth(rate=Constant(value=0.3))
    assert recipe.clip is None
    assert (found.plan.compile, found.plan.precision) == (False, "bfloat16")


@pytest.mark.parametrize("word", ["off", "no", "false"])
def test_a_file_switches_off_with_any_word_of_yaml(tmp_path, word):
    path = written(tmp_path, f"transforms: {{HorizontalFlip: {word}}}\naverage: {word}\ncompile: {word}\n")
    before = choose("shapes", "resnet18", Recipe(average=Average()), Plan(compile=True), "none").asked
    found = choose("shapes", "resnet18", Recipe(average=Average()), Plan(compile=True), "none", path).asked
    assert [type(t).__name__ for t in before.recipe.transforms if t not in found.recipe.transforms] == ["HorizontalFlip"]
    assert found.recipe.average is None
    assert found.plan.compile is False


SLOPED = Recipe(optimizer=AdamW(lr=Warmup(epochs=1.0, then=Cosine(start=2e-3, end=2e-5)), scale_lr=True))


@pytest.mark.parametrize("name", ["lr", "optimizer.lr", "recipe.optimizer.lr", "optimizer.rate"])
@pytest.mark.parametrize("value", ["0.001", "1e-3", 0.001])
def test_a_learning_rate_is_the_peak_of_the_schedule_that_there_is(name, value):
    optimizer = choose("shapes", "resnet18", SLOPED, Plan(), "none", fields={name: value}).asked.recipe.optimizer
    assert optimizer.lr.epochs == 1.0
    assert (optimizer.lr.then.start, optimizer.lr.then.end) == (0.001, pytest.approx(1e-5))
    # what is asked for is what the updates have, whatever the batch
    assert max(optimizer.rate_at(Clock(update, 100, 10.0), 64) for update in range(100)) == 0.001


def test_a_rate_for_a_number_of_pictures_has_to_be_asked_for():
    for fields in ({"lr": 0.1, "optimizer.scale_lr": "on"}, {"optimizer.scale_lr": "on", "lr": 0.1}):
        optimizer = choose("shapes", "resnet18", SLOPED, Plan(), "none", fields=fields).asked.recipe.optimizer
        assert max(optimizer.rate_at(Clock(update, 100, 10.0), 64) for update in range(100)) == pytest.approx(0.1 / 4)


def test_another_schedule_of_the_rate_is_spelled_out():
    constant = '{"kind": "Constant", "value": 0.001}'
    assert choose("shapes", "resnet18", SLOPED, Plan(), "none", fields={"lr": constant}).asked.recipe.optimizer.lr == Constant(
        value=0.001
    )
    parts = choose("shapes", "resnet18", SLOPED, Plan(), "none", fields={"lr.epochs": 3}).asked.recipe.optimizer.lr
    assert parts == Warmup(epochs=3.0, then=Cosine(start=2e-3, end=2e-5))


@pytest.mark.parametrize("fields", [{"optimizer": "SGD", "lr": 0.1}, {"lr": 0.1, "optimizer": "SGD"}])
def test_another_optimizer_keeps_the_schedule_and_takes_a_rate_in_any_order(fields):
    recipe = choose("shapes", "resnet18", SLOPED, Plan(), "none", fields=fields).asked.recipe
    assert max(recipe.optimizer.rate_at(Clock(update, 100, 10.0), 64) for update in range(100)) == 0.1
    assert recipe.optimizer.lr == Warmup(epochs=1.0, then=Cosine(start=0.1, end=0.1 * (2e-5 / 2e-3)))


@pytest.mark.parametrize("value", ["fast", "nan", True])
def test_a_learning_rate_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match=r"^lr must be a number, such as"):
        choose("shapes", "resnet18", SLOPED, Plan(), "none", fields={"lr": value})


@pytest.mark.parametrize("fields", [{"lr": "-0.1"}, {"optimizer.weight_decay": "-1"}])
def test_a_learning_rate_or_decay_below_zero_is_refused(fields):
    with pytest.raises(ValueError, match=r"^(lr|optimizer.weight_decay) must stay at least 0, but is -"):
        choose("shapes", "resnet18", SLOPED, Plan(), "none", fields=fields)


def test_json_is_a_file_too(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"epochs": 3, "recipe": {"seed": 5}}))
    assert read_config(path) == {"epochs": 3, "recipe.seed": 5}


@pytest.mark.parametrize("text", ["1e-8", "1E-8", "1.0e-8", "1.e-8", "0.1e-7", ".1e-7", "+1e-08"])
def test_a_number_with_an_exponent_is_a_number(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(f"optimizer.eps: {text}\nnames: [1e, e-8, a1e-8, 1e-8b]")
    assert read_config(path) == {"optimizer.eps": 1e-8, "names": ["1e", "e-8", "a1e-8", "1e-8b"]}


def test_a_whole_recipe_can_stand_in_a_file(tmp_path):
    recipe = replace(recipe_named("scratch"), epochs=3.0)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"recipe": encode(recipe)}))
    found = choose("shapes", "resnet18", recipe_named("fast"), Plan(), "none", fields=read_config(path)).asked
    assert replace(found.recipe, epochs=3.0) == recipe
    assert found.recipe.epochs == 3.0


def test_fields_given_one_by_one_win_over_the_file(tmp_path):
    path = written(tmp_path, "epochs: 2\nseed: 4\n")
    choice = choose("shapes", "resnet18", "scratch", Plan(), "none", path, {"epochs": "5"})
    assert (choice.asked.recipe.epochs, choice.asked.recipe.seed) == (5.0, 4)
    assert choice.origin("recipe.epochs") == "command line"
    assert choice.origin("recipe.seed") == str(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- epochs\n", "must map names to values"),
        ("", "must map names to values"),
        ("epochs: [", "is neither YAML nor JSON"),
        ("epochs: 3\nepochs: 4\n", "epochs is given twice"),
        ("epoch: 3\n", "there is no field 'epoch'; did you mean 'epochs'"),
        ("optimizer: {}\n", "there is no Optimizer named"),  # nothing that was written is passed over
        ("!!python/object/apply:os.system ['false']", "is neither YAML nor JSON"),
    ],
)
def test_a_file_that_says_nothing_sensible_is_refused(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        choose("shapes", "resnet18", "scratch", Plan(), "none", written(tmp_path, text))


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*nowhere.yaml: No such file"):
        read_config(tmp_path / "nowhere.yaml")


def test_a_whole_spec_in_a_file_stays_whole():
    found = dict(flattened({"a": {"b": {"kind": "SGD", "rate": 0.1}, "c": {"d": 1}}, "e.f": True}))
    assert found == {"a.b": {"kind": "SGD", "rate": 0.1}, "a.c.d": 1, "e.f": "on"}


# --- where values came from -------------------------------------------------------------------------------------------


def test_every_value_knows_where_it_came_from():
    choice = choose("shapes", "resnet18", "plain", Plan(), "none")
    choice.set("optimizer", '{"kind": "SGD", "rate": 0.1}', "file")
    choice.set("optimizer.lr", "0.2", "command line")
    choice.set("threads", "1", "command line")
    rows = {path: (value, origin) for path, value, origin in choice.table()}
    assert rows["recipe.optimizer"] == ("SGD", "file")
    assert rows["recipe.optimizer.momentum"] == (0.9, "file")
    assert rows["recipe.optimizer.lr.value"] == (0.2, "command line")
    assert rows["recipe.epochs"][1] == "recipe plain"
    assert rows["model.resolution"] == (224, "model resnet18")
    assert rows["plan.threads"] == (1, "command line")
    assert rows["plan.device"][1] == "default"


def test_a_whole_that_is_set_later_takes_its_parts_along(choice):
    choice.set("optimizer.lr", "0.2", "file")
    choice.set("optimizer", '{"kind": "SGD", "rate": 0.1}', "command line")
    rows = {path: (value, origin) for path, value, origin in choice.table()}
    assert rows["recipe.optimizer.lr.value"] == (0.1, "command line")


def test_the_table_can_be_typed_in_again(choice):
    choice.set("transforms.MixUp", "on", "test")
    choice.set("average", "on", "test")
    kinds = {kind for path, kind, _ in choice.table() if isinstance(kind, str) and kind[:1].isupper()}
    asked, typed = choice.asked, 0
    for path, value, _ in choice.table():
        # kinds have their fields in lines of their own, and four are said by other words
        if value not in kinds and not isinstance(value, tuple) and path not in ("model_name", "recipe_name", "weights", "verb"):
            assert change(asked, path, str(value)) == asked, f"{path}={value}"
            typed += 1
    assert typed > 50


def test_a_recipe_and_a_network_may_be_values(tiny):
    choice = choose(Shapes(), tiny, Recipe(epochs=2.0), Plan(), "none")
    assert (choice.asked.recipe_name, choice.asked.model_name) == ("", "")
    rows = {path: origin for path, _, origin in choice.table()}
    assert rows["recipe.epochs"] == "given"


# --- the whole --------------------------------------------------------------------------------------------------------


def test_what_older_releases_asked_for_starts_from_scratch(choice):
    old = json.loads(replace(choice.asked, model_name="efficientnet_lite0").to_json())
    del old["weights"]
    asked = decode(Asked, old)
    assert (asked.weights, asked.starts()) == ("none", False)


def test_what_was_asked_survives_json(choice):
    asked = replace(choice.asked, edits=(Scale(width=1.5),), weights="auto")
    assert Asked.from_json(asked.to_json()) == asked
    assert isinstance(asked, Spec)


def test_names_that_do_not_exist_get_the_near_ones():
    with pytest.raises(ValueError, match="there is no network named 'resnet81'; did you mean 'resnet"):
        choose("shapes", "resnet81", "scratch", Plan(), "none")
    with pytest.raises(ValueError, match="there is no recipe named 'scrach'; did you mean 'scratch'"):
        choose("shapes", "resnet18", "scrach", Plan(), "none")


def test_the_recipe_follows_from_the_weights():
    assert choose("shapes", "resnet18", None, Plan(), "none").asked.recipe_name == "scratch"
    assert choose("shapes", "resnet18", None, Plan()).asked.recipe_name == "scratch"  # there are none on this machine
    found = choose("shapes", "efficientnet_lite0", None, Plan()).asked
    assert (found.recipe_name, found.weights) == ("finetune", "auto")
    assert found.model == network_named("efficientnet_lite0").blueprint


def test_another_objective_by_name_keeps_the_terms():
    terms = '[{"kind": "CrossEntropy", "smoothing": {"kind": "Constant", "value": 0.3}}]'
    fields = {"objective.terms": terms, "objective": "Quantised"}
    choice = choose("shapes", "resnet18", "plain", Plan(), "none", fields={"objective": "Quantised"})
    plain = choose("shapes", "resnet18", "plain", Plan(), "none")
    assert type(choice.asked.recipe.objective).__name__ == "Quantised"
    assert choice.asked.recipe.objective.terms == plain.asked.recipe.objective.terms
    assert choose("shapes", "resnet18", "plain", Plan(), "none", fields=fields).asked.recipe.objective.terms[
        0
    ].smoothing == Constant(value=0.3)
    # spelled out it is what is spelled out
    spelled = choose("shapes", "resnet18", "plain", Plan(), "none", fields={"objective": '{"kind": "Quantised"}'})
    assert spelled.asked.recipe.objective.terms != plain.asked.recipe.objective.terms
