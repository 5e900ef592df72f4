"""Whether two versions of the package train to the same weights and figures, bit for bit: one network of each family.

Each network is trained in a process of its own, by the command line, from the source tree of each version:

    git worktree add ../before COMMIT
    python benchmarks/same_bits.py ../before/src src

Prints a line a network, with the figures of the result that differ; ends with 1 if anything differs.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors import safe_open

NETWORKS = {
    "convnext_tiny": 32,
    "efficientnet_lite0": 32,
    "efficientnetv2_b0": 32,
    "g16_efficientnet_b0_half": 32,
    "gghost_regnetx_200mf": 32,
    "ghost_resnet50_s2": 32,
    "ghostnet_050": 32,
    "levit_128s": 64,
    "mobilenet_v2_035": 32,
    "regnetx_200mf": 32,
    "resnet18": 32,
    "vit_tiny": 32,
}
"""One network of each family, and a size that it takes."""

FIELDS = ["epochs=2", "batch_size=8", "workers=0", "precision=float32", "threads=1", "seed=3"]


def pictures(path: Path) -> None:
    """Noise whose brightness tells the class: 24 pictures to train on, 9 to validate on."""
    random = np.random.default_rng(0)
    labels = np.arange(33) % 3
    images = (random.random((33, 40, 48, 3)) * 170 + 40 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(path, images=images, labels=labels, split=["train"] * 24 + ["val"] * 9, classes=["a", "b", "c"])


def trained(source: Path, network: str, size: int, recipe: str, data: Path, output: Path) -> tuple[str, dict[str, float]]:
    """A digest of the weights, and the figures of the result, of a run from a source tree."""
    words = ["train", str(data), "--model", network, "--recipe", recipe, "--device", "cpu", "--output", str(output)]
    command = [sys.executable, "-m", "paretina", *words, "--weights", "none", f"size={size}", f"resolution={size}", *FIELDS]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    digest = hashlib.sha256()
    with safe_open(output / "model.safetensors", framework="np") as file:
        for name in sorted(file.keys()):
            digest.update(name.encode() + file.get_tensor(name).tobytes())
    return digest.hexdigest()[:16], json.loads((output / "result.json").read_text())["metrics"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the src/ of one version")
    parser.add_argument("after", type=Path, help="the src/ of the other")
    parser.add_argument("--recipes", default="scratch,fast", help="default: %(default)s")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="default: one of each family")
    chosen = parser.parse_args()
    differ = 0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "pictures.npz"
        pictures(data)
        for recipe in chosen.recipes.split(","):
            for network in chosen.networks.split(","):
                size = NETWORKS.get(network, 32)
                outputs = [Path(folder) / f"{recipe}-{network}-{side}" for side in ("before", "after")]
                found = [
                    trained(source.resolve(), network, size, recipe, data, output)
                    for source, output in zip((chosen.before, chosen.after), outputs, strict=True)
                ]
                (one, figures), (other, others) = found
                changed = sorted(name for name in figures.keys() | others if figures.get(name) != others.get(name))
                said = "same weights" if one == other else f"other weights: {other}"
                differ += one != other or bool(changed)
                print(f"{recipe:<8} {network:<26} {one}  {said}; other figures: {', '.join(changed) or 'none'}", flush=True)
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
