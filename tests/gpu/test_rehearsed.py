"""The benchmark for a GPU runs through on a CPU, with tiny sizes; a second call continues its file."""

import importlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def rehearsed(path, *more):
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--rehearse", "--output", str(path), *more]
    return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=280)


def test_the_benchmark_of_a_gpu_is_rehearsed(tmp_path):
    path = tmp_path / "gpu.json"
    known = {"rows": [{"known": True}], "done": True}
    path.write_text(json.dumps({"machine": {}, "parts": {"levit": known}}))
    ended = rehearsed(path)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    parts = json.loads(path.read_text())["parts"]
    assert parts["levit"] == known  # what was done before is not done again
    assert list(parts) == ["levit", "equal", "groups", "train", "norms", "defaults", "ghosts", "macs", "compiled"]
    assert all(part["done"] and part["rows"] for part in parts.values())
    assert all(row["ours"]["ms"] > 0 and row["aim"] == 0.97 for row in parts["equal"]["rows"])
    assert set(parts["groups"]["rows"][0]) == {"what", "width 1", "width 1, again", "width 4", "width 16", "fused"}
    assert parts["train"]["rows"][0]["wanted"] == 90.0


@pytest.fixture
def gpu_wheels(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("gpu_wheels")


def names(requirements):
    """Of what is required without an extra, as the index spells them."""
    plain = (each for each in requirements if "extra ==" not in each and "python_version <" not in each)
    return {re.match(r"[\w.-]+", each)[0].lower().replace("_", "-") for each in plain}


def test_what_is_gathered_is_complete(gpu_wheels):
    needed = names(gpu_wheels.NEEDED)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert names(project["dependencies"]) <= needed | {*gpu_wheels.THERE}
    for name in needed:
        more = names(importlib.metadata.requires(name) or ())
        assert more <= needed | {*gpu_wheels.THERE}, name


def test_what_a_machine_without_a_network_lacks_is_asked_for_by_name(gpu_wheels):
    asked = gpu_wheels.command(Path("wheels"), "3.12", "manylinux_2_28_x86_64")
    assert asked[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(asked)
    assert not [each for each in asked if "://" in each]
    assert "wheels/" in (ROOT / ".gitignore").read_text().splitlines()
