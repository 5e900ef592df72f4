"""The public names: what `from paretina import ...` gives."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import paretina
from paretina import verbs

every_name = pytest.mark.parametrize("name", paretina.__all__)


@every_name
def test_resolves_to_what_its_module_calls_by_that_name(name):
    value = getattr(paretina, name)
    assert value.__name__ == name
    assert value.__module__ == f"paretina.{paretina.PLACES[name]}"


@every_name
def test_is_explained(name):
    value = getattr(paretina, name)
    text = inspect.getdoc(value) or ""
    automatic = text.startswith(f"{name}(")  # what dataclasses write where nothing is written
    assert (text and not automatic) or sys.modules[value.__module__].__doc__


def test_type_checkers_see_the_same_names_in_the_same_places():
    tree = ast.parse(Path(paretina.__file__).read_text())
    typed = {alias.asname: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    typed = {name: module for name, module in typed.items() if name}
    assert typed == {name: f"paretina.{place}" for name, place in paretina.PLACES.items()}


def test_verbs_are_imported_when_they_are_first_used():
    tree = ast.parse(Path(verbs.__file__).read_text())
    typed = {alias.asname: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {name: module for name, module in typed.items() if name} == {
        name: f"paretina.{place}" for name, place in verbs.PLACES.items()
    }
    assert list(verbs.PLACES) == sorted(verbs.PLACES)
    assert set(verbs.__all__) <= set(verbs.PLACES)
    assert all(hasattr(verbs, name) for name in verbs.PLACES)
    with pytest.raises(AttributeError, match=r"module 'paretina.verbs' has no attribute 'trian'"):
        _ = verbs.trian


def test_names_are_sorted_and_listed():
    assert list(paretina.PLACES) == sorted(paretina.PLACES)
    assert set(paretina.__all__) <= set(dir(paretina))


def test_an_unknown_name_is_an_attribute_error_and_parts_still_import():
    with pytest.raises(AttributeError, match="module 'paretina' has no attribute 'Blueprnt'"):
        _ = paretina.Blueprnt
    assert not hasattr(paretina, "PLACE")
    from paretina import verbs

    assert verbs.__name__ == "paretina.verbs"


def test_light_names_do_not_import_torch():
    code = "import sys; from paretina import Spec, Clock, Cosine, put, Run; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
