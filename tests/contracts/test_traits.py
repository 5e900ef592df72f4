"""What every method and every field of a recipe must say of itself (`paretina.traits`), so that nothing is forgotten."""

import importlib
import pkgutil
import sys
import typing
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

import paretina
from paretina.data.transform import Transform
from paretina.schedules import Constant, Schedule
from paretina.spec import Spec, field_map, field_types, is_kind, is_spec, is_tuple, kinds, modules_in, options, put
from paretina.train.asked import Asked, elsewhere, full_path
from paretina.train.recipe import Recipe
from paretina.traits import (
    GIVES_WAY,
    INSIDE,
    KEY,
    OFF,
    By,
    GivesWay,
    Inside,
    Method,
    Never,
    SetTo,
    SwitchedOff,
    Traits,
    places,
    said,
    traits,
    words,
)

for found in pkgutil.walk_packages(paretina.__path__, "paretina."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)


def held_types(hint):
    """The specs that a field of this type may hold."""
    if is_spec(hint):
        return [hint]
    inner = typing.get_args(hint)[:1] if is_tuple(hint) else typing.get_args(hint) if len(options(hint)) > 1 else ()
    return [spec for each in inner for spec in held_types(each)]


def parts_of(root):
    """A spec and, however deep, the specs in its fields that are no methods: these say all of each field."""
    inner = [spec for hint in field_types(root).values() for spec in held_types(hint) if not issubclass(spec, Method)]
    return [root, *(deeper for spec in inner for deeper in parts_of(spec))]


def opened(root):
    """Those among them whose fields an ablation looks at, one by one."""
    inner = [
        spec
        for name, hint in field_types(root).items()
        for spec in held_types(hint)
        if not issubclass(spec, Method) and isinstance(said(root, name).left_out, Inside)
    ]
    return [root, *(deeper for spec in inner for deeper in opened(spec))]


def methods(base=Method):
    """All methods of the package itself, those that nothing can be made of too; tests define some more."""
    own = [spec for spec in base.__subclasses__() if spec.__module__.startswith("paretina.")]
    return [*own, *(deeper for spec in own for deeper in methods(spec))]


METHODS = [method for method in methods() if any(is_kind(base) for base in method.__mro__ if issubclass(base, Spec))]
"""Without what several kinds have in common, such as `Piece`."""


def unanswered_fields(spec, left_out):
    """A sentence for each answer that a field of the spec owes, with what to write.

    Args:
        left_out: whether an ablation asks each field.
    """
    write = "in its field(..., metadata=traits(...)), see paretina.traits"
    for name, hint in field_types(spec).items():
        says, rising = said(spec, name), any(is_spec(each) and issubclass(each, Schedule) for each in options(hint))
        if left_out and says.left_out is None:
            yield (
                f"{spec.__name__}.{name} does not say how an ablation leaves it out: write left_out=SetTo(its name in tables, "
                f'the value without effect), INSIDE where methods in it say so, or Never("because ...") {write}'
            )
        if isinstance(says.left_out, Inside) and not held_types(hint):
            yield f"{spec.__name__}.{name} says left_out=Inside(), but there is nothing in it: write SetTo or Never {write}"
        if rising and says.rises is None:
            yield (
                f"{spec.__name__}.{name} does not say whether it rises with the image size: write rises=its first value as a "
                f'share of its last, STAYS, or Never("because ...") {write}'
            )
        if not rising and says.rises is not None:
            yield f"{spec.__name__}.{name} says rises={says.rises}, but only a field that takes a Schedule can: leave it out"
        if not issubclass(spec, Method) and says.elsewhere is None:
            yield (
                f"{spec.__name__}.{name} does not say what other tools call it: write elsewhere=(names, ...), or elsewhere=() "
                f"where none has another name for it, {write}"
            )


def unanswered(method):
    """A sentence for each answer that a method owes as a class."""
    for name, kinds_of_answer, write in (
        ("LEFT_OUT", SwitchedOff | GivesWay | Inside | Never, 'OFF, INSIDE, GIVES_WAY or Never("because ...")'),
        ("LOW_PRECISION", bool | Never, 'False, True where records/ show so, or Never("because ...")'),
        ("ELSEWHERE", tuple, "the names that other tools have for it, in a tuple"),
    ):
        if not isinstance(getattr(method, name, None), kinds_of_answer):
            yield f"{method.__name__} does not answer {name}: write {write}, in the class or the base of its kind"


# --- the package --------------------------------------------------------------------------------------------------------------


def test_each_field_of_what_is_asked_and_of_the_recipe_answers():
    asked = {spec for root in (Asked, Recipe) for spec in opened(root)}
    assert {Asked, Recipe} <= asked
    found = [text for spec in dict.fromkeys(parts_of(Asked)) for text in unanswered_fields(spec, spec in asked)]
    assert not found, "\n".join(found)


def test_what_stands_in_a_recipe_beside_methods_is_found():
    assert {
        *("Asked", "Recipe", "Plan", "View", "Average", "StochasticDepth", "Starting", "Learning", "PartRate", "Evaluated")
    } == {spec.__name__ for spec in parts_of(Asked)}


@pytest.mark.parametrize("method", METHODS, ids=lambda spec: spec.__name__)
def test_each_method_answers(method):
    # what a schedule is made of is no strength of its own
    owed = [] if issubclass(method, Schedule) else list(unanswered_fields(method, isinstance(method.LEFT_OUT, Inside)))
    owed += unanswered(method)
    assert not owed, "\n".join(owed)


@pytest.mark.parametrize("method", METHODS, ids=lambda spec: spec.__name__)
def test_only_a_whole_kind_has_no_precision(method):
    base = next(each for each in method.__mro__ if issubclass(each, Spec) and is_kind(each))
    assert isinstance(method.LOW_PRECISION, Never) == isinstance(base.LOW_PRECISION, Never), (
        f"{method.__name__}.LOW_PRECISION cannot be {method.LOW_PRECISION}: {base.__name__} has {base.LOW_PRECISION}"
    )


def test_every_kind_of_plug_in_is_a_method():
    bases = {spec for spec in descendants(Spec) if is_kind(spec)}
    assert {base.__name__ for base in bases} >= {
        "Transform",
        "Term",
        "Objective",
        "Optimizer",
        "Clip",
        "Edit",
        "Block",
        "Source",
    }
    wrong = [base.__name__ for base in bases if not issubclass(base, Method)]
    assert not wrong, f"derive {', '.join(wrong)} from paretina.traits.Method, and answer in them for their kinds"


def descendants(spec):
    """Its subclasses that a module of the package has; the outlined ones of the command line only say that they are there."""
    own = [sub for sub in spec.__subclasses__() if getattr(sys.modules.get(sub.__module__), sub.__name__, None) is sub]
    own = [sub for sub in own if sub.__module__.startswith("paretina.")]
    return [*own, *(deeper for sub in own for deeper in descendants(sub))]


EXAMPLES = [
    example
    for package in sorted({package for base in descendants(Spec) if is_kind(base) for package in base.PLUGINS})
    for module in modules_in(package)
    for example in getattr(module, "EXAMPLES", ())
]


@pytest.mark.parametrize("example", [Recipe(), *EXAMPLES], ids=lambda spec: type(spec).__name__)
def test_what_a_field_is_set_to_is_a_value_of_it(example):
    for name in field_map(type(example)):
        answer = said(type(example), name).left_out
        if isinstance(answer, SetTo):
            without = put(example, name, answer.text)
            assert put(without, name, answer.text) == without
        elif isinstance(answer, By):
            for title, text in answer.function(getattr(example, name), name):
                path, _, value = text.partition("=")
                assert title
                assert put(example, path, value) != example


def test_only_transforms_give_way():
    found = [method for method in METHODS if method.LEFT_OUT == GIVES_WAY]
    assert found
    assert all(issubclass(method, Transform) for method in found), "Recipe.without knows a substitute for transforms alone"


def test_shares_are_from_zero_to_one():
    shares = [place.says.rises for example in (Recipe(), *EXAMPLES) for place in places(example)]
    assert {0.0, 1 / 3} <= {share for share in shares if isinstance(share, float)}
    assert all(0 <= share < 1 for share in shares if isinstance(share, float))


def test_a_word_of_other_tools_stands_for_one_thing_and_is_no_word_of_ours():
    found = {}
    for word, text in words(Asked):
        assert found.setdefault(word, text) == text, f"{word} stands for {found[word]} and for {text}"
        assert word == word.lower().replace("-", "_")
    for word in elsewhere():
        with pytest.raises(ValueError, match="there is no field"):
            full_path(word)


# --- what is forgotten is found -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Part(Spec):
    forgotten: bool = False


@dataclass(frozen=True, kw_only=True)
class Holder(Spec):
    """As a recipe in which somebody has forgotten something."""

    strength: Schedule = field(default=Constant(value=0.0), metadata=traits(left_out=Never("it is a test"), elsewhere=()))
    switch: bool = field(default=False, metadata=traits(left_out=SetTo("switch", "off")))
    bare: int = 0
    part: Part = field(default=Part(), metadata=traits(left_out=INSIDE, elsewhere=()))
    closed: Part = field(default=Part(), metadata=traits(left_out=Never("it is a test"), elsewhere=()))
    number: int = field(default=0, metadata=traits(left_out=INSIDE, rises=0.5, elsewhere=()))


def test_what_a_field_does_not_say_is_named_with_what_to_write():
    found = [text.partition(": write")[0] for text in unanswered_fields(Holder, True)]
    assert found == [
        "Holder.strength does not say whether it rises with the image size",
        "Holder.switch does not say what other tools call it",
        "Holder.bare does not say how an ablation leaves it out",
        "Holder.bare does not say what other tools call it",
        "Holder.number says left_out=Inside(), but there is nothing in it",
        "Holder.number says rises=0.5, but only a field that takes a Schedule can: leave it out",
    ]
    texts = list(unanswered_fields(Holder, True))
    assert "write left_out=SetTo(its name in tables, the value without effect)" in texts[2]
    assert all("metadata=traits(...)" in text for text in texts[:-1])


def test_specs_in_specs_are_walked_too():
    assert parts_of(Holder) == [Holder, Part, Part]
    assert opened(Holder) == [Holder, Part]
    assert len([text for spec in opened(Holder) for text in unanswered_fields(spec, True)]) == 8


def test_what_a_class_does_not_say_is_named_with_what_to_write():
    @dataclass(frozen=True, kw_only=True)
    class Silent(Method):
        pass

    texts = list(unanswered(Silent))
    assert [text.partition(":")[0].split()[-1] for text in texts] == ["LEFT_OUT", "LOW_PRECISION"]
    assert texts[0].startswith("Silent does not answer")
    assert "OFF, INSIDE, GIVES_WAY or Never" in texts[0]


# --- how answers are found ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Changed(Holder):
    strength: Schedule = Constant(value=1.0)
    switch: bool = field(default=True, metadata=traits(elsewhere=("toggle",)))


def test_a_field_that_is_defined_anew_keeps_the_answers_it_does_not_give_again():
    assert said(Changed, "strength") == said(Holder, "strength")
    assert said(Changed, "switch") == Traits(left_out=SetTo("switch", "off"), elsewhere=("toggle",))
    assert KEY not in field_map(Changed)["strength"].metadata


def test_never_needs_a_reason():
    with pytest.raises(ValueError, match="needs a reason"):
        Never("  ")


@dataclass(frozen=True, kw_only=True)
class Kind(Method):
    PLUGINS: ClassVar[tuple[str, ...]] = ("paretina.traits",)  # a module without plug-ins
    LEFT_OUT = OFF
    LOW_PRECISION = Never("it is a test")

    shared: float = field(default=0.0, metadata=traits(elsewhere=("common",)))


@dataclass(frozen=True, kw_only=True)
class First(Kind):
    ELSEWHERE = ("one",)


@dataclass(frozen=True, kw_only=True)
class Second(Kind):
    ELSEWHERE = ("two",)

    own: float = field(default=0.0, metadata=traits(elsewhere={"mine": "3"}))


@dataclass(frozen=True, kw_only=True)
class Third(Second):
    """Has its names from another kind, for which they stand."""


@dataclass(frozen=True, kw_only=True)
class Options(Spec):
    single: Kind = First()
    maybe: Part | None = None
    several: tuple[Kind, ...] = (Second(),)


def test_words_switch_on_first_what_is_not_there_by_default():
    assert sorted(kinds(Kind)) == ["First", "Second", "Third"]
    assert list(words(Options)) == [
        ("common", "single.shared=VALUE"),
        ("one", "single=First"),
        ("two", "single=Second"),
        ("mine", "single=Second single.own=3"),
        ("one", "several.First=on"),
        ("common", "several.First=on several.First.shared=VALUE"),
        ("two", "several.Second=on"),
        ("common", "several.Second.shared=VALUE"),
        ("mine", "several.Second.own=3"),
    ]
