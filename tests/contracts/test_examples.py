"""What every plug-in must satisfy, whatever its kind, run over the examples of each file."""

import importlib
import pkgutil
from collections import Counter

import pytest

import paretina
from paretina.model.blueprint import Assembly
from paretina.model.family import network_named
from paretina.spec import Spec, is_kind, kinds, modules_in

for found in pkgutil.walk_packages(paretina.__path__, "paretina."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)


def descendants(spec):
    """All subclasses that the package itself defines; tests define some too."""
    own = [sub for sub in spec.__subclasses__() if sub.__module__.startswith("paretina.")]
    return [*own, *(deeper for sub in own for deeper in descendants(sub))]


BASES = sorted({spec for spec in descendants(Spec) if is_kind(spec)}, key=lambda spec: spec.__qualname__)
KINDS = [(base, kind) for base in BASES for kind in kinds(base).values() if kind.__module__.startswith("paretina.")]
EXAMPLES = [
    (base, example)
    for base in BASES
    for package in base.PLUGINS
    for module in modules_in(package)
    for example in getattr(module, "EXAMPLES", ())
    if isinstance(example, base)
]
FIXED = {"Blueprint", "Chain"}
"""Kinds whose examples are the networks of the families."""

every_base = pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
every_example = pytest.mark.parametrize(("base", "example"), EXAMPLES, ids=repr)


def test_the_kinds_of_the_package_are_found():
    assert {"Activation", "Block", "Edit", "Head", "Model", "Norm", "Schedule", "Stem", "Transform", "Wiring"} <= {
        base.__name__ for base in BASES
    }


@every_example
def test_an_example_read_back_is_equal_in_every_way(base, example):
    read = base.from_json(example.to_json())
    assert type(read) is type(example)
    assert read == example
    assert hash(read) == hash(example)
    assert repr(read) == repr(example)


@every_base
def test_every_kind_has_an_example(base):
    assembled = [example(network_named("resnet18").blueprint) for _, example in EXAMPLES if isinstance(example, Assembly)]
    shown = {type(example) for _, example in EXAMPLES} | {type(model) for model in assembled}
    without = {kind.__name__ for of, kind in KINDS if of is base and kind not in shown}
    assert not without - FIXED, "add one to EXAMPLES at the end of the file"


@every_base
def test_examples_are_different(base):
    examples = [example for of, example in EXAMPLES if of is base]
    assert len(set(examples)) == len(examples)


@every_base
def test_every_file_of_a_kind_has_its_card(base):
    modules = {kind.__module__ for of, kind in KINDS if of is base}
    assert not [name for name in modules if not (importlib.import_module(name).__doc__ or "").strip()]


@every_base
def test_no_two_of_a_kind_have_one_name(base):
    # a name is what a file and a path know a kind by
    names = Counter(spec.__name__ for spec in {base, *descendants(base)})
    assert max(names.values()) == 1, names.most_common(1)


@every_base
def test_plug_ins_stand_where_they_are_looked_for(base):
    looked = {module.__name__ for package in base.PLUGINS for module in modules_in(package)}
    assert not [kind for of, kind in KINDS if of is base and kind.__module__ not in looked]
