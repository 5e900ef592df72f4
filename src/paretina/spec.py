"""Spec: the base of all configuration classes.

A network, a training run, a loss term, a data source: each is a frozen dataclass that compares, hashes, prints, converts to
JSON and back, and rejects unknown fields. Abstract fields are written with their kind, all fields are written, and scalars
are never coerced, so a file read back equals what was written.

A nested field has a path, `transforms.MixUp.alpha`, which `put` sets and `get` reads; a tuple of methods has at most one of
each kind, so the name of the kind serves as its index.
"""

import difflib
import functools
import importlib
import json
import math
import pkgutil
import re
import types
import typing
from abc import ABCMeta
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Any, ClassVar, Literal, TypeVar

from paretina.text import how_many, printable

T = TypeVar("T")
S = TypeVar("S", bound="Spec")


MOST_NAMED = 40
"""Names in a message."""


def near(name: str, known: Iterable[str], aliases: Iterable[str] = (), listing: str = "") -> str:
    """Returns "; did you mean 'x'?" for a similar name or alias, otherwise the list of known names, or of the first of many.

    Args:
        listing: the command that lists them, named instead if there are too many for a message.
    """
    known = list(known)
    lowered = {k.lower(): k for k in (*aliases, *known)}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    if close:
        return f"; did you mean {lowered[close[0]]!r}?"
    if listing:
        return f"; `{listing}` lists what there is"
    names = sorted(set(known))
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"; known: {', '.join(map(printable, names[:MOST_NAMED])) or 'none'}{more}"


class SpecType(ABCMeta):
    """Checks the fields of a Spec when it is created, so that a mistake in a table is an error at its row."""

    def __call__(cls: Callable[..., T], *positional: Any, **given: Any) -> T:  # type: ignore[misc]
        spec = typing.cast("type[Spec]", cls)
        if positional:
            raise TypeError(f"{spec.__name__} takes its fields by name, got {positional[0]!r} by position")
        known = field_map(spec)
        for name in given:
            if name not in known:
                raise TypeError(f"{spec.__name__} has no field {name!r}{near(name, known)}")
        for name, field in known.items():
            if name not in given and field.default is MISSING and field.default_factory is MISSING:
                raise TypeError(f"{spec.__name__} needs the field {name!r}")
        hints = field_types(spec)
        # defaults are converted too: a schedule's default may be a plain number
        values = {name: field.default for name, field in known.items() if field.default is not MISSING} | given
        fitted = {name: as_hinted(value, hints[name], f"{spec.__name__}.{name}") for name, value in values.items()}
        return typing.cast(T, ABCMeta.__call__(spec, **fitted))


@dataclass(frozen=True, kw_only=True)
class Spec(metaclass=SpecType):
    """Base class of all configuration.

    A subclass is a `@dataclass(frozen=True, kw_only=True)`. Fields have the types bool, int, float, str, Literal, another Spec,
    a tuple of these, or one of these `| None`. Fields added later get the default that means the old behaviour.

    Attributes:
        PLUGINS: on the abstract base of a kind of plug-in, the packages whose modules define its kinds.
        USUAL: on such a base, the kind assumed for data that does not name one; "" if it must be named.
        UPGRADES: functions that turn the encoded fields of version n into those of version n + 1.
        ALIASES: other names of fields, and of fields of the specs in them, by which they may be given and by which earlier
            releases wrote them: `{"rate": "lr", "zero_gamma": "start.zero_gamma"}`.
        FORMERLY: what earlier releases called the spec, if it is not a plug-in.
        IN_WORDS: what may be given for this spec, with an example, for messages; "" for its name.
    """

    PLUGINS: ClassVar[tuple[str, ...]] = ()
    USUAL: ClassVar[str] = ""
    ALIASES: ClassVar[Mapping[str, str]] = {}
    FORMERLY: ClassVar[tuple[str, ...]] = ()
    UPGRADES: ClassVar[tuple[Callable[[dict[str, Any]], dict[str, Any]], ...]] = ()
    IN_WORDS: ClassVar[str] = ""

    def to_json(self, indent: int | None = None) -> str:
        """Returns JSON from which `from_json` reads an equal value."""
        return json.dumps(encode(self), indent=indent)

    @classmethod
    def from_json(cls: type[S], text: str) -> S:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is not JSON, or contains an unknown kind or field, or a value of the wrong type.
        """
        try:
            return decode(cls, json.loads(text))
        except json.JSONDecodeError as error:
            raise ValueError(f"{cls.__name__}: not JSON: {error}") from None
        except RecursionError:
            raise ValueError(f"{cls.__name__}: values are nested too deeply") from None

    @classmethod
    def from_number(cls, value: float) -> "Spec":
        """The spec that a plain number means; only schedules define it."""
        raise TypeError(f"{cls.__name__} cannot be given as the number {value!r}")


@functools.cache
def field_map(spec: type[Spec]) -> dict[str, Field[Any]]:
    """The fields of a spec by name, in the order of its definition."""
    known = {field.name: field for field in fields(spec)}
    for name in ("kind", "version"):
        if name in known:
            raise TypeError(f"{spec.__name__} cannot have a field named {name!r}: its JSON has an entry of that name already")
    for name in known.keys() & spec.ALIASES.keys():
        raise TypeError(f"{spec.__name__} has a field {name!r} and an alias of that name for {spec.ALIASES[name]!r}")
    return known


@functools.cache
def field_types(spec: type[Spec]) -> dict[str, Any]:
    """The resolved type of each field."""
    hints = typing.get_type_hints(spec)
    return {name: hints[name] for name in field_map(spec)}


def specs_within(value: Any) -> Iterator["Spec"]:
    """A spec and all specs nested in its fields; for a tuple, those of each item."""
    if isinstance(value, Spec):
        yield value
        for name in field_map(type(value)):
            yield from specs_within(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from specs_within(item)


# --- the value of one field ------------------------------------------------------------------------------------------


def is_spec(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Spec)


def is_literal(hint: Any) -> bool:
    origin: Any = typing.get_origin(hint)
    return origin is Literal


def is_tuple(hint: Any) -> bool:
    origin: Any = typing.get_origin(hint)
    return origin is tuple


def options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or just the hint."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


PLAIN = (bool, int, str)
"""Types of which each value can stand as it is; a float must be finite."""


def as_hinted(value: Any, hint: Any, where: str) -> Any:
    """Converts a value to the type of its field, or raises an error that names the field.

    A list becomes a tuple, an int becomes a float where a float is expected, a number becomes a constant schedule. Nothing
    else is converted: 2.7 is not a depth and "3" is not 3.
    """
    if (type(value) is hint and hint in PLAIN) or (isinstance(value, Spec) and is_spec(hint) and isinstance(value, hint)):
        return value  # most are what they should be
    choices = options(hint)
    if value is None and type(None) in choices:
        return None
    choices = tuple(choice for choice in choices if choice is not type(None))
    if len(choices) > 1:
        for choice in choices:
            try:
                return as_hinted(value, choice, where)
            except (TypeError, ValueError):
                continue
        raise TypeError(f"{where} must be one of {', '.join(map(describe, choices))}, got {value!r}")
    (hint,) = choices
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is Any:
        return value
    if origin is Literal:
        # 1 == 1.0 == True, but they are not the same value
        if not any(type(value) is type(known) and value == known for known in arguments):
            raise ValueError(f"{where} cannot be {value!r}{near(str(value), map(str, arguments))}")
        return value
    if origin is tuple:
        return fit_tuple(value, arguments, where)
    if is_spec(hint):
        if number:
            try:
                return hint.from_number(fit_float(value, where))
            except TypeError:
                pass
        if isinstance(value, hint):
            return value
    elif hint is float and number:
        return fit_float(value, where)
    elif hint is int and number and isinstance(value, int):
        return int(value)
    elif hint in (bool, str) and isinstance(value, hint):
        return value
    raise TypeError(f"{where} must be {describe(hint)}, got {value!r}")


def fit_float(value: int | float, where: str) -> float:
    try:
        fitted = float(value)
    except OverflowError:
        fitted = math.inf
    if not math.isfinite(fitted):  # nan is not equal to itself, and JSON has neither
        raise ValueError(f"{where} must be finite, got {fitted}")
    return fitted


def fit_tuple(value: Any, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where} must be a list, got {value!r}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        fitted = tuple(as_hinted(item, arguments[0], f"{where}.{i}") for i, item in enumerate(value))
        if is_spec(arguments[0]) and is_kind(arguments[0]):
            seen: set[type] = set()
            for item in fitted:
                if type(item) in seen:
                    raise ValueError(f"{where} holds {type(item).__name__} twice; a tuple has at most one method of each kind")
                seen.add(type(item))
        return fitted
    if len(value) != len(arguments):
        raise ValueError(f"{where} must have {len(arguments)} items, got {value!r}")
    return tuple(as_hinted(item, kind, f"{where}.{i}") for i, (item, kind) in enumerate(zip(value, arguments, strict=True)))


TYPES: Mapping[Any, str] = {int: "a whole number", float: "a number", bool: "on or off", str: "text"}


def describe(hint: Any) -> str:
    if is_spec(hint) and hint.IN_WORDS:
        return str(hint.IN_WORDS)
    if hint in TYPES:
        return TYPES[hint]
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


# --- kinds: the plug-ins of an abstract spec --------------------------------------------------------------------------


def is_kind(spec: type[Spec]) -> bool:
    """Whether a spec is the abstract base of plug-ins (its PLUGINS name where they live)."""
    return "PLUGINS" in vars(spec) and bool(spec.PLUGINS)


def modules_in(package: str) -> Iterator[types.ModuleType]:
    """Imports a package and every module in it; a module is scanned as it stands."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.iter_modules(getattr(root, "__path__", []), prefix=f"{package}."):
        yield importlib.import_module(found.name)


def kinds(base: type[S]) -> dict[str, type[S]]:
    """The concrete subclasses of a spec by name, after its plug-in packages were scanned; sorted."""
    for package in base.PLUGINS:
        for _ in modules_in(package):
            pass
    found: dict[str, type[S]] = {}
    waiting = [base]
    while waiting:
        spec = waiting.pop()
        waiting.extend(spec.__subclasses__())
        if not spec.__abstractmethods__ and not is_kind(spec):
            other = found.setdefault(spec.__name__, spec)
            if other is not spec and other.__module__ != spec.__module__:
                places = f"in {other.__module__} and in {spec.__module__}"
                raise TypeError(f"two plug-ins of the kind {base.__name__} are named {spec.__name__}, {places}; rename one")
    return dict(sorted(found.items()))


def kind_named(base: type[S], name: str) -> type[S]:
    """The plug-in with a given name.

    Raises:
        ValueError: there is none; the message suggests a similar name.
    """
    found = kinds(base)
    if name not in found:
        raise ValueError(f"there is no {base.__name__} named {name!r}{near(name, found)}")
    return found[name]


# --- JSON -------------------------------------------------------------------------------------------------------------


def encode(spec: Spec) -> dict[str, Any]:
    """Converts a spec to plain dicts, lists and scalars: its kind, the version if it ever changed, and all of its fields."""
    data: dict[str, Any] = {"kind": type(spec).__name__}
    if spec.UPGRADES:
        data["version"] = len(spec.UPGRADES)
    return data | {name: encode_value(getattr(spec, name)) for name in field_map(type(spec))}


def encode_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [encode_value(item) for item in value]
    return encode(value) if isinstance(value, Spec) else value


def decode(base: type[S], data: Any) -> S:
    """Reads the output of `encode`; missing fields get their defaults. Specs within the data are kept as they are.

    Raises:
        ValueError: unknown kind or field, or a value of the wrong type; the message names it and suggests a similar name.
    """
    if isinstance(data, base):
        return data
    if isinstance(data, int | float) and not isinstance(data, bool):
        try:
            return typing.cast(S, as_hinted(data, base, base.__name__))
        except TypeError as error:
            raise ValueError(str(error)) from None
    if not isinstance(data, dict):
        raise ValueError(f"{base.__name__} must be {base.IN_WORDS or 'a JSON object'}, got {data!r}")
    data = dict(data)
    name = data.pop("kind", base.USUAL or base.__name__)
    spec = base if name in (base.__name__, *base.FORMERLY) and not is_kind(base) else kind_named(base, str(name))
    version = data.pop("version", 0)
    if not isinstance(version, int) or not 0 <= version <= len(spec.UPGRADES):
        raise ValueError(f"{spec.__name__} has version {version!r}, but this release knows up to {len(spec.UPGRADES)}")
    for upgrade in spec.UPGRADES[version:]:
        data = upgrade(data)
    data = unaliased(spec, data)
    hints, values = field_types(spec), {}
    for name, value in data.items():
        if name not in hints:
            raise ValueError(f"{spec.__name__} has no field {name!r}{near(name, hints, spec.ALIASES)}")
        try:
            values[name] = read(value, hints[name])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{spec.__name__}.{name}: {error}") from None
    try:
        return spec(**values)
    except TypeError as error:
        raise ValueError(str(error)) from None


def unaliased(spec: type[Spec], data: dict[str, Any]) -> dict[str, Any]:
    """Replaces aliases in encoded fields by the current names and paths.

    Raises:
        ValueError: a field is given by two names, or an alias leads into something that is not an object.
    """
    found = {name: value for name, value in data.items() if name not in spec.ALIASES}
    for alias, value in data.items():
        if alias not in spec.ALIASES:
            continue
        inner, steps = found, spec.ALIASES[alias].split(".")
        for step in steps[:-1]:
            inside = encode_value(inner.get(step, {}))
            if not isinstance(inside, dict):
                raise ValueError(f"{spec.__name__}.{step} must be a JSON object, got {inside!r}")
            inner[step] = inner = dict(inside)
        if steps[-1] in inner:
            raise ValueError(f"{spec.__name__}.{alias} is given twice, also as {spec.ALIASES[alias]}")
        inner[steps[-1]] = value
    return found


def read(data: Any, hint: Any) -> Any:
    """Converts the encoded value of one field back to a value of its type."""
    if is_spec(hint):
        return decode(hint, data)
    if len(options(hint)) > 1:
        return decode_union(data, hint)
    if is_tuple(hint):
        return decode_tuple(data, hint)
    return as_hinted(data, hint, "value")


def decode_union(data: Any, hint: Any) -> Any:
    choices = options(hint)
    if data is None and type(None) in choices:
        return None
    problems = []
    for choice in choices:
        if choice is not type(None):
            try:
                return read(data, choice)
            except (TypeError, ValueError) as error:
                problems.append(str(error))
    raise ValueError("; or ".join(problems))


def decode_tuple(data: Any, hint: Any) -> tuple[Any, ...]:
    if not isinstance(data, list | tuple):  # text would be split into letters, an object into its keys
        raise TypeError(f"value must be a list, got {data!r}")
    arguments = typing.get_args(hint)
    if arguments[-1] is Ellipsis:
        return tuple(read(item, arguments[0]) for item in data)
    if len(data) != len(arguments):
        raise ValueError(f"value must have {len(arguments)} items, got {data!r}")
    return tuple(read(item, kind) for item, kind in zip(data, arguments, strict=True))


# --- paths ------------------------------------------------------------------------------------------------------------


def canonical(spec: type[Spec], path: str) -> str:
    """Replaces the aliases in a path, as far as the types of fields determine what they hold."""
    head, _, rest = path.partition(".")
    if head in spec.ALIASES:
        return canonical(spec, f"{spec.ALIASES[head]}.{rest}" if rest else spec.ALIASES[head])
    inside = [choice for choice in options(field_types(spec).get(head)) if is_spec(choice)]
    return f"{head}.{canonical(inside[0], rest)}" if rest and inside else path


def short(spec: type[Spec], path: str) -> str:
    """The short form of a path: an alias with the same name as the field it refers to, if there is one."""
    for alias, target in spec.ALIASES.items():
        if target.rpartition(".")[2] == alias and f"{path}.".startswith(f"{target}."):
            return f"{alias}{path[len(target) :]}"
    return path


def get(spec: Any, path: str) -> Any:
    """Reads the value at a path such as `transforms.MixUp.alpha` or `stages.2.block.expand`."""
    head, _, rest = path.partition(".")
    if isinstance(spec, Spec) and head in spec.ALIASES:
        return get(spec, f"{spec.ALIASES[head]}.{rest}" if rest else spec.ALIASES[head])
    found = step_into(spec, head)
    return get(found, rest) if rest else found


def step_into(value: Any, step: str) -> Any:
    if isinstance(value, tuple):
        return value[index_of(value, step, "the list")]
    if not isinstance(value, Spec):
        raise ValueError(f"{value!r} has no fields, so none is named {step!r}")
    known = field_map(type(value))
    if step not in known:
        raise ValueError(f"{type(value).__name__} has no field {step!r}{near(step, known, value.ALIASES)}")
    return getattr(value, step)


def index_of(items: tuple[Any, ...], step: str, where: str) -> int:
    if step.isdecimal():
        if int(step) >= len(items):
            raise ValueError(f"{where} has {how_many(len(items), 'item')}, counted from 0, so none is number {step}")
        return int(step)
    names = [type(item).__name__ for item in items]
    if step not in names:
        raise ValueError(f"{step!r} is not switched on here{near(step, names)}")
    return names.index(step)


def by_own_name(message: str, path: str) -> str:
    """Puts the name that the user gave into a message: "lr must be ..." instead of "AdamW.lr must be ..."."""
    steps = path.split(".")
    for end in range(len(steps), 0, -1):
        word, called = re.escape(steps[end - 1]), ".".join(steps[:end])
        # a field with a short name is shown as "Evaluated.size (test_size)"
        parts = re.split(rf"\b[A-Z]\w*\.(?:{word}\b|\w+ \({word}\))", message)
        if len(parts) > 1:
            return called.join(parts)
    return message


def having(spec: type[Spec], name: str) -> str:
    """Returns "; Each has it, so choose that kind too" for a field of other kinds of the same interface, "" if none has it.

    Kinds that wrap one of the same interface are not among them: they are not chosen in its place.
    """
    base = next((each for each in spec.__mro__ if issubclass(each, Spec) and each is not spec and is_kind(each)), None)
    others = {} if base is None else kinds(base)
    found = [kind for kind, each in others.items() if name in field_map(each) and base not in field_types(each).values()]
    if not found:
        return ""
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    one = len(found) == 1
    return (
        f"; {', '.join(found[:3])}{more} {'has' if one else 'have'} it, so choose {'that kind' if one else 'such a kind'} too"
    )


def put(spec: S, path: str, value: Any) -> S:
    """Returns a copy of the spec with a new value at a path.

    A value may be text, as from a command line: `"30"`, `"0.1"`, `"true"`, `"none"`, the name of a kind, or JSON. `"on"` adds a
    method to its tuple (or fills an optional field), `"off"` removes it. `*` stands for every item of a tuple.

    Raises:
        ValueError: a step of the path does not exist, or the value is invalid; the message suggests a similar name.
    """
    head, _, rest = path.partition(".")
    if head in spec.ALIASES:
        return put(spec, f"{spec.ALIASES[head]}.{rest}" if rest else spec.ALIASES[head], value)
    known = field_map(type(spec))
    if head not in known:
        raise ValueError(
            f"{type(spec).__name__} has no field {head!r}{near(head, known, spec.ALIASES)}{having(type(spec), head)}"
        )
    hint, old = field_types(type(spec))[head], getattr(spec, head)
    where = f"{type(spec).__name__}.{head}"
    try:
        new = put_value(old, hint, rest, value, where)
        return replace(spec, **{head: new})
    except TypeError as error:
        raise ValueError(str(error)) from None


def put_value(old: Any, hint: Any, rest: str, value: Any, where: str) -> Any:
    if not rest:
        return parse(value, hint, old, where)
    inner = next((choice for choice in options(hint) if typing.get_origin(choice) is tuple), None)
    if isinstance(old, tuple) and inner is not None:
        return put_item(old, typing.get_args(inner), rest, value, where)
    if old is None:
        raise ValueError(f"{where} is off; switch it on first ({where}=on), then set {rest!r} in it")
    if not isinstance(old, Spec):
        raise ValueError(f"{where} is {old!r}, which has no {rest!r}")
    return put(old, rest, value)


def put_item(items: tuple[Any, ...], arguments: tuple[Any, ...], path: str, value: Any, where: str) -> tuple[Any, ...]:
    step, _, rest = path.partition(".")
    hint, *others = arguments
    hints = [hint] * len(items) if Ellipsis in others else arguments
    if step == "*":
        if not items:
            raise ValueError(f"{where} is empty, so * matches nothing")
        return tuple(put_value(item, kind, rest, value, where) for item, kind in zip(items, hints, strict=True))
    names = [type(item).__name__ for item in items]
    if not rest and is_spec(hint) and is_kind(hint) and not step.isdecimal():
        kind = kind_named(hint, step)
        if value == "off":
            at = index_of(items, step, where)
            return items[:at] + items[at + 1 :]
        if value == "on":
            return items if step in names else (*items, make_default(kind, where))
    if is_spec(hint) and is_kind(hint) and not step.isdecimal() and step not in names:
        kind_named(hint, step)  # suggests a name for a misspelt one
        raise ValueError(f"{where} has no {step}; switch it on first ({where}.{step}=on)")
    at = index_of(items, step, where)
    return (*items[:at], put_value(items[at], hints[at], rest, value, f"{where}.{step}"), *items[at + 1 :])


def make_default(kind: type[S], where: str, old: Any = None) -> S:
    """A spec with its defaults; fields without one are copied from the spec that it replaces."""
    kept = {name: getattr(old, name) for name in needed(kind) if isinstance(old, Spec) and name in field_map(type(old))}
    try:
        return kind(**kept)
    except TypeError as error:
        raise ValueError(f"{where}: {kind.__name__} cannot simply be switched on: {error}") from None


def parse(value: Any, hint: Any, old: Any, where: str) -> Any:
    """Parses text as a value of the field's type; anything but text is converted as it is."""
    if not isinstance(value, str):
        return decode_value(value, hint, where) if isinstance(value, dict | list) else as_hinted(value, hint, where)
    choices = options(hint)
    text = value.strip()
    if type(None) in choices and text.lower() in ("none", "off", "null"):
        return None
    for choice in choices:
        if choice is bool and text.lower() in ("true", "on", "yes", "false", "off", "no"):
            return text.lower() in ("true", "on", "yes")
        if is_spec(choice):
            if text == "on" and not (old is None and choice.IN_WORDS):
                return old if old is not None else make_default(only_kind(choice, where), where)
            if text.isidentifier():
                known = kinds(choice)
                if text not in known and (choice.IN_WORDS or not is_kind(choice)):
                    wanted = describe(choice) if choice.IN_WORDS else switched(choice, where, type(None) in choices)
                    close = near(text, known)
                    raise ValueError(f"{where} must be {wanted}, got {value!r}{close if 'did you mean' in close else ''}")
                return make_default(kind_named(choice, text), where, old)
    if str in choices or any(typing.get_origin(choice) is Literal and value in typing.get_args(choice) for choice in choices):
        return value
    listed = next((choice for choice in choices if is_tuple(choice)), None)
    if listed is not None and not text.startswith("["):
        raise ValueError(f"{where} must be a list, such as {list_in_words(listed, old, where)}, got {value!r}")
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        return as_hinted(value, hint, where)  # raises with the reason
    return decode_value(data, hint, where)


def only_kind(base: type[S], where: str) -> type[S]:
    found = kinds(base)
    if len(found) != 1:
        raise ValueError(f"{where}: name one of {', '.join(found)} instead of 'on', such as {written(base, where)}")
    return next(iter(found.values()))


def decode_value(data: Any, hint: Any, where: str) -> Any:
    try:
        return read(data, hint)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {str(error).removeprefix('value ')}") from None


# --- examples for messages ----------------------------------------------------------------------------------------------------


def list_in_words(hint: Any, old: Any, where: str) -> str:
    """What may be written for a tuple: a list, or one of its methods by name."""
    item = typing.get_args(hint)[0]
    plain = isinstance(old, tuple) and old and not any(isinstance(each, Spec) for each in old)
    text = f"{where}='{json.dumps(list(old) if plain else example(hint))}'"
    return f"{text} or {where}.{example(item)['kind']}=on" if is_spec(item) and is_kind(item) else text


def switched(spec: type[Spec], where: str, optional: bool) -> str:
    """What may be written for a spec that is no kind of plug-in."""
    return f"{'on, off' if optional else 'on'} or an object, such as {where}='{json.dumps(example(spec))}'"


def written(base: type[Spec], where: str) -> str:
    """An assignment of one of a kind: its name is enough where it has a default for each field."""
    found = example(base)
    return f"{where}={found['kind']}" if len(found) == 1 else f"{where}='{json.dumps(found)}'"


def example(hint: Any) -> Any:
    """Some value of a type, as `encode` writes it; of a spec no more fields than are needed, but one to see what it is like."""
    hint = next(choice for choice in options(hint) if choice is not type(None))
    if is_literal(hint):
        return typing.get_args(hint)[0]
    if is_tuple(hint):
        return [example(item) for item in typing.get_args(hint) if item is not Ellipsis]
    return example_of(hint) if is_spec(hint) else {int: 1, float: 0.5, bool: True}.get(hint, "name")


def example_of(spec: type[Spec]) -> Any:
    if spec.IN_WORDS:
        return 0.1
    if is_kind(spec) or spec.__abstractmethods__:
        spec = min(kinds(spec).values(), key=lambda each: len(needed(each)))
        return {"kind": spec.__name__} | {name: example(field_types(spec)[name]) for name in needed(spec)}
    found = {}
    for name in needed(spec) or list(field_map(spec))[:1]:
        default = field_map(spec)[name].default
        plain = isinstance(default, bool | int | float | str) or (isinstance(default, tuple) and default)
        found[name] = encode_value(default) if plain else example(field_types(spec)[name])
    return found


def needed(spec: type[Spec]) -> list[str]:
    """The fields that have no default."""
    return [name for name, each in field_map(spec).items() if each.default is MISSING and each.default_factory is MISSING]
