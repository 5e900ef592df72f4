"""The wheel has what it needs and nothing else, and works outside of the repository."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import paretina
from tiny import noise_npz

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "paretina"
TINY = ["size=16", "batch_size=6", "workers=0", "precision=float32", "epochs=1", "model.stages.*.width=8", "model.stem.width=8"]

pytestmark = pytest.mark.slow


def ran(command, cwd, environment=None):
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="the extra dev has what builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    ran([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)], folder)
    (found,) = folder.glob("paretina-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment with the wheel, and what is installed here behind it."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (purelib,) = ran([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).split()
    ran([sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], folder)
    # without its .pth files, which would lead to the repository
    Path(purelib, "outer.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return folder


def environment():
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = {
        f"paretina/{path.relative_to(SOURCE).as_posix()}"
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == there
    for name in ("py.typed", "verbs/outline.json", "data/sources/clipart.zip", "report/page.html.jinja", "serve/page.html"):
        assert f"paretina/{name}" in inside
    assert not [name for name in inside if "test" in Path(name).parts[:2] or "tests" in Path(name).parts]


def test_the_wheel_says_its_version_its_licence_and_its_command(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    text = archive.read(metadata).decode()
    assert f"\nVersion: {wheel.name.split('-')[1]}\n" in text
    assert "Provides-Extra: tensorboard" in text
    names = archive.namelist()
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names}
    (points,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "paretina = paretina.cli:main" in archive.read(points).decode()


def test_it_works_from_another_folder(installed, tmp_path):
    program = installed / "bin" / "paretina"
    place = ran([installed / "bin" / "python", "-c", "import paretina; print(paretina.__file__)"], tmp_path, environment())
    assert Path(place.strip()).is_relative_to(installed)
    assert Path(paretina.__file__) != Path(place.strip())
    assert "Usage: paretina" in ran([program, "--help"], tmp_path, environment())
    assert "efficientnet_b0" in ran([program, "models"], tmp_path, environment())
    data = noise_npz(tmp_path / "noise.npz", 12, 6, contrast=60)
    words = ["train", data, "--model", "resnet18", "--weights", "none", "--device", "cpu", "-o", "run", *TINY, "--json"]
    found = json.loads(ran([program, *words], tmp_path, environment()))
    assert found["status"] == "done"
    for name in ("model.safetensors", "report.html", "predictions.csv"):
        assert (tmp_path / "run" / name).stat().st_size > 0
    assert "clipart" in ran([program, "train", "--help"], tmp_path, environment())
