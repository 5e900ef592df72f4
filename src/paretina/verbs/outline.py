"""The outline: all names, fields and published figures, readable without torch.

Importing torch takes seconds, too long for a list or a misspelt word. What those need is in `outline.json`: the networks with
their published figures, the recipes, and the fields of everything that can be set. It is generated from the source by
`scripts/outline.py` (`make docs`), and a test compares it with the source.

It is a file rather than modules without torch, because a network, a block or a transform is one file that holds both its fields
and its computation. The file has a digest of each source file that it was made from, and is ignored if one of them has changed,
so that a newly added network is found. It serves only for lists and early checks; the parser checks everything again.
"""

import functools
import hashlib
import importlib
import json
import operator
import typing
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, field, make_dataclass
from pathlib import Path
from typing import Any, Literal

from paretina import spec as specs
from paretina.spec import Spec, decode, encode, field_map, field_types, is_kind, is_literal, is_spec, is_tuple, kinds, options

PACKAGE = Path(__file__).resolve().parent.parent
FILE = Path(__file__).with_name("outline.json")

LIGHT = ("paretina.schedules",)
"""Modules whose specs need no torch and are used directly."""

SCALARS: dict[str, Any] = {"bool": bool, "int": int, "float": float, "str": str, "None": type(None), "Any": Any}

Table = dict[str, Any]


def table() -> Table:
    """The outline, from its file or, if the source has changed since, made anew."""
    return read() or made()


@functools.cache
def read() -> Table | None:
    """The outline as its file has it; None if the source has changed since."""
    try:
        found: Table = json.loads(FILE.read_text("utf-8"))
        return found if found["files"] == digests(found["files"], found["folders"]) else None
    except (OSError, ValueError, KeyError):
        return None


def digests(files: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
    """A digest of each file, and of all other files in the folders."""
    names = {*files, *(f"{folder}/{path.name}" for folder in folders for path in (PACKAGE / folder).glob("*.py"))}
    return {name: hashlib.blake2b((PACKAGE / name).read_bytes(), digest_size=8).hexdigest() for name in sorted(names)}


# --- making it ----------------------------------------------------------------------------------------------------------------


def made() -> Table:
    """The outline of the source as it is; imports everything."""
    from paretina.data.named import data_in_words, folder_source, prefixes, signs, sources, suffixes
    from paretina.measure.corruptions import KINDS
    from paretina.model.family import networks
    from paretina.model.interop import LIBRARIES
    from paretina.search.pruning.importance import importances
    from paretina.search.pruning.select import COSTS
    from paretina.ship.format import formats
    from paretina.ship.saliency import methods
    from paretina.train.asked import Asked, elsewhere, recipes
    from paretina.train.fields import WORDS

    found = sorted(set(reachable(Asked)), key=key_of)
    modules = {spec.__module__ for spec in found}
    plugins = {package for spec in found if is_kind(spec) for package in spec.PLUGINS}
    plugins |= {"paretina.model.families", "paretina.train.recipes"}
    folders = sorted(folder_of(package) for package in plugins if (PACKAGE / folder_of(package)).is_dir())
    modules |= {"paretina.spec", "paretina.model.family", "paretina.model.interop", "paretina.measure.corruptions"}
    modules |= {"paretina.data.named", "paretina.data.naming", "paretina.train.asked", "paretina.train.fields"}
    modules |= {"paretina.search.pruning.select"}
    modules |= {type(each).__module__ for each in (*methods().values(), *importances().values())}
    modules |= {"paretina.train.other_names", "paretina.verbs.outline", *(type(each).__module__ for each in formats().values())}
    return {
        "files": digests((f"{folder_of(module)}.py" for module in modules), folders),
        "folders": folders,
        "networks": {name: network_entry(network) for name, network in networks().items()},
        "recipes": {name: {"about": about, "recipe": encode(recipe)} for name, (recipe, about) in recipes().items()},
        "sources": {kind.WORD: name for name, kind in sources().items() if kind.WORD},
        "suffixes": suffixes(),
        "prefixes": prefixes(),
        "signs": signs(),
        "folder": folder_source(),
        "data": data_in_words(),
        "libraries": list(LIBRARIES),
        "formats": {each.NAME: [each.SUFFIX, list(each.PRECISIONS)] for each in formats().values()},
        "corruptions": ["all", *sorted({kind.group for kind in KINDS.values()}), *KINDS],
        "importances": list(importances()),
        "lowered": list(COSTS),
        "maps": list(methods()),
        "words": list(WORDS),
        "elsewhere": elsewhere(),
        "specs": {key_of(spec): spec_entry(spec) for spec in found if spec.__module__.startswith("paretina.")},
    }


def text_of(found: Table) -> str:
    """The table as its file has it, an entry a line."""
    parts = []
    for name, value in found.items():
        if isinstance(value, dict):
            lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(inner, ensure_ascii=False)}" for key, inner in value.items())
            parts.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
        else:
            parts.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def folder_of(package: str) -> str:
    return package.removeprefix("paretina.").replace(".", "/")


def key_of(spec: type[Spec]) -> str:
    return f"{spec.__module__}.{spec.__qualname__}"


def network_entry(network: Any) -> dict[str, Any]:
    """The published figures of a network; where its weights are depends on what is installed."""
    from paretina.model.interop import has_weights, key

    weights = network.weights
    return {
        "name": network.name,
        "family": network.family,
        "resolution": network.blueprint.resolution,
        "params": network.params,
        "gmacs": network.macs,
        "top1": network.top1,
        "note": network.note,
        "package": None if weights is None else {"name": weights.package, "module": weights.module, "file": weights.file},
        "hub": next((key(peer) for peer in network.peers if has_weights(peer)), ""),
        "peers": [key(peer) for peer in network.peers],
        "source": network.blueprint.source,
    }


def reachable(root: type[Spec]) -> Iterator[type[Spec]]:
    """A spec, and whatever can stand in its fields, in the fields of that, and so on."""
    seen: set[type[Spec]] = set()
    waiting = [root]
    while waiting:
        spec = waiting.pop()
        if spec in seen or not spec.__module__.startswith("paretina."):
            continue
        seen.add(spec)
        yield spec
        waiting += [base for base in spec.__bases__ if issubclass(base, Spec) and base is not Spec]
        waiting += [inner for hint in field_types(spec).values() for inner in specs_in(hint)]
        if is_kind(spec):
            waiting += kinds(spec).values()
    assert len({spec.__name__ for spec in seen}) == len(seen), "a name stands for two specs"


def specs_in(hint: Any) -> list[type[Spec]]:
    if is_spec(hint):
        return [hint]
    return [] if is_literal(hint) else [spec for inner in typing.get_args(hint) for spec in specs_in(inner)]


def spec_entry(spec: type[Spec]) -> dict[str, Any]:
    hints = field_types(spec)
    (base, *_) = [*(base for base in spec.__bases__ if issubclass(base, Spec)), Spec]
    return {
        "base": "" if base is Spec else key_of(base),
        "kind": is_kind(spec),
        "abstract": bool(spec.__abstractmethods__),
        "upgrades": len(spec.UPGRADES),
        "aliases": dict(spec.ALIASES),
        "fields": {name: [hint_entry(hints[name]), *default_entry(each)] for name, each in field_map(spec).items()},
    }


def hint_entry(hint: Any) -> Any:
    """A type as JSON: the name of a scalar, or what is in it by what it is."""
    if is_spec(hint):
        return {"spec": key_of(hint)}
    if is_literal(hint):
        return {"literal": list(typing.get_args(hint))}
    if is_tuple(hint):
        return {"tuple": ["..." if inner is Ellipsis else hint_entry(inner) for inner in typing.get_args(hint)]}
    if len(options(hint)) > 1:
        return {"any": [hint_entry(inner) for inner in options(hint)]}
    return next(name for name, scalar in SCALARS.items() if scalar is hint)


def default_entry(each: Any) -> list[Any]:
    """The default of a field in a list, which is empty if there is none."""
    value = each.default if each.default_factory is MISSING else each.default_factory()
    if value is MISSING:
        return []
    plain = [encode(item) if isinstance(item, Spec) else item for item in value] if isinstance(value, tuple) else value
    return [encode(plain) if isinstance(plain, Spec) else plain]


# --- reading it ---------------------------------------------------------------------------------------------------------------


@functools.cache
def outlined() -> dict[str, type[Spec]]:
    """The specs of the file by name: with the fields and types of the real ones, but without methods or checks.

    `paretina.spec.put` raises the same errors for their fields and values as for the real ones.
    """
    found = read()
    entries: dict[str, Any] = found["specs"] if found else {}
    named = {key.rpartition(".")[2]: key for key in entries}
    ready: dict[str, type[Spec]] = {}

    def make(key: str) -> type[Spec]:
        if key in ready:
            return ready[key]
        module, _, name = key.rpartition(".")
        if module in LIGHT:
            ready[key] = getattr(importlib.import_module(module), name)
            return ready[key]
        entry = entries[key]
        base = make(entry["base"]) if entry["base"] else Spec
        fields = []
        for place, (told, *default) in entry["fields"].items():
            hint = hint_of(told)
            fields.append((place, hint, field(default=value_of(hint, default[0])) if default else field()))
        namespace = {
            "__module__": module,
            "ALIASES": entry["aliases"],
            "PLUGINS": ("paretina.spec",) if entry["kind"] else (),  # a module without plug-ins: all of them are made here
            "outlined": abstractmethod(lambda self: None) if entry["abstract"] else lambda self: None,
        }
        ready[key] = make_dataclass(name, fields, bases=(base,), namespace=namespace, frozen=True, kw_only=True)
        return ready[key]

    def hint_of(told: Any) -> Any:
        if isinstance(told, str):
            return SCALARS[told]
        ((sort, inner),) = told.items()
        if sort == "spec":
            return make(inner)
        if sort == "literal":
            return Literal[tuple(inner)]
        items: tuple[Any, ...] = tuple(Ellipsis if item == "..." else hint_of(item) for item in inner)
        return tuple[items] if sort == "tuple" else functools.reduce(operator.or_, items)

    def value_of(hint: Any, value: Any) -> Any:
        for name in kinds_in(value):
            make(named[name])
        return specs.decode_value(unversioned(value), hint, "default") if isinstance(value, dict | list) else value

    for key in entries:
        make(key)
    return {spec.__name__: spec for spec in ready.values()}


def unversioned(value: Any) -> Any:
    """Encoded values as this release writes them, without versions: outlined specs know no upgrades and need none."""
    if isinstance(value, dict):
        return {name: unversioned(inner) for name, inner in value.items() if name != "version"}
    return [unversioned(inner) for inner in value] if isinstance(value, list) else value


def kinds_in(value: Any) -> Iterator[str]:
    """The names of all kinds in encoded values."""
    if isinstance(value, dict):
        if "kind" in value:
            yield value["kind"]
        for inner in value.values():
            yield from kinds_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from kinds_in(inner)


@functools.cache
def recipe_outlined(name: str) -> Spec:
    """A named recipe of the file, made of `outlined` specs."""
    found = read()
    assert found is not None
    return decode(outlined()["Recipe"], unversioned(found["recipes"][name]["recipe"]))
