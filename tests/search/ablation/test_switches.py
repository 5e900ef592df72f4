import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from paretina.data.sources.shapes import Shapes
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.randaugment import RandAugment
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.edits.fuse import Fuse
from paretina.model.family import network_named
from paretina.schedules import Constant, Cosine, Schedule, Staged, Unequal
from paretina.search.ablation.switches import Switch, default_switches, refinements, switch_of
from paretina.spec import Spec
from paretina.train.asked import Asked, recipe_named, recipes
from paretina.train.average import Average
from paretina.train.feasible import check_asked
from paretina.train.learning import Learning
from paretina.train.objectives.supervised import Supervised
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.train.starting import Starting
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill
from paretina.traits import INSIDE, Never, SetTo, traits

BASE = Asked(data=Shapes(), model=network_named("efficientnet_b0").blueprint, recipe=Recipe(average=Average()), plan=Plan())


def with_recipe(recipe):
    return replace(BASE, recipe=recipe)


# --- words --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "adds", "fields", "judged", "name"),
    [
        ("average", False, ("average=off",), False, "average"),
        ("average=off", False, ("average=off",), False, "average"),
        ("dropout=0.5", False, ("dropout=0.5",), False, ""),
        ("edits.Fuse=on", False, ("edits.Fuse=on",), True, "edits.Fuse"),
        ("edits.Fuse", True, ("edits.Fuse=on",), True, "edits.Fuse"),
        ("transforms.RandAugment", False, ("transforms.RandAugment=off",), False, "RandAugment"),
        ("size=96", True, ("size=96",), True, ""),
        ("average=on average.decay=0.9", True, ("average=on", "average.decay=0.9"), True, ""),
        (
            'optimizer={"kind": "SGD", "rate": 0.1} clip=off',
            False,
            ('optimizer={"kind": "SGD", "rate": 0.1}', "clip=off"),
            False,
            "",
        ),
    ],
)
def test_words_become_switches(text, adds, fields, judged, name):
    assert switch_of(text, adds) == Switch(fields=fields, adds=judged, name=name)


def test_a_switch_is_called_by_its_name_or_its_fields():
    assert switch_of("transforms.RandAugment").title == "RandAugment"
    assert switch_of("dropout=0.5").title == "dropout=0.5"


def test_a_table_says_which_side_of_a_switch_the_gain_is_that_of():
    assert switch_of("dropout=0.5").judged == "not dropout=0.5"  # the base's own rate is judged
    assert switch_of("dropout=0.5", adds=True).judged == "dropout=0.5"
    assert switch_of("average=off").judged == "average"


@pytest.mark.parametrize("text", ["", "=3", "average off"])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(ValueError, match=r"field=value|no field"):
        switch_of(text)(BASE)


def test_a_switch_changes_the_base():
    assert switch_of("average")(BASE).recipe.average is None
    assert switch_of("edits.Fuse", True)(BASE).edits == (Fuse(),)
    assert switch_of("weights=auto")(BASE).weights == "auto"
    assert switch_of("precision=bfloat16")(BASE).plan.precision == "bfloat16"
    both = switch_of("dropout=0.5 clip=ClipNorm", True)(BASE).recipe
    assert (both.dropout, type(both.clip).__name__) == (Constant(value=0.5), "ClipNorm")


def test_progressive_stands_for_a_rise():
    recipe = switch_of("progressive=96:128", True)(BASE).recipe
    assert isinstance(recipe.size, Unequal)
    assert (recipe.size.values[0], recipe.test.size) == (96.0, 128)


def test_a_slip_gets_the_near_name():
    with pytest.raises(ValueError, match="did you mean 'average'"):
        switch_of("averge")(BASE)
    with pytest.raises(ValueError, match="did you mean 'Fuse'"):
        switch_of("edits.Fuze", True)(BASE)


def test_a_switch_that_changes_nothing_is_refused():
    with pytest.raises(ValueError, match="changes nothing, since the baseline already has it"):
        switch_of("clip")(BASE)


# --- those of a recipe --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(recipes()))
def test_every_refinement_of_every_recipe_can_be_left_out(name):
    base = replace(with_recipe(recipe_named(name)), edits=(Fuse(),))
    found = default_switches(base)
    assert not any(switch.adds for switch in found)
    assert len({switch.title for switch in found}) == len(found)
    without = base
    for switch in found:
        assert switch(base) != base
        without = switch(without)
    # what is left has nothing to leave out
    assert default_switches(without) == ()
    assert any(isinstance(each, Squash | CentreCrop) for each in without.recipe.transforms)


@pytest.mark.parametrize("name", sorted(recipes()))
def test_the_switches_of_a_recipe_are_those_of_earlier_releases(name):
    # written by the release in which switches.py itself listed all refinements
    known = json.loads((Path(__file__).parent / "switches.json").read_text())
    if name not in known:
        pytest.skip("a recipe that came later")
    base = with_recipe(recipe_named(name))
    found = default_switches(base)
    assert [switch.title for switch in found] == [title for title, *_ in known[name]]
    # a field that came later may be spelled out today
    assert [switch(base) for switch in found] == [Switch(fields=tuple(fields))(base) for _, *fields in known[name]]


def test_the_plain_recipe_has_no_refinement():
    assert default_switches(with_recipe(recipe_named("plain"))) == ()


def test_the_names_are_those_of_the_refinements():
    recipe = recipe_named("finetune")
    wanted = {"RandomShift", "HorizontalFlip", "RandAugment", "MixOrCut", "label smoothing", "warm-up", "decay of the rate"}
    wanted |= {"weight decay", "average", "frozen parts"}
    assert {switch.title for switch in default_switches(with_recipe(recipe))} == wanted


def test_a_random_crop_gives_way_to_the_crop_of_the_test_in_its_place():
    recipe = Recipe(transforms=(RandomResizedCrop(), HorizontalFlip(), RandAugment()))
    crop = next(switch for switch in default_switches(with_recipe(recipe)) if switch.title == "RandomResizedCrop")
    assert crop(with_recipe(recipe)).recipe.transforms == (CentreCrop(), HorizontalFlip(), RandAugment())
    squashing = replace(recipe, test=replace(recipe.test, fit="squash"))
    assert crop != default_switches(with_recipe(squashing))[0]
    assert default_switches(with_recipe(squashing))[0](with_recipe(squashing)).recipe.transforms[0] == Squash()


def test_what_rises_is_left_out_at_its_end():
    recipe = Recipe(size=Staged(values=(96.0, 128.0)), stochastic_depth=StochasticDepth(), start=Starting(zero_gamma=True))
    found = {switch.title: switch(with_recipe(recipe)).recipe for switch in default_switches(with_recipe(recipe))}
    assert found["rising size"].size == Constant(value=128.0)
    assert found["stochastic depth"].stochastic_depth is None
    assert not found["zero gamma"].start.zero_gamma
    assert found["warm-up"].optimizer.lr.then == Cosine(start=1e-3)
    assert found["decay of the rate"].optimizer.lr.then == Constant(value=1e-3)


def test_frozen_parts_are_one_switch():
    base = with_recipe(Recipe(learning=Learning(frozen=("stem",), frozen_stride=4, trainable_stages=1)))
    (frozen,) = (switch for switch in default_switches(base) if switch.title == "frozen parts")
    assert frozen.fields == ("frozen_stride=0", "frozen=[]", "trainable_stages=none")
    assert not frozen(base).recipe.learning.needs_weights


def test_a_term_is_left_out_where_another_stays():
    both = Recipe(objective=Supervised(terms=(CrossEntropy(smoothing=0), Distill())))
    assert ("Distill", ("objective.terms.Distill=off",)) in named(both)
    assert "Distill" not in dict(named(Recipe(objective=Supervised(terms=(Distill(),)))))


@pytest.mark.slow
def test_a_teacher_is_left_out_with_the_only_term_that_learns_from_it():
    taught = Recipe(objective=Supervised(terms=(CrossEntropy(smoothing=0), Distill())), teacher="runs/teacher")
    assert ("Distill", ("objective.terms.Distill=off", "teacher=none")) in named(taught)
    (switch,) = (each for each in default_switches(with_recipe(taught)) if each.name == "Distill")
    check_asked(switch(with_recipe(taught)))
    with pytest.raises(ValueError, match="nothing in its objective Supervised learns from one"):
        check_asked(Switch(fields=("objective.terms.Distill=off",))(with_recipe(taught)))


def test_a_teacher_stays_where_something_else_learns_from_it(monkeypatch):
    taught = Recipe(objective=Supervised(terms=(CrossEntropy(smoothing=0), Distill())), teacher="runs/teacher")
    monkeypatch.setattr(Supervised, "TEACHER", True)
    assert ("Distill", ("objective.terms.Distill=off",)) in named(taught)


def test_a_method_says_itself_how_it_is_left_out():
    @dataclass(frozen=True, kw_only=True)
    class TrialTerm(CrossEntropy):
        sharpness: Schedule = field(default=Constant(value=2.0), metadata=traits(left_out=SetTo("sharpening", "1")))

    assert named(Recipe(objective=Supervised(terms=(TrialTerm(),)))) >= {
        ("label smoothing", ("objective.terms.TrialTerm.smoothing=0",)),
        ("sharpening", ("objective.terms.TrialTerm.sharpness=1",)),
    }


def named(recipe):
    return {(switch.title, switch.fields) for switch in default_switches(with_recipe(recipe))}


def test_what_stands_in_a_part_of_its_own_is_found_too():
    @dataclass(frozen=True, kw_only=True)
    class Inner(Spec):
        strength: float = field(default=0.0, metadata=traits(left_out=SetTo("strength", "0")))
        length: int = field(default=3, metadata=traits(left_out=Never("it is a test")))

    @dataclass(frozen=True, kw_only=True)
    class Outer(Spec):
        inner: Inner = field(default=Inner(), metadata=traits(left_out=INSIDE))
        closed: Inner = field(default=Inner(strength=1.0), metadata=traits(left_out=Never("it is a test")))

    assert list(refinements(Outer(inner=Inner(strength=2.0)), Recipe())) == [("strength", "inner.strength=0")]
    assert list(refinements(Outer(), Recipe())) == []
