"""Specs survive JSON, refuse what they do not know, and can be addressed by paths."""

import copy
import json
import math
import pickle
import re
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from paretina.schedules import Constant, Cosine, Linear, Schedule, Staged, Warmup
from paretina.spec import Spec, by_own_name, canonical, decode, encode, field_map, get, kinds, modules_in, near, put

quickly = settings(deadline=None, derandomize=True, max_examples=25, database=None)


@dataclass(frozen=True, kw_only=True)
class Shape(Spec):
    PLUGINS = (__name__,)

    @abstractmethod
    def area(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Circle(Shape):
    radius: float = 1.0

    def area(self) -> float:
        return math.pi * self.radius**2


@dataclass(frozen=True, kw_only=True)
class Oblong(Shape):
    height: float
    width: float = 1.0

    def __post_init__(self) -> None:
        if self.height <= 0:
            raise ValueError(f"Oblong needs height > 0, got height={self.height}")

    def area(self) -> float:
        return self.height * self.width


@dataclass(frozen=True, kw_only=True)
class Group(Shape):
    inner: Shape

    def area(self) -> float:
        return self.inner.area()


@dataclass(frozen=True, kw_only=True)
class Frame(Spec):
    width: int = 1


@dataclass(frozen=True, kw_only=True)
class Drawing(Spec):
    name: str = "untitled"
    count: int = 1
    filled: bool = False
    scale: float = 1.0
    mode: Literal["ink", "chalk"] = "ink"
    layers: Literal[1, 2] = 1
    shapes: tuple[Shape, ...] = ()
    pages: tuple[Frame, ...] = ()
    main: Shape | None = None
    frame: Frame | None = None
    fill: Frame | Shape | int | None = None
    size: tuple[int, int] = (4, 3)
    corner: tuple[int, str] = (0, "left")
    points: tuple[tuple[float, float], ...] = ()
    words: tuple[str, ...] = ()
    rate: Schedule = 0.5  # type: ignore[assignment]
    wiring: Frame = field(default_factory=Frame)


reals = some.floats(-1e6, 1e6)
circles = some.builds(Circle, radius=reals)
oblongs = some.builds(Oblong, height=some.floats(0.1, 10), width=reals)
shapes = some.recursive(circles | oblongs, lambda inner: some.builds(Group, inner=inner), max_leaves=3)
frames = some.builds(Frame, width=some.integers())
rates = reals | some.builds(Linear, start=reals, end=reals) | some.builds(Warmup, epochs=some.floats(0, 9), then=reals)
drawings = some.builds(
    Drawing,
    name=some.text(),
    count=some.integers(),
    filled=some.booleans(),
    scale=reals,
    mode=some.sampled_from(["ink", "chalk"]),
    layers=some.sampled_from([1, 2]),
    shapes=some.lists(shapes, max_size=3, unique_by=type),
    pages=some.lists(frames, max_size=3),
    main=some.none() | shapes,
    frame=some.none() | frames,
    fill=some.none() | frames | shapes | some.integers(),
    size=some.tuples(some.integers(), some.integers()),
    points=some.lists(some.tuples(reals, reals), max_size=3),
    words=some.lists(some.text(), max_size=3),
    rate=rates,
)


# --- values ----------------------------------------------------------------------------------------------------------


@quickly
@given(drawings)
def test_a_value_read_back_is_equal_in_every_way(drawing):
    read = Drawing.from_json(drawing.to_json())
    assert read == drawing
    assert hash(read) == hash(drawing)
    assert repr(read) == repr(drawing)
    assert read.to_json(indent=2) == drawing.to_json(indent=2)


def test_defaults_read_back_are_equal_in_every_way():
    assert Drawing().rate == Constant(value=0.5)
    assert repr(Drawing.from_json(Drawing().to_json())) == repr(Drawing())


def test_json_has_the_kind_and_every_field():
    assert json.loads(Group(inner=Oblong(height=2)).to_json()) == {
        "kind": "Group",
        "inner": {"kind": "Oblong", "height": 2.0, "width": 1.0},
    }


def test_another_field_or_kind_is_another_value():
    assert Circle(radius=1) == Circle()
    assert len({Circle(), Circle(radius=1.0), Circle(radius=2), Oblong(height=1)}) == 3
    assert Linear(start=1, end=0) != Cosine(start=1, end=0)


def test_can_be_pickled_and_copied():
    drawing = Drawing(shapes=[Circle()], main=Group(inner=Circle()))
    assert pickle.loads(pickle.dumps(drawing)) == drawing
    assert copy.deepcopy(drawing) == drawing


def test_cannot_be_changed():
    with pytest.raises(AttributeError):
        Circle().radius = 2.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 2.0),
        ("count", 2.7),
        ("count", "3"),
        ("count", True),
        ("count", None),
        ("scale", "0.1"),
        ("scale", True),
        ("filled", 1),
        ("filled", "true"),
        ("name", 3),
        ("mode", "Ink"),
        ("layers", True),
        ("layers", 1.0),
        ("layers", "1"),
        ("size", [1]),
        ("size", [1, 2, 3]),
        ("size", [1, 2.5]),
        ("size", 3),
        ("words", "abc"),
        ("words", {"abc": 1}),
        ("words", [1]),
        ("points", [[1, 2], [3]]),
        ("shapes", 3),
        ("main", 3),
        ("main", "Circle"),
        ("fill", 1.5),
        ("rate", "0.1"),
        ("rate", True),
        ("rate", None),
        ("scale", 10**400),
        ("scale", math.nan),
        ("scale", math.inf),
        ("rate", 10**400),
        ("rate", math.nan),
    ],
)
def test_scalars_are_not_coerced(field, value):
    with pytest.raises((TypeError, ValueError), match=f"Drawing.{field}"):
        Drawing(**{field: value})
    with pytest.raises(ValueError, match=f"Drawing.{field}"):
        Drawing.from_json(json.dumps({"kind": "Drawing", field: value}))


def test_an_int_is_a_float_and_a_list_is_a_tuple():
    drawing = Drawing(scale=2, size=[1, 2], points=[[1, 2]], words=["a"])
    assert type(drawing.scale) is float
    assert (drawing.size, drawing.points, drawing.words) == ((1, 2), ((1.0, 2.0),), ("a",))


def test_a_number_is_a_schedule_but_no_other_spec():
    assert Drawing(rate=1).rate == Constant(value=1.0)
    assert Drawing.from_json('{"rate": 1}').rate == Constant(value=1.0)
    assert Schedule.from_json("0.5") == Constant(value=0.5)
    with pytest.raises(TypeError, match=r"Drawing.frame must be Frame, got 1"):
        Drawing(frame=1)
    with pytest.raises(ValueError, match="Drawing must be Drawing, got 1"):
        Drawing.from_json("1")


@pytest.mark.parametrize("value", [Frame(width=3), Circle(radius=2), Group(inner=Circle()), 4, None])
def test_a_union_keeps_which_of_its_members_it_holds(value):
    assert Drawing.from_json(Drawing(fill=value).to_json()).fill == value


def test_a_misspelt_field_gets_the_near_name():
    with pytest.raises(TypeError, match=r"Circle has no field 'radios'; did you mean 'radius'?"):
        Circle(radios=1)
    with pytest.raises(ValueError, match=r"Circle has no field 'radios'; did you mean 'radius'?"):
        Shape.from_json('{"kind": "Circle", "radios": 1}')
    with pytest.raises(TypeError, match="Circle has no field 'zzz'; known: radius"):
        replace(Circle(), zzz=1)
    assert near("INK", ["ink", "chalk"]) == "; did you mean 'ink'?"
    assert near("x", []) == "; known: none"
    assert near("x", ["cat", "日本 class\n2"]) == "; known: cat, 日本 class\\n2"


def test_a_missing_field_is_named():
    with pytest.raises(TypeError, match="Oblong needs the field 'height'"):
        Oblong()
    with pytest.raises(ValueError, match="Oblong needs the field 'height'"):
        Shape.from_json('{"kind": "Oblong"}')


def test_fields_are_given_by_name():
    with pytest.raises(TypeError, match=r"Circle takes its fields by name, got 1\.0 by position"):
        Circle(1.0)


def test_a_value_that_its_spec_refuses_is_refused_in_json_and_paths():
    with pytest.raises(ValueError, match="height > 0"):
        Drawing.from_json('{"main": {"kind": "Oblong", "height": -1}}')
    with pytest.raises(ValueError, match="height > 0"):
        put(Drawing(main=Oblong(height=1)), "main.height", "0")


def test_a_tuple_of_plug_ins_holds_one_of_a_kind():
    with pytest.raises(ValueError, match=r"Drawing.shapes holds Circle twice"):
        Drawing(shapes=[Circle(), Circle(radius=2)])
    with pytest.raises(ValueError, match=r"Drawing.shapes holds Circle twice"):
        Drawing.from_json('{"shapes": [{"kind": "Circle"}, {"kind": "Circle"}]}')
    assert len(Drawing(pages=[Frame(), Frame()]).pages) == 2  # rows of a table may be equal


@pytest.mark.parametrize("name", ["kind", "version"])
def test_a_field_cannot_hide_an_entry_of_the_json(name):
    spec = dataclass(frozen=True, kw_only=True)(type("Odd", (Spec,), {"__annotations__": {name: int}}))
    with pytest.raises(TypeError, match=f"Odd cannot have a field named '{name}'"):
        spec(**{name: 1})


# --- kinds -----------------------------------------------------------------------------------------------------------


def test_a_misspelt_kind_gets_the_near_name():
    with pytest.raises(ValueError, match=r"there is no Shape named 'circel'; did you mean 'Circle'?"):
        Shape.from_json('{"kind": "circel"}')


def test_a_kind_of_another_base_does_not_fit():
    with pytest.raises(ValueError, match=r"Drawing.main: there is no Shape named 'Frame'"):
        Drawing.from_json('{"main": {"kind": "Frame"}}')
    with pytest.raises(TypeError, match=r"Drawing.main must be Shape, got Frame"):
        Drawing(main=Frame())


def test_kinds_are_the_concrete_ones():
    assert {"Circle", "Oblong", "Group"} <= set(kinds(Shape))
    assert "Shape" not in kinds(Shape)
    assert list(kinds(Shape)) == sorted(kinds(Shape))


def test_two_plugins_of_one_name_are_refused():
    class Lonely(Spec):
        PLUGINS = ()

        @abstractmethod
        def area(self) -> float: ...

    def one(module: str) -> type:
        return dataclass(frozen=True, kw_only=True)(type("Twin", (Lonely,), {"area": lambda self: 1.0, "__module__": module}))

    first = one("here")
    assert kinds(Lonely) == {"Twin": first}
    second = one("there")
    with pytest.raises(TypeError, match="two plug-ins of the kind Lonely are named Twin, in"):
        kinds(Lonely)
    del first, second


def test_a_kind_that_is_defined_later_is_found():
    with pytest.raises(ValueError, match="no Shape named 'Square'"):
        Shape.from_json('{"kind": "Square", "side": 3}')

    @dataclass(frozen=True, kw_only=True)
    class Square(Shape):
        side: float

        def area(self) -> float:
            return self.side**2

    assert Drawing.from_json('{"main": {"kind": "Square", "side": 3}}').main == Square(side=3)


def test_a_package_is_scanned_with_all_its_modules():
    found = {module.__name__ for module in modules_in("paretina.model.blocks")}
    assert {"paretina.model.blocks", "paretina.model.blocks.mbconv", "paretina.model.blocks.resnet"} <= found
    assert [module.__name__ for module in modules_in("paretina.schedules")] == ["paretina.schedules"]


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_from_before_a_field_was_added_means_the_default():
    assert Shape.from_json('{"kind": "Oblong", "height": 2}') == Oblong(height=2, width=1)
    assert Drawing.from_json("{}") == Drawing()


def renamed(data: dict[str, Any]) -> dict[str, Any]:
    return {"length" if name == "len" else name: value for name, value in data.items()}


def in_metres(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"length": data["length"] / 100}


@dataclass(frozen=True, kw_only=True)
class Ruler(Spec):
    UPGRADES: ClassVar = (renamed, in_metres)

    length: float


@dataclass(frozen=True, kw_only=True)
class Desk(Spec):
    ruler: Ruler


def test_old_files_go_through_the_upgrades_that_they_lack():
    assert Ruler.from_json('{"kind": "Ruler", "len": 300}') == Ruler(length=3)
    assert Ruler.from_json('{"kind": "Ruler", "version": 1, "length": 300}') == Ruler(length=3)
    assert Ruler.from_json('{"kind": "Ruler", "version": 2, "length": 3}') == Ruler(length=3)
    assert Desk.from_json('{"ruler": {"kind": "Ruler", "len": 300}}') == Desk(ruler=Ruler(length=3))


def test_what_is_written_now_is_not_upgraded():
    desk = Desk(ruler=Ruler(length=3))
    assert json.loads(desk.to_json())["ruler"]["version"] == 2
    assert Desk.from_json(desk.to_json()) == desk


def test_a_file_from_the_future_is_refused():
    with pytest.raises(ValueError, match="Ruler has version 3, but this release knows up to 2"):
        Ruler.from_json('{"kind": "Ruler", "version": 3, "length": 3}')
    with pytest.raises(ValueError, match="Circle has version 1, but this release knows up to 0"):
        Shape.from_json('{"kind": "Circle", "version": 1}')


anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text() | some.sampled_from(["Circle", "ink"]),
    lambda inner: some.lists(inner) | some.dictionaries(some.sampled_from(["kind", "version", "radius", "inner"]), inner),
    max_leaves=6,
)


@settings(quickly, max_examples=100)
@given(some.dictionaries(some.sampled_from([*field_map(Drawing), "kind", "version"]), anything) | anything)
def test_whatever_the_file_holds_the_error_is_a_value_error(data):
    try:
        drawing = Drawing.from_json(json.dumps(data))
    except ValueError:
        return
    assert Drawing.from_json(drawing.to_json()) == drawing


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"kind": "Group", "inner": ' * 400 + "1" + "}" * 400])
def test_a_broken_file_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"Shape: |no Shape|must be"):
        Shape.from_json(text)


# --- paths -----------------------------------------------------------------------------------------------------------


DRAWING = Drawing(shapes=(Circle(), Oblong(height=2)), pages=(Frame(), Frame(width=2)), main=Group(inner=Circle()))


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("count", "30", 30),
        ("scale", "0.1", 0.1),
        ("scale", "3", 3.0),
        ("scale", "1e-3", 1e-3),
        ("filled", "true", True),
        ("filled", "off", False),
        ("name", "30", "30"),
        ("name", "on", "on"),
        ("mode", "chalk", "chalk"),
        ("layers", "2", 2),
        ("size", "[5, 6]", (5, 6)),
        ("size.1", "7", 7),
        ("corner.1", "right", "right"),
        ("words", '["a"]', ("a",)),
        ("rate", "0.25", Constant(value=0.25)),
        ("rate", '{"kind": "Linear", "start": 1, "end": 0}', Linear(start=1, end=0)),
        ("rate.value", "0.25", 0.25),
        ("main.inner.radius", "3", 3.0),
        ("main.inner", "Circle", Circle()),
        ("main", "none", None),
        ("main", "off", None),
        ("main", "Circle", Circle()),
        ("frame", "on", Frame()),
        ("frame", '{"width": 4}', Frame(width=4)),
        ("pages.1.width", "9", 9),
        ("shapes.Oblong.height", "9", 9.0),
        ("shapes.1.height", "9", 9.0),
        ("fill", "7", 7),
    ],
)
def test_text_at_a_path_becomes_the_value_that_the_field_asks_for(path, text, value):
    changed = put(DRAWING, path, text)
    assert get(changed, path) == value
    assert type(get(changed, path)) is type(value)
    assert put(changed, path, get(DRAWING, path)) == DRAWING  # nothing else has changed


@pytest.mark.parametrize("name", field_map(Drawing))
def test_every_field_can_be_put_where_it_was_got(name):
    full = replace(DRAWING, frame=Frame(width=3), fill=Circle(radius=3), points=((1, 2),), words=("on", "off"))
    assert get(put(Drawing(), name, get(full, name)), name) == get(full, name)


def test_a_field_of_another_kind_is_said_to_be_its():
    with pytest.raises(ValueError, match=r"Group has no field 'height'; known: .*; Oblong has it, so choose that kind too$"):
        put(DRAWING, "main.height", "3")
    with pytest.raises(ValueError, match=r"Group has no field 'pages'; known: inner$"):  # a drawing has them, which is no shape
        put(DRAWING, "main.pages", "3")


def test_a_star_stands_for_every_item():
    assert put(DRAWING, "pages.*.width", "5").pages == (Frame(width=5), Frame(width=5))
    assert put(DRAWING, "size.*", "5").size == (5, 5)
    with pytest.raises(ValueError, match="Oblong has no field 'radius'"):
        put(DRAWING, "shapes.*.radius", "5")
    with pytest.raises(ValueError, match=r"Drawing.shapes is empty, so \* matches nothing"):
        put(Drawing(), "shapes.*.radius", "5")


def test_methods_are_switched_on_and_off_by_name():
    off = put(DRAWING, "shapes.Circle", "off")
    assert off.shapes == (Oblong(height=2),)
    assert put(off, "shapes.Circle", "on").shapes == (Oblong(height=2), Circle())
    changed = put(DRAWING, "shapes.Circle.radius", "3")
    assert put(changed, "shapes.Circle", "on") == changed  # stays as it is


def test_an_optional_spec_is_switched_on_and_off():
    assert put(Drawing(), "frame", "on").frame == Frame()
    assert put(put(Drawing(), "frame", "on"), "frame", "off") == Drawing()
    changed = Drawing(frame=Frame(width=7))
    assert put(changed, "frame", "on") == changed  # is on already


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("conut", "1", "Drawing has no field 'conut'; did you mean 'count'?"),
        ("shapes.Circle.radios", "1", "Circle has no field 'radios'; did you mean 'radius'?"),
        ("shapes.Circel", "on", "no Shape named 'Circel'; did you mean 'Circle'?"),
        ("shapes.Circel.radius", "1", "no Shape named 'Circel'; did you mean 'Circle'?"),
        ("shapes.Group.inner", "Circle", "Drawing.shapes has no Group; switch it on first .Drawing.shapes.Group=on."),
        ("shapes.Group", "on", "Group cannot simply be switched on: Group needs the field 'inner'"),
        ("shapes.Group", "off", "'Group' is not switched on here"),
        ("shapes.2.radius", "1", "Drawing.shapes has 2 items, counted from 0, so none is number 2"),
        ("shapes.-1.radius", "1", "no Shape named '-1'"),
        ("frame.width", "1", "Drawing.frame is off; switch it on first .Drawing.frame=on., then set 'width' in it"),
        ("count.x", "1", "Drawing.count is 1, which has no 'x'"),
        ("count", "1.5", "Drawing.count: must be a whole number, got 1.5"),
        ("count", "many", "Drawing.count must be a whole number, got 'many'"),
        ("count", "none", "Drawing.count must be a whole number, got 'none'"),
        ("mode", "chalky", "Drawing.mode cannot be 'chalky'; did you mean 'chalk'?"),
        ("words", '"abc"', """Drawing.words must be a list, such as Drawing.words='."name".', got '"abc"'"""),
        ("main", "Circel", "no Shape named 'Circel'; did you mean 'Circle'?"),
        ("rate", "Cosine", "Drawing.rate: Cosine cannot simply be switched on: Cosine needs the field 'start'"),
        ("", "1", "Drawing has no field ''"),
    ],
)
def test_what_cannot_be_put_is_said(path, text, message):
    with pytest.raises(ValueError, match=message):
        put(DRAWING, path, text)


def test_on_needs_a_name_where_there_are_several_kinds():
    with pytest.raises(ValueError, match=r"Drawing.main: name one of Circle, Group, Oblong"):
        put(Drawing(), "main", "on")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("shapes.Group", "'Group' is not switched on here"),
        ("shapes.9", "so none is number 9"),
        ("count.x", "1 has no fields, so none is named 'x'"),
        ("frame.width", "None has no fields, so none is named 'width'"),
        ("main.iner", "Group has no field 'iner'; did you mean 'inner'?"),
    ],
)
def test_what_cannot_be_got_is_said(path, message):
    with pytest.raises(ValueError, match=message):
        get(DRAWING, path)


def test_values_that_are_no_text_are_fitted_as_they_are():
    assert put(DRAWING, "shapes", [Circle(radius=3)]).shapes == (Circle(radius=3),)
    assert put(DRAWING, "rate", Staged(values=(1, 2))).rate == Staged(values=(1.0, 2.0))
    with pytest.raises(ValueError, match=r"Drawing.count must be a whole number, got 2.5"):
        put(DRAWING, "count", 2.5)


def test_another_kind_takes_over_the_fields_that_it_has_no_default_for():
    @dataclass(frozen=True, kw_only=True)
    class Tower(Shape):
        height: float

        def area(self) -> float:
            return self.height**2

    drawn = Group(inner=Oblong(height=3.0, width=2.0))
    assert put(drawn, "inner", "Tower").inner == Tower(height=3.0)


# --- other names ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Wheel(Spec):
    ALIASES = {"size": "diameter"}
    FORMERLY = ("Disc",)

    diameter: float = 1.0
    spokes: int = 8


@dataclass(frozen=True, kw_only=True)
class Cart(Spec):
    ALIASES = {"wheel_size": "wheel.diameter", "spokes": "wheel.spokes", "cargo": "load"}

    wheel: Wheel = Wheel()
    load: str = ""


def test_what_an_earlier_release_wrote_under_other_names_is_read():
    wanted = Cart(wheel=Wheel(diameter=3.0, spokes=5), load="hay")
    assert decode(Cart, {"wheel_size": 3.0, "spokes": 5, "cargo": "hay"}) == wanted
    assert decode(Cart, {"wheel": {"kind": "Disc", "size": 3.0}, "spokes": 5, "load": "hay"}) == wanted
    assert decode(Cart, encode(wanted)) == wanted
    assert encode(wanted)["wheel"] == {"kind": "Wheel", "diameter": 3.0, "spokes": 5}


@pytest.mark.parametrize("path", ["wheel_size", "wheel.size", "wheel.diameter"])
def test_a_path_may_have_other_names(path):
    changed = put(Cart(), path, "4")
    assert changed == Cart(wheel=Wheel(diameter=4.0))
    assert get(changed, path) == 4.0
    assert canonical(Cart, path) == "wheel.diameter"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"load": "hay", "cargo": "hay"}, "Cart.cargo is given twice, also as load"),
        ({"wheel": {"diameter": 2.0}, "wheel_size": 3.0}, "Cart.wheel_size is given twice, also as wheel.diameter"),
        ({"wheel": 3, "wheel_size": 3.0}, "Cart.wheel must be a JSON object, got 3"),
        ({"crago": "hay"}, "Cart has no field 'crago'; did you mean 'cargo'?"),
    ],
)
def test_a_field_has_one_value_whatever_its_name(data, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        decode(Cart, data)


def test_an_alias_is_no_field():
    @dataclass(frozen=True, kw_only=True)
    class Twice(Spec):
        ALIASES = {"one": "other"}

        one: int = 1
        other: int = 2

    with pytest.raises(TypeError, match="Twice has a field 'one' and an alias of that name for 'other'"):
        Twice()


@pytest.mark.parametrize(
    ("message", "path", "wanted"),
    [
        ("AdamW.lr must stay at least 0", "lr", "lr must stay at least 0"),
        ("Recipe.epochs must be a number", "recipe.epochs", "recipe.epochs must be a number"),
        ("Blueprint.stages has 7 items", "stages.9.width", "stages has 7 items"),
        ("Evaluated.size (test_size) is a side", "test_size", "test_size is a side"),
        ("HorizontalFlip has no field 'p'", "transforms.HorizontalFlip.p", "HorizontalFlip has no field 'p'"),
    ],
)
def test_an_error_has_the_name_that_was_given(message, path, wanted):
    assert by_own_name(message, path) == wanted
