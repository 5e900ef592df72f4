"""Traits: what a method, or a field of what is asked of a run, says of itself to the parts of the program that treat all alike.

An ablation wants to know how it is left out, progressive training what rises with the image size, the choice of a precision
whether less than float32 was shown to be harmless, and the command line what other tools call it. The answers stand with the
method or the field itself, and whoever needs them walks over what is there; there is no list of methods anywhere else.

A method, which is a class of its own, answers with the class attributes of `Method`. A field answers in its metadata:

    dropout: Schedule = field(
        default=Constant(value=0.0), metadata=traits(left_out=SetTo("dropout", "0"), rises=1 / 3, elsewhere=("drop",))
    )

`tests/contracts/test_traits.py` finds what has no answer. `Never` is an answer: it says why the question does not apply.
"""

import functools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar, NamedTuple

from paretina.spec import Spec, field_map, field_types, is_kind, is_spec, is_tuple, kinds, options

# --- answers ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Never:
    """That a question does not apply.

    Attributes:
        because: the reason, as the end of "never, because ...".
    """

    because: str

    def __post_init__(self) -> None:
        if not self.because.strip():
            raise ValueError("Never needs a reason, got none")


@dataclass(frozen=True)
class SetTo:
    """A field is left out by setting it to what has no effect; it is a refinement of whoever has another value.

    Attributes:
        name: of the refinement, for tables. Fields that give the same name are left out together, as one refinement.
        text: the value without effect, as on a command line: "off", "0", "[]".
    """

    name: str
    text: str


@dataclass(frozen=True)
class Inside:
    """Not the field itself, but what stands in it may be left out, and says so itself.

    Attributes:
        least: number of methods that must stay, for a field that cannot be empty.
    """

    least: int = 0


@dataclass(frozen=True)
class By:
    """A function says how a field is left out, where that depends on the value.

    Attributes:
        function: of the value and its path; gives the name of each refinement and the assignment, `path=text`, that leaves it
            out.
    """

    function: Callable[[Any, str], Iterator[tuple[str, str]]]


@dataclass(frozen=True)
class SwitchedOff:
    """A method is left out by `off` at its place, and called by the name of its class."""


@dataclass(frozen=True)
class GivesWay:
    """A method cannot go without a substitute; `Recipe.without` knows which one."""


INSIDE = Inside()
OFF = SwitchedOff()
GIVES_WAY = GivesWay()

SETTING = Never("it is a setting of its method")
"""Never left out: the usual answer of a field in a method whose other fields may be left out."""

STAYS = Never("the source of progressive training (arXiv:2104.00298) keeps it as it is")
"""Never rises: the usual answer of a schedule that is no strength of regularisation."""

HowLeftOut = SwitchedOff | GivesWay | Inside | Never
"""What a method may answer, as a class."""

Words = tuple[str, ...] | Mapping[str, str]
"""What other tools call something: names, or names with the value that is written instead of VALUE."""


@dataclass(frozen=True)
class Traits:
    """What a field says; None where it says nothing.

    Attributes:
        left_out: how an ablation leaves it out.
        rises: its first value as a share of its last where it rises with the image size; only schedules can.
        elsewhere: what other tools call it, in lower case with underscores.
    """

    left_out: SetTo | Inside | By | Never | None = None
    rises: float | Never | None = None
    elsewhere: Words | None = None


KEY = "paretina.traits"


def traits(
    *,
    left_out: SetTo | Inside | By | Never | None = None,
    rises: float | Never | None = None,
    elsewhere: Words | None = None,
) -> dict[str, Traits]:
    """The metadata of a field that says these things of itself; see `Traits`."""
    return {KEY: Traits(left_out, rises, elsewhere)}


@dataclass(frozen=True, kw_only=True)
class Method(Spec):
    """Base of every kind of plug-in: a spec that says of itself, as a class, what others must know.

    The base of a kind answers for all of them where one answer fits; a class of its own answers otherwise.

    Attributes:
        LEFT_OUT: how an ablation leaves it out where it stands. `INSIDE` asks each of its fields instead.
        LOW_PRECISION: whether training in bfloat16 was shown to lose nothing with it, from scratch (records/precision). Each
            class says so itself; one that inherits it has not been shown anything. `Never` for kinds that compute nothing in
            low precision.
        ELSEWHERE: what other tools call it; not inherited, since a name stands for one method.
    """

    LEFT_OUT: ClassVar[HowLeftOut]
    LOW_PRECISION: ClassVar[bool | Never]
    ELSEWHERE: ClassVar[tuple[str, ...]] = ()


# --- asking -------------------------------------------------------------------------------------------------------------------


@functools.cache
def said(spec: type[Spec], name: str) -> Traits:
    """What a field says of itself; one that a subclass defines anew keeps the answers that it does not give again."""
    given = [vars(cls)["__dataclass_fields__"].get(name) for cls in spec.__mro__ if "__dataclass_fields__" in vars(cls)]
    found = [each.metadata[KEY] for each in given if each is not None and KEY in each.metadata]
    answers = {
        question.name: next((getattr(each, question.name) for each in found if getattr(each, question.name) is not None), None)
        for question in fields(Traits)
    }
    return Traits(**answers)


class Place(NamedTuple):
    """A field of a spec, or of a spec in it.

    Attributes:
        path: from the outermost spec, as `paretina.spec.put` takes it.
        holder: the spec whose field it is.
    """

    path: str
    holder: Spec
    name: str

    @property
    def value(self) -> Any:
        return getattr(self.holder, self.name)

    @property
    def says(self) -> Traits:
        return said(type(self.holder), self.name)


def places(spec: Spec, prefix: str = "") -> Iterator[Place]:
    """Every field of a spec and of the specs in it, however deep; a field comes before what is in it."""
    for name in field_map(type(spec)):
        place = Place(f"{prefix}{name}", spec, name)
        yield place
        for path, inner in held(place.value, place.path):
            yield from places(inner, f"{path}.")


def held(value: Any, path: str) -> Iterator[tuple[str, Spec]]:
    """The specs that a field holds, itself or in a tuple, with their paths."""
    if isinstance(value, Spec):
        yield path, value
    elif isinstance(value, tuple):
        names = [type(item).__name__ for item in value]
        for number, item in enumerate(value):
            if isinstance(item, Spec):
                step = names[number] if names.count(names[number]) == 1 else str(number)
                yield f"{path}.{step}", item
            elif isinstance(item, tuple):
                yield from held(item, f"{path}.{number}")


def shown_low(methods: Iterable[Method]) -> bool:
    """Whether training in bfloat16 was shown to lose nothing with all of these; what a class inherits shows nothing."""
    return all(isinstance(type(each).LOW_PRECISION, Never) or vars(type(each)).get("LOW_PRECISION", False) for each in methods)


def methods_in(spec: Spec) -> Iterator[Method]:
    """The methods in the fields of a spec, however deep."""
    for place in places(spec):
        yield from (inner for _, inner in held(place.value, place.path) if isinstance(inner, Method))


# --- what other tools call it -------------------------------------------------------------------------------------------------


Found = Iterator[tuple[str, str]]


def words(spec: type[Spec], value: Any = None, prefix: str = "", first: str = "", within: tuple[type[Spec], ...] = ()) -> Found:
    """What other tools call the fields of a spec and the methods that can stand in them, with what to write here.

    A method that is not there by default is switched on first: `average=on average.decay=VALUE`. Imports all plug-ins.

    Args:
        value: the spec as it is by default; None where there is none.
        prefix: path of the spec, with a dot behind it.
        first: what has to be written before something in the spec can be set, with a space behind it.
        within: specs that this one stands in, and bases whose fields were looked at already; a schedule may hold schedules.
    """
    done = {name for base in within if issubclass(spec, base) for name in field_map(base)}
    for name, each in field_map(spec).items():
        if name not in done:
            path, answer = f"{prefix}{name}", said(spec, name).elsewhere or ()
            given = answer if isinstance(answer, Mapping) else dict.fromkeys(answer, "VALUE")
            yield from ((word, f"{first}{path}={text}") for word, text in given.items())
            inside = default_of(each) if value is None else getattr(value, name)
            hints = options(field_types(spec)[name])
            for hint in hints:
                yield from words_inside(hint, inside, path, first, (*within, spec), type(None) in hints)


def words_inside(hint: Any, value: Any, path: str, first: str, within: tuple[type[Spec], ...], optional: bool) -> Found:
    """The same for what can stand in a field of that type: a spec, one of a kind, or several of a kind."""
    several = is_tuple(hint)
    base = typing.get_args(hint)[0] if several else hint
    if not is_spec(base) or base in within:
        return
    if is_kind(base):
        there = {type(item): item for item in (value or () if several else (value,))}
        if not several:
            yield from words(base, None, f"{path}.", first, within)
            within = (*within, base)
        found = list(kinds(base).values())
        for kind in found:
            place = f"{path}.{kind.__name__}" if several else path
            on = f"{place}=on" if several else f"{path}={kind.__name__}"
            yield from ((word, f"{first}{on}") for word in vars(kind).get("ELSEWHERE", ()))
            # a word for what a kind has from another kind stands for the other one
            parents = (parent for parent in kind.__mro__[1:] if parent in found)
            switched = first if kind in there else f"{first}{on} "
            yield from words(kind, there.get(kind), f"{place}.", switched, (*within, *parents))
    elif not several:  # those in a tuple have no names to be called by
        yield from words(base, value, f"{path}.", f"{first}{path}=on " if value is None and optional else first, within)


def default_of(each: Field[Any]) -> Any:
    """The default of a field; None where there is none."""
    value = each.default if each.default_factory is MISSING else each.default_factory()
    return None if value is MISSING else value
