"""The parts of the package import each other in one direction only."""

import ast
import functools
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import paretina

ROOT = Path(paretina.__file__).parent

LAYERS = (
    (
        "spec",
        "traits",
        "clock",
        "schedules",
        "shapes",
        "run",
        "system",
        "packages",
        "tables",
        "text",
        "torch_internals",
        "colours",
    ),
    ("data", "model"),
    ("measure",),
    ("train",),
    ("ship",),
    ("search",),
    ("report", "progress", "serve", "verbs", "cli", "__main__"),
)
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(path):
    """The first folder or file below the package."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def parts_imported(source):
    """The parts that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise ValueError("relative imports hide where they lead; write the full name")
        if isinstance(node, ast.ImportFrom) and node.module == "paretina":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from parts_named([node.module])
        elif isinstance(node, ast.Import):
            yield from parts_named([name.name for name in node.names])


@functools.cache
def parts_of_file(path):
    return tuple(parts_imported(path.read_text()))


def parts_named(modules):
    return [module.split(".")[1] for module in modules if module.startswith("paretina.")]


def test_the_reader_of_imports_finds_all_forms():
    source = """
import os, paretina.train.loop
from paretina import cli
def late():
    from paretina.data.batch import Batch
from torch import nn
"""
    assert set(parts_imported(source)) == {"train", "cli", "data"}
    with pytest.raises(ValueError, match="relative imports"):
        list(parts_imported("from .spec import Spec"))


def test_every_part_has_a_place():
    unknown = sorted({part_of(path) for path in FILES} - set(RANK))
    assert not unknown, f"give them a place in LAYERS: {unknown}"


def test_nothing_imports_from_a_layer_above():
    wrong = {
        f"{path.relative_to(ROOT)} imports {part}"
        for path in FILES
        for part in parts_of_file(path)
        if RANK[part] > RANK[part_of(path)]
    }
    assert not wrong


def test_parts_of_one_layer_do_not_import_each_other_both_ways():
    found = {(part_of(path), part) for path in FILES for part in parts_of_file(path)}
    assert not [pair for pair in found if pair[0] != pair[1] and pair[::-1] in found]


def test_no_file_is_named_after_nothing():
    bad = {"utils", "util", "common", "core", "helpers", "helper", "misc"}
    assert not [path for path in FILES if bad & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}]


def test_no_file_hides_its_annotations_from_the_checks():
    assert not [path for path in FILES if "from __future__ import annotations" in path.read_text()]


def test_importing_the_package_does_not_import_torch():
    code = "import sys, paretina; print(*(name for name in ('torch', 'torchvision', 'numpy') if name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


SNIPPET = """
from jaxtyping import Float
from torch import Tensor


def double(x: Float[Tensor, " batch"], y: Float[Tensor, "batch channel"]) -> Float[Tensor, "2 batch"]:
    return twice(x, y)
"""


def test_undefined_names_are_found_and_shapes_are_none():
    settings = ROOT.parent.parent / "pyproject.toml"
    arguments = [sys.executable, "-m", "ruff", "check", "--config", str(settings), "--output-format", "concise", "-"]
    found = subprocess.run(arguments, input=SNIPPET, capture_output=True, text=True).stdout
    assert [line for line in found.splitlines() if "F821" in line] == ["-:7:12: F821 Undefined name `twice`"]
    assert "name-defined" not in tomllib.loads(settings.read_text())["tool"]["mypy"]["disable_error_code"]


def test_no_two_classes_have_one_name():
    """A name means one thing: whoever reads it in an error or searches for it finds one class."""
    places = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    assert not {name: found for name, found in places.items() if len(found) > 1}
