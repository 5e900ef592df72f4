"""How long two versions of the package take to be imported and to make an update, in turn.

Each round imports and trains once with each version, in processes of its own, one after the other; the order changes from round
to round. Prints the ratio of the medians, after over before, with a bootstrap interval over the rounds:

    git worktree add ../before COMMIT
    python benchmarks/versions.py ../before/src src
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WORDS = ["--model", "resnet18", "--recipe", "scratch", "--device", "cpu", "--weights", "none"]
FIELDS = ["size=64", "resolution=64", "epochs=4", "batch_size=32", "workers=0", "precision=float32", "evaluate_every=4"]


def pictures(path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(264) % 3
    images = random.integers(0, 255, (264, 72, 72, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=labels, split=["train"] * 256 + ["val"] * 8, classes=["a", "b", "c"])


def run(source: Path, *words: str) -> float:
    """Seconds that a process takes with a version."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words], env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return time.monotonic() - began


def once(source: Path, data: Path, output: Path) -> tuple[float, float]:
    """Seconds of an import, and of an update."""
    imported = run(source, "-c", "import paretina.train.training")
    run(source, "-m", "paretina", "train", str(data), "--output", str(output), *WORDS, *FIELDS)
    spent = json.loads((output / "result.json").read_text())["time_s"]
    return imported, spent / 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rounds", type=int, default=8, help="default: %(default)s")
    chosen = parser.parse_args()
    sources = {"before": chosen.before.resolve(), "after": chosen.after.resolve()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "pictures.npz"
        pictures(data)
        for number in range(chosen.rounds):
            for name in (*sources,) if number % 2 else (*reversed(sources),):
                found[name].append(once(sources[name], data, Path(folder) / f"{name}{number}"))
    random = np.random.default_rng(0)
    for place, what in enumerate(("import", "update")):
        before, after = (np.array([each[place] for each in found[name]]) for name in ("before", "after"))
        picks = random.integers(0, chosen.rounds, (10_000, chosen.rounds))
        ratios = np.median(after[picks], 1) / np.median(before[picks], 1)
        low, high = np.quantile(ratios, [0.025, 0.975])
        ratio = statistics.median(after) / statistics.median(before)
        print(f"{what}: {statistics.median(before):.3f} s before, ratio {ratio:.3f} [{low:.3f}, {high:.3f}], n {chosen.rounds}")


if __name__ == "__main__":
    main()
