"""Traits: metadata of methods and of settings, for code that handles all of them alike.

An ablation needs to know how a method is left out, progressive training which schedules rise with the image size, the choice
of precision whether training below float32 was shown to be harmless, and the command line what other tools call it. The
answers are stored with the method or the field, and found by walking over them; there is no list of methods anywhere else.

A method, which is a class, answers with the class attributes of `Method`. A field answers in its metadata:

    dropout: Schedule = field(
        default=Constant(value=0.0), metadata=traits(left_out=SetTo("dropout", "0"), rises=1 / 3, elsewhere=("drop",))
    )

`tests/contracts/test_traits.py` finds missing answers. `Never` is an answer: it says why the question does not apply.
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
    """Says that a question does not apply.

    Attributes:
        because: the reason, as the end of "never, because ...".
    """

    because: str

    def __post_init__(self) -> None:
        if not self.because.strip():
            raise ValueError("Never needs a reason, got none")


@dataclass(frozen=True)
class SetTo:
    """The field is left out by setting it to a value without effect; any other value is a refinement.

    Attributes:
        name: of the refinement, for tables. Fields that give the same name are left out together, as one refinement.
        text: the value without effect, as on a command line: "off", "0", "[]".
    """

    name: str
    text: str


@dataclass(frozen=True)
class Inside:
    """Not the field itself but its contents may be left out; they say how.

    Attributes:
        least: number of methods that must remain, for a field that cannot be empty.
    """

    least: int = 0


@dataclass(frozen=True)
class By:
    """A function tells how the field is left out, for fields where that depends on the value.

    Attributes:
        function: of the value and its path; gives the name of each refinement and the assignment, `path=text`, that leaves it
            out.
    """

    function: Callable[[Any, str], Iterator[tuple[str, str]]]


@dataclass(frozen=True)
class SwitchedOff:
    """The method is left out by `off` at its path, and is named after its class."""


@dataclass(frozen=True)
class GivesWay:
    """The method can only be replaced, not removed; `Recipe.without` knows the substitute."""


INSIDE = Inside()
OFF = SwitchedOff()
GIVES_WAY = GivesWay()

SETTING = Never("it is a setting of its method")
"""Never left out: the usual answer of a field in a method whose other fields may be left out."""

STAYS = Never("the source of progressive training (arXiv:2104.00298) keeps it as it is")
"""Never rises: the usual answer of a schedule that is not a regularisation strength."""

HowLeftOut = SwitchedOff | GivesWay | Inside | Never
"""The answers that a method may give, as a class."""

Words = tuple[str, ...] | Mapping[str, str]
"""Names in other tools: names, or names with the value to write instead of VALUE."""


@dataclass(frozen=True)
class Traits:
    """The answers of a field; None where it gives none.

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
    """Field metadata with these answers; see `Traits`."""
    return {KEY: Traits(left_out, rises, elsewhere)}


@dataclass(frozen=True, kw_only=True)
class Method(Spec):
    """Base of every kind of plug-in: a spec whose class carries the metadata that other code needs.

    The base of a kind answers for all of its plug-ins where one answer fits; otherwise each class answers.

    Attributes:
        LEFT_OUT: how an ablation leaves it out. `INSIDE` refers to each of its fields instead.
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
    """The answers of a field; a field redefined in a subclass keeps the answers that it does not give again."""
    given = [vars(cls)["__dataclass_fields__"].get(name) for cls in spec.__mro__ if "__dataclass_fields__" in vars(cls)]
    found = [each.metadata[KEY] for each in given if each is not None and KEY in each.metadata]
    answers = {
        question.name: next((getattr(each, question.name) for each in found if getattr(each, question.name) is not None), None)
        for question in fields(Traits)
    }
    return Traits(**answers)


class Place(NamedTuple):
    """A field of a spec, or of a nested spec.

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
    """Every field of a spec and of its nested specs; a field comes before its contents."""
    for name in field_map(type(spec)):
        place = Place(f"{prefix}{name}", spec, name)
        yield place
        for path, inner in held(place.value, place.path):
            yield from places(inner, f"{path}.")


def held(value: Any, path: str) -> Iterator[tuple[str, Spec]]:
    """The specs that a field holds, directly or in a tuple, with their paths."""
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
    """Whether training in bfloat16 was shown to lose nothing with all of these; inherited answers do not count."""
    return all(isinstance(type(each).LOW_PRECISION, Never) or vars(type(each)).get("LOW_PRECISION", False) for each in methods)


def methods_in(spec: Spec) -> Iterator[Method]:
    """The methods nested in the fields of a spec."""
    for place in places(spec):
        yield from (inner for _, inner in held(place.value, place.path) if isinstance(inner, Method))


# --- what other tools call it -------------------------------------------------------------------------------------------------


Found = Iterator[tuple[str, str]]


def words(spec: type[Spec], value: Any = None, prefix: str = "", first: str = "", within: tuple[type[Spec], ...] = ()) -> Found:
    """Names that other tools have for the fields of a spec and for the methods in them, with what to write here.

    A method that is not there by default is switched on first: `average=on average.decay=VALUE`. Imports all plug-ins.

    Args:
        value: the default spec; None if there is none.
        prefix: path of the spec, with a trailing dot.
        first: what must be written before a field of the spec can be set, with a trailing space.
        within: the enclosing specs, and bases whose fields were already visited; schedules may be nested.
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
    """Like `words`, for the possible contents of a field of a type: a spec, one of a kind, or several of a kind."""
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
            # a word for something that a kind takes from another kind belongs to the other one
            parents = (parent for parent in kind.__mro__[1:] if parent in found)
            switched = first if kind in there else f"{first}{on} "
            yield from words(kind, there.get(kind), f"{place}.", switched, (*within, *parents))
    elif not several:  # those in a tuple have no names
        yield from words(base, value, f"{path}.", f"{first}{path}=on " if value is None and optional else first, within)


def default_of(each: Field[Any]) -> Any:
    """The default of a field; None if there is none."""
    value = each.default if each.default_factory is MISSING else each.default_factory()
    return None if value is MISSING else value
