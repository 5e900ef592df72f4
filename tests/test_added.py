"""Methods of very different kinds, each added to a copy of the package as one file and nothing else.

The files are in `added/`: SimSiam (a sibling of BYOL, of which it takes all but what is to be predicted) and a head that has a
class for each pixel.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
ADDED = {
    "SimSiam": "src/paretina/train/objectives/simsiam.py",
    "PixelHead": "src/paretina/model/heads/dense.py",
}
"""Where the one file of each method goes; it is found in `added/` by its name."""
METHODS = json.loads((ROOT / "tests" / "added" / "words.json").read_text())
OBJECTIVES = [name for name, path in ADDED.items() if "/objectives/" in path]
CONTRACTS = tuple(f"tests/contracts/test_{name}.py" for name in ("examples", "heads", "objectives", "teachers", "traits"))

TINY = '''"""Tiny: a network for tests."""

from paretina.model.activations.pointwise import SiLU
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.family import Published
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.batch import BatchNorm
from paretina.model.stems.conv import ConvStem

TABLE = Blueprint(
    source="tests",
    resolution=16,
    stem=ConvStem(width=16),
    stages=(
        Stage(block=MBConv(expand=2, kernel=3), depth=1, width=16, stride=1),
        Stage(block=MBConv(expand=2, kernel=3), depth=1, width=32, stride=2),
    ),
    head=PoolHead(),
    norm=BatchNorm(),
    activation=SiLU(),
)

NETWORKS = (Published("tiny", "tiny", TABLE, 1, 0.001),)
'''


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the package and of the tests that are run in it, with the files of all methods, and what they are run with."""
    root = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "src", root / "src")
    for part in ("added", "contracts"):
        shutil.copytree(ROOT / "tests" / part, root / "tests" / part)
    for name in ("tiny.py", "covering.py"):
        shutil.copy(ROOT / "tests" / name, root / "tests" / name)
    shutil.copy(ROOT / "tests" / "train" / "task_kinds.py", root / "tests" / "added" / "task_kinds.py")
    for target in ADDED.values():
        assert not (root / target).exists(), "the package has it already; add another one"
        shutil.copy(ROOT / "tests" / "added" / Path(target).name, root / target)
    (root / "src/paretina/model/families/tiny.py").write_text(TINY)
    new = [path.removeprefix("src/").removesuffix(".py").replace("/", ".") for path in ADDED.values()]
    # annotations are checked in the new files alone, which spares half the time
    conftest = (ROOT / "tests" / "conftest.py").read_text()
    (root / "tests" / "conftest.py").write_text(conftest.replace('"paretina"', repr(new)))
    settings = "[pytest]\naddopts = --import-mode=importlib\npythonpath = tests\nmarkers = slow\nfilterwarnings = error\n"
    (root / "pytest.ini").write_text(settings)
    return root


def run_in(tree, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1", "PARETINA_CACHE": str(tree / "cache")}
    return subprocess.run([sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def passed(tree):
    """Finds the lines about contracts and checks in the copy that have all of some words; each of them passed."""
    names = " or ".join([*METHODS, "every_kind", "every_file", "checks"])
    arguments = ["-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", names]
    ended = run_in(tree, *arguments, *CONTRACTS, "tests/added/checks.py")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = [line for line in ended.stdout.splitlines() if " PASSED" in line]
    return lambda *words: [line for line in lines if all(word in line for word in words)]


def test_each_method_is_one_file():
    files = {path.stem for path in (ROOT / "tests" / "added").glob("*.py")} - {"checks", "ranks"}
    assert sorted(Path(path).stem for path in ADDED.values()) == sorted(files)
    assert list(METHODS) == list(ADDED)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_one_file_satisfies_the_contracts(passed, name):
    assert passed("read_back_is_equal", f"{name}(")
    assert passed("each_method_answers", f"[{name}]")
    if name in OBJECTIVES:
        assert passed("every_kind_has_an_example[Objective]")
        assert passed("says_what_to_change", f"{name}(")
        assert passed("gradient_reaches_every_parameter", f"{name}(")
        assert passed("ends_as_an_uninterrupted_one", f"{name}(")
        assert passed("teacher_is_asked_says_so", f"{name}(")
    else:
        assert passed("every_kind_has_an_example[Head]")
        assert passed("gives_a_logit_for_each_class", f"{name}(")
        assert passed("takes_maps_of_other_sizes", f"{name}(")
        assert passed("drops_between", f"{name}(")


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_words_alone_switch_it_on_and_it_is_refused_where_it_does_not_fit(passed, name):
    assert passed("words_alone", name)
    assert passed("is_refused", name)
    assert passed(f"checks.py::test_{name.lower()}_")
    assert passed("outline")


@pytest.mark.slow
def test_two_processes_train_each_and_go_on_with_it(tree, tmp_path):
    random, labels = np.random.default_rng(0), np.arange(39) % 3
    images = (random.random((39, 18, 18, 3)) * 170 + 40 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "numbers.npz", images=images, labels=labels, split=["train"] * 30 + ["val"] * 9)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "tests/added/ranks.py"]
    ended = run_in(tree, *command, str(tmp_path / "numbers.npz"), str(tmp_path))
    assert ended.returncode == 0, ended.stderr[-4000:]
    first, second = (json.loads((tmp_path / f"ends{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    for name in METHODS:
        whole, resumed = first[name]
        assert whole == resumed
        files = [tmp_path / name / "model.safetensors", tmp_path / f"{name}-cut" / "model.safetensors"]
        assert files[0].read_bytes() == files[1].read_bytes()
